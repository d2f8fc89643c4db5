//! Starting and resuming a new image, and the limits of each variant.

use serde::{Deserialize, Serialize};

use super::compose::embedded_descriptor;
use super::header::SECTOR;
use super::write_sparse::SparseWriter;
use super::write_stream::StreamWriter;
use crate::image::{Coding, CompressionMethod, Format, ImageError, Pack, Variant, WriteOptions};

/// Guest bytes of a grain, as every VMware product writes them.
const GRAIN: u32 = 65_536;
/// libdeflate's level for grains: as small as zlib's level 6, four times as fast.
const LEVEL: u8 = 5;

/// Starts a VMDK: [`Variant::StreamOptimized`] (the usual one: compressed, appending, directory
/// and footer at the end), [`Variant::StreamOptimizedTablesFirst`] (the same grains behind their
/// tables, positional) or [`Variant::MonolithicSparse`] (plain grains, positional). Content ids
/// derive from the seed.
///
/// # Errors
/// [`ImageError::Limit`] for a capacity beyond [`max_capacity`] or not of whole sectors, a grain
/// that is no power of two from 8 KiB to 64 KiB, an unknown level; [`ImageError::Unsupported`]
/// for other variants and compressions than the format has.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    let variant = options.variant.unwrap_or(Variant::StreamOptimized);
    let grain = options.block_size.unwrap_or(GRAIN);
    let most = max_capacity(variant);
    if options.capacity > most {
        return Err(ImageError::Limit(format!(
            "a VMDK of this variant holds at most {most} bytes, the disk has {}",
            options.capacity
        )));
    }
    if !options.capacity.is_multiple_of(SECTOR) {
        let text = format!("a VMDK holds whole sectors, not {} bytes", options.capacity);
        return Err(ImageError::Limit(text));
    }
    if !grain.is_power_of_two() || !(8192..=GRAIN).contains(&grain) {
        let text = format!("a grain of {grain} bytes: VMDK has 8 KiB to 64 KiB");
        return Err(ImageError::Limit(text));
    }
    match variant {
        Variant::StreamOptimized => {
            let descriptor = embedded_descriptor(options, "streamOptimized");
            let pack = pack(options)?;
            Ok(Box::new(StreamWriter::new(options.capacity, grain, pack.level, descriptor)))
        }
        Variant::StreamOptimizedTablesFirst => {
            let descriptor = embedded_descriptor(options, "streamOptimized");
            let level = pack(options)?.level;
            Ok(Box::new(StreamWriter::tables_first(options.capacity, grain, level, descriptor)))
        }
        Variant::MonolithicSparse if options.compression.is_none() => {
            let descriptor = embedded_descriptor(options, "monolithicSparse");
            Ok(Box::new(SparseWriter::new(options.capacity, grain, descriptor)))
        }
        Variant::MonolithicSparse => Err(ImageError::unsupported(
            "a monolithicSparse VMDK is not compressed; streamOptimized is",
        )),
        Variant::MonolithicFlat => Err(ImageError::unsupported(
            "a flat VMDK is raw bytes beside a descriptor, not one file with tables",
        )),
        Variant::Fixed | Variant::Dynamic => {
            Err(ImageError::unsupported(format!("VMDK has no variant {variant:?}")))
        }
    }
}

/// The most guest bytes that a variant holds; 0 for variants of other formats. A
/// monolithicSparse file addresses 2 TiB of itself, tables included; a stream may stand for
/// more, as far as what it compresses to stays within; flat disks go as far as vSphere's.
pub fn max_capacity(variant: Variant) -> u64 {
    match variant {
        Variant::StreamOptimized
        | Variant::StreamOptimizedTablesFirst
        | Variant::MonolithicFlat => 62 << 40,
        Variant::MonolithicSparse => (1 << 41) - SECTOR,
        Variant::Fixed | Variant::Dynamic => 0,
    }
}

fn pack(options: &WriteOptions) -> Result<Pack, ImageError> {
    let mut pack = grain_pack(LEVEL);
    if let Some(compression) = options.compression {
        if compression.method != CompressionMethod::Zlib || compression.window_bits < 15 {
            return Err(ImageError::unsupported("a VMDK's grains are zlib with a 32 KiB window"));
        }
        pack.level = compression.level.unwrap_or(LEVEL);
        if pack.level > 12 {
            let text = format!("there is no zlib level {}; the highest is 12", pack.level);
            return Err(ImageError::Limit(text));
        }
    }
    Ok(pack)
}

/// How a stream's grains are compressed.
pub(super) fn grain_pack(level: u8) -> Pack {
    Pack { coding: Coding::Zlib, level, window_bits: 15, plain_above: None }
}

/// A writer's state between two runs.
#[derive(Debug, Serialize, Deserialize)]
enum Saved {
    Stream(StreamWriter),
    Sparse(SparseWriter),
}

/// What [`Format::save`] gives for a stream.
pub(super) fn save_stream(writer: &StreamWriter) -> Vec<u8> {
    save(&Saved::Stream(writer.clone()))
}

/// What [`Format::save`] gives for a sparse file.
pub(super) fn save_sparse(writer: &SparseWriter) -> Vec<u8> {
    save(&Saved::Sparse(writer.clone()))
}

fn save(state: &Saved) -> Vec<u8> {
    // Writing into memory fails for no state that serde can describe; an empty one is refused
    // by `resume`.
    postcard::to_allocvec(state).unwrap_or_default()
}

/// Makes a writer again from what its [`Format::save`] gave.
///
/// # Errors
/// [`ImageError::Corrupt`] where `state` is not from there.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    match postcard::from_bytes(state) {
        Ok(Saved::Stream(writer)) => Ok(Box::new(writer)),
        Ok(Saved::Sparse(writer)) => Ok(Box::new(writer)),
        Err(_) => Err(ImageError::corrupt("the saved state of the VMDK is damaged")),
    }
}
