//! Writing VHD.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::image::blocks::{
    Blocks, Fate, Placer, SECTOR, TableWriter, Width, check_complete, check_order, derive_guid,
    packed, to_format, to_state,
};
use crate::image::{
    Codec, Coded, CodedBody, Format, ImageError, Layout, Variant, WriteOp, WriteOptions,
};

use super::header::{DYNAMIC_HEADER, DynamicHeader, FOOTER, Footer, Kind};

/// Bytes of a block. Hyper-V and Azure know no other size than this and 512 KiB.
const BLOCK: u64 = 2 << 20;

/// Bytes in front of a block's data. The sector bitmap takes the last 512 of them; the rest puts
/// data on boundaries of 4 KiB, as Windows has it since version 8.
const LEAD: u64 = 4096;

/// What stands there: every sector of an allocated block counts as present, as with QEMU and
/// Hyper-V.
static LEAD_BYTES: [u8; LEAD as usize] = {
    let mut lead = [0; LEAD as usize];
    let mut at = (LEAD - SECTOR) as usize;
    while at < LEAD as usize {
        lead[at] = 0xff;
        at += 1;
    }
    lead
};

/// File offset of the block table.
const TABLE: u64 = (FOOTER + DYNAMIC_HEADER) as u64;

/// Largest disk in bytes, for every variant: 2040 GiB, the limit of Hyper-V and QEMU.
pub fn max_capacity() -> u64 {
    2040 << 30
}

/// A placer for a new VHD: [`Variant::Dynamic`] (the usual one) or [`Variant::Fixed`], which can
/// go to a pipe. Identity and time come from the options alone.
///
/// # Errors
/// [`ImageError::Limit`] for a disk that is empty, larger than [`max_capacity`] or no multiple of
/// 512 bytes, and for blocks of another size than 2 MiB; [`ImageError::Unsupported`] for
/// compression and other variants.
pub fn create(options: &WriteOptions) -> Result<Box<dyn Format>, ImageError> {
    let capacity = options.capacity;
    if capacity > max_capacity() {
        return Err(ImageError::Limit("a VHD holds at most 2040 GiB".to_owned()));
    }
    if capacity == 0 || !capacity.is_multiple_of(SECTOR) {
        return Err(ImageError::Limit("a VHD holds whole sectors of 512 bytes".to_owned()));
    }
    if options.compression.is_some() {
        return Err(ImageError::unsupported("a VHD cannot be compressed"));
    }
    if options.block_size.is_some_and(|size| u64::from(size) != BLOCK) {
        return Err(ImageError::Limit("the blocks of a VHD have 2 MiB".to_owned()));
    }
    let id = derive_guid(&options.seed, "vhd");
    match options.variant {
        None | Some(Variant::Dynamic) => Ok(Box::new(Dynamic::new(capacity, id, options.time))),
        Some(Variant::Fixed) => Ok(Box::new(Fixed { capacity, id, time: options.time, at: 0 })),
        Some(_) => Err(ImageError::unsupported("a VHD is written fixed or dynamic")),
    }
}

/// The placer that [`Format::save`] saved.
///
/// # Errors
/// [`ImageError::Corrupt`] where the bytes are not its state.
pub fn resume(state: &[u8]) -> Result<Box<dyn Format>, ImageError> {
    let (kind, state) = state
        .split_first()
        .ok_or_else(|| ImageError::corrupt("the saved state of the image is empty"))?;
    match kind {
        0 => Ok(Box::new(to_format::<Fixed>(state)?)),
        _ => Ok(Box::new(to_format::<Dynamic>(state)?)),
    }
}

/// The disk's bytes, then a footer.
#[derive(Debug, Serialize, Deserialize)]
struct Fixed {
    capacity: u64,
    id: [u8; 16],
    time: i64,
    at: u64,
}

impl Format for Fixed {
    fn codec(&self) -> Codec {
        Codec { unit: 1 << 20, zero_unit: 4096, pack: None }
    }

    fn layout(&self) -> Layout {
        Layout::Append
    }

    fn place(&mut self, run: Coded, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        check_order(&run, self.at, self.capacity)?;
        let at = self.at;
        self.at = run.range.end;
        match run.body {
            CodedBody::Hole | CodedBody::Zero => {
                out.push(WriteOp::Zeros { at, len: self.at - at });
            }
            CodedBody::Plain(bytes) => out.push(WriteOp::Write { at, bytes }),
            CodedBody::Packed(_) => return Err(packed()),
        }
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut Vec<WriteOp>) -> Result<(), ImageError> {
        check_complete(self.at, self.capacity)?;
        let footer = Footer::new(Kind::Fixed, self.capacity, self.id, self.time);
        let bytes = Bytes::copy_from_slice(&footer.encode());
        out.push(WriteOp::Write { at: self.capacity, bytes });
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        [vec![0], to_state(self)].concat()
    }
}

/// Copy of the footer, header, table, blocks, footer.
#[derive(Debug, Serialize, Deserialize)]
struct Dynamic {
    capacity: u64,
    id: [u8; 16],
    time: i64,
    placer: Placer,
    layout: BlockLayout,
}

#[derive(Debug, Serialize, Deserialize)]
struct BlockLayout {
    table: TableWriter,
    /// Where the next block goes, with what stands in front of its data.
    next: u64,
}

impl Dynamic {
    fn new(capacity: u64, id: [u8; 16], time: i64) -> Self {
        let table_len = (entries(capacity) * Width::Be32.bytes()).next_multiple_of(SECTOR);
        Self {
            capacity,
            id,
            time,
            placer: Placer::new(capacity, BLOCK),
            layout: BlockLayout {
                table: TableWriter::new(TABLE, Width::Be32),
                next: (TABLE + table_len).next_multiple_of(LEAD),
            },
        }
    }
}

/// Entries of the block table.
fn entries(capacity: u64) -> u64 {
    capacity.div_ceil(BLOCK)
}

impl Blocks for BlockLayout {
    fn allocate(&mut self, out: &mut Vec<WriteOp>) -> Result<u64, ImageError> {
        out.push(WriteOp::Write { at: self.next, bytes: Bytes::from_static(&LEAD_BYTES) });
        let data = self.next + LEAD;
        self.next = data + BLOCK;
        Ok(data)
    }

    fn settle(&mut self, fate: Fate, count: u64, out: &mut Vec<WriteOp>) {
        let entry = match fate {
            Fate::Hole | Fate::Zero => u64::from(u32::MAX),
            // Below 2^32 for the largest disk with all its blocks.
            Fate::At(data) => (data - SECTOR) / SECTOR,
        };
        self.table.push(entry, count, out);
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
        let count = entries(self.capacity);
        let padded = count.next_multiple_of(SECTOR / Width::Be32.bytes());
        layout.table.push(u32::MAX.into(), padded - count, out);
        layout.table.flush(out);
        let footer = Footer::new(Kind::Dynamic, self.capacity, self.id, self.time).encode();
        let header = DynamicHeader { table_at: TABLE, entries: count as u32, block: BLOCK as u32 };
        out.push(WriteOp::Write { at: layout.next, bytes: Bytes::copy_from_slice(&footer) });
        out.push(WriteOp::SetLen(layout.next + FOOTER as u64));
        let front = [&footer[..], &header.encode()].concat();
        out.push(WriteOp::Write { at: 0, bytes: front.into() });
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        [vec![1], to_state(self)].concat()
    }
}
