//! From a machine to an envelope: OVF 1.1 in the words of VMware's exporters, which ESXi, vSphere,
//! ovftool, VirtualBox and virt-v2v take.
//!
//! In a package the envelope comes first, before the sizes of the disks that it states are known.
//! [`reserved_len`] is the length of the longest envelope that a machine can get; [`pad`] brings
//! the real one to it with spaces after the root element, which XML allows.

use super::layout::{Place, Slot, lay_out};
use crate::error::{Error, Result};
use crate::image::{ImageFormat, Variant};
use crate::package::xml_text::XmlText;
use crate::vm::{ControllerKind, FirmwareKind, Machine, Nic, OsFamily};

const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";
const RASD: &str =
    "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
const VSSD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData";
const VMW: &str = "http://www.vmware.com/schema/ovf";

/// The oldest hardware version of VMware with UEFI Secure Boot and NVMe (ESXi 6.5).
const HARDWARE: &str = "vmx-13";

/// The network of adapters whose source names none: ESXi's first one.
const NETWORK: &str = "VM Network";

/// The files of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfFiles {
    /// One for each disk of the machine, in the same order.
    pub disks: Vec<OvfDisk>,
    /// The firmware's variables: name and size in bytes.
    pub nvram: Option<(String, u64)>,
}

/// A disk's file in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfDisk {
    /// The file's name.
    pub file: String,
    /// The file's size in bytes.
    pub size: u64,
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Bytes of it that hold data, where known.
    pub populated: Option<u64>,
    /// The file's format.
    pub format: ImageFormat,
    /// Its variant; of VMDK, what the format's name ends in.
    pub variant: Option<Variant>,
}

/// The envelope of `machine`; the same input gives the same bytes.
///
/// # Errors
/// `Internal` where there is not one file for each disk.
pub fn write_ovf(machine: &Machine, files: &OvfFiles) -> Result<String> {
    if machine.disks.len() != files.disks.len() {
        return Err(Error::new(
            crate::error::ErrorKind::Internal,
            "an envelope needs one file for each disk",
        ));
    }
    let mut xml = XmlText::new();
    let spaces = [
        ("xmlns", OVF),
        ("xmlns:cim", CIM),
        ("xmlns:ovf", OVF),
        ("xmlns:rasd", RASD),
        ("xmlns:vmw", VMW),
        ("xmlns:vssd", VSSD),
    ];
    xml.within("Envelope", &spaces, |xml| {
        write_references(xml, files);
        write_disks(xml, files);
        write_networks(xml, machine);
        write_system(xml, machine, files);
    });
    Ok(xml.finish())
}

/// Bytes to keep free for the envelope of `machine` while the sizes in `files` are not known: no
/// size makes it longer.
///
/// # Errors
/// As [`write_ovf`].
pub fn reserved_len(machine: &Machine, files: &OvfFiles) -> Result<u64> {
    let disk = |disk: &OvfDisk| OvfDisk {
        size: u64::MAX,
        capacity: u64::MAX,
        populated: disk.populated.map(|_| u64::MAX),
        ..disk.clone()
    };
    let longest = OvfFiles {
        disks: files.disks.iter().map(disk).collect(),
        nvram: files.nvram.as_ref().map(|(name, _)| (name.clone(), u64::MAX)),
    };
    Ok(write_ovf(machine, &longest)?.len() as u64)
}

/// `envelope` as exactly `len` bytes.
///
/// # Errors
/// `Internal` where it is longer.
pub fn pad(envelope: String, len: u64) -> Result<String> {
    let mut padded = envelope;
    let missing = len.checked_sub(padded.len() as u64).ok_or_else(|| {
        Error::new(crate::error::ErrorKind::Internal, "the envelope outgrew the room kept for it")
    })?;
    if missing > 0 {
        padded.extend((1..missing).map(|_| ' '));
        padded.push('\n');
    }
    Ok(padded)
}

fn write_references(xml: &mut XmlText, files: &OvfFiles) {
    let disks = files.disks.iter().map(|disk| (disk.file.as_str(), disk.size));
    let nvram = files.nvram.iter().map(|(name, size)| (name.as_str(), *size));
    xml.within("References", &[], |xml| {
        for (at, (name, size)) in disks.chain(nvram).enumerate() {
            let (id, size) = (file_id(at), size.to_string());
            xml.empty("File", &[("ovf:href", name), ("ovf:id", &id), ("ovf:size", &size)]);
        }
    });
}

fn file_id(at: usize) -> String {
    format!("file{}", at + 1)
}

fn disk_id(at: usize) -> String {
    format!("vmdisk{}", at + 1)
}

