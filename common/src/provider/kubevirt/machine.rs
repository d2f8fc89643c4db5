//! A machine of KubeVirt in the neutral description, with the volumes that hold its disks.

use serde_json::Value;

use super::record::Known;
use super::wire::{Disk, Instance, Interface, VirtualMachine, VmiSpec};
use crate::vm::{
    Controller, ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic,
    Vm,
};

/// What is known of a machine, and what of it can be exported.
#[derive(Debug)]
pub(super) struct Described {
    pub machine: Machine,
    /// The volumes of its disks, in the same order.
    pub disks: Vec<VmDisk>,
    /// What it has that is not exported, a clause each.
    pub notes: Vec<String>,
}

/// A disk that can be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VmDisk {
    /// The volume's name in the machine.
    pub volume: String,
    /// The claim that holds it.
    pub claim: String,
}

/// Describes a machine of which `object` is the JSON that `known.vm` was read from. Sizes of disks
/// are not known yet.
pub(super) fn describe(known: Known<'_>, object: &Value, context: &str) -> Described {
    let (vm, record) = (known.vm, known.record(context));
    let spec = &vm.spec.template.spec;
    let volumes = Volumes::of(object);
    let mut layout = Layout::default();
    let mut notes = Vec::new();
    for disk in in_boot_order(spec) {
        match volumes.claim(&disk.name) {
            Some(_) if disk.cdrom.is_some() => {
                notes.push(format!("its CD-ROM drive {} is not carried over", disk.name));
            }
            Some(claim) => layout.add(disk, claim),
            None => {}
        }
    }
    for (name, kind) in &volumes.0 {
        let is_disk = spec.domain.devices.disks.iter().any(|disk| disk.name == *name);
        match kind {
            Volume::Claim(_) if is_disk => {}
            Volume::Claim(_) => notes.push(format!(
                "its volume {name} is not exported: it is shared with the guest and no disk"
            )),
            Volume::Other(words) => {
                notes.push(format!("its volume {name} is not exported: {words}"))
            }
        }
    }
    let Layout { controllers, disks, volumes } = layout;
    let machine = Machine {
        name: record.name.clone(),
        uuid: record.uuid.clone(),
        cpus: processors(spec, &record),
        memory_bytes: record.memory_bytes.unwrap_or(0),
        firmware: firmware(vm),
        os: GuestOs { id: record.guest_os_id, name: record.guest_os_name, family: record.guest_os },
        controllers,
        disks,
        nics: nics(spec, known.instance),
        tpm: spec.domain.devices.tpm.is_some(),
        annotation: vm.metadata.annotations.get("description").cloned(),
    };
    Described { machine, disks: volumes, notes }
}

/// Those that have a place in the order of booting come first, in it.
fn in_boot_order(spec: &VmiSpec) -> Vec<&Disk> {
    let mut disks: Vec<_> = spec.domain.devices.disks.iter().collect();
    disks.sort_by_key(|disk| disk.boot_order.unwrap_or(u32::MAX));
    disks
}

/// The volumes of a machine by their names.
struct Volumes(Vec<(String, Volume)>);

enum Volume {
    /// On this claim.
    Claim(String),
    /// What cannot be exported, and why.
    Other(String),
}

impl Volumes {
    /// Those of the JSON of a machine: of each the key that is not its name says what it is.
    fn of(object: &Value) -> Self {
        let all = object.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
        let of = |volume: &Value| {
            let name = volume.get("name")?.as_str()?.to_owned();
            let (kind, about) = volume.as_object()?.iter().find(|(key, _)| *key != "name")?;
            Some((name, Volume::new(kind, about)))
        };
        Self(all.into_iter().flatten().filter_map(of).collect())
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(known, volume)| match volume {
            Volume::Claim(claim) if known == name => Some(claim.as_str()),
            _ => None,
        })
    }
}

