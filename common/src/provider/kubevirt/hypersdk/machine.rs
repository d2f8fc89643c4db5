//! `VirtualMachine` of HyperSDK to `VirtualMachine` of KubeVirt.

use serde_json::{Value, json};

use super::super::create::reference;
use super::{Fields, Place};
use crate::error::Result;
use crate::provider::facets::create::{Deed, Described};

/// The machine.
pub fn read(fields: &mut Fields, place: &Place) -> Result<Vec<Described>> {
    let mut part = json!({ "domain": { "devices": {} } });
    let mut templates = Vec::new();
    let cpus = fields.count("spec.cpus")?;
    part["domain"]["cpu"] = json!({
        "sockets": cpus.ok_or_else(|| fields.wrong("spec.cpus", "it is missing"))?,
        "cores": 1,
        "threads": 1,
    });
    let memory = fields.amount("spec.memory")?;
    let memory = memory.ok_or_else(|| fields.wrong("spec.memory", "it is missing"))?;
    part["domain"]["memory"] = json!({ "guest": memory });
    storage(fields, place, &mut part, &mut templates)?;
    cloud_init(fields, &mut part)?;
    networks(fields, &mut part)?;
    devices(fields, &mut part)?;
    firmware(fields, "spec", &mut part)?;
    for (field, pointer) in
        [("nodeSelector", "nodeSelector"), ("affinity", "affinity"), ("tolerations", "tolerations")]
    {
        if let Some(value) = fields.take(&format!("spec.{field}")) {
            part[pointer] = value;
        }
    }
    let strategy = strategy(fields, &mut part)?;
    agent(fields, "spec")?;
    let mut spec = json!({ "runStrategy": strategy });
    if !templates.is_empty() {
        spec["dataVolumeTemplates"] = templates.into();
    }
    let (labels, annotations) = (merged(fields, "labels"), merged(fields, "annotations"));
    let mut inner = labels.clone();
    inner["vm.kubevirt.io/name"] = place.name.as_str().into();
    spec["template"] = json!({ "metadata": { "labels": inner }, "spec": part });
    let mut machine = json!({
        "kind": "VirtualMachine",
        "metadata": { "name": place.name, "namespace": place.namespace },
        "spec": spec,
    });
    for (field, value) in [("labels", labels), ("annotations", annotations)] {
        if value.as_object().is_some_and(|all| !all.is_empty()) {
            machine["metadata"][field] = value;
        }
    }
    Ok(vec![Described {
        vm: place.name.clone(),
        reference: reference(&place.namespace, &place.name),
        deed: Deed::Make { verb: "create", objects: vec![machine] },
        remarks: Vec::new(),
        awaited: false,
        follows: false,
    }])
}

