//! VHD, the disk format of Virtual PC, Hyper-V and Azure: fixed, dynamic and differencing images
//! are read, fixed and dynamic ones written. Split images (`.v01`…) and undo disks are not known.
//!
//! Azure takes fixed images alone whose size is a multiple of 1 MiB ([`AZURE_UNIT`]): who writes
//! for Azure pads the disk first. All readers see the same size of what is written here; see
//! `Footer::capacity`.

mod check;
mod decode;
mod encode;
mod header;
mod locator;
mod stream;
#[cfg(test)]
mod tests;

pub use self::decode::open;
pub use self::encode::{create, max_capacity, resume};
pub use self::stream::open_stream;

use super::ReadAt;

/// Azure takes only disks that are a multiple of this many bytes.
pub const AZURE_UNIT: u64 = 1 << 20;

/// Whether `file` is a VHD: a footer is at its end, or the copy that all but fixed images have is
/// in front. A file that cannot be read is none.
pub fn probe(file: &dyn ReadAt) -> bool {
    let at = |offset: Option<u64>| {
        let mut cookie = [0; 8];
        offset.is_some_and(|offset| file.read_exact_at(&mut cookie, offset).is_ok())
            && &cookie == header::COOKIE
    };
    // Virtual PC before 2004 wrote footers of 511 bytes.
    at(file.len().checked_sub(512)) || at(file.len().checked_sub(511)) || at(Some(0))
}
