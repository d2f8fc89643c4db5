//! A simulated machine: its hardware, power and snapshots.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::disk::DiskImage;
use super::value::Ref;

/// Power of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Off.
    Off,
    /// On.
    On,
}

impl Power {
    /// The interface's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "poweredOff",
            Self::On => "poweredOn",
        }
    }
}

/// A disk of a machine.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Its bytes.
    pub image: Arc<DiskImage>,
    /// Whether space is taken as it is written, not beforehand.
    pub thin: bool,
    /// What sets it apart from an ordinary disk.
    pub oddity: Option<Oddity>,
}

/// What makes a disk one that cannot be exported like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Left out of snapshots.
    Independent,
    /// A LUN of its own, in physical mode.
    Rdm,
    /// Shared with other machines.
    Shared,
    /// Encrypted.
    Encrypted,
}

impl Oddity {
    /// The words on the command line.
    pub const ALL: [(&'static str, Self); 4] = [
        ("independent", Self::Independent),
        ("rdm", Self::Rdm),
        ("shared", Self::Shared),
        ("encrypted", Self::Encrypted),
    ];
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its reference.
    pub reference: Ref,
    /// Its number within the machine.
    pub id: u32,
    /// Its name; need not be unique.
    pub name: String,
    /// What someone wrote about it.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether the guest was quiesced.
    pub quiesced: bool,
    /// Whether the guest's memory is in it.
    pub memory: bool,
    /// The machine's power when it was made.
    pub power: Power,
    /// The snapshot that it was made from.
    pub parent: Option<u32>,
}

/// How long a guest takes from power on until its VMware Tools run.
pub const BOOT: SignedDuration = SignedDuration::from_secs(2);

/// A machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its reference.
    pub reference: Ref,
    /// Its name, unique in its folder.
    pub name: String,
    /// The folder that it is in.
    pub folder: Ref,
    /// The BIOS's UUID.
    pub uuid: String,
    /// The platform's own UUID.
    pub instance_uuid: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Whether the firmware is UEFI.
    pub efi: bool,
    /// Whether Secure Boot is on.
    pub secure_boot: bool,
    /// Whether it has a virtual TPM.
    pub tpm: bool,
    /// The kind of guest, in the platform's word and in a person's.
    pub guest: (&'static str, &'static str),
    /// Power.
    pub power: Power,
    /// Since when it is on.
    pub booted: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
    /// Disks, in the order of their unit numbers.
    pub disks: Vec<Disk>,
    /// MAC address and network of each network card.
    pub nics: Vec<(String, Ref)>,
    /// Snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// The number of the snapshot that it runs on.
    pub current: Option<u32>,
    /// How many snapshots were ever made.
    pub made_snapshots: u32,
    /// Whether disks of a removed snapshot wait to be merged.
    pub unmerged: bool,
    /// Options of its configuration that clients gave it.
    pub options: Vec<(String, String)>,
    /// What its disks stand on, where it is a linked clone: its source as it was then.
    pub shared: Option<Box<Machine>>,
    /// The port of the host that is its serial line.
    pub serial: Option<u16>,
    /// Leases that export it, the ones that are alive.
    pub leases: Vec<String>,
    /// What its guest makes of itself when it is switched on next.
    pub pending: Option<Identity>,
    /// What its guest has made of itself, or goes on as.
    pub identity: Option<Identity>,
}

/// What makes a guest one of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its host name; its usual one where that is empty.
    pub host_name: String,
    /// Addresses of its network cards; the usual one where there is none.
    pub addresses: Vec<Option<String>>,
}

/// Unit numbers 0 to 15 without 7, which is the controller's own.
pub fn unit_of(index: usize) -> usize {
    let unit = index % DISKS_PER_CONTROLLER;
    if unit < 7 { unit } else { unit + 1 }
}

/// Disks of one SCSI controller.
pub const DISKS_PER_CONTROLLER: usize = 15;

impl Machine {
    /// Whether the guest runs and has started its VMware Tools.
    pub fn guest_is_up(&self) -> bool {
        let since = self.booted.map(|since| Timestamp::now().duration_since(since));
        self.power == Power::On && since.is_none_or(|since| since >= BOOT)
    }

    /// The name that the guest has given itself.
    pub fn host_name(&self) -> String {
        let own = self.identity.as_ref().map(|it| it.host_name.as_str());
        let own = own.filter(|name| !name.is_empty()).map(str::to_owned);
        own.unwrap_or_else(|| format!("{}.example.com", self.name))
    }

    /// The guest's address on a network card.
    pub fn address(&self, card: usize) -> String {
        let own = self.identity.as_ref().and_then(|it| it.addresses.get(card).cloned().flatten());
        own.unwrap_or_else(|| {
            let id = self.reference.value.trim_start_matches("vm-");
            let number: u32 = id.parse().unwrap_or(1);
            format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
        })
    }

    /// The name of the folder on the datastore.
    pub fn directory(&self) -> &str {
        &self.name
    }

    /// The name of a disk's file, without suffix: `web01`, `web01_1`.
    pub fn disk_stem(&self, index: usize) -> String {
        match index {
            0 => self.name.clone(),
            index => format!("{}_{index}", self.name),
        }
    }

    /// The key of a disk among the devices.
    pub fn disk_key(index: usize) -> i32 {
        let controller = index / DISKS_PER_CONTROLLER;
        2000 + 16 * controller as i32 + unit_of(index) as i32
    }

    /// How a lease names a disk: `/vm-42/ParaVirtualSCSIController0:1`.
    pub fn lease_key(&self, index: usize) -> String {
        let controller = index / DISKS_PER_CONTROLLER;
        let unit = unit_of(index);
        format!("/{}/ParaVirtualSCSIController{controller}:{unit}", self.reference.value)
    }

    /// The snapshot of that reference.
    pub fn snapshot(&self, reference: &Ref) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| &snapshot.reference == reference)
    }

    /// The snapshots made from a snapshot, or those made from none.
    pub fn children(&self, parent: Option<u32>) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(move |snapshot| snapshot.parent == parent)
    }

    /// The numbers of the snapshots that lead to one, and it, oldest first.
    pub fn line(&self, to: Option<u32>) -> Vec<u32> {
        let parent = |id: &u32| self.snapshots.iter().find(|it| it.id == *id)?.parent;
        let mut line: Vec<u32> = std::iter::successors(to, parent).collect();
        line.reverse();
        line
    }

    /// Bytes that all disks together can hold.
    pub fn capacity(&self) -> u64 {
        self.disks.iter().map(|disk| disk.image.capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_seven_belongs_to_the_controller() {
        let units: Vec<_> = (0..16).map(unit_of).collect();
        assert_eq!(units, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 0]);
        assert_eq!(Machine::disk_key(7), 2008);
        assert_eq!(Machine::disk_key(15), 2016);
    }
}
