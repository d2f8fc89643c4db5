//! Removing machines (ManagedEntity.Destroy_Task, vSphere API reference).

use async_trait::async_trait;

use super::Vsphere;
use super::inventory::MACHINE;
use super::power::state;
use super::soap::{Body, MoRef};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::lifecycle::Lifecycle;
use crate::vm::VmId;

#[async_trait]
impl Lifecycle for Vsphere {
    async fn delete(&self, vm: &VmId, _wait: bool, cancel: &Cancel) -> Result<()> {
        let vm = MoRef::new(MACHINE, &vm.0);
        // A server may switch a machine off for this, or refuse: nobody should lose what runs.
        let (found, hint) = match state(self.client(), &vm).await?.as_str() {
            "poweredOn" => ("runs", "`hyper vm stop` shuts it down"),
            "suspended" => ("is paused", "`hyper vm stop --force` switches it off"),
            _ => {
                let task = self.client().call("Destroy_Task", &vm, Body::new()).await?;
                return self.client().wait_task(&task.reference()?, cancel).await.map(drop);
            }
        };
        let words = format!("the machine {found}: only one that is off is deleted");
        Err(Error::conflict(words).with_hint(hint))
    }
}
