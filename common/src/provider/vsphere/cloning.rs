//! Clones of machines and of templates (VirtualMachine.CloneVM_Task, vSphere API reference).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::inventory::MACHINE;
use super::names::Names;
use super::place::{self, Kind};
use super::property::Properties;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::provider::facets::cloning::{CloneJob, Cloning, Ledgers, NewClone, Planned, Step, mark};
use crate::provider::facets::snapshots::{Snapshots, find as find_snapshot};
use crate::vm::VmId;

/// The option of a clone's configuration that says what it was made of.
const MARK: &str = "hyper.clonedFrom";

/// What is read of a source.
const SOURCE: [&str; 5] =
    ["name", "parent", "config.instanceUuid", "config.template", "resourcePool"];

/// How long a task that was called off is waited for.
const GRACE: Duration = Duration::from_secs(20);

#[async_trait]
impl Cloning for Vsphere {
    async fn plan(&self, wanted: &[NewClone]) -> Result<Vec<Result<Planned>>> {
        let mut planner = Planner::new(self).await?;
        let mut planned = Vec::new();
        for one in wanted {
            planned.push(planner.plan(one, false).await);
        }
        Ok(planned)
    }
}

/// Looks at clones that are wanted; what was read for one is known for the next.
pub(super) struct Planner<'v> {
    vsphere: &'v Vsphere,
    names: Names,
    sources: HashMap<VmId, Properties>,
}

impl<'v> Planner<'v> {
    /// Reads the names of the inventory.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn new(vsphere: &'v Vsphere) -> Result<Self> {
        let names = Names::read(vsphere.client()).await?;
        Ok(Self { vsphere, names, sources: HashMap::new() })
    }

    /// Looks at one that is to be a machine, or a template.
    ///
    /// # Errors
    /// Those of the answers of [`Cloning::plan`].
    pub async fn plan(&mut self, wanted: &NewClone, template: bool) -> Result<Planned> {
        let client = self.vsphere.client();
        let source = self.source(&wanted.source).await?;
        let (pool, host) = self.pool_and_host(wanted, &source, template).await?;
        let folder = match &wanted.place.folder {
            Some(folder) => place::find(client, &self.names, Kind::Folder, folder).await?,
            None => source.reference("parent").ok_or_else(|| {
                Error::usage("the machine is in no folder").with_hint("name one with --folder")
            })?,
        };
        let datastore = match &wanted.place.datastore {
            Some(name) => Some(place::find(client, &self.names, Kind::Datastore, name).await?),
            None => None,
        };
        let snapshot = self.snapshot(wanted).await?;
        let uuid = source.str("config.instanceUuid").unwrap_or(&wanted.source.0);
        let mark = mark(uuid, &wanted.name);
        if let Some(there) = place::child(client, &folder, &wanted.name).await? {
            return known(client, there, &mark).await.map(Planned::There);
        }
        Ok(Planned::Ready(Box::new(Job {
            client: client.clone(),
            source: MoRef::new(MACHINE, &wanted.source.0),
            name: wanted.name.clone(),
            linked: wanted.linked,
            template,
            folder,
            pool,
            host,
            datastore,
            snapshot,
            mark,
        })))
    }

    async fn source(&mut self, id: &VmId) -> Result<Properties> {
        if let Some(known) = self.sources.get(id) {
            return Ok(known.clone());
        }
        let machine = MoRef::new(MACHINE, &id.0);
        let read = self.vsphere.client().properties(&machine, &SOURCE).await?;
        self.sources.insert(id.clone(), read.clone());
        Ok(read)
    }

    /// The pool and the host, as far as they are not the server's to choose.
    async fn pool_and_host(
        &self,
        wanted: &NewClone,
        source: &Properties,
        template: bool,
    ) -> Result<(Option<MoRef>, Option<MoRef>)> {
        let (client, names) = (self.vsphere.client(), &self.names);
        let host = match &wanted.place.host {
            Some(name) => Some(place::host(names, name)?),
            None => None,
        };
        let own = source.reference("resourcePool");
        let pool = match (&wanted.place.pool, &host) {
            (Some(name), _) => Some(place::pool(client, names, name).await?),
            (None, Some(host)) => place::pool_of(client, host, own.as_ref()).await?,
            (None, None) => None,
        };
        if pool.is_none() && own.is_none() && !template {
            return Err(Error::usage("the source is a template, which has no resource pool")
                .with_hint("name one with --pool, or a host with --host"));
        }
        Ok((pool, host))
    }

    async fn snapshot(&self, wanted: &NewClone) -> Result<Option<MoRef>> {
        let Some(name) = &wanted.snapshot else {
            if !wanted.linked || wanted.snapshot_comes {
                return Ok(None);
            }
            let all = self.vsphere.all(&wanted.source).await?;
            let names: Vec<_> = all.iter().map(|it| it.name.as_str()).collect();
            let error = Error::conflict("a linked clone shares the disks of a snapshot");
            return Err(match names.is_empty() {
                true => error.with_hint("--make-snapshot takes one"),
                false => error.with_hint(format!(
                    "name one with --snapshot ({}), or let --make-snapshot take one",
                    names.join(", ")
                )),
            });
        };
        let all = self.vsphere.all(&wanted.source).await?;
        Ok(Some(MoRef::new("VirtualMachineSnapshot", &find_snapshot(&all, name)?.id)))
    }
}

