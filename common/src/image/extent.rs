//! Runs of a disk and the blocks that hold their bytes.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{ImageError, ReadAt};

/// A run of guest bytes and what stands there.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Guest offsets in bytes; never empty.
    pub range: Range<u64>,
    /// What a guest reads there.
    pub body: Body,
}

/// What a guest reads in an extent.
#[derive(Debug, Clone)]
pub enum Body {
    /// Not allocated in this image nor in any below it; reads as zero.
    Hole,
    /// Allocated (or marked) and reads as zero.
    Zero,
    /// Data, which may still turn out to be all zero.
    Data(Block),
}

/// Bytes of a data extent, where they are and how they are coded. Cheap to clone; nothing is
/// read before [`Block::load`].
#[derive(Debug, Clone)]
pub enum Block {
    /// Guest bytes in memory, as long as the extent.
    Plain(Bytes),
    /// Guest bytes in a file, as they are; the extent's length of them from `offset` on.
    Stored {
        /// The file.
        file: Arc<dyn ReadAt>,
        /// File offset of the extent's first byte.
        offset: u64,
    },
    /// One compressed stream that holds exactly this extent (see [`Packed::unit`] for the end
    /// of a disk).
    Packed(Packed),
}

/// A compressed block.
#[derive(Debug, Clone)]
pub struct Packed {
    /// How it is coded.
    pub coding: Coding,
    /// Where the stream is.
    pub at: PackedAt,
    /// Guest bytes that a whole block of this image holds. The stream inflates to at least the
    /// extent's length and at most this; the last block of a disk may be shorter than it.
    pub unit: u32,
}

/// Where a compressed stream is.
#[derive(Debug, Clone)]
pub enum PackedAt {
    /// In memory. With [`Packed::exact`] semantics of the format: may be followed by padding.
    Memory(Bytes),
    /// In a file; `len` is an upper bound where the format only stores sectors.
    File {
        /// The file.
        file: Arc<dyn ReadAt>,
        /// File offset of the stream's first byte.
        offset: u64,
        /// Bytes to read.
        len: u32,
    },
    /// In a file, behind a head that tells where it ends: walking the tables need not read it.
    Framed {
        /// The file.
        file: Arc<dyn ReadAt>,
        /// File offset of the head.
        offset: u64,
        /// Bytes to read: head and stream at most.
        len: u32,
        /// What number the head should have.
        number: u64,
        /// Reads the head.
        frame: Arc<dyn Frame>,
    },
}

/// Heads in front of a format's compressed blocks.
pub trait Frame: Debug + Send + Sync {
    /// Where the stream of block `number` is in `bytes`, which start at byte `offset` of the file
    /// and end where the block does, or behind it.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where the head is that of no block, or of another one, and where
    /// the stream is longer than `bytes`; [`ImageError::Truncated`] where the file is too short.
    fn stream(&self, number: u64, offset: u64, bytes: &[u8]) -> Result<Range<usize>, ImageError>;
}

/// The coding of a compressed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 1950: header, deflate stream, Adler-32 (VMDK grains).
    Zlib,
    /// RFC 1951: a bare deflate stream (qcow2 clusters of type 0).
    Deflate,
    /// RFC 8878: one zstd frame (qcow2 clusters of type 1).
    Zstd,
}

impl Extent {
    /// The extent's length in bytes.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether the extent covers nothing, which a contract-abiding image never yields.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl Packed {
    /// The stream's bytes (and whatever padding follows them), read into memory.
    ///
    /// # Errors
    /// The read's own failure, or truncation.
    pub fn fetch(&self) -> Result<Bytes, ImageError> {
        match &self.at {
            PackedAt::Memory(bytes) => Ok(bytes.clone()),
            PackedAt::File { file, offset, len } | PackedAt::Framed { file, offset, len, .. } => {
                let mut bytes = vec![0; *len as usize];
                file.read_exact_at(&mut bytes, *offset)?;
                self.unframed(bytes.into())
            }
        }
    }

    /// The stream in `bytes`, which stand in the file at [`PackedAt::in_file`].
    ///
    /// # Errors
    /// The head's.
    pub fn unframed(&self, bytes: Bytes) -> Result<Bytes, ImageError> {
        match &self.at {
            PackedAt::Framed { offset, number, frame, .. } => {
                let place = frame.stream(*number, *offset, &bytes)?;
                Ok(bytes.slice(place))
            }
            PackedAt::Memory(_) | PackedAt::File { .. } => Ok(bytes),
        }
    }
}

impl PackedAt {
    /// The file, the offset and the bytes to read; `None` for what is in memory.
    pub fn in_file(&self) -> Option<(&Arc<dyn ReadAt>, u64, u32)> {
        match self {
            Self::Memory(_) => None,
            Self::File { file, offset, len } | Self::Framed { file, offset, len, .. } => {
                Some((file, *offset, *len))
            }
        }
    }
}

impl Block {
    /// The part of a plain or stored block that starts `skip` bytes in.
    /// Packed blocks cannot be cut; callers ask for ranges aligned to the image's block size.
    #[must_use]
    pub fn skip(&self, skip: u64) -> Option<Self> {
        match self {
            Self::Plain(bytes) => Some(Self::Plain(bytes.slice(usize::try_from(skip).ok()?..))),
            Self::Stored { file, offset } => {
                Some(Self::Stored { file: file.clone(), offset: offset.checked_add(skip)? })
            }
            Self::Packed(_) => (skip == 0).then(|| self.clone()),
        }
    }
}
