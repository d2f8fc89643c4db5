//! From what a person types to a machine: `name`, `namespace/name`, or `@namespace/name`.

use super::Kubevirt;
use super::client::Place;
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, missing};
use super::record::id;
use super::wire::VirtualMachine;
use crate::error::{Error, Result};
use crate::vm::VmId;

/// Namespace and name of the machine that a reference names, whether it is there or not.
pub fn place_of<'r>(kubevirt: &'r Kubevirt, reference: &'r str) -> Result<(&'r str, &'r str)> {
    let path = reference.strip_prefix('@').unwrap_or(reference);
    let (namespace, name) = path.split_once('/').unwrap_or((&kubevirt.namespace, path));
    if name.is_empty() || name.contains('/') || namespace.is_empty() {
        return Err(Error::usage("this names no VM of a cluster")
            .with_subject(reference)
            .with_hint("write NAME or NAMESPACE/NAME"));
    }
    Ok((namespace, name))
}

/// The machine that a reference names; it is there.
pub async fn resolve(kubevirt: &Kubevirt, reference: &str) -> Result<VmId> {
    let (namespace, name) = place_of(kubevirt, reference)?;
    let client = kubevirt.client();
    let resource = client.resource(KUBEVIRT, MACHINES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let found = client.get::<VirtualMachine>(place, name).await;
    found.map_err(|error| missing(error, namespace, name))?;
    Ok(id(namespace, name))
}
