//! VHDX, the disk format of Hyper-V ([MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format"):
//! dynamic, fixed and differencing images are read, dynamic ones written. An image whose log
//! still has to be replayed is refused: replaying changes the file, which nobody asked for.

mod check;
mod decode;
mod encode;
mod header;
mod locator;
mod log;
mod metadata;
#[cfg(test)]
mod tests;

pub use self::decode::open;
pub use self::encode::{create, max_capacity, resume};

/// Whether a file that starts with `head` (at least 8 bytes of it) is a VHDX.
pub fn probe(head: &[u8]) -> bool {
    head.starts_with(header::IDENTIFIER)
}
