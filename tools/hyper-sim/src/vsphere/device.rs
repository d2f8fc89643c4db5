//! The devices of a machine as `config.hardware.device` shows them.

use super::inventory::{DATASTORE, Places};
use super::machine::{DISKS_PER_CONTROLLER, Disk, Machine, Oddity, Power, unit_of};
use super::value::{Data, Value};

const IDE: i32 = 200;
const PS2: i32 = 300;
const PCI: i32 = 100;
const SIO: i32 = 400;
const SERIAL: i32 = 9000;
const SCSI: i32 = 1000;
const SATA: i32 = 15000;

fn device(kind: &'static str, key: i32, label: &str, summary: &str) -> Data {
    let info = Data::new("Description").set("label", label).set("summary", summary);
    Data::new(kind).set("key", key).set("deviceInfo", info)
}

fn controller(kind: &'static str, key: i32, label: &str, bus: i32, devices: Vec<i32>) -> Data {
    let made = device(kind, key, label, label).set("busNumber", bus);
    if devices.is_empty() { made } else { made.set("device", devices) }
}

fn scsi(machine: &Machine, bus: usize) -> Data {
    let key = SCSI + bus as i32;
    let disks = (0..machine.disks.len()).filter(|at| at / DISKS_PER_CONTROLLER == bus);
    let made = device(
        "ParaVirtualSCSIController",
        key,
        &format!("SCSI controller {bus}"),
        "VMware paravirtual SCSI",
    )
    .set("controllerKey", PCI)
    .set("unitNumber", 3 + bus as i32)
    .set("busNumber", bus as i32)
    .set("device", disks.map(Machine::disk_key).collect::<Vec<_>>());
    let shared = machine.disks.iter().any(|disk| disk.oddity == Some(Oddity::Shared));
    made.set("hotAddRemove", true)
        .set("sharedBus", if shared { "virtualSharing" } else { "noSharing" })
        .set("scsiCtlrUnitNumber", 7)
}

/// All devices of a machine.
pub fn devices(machine: &Machine, places: &Places, networks: &[String]) -> Vec<Data> {
    let nics: Vec<i32> = (0..machine.nics.len() as i32).map(|at| 4000 + at).collect();
    let buses = machine.disks.len().div_ceil(DISKS_PER_CONTROLLER);
    let mut on_pci = vec![500, 12000, SATA];
    on_pci.extend((0..buses as i32).map(|bus| SCSI + bus));
    on_pci.extend(&nics);
    on_pci.extend(machine.tpm.then_some(11000));
    let mut all = vec![
        controller("VirtualIDEController", IDE, "IDE 0", 0, vec![]),
        controller("VirtualIDEController", IDE + 1, "IDE 1", 1, vec![]),
        controller("VirtualPS2Controller", PS2, "PS2 controller 0", 0, vec![600, 700]),
        controller("VirtualPCIController", PCI, "PCI controller 0", 0, on_pci),
        controller("VirtualSIOController", SIO, "SIO controller 0", 0, serial_keys(machine)),
        device("VirtualKeyboard", 600, "Keyboard", "Keyboard")
            .set("controllerKey", PS2)
            .set("unitNumber", 0),
        device("VirtualPointingDevice", 700, "Pointing device", "Pointing device; Device")
            .set("backing", Data::new("VirtualDeviceDeviceBackingInfo").set("deviceName", ""))
            .set("controllerKey", PS2)
            .set("unitNumber", 1),
        device("VirtualMachineVideoCard", 500, "Video card ", "Video card")
            .set("controllerKey", PCI)
            .set("unitNumber", 0)
            .set("videoRamSizeInKB", 4096)
            .set("numDisplays", 1),
        device(
            "VirtualMachineVMCIDevice",
            12000,
            "VMCI device",
            "Device on the virtual machine PCI bus",
        )
        .set("controllerKey", PCI)
        .set("unitNumber", 17),
    ];
    all.extend((0..buses).map(|bus| scsi(machine, bus)));
    let sata = device("VirtualAHCIController", SATA, "SATA controller 0", "AHCI");
    all.push(
        sata.set("controllerKey", PCI)
            .set("unitNumber", 24)
            .set("busNumber", 0)
            .set("device", vec![16000]),
    );
    all.push(cdrom());
    if machine.tpm {
        let tpm = device("VirtualTPM", 11000, "Virtual TPM", "Virtual TPM device");
        all.push(tpm.set("controllerKey", PCI).set("unitNumber", 16));
    }
    all.extend(machine.serial.map(serial));
    let disks = machine.disks.iter().enumerate();
    all.extend(disks.map(|(at, disk)| disk_device(machine, at, disk, places)));
    all.extend((0..machine.nics.len()).map(|at| card(machine, at, networks)));
    all
}

fn serial_keys(machine: &Machine) -> Vec<i32> {
    machine.serial.map(|_| SERIAL).into_iter().collect()
}

/// A serial port that is a port of the host's network.
fn serial(port: u16) -> Data {
    let backing = Data::new("VirtualSerialPortURIBackingInfo")
        .set("serviceURI", format!("telnet://127.0.0.1:{port}"))
        .set("direction", "server");
    device("VirtualSerialPort", SERIAL, "Serial port 1", "Remote")
        .set("backing", backing)
        .set("connectable", connectable(true, true))
        .set("controllerKey", SIO)
        .set("unitNumber", 0)
        .set("yieldOnPoll", true)
}

fn cdrom() -> Data {
    let backing = Data::new("VirtualCdromRemotePassthroughBackingInfo")
        .set("deviceName", "")
        .set("useAutoDetect", false)
        .set("exclusive", false);
    device("VirtualCdrom", 16000, "CD/DVD drive 1", "Remote device")
        .set("backing", backing)
        .set("connectable", connectable(false, false))
        .set("controllerKey", SATA)
        .set("unitNumber", 0)
}

