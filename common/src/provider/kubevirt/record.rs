//! From KubeVirt's objects to the neutral record of a VM.

use std::collections::BTreeMap;

use serde_json::Value;

use super::wire::{Condition, Cpu, Instance, InstancetypeSpec, Resources, VirtualMachine, VmiSpec};
use super::{NAME, quantity};
use crate::vm::{FirmwareKind, OsFamily, Vm, VmId, VmStatus};

/// The id of the machine `name` in `namespace`.
pub fn id(namespace: &str, name: &str) -> VmId {
    VmId(format!("{namespace}/{name}"))
}

/// Namespace and name of an id.
pub fn parts(id: &VmId) -> (&str, &str) {
    id.0.split_once('/').unwrap_or(("default", &id.0))
}

/// What is known of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// The machine itself.
    pub vm: &'k VirtualMachine,
    /// Its running instance.
    pub instance: Option<&'k Instance>,
    /// Its instancetype, where it has one that could be found.
    pub instancetype: Option<&'k InstancetypeSpec>,
}

impl Known<'_> {
    /// The record in the context `context`.
    pub fn record(self, context: &str) -> Vm {
        let Known { vm, instance, instancetype } = self;
        let spec = &vm.spec.template.spec;
        let preference = vm.spec.preference.as_ref().map(|it| it.name.as_str());
        let record = Vm {
            id: id(&vm.metadata.namespace, &vm.metadata.name),
            name: vm.metadata.name.clone(),
            context: context.to_owned(),
            provider: NAME.to_owned(),
            namespace: Some(vm.metadata.namespace.clone()),
            status: status(vm),
            state: Some(vm.status.printable_status.clone()).filter(|word| !word.is_empty()),
            cpus: processors(spec, instancetype),
            memory_bytes: memory(spec, instancetype),
            guest_os: preference.map_or(OsFamily::Unknown, family),
            guest_os_id: None,
            guest_os_name: None,
            firmware: firmware(spec),
            disk_count: disks(spec),
            capacity_bytes: capacity(vm),
            allocated_bytes: None,
            macs: macs(spec, &[]),
            networks: networks(spec),
            ip_addresses: Vec::new(),
            labels: vm.metadata.labels.clone(),
            format: None,
            path: None,
            node: None,
            guest_agent: None,
            uuid: uuid(spec),
            instance_uuid: Some(vm.metadata.uid.clone()).filter(|uid| !uid.is_empty()),
            created: vm.metadata.creation_timestamp,
            updated: latest(&vm.status.conditions).max(vm.metadata.creation_timestamp),
        };
        match instance {
            Some(instance) => Running::new(instance, instancetype).of(record),
            None => record,
        }
    }
}

/// What a running instance adds to the record of its machine, and what it knows better.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    cpus: Option<u32>,
    memory_bytes: Option<u64>,
    guest_os: Option<OsFamily>,
    guest_os_id: Option<String>,
    guest_os_name: Option<String>,
    firmware: FirmwareKind,
    disk_count: u32,
    macs: Vec<String>,
    networks: Vec<String>,
    ip_addresses: Vec<String>,
    node: Option<String>,
    guest_agent: bool,
    uuid: Option<String>,
    updated: Option<jiff::Timestamp>,
}

impl Running {
    /// What an instance says. It tells its own size, so that the instancetype is seldom needed.
    pub fn new(instance: &Instance, instancetype: Option<&InstancetypeSpec>) -> Self {
        let Instance { spec, status, .. } = instance;
        let guest = &status.guest_os;
        let there = |word: &String| !word.is_empty();
        let os_id = guest.id.clone().filter(there);
        let os_name = guest.pretty_name.clone().or(guest.name.clone()).filter(there);
        Self {
            cpus: processors(spec, instancetype),
            memory_bytes: memory(spec, instancetype),
            guest_os: os_id.as_deref().or(os_name.as_deref()).map(family),
            guest_os_id: os_id,
            guest_os_name: os_name,
            firmware: firmware(spec),
            disk_count: disks(spec),
            macs: macs(spec, &status.interfaces),
            networks: networks(spec),
            ip_addresses: addresses(&status.interfaces),
            node: status.node_name.clone(),
            guest_agent: agent(instance),
            uuid: uuid(spec),
            updated: latest(&status.conditions),
        }
    }

    /// The record of a machine that runs so.
    pub fn of(self, machine: Vm) -> Vm {
        Vm {
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            guest_os: self.guest_os.unwrap_or(machine.guest_os),
            guest_os_id: self.guest_os_id,
            guest_os_name: self.guest_os_name,
            firmware: self.firmware,
            disk_count: self.disk_count,
            macs: self.macs,
            networks: self.networks,
            ip_addresses: self.ip_addresses,
            node: self.node,
            guest_agent: Some(self.guest_agent),
            uuid: self.uuid,
            updated: self.updated.max(machine.updated),
            ..machine
        }
    }
}

