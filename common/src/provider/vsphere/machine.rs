//! From a machine's configuration (`VirtualMachineConfigInfo` of the vSphere API) to the neutral
//! description, and to what its disks are.

use std::collections::HashMap;

use super::soap::{MoRef, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::package::{Controllers, mac, number_disks, uuid};
use crate::vm::{ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic};

/// A machine as its configuration has it.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub machine: Machine,
    /// As many as the machine has, in the same order.
    pub disks: Vec<VmDisk>,
    /// What is not carried over, a clause each.
    pub notes: Vec<String>,
    /// The firmware variables file: `[datastore] folder/name.nvram`.
    pub nvram: Option<String>,
    /// Port groups whose names are still to be asked for: number of the adapter, group.
    pub ports: Vec<(usize, MoRef)>,
}

/// A disk as the platform knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct VmDisk {
    /// How people know it: `Hard disk 1`.
    pub label: String,
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Its file: `[datastore] folder/name.vmdk`.
    pub file: String,
    /// Whether it is one flat file, of full length from the start.
    pub preallocated: bool,
    /// Whether it is one flat file.
    pub flat: bool,
    /// The device's name in an export lease, behind the machine's:
    /// `VirtualLsiLogicController0:0`.
    pub lease_key: String,
    /// Its number among the disks as the platform lists them.
    pub place: usize,
    /// What tells its content from any other: identifiers that the platform changes with it.
    pub marks: String,
    /// Why it cannot be exported.
    pub refusal: Option<String>,
}

/// A controller that disks hang on.
struct Bus {
    class: String,
    kind: ControllerKind,
    model: &'static str,
    number: u32,
    shared: bool,
}

/// The machine called `name` with the configuration `config`; `files` are the files that the
/// platform lists for it (`layoutEx.file`).
///
/// # Errors
/// `Unsupported` for an encrypted machine; `Protocol` where the configuration makes no sense.
pub(super) fn describe(name: &str, config: &Value, files: Option<&Value>) -> Result<Described> {
    if config.child("keyId").is_some() {
        return Err(Error::unsupported("the machine is encrypted")
            .with_subject(name)
            .with_hint("decrypt a clone of it, and export that"));
    }
    let hardware = config.child("hardware").ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the server says nothing of its hardware")
            .with_subject(name)
    })?;
    let mut described = Described { machine: base(name, config, hardware), ..Described::default() };
    let buses: HashMap<&str, Bus> = hardware.all("device").filter_map(read_bus).collect();
    let mut controllers = Controllers::default();
    for device in hardware.all("device") {
        if let Some(bus) = device.str("key").and_then(|key| buses.get(key))
            && bus.kind != ControllerKind::Ide
        {
            controllers.named(bus.kind, bus.number, Some(bus.model));
        }
    }
    let mut drives = Vec::new();
    for device in hardware.all("device") {
        let kind = device.kind.as_deref().unwrap_or_default();
        match kind {
            "VirtualDisk" => {
                let mut drive = read_disk(device, &buses, &mut controllers)?;
                drive.vm.place = drives.len();
                drives.push(drive);
            }
            "VirtualTPM" => described.machine.tpm = true,
            _ if nic_model(kind).is_some() => add_nic(device, kind, &mut described),
            _ => described.notes.extend(left_out(device, kind)),
        }
    }
    sort_drives(config, &mut drives);
    described.machine.controllers = controllers.0;
    for Drive { disk, vm, .. } in drives {
        described.machine.disks.push(disk);
        described.disks.push(vm);
    }
    number_disks(&mut described.machine);
    described.nvram = nvram_file(config, files);
    described.machine.firmware.nvram_file = described.nvram.as_deref().map(base_name);
    Ok(described)
}

