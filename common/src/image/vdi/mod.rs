//! VDI, the disk format of VirtualBox, version 1.1, after its `VDICore.h` and QEMU's reading of
//! it: dynamic and fixed images are read, dynamic ones written. Differencing and undo images are
//! refused by name: VirtualBox keeps in its registry, not in the image, which file is the parent.

mod decode;
mod encode;
mod header;
#[cfg(test)]
mod tests;

pub use self::decode::open;
pub use self::encode::{create, max_capacity, resume};

/// Whether a file that starts with `head` (at least 68 bytes of it) is a VDI.
pub fn probe(head: &[u8]) -> bool {
    super::blocks::le32(head, 64) == header::SIGNATURE
}
