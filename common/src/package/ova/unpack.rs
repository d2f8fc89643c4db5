//! Compressed packages (`.ova.gz`, `.ova.zst`), recognised by content. They can only be read from
//! front to back.

use std::io::Read;

use super::members::Member;
use super::passing::Passing;
use crate::error::{Error, Result};

/// How a whole package is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageCompression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl PackageCompression {
    /// The compression that the first bytes of a file stand for.
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The word in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The plain bytes of a compressed package. Takes at most 128 MiB of memory, which is zstd's
/// largest window for files.
///
/// # Errors
/// A failure of the library to start.
pub fn unpacker<'r>(
    compression: PackageCompression,
    reader: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>> {
    Ok(match compression {
        PackageCompression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        PackageCompression::Zstd => Box::new(
            zstd::stream::read::Decoder::new(reader)
                .map_err(|e| Error::io("start decompressing", e))?,
        ),
    })
}

/// Reads the first file of a tar stream whole, where it has at most `most` bytes: the envelope of
/// an OVA, which comes first. The answer's range is where it stood in the stream.
///
/// # Errors
/// As [`super::find_members`]; `Integrity` for a larger one.
pub fn first_member(reader: &mut dyn Read, most: u64) -> Result<(Member, Vec<u8>)> {
    let mut passing = Passing::new(reader);
    let first = passing.next_member()?;
    let member = first.ok_or_else(|| Error::integrity("the package is empty"))?;
    Ok((member, passing.content(most)?))
}