fn write_disks(xml: &mut XmlText, files: &OvfFiles) {
    xml.within("DiskSection", &[], |xml| {
        xml.leaf("Info", &[], "Virtual disks");
        for (at, disk) in files.disks.iter().enumerate() {
            let (id, file) = (disk_id(at), file_id(at));
            let (capacity, populated) =
                (disk.capacity.to_string(), disk.populated.map(|bytes| bytes.to_string()));
            let mut attributes = vec![
                ("ovf:capacity", capacity.as_str()),
                ("ovf:capacityAllocationUnits", "byte"),
                ("ovf:diskId", &id),
                ("ovf:fileRef", &file),
                ("ovf:format", format_uri(disk.format, disk.variant)),
            ];
            attributes.extend(populated.as_deref().map(|bytes| ("ovf:populatedSize", bytes)));
            xml.empty("Disk", &attributes);
        }
    });
}

/// The URI that names a disk format, as its makers and exporters give it.
fn format_uri(format: ImageFormat, variant: Option<Variant>) -> &'static str {
    match (format, variant) {
        (ImageFormat::Vmdk, Some(Variant::MonolithicFlat)) => {
            "http://www.vmware.com/interfaces/specifications/vmdk.html#flat"
        }
        (ImageFormat::Vmdk, Some(Variant::MonolithicSparse)) => {
            "http://www.vmware.com/interfaces/specifications/vmdk.html#sparse"
        }
        (ImageFormat::Vmdk, _) => {
            "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
        }
        (ImageFormat::Qcow2, _) => "http://www.gnome.org/~markmc/qcow-image-format.html",
        (ImageFormat::Vhd, _) => "http://go.microsoft.com/fwlink/?LinkId=137171#vhd",
        (ImageFormat::Vhdx, _) => "http://go.microsoft.com/fwlink/?LinkId=137171#vhdx",
        (ImageFormat::Vdi, _) => "http://www.virtualbox.org/ovf/formats/vdi",
        (ImageFormat::Raw, _) => "http://www.qemu.org/formats/raw",
    }
}