/// Labels or annotations: those of the object, and those of its specification over them.
fn merged(fields: &mut Fields, field: &str) -> Value {
    let mut all = fields.take(&format!("metadata.{field}")).unwrap_or_else(|| json!({}));
    let more = fields.take(&format!("spec.{field}"));
    if let (Some(all), Some(Value::Object(more))) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// Disks and the image that fills the first of them.
fn storage(
    fields: &mut Fields,
    place: &Place,
    part: &mut Value,
    templates: &mut Vec<Value>,
) -> Result<()> {
    let mut disks = fields.list("spec.disks")?;
    let orders: Vec<u64> = disks.iter_mut().map(order).collect();
    let boot = (0..disks.len()).min_by_key(|at| orders[*at]);
    let mut image = image(fields, &place.namespace)?;
    let (mut devices, mut volumes) = (Vec::new(), Vec::new());
    for (at, disk) in disks.iter_mut().enumerate() {
        let filled = if boot == Some(at) { image.take() } else { None };
        let name = disk.needed("name")?;
        let kind = disk.word("type", &[("disk", "virtio"), ("cdrom", "sata")])?;
        let bus = kind.unwrap_or("virtio");
        let field = if bus == "sata" { "cdrom" } else { "disk" };
        let mut device = json!({ "name": name, field: { "bus": bus } });
        if orders[at] < u64::MAX {
            device["bootOrder"] = orders[at].into();
        }
        devices.push(device);
        let own = format!("{}-{name}", place.name);
        let (mut volume, template) = volume(disk, &own, filled)?;
        volume["name"] = name.into();
        volumes.push(volume);
        templates.extend(template);
        fields.back(disk);
    }
    // A machine of an image alone.
    if let Some(image) = image {
        let own = format!("{}-root", place.name);
        let (mut volume, template) = filled(image, &own, json!({}));
        volume["name"] = "root".into();
        devices.push(json!({ "name": "root", "disk": { "bus": "virtio" } }));
        volumes.push(volume);
        templates.extend(template);
    }
    part["domain"]["devices"]["disks"] = devices.into();
    part["volumes"] = volumes.into();
    Ok(())
}

fn order(disk: &mut Fields) -> u64 {
    disk.take("bootOrder").and_then(|it| it.as_u64()).unwrap_or(u64::MAX)
}

/// Where a disk's content comes from.
pub enum Content {
    /// A container image.
    Container(String),
    /// What CDI imports, as its `source` or `sourceRef`.
    Import(&'static str, Value),
    /// A claim that is there.
    Claim(String),
}

/// The image that a machine or a template names.
pub fn image(fields: &mut Fields, namespace: &str) -> Result<Option<Content>> {
    let source = fields.text("spec.image.source")?;
    let template = fields.text("spec.image.templateRef.name")?;
    let place = fields.text("spec.image.templateRef.namespace")?;
    Ok(match (source, template) {
        (Some(source), None) => Some(located(fields, "spec.image.source", &source)),
        (None, Some(name)) => {
            let place = place.unwrap_or_else(|| namespace.to_owned());
            let from = json!({ "kind": "DataSource", "name": name, "namespace": place });
            Some(Content::Import("sourceRef", from))
        }
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(fields.wrong("spec.image", "source and templateRef exclude each other"));
        }
    })
}

/// What the address of an image stands for: a web server, S3, else a container registry.
fn located(fields: &mut Fields, path: &str, address: &str) -> Content {
    if address.starts_with("http://") || address.starts_with("https://") {
        return Content::Import("source", json!({ "http": { "url": address } }));
    }
    if let Some(rest) = address.strip_prefix("s3://") {
        let url = format!("https://s3.amazonaws.com/{rest}");
        fields.say(path, &format!("read from {url}; another region or server has another address"));
        return Content::Import("source", json!({ "s3": { "url": url } }));
    }
    Content::Container(address.trim_start_matches("docker://").to_owned())
}

/// A machine's volume, and the template of what holds it.
fn volume(disk: &mut Fields, own: &str, image: Option<Content>) -> Result<(Value, Option<Value>)> {
    let mut storage = json!({});
    if let Some(size) = disk.amount("size")? {
        storage["resources"] = json!({ "requests": { "storage": size } });
    }
    if let Some(class) = disk.text("storageClass")? {
        storage["storageClassName"] = class.into();
    }
    let claim = disk.text("source.pvc")?.map(Content::Claim);
    let container = disk.text("source.containerDisk")?.map(Content::Container);
    let mut web = None;
    for field in ["source.http", "source.s3"] {
        if let Some(address) = disk.text(field)? {
            web = Some(located(disk, field, &address));
        }
    }
    let own_content = claim.or(container).or(web);
    if own_content.is_some() && image.is_some() {
        return Err(disk.wrong("source", "the machine's image fills this disk already"));
    }
    let content = own_content.or(image);
    match content {
        Some(content) => Ok(filled_with(disk, content, own, storage)),
        None if storage.get("resources").is_none() => Err(disk.wrong("size", "it is missing")),
        None => Ok(filled(Content::Import("source", json!({ "blank": {} })), own, storage)),
    }
}

/// The same as [`filled`], telling what of the storage has no place there.
fn filled_with(
    disk: &mut Fields,
    content: Content,
    own: &str,
    storage: Value,
) -> (Value, Option<Value>) {
    if !matches!(content, Content::Import(..)) && storage != json!({}) {
        disk.say("size", "the disk is as large as what it is made from, and kept where that is");
    }
    filled(content, own, storage)
}

fn filled(content: Content, own: &str, storage: Value) -> (Value, Option<Value>) {
    match content {
        Content::Container(image) => (json!({ "containerDisk": { "image": image } }), None),
        Content::Claim(claim) => (json!({ "persistentVolumeClaim": { "claimName": claim } }), None),
        Content::Import(field, from) => {
            let template = json!({
                "metadata": { "name": own },
                "spec": { field: from, "storage": storage },
            });
            (json!({ "dataVolume": { "name": own } }), Some(template))
        }
    }
}

fn cloud_init(fields: &mut Fields, part: &mut Value) -> Result<()> {
    let mut data = json!({});
    for field in ["userData", "networkData"] {
        if let Some(text) = fields.text(&format!("spec.cloudInit.{field}"))? {
            data[field] = text.into();
        }
    }
    if let Some(secret) = fields.text("spec.cloudInit.secretRef.name")? {
        data["secretRef"] = json!({ "name": secret });
    }
    if data == json!({}) {
        return Ok(());
    }
    push(part, "/volumes", json!({ "name": "cloudinit", "cloudInitNoCloud": data }));
    let disk = json!({ "name": "cloudinit", "disk": { "bus": "virtio" } });
    push(part, "/domain/devices/disks", disk);
    Ok(())
}

fn push(object: &mut Value, pointer: &str, item: Value) {
    if let Some(list) = object.pointer_mut(pointer).and_then(Value::as_array_mut) {
        list.push(item);
    }
}

fn networks(fields: &mut Fields, part: &mut Value) -> Result<()> {
    let mut wanted = fields.list("spec.networks")?;
    let (mut cards, mut networks) = (Vec::new(), Vec::new());
    for network in &mut wanted {
        let name = network.needed("name")?;
        let kinds = [("pod-network", "pod"), ("multus", "multus"), ("bridge", "bridge")];
        let kind = network.word("type", &kinds)?.unwrap_or("pod");
        let multus = network.text("multusNetworkName")?;
        let binding = if kind == "pod" { "masquerade" } else { "bridge" };
        let mut card = json!({ "name": name, binding: {} });
        if let Some(mac) = network.text("macAddress")? {
            card["macAddress"] = mac.into();
        }
        cards.push(card);
        networks.push(match (kind, multus) {
            ("multus", None) => return Err(network.wrong("multusNetworkName", "it is missing")),
            ("multus" | "bridge", Some(to)) => {
                json!({ "name": name, "multus": { "networkName": to } })
            }
            (_, None) => json!({ "name": name, "pod": {} }),
            (_, Some(_)) => {
                return Err(network.wrong("multusNetworkName", "the pod network has none"));
            }
        });
        fields.back(network);
    }
    if cards.is_empty() {
        cards.push(json!({ "name": "default", "masquerade": {} }));
        networks.push(json!({ "name": "default", "pod": {} }));
    }
    part["domain"]["devices"]["interfaces"] = cards.into();
    part["networks"] = networks.into();
    Ok(())
}

/// GPUs by the name under which nodes offer them; a maker's name is none.
fn devices(fields: &mut Fields, part: &mut Value) -> Result<()> {
    let mut gpus = Vec::new();
    for mut gpu in fields.list("spec.gpus")? {
        let name = gpu.text("name")?.unwrap_or_else(|| format!("gpu{}", gpus.len()));
        let resource = match gpu.text("resourceName")? {
            Some(resource) => resource,
            None => gpu.needed("deviceName")?,
        };
        let count = gpu.count("count")?.unwrap_or(1);
        for number in 0..count {
            let name = if count == 1 { name.clone() } else { format!("{name}-{number}") };
            gpus.push(json!({ "name": name, "deviceName": resource }));
        }
        fields.back(&gpu);
    }
    if !gpus.is_empty() {
        part["domain"]["devices"]["gpus"] = gpus.into();
    }
    Ok(())
}

/// Machine type and firmware, below `root`.
fn firmware(fields: &mut Fields, root: &str, part: &mut Value) -> Result<()> {
    if let Some(kind) = fields.text(&format!("{root}.machineType"))? {
        part["domain"]["machine"] = json!({ "type": kind });
    }
    let loaders = [("bios", false), ("uefi", true)];
    let uefi = fields.word(&format!("{root}.firmware.bootloader"), &loaders)?;
    let secure_path = format!("{root}.firmware.secureBoot");
    let secure = fields.flag(&secure_path)?.unwrap_or(false);
    match (uefi, secure) {
        (Some(true), secure) => {
            let loader = json!({ "efi": { "secureBoot": secure } });
            part["domain"]["firmware"] = json!({ "bootloader": loader });
            if secure {
                // Secure boot is nothing without it.
                part["domain"]["features"] = json!({ "smm": { "enabled": true } });
            }
        }
        (_, true) => return Err(fields.wrong(&secure_path, "only uefi can do that")),
        (Some(false), false) => {
            part["domain"]["firmware"] = json!({ "bootloader": { "bios": {} } });
        }
        (None, false) => {}
    }
    Ok(())
}

/// Every machine of KubeVirt has the channel of the guest agent; it cannot be left out.
pub fn agent(fields: &mut Fields, root: &str) -> Result<()> {
    let path = format!("{root}.guestAgent.enabled");
    if fields.flag(&path)? == Some(false) {
        fields.say(&path, "every machine of KubeVirt has the agent's channel");
    }
    Ok(())
}

/// When the machine is to run, and what a node that is emptied means for it.
fn strategy(fields: &mut Fields, part: &mut Value) -> Result<&'static str> {
    let running = fields.flag("spec.running")?.unwrap_or(true);
    let guarded = fields.flag("spec.highAvailability.enabled")?;
    let policies = [("Always", "Always"), ("OnFailure", "RerunOnFailure"), ("Never", "Once")];
    let policy = fields.word("spec.highAvailability.restartPolicy", &policies)?;
    let evictions = [("LiveMigrate", "LiveMigrate"), ("Shutdown", "None"), ("None", "None")];
    let eviction = fields.word("spec.highAvailability.evictionStrategy", &evictions)?;
    // What is switched off says nothing, whatever it is.
    if guarded == Some(true)
        && let Some(eviction) = eviction
    {
        part["evictionStrategy"] = eviction.into();
    }
    Ok(match (running, guarded) {
        (false, _) => "Halted",
        (true, Some(true)) => policy.unwrap_or("Always"),
        (true, _) => "Always",
    })
}
