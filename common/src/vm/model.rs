//! The neutral record of a VM, which every provider's listing fills.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FirmwareKind, Machine, OsFamily, VmId};

/// A VM as `hyper vm list` shows it. Fields that a platform does not tell are `None`; nothing is
/// made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// What the provider calls it; `hyper export -` reads it back from a record.
    pub id: VmId,
    /// Display name.
    pub name: String,
    /// The context it was found in.
    pub context: String,
    /// The provider of that context.
    pub provider: String,
    /// The namespace it is in, on a platform that has them.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether it runs.
    pub status: VmStatus,
    /// The platform's own word for its state, where that says more than `status`.
    #[serde(default)]
    pub state: Option<String>,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The family of its operating system: `linux`, `windows`, `bsd`, `other`, `unknown`. Never
    /// absent, so that filters over records need not ask first.
    pub guest_os: OsFamily,
    /// The platform's own identifier of the operating system.
    pub guest_os_id: Option<String>,
    /// The operating system's display name.
    pub guest_os_name: Option<String>,
    /// How it boots.
    pub firmware: FirmwareKind,
    /// How many disks it has.
    pub disk_count: u32,
    /// Bytes that the guest sees on all disks together.
    pub capacity_bytes: Option<u64>,
    /// Bytes that all disks take up where they lie.
    pub allocated_bytes: Option<u64>,
    /// MAC addresses of its network adapters, in order, those that are fixed.
    pub macs: Vec<String>,
    /// Networks it is connected to, in the order of the adapters.
    pub networks: Vec<String>,
    /// Addresses that its guest or its platform reports, in the order of the adapters.
    #[serde(default)]
    pub ip_addresses: Vec<String>,
    /// Its labels, on a platform that has them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it is kept as, where it is a file: `ova`, `ovf`, `vmx`, `libvirt`, or an image format.
    pub format: Option<String>,
    /// Its place in the platform's inventory, or its file.
    pub path: Option<String>,
    /// The host that it is on.
    #[serde(default)]
    pub node: Option<String>,
    /// Whether an agent within it answers the platform, where it runs.
    #[serde(default)]
    pub guest_agent: Option<bool>,
    /// The identifier that its firmware shows to the guest (SMBIOS), in small letters.
    #[serde(default)]
    pub uuid: Option<String>,
    /// The identifier that its platform gives it, unlike `uuid` never shared with a copy.
    #[serde(default)]
    pub instance_uuid: Option<String>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// When it was last changed.
    pub updated: Option<jiff::Timestamp>,
}

/// Whether a VM runs, as its platform says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmStatus {
    /// It runs.
    Running,
    /// It is off.
    Stopped,
    /// It is suspended or paused: memory is kept.
    Paused,
    /// It is on its way to run.
    Starting,
    /// It is on its way to be off or gone.
    Stopping,
    /// It should run and cannot.
    Failed,
    /// Nobody can say. A file on disk is always this: it has no power state, and whether some
    /// hypervisor runs it just now is not written in it.
    #[default]
    Unknown,
}

impl VmStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Stopped,
        Self::Paused,
        Self::Starting,
        Self::Stopping,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word in records and in `--status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for VmStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for VmStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("not one of {names}: {text:?}")
            })
    }
}

impl Vm {
    /// The record of a machine whose description is at hand: what [`Machine`] tells is filled in,
    /// the rest is for the provider.
    pub fn of_machine(id: VmId, context: &str, provider: &str, machine: &Machine) -> Self {
        let capacity = machine.disks.iter().map(|disk| disk.capacity_bytes);
        Self {
            id,
            name: machine.name.clone(),
            context: context.to_owned(),
            provider: provider.to_owned(),
            namespace: None,
            status: VmStatus::Unknown,
            state: None,
            cpus: (machine.cpus.count > 0).then_some(machine.cpus.count),
            memory_bytes: (machine.memory_bytes > 0).then_some(machine.memory_bytes),
            guest_os: machine.os.family,
            guest_os_id: machine.os.id.clone(),
            guest_os_name: machine.os.name.clone(),
            firmware: machine.firmware.kind,
            disk_count: u32::try_from(machine.disks.len()).unwrap_or(u32::MAX),
            capacity_bytes: Some(capacity.fold(0, u64::saturating_add)),
            allocated_bytes: None,
            macs: machine.nics.iter().filter_map(|nic| nic.mac.clone()).collect(),
            networks: machine.nics.iter().filter_map(|nic| nic.network.clone()).collect(),
            ip_addresses: Vec::new(),
            labels: BTreeMap::new(),
            format: None,
            path: None,
            node: None,
            uuid: None,
            guest_agent: None,
            instance_uuid: None,
            created: None,
            updated: None,
        }
    }
}