/// All but the devices.
fn base(name: &str, config: &Value, hardware: &Value) -> Machine {
    let uefi = config.str("firmware") == Some("efi");
    let secure = config.flag("bootOptions.efiSecureBootEnabled").unwrap_or(false);
    let text = |path: &str| config.str(path).map(str::to_owned);
    Machine {
        name: name.to_owned(),
        uuid: config.str("uuid").and_then(uuid),
        cpus: Cpus {
            count: hardware.number("numCPU").unwrap_or(0),
            cores_per_socket: hardware.number("numCoresPerSocket").filter(|cores| *cores > 0),
            threads_per_core: None,
        },
        memory_bytes: hardware.number::<u64>("memoryMB").map_or(0, |mib| mib << 20),
        firmware: Firmware {
            // What the API leaves out is its default.
            kind: if uefi { FirmwareKind::Uefi } else { FirmwareKind::Bios },
            secure_boot: uefi && secure,
            nvram_file: None,
        },
        os: GuestOs::named(text("guestId"), text("guestFullName")),
        annotation: text("annotation"),
        ..Machine::default()
    }
}

fn read_bus(device: &Value) -> Option<(&str, Bus)> {
    let class = device.kind.as_deref()?;
    let (kind, model) = match class {
        "ParaVirtualSCSIController" => (ControllerKind::Scsi, "pvscsi"),
        "VirtualLsiLogicController" => (ControllerKind::Scsi, "lsilogic"),
        "VirtualLsiLogicSASController" => (ControllerKind::Scsi, "lsisas1068"),
        "VirtualBusLogicController" => (ControllerKind::Scsi, "buslogic"),
        "VirtualAHCIController" | "VirtualSATAController" => (ControllerKind::Sata, "ahci"),
        "VirtualNVMEController" => (ControllerKind::Nvme, "nvme"),
        "VirtualIDEController" => (ControllerKind::Ide, "ide"),
        _ => return None,
    };
    let shared = device.str("sharedBus").is_some_and(|word| word != "noSharing");
    let number = device.number("busNumber").unwrap_or(0);
    Some((device.str("key")?, Bus { class: class.to_owned(), kind, model, number, shared }))
}

/// A disk and what its place in the order depends on.
struct Drive {
    key: String,
    rank: (u8, u32, u32),
    disk: MachineDisk,
    vm: VmDisk,
}

fn read_disk(
    device: &Value,
    buses: &HashMap<&str, Bus>,
    controllers: &mut Controllers,
) -> Result<Drive> {
    let key = device.str("key").unwrap_or_default().to_owned();
    let label = device.str("deviceInfo.label").unwrap_or(&key).to_owned();
    let bytes = device.number("capacityInBytes");
    let capacity = bytes.or_else(|| device.number::<u64>("capacityInKB")?.checked_mul(1024));
    let capacity = capacity.ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the server does not say how large it is")
            .with_subject(&label)
    })?;
    let bus = device.str("controllerKey").and_then(|key| buses.get(key));
    let unit: Option<u32> = device.number("unitNumber");
    let vm = VmDisk {
        label: label.clone(),
        capacity,
        lease_key: bus.map_or_else(String::new, |bus| {
            format!("{}{}:{}", bus.class, bus.number, unit.unwrap_or(0))
        }),
        ..backing(device, bus)
    };
    let disk = MachineDisk {
        id: String::new(),
        label: Some(label),
        capacity_bytes: capacity,
        controller: bus.map(|bus| controllers.named(bus.kind, bus.number, Some(bus.model))),
        unit,
        file: Some(vm.file.clone()).filter(|file| !file.is_empty()),
    };
    let order = match bus.map(|bus| bus.kind) {
        Some(ControllerKind::Scsi) => 0,
        Some(ControllerKind::Sata) => 1,
        Some(ControllerKind::Nvme) => 2,
        _ => 3,
    };
    let rank = (order, bus.map_or(0, |bus| bus.number), unit.unwrap_or(0));
    Ok(Drive { key, rank, disk, vm })
}

/// What holds the disk's bytes, and whether they can be had.
fn backing(device: &Value, bus: Option<&Bus>) -> VmDisk {
    let none = Value::default();
    let backing = device.child("backing").unwrap_or(&none);
    let class = backing.kind.as_deref().unwrap_or_default();
    let flat = class == "VirtualDiskFlatVer2BackingInfo" && backing.child("parent").is_none();
    let marks = ["uuid", "contentId", "changeId", "fileName"]
        .iter()
        .filter_map(|name| backing.str(name))
        .collect::<Vec<_>>()
        .join(" ");
    VmDisk {
        file: backing.str("fileName").unwrap_or_default().to_owned(),
        flat,
        preallocated: flat && backing.flag("thinProvisioned") == Some(false),
        marks,
        refusal: refusal(backing, class, bus),
        ..VmDisk::default()
    }
}

