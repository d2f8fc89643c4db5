//! libvirt domain XML (<https://libvirt.org/formatdomain.html>): read as a machine in files,
//! written so that an exported machine starts under KVM.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::read::read_domain;
pub use self::write::{DomainDisk, DomainXml, write_domain};