fn processors(spec: &VmiSpec, kind: Option<&InstancetypeSpec>) -> Option<u32> {
    if let Some(cpu) = &spec.domain.cpu
        && let Some(count) = cpus(cpu)
    {
        return Some(count);
    }
    if let Some(kind) = kind.filter(|kind| kind.cpu.guest > 0) {
        return Some(kind.cpu.guest);
    }
    let count = resource(&spec.domain.resources, "cpu")?;
    u32::try_from(count).ok().filter(|count| *count > 0)
}

fn memory(spec: &VmiSpec, kind: Option<&InstancetypeSpec>) -> Option<u64> {
    let own = spec.domain.memory.as_ref().and_then(|memory| memory.guest.as_deref());
    let kind = kind.and_then(|kind| kind.memory.guest.as_deref());
    match own.or(kind) {
        Some(text) => quantity::whole(text),
        None => resource(&spec.domain.resources, "memory"),
    }
}

fn disks(spec: &VmiSpec) -> u32 {
    u32::try_from(spec.volumes.iter().filter(|it| it.is_disk()).count()).unwrap_or(u32::MAX)
}

fn uuid(spec: &VmiSpec) -> Option<String> {
    spec.domain.firmware.uuid.as_ref().map(|uuid| uuid.to_ascii_lowercase())
}

/// Sockets, cores and threads of which any is given, multiplied.
fn cpus(cpu: &Cpu) -> Option<u32> {
    let parts = [cpu.sockets, cpu.cores, cpu.threads];
    if parts.iter().all(Option::is_none) {
        return None;
    }
    parts.iter().map(|part| part.unwrap_or(1).max(1)).try_fold(1_u32, u32::checked_mul)
}

/// The limit of a resource, else the request.
fn resource(resources: &Resources, name: &str) -> Option<u64> {
    let value = resources.limits.get(name).or_else(|| resources.requests.get(name))?;
    quantity_of(value)
}

/// A quantity that may stand as a number or as text.
pub fn quantity_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => quantity::whole(text),
        Value::Number(number) => quantity::whole(&number.to_string()),
        _ => None,
    }
}

/// KubeVirt's own word for the state, in the neutral ones.
fn status(vm: &VirtualMachine) -> VmStatus {
    match vm.status.printable_status.as_str() {
        "Running" | "Migrating" => VmStatus::Running,
        "Stopped" => VmStatus::Stopped,
        "Paused" => VmStatus::Paused,
        "Provisioning" | "Starting" | "WaitingForVolumeBinding" | "WaitingForReceiver" => {
            VmStatus::Starting
        }
        "Stopping" | "Terminating" => VmStatus::Stopping,
        "" | "Unknown" => VmStatus::Unknown,
        // CrashLoopBackOff, ErrorUnschedulable, ErrImagePull, ErrorPvcNotFound, DataVolumeError …
        _ => VmStatus::Failed,
    }
}

fn family(word: &str) -> OsFamily {
    let word = word.to_ascii_lowercase();
    let has = |names: &[&str]| names.iter().any(|name| word.contains(name));
    if has(&["windows", "mswindows"]) || word.starts_with("win") {
        OsFamily::Windows
    } else if has(&["bsd"]) {
        OsFamily::Bsd
    } else if has(&[
        "linux", "fedora", "debian", "ubuntu", "centos", "rhel", "alpine", "suse", "sles",
        "cirros", "rocky", "alma", "oracle", "arch", "gentoo", "amzn", "photon",
    ]) {
        OsFamily::Linux
    } else {
        OsFamily::Unknown
    }
}

fn firmware(spec: &VmiSpec) -> FirmwareKind {
    match &spec.domain.firmware.bootloader {
        Some(bootloader) if bootloader.efi.is_some() => FirmwareKind::Uefi,
        Some(bootloader) if bootloader.bios.is_some() => FirmwareKind::Bios,
        _ => FirmwareKind::Unknown,
    }
}

/// The bytes of all disks, where the machine itself says how large each is.
fn capacity(vm: &VirtualMachine) -> Option<u64> {
    let templates: BTreeMap<&str, &Value> = vm
        .spec
        .data_volume_templates
        .iter()
        .filter_map(|volume| Some((volume.metadata.name.as_str(), volume.size()?)))
        .collect();
    let disks = vm.spec.template.spec.volumes.iter().filter(|volume| volume.is_disk());
    let mut total: Option<u64> = None;
    for disk in disks {
        let empty = disk.empty_disk.as_ref().and_then(|disk| disk.capacity.as_deref());
        let size = match (empty, disk.claim()) {
            (Some(text), _) => quantity::whole(text)?,
            (None, claim) => quantity_of(templates.get(claim?)?)?,
        };
        total = Some(total.unwrap_or(0).checked_add(size)?);
    }
    total
}

