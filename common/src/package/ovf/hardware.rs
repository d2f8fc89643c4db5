//! The virtual hardware section: items of CIM resource types (DSP0243 section 9.2, DSP1041).

use roxmltree::Node;

use super::read::{section, sections};
use crate::error::{Error, Result};
use crate::package::description::{Controllers, mac};
use crate::package::units;
use crate::package::xml::{attribute, children, number, text};
use crate::vm::{ControllerKind, Cpus, Nic};

/// What the items say.
#[derive(Debug, Default)]
pub(super) struct Hardware {
    pub cpus: Cpus,
    pub memory_bytes: u64,
    pub controllers: Controllers,
    pub disks: Vec<Drive>,
    pub nics: Vec<Nic>,
    pub tpm: bool,
}

/// A disk drive.
#[derive(Debug)]
pub(super) struct Drive {
    pub instance: String,
    pub label: Option<String>,
    pub controller: Option<String>,
    pub unit: Option<u32>,
    pub host: HostResource,
}

/// What a drive's `HostResource` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HostResource {
    /// `ovf:/disk/ID`
    Disk(String),
    /// `ovf:/file/ID`
    File(String),
    /// Any other path.
    Other(String),
}

impl HostResource {
    pub(super) fn parse(text: &str) -> Self {
        let path = text.strip_prefix("ovf:").unwrap_or(text);
        let path = path.trim_start_matches('/');
        if let Some(id) = path.strip_prefix("disk/") {
            Self::Disk(id.to_owned())
        } else if let Some(id) = path.strip_prefix("file/") {
            Self::File(id.to_owned())
        } else {
            Self::Other(text.to_owned())
        }
    }
}

/// An item's fields that are used more than once.
struct Item<'a, 'i> {
    node: Node<'a, 'i>,
    resource: u32,
    instance: &'a str,
}

impl Hardware {
    /// Reads the items of the system's first hardware section in its default configuration.
    pub(super) fn read(
        envelope: Node<'_, '_>,
        system: Node<'_, '_>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let mut all = sections(system, "VirtualHardwareSection");
        let chosen =
            all.next().ok_or_else(|| Error::integrity("the machine has no hardware section"))?;
        if all.next().is_some() {
            notes.push("it has several hardware sections; the first was taken".to_owned());
        }
        let items = read_items(chosen, default_configuration(envelope))?;
        let mut hardware = Self::default();
        let controllers = hardware.add_controllers(&items)?;
        for item in &items {
            hardware.add(item, &controllers, notes)?;
        }
        hardware.sort_disks();
        Ok(hardware)
    }

    /// Controllers first: drives may come before the controller they hang on. The answer pairs
    /// instance identifiers with controllers.
    fn add_controllers<'a>(&mut self, items: &[Item<'a, '_>]) -> Result<Vec<(&'a str, String)>> {
        let mut known = Vec::new();
        for item in items {
            let model = text(item.node, "ResourceSubType");
            let Some(kind) = controller_kind(item.resource, model) else { continue };
            let taken = self.controllers.0.iter().filter(|one| one.kind == kind).count();
            let address: Option<u32> = text(item.node, "Address").and_then(|at| at.parse().ok());
            let next = u32::try_from(taken).unwrap_or(u32::MAX);
            let free = |bus: &u32| {
                !self.controllers.0.iter().any(|one| one.kind == kind && one.bus == *bus)
            };
            let bus = address.filter(free).or(Some(next).filter(free));
            let bus = bus.ok_or_else(|| Error::integrity("two controllers have one address"))?;
            known.push((item.instance, self.controllers.named(kind, bus, model)));
        }
        Ok(known)
    }

    fn add(
        &mut self,
        item: &Item<'_, '_>,
        controllers: &[(&str, String)],
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let node = item.node;
        let name = text(node, "ElementName").or_else(|| text(node, "Caption")).map(str::to_owned);
        match item.resource {
            3 => self.add_cpus(node)?,
            4 => {
                let quantity = text(node, "VirtualQuantity").unwrap_or("0");
                let unit = text(node, "AllocationUnits");
                let unit = unit.or_else(|| text(node, "VirtualQuantityUnits"));
                let bytes = units::bytes_of(quantity, unit).ok_or_else(|| {
                    Error::integrity(format!("the memory size {quantity:?} is no size"))
                })?;
                self.memory_bytes = self.memory_bytes.saturating_add(bytes);
            }
            10 => self.nics.push(read_nic(node)),
            14 => notes.push(format!(
                "{} is not carried over",
                name.as_deref().unwrap_or("a floppy drive")
            )),
            15 | 16 => {
                let medium = text(node, "HostResource").unwrap_or("empty");
                let name = name.as_deref().unwrap_or("a CD-ROM drive");
                notes.push(format!("{name} ({medium}) is not carried over"));
            }
            17 | 31 => self.add_drive(item, name, controllers)?,
            _ => {
                let kind = text(node, "ResourceSubType").unwrap_or_default().to_ascii_lowercase();
                self.tpm |= kind.contains("tpm");
            }
        }
        Ok(())
    }

    fn add_cpus(&mut self, node: Node<'_, '_>) -> Result<()> {
        let what = "the number of processors";
        let count: u32 = number(text(node, "VirtualQuantity"), what)?.unwrap_or(0);
        self.cpus.count = self.cpus.count.saturating_add(count);
        let per_socket: Option<u32> = number(
            text(node, "CoresPerSocket").or_else(|| text(node, "cpu_per_socket")),
            "the cores per socket",
        )?;
        self.cpus.cores_per_socket = per_socket.filter(|cores| *cores > 0);
        Ok(())
    }

    fn add_drive(
        &mut self,
        item: &Item<'_, '_>,
        label: Option<String>,
        controllers: &[(&str, String)],
    ) -> Result<()> {
        let name = label.as_deref().unwrap_or("a disk drive");
        let host = text(item.node, "HostResource")
            .ok_or_else(|| Error::integrity(format!("{name} names no disk")))?;
        let parent = text(item.node, "Parent");
        let controller = controllers.iter().find(|(id, _)| Some(*id) == parent);
        let unit = text(item.node, "AddressOnParent").and_then(|at| at.parse().ok());
        self.disks.push(Drive {
            instance: item.instance.to_owned(),
            controller: controller.map(|(_, id)| id.clone()),
            unit,
            host: HostResource::parse(host),
            label,
        });
        Ok(())
    }

    /// The order in which firmware tries them when nothing else is said: kinds of controller as
    /// the document first uses them, then controller, then unit.
    fn sort_disks(&mut self) {
        let place = |id: &Option<String>| {
            let at = self.controllers.0.iter().position(|one| Some(&one.id) == id.as_ref())?;
            let one = self.controllers.0.get(at)?;
            let first = self.controllers.0.iter().position(|other| other.kind == one.kind)?;
            Some((first, one.bus))
        };
        self.disks.sort_by_key(|drive| {
            let (kind, bus) = place(&drive.controller).unwrap_or((usize::MAX, u32::MAX));
            (kind, bus, drive.unit.unwrap_or(u32::MAX))
        });
    }
}

