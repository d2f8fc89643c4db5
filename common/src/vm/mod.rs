//! The words for virtual machines: identifiers, the neutral record, filters, and the hardware
//! description that every source fills and every target is written from.

mod id;
mod machine;

pub use self::id::VmId;
pub use self::machine::{
    Controller, ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic,
    OsFamily,
};