/// Why a disk cannot be exported, as a clause.
fn refusal(backing: &Value, class: &str, bus: Option<&Bus>) -> Option<String> {
    let mode = backing.str("diskMode").unwrap_or_default();
    if backing.child("keyId").is_some() {
        return Some("it is encrypted".into());
    }
    if class.contains("RawDiskMapping") && backing.str("compatibilityMode") == Some("physicalMode")
    {
        return Some("it is a raw device mapping in physical mode".into());
    }
    if mode.starts_with("independent") {
        return Some(format!("it is independent ({mode}): neither snapshots nor exports hold it"));
    }
    if backing.str("sharing") == Some("sharingMultiWriter") {
        return Some("several machines may write to it at once (multi-writer)".into());
    }
    if bus.is_some_and(|bus| bus.shared) {
        return Some("its controller is shared with other machines".into());
    }
    let device = class.contains("RawDiskVer2") || class.contains("LocalPMem");
    if device || backing.str("fileName").is_none() {
        return Some("it is a device of its host and not a file".into());
    }
    None
}

/// The disks in the order in which the machine looks for one to boot.
fn sort_drives(config: &Value, drives: &mut [Drive]) {
    let order: Vec<&str> = config
        .child("bootOptions")
        .into_iter()
        .flat_map(|options| options.all("bootOrder"))
        .filter_map(|entry| entry.str("deviceKey"))
        .collect();
    drives.sort_by_key(|drive| {
        let first = order.iter().position(|key| *key == drive.key).unwrap_or(usize::MAX);
        (first, drive.rank)
    });
}

/// The adapter's model in the word of VMX files.
fn nic_model(class: &str) -> Option<&'static str> {
    Some(match class {
        "VirtualVmxnet3" | "VirtualVmxnet3Vrdma" => "vmxnet3",
        "VirtualVmxnet2" | "VirtualVmxnet" => "vmxnet",
        "VirtualE1000" => "e1000",
        "VirtualE1000e" => "e1000e",
        "VirtualPCNet32" => "vlance",
        "VirtualSriovEthernetCard" => "sriov",
        _ => return None,
    })
}

fn add_nic(device: &Value, class: &str, described: &mut Described) {
    let group = device.str("backing.port.portgroupKey");
    if let Some(group) = group {
        let group = MoRef::new("DistributedVirtualPortgroup", group);
        described.ports.push((described.machine.nics.len(), group));
    }
    let plain = device.str("backing.deviceName").or(device.str("backing.opaqueNetworkId"));
    described.machine.nics.push(Nic {
        mac: device.str("macAddress").and_then(mac),
        model: nic_model(class).map(str::to_owned),
        network: plain.or(group).map(str::to_owned),
        connected: device.flag("connectable.startConnected").unwrap_or(true),
    });
}

/// Devices that hold or pass on something and do not come along.
fn left_out(device: &Value, class: &str) -> Option<String> {
    let label = device.str("deviceInfo.label").unwrap_or(class);
    let medium = device.str("backing.fileName").or(device.str("backing.deviceName"));
    let medium = medium.map_or_else(String::new, |medium| format!(" ({medium})"));
    match class {
        "VirtualCdrom" => Some(format!("the CD-ROM drive {label}{medium} is not carried over")),
        "VirtualFloppy" if !medium.is_empty() => {
            Some(format!("the floppy drive {label}{medium} is not carried over"))
        }
        "VirtualPCIPassthrough"
        | "VirtualUSB"
        | "VirtualSerialPort"
        | "VirtualParallelPort"
        | "VirtualNVDIMM"
        | "VirtualPrecisionClock"
        | "VirtualSCSIPassthrough" => {
            Some(format!("the device {label}{medium} is not carried over"))
        }
        _ => None,
    }
}

