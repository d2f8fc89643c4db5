//! Making a clone (VirtualMachine.CloneVM_Task and InstantClone_Task, vSphere API reference).

use std::time::Duration;

use async_trait::async_trait;

use super::client::Client;
use super::cloning::marked;
use super::fault::fault_of;
use super::place;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::provider::facets::cloning::{CloneJob, Ledgers, Step};
use crate::vm::VmId;

/// How long a task that was called off is waited for.
const GRACE: Duration = Duration::from_secs(20);

/// A clone that can be made.
#[derive(Debug)]
pub(super) struct Job {
    pub client: Client,
    pub source: MoRef,
    pub name: String,
    pub how: How,
    pub template: bool,
    pub folder: MoRef,
    pub pool: Option<MoRef>,
    pub host: Option<MoRef>,
    pub datastore: Option<MoRef>,
    /// What its guest makes of itself.
    pub customization: Option<Value>,
    pub mark: String,
    pub remarks: Vec<String>,
}

/// What a clone has in common with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing; made of this snapshot, or of the source as it is.
    Full(Option<MoRef>),
    /// The disks of this snapshot.
    Linked(Option<MoRef>),
    /// Disks and memory of this moment.
    Instant,
}

#[async_trait]
impl CloneJob for Job {
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        _: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let (method, body) = match self.how {
            How::Instant => ("InstantClone_Task", self.instant_body()),
            How::Full(_) | How::Linked(_) => ("CloneVM_Task", self.body()),
        };
        let task = self.client.call(method, &self.source, body).await;
        let task = task.context(|| "ask for the clone")?.reference()?;
        let left = cancel.leftover(format!("the clone {}, which the server makes", self.name));
        let mut made = self.client.follow_task(&task, tell, cancel).await;
        if made.is_err() && cancel.is_cancelled() {
            made = self.call_off(&task, made).await;
        }
        drop(left);
        let id = made.map_err(in_doubt)?.reference().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a clone and does not say which")
        })?;
        if let How::Linked(_) = self.how {
            self.check_linked(&id).await?;
        }
        Ok(VmId(id.value))
    }
}

impl Job {
    fn body(&self) -> Body {
        // The order is that of VirtualMachineRelocateSpec and VirtualMachineCloneSpec.
        let mut body = Body::new()
            .reference("folder", &self.folder)
            .text("name", &self.name)
            .open("spec", None)
            .open("location", None);
        body = reference(body, "datastore", &self.datastore);
        if let How::Linked(_) = self.how {
            body = body.text("diskMoveType", "createNewChildDiskBacking");
        }
        body = reference(body, "pool", &self.pool);
        body = reference(body, "host", &self.host)
            .close("location")
            .text("template", self.template)
            .open("config", None);
        body = marked(body, "extraConfig", &self.mark).close("config");
        if let Some(spec) = &self.customization {
            body = body.value("customization", spec);
        }
        body = body.text("powerOn", false);
        let snapshot = match &self.how {
            How::Full(snapshot) | How::Linked(snapshot) => snapshot,
            How::Instant => &None,
        };
        reference(body, "snapshot", snapshot).close("spec")
    }

    /// What VirtualMachineInstantCloneSpec has; the host is the source's.
    fn instant_body(&self) -> Body {
        let mut body = Body::new()
            .open("spec", None)
            .text("name", &self.name)
            .open("location", None)
            .reference("folder", &self.folder);
        body = reference(body, "datastore", &self.datastore);
        body = reference(body, "pool", &self.pool).close("location");
        marked(body, "config", &self.mark).close("spec")
    }

    /// Asks the server to stop, which may be too late.
    async fn call_off(&self, task: &MoRef, stopped: Result<Value>) -> Result<Value> {
        if let Err(error) = self.client.call("CancelTask", task, Body::new()).await {
            tracing::debug!("call off {task}: {error}");
        }
        let ended = tokio::time::timeout(GRACE, self.client.wait_task(task, &Cancel::new())).await;
        let goes_on = "the server goes on making it; the same command again finds it";
        match ended {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(error)) if fault_of(&error).is_none() => {
                stopped.map_err(|stopped| stopped.with_hint(goes_on))
            }
            Ok(Err(_)) => {
                let left = place::child(&self.client, &self.folder, &self.name).await;
                stopped.map_err(|stopped| match left {
                    Ok(None) => stopped.context("the clone was called off, nothing of it is left"),
                    _ => stopped.with_hint("look whether the server has left something of it"),
                })
            }
            Err(_) => stopped.map_err(|stopped| stopped.with_hint(goes_on)),
        }
    }

    /// That a linked clone has no disk of its own; one that has is removed again.
    async fn check_linked(&self, id: &MoRef) -> Result<()> {
        let read = self.client.properties(id, &["config.hardware.device"]).await?;
        let devices = read.get("config.hardware.device").map(|it| it.children.iter());
        let mut disks = devices.into_iter().flatten().filter(|it| it.is("VirtualDisk"));
        if disks.all(|disk| disk.at("backing.parent").is_some()) {
            return Ok(());
        }
        let remove = self.client.call("Destroy_Task", id, Body::new()).await;
        let remove = remove.and_then(|reply| reply.reference());
        let removed = self.client.wait_task(&remove?, &Cancel::new()).await;
        removed.context(|| "remove a clone that should have been linked and is a full copy")?;
        Err(Error::unsupported("the server made a full copy of a clone that was to be linked")
            .with_hint("the copy is removed; without --linked it stays"))
    }
}

/// What is said of a clone of which nobody knows any more what became of it: one of which the server
/// told nothing, not even that it failed.
fn in_doubt(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable if fault_of(&error).is_none() => error
            .context("the server may go on making the clone")
            .with_hint("the same command again finds what is there"),
        _ => error,
    }
}

fn reference(body: Body, name: &str, value: &Option<MoRef>) -> Body {
    match value {
        Some(value) => body.reference(name, value),
        None => body,
    }
}
