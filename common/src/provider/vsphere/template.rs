//! Templates: machines that are kept to be copied (VirtualMachine.MarkAsTemplate and CloneVM_Task,
//! vSphere API reference), and the items of content libraries.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::client::Client;
use super::cloning::Planner;
use super::inventory::{MACHINE, each_machine, place as place_of};
use super::names::Names;
use super::property::{Object, Properties};
use super::record::{PATHS, record, status};
use super::resolve::resolve;
use super::soap::{Body, MoRef};
use super::{NAME, Vsphere, deploy, library, place, resize};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::{
    CloneJob, Customize, Ledgers, NewClone, Place, Planned, Step,
};
use crate::provider::facets::power::Power;
use crate::provider::facets::resize::{Resize, Size};
use crate::provider::facets::templates::{
    Deployment, NewTemplate, Origin, Template, TemplateKind, Templates,
};
use crate::vm::{VmId, VmStatus};

const IS_TEMPLATE: &str = "config.template";
const DESCRIPTION: &str = "config.annotation";

#[async_trait]
impl Templates for Vsphere {
    async fn all_templates(&self, kinds: &[TemplateKind]) -> Result<Vec<Template>> {
        let mut all = Vec::new();
        if kinds.contains(&TemplateKind::Machine) {
            all.extend(machines(self.client()).await?);
        }
        if kinds.contains(&TemplateKind::LibraryItem) {
            all.extend(library::items(self.client(), kinds.len() == 1).await?);
        }
        Ok(all)
    }

    async fn template(&self, reference: &str, kinds: &[TemplateKind]) -> Result<Template> {
        let found = match kinds.contains(&TemplateKind::Machine) {
            true => resolve(self.client(), reference).await,
            false => Err(Error::not_found("there is no such template").with_subject(reference)),
        };
        match found {
            Ok(id) => machine(self.client(), &id).await,
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Err(_) => item(self.client(), reference, kinds).await,
        }
    }

    async fn plan_template(&self, wanted: &NewTemplate) -> Result<Box<dyn CloneJob>> {
        shapeless(wanted.instancetype.as_ref().or(wanted.preference.as_ref()))?;
        let job: Box<dyn CloneJob> = match &wanted.from {
            Origin::Volume(_) => {
                return Err(Error::unsupported("vSphere makes templates of machines")
                    .with_hint("name one with --from"));
            }
            Origin::Converted(vm) => Box::new(conversion(self.client(), vm, &wanted.name).await?),
            Origin::Copy { vm, snapshot } => {
                let clone = clone(vm, &wanted.name, snapshot.clone(), &wanted.place);
                match Planner::new(self).await?.plan(&clone, true).await? {
                    Planned::Ready(job) => job,
                    Planned::There(_) => {
                        return Err(Error::conflict("the name is taken")
                            .with_hint("by a copy of this machine"));
                    }
                }
            }
        };
        Ok(job)
    }

    async fn plan_deployment(&self, template: &Template, wanted: &Deployment) -> Result<Planned> {
        shapeless(wanted.instancetype.as_ref().or(wanted.preference.as_ref()))?;
        let planned = match template.kind {
            TemplateKind::Machine => {
                let source = MoRef::new(MACHINE, &template.id.0);
                resize::fits(self.client(), &source, wanted.size).await?;
                let clone = NewClone {
                    customize: wanted.customize.clone(),
                    ..clone(&template.id, &wanted.name, None, &wanted.place)
                };
                Planner::new(self).await?.plan(&clone, false).await?
            }
            _ => {
                Customize::nowhere(wanted.customize.as_ref(), "a content library")?;
                deploy::plan(self.client(), template, wanted).await?
            }
        };
        Ok(match planned {
            Planned::Ready(job) => {
                let Deployment { size, power_on, ready, .. } = *wanted;
                Planned::Ready(Box::new(Deploying {
                    job,
                    vsphere: self.clone(),
                    size,
                    power_on,
                    ready,
                }))
            }
            planned => planned,
        })
    }

    async fn delete_template(&self, template: &Template, cancel: &Cancel) -> Result<()> {
        if template.kind != TemplateKind::Machine {
            return Err(Error::unsupported("items of content libraries are not deleted here"));
        }
        // Somebody may have made a machine of it since it was looked up.
        let Template { id, .. } = machine(self.client(), &template.id).await?;
        let id = MoRef::new(MACHINE, &id.0);
        let task = self.client().call("Destroy_Task", &id, Body::new()).await?;
        self.client().wait_task(&task.reference()?, cancel).await.map(drop)
    }
}

fn shapeless(named: Option<&String>) -> Result<()> {
    named.map_or(Ok(()), |name| {
        let words = format!("{NAME} has no instancetypes and no preferences");
        Err(Error::unsupported(words).with_subject(name))
    })
}

fn clone(source: &VmId, name: &str, snapshot: Option<String>, place: &Place) -> NewClone {
    NewClone {
        source: source.clone(),
        name: name.to_owned(),
        snapshot,
        linked: false,
        snapshot_comes: false,
        instant: false,
        customize: None,
        place: place.clone(),
    }
}

/// All templates among the machines that the context is about.
async fn machines(client: &Client) -> Result<Vec<Template>> {
    let names = Names::read(client).await?;
    let place = place_of(client, &names, None).await?;
    let found = Arc::new(Mutex::new(Vec::new()));
    let into = found.clone();
    let take = move |object: Object| {
        if object.properties.flag(IS_TEMPLATE) == Some(true) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(object.id);
        }
        Ok(true)
    };
    each_machine(client, &place, &[IS_TEMPLATE], Box::new(take)).await?;
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    let paths = [&PATHS[..], &[IS_TEMPLATE, DESCRIPTION]].concat();
    let objects = client.objects(&found, &paths).await?;
    let mut all: Vec<_> = objects.iter().map(|it| of_machine(client, &names, it)).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// A machine that must be a template.
