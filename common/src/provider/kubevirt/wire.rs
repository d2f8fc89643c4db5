//! KubeVirt's objects, as far as they are read (kubevirt.io/v1 and its sisters). Every field may be
//! missing: what a server leaves out is not known, and no error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads what a server sends. A field that is null is as good as none: API servers keep nulls that
/// clients have written where a schema allows them.
///
/// # Errors
/// Those of the reader.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).or_else(|failure| match serde_json::from_slice::<Value>(text) {
        Ok(value) => without_nulls(value),
        Err(_) => Err(failure),
    })
}

/// The same of what is read already.
///
/// # Errors
/// As [`read`].
pub fn read_value<T: DeserializeOwned>(value: Value) -> serde_json::Result<T> {
    T::deserialize(&value).or_else(|_| without_nulls(value))
}

fn without_nulls<T: DeserializeOwned>(mut value: Value) -> serde_json::Result<T> {
    drop_nulls(&mut value);
    serde_json::from_value(value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, it| !it.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => {
            items.retain(|it| !it.is_null());
            items.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// `ObjectMeta` of the Kubernetes API (meta/v1).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub creation_timestamp: Option<jiff::Timestamp>,
    pub deletion_timestamp: Option<jiff::Timestamp>,
}

impl Meta {
    /// Where the object stands in a sorted list.
    pub fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// A condition of any object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub last_transition_time: Option<jiff::Timestamp>,
}

impl Condition {
    /// What it says to people: its message, else its reason; may be empty.
    pub fn words(&self) -> &str {
        if self.message.is_empty() { &self.reason } else { &self.message }
    }
}

/// `VirtualMachine`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VirtualMachine {
    pub metadata: Meta,
    pub spec: VmSpec,
    pub status: VmStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VmSpec {
    pub running: Option<bool>,
    pub run_strategy: Option<String>,
    pub instancetype: Option<Matcher>,
    pub preference: Option<Matcher>,
    pub template: Template,
    pub data_volume_templates: Vec<DataVolume>,
}

/// Names an instancetype or a preference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Matcher {
    pub name: String,
    pub kind: String,
    pub revision_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Template {
    pub metadata: Meta,
    pub spec: VmiSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VmStatus {
    pub printable_status: String,
    pub ready: bool,
    pub created: bool,
    pub conditions: Vec<Condition>,
    pub snapshot_in_progress: Option<String>,
    pub restore_in_progress: Option<String>,
    pub volume_snapshot_statuses: Vec<VolumeSnapshotStatus>,
    pub instancetype_ref: Option<MatcherStatus>,
}

/// Where a machine's instancetype was stored when it was first used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MatcherStatus {
    pub name: String,
    pub kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshotStatus {
    pub name: String,
    pub enabled: bool,
    pub reason: String,
}

/// `VirtualMachineInstance`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub metadata: Meta,
    pub spec: VmiSpec,
    pub status: VmiStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VmiSpec {
    pub domain: Domain,
    pub networks: Vec<Network>,
    pub volumes: Vec<Volume>,
    pub node_selector: BTreeMap<String, String>,
    pub eviction_strategy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Domain {
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    pub resources: Resources,
    pub firmware: Firmware,
    pub machine: Option<MachineType>,
    pub devices: Devices,
    pub features: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cpu {
    pub cores: Option<u32>,
    pub sockets: Option<u32>,
    pub threads: Option<u32>,
    pub max_sockets: Option<u32>,
    pub model: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    pub guest: Option<String>,
    pub max_guest: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub requests: BTreeMap<String, Value>,
    pub limits: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Firmware {
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub bootloader: Option<Bootloader>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Bootloader {
    pub bios: Option<Value>,
    pub efi: Option<Efi>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Efi {
    pub secure_boot: Option<bool>,
    pub persistent: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename = "type")]
pub struct MachineType {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Devices {
    pub disks: Vec<Disk>,
    pub interfaces: Vec<Interface>,
    pub gpus: Vec<Device>,
    pub host_devices: Vec<Device>,
    pub tpm: Option<Value>,
}

/// A GPU or another device of the host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    pub name: String,
    pub device_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Disk {
    pub name: String,
    pub boot_order: Option<u32>,
    pub disk: Option<Target>,
    pub lun: Option<Target>,
    pub cdrom: Option<Target>,
    pub serial: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    pub bus: String,
    pub readonly: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Interface {
    pub name: String,
    pub mac_address: Option<String>,
    pub model: Option<String>,
    pub masquerade: Option<Value>,
    pub bridge: Option<Value>,
    pub sriov: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    pub name: String,
    pub pod: Option<Value>,
    pub multus: Option<Multus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Multus {
    pub network_name: String,
}

/// A volume; the first of its sources that is there counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    pub name: String,
    pub data_volume: Option<Named>,
    pub persistent_volume_claim: Option<Claim>,
    pub container_disk: Option<Value>,
    pub ephemeral: Option<Value>,
    pub empty_disk: Option<EmptyDisk>,
    pub host_disk: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Claim {
    pub claim_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EmptyDisk {
    pub capacity: Option<String>,
}

impl Volume {
    /// Whether it is a disk of the machine, and not its configuration.
    pub fn is_disk(&self) -> bool {
        self.claim().is_some()
            || self.container_disk.is_some()
            || self.ephemeral.is_some()
            || self.empty_disk.is_some()
            || self.host_disk.is_some()
    }

    /// The persistent volume claim that holds it.
    pub fn claim(&self) -> Option<&str> {
        let claim = self.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str());
        self.data_volume.as_ref().map(|volume| volume.name.as_str()).or(claim)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VmiStatus {
    pub phase: String,
    pub node_name: Option<String>,
    pub interfaces: Vec<SeenInterface>,
    #[serde(rename = "guestOSInfo")]
    pub guest_os: GuestOs,
    pub conditions: Vec<Condition>,
    pub migration_state: Option<MigrationState>,
    pub migration_method: Option<String>,
    #[serde(rename = "currentCPUTopology")]
    pub current_cpu_topology: Option<Cpu>,
    pub memory: SeenMemory,
}

/// The memory of a guest that runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SeenMemory {
    pub guest_current: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SeenInterface {
    pub name: String,
    pub mac: Option<String>,
    pub ip_address: Option<String>,
    pub ip_addresses: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GuestOs {
    pub id: Option<String>,
    pub name: Option<String>,
    pub pretty_name: Option<String>,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MigrationState {
    pub start_timestamp: Option<jiff::Timestamp>,
    pub end_timestamp: Option<jiff::Timestamp>,
    pub source_node: Option<String>,
    pub target_node: Option<String>,
    pub completed: bool,
    pub failed: bool,
    pub failure_reason: Option<String>,
    pub mode: Option<String>,
}

/// `VirtualMachineInstancetype`, cluster-wide or of a namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Instancetype {
    pub metadata: Meta,
    pub spec: InstancetypeSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstancetypeSpec {
    pub cpu: InstancetypeCpu,
    pub memory: Memory,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstancetypeCpu {
    pub guest: u32,
}

/// `DataVolume`, also as a template in a machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataVolume {
    pub metadata: Meta,
    pub spec: DataVolumeSpec,
    pub status: DataVolumeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataVolumeSpec {
    pub storage: Storage,
    pub pvc: Storage,
}

/// What a claim asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Storage {
    pub resources: Resources,
    pub access_modes: Vec<String>,
    pub storage_class_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataVolumeStatus {
    pub phase: String,
    pub progress: String,
    pub conditions: Vec<Condition>,
}

impl DataVolume {
    /// The size it asks for, as a quantity.
    pub fn size(&self) -> Option<&Value> {
        let of = |storage: &'_ Storage| storage.resources.requests.contains_key("storage");
        let storage = if of(&self.spec.storage) { &self.spec.storage } else { &self.spec.pvc };
        storage.resources.requests.get("storage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_is_as_good_as_nothing() {
        let text = r#"{"metadata":{"name":"web01","labels":null},"spec":{"dataVolumeTemplates":null,
            "template":{"spec":{"volumes":null,"domain":{"cpu":null,"devices":null}}}},"status":null}"#;
        let machine: VirtualMachine = read(text.as_bytes()).unwrap();
        assert_eq!(machine.metadata.name, "web01");
        assert!(machine.spec.data_volume_templates.is_empty());
        let value = serde_json::from_str(text).unwrap();
        assert!(read_value::<VirtualMachine>(value).unwrap().spec.instancetype.is_none());
        assert!(read::<VirtualMachine>(br#"{"metadata":7}"#).is_err());
    }
}
