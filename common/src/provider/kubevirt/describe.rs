//! From what a person wishes for to a `VirtualMachine` and what it needs beside it.

use serde_json::{Value, json};

use super::client::Place;
use super::create::{CDI, INSTANCETYPE, reference};
use super::discovery::Resource;
use super::inventory::optional;
use super::nodes::{self, Nodes};
use super::template::SOURCES;
use super::{Kubevirt, NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::create::{Deed, Described, NewDisk, NewVm};
use crate::vm::format_bytes;

/// Most bytes of user data that a machine's own object may hold (KubeVirt's admission); more goes
/// into a secret.
const MOST_USER_DATA: usize = 2048;

/// The annotation by which CDI binds the claim of a volume although nothing uses it.
pub(super) const BIND_NOW: &str = "cdi.kubevirt.io/storage.bind.immediate.requested";

/// The network of the cluster itself.
const POD: &str = "pod";

/// The labels by which a source of images names the size and the devices that go with it.
pub const DEFAULTS: [(&str, &str); 2] = [
    ("instancetype", "instancetype.kubevirt.io/default-instancetype"),
    ("preference", "instancetype.kubevirt.io/default-preference"),
];

/// A machine as wished for.
pub async fn describe(kubevirt: &Kubevirt, vm: &NewVm) -> Result<Described> {
    let (namespace, name) = vm.name.split_once('/').unwrap_or((&kubevirt.namespace, &vm.name));
    checked_name(name, "a machine")?;
    checked_name(namespace, "a namespace")?;
    vm.place.nowhere(NAME)?;
    if let Some(guest) = &vm.guest_id {
        return Err(Error::unsupported("a cluster is not told the guest's system")
            .with_subject(guest.clone())
            .with_hint("--preference names devices that suit it"));
    }
    let mut spec = json!({ "runStrategy": "Halted" });
    let mut part = json!({ "domain": { "devices": {} } });
    let mut remarks = Vec::new();
    let mut objects = Vec::new();
    let mut volumes = Vec::new();
    let root = format!("{name}-root");
    if let Some(wish) = &vm.disk {
        let disk = disk(kubevirt, namespace, &root, wish, vm.storage_class.as_deref()).await?;
        volumes.push(with_name(disk.volume, "root"));
        if let Some(template) = disk.template {
            spec["dataVolumeTemplates"] = json!([template]);
        }
        for (field, matcher) in disk.defaults {
            let own_size = vm.cpus.is_some() || vm.memory_bytes.is_some();
            if field != "instancetype" || !own_size {
                spec[field] = matcher;
            }
        }
    }
    if let Some((volume, secret)) = cloud_init(namespace, name, vm)? {
        volumes.push(with_name(volume, "cloudinit"));
        objects.extend(secret);
    }
    for (field, named) in [("instancetype", &vm.instancetype), ("preference", &vm.preference)] {
        if let Some(named) = named {
            spec[field] = matcher(kubevirt, namespace, field, named).await?;
        }
    }
    size(vm, &spec, &mut part)?;
    let disk = |it: &Value| json!({ "name": it["name"], "disk": { "bus": "virtio" } });
    part["domain"]["devices"]["disks"] = volumes.iter().map(disk).collect();
    part["volumes"] = volumes.into();
    connect(kubevirt, namespace, &vm.networks, &mut part).await?;
    attach(kubevirt, vm, &mut part, &mut remarks).await?;
    nodes::check_room(kubevirt, vm.cpus, vm.memory_bytes, &mut remarks).await?;
    let mut labels = json!(vm.labels);
    let own = json!({ "metadata": { "labels": labels.clone() } });
    labels["vm.kubevirt.io/name"] = name.into();
    spec["template"] = json!({ "metadata": { "labels": labels }, "spec": part });
    let mut machine = json!({
        "kind": "VirtualMachine",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    });
    if !vm.labels.is_empty() {
        machine["metadata"]["labels"] = own["metadata"]["labels"].clone();
    }
    objects.push(machine);
    Ok(Described {
        vm: name.to_owned(),
        reference: reference(namespace, name),
        deed: Deed::Make { verb: "create", objects },
        remarks,
        awaited: false,
        follows: false,
    })
}

/// Refuses what Kubernetes does not take as a name (RFC 1123): its own words for that are long.
///
/// # Errors
/// `Usage`.
pub fn checked_name(name: &str, of: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.chars().all(inner)
        && name.starts_with(outer)
        && name.ends_with(outer)
        && name.len() <= 253;
    match good {
        true => Ok(()),
        false => Err(Error::usage(format!("{name:?} cannot be the name of {of}"))
            .with_hint("lower-case letters, digits, - and . are allowed, up to 253 of them, letters or digits at both ends")),
    }
}

fn with_name(mut object: Value, name: &str) -> Value {
    object["name"] = name.into();
    object
}

/// Writes processors and memory; something must say how much memory there is.
fn size(vm: &NewVm, spec: &Value, part: &mut Value) -> Result<()> {
    if spec.get("instancetype").is_none() && vm.memory_bytes.is_none() {
        return Err(Error::usage("how much memory is the machine to have?")
            .with_hint("give --memory or --instancetype, or take a template that names one"));
    }
    if let Some(cpus) = vm.cpus {
        // Sockets are what clusters add while a guest runs.
        part["domain"]["cpu"] = json!({ "sockets": cpus, "cores": 1, "threads": 1 });
    }
    if let Some(bytes) = vm.memory_bytes {
        part["domain"]["memory"] = json!({ "guest": format_bytes(bytes) });
    }
    Ok(())
}

/// A disk as KubeVirt takes it.
pub struct Disk {
    /// What the machine has among its volumes.
    pub volume: Value,
    /// What makes the volume.
    template: Option<Value>,
    /// Size and devices that go with it, by their fields in a machine.
    defaults: Vec<(&'static str, Value)>,
}

impl Disk {
    fn plain(volume: Value) -> Self {
        Self { volume, template: None, defaults: Vec::new() }
    }

    /// One in a volume of the machine's own.
    fn made(name: &str, what: Value) -> Self {
        let template = json!({ "metadata": { "name": name }, "spec": what });
        let volume = json!({ "dataVolume": { "name": name } });
        Self { volume, template: Some(template), defaults: Vec::new() }
    }
}

/// The disk that is wished for; a volume that is made for it is called `name`.
///
/// # Errors
/// `NotFound` for what is not there; `Unsupported` without CDI.
pub async fn disk(
    kubevirt: &Kubevirt,
    namespace: &str,
    name: &str,
    wish: &NewDisk,
    class: Option<&str>,
) -> Result<Disk> {
    let mut storage = json!({});
    if let Some(class) = class {
        storage["storageClassName"] = class.into();
        let classes = kubevirt.client().resource("storage.k8s.io", "storageclasses").await?;
        let place = Place { resource: classes, namespace: None };
        match kubevirt.client().get::<Value>(place, class).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Auth => {}
            Err(error) => return Err(error),
        }
    }
    match wish {
        NewDisk::Image(image) if image.trim().is_empty() => {
            Err(Error::usage("the container disk has no name"))
        }
        NewDisk::Image(image) => Ok(Disk::plain(json!({ "containerDisk": { "image": image } }))),
        NewDisk::Volume(volume) => there(kubevirt, namespace, volume).await,
        NewDisk::Source(source) | NewDisk::Template(source) => {
            let (place, source) = source.split_once('/').unwrap_or((namespace, source));
            let found = data_source(kubevirt, place, source).await?;
            let mut disk = Disk::made(
                name,
                json!({
                    "sourceRef": { "kind": "DataSource", "namespace": place, "name": source },
                    "storage": storage,
                }),
            );
            if matches!(wish, NewDisk::Template(_)) {
                disk.defaults = defaults(kubevirt, place, source, namespace, &found).await?;
            }
            Ok(disk)
        }
        NewDisk::Blank(bytes) => {
            // Without CDI nobody would ever make it.
            kubevirt.client().resource(CDI, "datavolumes").await?;
            storage["resources"] = json!({ "requests": { "storage": format_bytes(*bytes) } });
            Ok(Disk::made(name, json!({ "source": { "blank": {} }, "storage": storage })))
        }
        NewDisk::Upload(bytes) => {
            kubevirt.client().resource(CDI, "datavolumes").await?;
            storage["resources"] = json!({ "requests": { "storage": format_bytes(*bytes) } });
            let mut disk =
                Disk::made(name, json!({ "source": { "upload": {} }, "storage": storage }));
            // Nobody else would use the volume before it is filled, which a storage class may
            // otherwise wait for.
            if let Some(template) = &mut disk.template {
                template["metadata"]["annotations"] = json!({ BIND_NOW: "true" });
            }
            Ok(disk)
        }
    }
}

/// A volume that is there: one of CDI's, or a plain claim.
async fn there(kubevirt: &Kubevirt, namespace: &str, name: &str) -> Result<Disk> {
    let found = match kubevirt.client().resource(CDI, "datavolumes").await {
        Ok(resource) => kubevirt.exists(resource, Some(namespace), name).await?,
        Err(error) if error.kind() == ErrorKind::Unsupported => false,
        Err(error) => return Err(error),
    };
    if found {
        return Ok(Disk::plain(json!({ "dataVolume": { "name": name } })));
    }
    if kubevirt.exists(Resource::core("persistentvolumeclaims"), Some(namespace), name).await? {
        return Ok(Disk::plain(json!({ "persistentVolumeClaim": { "claimName": name } })));
    }
    let words =
        format!("there is no DataVolume and no claim {name:?} in the namespace {namespace}");
    Err(Error::not_found(words))
}

async fn data_source(kubevirt: &Kubevirt, namespace: &str, name: &str) -> Result<Value> {
    let resource = kubevirt.client().resource(CDI, SOURCES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let found = optional(kubevirt.client().get::<Value>(place, name).await)?;
    found.ok_or_else(|| {
        let words = format!("there is no DataSource {name:?} in the namespace {namespace}");
        Error::not_found(words).with_hint("another namespace: NAMESPACE/NAME")
    })
}

/// The size and the devices that a source of images names for machines made from it.
async fn defaults(
    kubevirt: &Kubevirt,
    place: &str,
    source: &str,
    namespace: &str,
    found: &Value,
) -> Result<Vec<(&'static str, Value)>> {
    let labels = &found["metadata"]["labels"];
    let mut all = Vec::new();
    for (field, label) in DEFAULTS {
        let Some(named) = labels.get(label).and_then(Value::as_str) else { continue };
        all.push((field, matcher(kubevirt, namespace, field, named).await?));
    }
    match all.is_empty() {
        false => Ok(all),
        true => Err(Error::unsupported(format!(
            "the DataSource {place}/{source} names no instancetype and no preference"
        ))
        .with_hint("--data-source takes its disk alone")
        .with_hint(format!("its label {} would make a template of it", DEFAULTS[0].1))),
    }
}

/// Names an instancetype or a preference: the namespace's, else the cluster's.
pub async fn matcher(
    kubevirt: &Kubevirt,
    namespace: &str,
    field: &str,
    name: &str,
) -> Result<Value> {
    let [own, shared]: [(&'static str, &str); 2] = match field {
        "instancetype" => [
            ("virtualmachineinstancetypes", "VirtualMachineInstancetype"),
            ("virtualmachineclusterinstancetypes", "VirtualMachineClusterInstancetype"),
        ],
        _ => [
            ("virtualmachinepreferences", "VirtualMachinePreference"),
            ("virtualmachineclusterpreferences", "VirtualMachineClusterPreference"),
        ],
    };
    for ((plural, kind), place) in [(own, Some(namespace)), (shared, None)] {
        let resource = kubevirt.client().resource(INSTANCETYPE, plural).await?;
        if kubevirt.exists(resource, place, name).await? {
            return Ok(json!({ "name": name, "kind": kind }));
        }
    }
    let words = format!("there is no {field} {name:?}");
    Err(Error::not_found(words)
        .with_hint(format!("neither in the namespace {namespace} nor in the whole cluster")))
}

/// What cloud-init gets: a volume, and the secret that holds it where it is long.
fn cloud_init(namespace: &str, name: &str, vm: &NewVm) -> Result<Option<(Value, Option<Value>)>> {
    let Some(data) = user_data(vm.user_data.as_deref(), &vm.ssh_keys)? else { return Ok(None) };
    if data.len() <= MOST_USER_DATA {
        return Ok(Some((json!({ "cloudInitNoCloud": { "userData": data } }), None)));
    }
    let secret = format!("{name}-cloudinit");
    let volume = json!({ "cloudInitNoCloud": { "secretRef": { "name": secret } } });
    let object = json!({
        "kind": "Secret",
        "metadata": { "name": secret, "namespace": namespace },
        "type": "Opaque",
        "stringData": { "userdata": data },
    });
    Ok(Some((volume, Some(object))))
}

/// User data with the keys that may log in.
fn user_data(given: Option<&str>, keys: &[String]) -> Result<Option<String>> {
    if keys.is_empty() {
        return Ok(given.map(str::to_owned));
    }
    let mut text = given.unwrap_or("#cloud-config\n").to_owned();
    let is_config = text.lines().next().is_some_and(|line| line.trim_end() == "#cloud-config");
    let has_keys = text.lines().any(|line| line.starts_with("ssh_authorized_keys"));
    if !is_config || has_keys {
        let why = if has_keys { "has keys already" } else { "is no #cloud-config" };
        return Err(Error::usage(format!("the user data {why}, so no key can be added to it"))
            .with_hint("write the key into the file of --cloud-init"));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("ssh_authorized_keys:\n");
    for key in keys {
        text.push_str(&format!("- {}\n", json!(key)));
    }
    Ok(Some(text))
}

/// Gives the machine its network cards.
async fn connect(
    kubevirt: &Kubevirt,
    namespace: &str,
    names: &[String],
    part: &mut Value,
) -> Result<()> {
    let usual = [POD.to_owned()];
    let names = if names.is_empty() { &usual[..] } else { names };
    let (mut cards, mut networks) = (Vec::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        let card = if number == 0 { "default".to_owned() } else { format!("net{number}") };
        if name == POD {
            cards.push(json!({ "name": card, "masquerade": {} }));
            networks.push(json!({ "name": card, "pod": {} }));
            continue;
        }
        let (place, network) = name.split_once('/').unwrap_or((namespace, name));
        let resource =
            kubevirt.client().resource("k8s.cni.cncf.io", "network-attachment-definitions").await?;
        if !kubevirt.exists(resource, Some(place), network).await? {
            let words = format!("there is no network {network:?} in the namespace {place}");
            return Err(Error::not_found(words).with_hint(
                "`kubectl get network-attachment-definitions` lists them; pod is the cluster's own",
            ));
        }
        cards.push(json!({ "name": card, "bridge": {} }));
        networks.push(json!({ "name": card, "multus": { "networkName": name } }));
    }
    part["domain"]["devices"]["interfaces"] = cards.into();
    part["networks"] = networks.into();
    Ok(())
}

/// Gives the machine devices of its host, where some host has them.
async fn attach(
    kubevirt: &Kubevirt,
    vm: &NewVm,
    part: &mut Value,
    remarks: &mut Vec<String>,
) -> Result<()> {
    let wanted: Vec<&String> = vm.gpus.iter().chain(&vm.host_devices).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    Nodes::of(kubevirt).await?.offer(&wanted, remarks)?;
    let list = |prefix: &str, names: &[String]| -> Value {
        let one = |(number, name): (usize, &String)| json!({ "name": format!("{prefix}{number}"), "deviceName": name });
        names.iter().enumerate().map(one).collect()
    };
    for (field, prefix, names) in
        [("gpus", "gpu", &vm.gpus), ("hostDevices", "device", &vm.host_devices)]
    {
        if !names.is_empty() {
            part["domain"]["devices"][field] = list(prefix, names);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_to_a_cloud_config_and_to_nothing_else() {
        let keys = ["ssh-ed25519 AAAA me: \"x\"".to_owned()];
        assert_eq!(user_data(Some("#!/bin/sh\n"), &[]).unwrap().as_deref(), Some("#!/bin/sh\n"));
        assert_eq!(user_data(None, &[]).unwrap(), None);
        for given in [None, Some("#cloud-config\npackages: [vim]")] {
            let text = user_data(given, &keys).unwrap().unwrap();
            let value: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value["ssh_authorized_keys"], json!(keys), "{text}");
            assert_eq!(value.get("packages").is_some(), given.is_some(), "{text}");
        }
        for given in ["#!/bin/sh\n", "#cloud-config\nssh_authorized_keys: []\n"] {
            assert_eq!(user_data(Some(given), &keys).unwrap_err().kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn a_name_is_what_kubernetes_takes() {
        for name in ["a", "web-01", "a.b", "1a"] {
            checked_name(name, "a machine").unwrap();
        }
        for name in ["", "Web", "-a", "a-", "a_b", "a/b", &"a".repeat(254)] {
            assert_eq!(checked_name(name, "a machine").unwrap_err().kind(), ErrorKind::Usage);
        }
    }
}
