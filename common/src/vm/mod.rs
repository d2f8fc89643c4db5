//! The words for virtual machines: identifiers, the neutral record, filters, and the hardware
//! description that every source fills and every target is written from.

mod filter;
mod guest_os;
mod id;
mod machine;
mod model;
mod object;
mod pattern;
mod quantity;

pub use self::filter::{StatusWord, VmFilter, VmMatch};
pub use self::id::VmId;
pub use self::machine::{
    Controller, ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic,
    OsFamily,
};
pub use self::model::{Vm, VmStatus};
pub use self::object::{ObjectKind, VmObject};
pub use self::pattern::{Pattern, unknown_field};
pub use self::quantity::{format_bytes, parse_bytes};
