//! OVF envelopes (DMTF DSP0243, versions 1.0 to 2.1): read in the dialects of VMware, VirtualBox
//! and oVirt, written as 1.1, which everything reads.

mod boot;
mod dialect;
mod hardware;
mod layout;
mod read;
#[cfg(test)]
mod tests;
mod write;
#[cfg(test)]
mod write_tests;

pub use self::read::{OvfFile, OvfPackage, read_ovf};
pub use self::write::{OvfDisk, OvfFiles, pad, reserved_len, write_ovf};