fn connectable(start: bool, connected: bool) -> Data {
    Data::new("VirtualDeviceConnectInfo")
        .set("startConnected", start)
        .set("allowGuestControl", true)
        .set("connected", connected)
        .set("status", if connected { "ok" } else { "untried" })
}

fn card(machine: &Machine, at: usize, networks: &[String]) -> Data {
    let Some((mac, network)) = machine.nics.get(at) else { return Data::new("VirtualVmxnet3") };
    let name = networks.get(at).map_or("", String::as_str);
    let backing = Data::new("VirtualEthernetCardNetworkBackingInfo")
        .set("deviceName", name)
        .set("useAutoDetect", false)
        .set("network", network);
    device("VirtualVmxnet3", 4000 + at as i32, &format!("Network adapter {}", at + 1), name)
        .set("backing", backing)
        .set("connectable", connectable(true, machine.power == Power::On))
        .set("controllerKey", PCI)
        .set("unitNumber", 7 + at as i32)
        .set("addressType", "assigned")
        .set("macAddress", mac)
        .set("wakeOnLanEnabled", true)
        .set("uptCompatibilityEnabled", true)
}

fn disk_device(machine: &Machine, at: usize, disk: &Disk, places: &Places) -> Data {
    let capacity = disk.image.capacity;
    let kib = capacity / 1024;
    let shares = Data::new("SharesInfo").set("shares", 1000).set("level", "normal");
    let grouped = group_thousands(kib);
    device(
        "VirtualDisk",
        Machine::disk_key(at),
        &format!("Hard disk {}", at + 1),
        &format!("{grouped} KB"),
    )
    .set("backing", backing(machine, at, disk, places))
    .set("controllerKey", SCSI + (at / DISKS_PER_CONTROLLER) as i32)
    .set("unitNumber", unit_of(at) as i32)
    .set("capacityInKB", kib)
    .set("capacityInBytes", capacity)
    .set("shares", shares)
    .set("diskObjectId", format!("{}-{}", machine.reference.value, Machine::disk_key(at)))
}

fn group_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn backing(machine: &Machine, at: usize, disk: &Disk, places: &Places) -> Value {
    let path = |stem: &str| format!("[{DATASTORE}] {}/{stem}.vmdk", machine.directory());
    let uuid = disk_uuid(machine, at);
    if disk.oddity == Some(Oddity::Rdm) {
        return Data::new("VirtualDiskRawDiskMappingVer1BackingInfo")
            .set("fileName", path(&machine.disk_stem(at)))
            .set("datastore", &places.datastore)
            .set("lunUuid", "020000000060003ff44dc75adc92aeb5a6a1a1a1a14d5352414d44")
            .set("deviceName", "vml.020000000060003ff44dc75adc92aeb5a6a1a1a1a14d5352414d44")
            .set("compatibilityMode", "physicalMode")
            .set("diskMode", "independent_persistent")
            .set("uuid", uuid)
            .into();
    }
    flat_chain(machine, at, disk, places).into()
}

/// The files of a disk that is no device mapping, newest first.
fn flat_chain(machine: &Machine, at: usize, disk: &Disk, places: &Places) -> Data {
    let path = |stem: &str| format!("[{DATASTORE}] {}/{stem}.vmdk", machine.directory());
    let uuid = disk_uuid(machine, at);
    let mode = match disk.oddity {
        Some(Oddity::Independent) => "independent_persistent",
        _ => "persistent",
    };
    let flat = |stem: &str, parent: Option<Data>| {
        Data::new("VirtualDiskFlatVer2BackingInfo")
            .set("fileName", path(stem))
            .set("datastore", &places.datastore)
            .set("diskMode", mode)
            .set("split", false)
            .set("writeThrough", false)
            .set("thinProvisioned", disk.thin)
            .set("eagerlyScrub", false)
            .set("uuid", uuid.as_str())
            .set("contentId", uuid.replace('-', ""))
            .maybe("parent", parent)
            .set("digestEnabled", false)
            .set(
                "sharing",
                match disk.oddity {
                    Some(Oddity::Shared) => "sharingMultiWriter",
                    _ => "sharingNone",
                },
            )
            .maybe("keyId", (disk.oddity == Some(Oddity::Encrypted)).then(key_id))
    };
    // Oldest first: what a linked clone stands on, the base, then a delta for each snapshot on the
    // way to the current one.
    let below = machine.shared.as_ref().map(|source| flat_chain(source, at, disk, places));
    let base = flat(&machine.disk_stem(at), below);
    if disk.oddity == Some(Oddity::Independent) {
        return base;
    }
    let line = machine.line(machine.current);
    let stem = |id: &u32| format!("{}-{id:06}", machine.disk_stem(at));
    line.iter().fold(base, |parent, id| flat(&stem(id), Some(parent)))
}

fn key_id() -> Data {
    let provider = Data::new("KeyProviderId").set("id", "key-provider");
    Data::new("CryptoKeyId").set("keyId", "11111111-2222-3333").set("providerId", provider)
}

/// The UUID of a disk.
pub fn disk_uuid(machine: &Machine, at: usize) -> String {
    let head = machine.uuid.get(..24).unwrap_or_default();
    format!("{head}{:012x}", 0x6000_c290_0000_u64 + at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_grouped() {
        assert_eq!(group_thousands(0), "0");
        assert_eq!(group_thousands(999), "999");
        assert_eq!(group_thousands(1_048_576), "1,048,576");
    }
}
