//! From a domain to a machine.

use roxmltree::Node;

use crate::error::{Error, Result};
use crate::image::ImageFormat;
use crate::package::description::{
    Controllers, Description, DiskData, DiskFile, mac, number_disks, uuid,
};
use crate::package::xml::{attribute, child, children, number, text, with_document};
use crate::vm::{ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic};

/// Reads a domain.
///
/// # Errors
/// `Integrity` for what is no domain or holds wrong numbers; `Unsupported` for disks that are not
/// in files or block devices, by name.
pub fn read_domain(bytes: &[u8]) -> Result<Description> {
    with_document(bytes, |document| {
        let domain = document.root_element();
        if domain.tag_name().name() != "domain" {
            let name = domain.tag_name().name();
            return Err(Error::integrity(format!("it is no libvirt domain but <{name}>")));
        }
        let devices = child(domain, "devices");
        let mut notes = Vec::new();
        let mut controllers = Controllers::default();
        let mut drives = Vec::new();
        for disk in devices.into_iter().flat_map(|devices| children(devices, "disk")) {
            drives.extend(read_disk(disk, &mut controllers, &mut notes)?);
        }
        drives.sort_by_key(|(order, ..)| *order);
        let (disks, files) = drives.into_iter().map(|(_, disk, file)| (disk, file)).unzip();
        let tpm = devices.and_then(|devices| child(devices, "tpm")).is_some();
        if tpm {
            notes.push("the state of its TPM cannot be carried over".to_owned());
        }
        let nics = devices.into_iter().flat_map(|devices| children(devices, "interface"));
        let mut machine = Machine {
            name: text(domain, "name").unwrap_or("machine").to_owned(),
            uuid: text(domain, "uuid").and_then(uuid),
            cpus: read_cpus(domain)?,
            memory_bytes: read_memory(domain)?,
            firmware: read_firmware(domain),
            os: read_os(domain),
            controllers: controllers.0,
            disks,
            nics: nics.map(read_nic).collect(),
            tpm,
            annotation: text(domain, "description").map(str::to_owned),
        };
        number_disks(&mut machine);
        Ok(Description { machine, disks: files, notes })
    })
}

/// Place in the boot order, disk, file.
type Drive = (u32, MachineDisk, DiskFile);

fn read_disk(
    node: Node<'_, '_>,
    controllers: &mut Controllers,
    notes: &mut Vec<String>,
) -> Result<Option<Drive>> {
    let target = child(node, "target");
    let name = target.and_then(|target| attribute(target, "dev")).unwrap_or("a disk");
    let source = child(node, "source");
    let place = source.and_then(|source| attribute(source, "file").or(attribute(source, "dev")));
    let device = attribute(node, "device").unwrap_or("disk");
    if matches!(device, "cdrom" | "floppy") {
        let medium = place.unwrap_or("empty");
        notes.push(format!("the {device} drive {name} ({medium}) is not carried over"));
        return Ok(None);
    }
    let kind = attribute(node, "type").unwrap_or("file");
    let Some(place) = place.filter(|_| matches!(kind, "file" | "block")) else {
        return Err(Error::unsupported(format!("its disk {name} is in no file but a {kind}"))
            .with_hint("copy that disk into a file and name the file in the XML"));
    };
    let driver = child(node, "driver").and_then(|driver| attribute(driver, "type"));
    let format = match driver {
        None if kind == "block" => Some(ImageFormat::Raw),
        Some("vpc") => Some(ImageFormat::Vhd),
        other => other.and_then(|word| word.parse().ok()),
    };
    let bus = target.and_then(|target| attribute(target, "bus"));
    let address = child(node, "address").filter(|at| attribute(*at, "type") == Some("drive"));
    let field = |name: &str| address.and_then(|at| attribute(at, name)?.parse::<u32>().ok());
    let (bus_number, unit) = match bus {
        // IDE has two buses of two units on one controller.
        Some("ide") => (field("bus"), field("unit")),
        _ => (field("controller"), field("unit")),
    };
    let controller = bus
        .and_then(kind_of_bus)
        .map(|kind| controllers.named(kind, bus_number.unwrap_or(0), None));
    let order = child(node, "boot").and_then(|boot| attribute(boot, "order"));
    let disk = MachineDisk {
        id: String::new(),
        label: Some(name.to_owned()),
        capacity_bytes: 0,
        controller,
        unit: unit.or_else(|| letters(name)),
        file: Some(place.to_owned()),
    };
    let data = DiskData::File(place.to_owned());
    let order = number(order, "a disk's boot order")?.unwrap_or(u32::MAX);
    Ok(Some((order, disk, DiskFile { data, format, size: None })))
}

