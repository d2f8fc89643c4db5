//! Which controller each disk of a written envelope hangs on: the machine's own where every
//! importer knows it, else SATA, for which every system of the last fifteen years has a driver.

use crate::vm::{Controller, ControllerKind, Machine};

/// Units of a SATA controller.
const SATA_UNITS: u32 = 30;

/// A controller of the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub kind: ControllerKind,
    pub bus: u32,
    pub model: &'static str,
}

/// A disk's place: index of its controller, unit.
pub(super) type Place = (usize, u32);

/// The controllers and the place of each disk, in the machine's order.
pub(super) fn lay_out(machine: &Machine) -> (Vec<Slot>, Vec<Place>) {
    let mut slots: Vec<Slot> = Vec::new();
    let mut places: Vec<Option<Place>> = Vec::new();
    for disk in &machine.disks {
        let own = machine.controllers.iter().find(|one| Some(&one.id) == disk.controller.as_ref());
        let place = own.and_then(known).zip(disk.unit).and_then(|(slot, unit)| {
            let at = index(&mut slots, &slot);
            let free = fits(slot.kind, unit) && !places.contains(&Some((at, unit)));
            free.then_some((at, unit))
        });
        places.push(place);
    }
    let taken = places.clone();
    let free = move |at: usize, unit: u32| !taken.contains(&Some((at, unit)));
    let mut next = (0, 0);
    let places = places.into_iter().map(|place| {
        place.unwrap_or_else(|| {
            loop {
                let (bus, unit) = next;
                next = if unit + 1 < SATA_UNITS { (bus, unit + 1) } else { (bus + 1, 0) };
                let at = index(&mut slots, &Slot { kind: ControllerKind::Sata, bus, model: AHCI });
                if free(at, unit) {
                    return (at, unit);
                }
            }
        })
    });
    let places: Vec<Place> = places.collect();
    drop_unused(slots, places)
}

/// A controller that was only tried is not written.
fn drop_unused(slots: Vec<Slot>, places: Vec<Place>) -> (Vec<Slot>, Vec<Place>) {
    let used = |at: usize| places.iter().any(|(used, _)| *used == at);
    let before = |at: usize| (0..at).filter(|earlier| used(*earlier)).count();
    let moved = places.iter().map(|(at, unit)| (before(*at), *unit)).collect();
    let kept = slots.into_iter().enumerate().filter(|(at, _)| used(*at)).map(|(_, slot)| slot);
    (kept.collect(), moved)
}

const AHCI: &str = "vmware.sata.ahci";

/// The controller as importers know it; `None` for those that only some platforms have.
fn known(own: &Controller) -> Option<Slot> {
    let word = own.model.as_deref().unwrap_or_default().to_ascii_lowercase();
    let (model, most) = match own.kind {
        ControllerKind::Ide => ("", 2),
        ControllerKind::Sata => (AHCI, 4),
        ControllerKind::Nvme => ("vmware.nvme.controller", 4),
        ControllerKind::Scsi => (scsi_model(&word)?, 4),
        ControllerKind::Virtio | ControllerKind::Usb => return None,
    };
    (own.bus < most).then_some(Slot { kind: own.kind, bus: own.bus, model })
}

/// VMware's words for SCSI adapters, in the spelling of its importers.
fn scsi_model(word: &str) -> Option<&'static str> {
    match word {
        "lsilogic" => Some("lsilogic"),
        "lsilogicsas" | "lsisas1068" => Some("lsilogicsas"),
        "buslogic" => Some("buslogic"),
        "virtualscsi" | "pvscsi" => Some("VirtualSCSI"),
        _ => None,
    }
}

/// Unit 7 of a SCSI bus is the adapter itself.
fn fits(kind: ControllerKind, unit: u32) -> bool {
    match kind {
        ControllerKind::Ide => unit < 2,
        ControllerKind::Scsi => unit < 16 && unit != 7,
        ControllerKind::Nvme => unit < 15,
        _ => unit < SATA_UNITS,
    }
}

fn index(slots: &mut Vec<Slot>, wanted: &Slot) -> usize {
    let known = slots.iter().position(|slot| slot.kind == wanted.kind && slot.bus == wanted.bus);
    known.unwrap_or_else(|| {
        slots.push(wanted.clone());
        slots.len() - 1
    })
}
