//! What the formats with a flat table of large blocks (VHD, VHDX, VDI) share: the table read
//! through a window and written region by region, the walk over it, the placing of blocks, and
//! the search for blocks that lie on one another. Not called from outside of those formats.

mod field;
mod guid;
mod name;
mod overlap;
mod place;
mod table;
#[cfg(test)]
pub(super) mod trial;
mod walk;

pub(super) use self::field::{array, be16, be32, be64, le16, le32, le64};
pub(super) use self::guid::{derive_guid, guid_text, swap_guid};
pub(super) use self::name::{add_names, utf16};
pub(super) use self::overlap::find_overlap;
pub(super) use self::place::{
    Blocks, Fate, Placer, check_complete, check_order, packed, to_format, to_state,
};
pub(super) use self::table::{Table, TableWriter, Width, Window};
pub(super) use self::walk::{BlockMap, Place, walk};

/// Bytes of a sector, the granularity of everything here.
pub(super) const SECTOR: u64 = 512;

/// 1 MiB.
pub(super) const MIB: u64 = 1 << 20;

/// Longest chain of differencing images that is followed.
pub(super) const CHAIN: usize = 64;
