//! Domains as libvirt's tools write them, and our own read back.

use super::*;
use crate::error::ErrorKind;
use crate::image::ImageFormat;
use crate::package::DiskData;
use crate::vm::{
    Controller, ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic,
    OsFamily,
};

const DOMAIN: &str = include_str!("../../../../testdata/domain/two-disks.xml");

#[test]
fn a_domain_is_read_whole() {
    let read = read_domain(DOMAIN.as_bytes()).unwrap();
    let machine = &read.machine;
    assert_eq!(machine.name, "barn");
    assert_eq!(machine.uuid.as_deref(), Some("0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"));
    assert_eq!(machine.memory_bytes, 4 << 30);
    let cpus = Cpus { count: 8, cores_per_socket: Some(2), threads_per_core: Some(2) };
    assert_eq!(machine.cpus, cpus);
    assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
    assert!(machine.firmware.secure_boot && machine.tpm);
    assert_eq!(
        machine.firmware.nvram_file.as_deref(),
        Some("/var/lib/libvirt/qemu/nvram/barn_VARS.fd")
    );
    assert_eq!(machine.os.family, OsFamily::Linux);
    let disks: Vec<_> = machine
        .disks
        .iter()
        .map(|disk| {
            (disk.label.as_deref(), disk.file.as_deref(), disk.controller.as_deref(), disk.unit)
        })
        .collect();
    assert_eq!(
        disks,
        [
            (Some("sdc"), Some("/images/boot.raw"), Some("scsi1"), Some(3)),
            (Some("vda"), Some("data.qcow2"), Some("virtio0"), Some(0)),
        ]
    );
    assert_eq!(read.disks[0].format, Some(ImageFormat::Raw));
    assert_eq!(read.disks[1].data, DiskData::File("data.qcow2".into()));
    assert_eq!(machine.nics[0].mac.as_deref(), Some("52:54:00:12:34:56"));
    assert_eq!(machine.nics[0].network.as_deref(), Some("br0"));
    assert!(machine.nics[0].connected && !machine.nics[1].connected);
    assert!(read.notes[0].contains("cdrom drive sda (/isos/install.iso)"), "{:?}", read.notes);
}

#[test]
fn what_is_in_no_file_is_refused_by_name() {
    let network = DOMAIN
        .replace("type='file' device='disk'", "type='network' device='disk'")
        .replace("<source file='data.qcow2'/>", "<source protocol='rbd' name='pool/image'/>");
    let error = read_domain(network.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("vda"), "{error}");
    for (from, to) in [
        ("unit='GiB'>4<", "unit='furlong'>4<"),
        ("unit='GiB'>4<", "unit='GiB'>99999999999999<"),
        (">8</vcpu>", ">many</vcpu>"),
        ("<domain ", "<network "),
    ] {
        assert!(DOMAIN.contains(from), "{from}");
        let text = DOMAIN.replace(from, to).replace(
            "</domain>",
            if to.starts_with("<network") { "</network>" } else { "</domain>" },
        );
        assert_eq!(read_domain(text.as_bytes()).unwrap_err().kind(), ErrorKind::Integrity, "{to}");
    }
}

fn machine(family: OsFamily, kind: ControllerKind) -> Machine {
    let controller = Controller { id: "c0".into(), kind, model: None, bus: 0 };
    let disk = |id: &str| MachineDisk {
        id: id.into(),
        label: None,
        capacity_bytes: 1 << 30,
        controller: Some("c0".into()),
        unit: None,
        file: None,
    };
    Machine {
        name: "a/b <&> \u{1}\"c\"".into(),
        uuid: Some("0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9".into()),
        cpus: Cpus { count: 4, cores_per_socket: Some(2), threads_per_core: None },
        memory_bytes: 3 << 30,
        firmware: Firmware { kind: FirmwareKind::Uefi, secure_boot: true, nvram_file: None },
        os: GuestOs { id: None, name: None, family },
        controllers: vec![controller],
        disks: vec![disk("disk0"), disk("disk1")],
        nics: vec![
            Nic { mac: Some("52:54:00:00:00:01".into()), connected: true, ..Nic::default() },
            Nic { mac: None, connected: false, ..Nic::default() },
        ],
        tpm: false,
        annotation: Some("one\ntwo".into()),
    }
}

