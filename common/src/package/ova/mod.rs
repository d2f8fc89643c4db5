//! OVA packages: an OVF folder as one tar file (DSP0243 section 5.3: ustar, the envelope first).
//! Reading finds the members and where their bytes lie, so that a disk is read in place, or takes
//! them as they come through a pipe; writing gives headers as plain functions, because a disk's
//! size is known only after it was written.

mod header;
mod members;
mod passing;
#[cfg(test)]
mod tests;
mod unpack;
mod write;

pub use self::members::{Member, find_members};
pub use self::passing::Passing;
pub use self::unpack::{PackageCompression, first_member, unpacker};
pub use self::write::{end_blocks, header_len, member_header, padding};

/// Tar counts in blocks of this many bytes.
pub const BLOCK: u64 = 512;
