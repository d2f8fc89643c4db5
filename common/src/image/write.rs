//! What every writable image format offers.
//!
//! Writing is split in two. The [`Codec`] is plain data that tells the engine how blocks are
//! prepared: in what unit, with which zero scan, compressed how. That work runs on all cores, in
//! any order. The [`Format`] then places the prepared blocks in disk order and answers with
//! [`WriteOp`]s; it is cheap, does no I/O and never looks at the bytes.

use std::ops::Range;

use bytes::Bytes;

use super::{Coding, ImageError};

/// How blocks of a format are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec {
    /// Guest bytes that one block covers, a power of two of at least 512. The engine cuts its
    /// work at multiples of this.
    pub unit: u32,
    /// Granularity of the zero scan in bytes, a power of two of at most `unit`: runs of zeros of
    /// this length and alignment become [`CodedBody::Zero`] instead of data.
    pub zero_unit: u32,
    /// `None`: blocks are placed plain. `Some`: each unit is compressed on its own.
    pub pack: Option<Pack>,
}

/// How units are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// The coding that the format stores.
    pub coding: Coding,
    /// Level of the coding: 0 to 12 for libdeflate's zlib and deflate, 1 to 22 for zstd.
    pub level: u8,
    /// Largest distance of a match in bits (15: 32 KiB). 12 makes qcow2 clusters that readers
    /// with a 4 KiB window accept; such units are never moved from another image.
    pub window_bits: u8,
    /// A unit whose stream is longer than this is placed plain instead; `None`: it is always
    /// placed packed, however long.
    pub plain_above: Option<u32>,
}

impl Pack {
    /// Whether a unit's stream is short enough to be placed packed.
    pub fn holds(&self, stream: &[u8]) -> bool {
        self.plain_above.is_none_or(|limit| stream.len() <= limit as usize)
    }
}

/// A prepared run, in disk order without gaps.
#[derive(Debug, Clone)]
pub struct Coded {
    /// Guest offsets in bytes. Plain data starts and ends at multiples of the codec's
    /// `zero_unit` (or at the capacity) and may span many units. A packed run is exactly one
    /// unit, or the shorter last one of the disk.
    pub range: Range<u64>,
    /// What stands there.
    pub body: CodedBody,
}

/// What stands in a prepared run.
#[derive(Debug, Clone)]
pub enum CodedBody {
    /// Not allocated.
    Hole,
    /// Reads as zero.
    Zero,
    /// Guest bytes, as long as the range.
    Plain(Bytes),
    /// One stream in the codec's coding that inflates to a whole unit (zeros follow the last
    /// byte of the disk in its last unit).
    Packed(Bytes),
}

/// One step of writing an artifact.
#[derive(Debug, Clone)]
pub enum WriteOp {
    /// Bytes at a file offset.
    Write {
        /// File offset.
        at: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A run that reads as zero. A sink whose file is fresh leaves a hole.
    Zeros {
        /// File offset.
        at: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The file's final length; nothing is written past it.
    SetLen(u64),
}

/// In what order a format writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every [`WriteOp`] starts where the one before ended: fit for a pipe and for hashing on
    /// the way.
    Append,
    /// Tables and headers are written at other places and times than data: needs a seekable
    /// target.
    Positional,
}

/// Places prepared blocks. Calls come in disk order and cover the disk without gaps.
pub trait Format: Send {
    /// How the engine prepares blocks for this format.
    fn codec(&self) -> Codec;

    /// In what order it writes.
    fn layout(&self) -> Layout;

    /// Takes the next run and says what to write. Tables leave as soon as the region they
    /// describe is complete, so that memory stays bounded for sparse disks of any size.
    ///
    /// # Errors
    /// [`ImageError::Limit`] where the format's own limit is reached.
    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError>;

    /// Writes what is left (tables, header, footer). Positional formats write the header last,
    /// so that an unfinished file is not taken for an image.
    ///
    /// # Errors
    /// As [`Format::place`].
    fn finish(self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError>;

    /// The placer's whole state, from which [`super::resume`] makes it again. What was returned
    /// by `place` before counts as written.
    fn save(&self) -> Vec<u8>;
}

/// What a new image is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteOptions {
    /// Bytes that the guest sees; see [`super::check_capacity`].
    pub capacity: u64,
    /// The variant within the format; `None` is the format's usual one.
    pub variant: Option<Variant>,
    /// How clusters are compressed; formats without compression refuse anything but `None`.
    pub compression: Option<Compression>,
    /// Cluster, grain or block size in bytes; `None` is the format's usual one.
    pub block_size: Option<u32>,
    /// Where GUIDs, content ids and the like derive from, so that the same input gives the same
    /// bytes.
    pub seed: [u8; 32],
    /// The creation time to write, in seconds since 1970.
    pub time: i64,
    /// The name that a descriptor inside the image gives to the file itself.
    pub file_name: String,
}

/// A variant within a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Variant {
    /// VMDK for transport: compressed grains, written in order.
    StreamOptimized,
    /// The same with the tables in front of the grains: for readers that know no footer. Needs a
    /// file that can seek.
    StreamOptimizedTablesFirst,
    /// VMDK with grain tables, uncompressed, one file.
    MonolithicSparse,
    /// VMDK whose data is a raw file beside a text descriptor.
    MonolithicFlat,
    /// VHD without allocation table.
    Fixed,
    /// VHD, VHDX or VDI that grows.
    Dynamic,
}

/// Compression of an image's own clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Compression {
    /// zlib or zstd.
    pub method: CompressionMethod,
    /// `None` is the method's usual level: for zlib 0 to 12, for zstd 1 to 19.
    pub level: Option<u8>,
    /// For zlib: the match window in bits, 15 unless a reader insists on 12.
    pub window_bits: u8,
}

/// A compression method as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressionMethod {
    /// RFC 1950 or 1951, as the format has it.
    Zlib,
    /// RFC 8878.
    Zstd,
}
