//! From a machine to a domain that starts under KVM.
//!
//! Choices, and why:
//! - The machine type is q35. Only a BIOS guest that may not have AHCI drivers (not Linux) and has
//!   all its disks on IDE keeps the older `pc` type with IDE.
//! - UEFI is asked for with `<os firmware='efi'>` and features, not with file names: libvirt 7.2
//!   and later picks the right OVMF build of the distribution and makes fresh variables from its
//!   template. The names of those files differ between Debian, Fedora and SUSE.
//! - Linux gets virtio disks and adapters: its kernels have had the drivers since 2.6.25. So does a
//!   guest that boots from virtio already, and one whose adapters are virtio. Others get SATA and
//!   e1000e, and a warning that a driver may be missing at the first start.
//! - A TPM is named in a warning alone: a new one would not hold the keys of the old.

use crate::image::ImageFormat;
use crate::package::xml_text::XmlText;
use crate::vm::{ControllerKind, FirmwareKind, Machine, Nic, OsFamily};

/// Memory of a domain whose source does not say how much it needs.
const MEMORY: u64 = 2 << 30;
/// Processors of a domain whose source does not say how many it needs.
const CPUS: u32 = 2;
/// Disks that the two IDE buses hold.
const MOST_IDE: usize = 4;

/// A disk image of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDisk {
    /// Its file; libvirt wants an absolute path.
    pub path: String,
    /// Its format.
    pub format: ImageFormat,
}

/// A domain, and what its user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainXml {
    /// The XML.
    pub text: String,
    /// A clause each: what was assumed, what may need a driver, what is missing.
    pub warnings: Vec<String>,
}

/// What was decided about the hardware.
struct Plan {
    pc: bool,
    disk_bus: &'static str,
    device: &'static str,
    nic_model: &'static str,
    memory: u64,
    cpus: u32,
    warnings: Vec<String>,
}

/// The domain of `machine` with `disks`, one for each of its disks in the same order.
pub fn write_domain(machine: &Machine, disks: &[DomainDisk]) -> DomainXml {
    let plan = plan(machine);
    let mut xml = XmlText::new();
    xml.within("domain", &[("type", "kvm")], |xml| {
        write_head(xml, machine, &plan);
        write_boot(xml, machine, &plan);
        xml.within("devices", &[], |xml| {
            for (number, disk) in disks.iter().enumerate() {
                write_disk(xml, disk, number, &plan);
            }
            for nic in &machine.nics {
                write_nic(xml, nic, &plan);
            }
            write_console(xml, machine, &plan);
        });
    });
    DomainXml { text: xml.finish(), warnings: plan.warnings }
}

fn plan(machine: &Machine) -> Plan {
    let linux = machine.os.family == OsFamily::Linux;
    let virtio_disks = linux || boots_from_virtio(machine);
    let virtio_nics = linux || has_virtio_nics(machine);
    let mut warnings = Vec::new();
    let pc = !linux && machine.firmware.kind != FirmwareKind::Uefi && all_ide(machine);
    if machine.firmware.kind == FirmwareKind::Unknown {
        warnings.push("the source does not say how it boots: BIOS was assumed".to_owned());
    }
    if !virtio_disks {
        let bus = if pc { "IDE" } else { "SATA" };
        warnings.push(format!(
            "virtio drivers are not certain in the guest: its disks are on {bus}; install the \
             drivers before changing that"
        ));
    }
    if machine.memory_bytes == 0 {
        warnings.push(
            "the source does not say how much memory it needs: 2 GiB were assumed".to_owned(),
        );
    }
    if machine.cpus.count == 0 {
        warnings.push(
            "the source does not say how many processors it needs: 2 were assumed".to_owned(),
        );
    }
    if machine.tpm {
        warnings.push(
            "the machine had a TPM, whose keys cannot be carried over: have the recovery key of an \
             encrypted disk ready"
                .to_owned(),
        );
    }
    if !machine.nics.is_empty() {
        warnings.push("its network adapters are on libvirt's network \"default\"".to_owned());
    }
    Plan {
        pc,
        disk_bus: if virtio_disks {
            "virtio"
        } else if pc {
            "ide"
        } else {
            "sata"
        },
        device: if virtio_disks {
            "vd"
        } else if pc {
            "hd"
        } else {
            "sd"
        },
        nic_model: if virtio_nics {
            "virtio"
        } else if pc {
            "e1000"
        } else {
            "e1000e"
        },
        memory: if machine.memory_bytes == 0 { MEMORY } else { machine.memory_bytes },
        cpus: if machine.cpus.count == 0 { CPUS } else { machine.cpus.count },
        warnings,
    }
}

/// Whether the guest has proven to have the driver of virtio-blk.
fn boots_from_virtio(machine: &Machine) -> bool {
    let first = machine.disks.first().and_then(|disk| disk.controller.as_ref());
    let found = machine.controllers.iter().find(|one| Some(&one.id) == first);
    found.is_some_and(|one| one.kind == ControllerKind::Virtio)
}

fn has_virtio_nics(machine: &Machine) -> bool {
    let virtio = |nic: &Nic| nic.model.as_deref() == Some("virtio");
    !machine.nics.is_empty() && machine.nics.iter().all(virtio)
}

fn all_ide(machine: &Machine) -> bool {
    let on_ide = |id: &Option<String>| {
        let found = machine.controllers.iter().find(|one| Some(&one.id) == id.as_ref());
        found.is_some_and(|one| one.kind == ControllerKind::Ide)
    };
    !machine.disks.is_empty()
        && machine.disks.len() <= MOST_IDE
        && machine.disks.iter().all(|disk| on_ide(&disk.controller))
}