fn macs(spec: &VmiSpec, seen: &[super::wire::SeenInterface]) -> Vec<String> {
    let of = |interface: &super::wire::Interface| {
        let seen = seen.iter().find(|it| it.name == interface.name);
        let mac = seen.and_then(|it| it.mac.clone()).or_else(|| interface.mac_address.clone())?;
        Some(mac.to_ascii_lowercase())
    };
    spec.domain.devices.interfaces.iter().filter_map(of).collect()
}

/// What each interface is connected to: `pod`, or the network's own name.
fn networks(spec: &VmiSpec) -> Vec<String> {
    let of = |network: &super::wire::Network| match &network.multus {
        Some(multus) => multus.network_name.clone(),
        None if network.pod.is_some() => "pod".to_owned(),
        None => network.name.clone(),
    };
    let interfaces = spec.domain.devices.interfaces.iter();
    let network = |name: &str| spec.networks.iter().find(|network| network.name == name);
    interfaces.filter_map(|interface| network(&interface.name).map(of)).collect()
}

fn addresses(seen: &[super::wire::SeenInterface]) -> Vec<String> {
    let mut all = Vec::new();
    for interface in seen {
        for address in interface.ip_address.iter().chain(&interface.ip_addresses) {
            if !address.is_empty() && !all.contains(address) {
                all.push(address.clone());
            }
        }
    }
    all
}

/// Whether the guest's agent answers.
fn agent(instance: &Instance) -> bool {
    let conditions = &instance.status.conditions;
    conditions.iter().any(|it| it.kind == "AgentConnected" && it.status == "True")
}

/// The latest moment at which a condition changed.
fn latest(conditions: &[Condition]) -> Option<jiff::Timestamp> {
    conditions.iter().filter_map(|condition| condition.last_transition_time).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(text: &str) -> VirtualMachine {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn processors_and_memory_come_from_where_kubevirt_takes_them() {
        let cases = [
            (
                r#"{"cpu":{"cores":2,"sockets":3,"threads":2},"memory":{"guest":"2Gi"}}"#,
                12,
                2 << 30,
            ),
            (r#"{"cpu":{"sockets":2},"resources":{"requests":{"memory":"64M"}}}"#, 2, 64_000_000),
            (r#"{"resources":{"requests":{"cpu":"1500m","memory":"1Gi"}}}"#, 2, 1 << 30),
            (r#"{"resources":{"limits":{"cpu":3},"requests":{"cpu":1,"memory":7}}}"#, 3, 7),
        ];
        for (domain, cpus, memory) in cases {
            let text = format!(r#"{{"spec":{{"template":{{"spec":{{"domain":{domain}}}}}}}}}"#);
            let vm = vm(&text);
            let record = Known { vm: &vm, instance: None, instancetype: None }.record("c");
            assert_eq!((record.cpus, record.memory_bytes), (Some(cpus), Some(memory)), "{domain}");
        }
        let vm = vm(r#"{"spec":{"instancetype":{"name":"u1.medium"}}}"#);
        let kind: InstancetypeSpec =
            serde_json::from_str(r#"{"cpu":{"guest":4},"memory":{"guest":"8Gi"}}"#).unwrap();
        let known = Known { vm: &vm, instance: None, instancetype: Some(&kind) };
        let record = known.record("c");
        assert_eq!((record.cpus, record.memory_bytes), (Some(4), Some(8 << 30)));
        let unknown = Known { instancetype: None, ..known }.record("c");
        assert_eq!((unknown.cpus, unknown.memory_bytes), (None, None), "nothing is made up");
    }

    #[test]
    fn a_state_that_is_no_good_is_failed_and_keeps_its_word() {
        let vm = vm(r#"{"status":{"printableStatus":"ErrorUnschedulable"}}"#);
        let record = Known { vm: &vm, instance: None, instancetype: None }.record("c");
        assert_eq!(record.status, VmStatus::Failed);
        assert_eq!(record.state.as_deref(), Some("ErrorUnschedulable"));
    }

    #[test]
    fn the_size_of_all_disks_is_told_only_where_each_is_known() {
        let both = r#"{"spec":{"dataVolumeTemplates":[{"metadata":{"name":"a"},"spec":{"storage":
            {"resources":{"requests":{"storage":"1Gi"}}}}}],"template":{"spec":{"volumes":[
            {"name":"r","dataVolume":{"name":"a"}},{"name":"x","emptyDisk":{"capacity":"1Mi"}},
            {"name":"c","cloudInitNoCloud":{}}]}}}}"#;
        assert_eq!(capacity(&vm(both)), Some((1 << 30) + (1 << 20)));
        let other = both.replace(r#""dataVolume":{"name":"a"}"#, r#""containerDisk":{}"#);
        assert_eq!(capacity(&vm(&other)), None);
    }
}
