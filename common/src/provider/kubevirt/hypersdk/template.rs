//! `VMTemplate` to what KubeVirt makes machines from: a size (instancetype), preferred devices
//! (preference) and a source of images (DataSource) that names both.

use serde_json::{Value, json};

use super::super::create::reference;
use super::machine::{Content, agent, image};
use super::{Fields, Place};
use crate::error::Result;
use crate::provider::facets::create::{Deed, Described};

/// Where KubeVirt's own labels are.
const LABELS: &str = "instancetype.kubevirt.io";

/// The template.
pub fn read(fields: &mut Fields, place: &Place) -> Result<Vec<Described>> {
    let cpus = fields.count("spec.defaultSpec.cpus")?.unwrap_or(2);
    let memory = fields.amount("spec.defaultSpec.memory")?.unwrap_or_else(|| "4Gi".to_owned());
    let storage = storage(fields)?;
    let metadata = || json!({ "name": place.name, "namespace": place.namespace });
    let size = json!({
        "kind": "VirtualMachineInstancetype",
        "metadata": metadata(),
        "spec": { "cpu": { "guest": cpus }, "memory": { "guest": memory } },
    });
    let devices = json!({
        "kind": "VirtualMachinePreference",
        "metadata": metadata(),
        "spec": preferred(fields)?,
    });
    let Some(content) = image(fields, &place.namespace)? else {
        return Err(fields.wrong("spec.image.source", "it is missing"));
    };
    let (volume, claim) = volume(content, place, storage);
    let mut source = json!({
        "kind": "DataSource",
        "metadata": metadata(),
        "spec": { "source": { "pvc": { "name": claim, "namespace": place.namespace } } },
    });
    source["metadata"]["labels"] = labels(fields, place);
    if let Some(annotations) = words(fields)? {
        source["metadata"]["annotations"] = annotations;
    }
    let objects = [Some(size), Some(devices), volume, Some(source)];
    Ok(vec![Described {
        vm: place.name.clone(),
        reference: reference(&place.namespace, &place.name),
        deed: Deed::Make { verb: "template", objects: objects.into_iter().flatten().collect() },
        remarks: Vec::new(),
        awaited: false,
        follows: false,
    }])
}

/// What the first disk asks for; a source of images has one disk.
fn storage(fields: &mut Fields) -> Result<Value> {
    let mut storage = json!({});
    for (at, mut disk) in fields.list("spec.defaultSpec.disks")?.into_iter().enumerate() {
        if at == 0 {
            // Names and order are those of the machines that are made from it.
            disk.take("name");
            disk.take("bootOrder");
            if let Some(size) = disk.amount("size")? {
                storage["resources"] = json!({ "requests": { "storage": size } });
            }
            if let Some(class) = disk.text("storageClass")? {
                storage["storageClassName"] = class.into();
            }
        }
        fields.back(&disk);
    }
    Ok(storage)
}

/// The volume that holds the image, and its name.
fn volume(content: Content, place: &Place, storage: Value) -> (Option<Value>, String) {
    let (field, from) = match content {
        Content::Claim(claim) => return (None, claim),
        Content::Import(field, from) => (field, from),
        Content::Container(image) => {
            ("source", json!({ "registry": { "url": format!("docker://{image}") } }))
        }
    };
    let volume = json!({
        "kind": "DataVolume",
        "metadata": { "name": place.name, "namespace": place.namespace },
        "spec": { field: from, "storage": storage },
    });
    (Some(volume), place.name.clone())
}

/// The preferred firmware, machine type and network card.
fn preferred(fields: &mut Fields) -> Result<Value> {
    let mut spec = json!({ "devices": { "preferredDiskBus": "virtio" } });
    let loaders = [("bios", false), ("uefi", true)];
    match fields.word("spec.defaultSpec.firmware.bootloader", &loaders)? {
        Some(true) => {
            let secure = fields.flag("spec.defaultSpec.firmware.secureBoot")?.unwrap_or(false);
            spec["firmware"] = json!({ "preferredEfi": { "secureBoot": secure } });
            if secure {
                spec["features"] = json!({ "preferredSmm": { "enabled": true } });
            }
        }
        Some(false) => spec["firmware"] = json!({ "preferredUseBios": true }),
        None => {}
    }
    if let Some(kind) = fields.text("spec.defaultSpec.machineType")? {
        spec["machine"] = json!({ "preferredMachineType": kind });
    }
    if let Some(minimum) = fields.amount("spec.recommendedResources.minMemory")? {
        spec["requirements"]["memory"] = json!({ "guest": minimum });
    }
    if let Some(minimum) = fields.count("spec.recommendedResources.minCpus")? {
        spec["requirements"]["cpu"] = json!({ "guest": minimum });
    }
    for mut network in fields.list("spec.defaultSpec.networks")? {
        // The pod network is what machines have that say nothing.
        let kinds = [("pod-network", true), ("multus", false), ("bridge", false)];
        if network.word("type", &kinds)?.unwrap_or(true) {
            network.take("name");
        } else {
            network.say("type", "a template names no network; --network does");
            network.take("name");
        }
        fields.back(&network);
    }
    agent(fields, "spec.defaultSpec")?;
    Ok(spec)
}

/// The object's labels, with those that name the size and the devices.
fn labels(fields: &mut Fields, place: &Place) -> Value {
    let mut labels = fields.take("metadata.labels").unwrap_or_else(|| json!({}));
    for (kind, named) in
        [("instancetype", "VirtualMachineInstancetype"), ("preference", "VirtualMachinePreference")]
    {
        labels[format!("{LABELS}/default-{kind}")] = place.name.as_str().into();
        labels[format!("{LABELS}/default-{kind}-kind")] = named.into();
    }
    labels
}

/// What people read about the template.
fn words(fields: &mut Fields) -> Result<Option<Value>> {
    let mut all = fields.take("metadata.annotations").unwrap_or_else(|| json!({}));
    for (field, name) in [("displayName", "display-name"), ("description", "description")] {
        if let Some(text) = fields.text(&format!("spec.{field}"))? {
            all[format!("openshift.io/{name}")] = text.into();
        }
    }
    Ok(all.as_object().is_some_and(|all| !all.is_empty()).then_some(all))
}
