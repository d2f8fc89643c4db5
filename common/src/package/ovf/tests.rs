//! Envelopes of several dialects, and hostile ones.

use super::*;
use crate::error::{ErrorKind, one_line};
use crate::image::ImageFormat;
use crate::package::{DiskData, DiskFile};
use crate::vm::{ControllerKind, FirmwareKind, OsFamily};

const VMWARE: &str = include_str!("../../../../testdata/ovf/vmware-uefi.ovf");
const VIRTUALBOX: &str = include_str!("../../../../testdata/ovf/virtualbox.ovf");
const OVIRT: &str = include_str!("../../../../testdata/ovf/ovirt.ovf");
const COLLECTION: &str = include_str!("../../../../testdata/ovf/collection.ovf");

fn read(text: &str) -> OvfPackage {
    read_ovf(text.as_bytes(), None).unwrap()
}

fn files(disks: &[DiskFile]) -> Vec<Option<String>> {
    let name = |data: &DiskData| match data {
        DiskData::File(file) => Some(file.clone()),
        DiskData::Blank => None,
    };
    disks.iter().map(|disk| name(&disk.data)).collect()
}

#[test]
fn vmware_s_dialect() {
    let package = read(VMWARE);
    let machine = &package.description.machine;
    assert_eq!(machine.name, "Shop & Store");
    assert_eq!((machine.cpus.count, machine.cpus.cores_per_socket), (4, Some(2)));
    assert_eq!(machine.memory_bytes, 3 << 30);
    assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
    assert!(machine.firmware.secure_boot && machine.tpm);
    assert_eq!(machine.firmware.nvram_file.as_deref(), Some("shop-4.nvram"));
    assert_eq!(machine.os.id.as_deref(), Some("debian12_64Guest"));
    assert_eq!(machine.os.family, OsFamily::Linux);
    assert_eq!(machine.annotation.as_deref(), Some("Ask Mia before\nswitching off."));
    // The boot order section puts the second disk first; the third is empty.
    let named = files(&package.description.disks);
    assert_eq!(named, [Some("shop-2.vmdk".into()), Some("shop-1.vmdk".into()), None]);
    let disks: Vec<_> = machine
        .disks
        .iter()
        .map(|disk| (disk.id.as_str(), disk.capacity_bytes, disk.controller.as_deref(), disk.unit))
        .collect();
    assert_eq!(
        disks,
        [
            ("disk0", 100 << 20, Some("scsi0"), Some(1)),
            ("disk1", 16 << 30, Some("scsi0"), Some(0)),
            ("disk2", 5 << 30, Some("nvme0"), Some(0)),
        ]
    );
    let nics: Vec<_> = machine
        .nics
        .iter()
        .map(|nic| {
            (nic.mac.as_deref(), nic.model.as_deref(), nic.network.as_deref(), nic.connected)
        })
        .collect();
    assert_eq!(
        nics,
        [
            (Some("00:50:56:9a:bc:01"), Some("VmxNet3"), Some("front"), true),
            (None, Some("E1000e"), Some("back"), false),
        ]
    );
    let notes = package.description.notes.join("\n");
    assert!(notes.contains("CD/DVD drive 1 (ovf:/file/file3)") && notes.contains("TPM"), "{notes}");
    assert_eq!(package.files.len(), 4);
    assert_eq!(package.description.disks[1].size, Some(71_680));
}

#[test]
fn virtualbox_s_dialect() {
    let package = read(VIRTUALBOX);
    let machine = &package.description.machine;
    assert_eq!(machine.name, "garden");
    assert_eq!(machine.uuid.as_deref(), Some("3ed2c6f0-6c5c-4d8a-9d5b-2b7b1e1b0a42"));
    assert_eq!((machine.cpus.count, machine.memory_bytes), (2, 1 << 30));
    assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
    assert!(!machine.tpm && !machine.firmware.secure_boot);
    assert_eq!(machine.os.id.as_deref(), Some("Debian12_64"));
    assert_eq!(machine.controllers[0].kind, ControllerKind::Sata);
    assert_eq!(machine.disks[0].capacity_bytes, 8 << 30);
    assert_eq!(machine.nics[0].network.as_deref(), Some("Bridged"));
    assert_eq!(package.description.notes, ["cdrom1 (empty) is not carried over"]);
}

#[test]
fn ovirt_s_dialect() {
    let package = read(OVIRT);
    let machine = &package.description.machine;
    assert_eq!(machine.name, "meadow");
    assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
    assert!(machine.firmware.secure_boot);
    assert_eq!((machine.cpus.count, machine.cpus.cores_per_socket), (2, Some(2)));
    assert_eq!(machine.memory_bytes, 2 << 30);
    assert_eq!(machine.os.family, OsFamily::Linux);
    assert_eq!(machine.nics[0].mac.as_deref(), Some("56:6f:1a:2b:00:07"));
    assert_eq!(files(&package.description.disks), [Some("5d1d".to_owned())]);
    assert_eq!(package.description.disks[0].format, Some(ImageFormat::Qcow2));
    assert_eq!(machine.disks[0].capacity_bytes, 2 << 30);
}

