//! A machine's hardware, free of any platform's dialect. `NAME.machine.json` is this, serialised.

use serde::{Deserialize, Serialize};

/// A machine as far as another platform must know it to run it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Display name.
    pub name: String,
    /// SMBIOS UUID, lower-case hex with dashes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uuid: Option<String>,
    /// Processors.
    pub cpus: Cpus,
    /// Memory in bytes; 0 where the source does not say (a bare image).
    pub memory_bytes: u64,
    /// How it boots.
    pub firmware: Firmware,
    /// The guest operating system as far as the source knows it.
    pub os: GuestOs,
    /// Disk controllers, in the order of the source.
    pub controllers: Vec<Controller>,
    /// All disks, in boot order; none is ever left out silently.
    pub disks: Vec<MachineDisk>,
    /// All network adapters, in order.
    pub nics: Vec<Nic>,
    /// Whether it has a virtual TPM (whose state cannot be carried over).
    #[serde(default)]
    pub tpm: bool,
    /// Free text that the source keeps with the machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub annotation: Option<String>,
}

/// Processor topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cpus {
    /// Virtual processors in all; 0 where the source does not say.
    pub count: u32,
    /// Cores per socket, where the source says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cores_per_socket: Option<u32>,
    /// Threads per core, where the source says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threads_per_core: Option<u32>,
}

/// How a machine boots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Firmware {
    /// BIOS, UEFI, or not known.
    pub kind: FirmwareKind,
    /// Whether Secure Boot is on.
    #[serde(default)]
    pub secure_boot: bool,
    /// The source's file of firmware variables, carried over as it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nvram_file: Option<String>,
}

/// BIOS or UEFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareKind {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// The source does not say (a bare image).
    #[default]
    Unknown,
}

impl FirmwareKind {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::Unknown => "unknown",
        }
    }
}

/// The guest operating system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestOs {
    /// The source's own identifier, such as `debian12_64Guest` or an OVF OS id with its text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// Its display name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The family, as far as the identifier tells.
    pub family: OsFamily,
}

/// Family of guest operating systems, as far as drivers depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Linux: virtio drivers are certain.
    Linux,
    /// Windows: virtio drivers are there only if someone installed them.
    Windows,
    /// A BSD.
    Bsd,
    /// Something else that is known.
    Other,
    /// Not known.
    #[default]
    Unknown,
}

impl OsFamily {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Bsd => "bsd",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// A disk controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Identifier within this description.
    pub id: String,
    /// What kind it is.
    pub kind: ControllerKind,
    /// The model in the source's own word, such as `lsilogic` or `VirtualSCSI`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// Its number among the controllers of this kind.
    pub bus: u32,
}

/// Kinds of disk controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControllerKind {
    /// IDE.
    Ide,
    /// SATA (AHCI).
    Sata,
    /// SCSI of any model.
    Scsi,
    /// NVMe.
    Nvme,
    /// virtio-blk.
    Virtio,
    /// USB.
    Usb,
}

impl ControllerKind {
    /// The word in records; with the bus number after it, a controller's usual identifier.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::Sata => "sata",
            Self::Scsi => "scsi",
            Self::Nvme => "nvme",
            Self::Virtio => "virtio",
            Self::Usb => "usb",
        }
    }
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineDisk {
    /// Identifier: `disk0`, `disk1` … in boot order; it names the exported file.
    pub id: String,
    /// The source's own label or identifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    /// Bytes that the guest sees.
    pub capacity_bytes: u64,
    /// The controller it hangs on, by its identifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub controller: Option<String>,
    /// Its unit on the controller.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<u32>,
    /// The file name: of the source when read, of the artifact when written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
}

/// A network adapter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nic {
    /// MAC address, lower-case with colons, where the source fixes one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<String>,
    /// The model in the source's own word: `vmxnet3`, `e1000`, `virtio`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// The network's name on the source.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network: Option<String>,
    /// Whether it is connected at power-on.
    #[serde(default)]
    pub connected: bool,
}
