//! Switching machines on and off, restarting and pausing them (subresources.kubevirt.io/v1).

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};

use super::Kubevirt;
use super::client::anew;
use super::inventory::{both, missing};
use super::record::parts;
use super::wire::{Instance, VirtualMachine};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::power::{Power, Stop, Switched};
use crate::vm::VmId;

/// First and longest wait between two looks at a machine.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

#[async_trait]
impl Power for Kubevirt {
    async fn start(&self, vm: &VmId, ready: bool, cancel: &Cancel) -> Result<Switched> {
        let (_, instance) = both(self, vm).await?;
        let done = match instance {
            Some(_) => Switched::Already,
            None => {
                self.subresource(vm, "virtualmachines", "start", &json!({})).await?;
                Switched::Done
            }
        };
        let wanted = |_: &VirtualMachine, instance: Option<&Instance>| {
            instance.is_some_and(|instance| {
                let is = |kind: &str| has(instance, kind);
                instance.status.phase == "Running" && (!ready || is("AgentConnected"))
            })
        };
        self.until(vm, cancel, wanted).await?;
        Ok(done)
    }

    async fn stop(&self, vm: &VmId, how: Stop, cancel: &Cancel) -> Result<Switched> {
        let (machine, instance) = both(self, vm).await?;
        if instance.is_none() && matches!(machine.status.printable_status.as_str(), "Stopped" | "")
        {
            return Ok(Switched::Already);
        }
        let body = match how {
            Stop::Graceful { grace: None } => json!({}),
            Stop::Graceful { grace: Some(time) } => json!({ "gracePeriod": seconds(time) }),
            Stop::Hard => json!({ "gracePeriod": 0 }),
        };
        self.subresource(vm, "virtualmachines", "stop", &body).await?;
        self.until(vm, cancel, |_, instance| instance.is_none()).await?;
        Ok(Switched::Done)
    }

    async fn restart(&self, vm: &VmId, hard: bool, cancel: &Cancel) -> Result<()> {
        let before = running(both(self, vm).await?.1)?.metadata.uid;
        // The API takes no other time than none.
        let body = if hard { json!({ "gracePeriodSeconds": 0 }) } else { json!({}) };
        self.subresource(vm, "virtualmachines", "restart", &body).await?;
        let anew = |_: &VirtualMachine, instance: Option<&Instance>| {
            instance.is_some_and(|it| it.metadata.uid != before && it.status.phase == "Running")
        };
        self.until(vm, cancel, anew).await
    }

    async fn pause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched> {
        self.hold(vm, true, cancel).await
    }

    async fn unpause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched> {
        self.hold(vm, false, cancel).await
    }
}

/// The instance of a machine that runs.
///
/// # Errors
/// `Conflict` where it does not.
pub fn running(instance: Option<Instance>) -> Result<Instance> {
    instance.filter(|instance| instance.status.phase == "Running").ok_or_else(|| {
        Error::conflict("the machine does not run").with_hint("`hyper vm start` switches it on")
    })
}

/// Whole seconds, rounded up: a guest never gets less time than was said.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Whether a condition of an instance holds.
pub fn has(instance: &Instance, kind: &str) -> bool {
    instance.status.conditions.iter().any(|it| it.kind == kind && it.status == "True")
}

impl Kubevirt {
    /// Holds a running machine still, or lets it go on.
    async fn hold(&self, vm: &VmId, still: bool, cancel: &Cancel) -> Result<Switched> {
        if has(&running(both(self, vm).await?.1)?, "Paused") == still {
            return Ok(Switched::Already);
        }
        let verb = if still { "pause" } else { "unpause" };
        self.subresource(vm, "virtualmachineinstances", verb, &json!({})).await?;
        let so = |_: &VirtualMachine, instance: Option<&Instance>| {
            instance.is_none_or(|instance| has(instance, "Paused") == still)
        };
        self.until(vm, cancel, so).await?;
        // One that was stopped meanwhile is neither.
        running(both(self, vm).await?.1)?;
        Ok(Switched::Done)
    }

    /// Calls a subresource of a machine or of its instance (`plural`).
    ///
    /// # Errors
    /// `NotFound` for a machine that is not there; `Conflict` for one that is not in a state for
    /// it; those of the server.
    pub(super) async fn subresource(
        &self,
        vm: &VmId,
        plural: &'static str,
        verb: &str,
        body: &Value,
    ) -> Result<()> {
        let (namespace, name) = parts(vm);
        let resource = self.client().resource("subresources.kubevirt.io", plural).await?;
        let place = super::Place { resource, namespace: Some(namespace) };
        let path = format!("{}/{verb}", place.path(Some(name)));
        let called = anew(|| {
            self.client().call::<Value>(Method::PUT, &path, Some(("application/json", body)))
        });
        match called.await {
            Ok(_) => Ok(()),
            // KubeVirt answers 400 for a machine in the wrong state.
            Err(error) if error.kind() == ErrorKind::Usage => {
                Err(Error::conflict(error.message().to_owned()))
            }
            Err(error) => Err(missing(error, namespace, name)),
        }
    }

    /// Looks at a machine until it is as wanted.
    ///
    /// # Errors
    /// `Interrupted` or `TimedOut` when asked to stop waiting; those of the server.
    pub(super) async fn until(
        &self,
        vm: &VmId,
        cancel: &Cancel,
        wanted: impl Fn(&VirtualMachine, Option<&Instance>) -> bool + Sync,
    ) -> Result<()> {
        look(cancel, || async {
            let (machine, instance) = both(self, vm).await?;
            Ok(wanted(&machine, instance.as_ref()).then_some(()))
        })
        .await
    }
}

/// Looks again and again, ever less often, until there is something to see.
///
/// # Errors
/// `Interrupted` or `TimedOut` when asked to stop waiting; those of looking.
pub async fn look<T, F>(cancel: &Cancel, once: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let mut wait = LOOKS.0;
    loop {
        if let Some(seen) = once().await? {
            return Ok(seen);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => cancel.check()?,
        }
        wait = (wait * 2).min(LOOKS.1);
    }
}