#[test]
fn one_of_several_systems_is_picked_in_its_default_configuration() {
    let error = read_ovf(COLLECTION.as_bytes(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.hints(), ["name one of them as FILE#NAME: app, Data base"]);
    let missing = read_ovf(COLLECTION.as_bytes(), Some("web")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let named = read_ovf(COLLECTION.as_bytes(), Some("Data base")).unwrap();
    assert!(named.description.disks.is_empty());
    let package = read_ovf(COLLECTION.as_bytes(), Some("app")).unwrap();
    let machine = &package.description.machine;
    assert_eq!((machine.cpus.count, machine.memory_bytes), (8, 16 << 30));
    assert_eq!(machine.disks[0].controller.as_deref(), Some("ide1"));
    assert_eq!(machine.disks[0].capacity_bytes, 0, "a property is no size");
    assert_eq!(machine.firmware.kind, FirmwareKind::Bios);
    assert_eq!(package.description.notes, ["Floppy is not carried over"]);
}

#[test]
fn what_cannot_be_carried_is_refused_by_name() {
    for (from, to, kind, words) in [
        ("ovf:fileRef=\"file1\"", "ovf:fileRef=\"file9\"", ErrorKind::Integrity, "file9"),
        ("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk7", ErrorKind::Integrity, "vmdisk7"),
        ("ovf:diskId=\"vmdisk2\"", "ovf:diskId=\"vmdisk1\"", ErrorKind::Integrity, "vmdisk1"),
        (
            "ovf:fileRef=\"file1\"",
            "ovf:fileRef=\"file1\" ovf:parentRef=\"vmdisk2\"",
            ErrorKind::Unsupported,
            "Hard disk 1",
        ),
        (
            "ovf:href=\"shop-1.vmdk\"",
            "ovf:href=\"shop-1.vmdk\" ovf:compression=\"gzip\"",
            ErrorKind::Unsupported,
            "compressed (gzip)",
        ),
        (
            "ovf:href=\"shop-1.vmdk\"",
            "ovf:href=\"shop-1.vmdk\" ovf:chunkSize=\"1000\"",
            ErrorKind::Unsupported,
            "chunks",
        ),
        ("capacity=\"5\"", "capacity=\"0\"", ErrorKind::Integrity, "Hard disk 3"),
        ("<rasd:VirtualQuantity>4<", "<rasd:VirtualQuantity>-4<", ErrorKind::Integrity, "-4"),
        (
            "<rasd:VirtualQuantity>3072<",
            "<rasd:VirtualQuantity>99999999999999999<",
            ErrorKind::Integrity,
            "memory",
        ),
        (
            "<rasd:ResourceType>17<",
            "<rasd:ResourceType>99999999999<",
            ErrorKind::Integrity,
            "resource type",
        ),
        ("Envelope", "Envelop", ErrorKind::Integrity, "Envelop"),
        ("VirtualHardwareSection", "HardwareSection", ErrorKind::Integrity, "hardware"),
    ] {
        assert!(VMWARE.contains(from), "{from}");
        let error = read_ovf(VMWARE.replace(from, to).as_bytes(), None).unwrap_err();
        assert_eq!(error.kind(), kind, "{to}");
        assert!(one_line(&error).contains(words), "{to}: {}", one_line(&error));
    }
}

#[test]
fn a_disk_that_no_drive_uses_is_named() {
    let text = VMWARE.replace("<rasd:ResourceType>17</", "<rasd:ResourceType>99</");
    let notes = read(&text).description.notes.join("\n");
    assert!(notes.contains("shop-1.vmdk") && notes.contains("shop-2.vmdk"), "{notes}");
}

proptest::proptest! {
    /// Any part of an envelope replaced by any text gives a machine or an error, never a panic.
    #[test]
    fn no_damage_breaks_the_reader(
        which in 0_usize..4, from in 0_usize..9000, len in 0_usize..200, text in "[<>/=\"a-z0-9 -]{0,20}"
    ) {
        let whole = [VMWARE, VIRTUALBOX, OVIRT, COLLECTION][which];
        let mut damaged = whole.as_bytes().to_vec();
        let from = from.min(damaged.len());
        let to = (from + len).min(damaged.len());
        damaged.splice(from..to, text.bytes());
        let _ = read_ovf(&damaged, None);
        let _ = read_ovf(&damaged, Some("app"));
    }
}
