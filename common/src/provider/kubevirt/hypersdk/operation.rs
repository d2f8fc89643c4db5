//! `VMOperation` and `VMSnapshot`: what is to be done to a machine that is there.

use serde_json::{Value, json};

use super::super::create::reference;
use super::super::quantity;
use super::{Fields, Place};
use crate::error::{Error, Result};
use crate::provider::facets::create::{Deed, Described};
use crate::provider::facets::migrate::Destination;
use crate::provider::facets::power::Stop;
use crate::provider::facets::resize::Size;

/// The verbs of operations.
const OPERATIONS: [&str; 8] =
    ["start", "stop", "restart", "clone", "migrate", "snapshot", "resize", "delete"];

/// An operation.
pub fn read(fields: &mut Fields, place: &Place) -> Result<Vec<Described>> {
    let vm = machine(fields, place)?;
    let words = OPERATIONS.map(|word| (word, word));
    let Some(word) = fields.word("spec.operation", &words)? else {
        return Err(fields.wrong("spec.operation", "it is missing"));
    };
    if fields.take("spec.timeout").is_some() {
        fields.say("spec.timeout", "--timeout says how long hyper waits");
    }
    let deed = match word {
        "start" => Deed::Start,
        "stop" => {
            let force = fields.flag("spec.force")?.unwrap_or(false);
            Deed::Stop(if force { Stop::Hard } else { Stop::Graceful { grace: None } })
        }
        "restart" => Deed::Restart { hard: fields.flag("spec.force")?.unwrap_or(false) },
        "migrate" => migrate(fields)?,
        "resize" => resize(fields)?,
        "snapshot" => Deed::Make {
            verb: "snapshot",
            objects: vec![take_snapshot(fields, "spec.snapshotSpec.", place, &vm)?],
        },
        "clone" => return clone(fields, place, &vm),
        _ => {
            return Err(Error::unsupported("nothing is deleted by making objects")
                .with_subject(format!("VMOperation {}", place.name))
                .with_hint(format!("`hyper vm delete -n {} {}` does it", vm.namespace, vm.name)));
        }
    };
    Ok(vec![about(&vm, deed)])
}

/// A snapshot.
pub fn snapshot(fields: &mut Fields, place: &Place) -> Result<Vec<Described>> {
    let vm = machine(fields, place)?;
    let mut object = take_snapshot(fields, "spec.", place, &vm)?;
    for field in ["labels", "annotations"] {
        if let Some(value) = fields.take(&format!("metadata.{field}")) {
            object["metadata"][field] = value;
        }
    }
    Ok(vec![about(&vm, Deed::Make { verb: "snapshot", objects: vec![object] })])
}

fn about(vm: &Place, deed: Deed) -> Described {
    Described {
        vm: vm.name.clone(),
        reference: reference(&vm.namespace, &vm.name),
        deed,
        remarks: Vec::new(),
        awaited: false,
        follows: false,
    }
}

/// The machine that is meant.
fn machine(fields: &mut Fields, place: &Place) -> Result<Place> {
    let name = fields.needed("spec.vmRef.name")?;
    let namespace = fields.text("spec.vmRef.namespace")?;
    Ok(Place { name, namespace: namespace.unwrap_or_else(|| place.namespace.clone()) })
}

/// A snapshot called as the object, of the fields below `root`. KubeVirt quiesces wherever there is
/// an agent, and keeps no memory.
fn take_snapshot(fields: &mut Fields, root: &str, place: &Place, vm: &Place) -> Result<Value> {
    let name = fields.text(&format!("{root}name"))?;
    let quiesce = format!("{root}quiesce");
    if fields.flag(&quiesce)? == Some(false) {
        fields.say(&quiesce, "KubeVirt quiesces wherever there is an agent");
    }
    let memory = format!("{root}includeMemory");
    if fields.flag(&memory)? == Some(true) {
        fields.say(&memory, "no snapshot of KubeVirt holds memory");
    }
    Ok(json!({
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": name.as_ref().unwrap_or(&place.name), "namespace": vm.namespace },
        "spec": { "source": source("VirtualMachine", &vm.name) },
    }))
}

fn source(kind: &str, name: &str) -> Value {
    let group = if kind == "VirtualMachine" { "kubevirt.io" } else { "snapshot.kubevirt.io" };
    json!({ "apiGroup": group, "kind": kind, "name": name })
}

fn migrate(fields: &mut Fields) -> Result<Deed> {
    let node = fields.text("spec.migrateSpec.targetNode")?;
    let live = fields.flag("spec.migrateSpec.live")?.unwrap_or(true);
    if !live && node.is_none() {
        return Err(fields.wrong("spec.migrateSpec.targetNode", "a move that stops needs a node"));
    }
    if !live {
        fields.say("spec.migrateSpec.live", "it moves while it runs where it can, and stops else");
    }
    Ok(Deed::Migrate(Destination { node, datastore: None, allow_cold: !live }))
}

fn resize(fields: &mut Fields) -> Result<Deed> {
    let cpus = fields.count("spec.resizeSpec.cpus")?;
    let memory = fields.amount("spec.resizeSpec.memory")?;
    if fields.flag("spec.resizeSpec.hotplug")? == Some(false) {
        fields.say("spec.resizeSpec.hotplug", "a guest that runs gets it at once where it can");
    }
    if cpus.is_none() && memory.is_none() {
        return Err(fields.wrong("spec.resizeSpec", "neither cpus nor memory is named"));
    }
    let memory_bytes = memory.as_deref().and_then(quantity::whole);
    Ok(Deed::Resize(Size { cpus, memory_bytes }))
}

/// A clone, and the start of it where that is asked for.
fn clone(fields: &mut Fields, place: &Place, vm: &Place) -> Result<Vec<Described>> {
    let target = fields.needed("spec.cloneSpec.targetName")?;
    let elsewhere = fields.text("spec.cloneSpec.targetNamespace")?;
    if let Some(elsewhere) = elsewhere.filter(|it| *it != vm.namespace) {
        let command =
            format!("`hyper clone -n {} {} {elsewhere}/{target}` does it", vm.namespace, vm.name);
        return Err(Error::unsupported("KubeVirt clones within a namespace alone")
            .with_subject(format!("VMOperation {}", place.name))
            .with_hint(command));
    }
    if fields.flag("spec.cloneSpec.linkedClone")? == Some(true) {
        let words = "the storage decides whether a clone shares blocks";
        fields.say("spec.cloneSpec.linkedClone", words);
    }
    let starts = [
        fields.flag("spec.cloneSpec.startAfterClone")?,
        fields.flag("spec.cloneSpec.powerOnAfter")?,
    ];
    let snapshot = fields.text("spec.cloneSpec.snapshotRef")?;
    let from = match &snapshot {
        Some(snapshot) => source("VirtualMachineSnapshot", snapshot),
        None => source("VirtualMachine", &vm.name),
    };
    let object = json!({
        "kind": "VirtualMachineClone",
        "metadata": { "name": place.name, "namespace": vm.namespace },
        "spec": { "source": from, "target": source("VirtualMachine", &target) },
    });
    let start = starts.contains(&Some(true));
    let mut all = vec![about(vm, Deed::Make { verb: "clone", objects: vec![object] })];
    all[0].awaited = start;
    if start {
        let target = Place { name: target, namespace: vm.namespace.clone() };
        all.push(Described { follows: true, ..about(&target, Deed::Start) });
    }
    Ok(all)
}