/// The firmware variables file: listed among the machine's files, or named in its settings, then
/// in the folder of its VMX file.
fn nvram_file(config: &Value, files: Option<&Value>) -> Option<String> {
    let listed = files.into_iter().flat_map(|files| &files.children);
    let listed =
        listed.filter(|file| file.str("type") == Some("nvram")).find_map(|f| f.str("name"));
    if let Some(file) = listed {
        return Some(file.to_owned());
    }
    let named = config.all("extraConfig").find(|pair| pair.str("key") == Some("nvram"))?;
    let named = named.str("value")?;
    if named.starts_with('[') {
        return Some(named.to_owned());
    }
    let vmx = config.str("files.vmPathName")?;
    let (folder, _) = vmx.rsplit_once('/').unwrap_or((vmx.split(']').next()?, ""));
    let folder = if folder.contains(']') { format!("{folder}/") } else { format!("{folder}] ") };
    Some(format!("{folder}{named}"))
}

/// The last part of a path in a datastore.
pub(super) fn base_name(path: &str) -> String {
    let inside = path.split_once("] ").map_or(path, |(_, inside)| inside);
    inside.rsplit('/').next().unwrap_or(inside).to_owned()
}

/// A name as people gave it: servers write `%`, `/` and `\` as `%25`, `%2f` and `%5c`.
pub(super) fn plain_name(name: &str) -> String {
    let mut plain = name.to_owned();
    for (code, sign) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\"), ("%25", "%")] {
        plain = plain.replace(code, sign);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::vsphere::soap::parse;

    fn device(class: &str, inner: &str) -> String {
        format!(r#"<device xsi:type="{class}">{inner}</device>"#)
    }

    fn disk(key: u32, controller: u32, unit: u32, backing: &str) -> String {
        let inner = format!(
            r#"<key>{key}</key><deviceInfo><label>Hard disk {key}</label></deviceInfo>{backing}
            <controllerKey>{controller}</controllerKey><unitNumber>{unit}</unitNumber>
            <capacityInKB>1024</capacityInKB><capacityInBytes>1049088</capacityInBytes>"#
        );
        device("VirtualDisk", &inner)
    }

    fn flat(file: &str, more: &str) -> String {
        format!(
            r#"<backing xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>[ds1] w/{file}</fileName>
            <diskMode>persistent</diskMode><thinProvisioned>false</thinProvisioned>{more}</backing>"#
        )
    }

    fn described(devices: &str, more: &str) -> Result<Described> {
        let text = format!(
            r#"<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"
            xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body><config>
            <uuid>421E0102-0304-0506-0708-090a0b0c0d0e</uuid><guestId>debian12_64Guest</guestId>
            <guestFullName>Debian 12</guestFullName><annotation>two
lines</annotation><firmware>efi</firmware>
            <files><vmPathName>[ds1] w/w.vmx</vmPathName></files>
            <extraConfig><key>nvram</key><value xsi:type="xsd:string">w.nvram</value></extraConfig>
            <bootOptions><efiSecureBootEnabled>true</efiSecureBootEnabled>
            <bootOrder xsi:type="VirtualMachineBootOptionsBootableDiskDevice">
            <deviceKey>2001</deviceKey></bootOrder></bootOptions>{more}
            <hardware><numCPU>6</numCPU><numCoresPerSocket>3</numCoresPerSocket>
            <memoryMB>2048</memoryMB>{devices}</hardware></config></e:Body></e:Envelope>"#
        );
        describe("w", &parse(text.as_bytes()).unwrap(), None)
    }

    fn buses() -> String {
        let bus = |class, key, number, more: &str| {
            device(class, &format!("<key>{key}</key><busNumber>{number}</busNumber>{more}"))
        };
        [
            bus("VirtualIDEController", 200, 0, ""),
            bus("ParaVirtualSCSIController", 1000, 0, "<sharedBus>noSharing</sharedBus>"),
            bus("VirtualNVMEController", 31000, 1, ""),
            bus("VirtualLsiLogicController", 1001, 1, "<sharedBus>virtualSharing</sharedBus>"),
        ]
        .concat()
    }

    #[test]
    fn a_machine_is_described_whole() {
        let devices = [
            buses(),
            disk(2000, 1000, 0, &flat("a.vmdk", "<uuid>u</uuid><contentId>c</contentId>")),
            disk(3000, 31000, 2, &flat("c.vmdk", "")),
            disk(2001, 1000, 1, &flat("b.vmdk", "<parent><fileName>x</fileName></parent>")),
            device("VirtualTPM", "<key>11000</key>"),
            device(
                "VirtualVmxnet3",
                "<key>4000</key><macAddress>00:50:56:AA:bb:01</macAddress><backing>\
                 <deviceName>VM Network</deviceName></backing>",
            ),
            device(
                "VirtualE1000e",
                "<key>4001</key><connectable><startConnected>false</startConnected></connectable>\
                 <backing><port><portgroupKey>dvportgroup-9</portgroupKey></port></backing>",
            ),
            device(
                "VirtualCdrom",
                "<deviceInfo><label>CD 1</label></deviceInfo>\
                 <backing><fileName>[ds1] a.iso</fileName></backing>",
            ),
        ];
        let described = described(&devices.concat(), "").unwrap();
        let machine = &described.machine;
        assert_eq!(machine.uuid.as_deref(), Some("421e0102-0304-0506-0708-090a0b0c0d0e"));
        assert_eq!((machine.cpus.count, machine.cpus.cores_per_socket), (6, Some(3)));
        assert_eq!(machine.memory_bytes, 2 << 30);
        assert!(machine.tpm && machine.firmware.secure_boot);
        assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
        assert_eq!(described.nvram.as_deref(), Some("[ds1] w/w.nvram"));
        assert_eq!(machine.firmware.nvram_file.as_deref(), Some("w.nvram"));
        let disks: Vec<_> = machine
            .disks
            .iter()
            .zip(&described.disks)
            .map(|(disk, vm)| {
                (disk.id.as_str(), disk.controller.as_deref().unwrap(), vm.lease_key.as_str())
            })
            .collect();
        assert_eq!(
            disks,
            [
                ("disk0", "scsi0", "ParaVirtualSCSIController0:1"),
                ("disk1", "scsi0", "ParaVirtualSCSIController0:0"),
                ("disk2", "nvme1", "VirtualNVMEController1:2"),
            ]
        );
        assert!(!described.disks[0].flat && described.disks[1].preallocated);
        assert_eq!(described.disks[1].marks, "u c [ds1] w/a.vmdk");
        assert_eq!(described.disks[1].capacity, 1_049_088);
        assert!(described.disks.iter().all(|disk| disk.refusal.is_none()));
        assert_eq!(machine.nics[0].mac.as_deref(), Some("00:50:56:aa:bb:01"));
        assert_eq!(machine.nics[0].network.as_deref(), Some("VM Network"));
        assert!(machine.nics[0].connected && !machine.nics[1].connected);
        assert_eq!(described.ports[0].0, 1);
        assert_eq!(machine.controllers[0].model.as_deref(), Some("pvscsi"));
        assert!(described.notes[0].contains("CD 1 ([ds1] a.iso)"), "{:?}", described.notes);
    }

    #[test]
    fn disks_that_cannot_be_exported_say_why() {
        let raw = |mode: &str| {
            format!(
                r#"<backing xsi:type="VirtualDiskRawDiskMappingVer1BackingInfo">
                <fileName>[ds1] w/r.vmdk</fileName><compatibilityMode>{mode}</compatibilityMode>
                <diskMode>persistent</diskMode></backing>"#
            )
        };
        let independent = flat("i.vmdk", "").replace(">persistent<", ">independent_persistent<");
        let device = r#"<backing xsi:type="VirtualDiskRawDiskVer2BackingInfo"/>"#.to_owned();
        for (controller, backing, words) in [
            (1000, raw("physicalMode"), "raw device mapping"),
            (1000, raw("virtualMode"), ""),
            (1000, independent, "independent"),
            (1000, flat("m.vmdk", "<sharing>sharingMultiWriter</sharing>"), "multi-writer"),
            (1000, flat("e.vmdk", "<keyId><keyId>k</keyId></keyId>"), "encrypted"),
            (1001, flat("s.vmdk", ""), "shared"),
            (1000, device, "not a file"),
            (1000, flat("f.vmdk", "<sharing>sharingNone</sharing>"), ""),
        ] {
            let devices = buses() + &disk(2000, controller, 0, &backing);
            let described = described(&devices, "").unwrap();
            let said = described.disks[0].refusal.clone().unwrap_or_default();
            assert_eq!(said.is_empty(), words.is_empty(), "{words}: {said}");
            assert!(said.contains(words), "{said}");
        }
        let error = described(&buses(), "<keyId><keyId>k</keyId></keyId>").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(plain_name("a%2fb%25c"), "a/b%c");
    }
}
