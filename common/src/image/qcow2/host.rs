//! Allocation of host clusters while writing: always at the end of the file, with reference
//! counts of 16 bits that leave as blocks when the clusters they count are complete.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::image::WriteOp;

/// Entries of a page of a growing table.
const PAGE: u64 = 512;

/// A table at a reserved place whose entries come in ascending order. One page is in memory; a
/// page leaves when an entry beyond it comes, and pages without entries are zeroed.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrowingTable {
    offset: u64,
    len: u64,
    /// The index of the page's first entry.
    first: u64,
    page: Vec<u64>,
}

impl GrowingTable {
    /// A table that takes `len` bytes, a multiple of 512, at `offset`.
    pub fn new(offset: u64, len: u64) -> Self {
        Self { offset, len, first: 0, page: Vec::new() }
    }

    /// Its file offset.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that it takes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Sets entry `index`, which is none before the last one set.
    pub fn set(&mut self, index: u64, value: u64, out: &mut Vec<WriteOp>) {
        if index >= self.first + PAGE {
            self.leave(index / PAGE * PAGE, out);
        }
        let within = (index - self.first) as usize;
        self.page.resize(self.page.len().max(within + 1), 0);
        self.page[within] = value;
    }

    /// Writes what is left.
    pub fn finish(mut self, out: &mut Vec<WriteOp>) {
        let end = self.len / 8;
        self.leave(end, out);
    }

    fn leave(&mut self, next: u64, out: &mut Vec<WriteOp>) {
        let at = self.offset + self.first * 8;
        let end = self.offset + next * 8;
        let written = at + self.page.len() as u64 * 8;
        if !self.page.is_empty() {
            out.push(WriteOp::Write { at, bytes: big_endian(&self.page) });
        }
        if written < end {
            out.push(WriteOp::Zeros { at: written, len: end - written });
        }
        self.first = next;
        self.page.clear();
    }
}

/// Table entries as they are stored.
pub fn big_endian(entries: &[u64]) -> Bytes {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect::<Vec<u8>>().into()
}

/// The allocator.
#[derive(Debug, Serialize, Deserialize)]
pub struct Host {
    cluster_bits: u32,
    /// The first cluster that is free, and so is everything behind it.
    next: u64,
    /// Where the next stream may start, inside the last cluster that holds streams.
    tail: Option<u64>,
    /// Refcount blocks that have left.
    blocks: u64,
    /// Counts of the clusters from `blocks` blocks on up to `next`.
    counts: Vec<u16>,
    table: GrowingTable,
}

impl Host {
    /// An allocator behind `reserved` clusters that are in use already.
    pub fn new(cluster_bits: u32, reserved: u64, table: GrowingTable) -> Self {
        let counts = vec![1; reserved as usize];
        Self { cluster_bits, next: reserved, tail: None, blocks: 0, counts, table }
    }

    /// The refcount table.
    pub fn table(&self) -> &GrowingTable {
        &self.table
    }

    /// File offset of `count` adjacent fresh clusters.
    pub fn clusters(&mut self, count: u64) -> u64 {
        let at = self.next << self.cluster_bits;
        self.next += count;
        self.counts.extend(std::iter::repeat_n(1, count as usize));
        at
    }

    /// File offset for a stream of `len` bytes, at most a cluster: behind the stream before where
    /// there is room, so that streams are packed byte by byte. Each cluster that it touches
    /// counts one more reference.
    pub fn stream(&mut self, len: u64) -> u64 {
        let cluster = 1u64 << self.cluster_bits;
        let at = match self.tail.and_then(|tail| self.extend_tail(tail, len)) {
            Some(at) => at,
            None => {
                let at = self.next << self.cluster_bits;
                self.counts.push(1);
                self.next += 1;
                at
            }
        };
        let end = at + len;
        self.tail = (!end.is_multiple_of(cluster)).then_some(end);
        at
    }

    /// Puts a stream at `tail` if the rest of that cluster, or that and a fresh one right behind
    /// it, can hold it.
    fn extend_tail(&mut self, tail: u64, len: u64) -> Option<u64> {
        let index = tail >> self.cluster_bits;
        let end = (index + 1) << self.cluster_bits;
        let behind = self.next == index + 1;
        let first = self.blocks * self.per_block();
        let count = self.counts.get_mut(usize::try_from(index.checked_sub(first)?).ok()?)?;
        if tail + len > end && !behind {
            return None;
        }
        *count = count.checked_add(1)?;
        if tail + len > end {
            self.counts.push(1);
            self.next += 1;
        }
        Some(tail)
    }

    /// Sends off the refcount blocks that are complete.
    pub fn settle(&mut self, out: &mut Vec<WriteOp>) {
        while self.counts.len() as u64 >= self.per_block() {
            self.write_block(out);
        }
    }

    /// Sends off all that is left and returns the file's length.
    pub fn finish(mut self, out: &mut Vec<WriteOp>) -> u64 {
        while !self.counts.is_empty() {
            self.write_block(out);
        }
        self.table.finish(out);
        self.next << self.cluster_bits
    }

    /// Writes the first block that has not left. It goes to a fresh cluster, which is counted
    /// like any other: in this block where it is the last, else in a later one.
    fn write_block(&mut self, out: &mut Vec<WriteOp>) {
        let at = self.clusters(1);
        let take = self.counts.len().min(self.per_block() as usize);
        let mut block = Vec::with_capacity(1 << self.cluster_bits);
        block.extend(self.counts.drain(..take).flat_map(u16::to_be_bytes));
        block.resize(1 << self.cluster_bits, 0);
        out.push(WriteOp::Write { at, bytes: block.into() });
        self.table.set(self.blocks, at, out);
        self.blocks += 1;
        let counted = (self.blocks * self.per_block()) << self.cluster_bits;
        self.tail = self.tail.filter(|tail| *tail >= counted);
    }

    /// Clusters that one refcount block counts.
    fn per_block(&self) -> u64 {
        1 << (self.cluster_bits - 1)
    }

    /// Whether a saved allocator makes sense.
    pub fn is_sound(&self) -> bool {
        let counted = self.blocks.checked_mul(self.per_block());
        counted.and_then(|counted| counted.checked_add(self.counts.len() as u64)) == Some(self.next)
            && self.next < 1 << 56
            && self.counts.len() < 1 << 24
    }
}
