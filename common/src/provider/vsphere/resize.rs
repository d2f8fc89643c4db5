//! Processors and memory of machines (ReconfigVM_Task, vSphere API reference).

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::inventory::MACHINE;
use super::property::Properties;
use super::soap::{Body, MoRef};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::resize::{Resize, Resized, Size};
use crate::vm::VmId;

const CPUS: &str = "config.hardware.numCPU";
const CORES: &str = "config.hardware.numCoresPerSocket";
const MIB: &str = "config.hardware.memoryMB";
const STATE: &str = "runtime.powerState";
const CPUS_LIVE: &str = "config.cpuHotAddEnabled";
const FEWER_CPUS_LIVE: &str = "config.cpuHotRemoveEnabled";
const MEMORY_LIVE: &str = "config.memoryHotAddEnabled";

#[async_trait]
impl Resize for Vsphere {
    async fn resize(&self, vm: &VmId, size: Size, cancel: &Cancel) -> Result<Resized> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        let paths = [CPUS, CORES, MIB, STATE, CPUS_LIVE, FEWER_CPUS_LIVE, MEMORY_LIVE];
        let now = client.properties(&vm, &paths).await?;
        let wanted = Wanted::new(size, &now)?;
        if wanted.cpus.is_none() && wanted.mib.is_none() {
            return Ok(Resized::Already);
        }
        let off = now.str(STATE) == Some("poweredOff");
        if !off {
            wanted.check_live(&now)?;
        }
        // The order is that of VirtualMachineConfigSpec.
        let mut body = Body::new().open("spec", None);
        if let Some(cpus) = wanted.cpus {
            body = body.text("numCPUs", cpus);
        }
        if let Some(mib) = wanted.mib {
            body = body.text("memoryMB", mib);
        }
        let task = client.call("ReconfigVM_Task", &vm, body.close("spec")).await?.reference()?;
        client.wait_task(&task, cancel).await?;
        Ok(if off { Resized::Stored } else { Resized::Live })
    }
}

/// That a machine can have a size.
///
/// # Errors
/// `Usage` where it cannot; those of a call.
pub(super) async fn fits(client: &Client, vm: &MoRef, size: Size) -> Result<()> {
    let now = client.properties(vm, &[CPUS, CORES, MIB]).await?;
    Wanted::new(size, &now).map(drop)
}

/// That a machine of which nothing is known can have a size.
///
/// # Errors
/// `Usage` where none can.
pub(super) fn possible(size: Size) -> Result<()> {
    Wanted::new(size, &Properties::default()).map(drop)
}

/// What of a size is not so already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    cpus: Option<u32>,
    mib: Option<u64>,
}

impl Wanted {
    fn new(size: Size, now: &Properties) -> Result<Self> {
        let cores = now.number::<u32>(CORES).filter(|cores| *cores > 0).unwrap_or(1);
        if let Some(cpus) = size.cpus.filter(|cpus| !cpus.is_multiple_of(cores)) {
            return Err(Error::usage(format!(
                "its sockets have {cores} cores each, which {cpus} processors do not fill"
            )));
        }
        if size.memory_bytes.is_some_and(|bytes| !bytes.is_multiple_of(1 << 20)) {
            return Err(Error::usage("vSphere counts memory in whole MiB"));
        }
        let mib = size.memory_bytes.map(|bytes| bytes >> 20);
        Ok(Self {
            cpus: size.cpus.filter(|cpus| now.number(CPUS) != Some(*cpus)),
            mib: mib.filter(|mib| now.number(MIB) != Some(*mib)),
        })
    }

    /// Whether a machine that is not off takes this.
    fn check_live(self, now: &Properties) -> Result<()> {
        let off = |words: &str| {
            Err(Error::conflict(words.to_owned()).with_hint("stop it, resize it, and start it"))
        };
        if now.str(STATE) != Some("poweredOn") {
            return off("a paused machine cannot be resized: it must be off");
        }
        let allowed = |path: &str| now.flag(path) == Some(true);
        let fewer = self.cpus < now.number(CPUS);
        match self.cpus {
            Some(_) if fewer && !allowed(FEWER_CPUS_LIVE) => {
                return off("it must be off to take processors away from it");
            }
            Some(_) if !fewer && !allowed(CPUS_LIVE) => {
                return off("it must be off to get more processors: their hot-add is not enabled");
            }
            _ => {}
        }
        let less = self.mib < now.number(MIB);
        match self.mib {
            Some(_) if less => off("it must be off to take memory away from it"),
            Some(_) if !allowed(MEMORY_LIVE) => {
                off("it must be off to get more memory: its hot-add is not enabled")
            }
            _ => Ok(()),
        }
    }
}
