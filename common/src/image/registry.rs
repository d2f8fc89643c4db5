//! One place that knows every format: detecting, opening, creating. A new format is one arm in
//! each function here; exhaustive matches find them.

use std::io::Read;
use std::sync::Arc;

use super::{
    CompressionMethod, Format, Image, ImageError, ImageFormat, ReadAt, Siblings, StreamImage,
    Variant, WriteOptions, qcow2, raw, vhd, vhdx,
};

/// Bytes at the front of a file that the formats' marks lie in.
const HEAD: u64 = 4096;

/// Disks are counted in sectors of this many bytes.
const SECTOR: u64 = 512;

/// The format of `file` by its content. `None` means that it is none that can be told; whether it
/// is raw then is for the caller to decide, by suffix or flag: bytes alone never say so.
///
/// # Errors
/// A failed read.
pub fn detect(file: &dyn ReadAt) -> Result<Option<ImageFormat>, ImageError> {
    let mut head = vec![0; file.len().min(HEAD) as usize];
    file.read_exact_at(&mut head, 0)?;
    let is = |format: &ImageFormat| match format {
        ImageFormat::Raw => false,
        ImageFormat::Qcow2 => qcow2::probe(&head),
        ImageFormat::Vhdx => vhdx::probe(&head),
        ImageFormat::Vmdk | ImageFormat::Vdi => false,
        ImageFormat::Vhd => vhd::probe(file),
    };
    // A fixed VHD is known by its last sector alone, which may lie inside an image of another
    // format: marks at the front speak first.
    let (vhd, front): (Vec<_>, Vec<_>) =
        ImageFormat::ALL.into_iter().partition(|format| *format == ImageFormat::Vhd);
    Ok(front.into_iter().chain(vhd).find(is))
}

/// Opens `file` as an image of `format`; the files that it names are looked up in `folder`.
///
/// # Errors
/// The format's own: [`ImageError::Corrupt`], [`ImageError::Truncated`],
/// [`ImageError::Unsupported`], [`ImageError::Outside`].
pub fn open(
    format: ImageFormat,
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    match format {
        ImageFormat::Raw => Ok(raw::open(file)),
        ImageFormat::Qcow2 => qcow2::open(file, folder),
        ImageFormat::Vhd => vhd::open(file, folder),
        ImageFormat::Vhdx => vhdx::open(file, folder),
        ImageFormat::Vmdk | ImageFormat::Vdi => Err(missing(format)),
    }
}

/// Reads an image of `format` from a pipe. `len` is the length of the whole stream in bytes where
/// it is known from elsewhere: raw and fixed VHD, which say nothing in front, need it.
///
/// # Errors
/// [`ImageError::Unsupported`] for formats that need a file that can seek, and where `len` is
/// needed and not known; the format's own for a damaged start.
pub fn open_stream(
    format: ImageFormat,
    reader: Box<dyn Read + Send>,
    len: Option<u64>,
) -> Result<Box<dyn StreamImage>, ImageError> {
    match format {
        ImageFormat::Raw => {
            let capacity = len.ok_or_else(|| {
                ImageError::unsupported("a raw stream does not say how many bytes it has")
            })?;
            Ok(raw::open_stream(reader, capacity))
        }
        ImageFormat::Qcow2 | ImageFormat::Vhdx | ImageFormat::Vdi => Err(ImageError::unsupported(
            format!("{format} cannot be read from a pipe: its tables are needed before its data"),
        )),
        ImageFormat::Vhd => vhd::open_stream(reader, len),
        ImageFormat::Vmdk => Err(missing(format)),
    }
}

/// Starts an image of `format`.
///
/// # Errors
/// [`ImageError::Unsupported`] for options that the format has not, [`ImageError::Limit`] for
/// what is beyond its limits.
pub fn create(format: ImageFormat, options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    match format {
        ImageFormat::Raw => raw::create(options),
        ImageFormat::Qcow2 => qcow2::create(options),
        ImageFormat::Vhd => vhd::create(options),
        ImageFormat::Vhdx => vhdx::create(options),
        ImageFormat::Vmdk | ImageFormat::Vdi => Err(missing(format)),
    }
}

/// Goes on from what [`Format::save`] of an image of `format` gave.
///
/// # Errors
/// [`ImageError::Corrupt`] where `state` is none of that format.
pub fn resume(format: ImageFormat, state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    match format {
        ImageFormat::Raw => raw::resume(state),
        ImageFormat::Qcow2 => qcow2::resume(state),
        ImageFormat::Vhd => vhd::resume(state),
        ImageFormat::Vhdx => vhdx::resume(state),
        ImageFormat::Vmdk | ImageFormat::Vdi => Err(missing(format)),
    }
}

/// The capacity that an image of `bytes` gets: padded to whole sectors, and within the format's
/// limits for that variant and block size (`None`: the usual ones).
///
/// # Errors
/// [`ImageError::Limit`] that names the limit.
pub fn check_capacity(
    format: ImageFormat,
    _variant: Option<Variant>,
    block_size: Option<u32>,
    bytes: u64,
) -> Result<u64, ImageError> {
    let most = match format {
        ImageFormat::Raw => raw::max_capacity(),
        ImageFormat::Qcow2 => qcow2::max_capacity(block_size),
        ImageFormat::Vhd => vhd::max_capacity(),
        ImageFormat::Vhdx => vhdx::max_capacity(),
        ImageFormat::Vmdk | ImageFormat::Vdi => return Err(missing(format)),
    };
    match bytes.checked_next_multiple_of(SECTOR) {
        Some(padded) if padded <= most => Ok(padded),
        _ => Err(ImageError::Limit(format!(
            "{format} holds at most {most} bytes, and the disk has {bytes}"
        ))),
    }
}

/// The variant that is written where none was asked for.
pub fn default_variant(format: ImageFormat) -> Option<Variant> {
    match format {
        ImageFormat::Raw | ImageFormat::Qcow2 => None,
        ImageFormat::Vmdk => Some(Variant::StreamOptimized),
        ImageFormat::Vhd | ImageFormat::Vhdx | ImageFormat::Vdi => Some(Variant::Dynamic),
    }
}

/// How the clusters of a format can be compressed at the user's choice. A streamOptimized VMDK
/// is always compressed, with zlib.
pub fn supports_compression(format: ImageFormat) -> &'static [CompressionMethod] {
    match format {
        ImageFormat::Qcow2 => &[CompressionMethod::Zlib, CompressionMethod::Zstd],
        ImageFormat::Vmdk => &[CompressionMethod::Zlib],
        ImageFormat::Raw | ImageFormat::Vhd | ImageFormat::Vhdx | ImageFormat::Vdi => &[],
    }
}

fn missing(format: ImageFormat) -> ImageError {
    ImageError::unsupported(format!("{format} images are not handled"))
}