/// The machine that is there, where it is what would be made.
///
/// # Errors
/// `Conflict` where it is another; those of a call.
pub(super) async fn known(client: &Client, there: MoRef, mark: &str) -> Result<VmId> {
    let taken = Error::conflict("the name is taken");
    if there.kind != MACHINE {
        return Err(taken.with_hint(format!("by a {}", there.kind)));
    }
    let read = client.properties(&there, &["config.extraConfig"]).await?;
    let options = read.get("config.extraConfig").map(|it| it.children.iter());
    let mut options = options.into_iter().flatten();
    match options.any(|it| it.str("key") == Some(MARK) && it.str("value") == Some(mark)) {
        true => Ok(VmId(there.value)),
        false => Err(taken.with_hint("by a machine that was not made of this source")),
    }
}

/// Adds what a machine was made of to its configuration.
pub(super) fn marked(body: Body, mark: &str) -> Body {
    body.open("extraConfig", None)
        .text("key", MARK)
        .typed("value", "xsd:string", mark)
        .close("extraConfig")
}

#[derive(Debug)]
struct Job {
    client: Client,
    source: MoRef,
    name: String,
    linked: bool,
    template: bool,
    folder: MoRef,
    pool: Option<MoRef>,
    host: Option<MoRef>,
    datastore: Option<MoRef>,
    snapshot: Option<MoRef>,
    mark: String,
}

#[async_trait]
impl CloneJob for Job {
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        _: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let task = self.client.call("CloneVM_Task", &self.source, self.body()).await?;
        let task = task.reference()?;
        let left = cancel.leftover(format!("the clone {}, which the server makes", self.name));
        let mut made = self.client.follow_task(&task, tell, cancel).await;
        if made.is_err() && cancel.is_cancelled() {
            made = self.call_off(&task, made).await;
        }
        drop(left);
        let id = made?.reference().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a clone and does not say which")
        })?;
        if self.linked {
            self.check_linked(&id).await?;
        }
        Ok(VmId(id.value))
    }
}

impl Job {
    fn body(&self) -> Body {
        // The order is that of VirtualMachineRelocateSpec and VirtualMachineCloneSpec.
        let reference = |body: Body, name: &str, value: &Option<MoRef>| match value {
            Some(value) => body.reference(name, value),
            None => body,
        };
        let mut body = Body::new()
            .reference("folder", &self.folder)
            .text("name", &self.name)
            .open("spec", None)
            .open("location", None);
        body = reference(body, "datastore", &self.datastore);
        if self.linked {
            body = body.text("diskMoveType", "createNewChildDiskBacking");
        }
        body = reference(body, "pool", &self.pool);
        body = reference(body, "host", &self.host)
            .close("location")
            .text("template", self.template)
            .open("config", None);
        body = marked(body, &self.mark).close("config").text("powerOn", false);
        reference(body, "snapshot", &self.snapshot).close("spec")
    }

    /// Asks the server to stop, which may be too late.
    async fn call_off(&self, task: &MoRef, stopped: Result<Value>) -> Result<Value> {
        if let Err(error) = self.client.call("CancelTask", task, Body::new()).await {
            tracing::debug!("call off {task}: {error}");
        }
        match tokio::time::timeout(GRACE, self.client.wait_task(task, &Cancel::new())).await {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(_)) => stopped,
            Err(_) => stopped.map_err(|error| error.with_hint("the server goes on making it")),
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
