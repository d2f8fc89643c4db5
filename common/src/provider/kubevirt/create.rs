//! Making machines and what belongs to them.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::client::Place;
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::{INSTANCES, MACHINES, optional};
use super::power::look;
use super::record::id;
use super::template::SOURCES;
use super::upload::Filling;
use super::{Kubevirt, describe, manifest};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::create::{
    Answer, Create, Described, DiskKind, Made, Making, NewVm, Question,
};
use crate::vm::VmId;

/// CDI's group.
pub const CDI: &str = "cdi.kubevirt.io";
/// The group of sizes and of preferred devices.
pub const INSTANCETYPE: &str = "instancetype.kubevirt.io";

/// The kinds that are made, with their groups and their names in paths.
const KINDS: &[(&str, &str, &str)] = &[
    ("VirtualMachine", KUBEVIRT, MACHINES),
    ("VirtualMachineSnapshot", "snapshot.kubevirt.io", "virtualmachinesnapshots"),
    ("VirtualMachineClone", "clone.kubevirt.io", "virtualmachineclones"),
    ("VirtualMachineInstancetype", INSTANCETYPE, "virtualmachineinstancetypes"),
    ("VirtualMachinePreference", INSTANCETYPE, "virtualmachinepreferences"),
    ("DataVolume", CDI, "datavolumes"),
    ("DataSource", CDI, SOURCES),
];

/// What KubeVirt calls machines that will not run until somebody does something about it.
const STUCK: &[&str] = &[
    "CrashLoopBackOff",
    "ErrorUnschedulable",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrorPvcNotFound",
    "DataVolumeError",
];

/// How often a machine must be seen stuck, so that nobody takes a moment for a state.
const SIGHTINGS: u32 = 5;

#[async_trait]
impl Create for Kubevirt {
    async fn describe(&self, vm: &NewVm) -> Result<Described> {
        describe::describe(self, vm).await
    }

    fn read(&self, text: &str) -> Result<Vec<Described>> {
        manifest::read(text, &self.namespace)
    }

    async fn make(&self, wanted: &Making<'_>, cancel: &Cancel) -> Result<Made> {
        let mut filling = match &wanted.upload {
            Some(upload) => Some(Filling::new(self, upload, wanted.objects, cancel).await?),
            None => None,
        };
        if let Some(filling) = filling.as_mut().filter(|_| !wanted.dry_run) {
            filling.note()?;
        }
        let mut made = Vec::new();
        for object in wanted.objects {
            match self.make_one(object, wanted, filling.as_ref(), cancel).await {
                Ok(object) => made.push(object),
                Err(error) => {
                    self.remove(&made, wanted.dry_run).await;
                    return Err(match filling {
                        Some(filling) if !wanted.dry_run => filling.refused(error).await,
                        _ => error,
                    });
                }
            }
        }
        if let Some(filling) = filling.as_ref().filter(|_| !wanted.dry_run)
            && let Err(error) = filling.fill(wanted.start, cancel).await
        {
            self.remove(&made, false).await;
            return Err(filling.undo(error).await);
        }
        let machine = made.iter().find(|it| kind(it) == "VirtualMachine");
        let vm = machine.map(|it| id(text(it, "/metadata/namespace"), text(it, "/metadata/name")));
        let mut note = note(&made);
        if wanted.dry_run {
            return Ok(Made { vm, note: Some("the server accepts it".to_owned()) });
        }
        if let Some(machine) = machine {
            self.hand_over(machine, &made).await?;
        }
        if wanted.wait {
            for object in &made {
                note = self.completed(object, cancel).await?.or(note);
            }
        }
        let way = filling.as_ref().and_then(|filling| filling.remark()).map(str::to_owned);
        let notes: Vec<_> = [note, way].into_iter().flatten().collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Made { vm, note })
    }

    fn disks(&self) -> &'static [DiskKind] {
        &[DiskKind::Image, DiskKind::Source, DiskKind::Volume, DiskKind::Blank]
    }

    fn has_namespaces(&self) -> bool {
        true
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        let all = self.client().list::<Value>(Resource::core("namespaces"), None, String::new());
        all.map_ok(|it| text(&it, "/metadata/name").to_owned()).try_collect().await
    }

    async fn choices(&self, _: Question, _: &NewVm) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn check(&self, answer: &Answer<'_>) -> Result<()> {
        match *answer {
            Answer::Name(name) => describe::checked_name(name, "a machine"),
            Answer::Namespace(namespace, name) => {
                describe::checked_name(namespace, "a namespace")?;
                self.check_namespace(namespace).await?;
                let resource = self.client().resource(KUBEVIRT, MACHINES).await?;
                match self.exists(resource, Some(namespace), name).await? {
                    true => {
                        Err(Error::conflict(format!("{namespace} has a machine {name} already")))
                    }
                    false => Ok(()),
                }
            }
            Answer::Disk(namespace, disk) => {
                describe::disk(self, namespace, "disk", disk, None).await.map(drop)
            }
        }
    }
}

