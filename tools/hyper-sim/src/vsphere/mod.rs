//! A vCenter, or a single ESXi host, as far as listing, power, snapshots, exports and consoles go.
//!
//! The SOAP interface is checked strictly: what a real server might let pass (parameters in the
//! wrong order, unknown ones) is a fault here, so that a client's mistakes are found. Nothing of
//! `hyper_common`'s own client is used; disks are read and encoded with its image formats.

pub mod alarm;
mod call;
mod change;
mod check;
mod clone;
mod collector;
#[cfg(test)]
mod conform;
pub mod console;
mod customization;
mod device;
pub mod disk;
mod envelope;
mod fault;
mod folder;
pub mod history;
pub mod http;
pub mod inventory;
mod lease;
pub mod machine;
mod ovf;
mod performance;
mod schema;
mod service;
mod session;
pub mod sim;
mod spec;
pub mod state;
mod task;
mod update;
mod value;
mod view_place;
mod view_vm;
