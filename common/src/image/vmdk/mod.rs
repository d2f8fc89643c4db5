//! VMware virtual disks, after "Virtual Disk Format 5.0" (VMware technical note, 2011) and what
//! VMware's and QEMU's own files show.
//!
//! Read: monolithicSparse and streamOptimized (tables in front or behind), text descriptors with
//! any number of flat, sparse (`KDMV` and `COWD`) and zero extents, chains of snapshots.
//! Written: streamOptimized (one pass, directory and footer at the end, as ESXi and ovftool
//! write it), monolithicSparse and the descriptor of monolithicFlat. Not handled, and refused by
//! name: SESPARSE, encrypted disks, raw devices.

mod check;
mod compose;
mod create;
mod descriptor;
mod disk;
mod follow;
mod header;
mod layer;
mod ledger;
mod open;
mod pending;
mod shelf;
mod sparse;
mod stream;
mod tables;
#[cfg(test)]
mod tests;
mod walk;
mod watch;
mod write_sparse;
mod write_stream;

pub use self::compose::flat_descriptor;
pub use self::create::{create, max_capacity, resume};
pub use self::open::open;
pub use self::stream::{open_buffered, open_stream};
pub use self::watch::{StreamCheck, StreamFacts, ends_whole};

/// Whether `head`, the first bytes of a file (64 KiB are enough), is a VMDK: a sparse extent or
/// a text descriptor.
pub fn probe(head: &[u8]) -> bool {
    head.starts_with(&header::SPARSE_MAGIC)
        || head.starts_with(&header::COWD_MAGIC)
        || head.starts_with(&header::SESPARSE_MAGIC)
        || descriptor::looks_like_descriptor(head)
}
