//! The neutral record of a machine, from its properties.

use super::NAME;
use super::names::Names;
use super::property::{Object, Properties};
use super::soap::{Only, Value};
use std::collections::BTreeMap;

use crate::vm::{FirmwareKind, GuestOs, Vm, VmId, VmStatus};

/// The properties that a record is made of. All are older than vSphere 6.
pub const PATHS: [&str; 19] = [
    "name",
    "parent",
    "parentVApp",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "config.guestId",
    "config.guestFullName",
    "config.firmware",
    "config.uuid",
    "config.instanceUuid",
    "config.changeVersion",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guest.net",
    "summary.storage.committed",
];

/// What of devices, and of what the guest says of its adapters, a record is made of.
pub(super) const OF_DEVICES: Only = &[
    ("VirtualDevice", &["macAddress", "backing", "capacityInKB", "capacityInBytes"]),
    ("backing", &["deviceName", "port", "opaqueNetworkId"]),
    ("port", &["portgroupKey"]),
    ("GuestNicInfo", &["ipAddress"]),
];

/// The record of a machine.
pub fn record(context: &str, names: &Names, object: &Object) -> Vm {
    let Object { id, properties } = object;
    let text = |path: &str| properties.str(path).map(str::to_owned);
    let guest = GuestOs::named(text("config.guestId"), text("config.guestFullName"));
    let disks: Vec<&Value> = devices(properties).filter(|it| it.is("VirtualDisk")).collect();
    let nics: Vec<&Value> =
        devices(properties).filter(|it| it.child("macAddress").is_some()).collect();
    let capacity = disks.iter().map(|disk| capacity(disk)).fold(0, u64::saturating_add);
    let host = properties.reference("runtime.host");
    Vm {
        id: VmId(id.value.clone()),
        name: text("name").unwrap_or_default(),
        context: context.to_owned(),
        provider: NAME.to_owned(),
        namespace: None,
        state: None,
        ip_addresses: addresses(properties),
        labels: BTreeMap::new(),
        status: status(properties),
        cpus: properties.number("config.hardware.numCPU"),
        memory_bytes: properties
            .number::<u64>("config.hardware.memoryMB")
            .and_then(|mib| mib.checked_mul(1 << 20)),
        guest_os: guest.family,
        guest_os_id: guest.id,
        guest_os_name: guest.name,
        firmware: match properties.str("config.firmware") {
            Some("bios") => FirmwareKind::Bios,
            Some("efi") => FirmwareKind::Uefi,
            _ => FirmwareKind::Unknown,
        },
        disk_count: u32::try_from(disks.len()).unwrap_or(u32::MAX),
        capacity_bytes: properties.get("config.hardware.device").map(|_| capacity),
        allocated_bytes: properties.number("summary.storage.committed"),
        macs: nics.iter().filter_map(|nic| nic.str("macAddress").map(str::to_owned)).collect(),
        networks: nics.iter().filter_map(|nic| network(nic, names)).collect(),
        format: None,
        path: names.path_of(properties),
        node: host.and_then(|host| names.name(&host.value).map(str::to_owned)),
        guest_agent: agent(properties),
        uuid: text("config.uuid").map(|uuid| uuid.to_ascii_lowercase()),
        instance_uuid: text("config.instanceUuid").map(|uuid| uuid.to_ascii_lowercase()),
        created: None,
        updated: properties.str("config.changeVersion").and_then(|time| time.parse().ok()),
    }
}

/// Whether it runs; nobody knows of one whose host does not answer.
pub fn status(properties: &Properties) -> VmStatus {
    if properties.str("runtime.connectionState").is_some_and(|state| state != "connected") {
        return VmStatus::Unknown;
    }
    match properties.str("runtime.powerState") {
        Some("poweredOn") => VmStatus::Running,
        Some("poweredOff") => VmStatus::Stopped,
        Some("suspended") => VmStatus::Paused,
        _ => VmStatus::Unknown,
    }
}

/// Whether VMware Tools answer, in a machine that runs.
fn agent(properties: &Properties) -> Option<bool> {
    let word = properties.str("guest.toolsRunningStatus")?;
    (status(properties) == VmStatus::Running).then_some(word == "guestToolsRunning")
}

/// The addresses that VMware Tools tell of; the main one where they tell of no adapters.
fn addresses(properties: &Properties) -> Vec<String> {
    let cards = properties.get("guest.net").map_or(&[][..], |it| &it.children);
    let all = cards.iter().flat_map(|card| card.all("ipAddress")).map(|it| it.text.clone());
    let mut all: Vec<String> = all.filter(|it| !it.is_empty()).collect();
    if all.is_empty() {
        let main = properties.str("guest.ipAddress").filter(|it| !it.is_empty());
        all.extend(main.map(str::to_owned));
    }
    all
}

fn devices(properties: &Properties) -> impl Iterator<Item = &Value> {
    properties.get("config.hardware.device").into_iter().flat_map(|array| array.children.iter())
}

/// Bytes of a disk; hosts before 5.5 only tell KiB.
fn capacity(disk: &Value) -> u64 {
    let kib = || disk.number::<u64>("capacityInKB").map_or(0, |kib| kib.saturating_mul(1024));
    disk.number("capacityInBytes").unwrap_or_else(kib)
}

/// The network of an adapter: a host's own by its name, a distributed one by its port group's.
fn network(nic: &Value, names: &Names) -> Option<String> {
    if let Some(name) = nic.str("backing.deviceName") {
        return Some(name.to_owned());
    }
    let group = nic.str("backing.port.portgroupKey").and_then(|key| names.name(key));
    group.or_else(|| nic.str("backing.opaqueNetworkId")).map(str::to_owned)
}
