//! Writing VHDX.

use serde::{Deserialize, Serialize};

use crate::image::blocks::{
    Blocks, Fate, MIB, Placer, SECTOR, TableWriter, Width, derive_guid, swap_guid, to_format,
    to_state,
};
use crate::image::{Codec, Coded, Format, ImageError, Layout, Variant, WriteOp, WriteOptions};

use super::decode::{FULLY_PRESENT, ZERO, entries};
use super::header::{HEADERS, Header, IDENTIFIER, REGION_TABLES, Regions};
use super::metadata::{MAX_CAPACITY, Metadata};

/// Where the log is. It is empty.
const LOG: std::ops::Range<u64> = MIB..2 * MIB;

/// Where the metadata region is.
const METADATA: std::ops::Range<u64> = 2 * MIB..3 * MIB;

/// File offset of the block table.
const BAT: u64 = 3 * MIB;

/// Blocks grow with the disk until the table has about this many entries: 512 KiB of it.
const USUAL_ENTRIES: u64 = 65_536;

/// Largest block that is taken without being asked for, the one that Hyper-V uses.
const USUAL_BLOCK: u64 = 32 * MIB;

/// Largest disk in bytes: 64 TiB.
pub fn max_capacity() -> u64 {
    MAX_CAPACITY
}

/// A placer for a new dynamic VHDX. Blocks are as large as the options say, a power of two from
/// 1 MiB to 256 MiB, and else from 1 MiB to 32 MiB as the disk grows. Identities come from the
/// seed alone; the format stores no time.
///
/// # Errors
/// [`ImageError::Limit`] for a disk that is empty, larger than [`max_capacity`] or no multiple of
/// 512 bytes, and for other block sizes; [`ImageError::Unsupported`] for compression and other
/// variants.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    let capacity = options.capacity;
    if capacity > MAX_CAPACITY {
        return Err(ImageError::Limit("a VHDX holds at most 64 TiB".to_owned()));
    }
    if capacity == 0 || !capacity.is_multiple_of(SECTOR) {
        return Err(ImageError::Limit("a VHDX holds whole sectors of 512 bytes".to_owned()));
    }
    if options.compression.is_some() {
        return Err(ImageError::unsupported("a VHDX cannot be compressed"));
    }
    if !matches!(options.variant, None | Some(Variant::Dynamic)) {
        return Err(ImageError::unsupported("a VHDX is written dynamic"));
    }
    let block = options.block_size.map_or_else(|| usual_block(capacity), u64::from);
    if !block.is_power_of_two() || !(MIB..=256 * MIB).contains(&block) {
        return Err(ImageError::Limit(
            "the blocks of a VHDX have a power of two from 1 MiB to 256 MiB".to_owned(),
        ));
    }
    Ok(Box::new(Dynamic::new(capacity, block as u32, options.seed)))
}

fn usual_block(capacity: u64) -> u64 {
    capacity.div_ceil(USUAL_ENTRIES).next_power_of_two().clamp(MIB, USUAL_BLOCK)
}

/// The placer that [`Format::save`] saved.
///
/// # Errors
/// [`ImageError::Corrupt`] where the bytes are not its state.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    Ok(Box::new(to_format::<Dynamic>(state)?))
}

/// Headers, log, metadata, table, blocks.
#[derive(Debug, Serialize, Deserialize)]
struct Dynamic {
    capacity: u64,
    block: u32,
    seed: [u8; 32],
    placer: Placer,
    layout: BlockLayout,
}

#[derive(Debug, Serialize, Deserialize)]
struct BlockLayout {
    table: TableWriter,
    block: u64,
    ratio: u64,
    /// Payload blocks entered in the table.
    settled: u64,
    /// Where the next block goes.
    next: u64,
}

impl Dynamic {
    fn new(capacity: u64, block: u32, seed: [u8; 32]) -> Self {
        let metadata = describe(capacity, block, &seed);
        Self {
            capacity,
            block,
            seed,
            placer: Placer::new(capacity, block.into()),
            layout: BlockLayout {
                table: TableWriter::new(BAT, Width::Le64),
                block: block.into(),
                ratio: metadata.chunk_ratio(),
                settled: 0,
                next: table_end(&metadata),
            },
        }
    }
}

fn describe(capacity: u64, block: u32, seed: &[u8; 32]) -> Metadata {
    Metadata {
        block,
        fixed: false,
        has_parent: false,
        capacity,
        disk_id: swap_guid(derive_guid(seed, "vhdx disk")),
        logical_sector: 512,
        // As today's disks have it, where the disk is one of whole physical sectors at all.
        physical_sector: if capacity.is_multiple_of(4096) { 4096 } else { 512 },
        locator: None,
    }
}

fn table_end(metadata: &Metadata) -> u64 {
    BAT + (entries(metadata) * Width::Le64.bytes()).next_multiple_of(MIB)
}

impl Blocks for BlockLayout {
    fn allocate(&mut self, _: &mut Vec<WriteOp>) -> Result<u64, ImageError> {
        let data = self.next;
        self.next += self.block;
        Ok(data)
    }

    /// Between two chunks of payload blocks stands the entry of a sector bitmap, empty here.
    /// There is none after the last block: the table's region may end with that block's entry.
    fn settle(&mut self, fate: Fate, mut count: u64, out: &mut Vec<WriteOp>) {
        let entry = match fate {
            Fate::Hole => 0,
            Fate::Zero => ZERO,
            Fate::At(data) => data | FULLY_PRESENT,
        };
        while count > 0 {
            if self.settled > 0 && self.settled.is_multiple_of(self.ratio) {
                self.table.push(0, 1, out);
            }
            let some = count.min(self.ratio - self.settled % self.ratio);
            self.table.push(entry, some, out);
            self.settled += some;
            count -= some;
        }
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
        layout.table.flush(out);
        out.push(WriteOp::SetLen(layout.next));
        let metadata = describe(self.capacity, self.block, &self.seed);
        let mut write = |at: u64, bytes: Vec<u8>| {
            out.push(WriteOp::Write { at, bytes: bytes.into() });
        };
        write(METADATA.start, metadata.encode());
        let regions = Regions { bat: BAT..table_end(&metadata), metadata: METADATA };
        for at in REGION_TABLES {
            write(at, regions.encode());
        }
        let creator = "hyper".encode_utf16().flat_map(u16::to_le_bytes);
        write(0, IDENTIFIER.iter().copied().chain(creator).collect());
        for (at, sequence) in HEADERS.into_iter().zip(1..) {
            let header = Header {
                sequence,
                file_write: swap_guid(derive_guid(&self.seed, "vhdx file write")),
                data_write: swap_guid(derive_guid(&self.seed, "vhdx data write")),
                log: [0; 16],
                log_range: LOG,
            };
            write(at, header.encode());
        }
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        to_state(self)
    }
}
