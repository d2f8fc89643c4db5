//! One place that knows every format: detecting, opening, creating. A new format is one arm in
//! each function here; exhaustive matches find them.

use std::io::Read;
use std::sync::Arc;

use super::{
    CompressionMethod, Format, Image, ImageError, ImageFormat, ReadAt, Siblings, StreamImage,
    Variant, WriteOptions, qcow2, raw, vdi, vhd, vhdx, vmdk,
};

/// Bytes at the front of a file that the formats' marks lie in.
const HEAD: u64 = 65_536;

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
        ImageFormat::Vdi => vdi::probe(&head),
        ImageFormat::Vmdk => vmdk::probe(&head),
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
        ImageFormat::Vdi => vdi::open(file, folder),
        ImageFormat::Vmdk => vmdk::open(file, folder),
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
        ImageFormat::Vmdk => vmdk::open_stream(reader),
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
        ImageFormat::Vdi => vdi::create(options),
        ImageFormat::Vmdk => vmdk::create(options),
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
        ImageFormat::Vdi => vdi::resume(state),
        ImageFormat::Vmdk => vmdk::resume(state),
    }
}

/// The capacity that an image of `bytes` gets: padded to whole sectors, and within the format's
/// limits for that variant and block size (`None`: the usual ones).
///
/// # Errors
/// [`ImageError::Limit`] that names the limit.
pub fn check_capacity(
    format: ImageFormat,
    variant: Option<Variant>,
    block_size: Option<u32>,
    bytes: u64,
) -> Result<u64, ImageError> {
    let most = match format {
        ImageFormat::Raw => raw::max_capacity(),
        ImageFormat::Qcow2 => qcow2::max_capacity(block_size),
        ImageFormat::Vhd => vhd::max_capacity(),
        ImageFormat::Vhdx => vhdx::max_capacity(),
        ImageFormat::Vdi => vdi::max_capacity(),
        ImageFormat::Vmdk => vmdk::max_capacity(variant.unwrap_or(Variant::StreamOptimized)),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::image::testing::{TestFile, read_all, run_qemu_img, scattered, write_image};
    use crate::image::{Compression, NoSiblings};

    fn options(format: ImageFormat, capacity: u64) -> WriteOptions {
        WriteOptions {
            capacity,
            variant: default_variant(format),
            compression: None,
            block_size: None,
            seed: [3; 32],
            time: 1_700_000_000,
            file_name: format!("disk.{format}"),
        }
    }

    #[test]
    fn every_format_is_created_detected_and_opened_by_content() {
        let capacity = (5 << 20) + 512;
        let (extents, bytes) = scattered(41, capacity);
        for format in ImageFormat::ALL {
            let writer = create(format, &options(format, capacity)).unwrap();
            let again = resume(format, &writer.save()).unwrap();
            let written = write_image(again, capacity, extents.clone());
            assert_eq!(written, write_image(writer, capacity, extents.clone()), "{format}");
            let file: Arc<dyn ReadAt> = Arc::new(Bytes::from(written));
            let found = detect(&*file).unwrap();
            assert_eq!(found, (format != ImageFormat::Raw).then_some(format));
            let image = open(format, file, Arc::new(NoSiblings)).unwrap();
            assert_eq!(image.info().format, format);
            assert!(read_all(&*image) == bytes, "{format}");
        }
    }

    #[test]
    fn every_format_that_qemu_img_writes_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        for (word, format) in [
            ("qcow2", ImageFormat::Qcow2),
            ("vmdk", ImageFormat::Vmdk),
            ("vpc", ImageFormat::Vhd),
            ("vhdx", ImageFormat::Vhdx),
            ("vdi", ImageFormat::Vdi),
        ] {
            let path = folder.path().join(word);
            run_qemu_img(&["create", "-q", "-f", word, path.to_str().unwrap(), "10M"]);
            let file = TestFile::open(&path);
            assert_eq!(detect(&*file).unwrap(), Some(format));
            let image = open(format, file, Arc::new(NoSiblings)).unwrap();
            assert!(image.capacity() >= 10 << 20);
        }
    }

    #[test]
    fn nothing_certain_is_not_raw() {
        for bytes in [vec![], vec![0; 100], vec![0x55; 70_000]] {
            assert_eq!(detect(&Bytes::from(bytes)).unwrap(), None);
        }
    }

    #[test]
    fn what_a_pipe_cannot_carry_is_refused() {
        for format in ImageFormat::ALL {
            let answer = open_stream(format, Box::new(std::io::empty()), None);
            assert!(answer.is_err(), "{format}");
        }
        assert!(open_stream(ImageFormat::Raw, Box::new(std::io::empty()), Some(0)).is_ok());
    }

    #[test]
    fn capacities_are_padded_and_limited() {
        for format in ImageFormat::ALL {
            let check = |bytes| check_capacity(format, default_variant(format), None, bytes);
            assert_eq!(check(1000).unwrap(), 1024, "{format}");
            assert!(matches!(check(u64::MAX), Err(ImageError::Limit(_))), "{format}");
        }
        let limit = |format, bytes| check_capacity(format, None, None, bytes).is_ok();
        assert!(limit(ImageFormat::Vhd, 2040 << 30) && !limit(ImageFormat::Vhd, (2040 << 30) + 1));
        assert!(limit(ImageFormat::Vhdx, 64 << 40) && !limit(ImageFormat::Vhdx, (64 << 40) + 1));
        assert!(limit(ImageFormat::Qcow2, 62 << 40));
    }

    #[test]
    fn compression_is_taken_where_it_is_said_to_be() {
        for format in ImageFormat::ALL {
            for method in [CompressionMethod::Zlib, CompressionMethod::Zstd] {
                let compression = Some(Compression { method, level: None, window_bits: 15 });
                let wish = WriteOptions { compression, ..options(format, 1 << 20) };
                let said = supports_compression(format).contains(&method);
                assert_eq!(create(format, &wish).is_ok(), said, "{format} {method:?}");
            }
        }
    }
}
