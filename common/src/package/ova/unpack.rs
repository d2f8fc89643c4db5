//! Compressed packages (`.ova.gz`, `.ova.zst`), recognised by content. They can only be read from
//! front to back.

use std::io::Read;

use super::BLOCK;
use super::header::{HeaderBlock, parse};
use super::members::{Extension, Member, Step, checked_name, extend};
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
    let mut extension = Extension::default();
    let mut at = 0;
    loop {
        let mut block: HeaderBlock = [0; BLOCK as usize];
        fill(reader, &mut block)?;
        at += BLOCK;
        let header = parse(&block)?.ok_or_else(|| Error::integrity("the package is empty"))?;
        let mut taken = None;
        let step = extend(&header, &mut extension, |len| {
            taken = Some(len);
            content(reader, len)
        })?;
        match step {
            Step::File => {
                let (name, size) = extension.apply(&header);
                if size > most {
                    return Err(Error::integrity(format!("its first file {name:?} is too large")));
                }
                let bytes = content(reader, size)?;
                return Ok((Member { name: checked_name(&name)?, range: at..at + size }, bytes));
            }
            Step::Folder => extension = Extension::default(),
            Step::Extended => {
                let padded = header.size.next_multiple_of(BLOCK);
                let left = padded - taken.unwrap_or(0);
                let skipped = std::io::copy(&mut reader.take(left), &mut std::io::sink());
                skipped.map_err(|e| Error::io("read the package", e))?;
                at += padded;
            }
        }
    }
}

fn content(reader: &mut dyn Read, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let got = reader.take(len).read_to_end(&mut bytes);
    if got.map_err(failed)? as u64 != len {
        return Err(Error::integrity("the package ends too early"));
    }
    Ok(bytes)
}

fn fill(reader: &mut dyn Read, buf: &mut [u8]) -> Result<()> {
    reader.read_exact(buf).map_err(failed)
}

/// A decompressor reports damage as input that is invalid or ends early.
fn failed(e: std::io::Error) -> Error {
    use std::io::ErrorKind as Os;
    match e.kind() {
        Os::UnexpectedEof | Os::InvalidData | Os::InvalidInput | Os::Other => {
            Error::integrity("the compressed package is damaged or ends too early").with_source(e)
        }
        _ => Error::io("read the package", e),
    }
}