async fn machine(client: &Client, id: &VmId) -> Result<Template> {
    let id = MoRef::new(MACHINE, &id.0);
    let paths = [&PATHS[..], &[IS_TEMPLATE, DESCRIPTION]].concat();
    let properties = client.properties(&id, &paths).await?;
    if properties.flag(IS_TEMPLATE) != Some(true) {
        return Err(Error::conflict("this is a machine and no template")
            .with_subject(properties.str("name").unwrap_or(&id.value).to_owned())
            .with_hint(
                "`hyper template create --convert` makes it one, `hyper vm` is for machines",
            ));
    }
    let names = Names::read(client).await?;
    Ok(of_machine(client, &names, &Object { id, properties }))
}

fn of_machine(client: &Client, names: &Names, object: &Object) -> Template {
    let vm = record(&client.endpoint().context, names, object);
    let reachable = status(&object.properties) != VmStatus::Unknown;
    Template {
        ready: Some(reachable),
        reason: (!reachable).then(|| "its host does not answer".to_owned()),
        size_bytes: vm.capacity_bytes,
        cpus: vm.cpus,
        memory_bytes: vm.memory_bytes,
        guest_os_name: vm.guest_os_name,
        path: vm.path,
        description: object.properties.str(DESCRIPTION).map(str::to_owned),
        ..Template::new(vm.id.0, vm.name, TemplateKind::Machine)
    }
}

/// The item of a content library that a name or an id means.
async fn item(client: &Client, reference: &str, kinds: &[TemplateKind]) -> Result<Template> {
    let missing = || Error::not_found("there is no such template").with_subject(reference);
    if !kinds.contains(&TemplateKind::LibraryItem) {
        return Err(missing());
    }
    let id = reference.strip_prefix('@');
    let mut fitting = library::items(client, kinds.len() == 1).await?;
    let named = |it: &Template| {
        let library = it.source.as_deref().unwrap_or_default();
        it.name == reference
            || reference.strip_prefix(library).and_then(|rest| rest.strip_prefix('/'))
                == Some(it.name.as_str())
    };
    fitting.retain(|it| id.map_or_else(|| named(it), |id| it.id.0 == id));
    match fitting.len() {
        0 => Err(missing().with_hint("`hyper template list` shows all")),
        1 => Ok(fitting.swap_remove(0)),
        several => {
            let error = Error::conflict(format!("{several} items of libraries are called so"));
            let words = |it: &Template| match &it.source {
                Some(library) => format!("@{} in {library}", it.id),
                None => format!("@{}", it.id),
            };
            let error = fitting.iter().fold(error, |error, it| error.with_hint(words(it)));
            Err(error.with_subject(reference))
        }
    }
}

/// A machine that is to become a template itself.
async fn conversion(client: &Client, vm: &VmId, name: &str) -> Result<Conversion> {
    let vm = MoRef::new(MACHINE, &vm.0);
    let paths = ["name", "parent", "runtime.powerState", IS_TEMPLATE];
    let now: Properties = client.properties(&vm, &paths).await?;
    if now.flag(IS_TEMPLATE) == Some(true) {
        return Err(Error::conflict("it is a template already"));
    }
    if now.str("runtime.powerState") != Some("poweredOff") {
        return Err(Error::conflict("the machine is not off: only one that is becomes a template")
            .with_hint("`hyper vm stop` shuts it down; without --convert a copy of it is made"));
    }
    let old = now.str("name").unwrap_or_default().to_owned();
    if old != name
        && let Some(folder) = now.reference("parent")
        && place::child(client, &folder, name).await?.is_some()
    {
        return Err(Error::conflict("the name is taken"));
    }
    Ok(Conversion { client: client.clone(), vm, old, name: name.to_owned() })
}

#[derive(Debug)]
struct Conversion {
    client: Client,
    vm: MoRef,
    /// How it is called as a machine.
    old: String,
    name: String,
}

#[async_trait]
impl CloneJob for Conversion {
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    async fn make(
        &self,
        _: &(dyn Fn(Step) + Send + Sync),
        _: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        if self.old != self.name {
            self.rename(&self.name, cancel).await?;
        }
        if let Err(error) = self.client.call("MarkAsTemplate", &self.vm, Body::new()).await {
            if self.old != self.name {
                self.rename(&self.old, &Cancel::new()).await?;
            }
            return Err(error);
        }
        Ok(VmId(self.vm.value.clone()))
    }
}

impl Conversion {
    async fn rename(&self, name: &str, cancel: &Cancel) -> Result<()> {
        let body = Body::new().text("newName", name);
        let task = self.client.call("Rename_Task", &self.vm, body).await?.reference()?;
        self.client.wait_task(&task, cancel).await.map(drop)
    }
}

/// A machine that is made, and given a size and switched on then.
#[derive(Debug)]
struct Deploying {
    job: Box<dyn CloneJob>,
    vsphere: Vsphere,
    size: Size,
    power_on: bool,
    ready: bool,
}

#[async_trait]
impl CloneJob for Deploying {
    fn remarks(&self) -> Vec<String> {
        self.job.remarks()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        ledgers: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        let vm = self.job.make(tell, ledgers, cancel).await?;
        let finish = async {
            if self.size != Size::default() {
                self.vsphere.resize(&vm, self.size, cancel).await?;
            }
            if self.power_on {
                self.vsphere.start(&vm, self.ready, cancel).await?;
            }
            Ok(())
        };
        let finished: Result<()> = finish.await;
        finished.map_err(|error| error.context("finish the machine, which is there"))?;
        Ok(vm)
    }
}
