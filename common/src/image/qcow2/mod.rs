//! qcow2, QEMU's copy-on-write format, versions 2 and 3, after qemu's `docs/interop/qcow2.rst`.
//!
//! Read: plain and compressed clusters (zlib, zstd), zero clusters, extended L2 entries, backing
//! chains, external data files. Internal snapshots are named, not read. Refused by name:
//! encryption, images marked corrupt, unknown incompatible features. Written: version 3, plain or
//! compressed, one forward pass.
//!
//! **Backing files.** What format a backing file has is a matter of trust: a guest that owns a
//! raw disk can write a qcow2 header into it, and whoever guesses would then follow the names in
//! that header. So a raw backing file is read only where the image's header says that it is raw;
//! where nothing is said, the content must be an image format that can be told for certain, and
//! "nothing else fits, so it is raw" is refused. Whatever was found, further names go through
//! [`Siblings`](super::Siblings), which keeps them inside the folder.

mod backing;
mod check;
mod decode;
mod encode;
mod entry;
mod extension;
mod header;
mod host;
mod refcount;
mod snapshot;
mod table;
mod walk;

pub use self::decode::{open, probe};
pub use self::encode::{create, max_capacity, resume};

#[cfg(test)]
mod tests;
