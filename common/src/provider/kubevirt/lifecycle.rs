//! Removing machines. The volumes that a machine has templates for are its own and go with it.

use async_trait::async_trait;
use serde_json::json;

use super::client::Place;
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, instance, missing, optional};
use super::power::look;
use super::record::parts;
use super::wire::VirtualMachine;
use super::{Kubevirt, Resource};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::provider::facets::lifecycle::Lifecycle;
use crate::vm::VmId;

#[async_trait]
impl Lifecycle for Kubevirt {
    async fn delete(&self, vm: &VmId, wait: bool, cancel: &Cancel) -> Result<()> {
        let (namespace, name) = parts(vm);
        let client = self.client();
        let resource: Resource = client.resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        let found = client.get::<VirtualMachine>(place, name).await;
        let uid = found.map_err(|error| missing(error, namespace, name))?.metadata.uid;
        // Another machine of this name that came in between is not meant.
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": uid },
        });
        let done = client.delete(place, name, &options).await;
        done.map_err(|error| missing(error, namespace, name))?;
        if !wait {
            return Ok(());
        }
        look(cancel, || async {
            let there = optional(client.get::<VirtualMachine>(place, name).await)?;
            let gone = there.is_none_or(|there| there.metadata.uid != uid);
            Ok((gone && instance(self, namespace, name).await?.is_none()).then_some(()))
        })
        .await
    }
}