fn write_head(xml: &mut XmlText, machine: &Machine, plan: &Plan) {
    // libvirt refuses a slash and control characters in names.
    let name = machine.name.replace(|c: char| c == '/' || c.is_control(), "_");
    let name = name.trim();
    xml.leaf("name", &[], if name.is_empty() { "machine" } else { name });
    if let Some(uuid) = &machine.uuid {
        xml.leaf("uuid", &[], uuid);
    }
    if let Some(annotation) = &machine.annotation {
        xml.leaf("description", &[], annotation);
    }
    // KVM maps whole KiB.
    xml.leaf("memory", &[("unit", "KiB")], &plan.memory.div_ceil(1024).to_string());
    xml.leaf("vcpu", &[], &plan.cpus.to_string());
}

fn write_boot(xml: &mut XmlText, machine: &Machine, plan: &Plan) {
    let efi = machine.firmware.kind == FirmwareKind::Uefi;
    let secure = efi && machine.firmware.secure_boot;
    let kind = if plan.pc { "pc" } else { "q35" };
    let firmware: &[(&str, &str)] = if efi { &[("firmware", "efi")] } else { &[] };
    xml.within("os", firmware, |xml| {
        xml.leaf("type", &[("arch", "x86_64"), ("machine", kind)], "hvm");
        if efi {
            let enabled = if secure { "yes" } else { "no" };
            xml.within("firmware", &[], |xml| {
                xml.empty("feature", &[("enabled", enabled), ("name", "enrolled-keys")]);
                xml.empty("feature", &[("enabled", enabled), ("name", "secure-boot")]);
            });
        }
    });
    xml.within("features", &[], |xml| {
        xml.empty("acpi", &[]);
        xml.empty("apic", &[]);
        if secure {
            // OVMF protects its variables with it.
            xml.empty("smm", &[("state", "on")]);
        }
    });
    xml.within("cpu", &[("mode", "host-model")], |xml| write_topology(xml, machine, plan));
    let local = machine.os.family == OsFamily::Windows;
    xml.empty("clock", &[("offset", if local { "localtime" } else { "utc" })]);
}

/// Only where it multiplies to the number of processors, as libvirt demands.
fn write_topology(xml: &mut XmlText, machine: &Machine, plan: &Plan) {
    let Some(cores) = machine.cpus.cores_per_socket.filter(|cores| *cores > 0) else { return };
    let threads = machine.cpus.threads_per_core.filter(|threads| *threads > 0).unwrap_or(1);
    let Some(per_socket) = cores.checked_mul(threads) else { return };
    if plan.cpus.is_multiple_of(per_socket) {
        let sockets = (plan.cpus / per_socket).to_string();
        let (cores, threads) = (cores.to_string(), threads.to_string());
        let shape = [("sockets", &*sockets), ("cores", &*cores), ("threads", &*threads)];
        xml.empty("topology", &shape);
    }
}

fn write_disk(xml: &mut XmlText, disk: &DomainDisk, number: usize, plan: &Plan) {
    let format = if disk.format == ImageFormat::Vhd { "vpc" } else { disk.format.name() };
    let target = format!("{}{}", plan.device, letters(number));
    let order = (number + 1).to_string();
    xml.within("disk", &[("type", "file"), ("device", "disk")], |xml| {
        // Freed blocks of the guest are freed in the image.
        xml.empty("driver", &[("name", "qemu"), ("type", format), ("discard", "unmap")]);
        xml.empty("source", &[("file", &disk.path)]);
        xml.empty("target", &[("dev", &target), ("bus", plan.disk_bus)]);
        xml.empty("boot", &[("order", &order)]);
    });
}

/// `a` … `z`, `aa` …
fn letters(number: usize) -> String {
    let last = char::from(b'a' + (number % 26) as u8);
    match number / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", letters(more - 1)),
    }
}

fn write_nic(xml: &mut XmlText, nic: &Nic, plan: &Plan) {
    xml.within("interface", &[("type", "network")], |xml| {
        if let Some(mac) = &nic.mac {
            xml.empty("mac", &[("address", mac)]);
        }
        xml.empty("source", &[("network", "default")]);
        xml.empty("model", &[("type", plan.nic_model)]);
        if !nic.connected {
            xml.empty("link", &[("state", "down")]);
        }
    });
}

/// A serial console for servers, a screen for the rest.
fn write_console(xml: &mut XmlText, machine: &Machine, plan: &Plan) {
    xml.within("serial", &[("type", "pty")], |xml| xml.empty("target", &[("port", "0")]));
    xml.within("console", &[("type", "pty")], |xml| {
        xml.empty("target", &[("type", "serial"), ("port", "0")]);
    });
    if !plan.pc {
        xml.empty("controller", &[("type", "usb"), ("model", "qemu-xhci")]);
    }
    xml.empty("input", &[("type", "tablet"), ("bus", "usb")]);
    xml.empty("graphics", &[("type", "vnc"), ("autoport", "yes"), ("listen", "127.0.0.1")]);
    xml.within("video", &[], |xml| xml.empty("model", &[("type", "vga")]));
    if machine.os.family == OsFamily::Linux {
        xml.within("rng", &[("model", "virtio")], |xml| {
            xml.leaf("backend", &[("model", "random")], "/dev/urandom");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_go_past_z() {
        let names = [(0, "a"), (25, "z"), (26, "aa"), (51, "az"), (52, "ba"), (702, "aaa")];
        for (number, name) in names {
            assert_eq!(letters(number), name);
        }
    }
}
