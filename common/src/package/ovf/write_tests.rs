//! Envelopes written and read back.

use proptest::prelude::*;

use super::*;
use crate::image::{ImageFormat, Variant};
use crate::package::DiskData;
use crate::vm::{
    Controller, ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic,
};

fn file(at: usize, size: u64, capacity: u64) -> OvfDisk {
    OvfDisk {
        file: format!("a-disk{at}.vmdk"),
        size,
        capacity,
        populated: Some(size),
        format: ImageFormat::Vmdk,
        variant: Some(Variant::StreamOptimized),
    }
}

fn controller(kind: ControllerKind, bus: u32, model: &str) -> Controller {
    let id = format!("{}{bus}", kind.name());
    Controller { id, kind, model: Some(model.to_owned()), bus }
}

fn disk(at: usize, controller: &str, unit: u32) -> MachineDisk {
    MachineDisk {
        id: format!("disk{at}"),
        label: Some(format!("Hard disk {}", at + 1)),
        capacity_bytes: 10 << 30,
        controller: Some(controller.to_owned()),
        unit: Some(unit),
        file: Some(format!("a-disk{at}.vmdk")),
    }
}

fn machine() -> Machine {
    Machine {
        name: "Müll & \"Söhne\" <1>".into(),
        uuid: None,
        cpus: Cpus { count: 4, cores_per_socket: Some(2), threads_per_core: None },
        memory_bytes: 6 << 30,
        firmware: Firmware {
            kind: FirmwareKind::Uefi,
            secure_boot: true,
            nvram_file: Some("a.nvram".into()),
        },
        os: GuestOs::named(Some("debian12_64Guest".into()), Some("Debian GNU/Linux 12".into())),
        controllers: vec![
            controller(ControllerKind::Scsi, 0, "VirtualSCSI"),
            controller(ControllerKind::Nvme, 0, "vmware.nvme.controller"),
        ],
        disks: vec![disk(0, "scsi0", 0), disk(1, "scsi0", 1), disk(2, "nvme0", 0)],
        nics: vec![
            Nic {
                mac: Some("00:50:56:01:02:03".into()),
                model: Some("VmxNet3".into()),
                network: Some("front & back".into()),
                connected: true,
            },
            Nic {
                mac: None,
                model: Some("E1000".into()),
                network: Some("front & back".into()),
                connected: false,
            },
        ],
        tpm: false,
        annotation: Some("line one\nline two".into()),
    }
}

fn files(machine: &Machine) -> OvfFiles {
    let disks = (0..machine.disks.len()).map(|at| file(at, 1000 + at as u64, 10 << 30)).collect();
    let nvram = machine.firmware.nvram_file.clone().map(|name| (name, 270_840));
    OvfFiles { disks, nvram }
}

fn back(text: &str) -> OvfPackage {
    read_ovf(text.as_bytes(), None).unwrap()
}

#[test]
fn a_machine_comes_back_as_it_was() {
    let machine = machine();
    let text = write_ovf(&machine, &files(&machine)).unwrap();
    let package = back(&text);
    assert_eq!(package.description.machine, machine);
    let sizes: Vec<_> = package.files.iter().map(|file| (file.href.as_str(), file.size)).collect();
    assert_eq!(
        sizes,
        [
            ("a-disk0.vmdk", Some(1000)),
            ("a-disk1.vmdk", Some(1001)),
            ("a-disk2.vmdk", Some(1002)),
            ("a.nvram", Some(270_840)),
        ]
    );
    let data = &package.description.disks[2].data;
    assert_eq!(*data, DiskData::File("a-disk2.vmdk".into()));
    assert_eq!(write_ovf(&machine, &files(&machine)).unwrap(), text, "the same bytes every time");
    assert!(text.contains("ovf:populatedSize=\"1001\""));
}

#[test]
fn fields_of_an_item_are_sorted_as_ovftool_wants_them() {
    let machine = machine();
    let text = write_ovf(&machine, &files(&machine)).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let items: Vec<_> =
        document.descendants().filter(|node| node.tag_name().name() == "Item").collect();
    assert_eq!(items.len(), 2 + 2 + 3 + 2);
    for item in items {
        let names: Vec<_> = item
            .children()
            .filter(|field| field.tag_name().namespace().is_some_and(|space| space.contains("CIM")))
            .map(|field| field.tag_name().name())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}

#[test]
fn controllers_that_importers_do_not_know_become_sata() {
    let mut machine = machine();
    machine.controllers = vec![
        controller(ControllerKind::Virtio, 0, "virtio"),
        controller(ControllerKind::Scsi, 0, "virtio-scsi"),
        controller(ControllerKind::Sata, 0, "ahci"),
    ];
    machine.disks = vec![
        disk(0, "virtio0", 0),
        disk(1, "scsi0", 0),
        disk(2, "sata0", 0),
        disk(3, "sata0", 0),
        disk(4, "gone", 3),
    ];
    machine.nics[0].model = Some("virtio".into());
    let read = back(&write_ovf(&machine, &files(&machine)).unwrap()).description.machine;
    let places: Vec<_> = read
        .disks
        .iter()
        .map(|disk| (disk.file.as_deref().unwrap(), disk.controller.as_deref().unwrap(), disk.unit))
        .collect();
    // Sorted by unit when read; each has a place of its own.
    let mut units: Vec<_> = places.iter().map(|(_, on, unit)| (*on, unit.unwrap())).collect();
    units.dedup();
    assert_eq!(units.len(), 5);
    assert!(places.iter().all(|(_, on, _)| *on == "sata0"), "{places:?}");
    assert_eq!(read.controllers.len(), 1);
    assert_eq!(read.nics[0].model.as_deref(), Some("E1000"));
}

#[test]
fn what_is_not_known_gets_the_least() {
    let machine = Machine { disks: vec![disk(0, "x", 0)], ..Machine::default() };
    let read = back(&write_ovf(&machine, &files(&machine)).unwrap()).description.machine;
    assert_eq!((read.cpus.count, read.memory_bytes), (1, 1 << 30));
    assert_eq!(read.os.id.as_deref(), Some("otherGuest64"));
    assert_eq!(read.firmware.kind, FirmwareKind::Bios);
    assert!(write_ovf(&machine, &OvfFiles { disks: vec![], nvram: None }).is_err());
}

proptest! {
    #[test]
    fn the_reserved_room_is_always_enough(
        sizes in proptest::collection::vec((any::<u64>(), any::<u64>()), 3), nvram: u64, name in "\\PC{0,30}"
    ) {
        let machine = Machine { name, ..machine() };
        let mut files = files(&machine);
        let reserved = reserved_len(&machine, &files).unwrap();
        for (disk, (size, capacity)) in files.disks.iter_mut().zip(sizes) {
            disk.size = size;
            disk.capacity = capacity;
            disk.populated = Some(size);
        }
        files.nvram = Some(("a.nvram".into(), nvram));
        let text = pad(write_ovf(&machine, &files).unwrap(), reserved).unwrap();
        prop_assert_eq!(text.len() as u64, reserved);
        let read = back(&text);
        prop_assert_eq!(read.files[0].size, Some(files.disks[0].size));
        prop_assert!(pad(text, reserved - 1).is_err());
    }
}