/// The networks that adapters name, each once, in order.
fn networks(machine: &Machine) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for nic in &machine.nics {
        let name = nic.network.as_deref().unwrap_or(NETWORK);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_networks(xml: &mut XmlText, machine: &Machine) {
    if machine.nics.is_empty() {
        return;
    }
    xml.within("NetworkSection", &[], |xml| {
        xml.leaf("Info", &[], "Logical networks");
        for name in networks(machine) {
            xml.within("Network", &[("ovf:name", name)], |xml| xml.leaf("Description", &[], name));
        }
    });
}

fn write_system(xml: &mut XmlText, machine: &Machine, files: &OvfFiles) {
    xml.within("VirtualSystem", &[("ovf:id", &machine.name)], |xml| {
        xml.leaf("Info", &[], "A virtual machine");
        xml.leaf("Name", &[], &machine.name);
        let (number, id) = (machine.os.cim_number().to_string(), machine.os.vmware_id());
        let os = [("ovf:id", number.as_str()), ("vmw:osType", &id)];
        xml.within("OperatingSystemSection", &os, |xml| {
            xml.leaf("Info", &[], "The guest operating system");
            if let Some(name) = &machine.os.name {
                xml.leaf("Description", &[], name);
            }
        });
        xml.within("VirtualHardwareSection", &[], |xml| write_hardware(xml, machine, files));
        if let Some(annotation) = &machine.annotation {
            xml.within("AnnotationSection", &[], |xml| {
                xml.leaf("Info", &[], "Notes of the machine");
                xml.leaf("Annotation", &[], annotation);
            });
        }
    });
}

fn write_hardware(xml: &mut XmlText, machine: &Machine, files: &OvfFiles) {
    xml.leaf("Info", &[], "Virtual hardware");
    xml.within("System", &[], |xml| {
        xml.leaf("vssd:ElementName", &[], "Virtual Hardware Family");
        xml.leaf("vssd:InstanceID", &[], "0");
        xml.leaf("vssd:VirtualSystemIdentifier", &[], &machine.name);
        xml.leaf("vssd:VirtualSystemType", &[], HARDWARE);
    });
    let mut items = Items { xml, next: 1 };
    write_cpus_and_memory(&mut items, machine);
    let (slots, places) = lay_out(machine);
    let parents: Vec<u32> = slots.iter().map(|slot| write_controller(&mut items, slot)).collect();
    for (at, place) in places.iter().enumerate() {
        write_drive(&mut items, at, place, &parents);
    }
    for (at, nic) in machine.nics.iter().enumerate() {
        write_nic(&mut items, at, nic, machine.os.family);
    }
    write_firmware(xml, machine, files);
}

/// A source that does not say gets one processor and 1 GiB.
fn write_cpus_and_memory(items: &mut Items<'_>, machine: &Machine) {
    let cpus = machine.cpus.count.max(1);
    let cores =
        machine.cpus.cores_per_socket.filter(|cores| *cores > 0 && cpus.is_multiple_of(*cores));
    let fields = vec![
        ("AllocationUnits", "hertz * 10^6".to_owned()),
        ("Description", "Number of Virtual CPUs".to_owned()),
        ("ElementName", format!("{cpus} virtual CPU(s)")),
        ("VirtualQuantity", cpus.to_string()),
    ];
    items.write(3, fields, |xml| {
        if let Some(cores) = cores {
            xml.leaf("vmw:CoresPerSocket", &[("ovf:required", "false")], &cores.to_string());
        }
    });
    let mib = machine.memory_bytes.div_ceil(1 << 20);
    let mib = if mib == 0 { 1024 } else { mib };
    let fields = vec![
        ("AllocationUnits", "byte * 2^20".to_owned()),
        ("Description", "Memory Size".to_owned()),
        ("ElementName", format!("{mib}MB of memory")),
        ("VirtualQuantity", mib.to_string()),
    ];
    items.write(4, fields, |_| {});
}

fn write_controller(items: &mut Items<'_>, slot: &Slot) -> u32 {
    let (resource, word) = match slot.kind {
        ControllerKind::Ide => (5, "IDE"),
        ControllerKind::Scsi => (6, "SCSI"),
        ControllerKind::Nvme => (20, "NVMe"),
        _ => (20, "SATA"),
    };
    let mut fields = vec![
        ("Address", slot.bus.to_string()),
        ("Description", format!("{word} Controller")),
        ("ElementName", format!("{word} Controller {}", slot.bus)),
    ];
    if !slot.model.is_empty() {
        fields.push(("ResourceSubType", slot.model.to_owned()));
    }
    items.write(resource, fields, |_| {})
}

fn write_drive(items: &mut Items<'_>, at: usize, place: &Place, parents: &[u32]) {
    let (controller, unit) = place;
    let parent = parents.get(*controller).copied().unwrap_or_default();
    let fields = vec![
        ("AddressOnParent", unit.to_string()),
        ("ElementName", format!("Hard disk {}", at + 1)),
        ("HostResource", format!("ovf:/disk/{}", disk_id(at))),
        ("Parent", parent.to_string()),
    ];
    items.write(17, fields, |_| {});
}

fn write_nic(items: &mut Items<'_>, at: usize, nic: &Nic, family: OsFamily) {
    let network = nic.network.as_deref().unwrap_or(NETWORK);
    let mut fields = vec![
        ("AddressOnParent", (at + 7).to_string()),
        ("AutomaticAllocation", nic.connected.to_string()),
        ("Connection", network.to_owned()),
        ("Description", format!("Network adapter on {network:?}")),
        ("ElementName", format!("Network adapter {}", at + 1)),
        ("ResourceSubType", nic_model(nic, family).to_owned()),
    ];
    fields.extend(nic.mac.clone().map(|mac| ("Address", mac)));
    items.write(10, fields, |_| {});
}

/// The adapter in the spelling of VMware's importers; one that only other platforms have becomes
/// E1000 (E1000e for Windows, which no longer brings a driver for the former).
fn nic_model(nic: &Nic, family: OsFamily) -> &'static str {
    let word = nic.model.as_deref().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        "vmxnet3" => "VmxNet3",
        "vmxnet2" | "enhanced" => "VmxNet2",
        "e1000e" | "82574l" => "E1000e",
        "pcnet32" | "vlance" | "pcnet" => "PCNet32",
        "e1000" => "E1000",
        _ if family == OsFamily::Windows => "E1000e",
        _ => "E1000",
    }
}

fn write_firmware(xml: &mut XmlText, machine: &Machine, files: &OvfFiles) {
    let mut config = |element: &str, key: &str, value: &str| {
        let attributes = [("ovf:required", "false"), ("vmw:key", key), ("vmw:value", value)];
        xml.empty(element, &attributes);
    };
    if machine.firmware.kind == FirmwareKind::Uefi {
        config("vmw:Config", "firmware", "efi");
        let secure = if machine.firmware.secure_boot { "true" } else { "false" };
        config("vmw:Config", "bootOptions.efiSecureBootEnabled", secure);
    }
    if files.nvram.is_some() {
        let file = format!("ovf:/file/{}", file_id(files.disks.len()));
        config("vmw:ExtraConfig", "nvram", &file);
    }
}

/// Hardware items, numbered as they come.
struct Items<'x> {
    xml: &'x mut XmlText,
    next: u32,
}

impl Items<'_> {
    /// An item with its fields and what `more` writes after them; the answer is its number. The
    /// schema wants the fields sorted by name, and ovftool insists on it.
    fn write(
        &mut self,
        resource: u32,
        fields: Vec<(&str, String)>,
        more: impl FnOnce(&mut XmlText),
    ) -> u32 {
        let instance = self.next;
        self.next += 1;
        let mut fields = fields;
        fields.push(("InstanceID", instance.to_string()));
        fields.push(("ResourceType", resource.to_string()));
        fields.sort();
        self.xml.within("Item", &[], |xml| {
            for (name, value) in &fields {
                xml.leaf(&format!("rasd:{name}"), &[], value);
            }
            more(xml);
        });
        instance
    }
}
