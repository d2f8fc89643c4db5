//! What a machine description says, in whatever dialect it was written.

use crate::image::ImageFormat;
use crate::vm::{Controller, ControllerKind, Machine};

/// A machine and the files that hold its disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The machine. A disk's capacity is 0 where only its image tells.
    pub machine: Machine,
    /// What holds each disk: as many as `machine.disks`, in the same order.
    pub disks: Vec<DiskFile>,
    /// What is there but cannot be carried over, a clause each: CD-ROM drives, a TPM's state.
    pub notes: Vec<String>,
}

/// What holds one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFile {
    /// Where its bytes are.
    pub data: DiskData,
    /// The image format, where the description tells.
    pub format: Option<ImageFormat>,
    /// The file's size in bytes, where the description tells.
    pub size: Option<u64>,
}

/// Where a disk's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskData {
    /// In a file, named as the description has it: relative to the description or absolute.
    File(String),
    /// Nowhere: the disk is empty and as large as the machine says.
    Blank,
}

/// Controllers of a machine as they are met, named by kind and number.
#[derive(Debug, Default)]
pub(crate) struct Controllers(pub Vec<Controller>);

impl Controllers {
    /// The identifier of controller `bus` of a kind: `scsi0`. Added where it was not known yet.
    pub fn named(&mut self, kind: ControllerKind, bus: u32, model: Option<&str>) -> String {
        let id = format!("{}{bus}", kind.name());
        match self.0.iter_mut().find(|controller| controller.id == id) {
            Some(known) => {
                if known.model.is_none() {
                    known.model = model.map(str::to_owned);
                }
            }
            None => self.0.push(Controller {
                id: id.clone(),
                kind,
                model: model.map(str::to_owned),
                bus,
            }),
        }
        id
    }
}

/// Numbers the disks of a machine `disk0` … in the order they have now.
pub(crate) fn number_disks(machine: &mut Machine) {
    for (at, disk) in machine.disks.iter_mut().enumerate() {
        disk.id = format!("disk{at}");
    }
}

/// A MAC address in lower case with colons; anything else that is no MAC address is `None`.
pub(crate) fn mac(text: &str) -> Option<String> {
    let digits: String =
        text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect::<String>();
    if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let pairs: Vec<&str> = (0..6).filter_map(|at| digits.get(2 * at..2 * at + 2)).collect();
    Some(pairs.join(":"))
}

/// A UUID in lower case with dashes, from any of its spellings (VMware's `56 4d … -…`, braces).
pub(crate) fn uuid(text: &str) -> Option<String> {
    let digits: String =
        text.chars().filter(|c| !matches!(c, ' ' | '-' | '{' | '}')).collect::<String>();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let cut = [0..8, 8..12, 12..16, 16..20, 20..32];
    let parts: Vec<&str> = cut.into_iter().filter_map(|range| digits.get(range)).collect();
    Some(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_identifiers_have_one_spelling() {
        assert_eq!(mac("00-50-56-AA-BB-CC").as_deref(), Some("00:50:56:aa:bb:cc"));
        assert_eq!(mac("080027D54321").as_deref(), Some("08:00:27:d5:43:21"));
        assert_eq!(mac("0800.27d5.4321").as_deref(), Some("08:00:27:d5:43:21"));
        assert_eq!(mac("08:00:27"), None);
        assert_eq!(mac("é8002700432"), None);
        let id = "564d0102-0304-0506-0708-090a0b0c0d0e";
        assert_eq!(uuid("56 4d 01 02 03 04 05 06-07 08 09 0A 0b 0c 0d 0e").as_deref(), Some(id));
        assert_eq!(uuid("{564D0102-0304-0506-0708-090A0B0C0D0E}").as_deref(), Some(id));
        assert_eq!(uuid("564d"), None);
    }
}