impl Volume {
    fn new(kind: &str, about: &Value) -> Self {
        let text = |field: &str| about.get(field).and_then(Value::as_str);
        let claim = match kind {
            "dataVolume" => text("name"),
            "persistentVolumeClaim" => text("claimName"),
            _ => None,
        };
        if let Some(claim) = claim {
            return Self::Claim(claim.to_owned());
        }
        Self::Other(match kind {
            "containerDisk" => match text("image") {
                Some(image) => format!("it comes out of the container image {image}"),
                None => "it comes out of a container image".to_owned(),
            },
            "emptyDisk" => "it is empty whenever the machine starts".to_owned(),
            "ephemeral" => "what is written to it ends with the machine's run".to_owned(),
            "hostDisk" => "it is a file of the node".to_owned(),
            "cloudInitNoCloud" | "cloudInitConfigDrive" => "it is data for cloud-init".to_owned(),
            other => format!("it is a {other}"),
        })
    }
}

/// Controllers and disks as they are found.
#[derive(Default)]
struct Layout {
    controllers: Vec<Controller>,
    disks: Vec<MachineDisk>,
    volumes: Vec<VmDisk>,
}

impl Layout {
    fn add(&mut self, disk: &Disk, claim: &str) {
        let target = disk.disk.as_ref().or(disk.lun.as_ref());
        let kind = controller(target.map_or("", |target| &target.bus));
        let id = format!("{}0", kind.name());
        let unit = self.disks.iter().filter(|it| it.controller.as_ref() == Some(&id)).count();
        if unit == 0 {
            // All of them are QEMU's own models.
            let model = (kind == ControllerKind::Scsi).then(|| "virtio-scsi".to_owned());
            self.controllers.push(Controller { id: id.clone(), kind, model, bus: 0 });
        }
        self.disks.push(MachineDisk {
            id: format!("disk{}", self.disks.len()),
            label: Some(disk.name.clone()),
            capacity_bytes: 0,
            controller: Some(id),
            unit: u32::try_from(unit).ok(),
            file: Some(claim.to_owned()),
        });
        self.volumes.push(VmDisk { volume: disk.name.clone(), claim: claim.to_owned() });
    }
}

/// What a bus is; KubeVirt takes SATA where none is named.
fn controller(bus: &str) -> ControllerKind {
    match bus {
        "virtio" => ControllerKind::Virtio,
        "scsi" => ControllerKind::Scsi,
        "usb" => ControllerKind::Usb,
        _ => ControllerKind::Sata,
    }
}

fn processors(spec: &VmiSpec, record: &Vm) -> Cpus {
    let cpu = spec.domain.cpu.as_ref();
    Cpus {
        count: record.cpus.unwrap_or(0),
        cores_per_socket: cpu.and_then(|cpu| cpu.cores),
        threads_per_core: cpu.and_then(|cpu| cpu.threads),
    }
}

/// KubeVirt boots by BIOS unless it is told otherwise, by a preference perhaps; with Secure Boot
/// unless that is switched off.
fn firmware(vm: &VirtualMachine) -> Firmware {
    let bootloader = vm.spec.template.spec.domain.firmware.bootloader.as_ref();
    let efi = bootloader.and_then(|bootloader| bootloader.efi.as_ref());
    let bios = bootloader.is_some_and(|bootloader| bootloader.bios.is_some());
    let kind = match efi {
        Some(_) => FirmwareKind::Uefi,
        None if bios || vm.spec.preference.is_none() => FirmwareKind::Bios,
        None => FirmwareKind::Unknown,
    };
    let secure_boot = efi.is_some_and(|efi| efi.secure_boot.unwrap_or(true));
    Firmware { kind, secure_boot, nvram_file: None }
}

