//! Writing VDI.

use serde::{Deserialize, Serialize};

use crate::image::blocks::{
    Blocks, Fate, MIB, Placer, SECTOR, TableWriter, Width, derive_guid, to_format, to_state,
};
use crate::image::{Codec, Coded, Format, ImageError, Layout, Variant, WriteOp, WriteOptions};

use super::decode::{DISCARDED, UNALLOCATED};
use super::header::Header;

/// Bytes of a block: the only size that QEMU reads.
const BLOCK: u64 = MIB;

/// File offset of the block map. VirtualBox aligns map and data like this too.
const MAP: u64 = MIB;

/// Largest map that QEMU reads.
const ENTRIES: u64 = 0x1fff_ff80;

/// Largest disk in bytes: a little less than 512 TiB, as QEMU has it.
pub fn max_capacity() -> u64 {
    ENTRIES * BLOCK
}

/// A placer for a new dynamic VDI. Identities come from the seed alone; the format stores no
/// time.
///
/// # Errors
/// [`ImageError::Limit`] for a disk that is empty, larger than [`max_capacity`] or no multiple of
/// 512 bytes, and for blocks of another size than 1 MiB; [`ImageError::Unsupported`] for
/// compression and other variants.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    let capacity = options.capacity;
    if capacity > max_capacity() {
        let text = format!("a VDI holds at most {} bytes", max_capacity());
        return Err(ImageError::Limit(text));
    }
    if capacity == 0 || !capacity.is_multiple_of(SECTOR) {
        return Err(ImageError::Limit("a VDI holds whole sectors of 512 bytes".to_owned()));
    }
    if options.compression.is_some() {
        return Err(ImageError::unsupported("a VDI cannot be compressed"));
    }
    if !matches!(options.variant, None | Some(Variant::Dynamic)) {
        return Err(ImageError::unsupported("a VDI is written dynamic"));
    }
    if options.block_size.is_some_and(|size| u64::from(size) != BLOCK) {
        return Err(ImageError::Limit("the blocks of a VDI have 1 MiB".to_owned()));
    }
    Ok(Box::new(Dynamic {
        capacity,
        seed: options.seed,
        placer: Placer::new(capacity, BLOCK),
        layout: BlockLayout {
            map: TableWriter::new(MAP, Width::Le32),
            data: data_at(capacity),
            allocated: 0,
        },
    }))
}

/// The placer that [`Format::save`] saved.
///
/// # Errors
/// [`ImageError::Corrupt`] where the bytes are not its state.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    Ok(Box::new(to_format::<Dynamic>(state)?))
}

/// Entries of the block map.
fn entries(capacity: u64) -> u64 {
    capacity.div_ceil(BLOCK)
}

/// File offset of the first block.
fn data_at(capacity: u64) -> u64 {
    MAP + (entries(capacity) * Width::Le32.bytes()).next_multiple_of(MIB)
}

/// Header, map, blocks.
#[derive(Debug, Serialize, Deserialize)]
struct Dynamic {
    capacity: u64,
    seed: [u8; 32],
    placer: Placer,
    layout: BlockLayout,
}

#[derive(Debug, Serialize, Deserialize)]
struct BlockLayout {
    map: TableWriter,
    /// Where the first block goes.
    data: u64,
    allocated: u64,
}

impl BlockLayout {
    fn end(&self) -> u64 {
        self.data + self.allocated * BLOCK
    }
}

impl Blocks for BlockLayout {
    fn allocate(&mut self, _: &mut Vec<WriteOp>) -> Result<u64, ImageError> {
        let data = self.end();
        self.allocated += 1;
        Ok(data)
    }

    fn settle(&mut self, fate: Fate, count: u64, out: &mut Vec<WriteOp>) {
        let entry = match fate {
            Fate::Hole => UNALLOCATED,
            Fate::Zero => DISCARDED,
            Fate::At(data) => (data - self.data) / BLOCK,
        };
        self.map.push(entry, count, out);
    }
}

impl Format for Dynamic {
    fn codec(&self) -> Codec {
        Codec { unit: 65_536, zero_unit: 4096, pack: None }
    }

    fn layout(&self) -> Layout {
        Layout::Positional
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.placer.place(&run, &mut self.layout, out)
    }

    fn finish(self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        self.placer.check_complete()?;
        let mut layout = self.layout;
        layout.map.flush(out);
        out.push(WriteOp::SetLen(layout.end()));
        let header = Header {
            fixed: false,
            map_at: MAP as u32,
            data_at: layout.data as u32,
            capacity: self.capacity,
            block: BLOCK as u32,
            entries: entries(self.capacity) as u32,
            allocated: layout.allocated as u32,
            id: derive_guid(&self.seed, "vdi"),
            modified: derive_guid(&self.seed, "vdi last change"),
        };
        out.push(WriteOp::Write { at: 0, bytes: header.encode().into() });
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        to_state(self)
    }
}