impl Kubevirt {
    async fn make_one(
        &self,
        object: &Value,
        how: &Making<'_>,
        filling: Option<&Filling<'_>>,
        cancel: &Cancel,
    ) -> Result<Value> {
        let resource = self.resource_of(kind(object)).await?;
        let mut object = object.clone();
        object["apiVersion"] = resource.api_version().into();
        if kind(&object) == "VirtualMachine"
            && let Some(filling) = filling
        {
            filling.mark(&mut object);
        } else if how.start && kind(&object) == "VirtualMachine" {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("running");
            }
            object["spec"]["runStrategy"] = "Always".into();
        }
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let place = Place { resource, namespace: Some(&namespace) };
        cancel.unless_cancelled(self.client().create(place, &object, how.dry_run)).await
    }

    /// Where objects of a kind are.
    async fn resource_of(&self, kind: &str) -> Result<Resource> {
        if kind == "Secret" {
            return Ok(Resource::core("secrets"));
        }
        let known = KINDS.iter().find(|(name, ..)| *name == kind);
        let Some((_, group, plural)) = known else {
            return Err(Error::unsupported(format!("no {kind} is made")));
        };
        self.client().resource(group, plural).await
    }

    /// Removes what was made of something that came to nothing.
    async fn remove(&self, made: &[Value], dry_run: bool) {
        for object in made.iter().filter(|_| !dry_run) {
            let namespace = text(object, "/metadata/namespace");
            let name = text(object, "/metadata/name");
            let Ok(resource) = self.resource_of(kind(object)).await else { continue };
            let place = Place { resource, namespace: Some(namespace) };
            let options = json!({ "preconditions": { "uid": text(object, "/metadata/uid") } });
            if let Err(error) = self.client().delete(place, name, &options).await {
                tracing::warn!("{} {namespace}/{name} stays: {error}", kind(object));
            }
        }
    }

    /// Lets the secrets of a machine go with it when it is deleted.
    async fn hand_over(&self, machine: &Value, made: &[Value]) -> Result<()> {
        let owner = json!({
            "apiVersion": machine["apiVersion"],
            "kind": "VirtualMachine",
            "name": machine["metadata"]["name"],
            "uid": machine["metadata"]["uid"],
        });
        for secret in made.iter().filter(|it| kind(it) == "Secret") {
            let namespace = Some(text(secret, "/metadata/namespace"));
            let place = Place { resource: Resource::core("secrets"), namespace };
            let patch = json!({ "metadata": { "ownerReferences": [owner] } });
            let name = text(secret, "/metadata/name");
            self.client().merge::<Value>(place, name, &patch, false).await?;
        }
        Ok(())
    }

    /// Waits until an object is complete; what there is to say about it then.
    async fn completed(&self, object: &Value, cancel: &Cancel) -> Result<Option<String>> {
        let resource = self.resource_of(kind(object)).await?;
        let namespace = text(object, "/metadata/namespace");
        let place = Place { resource, namespace: Some(namespace) };
        let name = text(object, "/metadata/name");
        let stuck = AtomicU32::new(0);
        look(cancel, || async {
            let now: Value = self.client().get(place, name).await?;
            match state(&now) {
                State::Complete(note) => Ok(Some(note)),
                State::Failed(why) => Err(Error::new(ErrorKind::Protocol, why).with_subject(name)),
                State::Underway => {
                    stuck.store(0, Ordering::Relaxed);
                    Ok(None)
                }
                State::Stuck(status) => {
                    let seen = stuck.fetch_add(1, Ordering::Relaxed) + 1;
                    if seen < SIGHTINGS {
                        return Ok(None);
                    }
                    let why = self.obstacle(namespace, name, &now).await?;
                    let words = format!("it does not start ({status}): {why}");
                    Err(Error::new(ErrorKind::Protocol, words).with_subject(name))
                }
            }
        })
        .await
    }

    /// What keeps a machine from running, which its instance knows best.
    async fn obstacle(&self, namespace: &str, name: &str, machine: &Value) -> Result<String> {
        let resource = self.client().resource(KUBEVIRT, INSTANCES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        let instance = optional(self.client().get::<Value>(place, name).await)?;
        let told = [instance.as_ref().map(reason), Some(reason(machine))];
        let told = told.into_iter().flatten().find(|it| !it.is_empty());
        Ok(told.unwrap_or_else(|| "no reason is given".to_owned()))
    }

    /// Whether an object is there.
    pub(super) async fn exists(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<bool> {
        let found = self.client().get::<Value>(Place { resource, namespace }, name).await;
        Ok(optional(found)?.is_some())
    }
}

/// How far an object is.
enum State {
    Underway,
    /// With what there is to say about it.
    Complete(Option<String>),
    /// It may still come to something, but hardly by itself.
    Stuck(String),
    Failed(String),
}

fn state(object: &Value) -> State {
    let phase = text(object, "/status/phase");
    match (kind(object), phase) {
        ("VirtualMachine", _) => machine_state(object),
        ("VirtualMachineSnapshot", _) if object["status"]["readyToUse"] == true => {
            State::Complete(None)
        }
        ("VirtualMachineSnapshot" | "VirtualMachineClone" | "DataVolume", "Failed") => {
            State::Failed(format!("it failed: {}", reason(object)))
        }
        ("VirtualMachineSnapshot", _) => State::Underway,
        ("VirtualMachineClone", "Succeeded") | ("DataVolume", "Succeeded") => State::Complete(None),
        // It is filled once a machine uses it.
        ("DataVolume", "WaitForFirstConsumer" | "PendingPopulation") => State::Complete(None),
        ("VirtualMachineClone" | "DataVolume", _) => State::Underway,
        _ => State::Complete(None),
    }
}

fn machine_state(machine: &Value) -> State {
    let status = text(machine, "/status/printableStatus");
    let running = &machine["spec"]["running"];
    let off = matches!(text(machine, "/spec/runStrategy"), "Halted" | "Manual")
        || (text(machine, "/spec/runStrategy").is_empty() && running != true);
    match status {
        "Running" => State::Complete(Some("it runs".to_owned())),
        "Stopped" | "WaitingForVolumeBinding" if off => State::Complete(None),
        stuck if STUCK.contains(&stuck) => State::Stuck(stuck.to_owned()),
        _ => State::Underway,
    }
}

/// Why an object is not as it should be, as far as it says. That it is not ready tells least.
pub(super) fn reason(object: &Value) -> String {
    let error = text(object, "/status/error/message");
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let bad = conditions.into_iter().flatten().filter(|it| it["status"] == "False");
    let (plain, telling): (Vec<_>, Vec<_>) = bad.partition(|it| text(it, "/type") == "Ready");
    let words = telling.into_iter().chain(plain).map(|it| text(it, "/message"));
    [error].into_iter().chain(words).find(|it| !it.is_empty()).unwrap_or_default().to_owned()
}

/// What objects are called that records have no column for.
fn note(made: &[Value]) -> Option<String> {
    let name = |it: &Value| format!("{} {}", kind(it), text(it, "/metadata/name"));
    let others = made.iter().filter(|it| !matches!(kind(it), "VirtualMachine" | "Secret"));
    let names = others.map(name).collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then_some(names)
}

/// The kind of an object.
pub fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

/// The text at a place in an object; empty where there is none.
pub fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The VM that an id names, as it is typed.
pub fn reference(namespace: &str, name: &str) -> String {
    let VmId(id) = id(namespace, name);
    format!("@{id}")
}