fn nics(spec: &VmiSpec, instance: Option<&Instance>) -> Vec<Nic> {
    let seen = instance.map_or(&[][..], |instance| &instance.status.interfaces);
    let nic = |interface: &Interface| {
        let network = spec.networks.iter().find(|network| network.name == interface.name);
        let network = network.map(|network| match &network.multus {
            Some(multus) => multus.network_name.clone(),
            None if network.pod.is_some() => "pod".to_owned(),
            None => network.name.clone(),
        });
        let own = interface.mac_address.clone();
        let mac = own.or_else(|| seen.iter().find(|it| it.name == interface.name)?.mac.clone());
        Nic {
            mac: mac.map(|mac| mac.to_ascii_lowercase().replace('-', ":")),
            model: Some(interface.model.clone().unwrap_or_else(|| "virtio".to_owned())),
            network,
            connected: true,
        }
    };
    spec.domain.devices.interfaces.iter().map(nic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described(spec: Value) -> Described {
        let object =
            json!({ "metadata": { "name": "w" }, "spec": { "template": { "spec": spec } } });
        let vm: VirtualMachine = serde_json::from_value(object.clone()).unwrap();
        describe(Known { vm: &vm, instance: None, instancetype: None }, &object, "c")
    }

    #[test]
    fn disks_come_in_boot_order_and_nothing_is_left_out_silently() {
        let found = described(json!({
            "domain": {
                "cpu": { "sockets": 2, "cores": 3 }, "memory": { "guest": "2Gi" },
                "firmware": { "bootloader": { "efi": {} } },
                "devices": {
                    "tpm": {},
                    "disks": [
                        { "name": "data", "disk": { "bus": "scsi" } },
                        { "name": "seed", "disk": { "bus": "virtio" } },
                        { "name": "root", "disk": { "bus": "virtio" }, "bootOrder": 1 },
                        { "name": "iso", "cdrom": { "bus": "sata" } },
                        { "name": "old", "disk": {} },
                        { "name": "more", "lun": { "bus": "scsi" } },
                    ],
                    "interfaces": [{ "name": "n", "macAddress": "02-AA-00-00-00-01", "model": "e1000e" }],
                },
            },
            "networks": [{ "name": "n", "multus": { "networkName": "prod/vlan7" } }],
            "volumes": [
                { "name": "data", "dataVolume": { "name": "data-dv" } },
                { "name": "seed", "cloudInitNoCloud": {} },
                { "name": "root", "persistentVolumeClaim": { "claimName": "root-pvc" } },
                { "name": "iso", "persistentVolumeClaim": { "claimName": "iso-pvc" } },
                { "name": "old", "dataVolume": { "name": "old" } },
                { "name": "more", "dataVolume": { "name": "more" } },
                { "name": "tmp", "containerDisk": { "image": "quay.io/a" } },
                { "name": "cm", "configMap": { "name": "x" } },
            ],
        }));
        let machine = &found.machine;
        let disks: Vec<_> = machine
            .disks
            .iter()
            .map(|disk| {
                (disk.label.as_deref().unwrap(), disk.controller.as_deref().unwrap(), disk.unit)
            })
            .collect();
        assert_eq!(
            disks,
            [
                ("root", "virtio0", Some(0)),
                ("data", "scsi0", Some(0)),
                ("old", "sata0", Some(0)),
                ("more", "scsi0", Some(1)),
            ]
        );
        assert_eq!(found.disks[0].claim, "root-pvc");
        assert_eq!((machine.cpus.count, machine.cpus.cores_per_socket), (6, Some(3)));
        assert_eq!((machine.memory_bytes, machine.tpm), (2 << 30, true));
        assert_eq!(
            (machine.firmware.kind, machine.firmware.secure_boot),
            (FirmwareKind::Uefi, true)
        );
        assert_eq!(machine.nics[0].mac.as_deref(), Some("02:aa:00:00:00:01"));
        assert_eq!(machine.nics[0].network.as_deref(), Some("prod/vlan7"));
        let notes = found.notes.join("; ");
        for words in
            ["iso", "seed is not exported: it is data for cloud-init", "quay.io/a", "configMap"]
        {
            assert!(notes.contains(words), "{notes}");
        }
        assert_eq!(found.notes.len(), 4, "{notes}");
    }
}
