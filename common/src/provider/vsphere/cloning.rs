//! Looking at clones of machines and of templates before they are made; `clone_job.rs` makes them.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::client::Client;
use super::clone_job::{How, Job};
use super::inventory::MACHINE;
use super::names::Names;
use super::place::{self, Kind};
use super::property::Properties;
use super::soap::{Body, MoRef, Value};
use super::{Vsphere, customize};
use crate::error::{Error, Result};
use crate::provider::facets::cloning::{Cloning, NewClone, Planned, mark};
use crate::provider::facets::snapshots::{Snapshots, find as find_snapshot};
use crate::vm::VmId;

/// The option of a clone's configuration that says what it was made of.
const MARK: &str = "hyper.clonedFrom";

/// What is read of a source.
const SOURCE: [&str; 6] = [
    "name",
    "parent",
    "config.instanceUuid",
    "config.template",
    "resourcePool",
    "runtime.powerState",
];

/// The version of the interface that instant clones came with.
const INSTANT_SINCE: (u32, u32) = (6, 7);

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
    /// Specifications of guests by their names.
    specs: HashMap<String, Value>,
    /// Host names and addresses that guests of this run are given.
    given: HashSet<String>,
}

impl<'v> Planner<'v> {
    /// Reads the names of the inventory.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn new(vsphere: &'v Vsphere) -> Result<Self> {
        let names = Names::read(vsphere.client()).await?;
        let (sources, specs, given) = (HashMap::new(), HashMap::new(), HashSet::new());
        Ok(Self { vsphere, names, sources, specs, given })
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
        let how = self.how(wanted).await?;
        let customization = self.customization(wanted).await?;
        let uuid = source.str("config.instanceUuid").unwrap_or(&wanted.source.0);
        let mark = mark(uuid, &wanted.name);
        if let Some(there) = place::child(client, &folder, &wanted.name).await? {
            return known(client, there, &mark).await.map(Planned::There);
        }
        if wanted.instant {
            self.check_instant(wanted, &source).await?;
        }
        let remarks = self.remarks(wanted, customization.as_ref());
        Ok(Planned::Ready(Box::new(Job {
            client: self.vsphere.client().clone(),
            source: MoRef::new(MACHINE, &wanted.source.0),
            name: wanted.name.clone(),
            how,
            template,
            folder,
            pool,
            host,
            datastore,
            customization,
            mark,
            remarks,
        })))
    }

    /// What shares its disks and what does not.
    async fn how(&self, wanted: &NewClone) -> Result<How> {
        if wanted.instant {
            return Ok(How::Instant);
        }
        let snapshot = self.snapshot(wanted).await?;
        Ok(match wanted.linked {
            true => How::Linked(snapshot),
            false => How::Full(snapshot),
        })
    }

    /// That the server makes instant clones, and that the source runs.
    async fn check_instant(&self, wanted: &NewClone, source: &Properties) -> Result<()> {
        let content = self.vsphere.client().content().await?;
        let version = content.all.str("about.apiVersion").unwrap_or_default();
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if content.api_type != "VirtualCenter" || (major, minor) < INSTANT_SINCE {
            let words = format!("{} {} makes no instant clones", content.name, content.version);
            return Err(Error::unsupported(words)
                .with_hint("a vCenter 6.7 or newer does; --linked makes clones that share disks"));
        }
        if source.str("runtime.powerState") != Some("poweredOn") {
            return Err(Error::conflict(
                "an instant clone goes on where its source is, which is off",
            )
            .with_subject(source.str("name").unwrap_or(&wanted.source.0).to_owned())
            .with_hint("`hyper vm start` switches it on; without --instant a copy is made"));
        }
        Ok(())
    }

    /// The specification of its guest, complete.
    async fn customization(&mut self, wanted: &NewClone) -> Result<Option<Value>> {
        let Some(own) = &wanted.customize else { return Ok(None) };
        if !self.specs.contains_key(&own.spec) {
            let spec = customize::specification(self.vsphere.client(), &own.spec).await?;
            self.specs.insert(own.spec.clone(), spec);
        }
        let Some(spec) = self.specs.get(&own.spec) else { return Ok(None) };
        customize::complete(spec, own).map(Some)
    }

    /// What guests have in common that should be one's own.
    fn remarks(&mut self, wanted: &NewClone, customization: Option<&Value>) -> Vec<String> {
        let mut remarks = Vec::new();
        if wanted.instant {
            remarks.push(
                "its guest goes on with the host name and the addresses of its source".to_owned(),
            );
        }
        for own in customization.map(customize::fixed).into_iter().flatten() {
            if !self.given.insert(own.clone()) {
                remarks.push(format!("its guest becomes {own}, as another of this run does"));
            }
        }
        remarks
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

/// Adds what a machine was made of to the options of its configuration, which have this name.
pub(super) fn marked(body: Body, options: &str, mark: &str) -> Body {
    body.open(options, None).text("key", MARK).typed("value", "xsd:string", mark).close(options)
}
