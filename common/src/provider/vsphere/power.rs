//! Switching machines on and off, restarting and suspending them (VirtualMachine, vSphere API reference).

use std::time::Duration;

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::fault::fault_of;
use super::inventory::MACHINE;
use super::property::Properties;
use super::soap::{Body, MoRef};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::power::{Power, Stop, Switched};
use crate::vm::VmId;

/// First and longest wait between two looks at a machine.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

#[async_trait]
impl Power for Vsphere {
    async fn start(&self, vm: &VmId, ready: bool, cancel: &Cancel) -> Result<Switched> {
        let vm = MoRef::new(MACHINE, &vm.0);
        let done = switch(self.client(), &vm, "PowerOnVM_Task", "poweredOn", cancel).await?;
        if ready {
            let path = "guest.toolsRunningStatus";
            wait_for(self.client(), &vm, (path, "guestToolsRunning"), cancel).await?;
        }
        Ok(done)
    }

    async fn stop(&self, vm: &VmId, how: Stop, cancel: &Cancel) -> Result<Switched> {
        let vm = MoRef::new(MACHINE, &vm.0);
        match how {
            Stop::Hard => switch(self.client(), &vm, "PowerOffVM_Task", "poweredOff", cancel).await,
            Stop::Graceful { grace: None } => shut_down(self.client(), &vm, cancel).await,
            // Whoever shuts the guest down does not know of a time.
            Stop::Graceful { grace: Some(_) } => Err(Error::unsupported(
                "vSphere lets a guest take as long as it needs to shut down",
            )
            .with_hint("--timeout bounds the wait; --force switches off without asking")),
        }
    }

    async fn restart(&self, vm: &VmId, hard: bool, cancel: &Cancel) -> Result<()> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        must_run(client, &vm).await?;
        if hard {
            let task = client.call("ResetVM_Task", &vm, Body::new()).await?.reference()?;
            return client.wait_task(&task, cancel).await.map(drop);
        }
        match client.call("RebootGuest", &vm, Body::new()).await {
            Err(error) if is(&error, "ToolsUnavailable") => {
                Err(no_tools("restart", "--force resets it as by its button").with_source(error))
            }
            other => other.map(drop),
        }
    }

    async fn pause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        if state(client, &vm).await? == "poweredOff" {
            return Err(Error::conflict("a machine that is off cannot be paused"));
        }
        switch(client, &vm, "SuspendVM_Task", "suspended", cancel).await
    }

    async fn unpause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        if state(client, &vm).await? == "poweredOff" {
            return Err(Error::conflict("the machine is not paused but off")
                .with_hint("`hyper vm start` switches it on"));
        }
        switch(client, &vm, "PowerOnVM_Task", "poweredOn", cancel).await
    }
}

/// That a machine runs.
pub(super) async fn must_run(client: &Client, vm: &MoRef) -> Result<()> {
    match state(client, vm).await?.as_str() {
        "poweredOn" => Ok(()),
        "suspended" => {
            Err(Error::conflict("the machine is paused")
                .with_hint("`hyper vm unpause` lets it go on"))
        }
        _ => Err(Error::conflict("the machine does not run")
            .with_hint("`hyper vm start` switches it on")),
    }
}

/// The error of a guest that cannot be asked to do something.
fn no_tools(what: &str, hint: &str) -> Error {
    let words =
        format!("VMware Tools do not run in the guest, so that it cannot be asked to {what}");
    Error::conflict(words).with_hint(hint)
}

/// A machine's power state, as the API calls it.
pub(super) async fn state(client: &Client, vm: &MoRef) -> Result<String> {
    let properties = client.properties(vm, &["runtime.powerState"]).await?;
    Ok(properties.str("runtime.powerState").unwrap_or_default().to_owned())
}

/// Runs a task that leads to a state, unless the machine is in it. Somebody else may be faster.
async fn switch(
    client: &Client,
    vm: &MoRef,
    method: &str,
    wanted: &str,
    cancel: &Cancel,
) -> Result<Switched> {
    if state(client, vm).await? == wanted {
        return Ok(Switched::Already);
    }
    let done = match client.call(method, vm, Body::new()).await {
        Ok(reply) => client.wait_task(&reply.reference()?, cancel).await.map(drop),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => Ok(Switched::Done),
        Err(error) if is(&error, "InvalidPowerState") && state(client, vm).await? == wanted => {
            Ok(Switched::Already)
        }
        Err(error) => Err(error),
    }
}

/// Asks the guest to shut down and waits until it has.
pub(super) async fn shut_down(client: &Client, vm: &MoRef, cancel: &Cancel) -> Result<Switched> {
    match state(client, vm).await?.as_str() {
        "poweredOff" => return Ok(Switched::Already),
        "suspended" => {
            return Err(Error::conflict("a suspended machine cannot shut down")
                .with_hint("start it first, or give --force: what it has in memory is then lost"));
        }
        _ => {}
    }
    if let Err(error) = client.call("ShutdownGuest", vm, Body::new()).await {
        if is(&error, "ToolsUnavailable") {
            let hint = "--force switches it off as by pulling the plug";
            return Err(no_tools("shut down", hint).with_source(error));
        }
        if !is(&error, "InvalidPowerState") || state(client, vm).await? != "poweredOff" {
            return Err(error);
        }
    }
    wait_for(client, vm, ("runtime.powerState", "poweredOff"), cancel).await?;
    Ok(Switched::Done)
}

/// Waits until a property has a value.
async fn wait_for(
    client: &Client,
    vm: &MoRef,
    (path, wanted): (&str, &str),
    cancel: &Cancel,
) -> Result<()> {
    let see = |vm: &Properties| Ok((vm.str(path) == Some(wanted)).then_some(()));
    client.watch(vm, &[path], LOOKS, cancel, see).await
}

fn is(error: &Error, kind: &str) -> bool {
    fault_of(error).is_some_and(|fault| fault.kind == kind)
}
