//! Machines from golden images: a `VirtualMachine` whose disk is a copy of what a DataSource holds.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::Place;
use super::create::{CDI, kind, text};
use super::describe::{self, DEFAULTS};
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, optional};
use super::record::{id, parts};
use super::template_make::{FILLED, follow};
use super::wire::VirtualMachine;
use super::{Kubevirt, NAME};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::{CloneJob, Customize, Ledgers, Planned, Step, mark};
use crate::provider::facets::create::{Create, Deed, Making, NewDisk, NewVm};
use crate::provider::facets::power::Power;
use crate::provider::facets::templates::{Deployment, Template, TemplateKind};
use crate::vm::VmId;

/// The annotation of a machine that says which template it was made from.
const MARK: &str = "hyper/deployed-from";

/// The phase of a volume that is filled.
const DONE: &str = "Succeeded";

/// Looks at a machine that is wanted of a golden image; the server is asked whether it would.
///
/// # Errors
/// Those of [`Templates::plan_deployment`](crate::provider::Templates::plan_deployment).
pub async fn plan(
    kubevirt: &Kubevirt,
    template: &Template,
    wanted: &Deployment,
) -> Result<Planned> {
    wanted.place.nowhere(NAME)?;
    Customize::nowhere(wanted.customize.as_ref(), NAME)?;
    if template.kind != TemplateKind::DataSource {
        let words = format!("no machine is made from a {} alone", template.kind.name());
        return Err(Error::unsupported(words).with_hint("a data-source has the disk for one"));
    }
    let vm = NewVm {
        name: wanted.name.clone(),
        cpus: wanted.size.cpus,
        memory_bytes: wanted.size.memory_bytes,
        disk: Some(disk(template)),
        instancetype: wanted.instancetype.clone(),
        preference: wanted.preference.clone(),
        ..NewVm::default()
    };
    let described = describe::describe(kubevirt, &vm).await?;
    let Deed::Make { mut objects, .. } = described.deed else {
        return Err(Error::new(ErrorKind::Internal, "a machine is described as something else"));
    };
    let (namespace, name) =
        (wanted.name.split_once('/')).unwrap_or((&kubevirt.namespace, &wanted.name));
    let mark = mark(&template.id.0, name);
    for machine in objects.iter_mut().filter(|it| kind(it) == "VirtualMachine") {
        machine["metadata"]["annotations"] = json!({ MARK: mark });
    }
    let resource = kubevirt.client().resource(KUBEVIRT, MACHINES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    if let Some(there) = optional(kubevirt.client().get::<VirtualMachine>(place, name).await)? {
        return match there.metadata.annotations.get(MARK) == Some(&mark) {
            true => Ok(Planned::There(id(namespace, name))),
            false => Err(Error::conflict("the name is taken")
                .with_hint("by a machine that was not made from this template")),
        };
    }
    if template.ready == Some(false) {
        let why = template.reason.clone().filter(|it| !it.is_empty());
        return Err(Error::conflict("the template is not ready")
            .with_source(why.unwrap_or_else(|| "no reason is given".to_owned())));
    }
    let trial =
        Making { objects: &objects, dry_run: true, start: false, wait: false, upload: None };
    kubevirt.make(&trial, &Cancel::new()).await?;
    let kubevirt = kubevirt.clone();
    let Deployment { power_on, ready, .. } = *wanted;
    Ok(Planned::Ready(Box::new(Job { kubevirt, objects, power_on, ready })))
}

/// The template's disk, with the size and the devices that go with it where it names any.
fn disk(template: &Template) -> NewDisk {
    let named = DEFAULTS.iter().any(|(_, label)| template.labels.contains_key(*label));
    match named {
        true => NewDisk::Template(template.id.0.clone()),
        false => NewDisk::Source(template.id.0.clone()),
    }
}

#[derive(Debug)]
struct Job {
    kubevirt: Kubevirt,
    objects: Vec<Value>,
    power_on: bool,
    ready: bool,
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
        let making = Making {
            objects: &self.objects,
            dry_run: false,
            start: false,
            wait: false,
            upload: None,
        };
        let made = self.kubevirt.make(&making, cancel).await?;
        let vm = made.vm.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a machine and does not say which")
        })?;
        let left = cancel.leftover(format!("the machine {vm}"));
        let filled = self.filled(&vm, tell, cancel).await;
        if filled.is_err() {
            // Nobody has used it: it never ran.
            self.remove(&vm).await?;
        }
        drop(left);
        let waiting = filled?;
        if self.power_on {
            self.switch_on(&vm, &waiting, tell, cancel)
                .await
                .map_err(|error| error.context("switch on the machine, which is there"))?;
        }
        Ok(vm)
    }
}

impl Job {
    /// The names of the volumes that are made for the machine.
    fn volumes(&self) -> Vec<&str> {
        let templates =
            self.objects.iter().filter_map(|it| it.pointer("/spec/dataVolumeTemplates"));
        let templates = templates.filter_map(Value::as_array).flatten();
        templates.map(|it| text(it, "/metadata/name")).collect()
    }

    /// Waits until all its volumes are filled, or would be by a machine that runs; the latter.
    async fn filled(
        &self,
        vm: &VmId,
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Vec<&str>> {
        let mut waiting = Vec::new();
        let place = self.place(vm).await?;
        for name in self.volumes() {
            // The machine's controller makes it, a moment later.
            super::power::look(cancel, || async {
                let there = self.kubevirt.exists(place.resource, place.namespace, name).await?;
                Ok(there.then_some(()))
            })
            .await?;
            let phase = follow(&self.kubevirt, place, (name, FILLED), tell, cancel).await?;
            waiting.extend((phase != DONE).then_some(name));
        }
        Ok(waiting)
    }

    async fn place<'v>(&self, vm: &'v VmId) -> Result<Place<'v>> {
        let resource = self.kubevirt.client().resource(CDI, "datavolumes").await?;
        Ok(Place { resource, namespace: Some(parts(vm).0) })
    }

    /// Switches it on. Volumes that waited for that tell how far they are meanwhile.
    async fn switch_on(
        &self,
        vm: &VmId,
        waiting: &[&str],
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<()> {
        let place = self.place(vm).await?;
        let late = async {
            for name in waiting {
                follow(&self.kubevirt, place, (name, &[DONE]), tell, cancel).await?;
            }
            Ok(())
        };
        let start = async { self.kubevirt.start(vm, self.ready, cancel).await.map(drop) };
        tokio::pin!(start);
        tokio::select! {
            started = &mut start => started,
            told = late => told.and(start.await),
        }
    }

    async fn remove(&self, vm: &VmId) -> Result<()> {
        use crate::provider::facets::lifecycle::Lifecycle;
        self.kubevirt.delete(vm, true, &Cancel::new()).await
    }
}
