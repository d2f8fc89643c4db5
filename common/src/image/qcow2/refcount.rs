//! Reference counts while checking: those that the image states, and those that its tables make.

use super::header::{Header, be64};
use super::table::Pages;
use crate::image::{ImageError, ReadAt};

/// Clusters counted at a time: three bytes each.
pub const WINDOW: u64 = 2 << 20;

/// Header and first-level tables: never shared.
pub const EXCLUSIVE: u8 = 1;
/// L2 tables: shared by snapshots alone.
pub const TABLE: u8 = 2;
/// Plain guest clusters: shared by snapshots alone.
pub const PLAIN: u8 = 4;
/// Clusters that hold compressed streams: shared by many.
pub const PACKED: u8 = 8;
/// Data of dirty bitmaps: never shared.
pub const BITMAP: u8 = 16;
/// Stated to be referenced once.
pub const COPIED: u8 = 32;
/// Stated to be shared, or not stated to be referenced once.
pub const SHARED: u8 = 64;
/// What a cluster is used for; two of these at once contradict each other.
pub const USES: u8 = EXCLUSIVE | TABLE | PLAIN | PACKED | BITMAP;

/// Counted uses of the host clusters from `first` on.
#[derive(Debug)]
pub struct Window {
    bits: u32,
    first: u64,
    counts: Vec<u16>,
    marks: Vec<u8>,
}

impl Window {
    /// Nothing counted yet, for `len` clusters of 2^`bits` bytes from cluster `first` on.
    pub fn new(bits: u32, first: u64, len: usize) -> Self {
        Self { bits, first, counts: vec![0; len], marks: vec![0; len] }
    }

    /// Counts `times` uses of every cluster that `len` bytes at `offset` touch; what lies outside
    /// the window is somebody else's.
    pub fn add(&mut self, offset: u64, len: u64, times: u16, marks: u8) {
        let Some(last) = len.checked_sub(1).and_then(|len| offset.checked_add(len)) else {
            return;
        };
        let start = (offset >> self.bits).max(self.first);
        let end = ((last >> self.bits) + 1).min(self.first + self.counts.len() as u64);
        for index in start..end {
            let index = (index - self.first) as usize;
            self.counts[index] = self.counts[index].saturating_add(times);
            self.marks[index] |= marks;
        }
    }

    /// Cluster number, uses and marks of every cluster of the window.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u16, u8)> + '_ {
        let counted = self.counts.iter().zip(&self.marks);
        counted.zip(self.first..).map(|((count, marks), index)| (index, *count, *marks))
    }
}

/// The image's own reference counts.
#[derive(Debug)]
pub struct Stated<'a> {
    file: &'a dyn ReadAt,
    header: &'a Header,
    table: Pages,
    blocks: Pages,
}

impl<'a> Stated<'a> {
    /// Nothing is read yet.
    pub fn new(file: &'a dyn ReadAt, header: &'a Header) -> Self {
        Self { file, header, table: Pages::default(), blocks: Pages::default() }
    }

    /// Number of clusters that one refcount block counts.
    pub fn per_block(&self) -> u64 {
        (self.header.cluster() * 8) >> self.header.refcount_order
    }

    /// File offset of refcount block `index`; 0: there is none, and all its counts are 0.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where it is no place for a block.
    pub fn block(&mut self, index: u64) -> Result<u64, ImageError> {
        if index >= self.header.reftable_len / 8 {
            return Ok(0);
        }
        let offset = self.table.get(self.file, self.header.reftable_offset + index * 8)? & !511;
        let end = offset.checked_add(self.header.cluster());
        if !offset.is_multiple_of(self.header.cluster())
            || end.is_none_or(|end| end > self.file.len())
        {
            return Err(ImageError::corrupt(format!(
                "refcount block {index} lies at byte {offset}"
            )));
        }
        Ok(offset)
    }

    /// The reference count of a host cluster.
    ///
    /// # Errors
    /// As [`Stated::block`].
    pub fn get(&mut self, cluster: u64) -> Result<u64, ImageError> {
        let block = self.block(cluster / self.per_block())?;
        if block == 0 {
            return Ok(0);
        }
        let width = 1u64 << self.header.refcount_order;
        let bit = cluster % self.per_block() * width;
        let word = self.blocks.get(self.file, block + bit / 64 * 8)?.to_be_bytes();
        let byte = (bit % 64 / 8) as usize;
        if width < 8 {
            return Ok(u64::from(word[byte]) >> (bit % 8) & ((1 << width) - 1));
        }
        // Whole bytes, most significant first: shift them to the end of eight.
        let mut number = [0; 8];
        let len = (width / 8) as usize;
        number[8 - len..].copy_from_slice(&word[byte..byte + len]);
        Ok(be64(&number, 0))
    }
}