fn disks() -> Vec<DomainDisk> {
    vec![
        DomainDisk { path: "/out/a & b-disk0.qcow2".into(), format: ImageFormat::Qcow2 },
        DomainDisk { path: "/out/disk1.vhd".into(), format: ImageFormat::Vhd },
    ]
}

#[test]
fn a_linux_guest_gets_virtio_and_all_its_hardware() {
    let machine = machine(OsFamily::Linux, ControllerKind::Scsi);
    let written = write_domain(&machine, &disks());
    let read = read_domain(written.text.as_bytes()).unwrap();
    let back = &read.machine;
    assert_eq!(back.name, "a_b <&> _\"c\"");
    assert_eq!((&back.uuid, &back.annotation), (&machine.uuid, &machine.annotation));
    assert_eq!((back.cpus.count, back.cpus.cores_per_socket), (4, Some(2)));
    assert_eq!(back.memory_bytes, machine.memory_bytes);
    assert_eq!(back.firmware, machine.firmware);
    assert_eq!(back.disks.len(), 2);
    assert_eq!(back.controllers[0].kind, ControllerKind::Virtio);
    assert_eq!(back.disks[0].file.as_deref(), Some("/out/a & b-disk0.qcow2"));
    assert_eq!(read.disks[1].format, Some(ImageFormat::Vhd));
    assert_eq!(back.nics[0].mac, machine.nics[0].mac);
    assert_eq!(back.nics[0].model.as_deref(), Some("virtio"));
    assert!(!back.nics[1].connected);
    assert_eq!(written.warnings, ["its network adapters are on libvirt's network \"default\""]);
    assert!(
        written.text.contains("machine=\"q35\"") && written.text.contains("<smm state=\"on\"/>")
    );
    assert!(!written.text.contains('\u{1}'));
}

#[test]
fn other_guests_get_a_bus_they_know_and_a_warning() {
    let mut windows = machine(OsFamily::Windows, ControllerKind::Scsi);
    windows.tpm = true;
    let written = write_domain(&windows, &disks());
    assert!(written.text.contains("bus=\"sata\"") && written.text.contains("e1000e"));
    assert!(written.text.contains("offset=\"localtime\""));
    let warnings = written.warnings.join("\n");
    assert!(warnings.contains("virtio drivers") && warnings.contains("TPM"), "{warnings}");

    let proven = write_domain(&machine(OsFamily::Windows, ControllerKind::Virtio), &disks());
    assert!(proven.text.contains("bus=\"virtio\""), "{}", proven.text);
    assert!(!proven.warnings.join("\n").contains("virtio drivers"), "{:?}", proven.warnings);

    let mut old = machine(OsFamily::Windows, ControllerKind::Ide);
    old.firmware = Firmware { kind: FirmwareKind::Bios, secure_boot: false, nvram_file: None };
    let written = write_domain(&old, &disks());
    assert!(
        written.text.contains("machine=\"pc\"") && written.text.contains("dev=\"hdb\" bus=\"ide\"")
    );
    assert!(!written.text.contains("firmware="));
    old.os.family = OsFamily::Linux;
    assert!(write_domain(&old, &disks()).text.contains("machine=\"q35\""));
}

#[test]
fn a_bare_image_gets_assumptions_that_are_named() {
    let written = write_domain(&Machine::default(), &disks()[..1]);
    let back = read_domain(written.text.as_bytes()).unwrap().machine;
    assert_eq!((back.cpus.count, back.memory_bytes), (2, 2 << 30));
    assert_eq!(back.name, "machine");
    let warnings = written.warnings.join("\n");
    for word in ["BIOS", "memory", "processors", "virtio"] {
        assert!(warnings.contains(word), "{word}: {warnings}");
    }
    // A topology that does not multiply out is left away: libvirt would refuse it.
    let odd = Machine {
        cpus: Cpus { count: 3, cores_per_socket: Some(2), threads_per_core: None },
        ..Machine::default()
    };
    assert!(!write_domain(&odd, &[]).text.contains("topology"));
}