/// The configuration that deployment takes when none is asked for.
fn default_configuration<'a>(envelope: Node<'a, '_>) -> Option<&'a str> {
    let options = section(envelope, "DeploymentOptionSection")?;
    let marked = |node: &Node<'_, '_>| matches!(attribute(*node, "default"), Some("true" | "1"));
    let chosen = children(options, "Configuration").find(marked);
    attribute(chosen.or_else(|| children(options, "Configuration").next())?, "id")
}

/// The items that count: of the default configuration, not mere bounds, a configured item in
/// place of the general one of the same instance.
fn read_items<'a, 'i: 'a>(
    hardware: Node<'a, 'i>,
    configuration: Option<&str>,
) -> Result<Vec<Item<'a, 'i>>> {
    let mut items: Vec<Item<'a, 'i>> = Vec::new();
    for node in hardware.children().filter(Node::is_element) {
        let name = node.tag_name().name();
        let bound = attribute(node, "bound").is_some_and(|bound| bound != "normal");
        if !matches!(name, "Item" | "StorageItem" | "EthernetPortItem") || bound {
            continue;
        }
        let wanted = attribute(node, "configuration");
        let mut options = wanted.into_iter().flat_map(str::split_whitespace);
        if wanted.is_some() && !options.any(|option| Some(option) == configuration) {
            continue;
        }
        let resource = number(text(node, "ResourceType"), "a hardware item's resource type")?;
        let instance = text(node, "InstanceID").or_else(|| text(node, "InstanceId"));
        let item =
            Item { node, resource: resource.unwrap_or(0), instance: instance.unwrap_or_default() };
        let general = items.iter_mut().find(|one| {
            !item.instance.is_empty() && one.instance == item.instance && wanted.is_some()
        });
        match general {
            Some(general) => *general = item,
            None => items.push(item),
        }
    }
    Ok(items)
}

/// The kind of controller that an item is; NVMe and AHCI controllers come as 20 with a subtype.
fn controller_kind(resource: u32, model: Option<&str>) -> Option<ControllerKind> {
    let model = model.unwrap_or_default().to_ascii_lowercase();
    match resource {
        5 => Some(ControllerKind::Ide),
        6 => Some(ControllerKind::Scsi),
        20 if model.contains("nvme") => Some(ControllerKind::Nvme),
        20 if model.contains("virtio") => Some(ControllerKind::Scsi),
        20 => Some(ControllerKind::Sata),
        _ => None,
    }
}

fn read_nic(node: Node<'_, '_>) -> Nic {
    Nic {
        mac: text(node, "Address").or_else(|| text(node, "MACAddress")).and_then(mac),
        // VirtualBox writes several models that would do; the first is the machine's own.
        model: text(node, "ResourceSubType")
            .and_then(|model| model.split_whitespace().next())
            .map(str::to_owned),
        network: text(node, "Connection").map(str::to_owned),
        connected: text(node, "AutomaticAllocation")
            .is_none_or(|word| word.eq_ignore_ascii_case("true") || word == "1"),
    }
}