fn kind_of_bus(bus: &str) -> Option<ControllerKind> {
    match bus {
        "virtio" => Some(ControllerKind::Virtio),
        "scsi" => Some(ControllerKind::Scsi),
        "sata" => Some(ControllerKind::Sata),
        "ide" => Some(ControllerKind::Ide),
        "usb" => Some(ControllerKind::Usb),
        "nvme" => Some(ControllerKind::Nvme),
        _ => None,
    }
}

/// The number that the letters of a device name stand for: `vda` 0, `sdb` 1, `vdaa` 26.
fn letters(device: &str) -> Option<u32> {
    let letters = device.get(2..).filter(|rest| !rest.is_empty())?;
    let mut number = 0_u32;
    for letter in letters.bytes() {
        let digit = letter.checked_sub(b'a').filter(|digit| *digit < 26)?;
        number = number.checked_mul(26)?.checked_add(u32::from(digit) + 1)?;
    }
    number.checked_sub(1)
}

fn read_cpus(domain: Node<'_, '_>) -> Result<Cpus> {
    let count = number(text(domain, "vcpu"), "the number of processors")?.unwrap_or(1);
    let topology = child(domain, "cpu").and_then(|cpu| child(cpu, "topology"));
    let field = |name: &str| topology.and_then(|node| attribute(node, name)?.parse::<u32>().ok());
    let positive = |name: &str| field(name).filter(|number| *number > 0);
    let per_socket =
        positive("cores").map(|cores| cores.saturating_mul(positive("dies").unwrap_or(1)));
    Ok(Cpus { count, cores_per_socket: per_socket, threads_per_core: positive("threads") })
}

/// `<memory unit='KiB'>`; without a unit KiB are meant.
fn read_memory(domain: Node<'_, '_>) -> Result<u64> {
    let Some(node) = child(domain, "memory") else { return Ok(0) };
    let unit = attribute(node, "unit").unwrap_or("KiB");
    let bytes = match unit {
        "b" | "bytes" => Some(1),
        "k" | "KiB" => Some(1 << 10),
        "M" | "MiB" => Some(1 << 20),
        "G" | "GiB" => Some(1 << 30),
        "T" | "TiB" => Some(1 << 40),
        "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        _ => None,
    };
    let quantity: u64 = number(text(domain, "memory"), "the memory size")?.unwrap_or(0);
    bytes
        .and_then(|bytes: u64| bytes.checked_mul(quantity))
        .ok_or_else(|| Error::integrity(format!("the memory size {quantity} {unit} is no size")))
}

fn read_firmware(domain: Node<'_, '_>) -> Firmware {
    let os = child(domain, "os");
    let loader = os.and_then(|os| child(os, "loader"));
    let chosen = os.and_then(|os| attribute(os, "firmware"));
    let flash = loader.and_then(|loader| attribute(loader, "type")) == Some("pflash");
    let path = loader.and_then(|loader| loader.text()).unwrap_or_default();
    let efi = chosen == Some("efi") || flash || path.contains("OVMF") || path.contains("edk2");
    let feature = |name: &str| {
        let features = os.and_then(|os| child(os, "firmware"))?;
        let node =
            children(features, "feature").find(|node| attribute(*node, "name") == Some(name))?;
        Some(attribute(node, "enabled") == Some("yes"))
    };
    let secure = loader.and_then(|loader| attribute(loader, "secure")) == Some("yes");
    Firmware {
        kind: if efi { FirmwareKind::Uefi } else { FirmwareKind::Bios },
        secure_boot: efi && feature("secure-boot").unwrap_or(secure),
        nvram_file: os.and_then(|os| text(os, "nvram")).map(str::to_owned),
    }
}

/// libosinfo's identifier in the metadata, which virt-manager and virt-install write.
fn read_os(domain: Node<'_, '_>) -> GuestOs {
    let metadata = child(domain, "metadata");
    let mut nodes = metadata.into_iter().flat_map(|node| node.descendants());
    let os = nodes.find(|node| {
        node.tag_name().name() == "os"
            && node.tag_name().namespace().is_some_and(|space| space.contains("libosinfo.org"))
    });
    GuestOs::named(os.and_then(|os| attribute(os, "id")).map(str::to_owned), None)
}

fn read_nic(node: Node<'_, '_>) -> Nic {
    let field = |element: &str, name: &str| {
        child(node, element).and_then(|element| attribute(element, name)).map(str::to_owned)
    };
    let source = ["network", "bridge", "dev"].into_iter().find_map(|name| field("source", name));
    Nic {
        mac: field("mac", "address").as_deref().and_then(mac),
        model: field("model", "type"),
        network: source,
        connected: field("link", "state").as_deref() != Some("down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_numbers() {
        let names = [("vda", Some(0)), ("sdz", Some(25)), ("vdaa", Some(26)), ("sd", None)];
        for (name, number) in names {
            assert_eq!(letters(name), number, "{name}");
        }
        assert_eq!(letters("sda1"), None);
        assert_eq!(letters(&format!("sd{}", "z".repeat(99))), None);
    }
}
