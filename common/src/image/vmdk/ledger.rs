//! Whether the tables of a stream name exactly the grains that went by. Neither tables nor
//! grains are kept: of each table, and of the grains that belong in each, a count and a sum that
//! does not depend on the order; 16 bytes for every 32 MiB of the disk.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::header::{SECTOR, entries};
use crate::image::ImageError;

/// What is known of one table's worth of grains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    count: u32,
    digest: u64,
}

impl Sum {
    /// Adds the grain at place `index` of a table, which lies at `sector`.
    fn add(&mut self, index: u64, sector: u32) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(mix(index << 32 | u64::from(sector)));
    }
}

/// Spreads a value over 64 bits (the finalizer of SplitMix64), so that sums of different sets
/// differ.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The books of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    table_len: u64,
    directory: Vec<u32>,
    /// By sector, ascending.
    tables: Vec<(u32, Sum)>,
    /// By table number, ascending.
    seen: Vec<(u32, Sum)>,
    grains: u64,
}

impl Ledger {
    /// Empty books of a stream whose tables have `table_len` entries.
    pub(super) fn new(table_len: u64) -> Self {
        Self { table_len, ..Self::default() }
    }

    /// Grains that went by.
    pub(super) fn grains(&self) -> u64 {
        self.grains
    }

    /// Notes the next grain that went by, in ascending order.
    pub(super) fn add_grain(&mut self, grain: u64, sector: u32) {
        let (number, index) = ((grain / self.table_len) as u32, grain % self.table_len);
        if self.seen.last().is_none_or(|(last, _)| *last != number) {
            self.seen.push((number, Sum::default()));
        }
        if let Some((_, sum)) = self.seen.last_mut() {
            sum.add(index, sector);
        }
        self.grains += 1;
    }

    /// Notes the table at `sector`.
    pub(super) fn add_table(&mut self, sector: u32, raw: &[u8], has_zeroed: bool) {
        let mut sum = Sum::default();
        for (index, entry) in (0..).zip(entries(raw)) {
            if entry != 0 && !(entry == 1 && has_zeroed) {
                sum.add(index, entry);
            }
        }
        self.tables.push((sector, sum));
    }

    /// Notes the next bytes of the directory.
    pub(super) fn add_directory(&mut self, raw: &[u8]) {
        self.directory.extend(entries(raw));
    }

    /// Forgets directory entries beyond the disk.
    pub(super) fn cut_directory(&mut self, tables: u64) {
        self.directory.truncate(tables as usize);
    }

    /// The tables that the directory names within `sectors`, each once, last one first.
    pub(super) fn tables_between(&self, sectors: Range<u64>, has_zeroed: bool) -> Vec<u32> {
        let named = self.directory.iter().copied();
        let mut found: Vec<u32> = named
            .filter(|sector| sectors.contains(&u64::from(*sector)))
            .filter(|sector| !(*sector == 1 && has_zeroed))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found
    }

    /// Whether every grain that the tables name went by, and no other.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] where grains are missing, [`ImageError::Corrupt`] where tables
    /// and grains contradict each other.
    pub(super) fn settle(&self, tables: u64) -> Result<(), ImageError> {
        if self.directory.len() as u64 != tables {
            return Err(ImageError::Truncated("the stream ends before its directory".into()));
        }
        let mut seen = self.seen.iter().copied().peekable();
        for (number, sector) in (0_u32..).zip(&self.directory) {
            let named = match *sector {
                0 | 1 => Sum::default(),
                sector => self.table_at(sector, number)?,
            };
            let had = match seen.next_if(|(had, _)| *had == number) {
                Some((_, sum)) => sum,
                None => Sum::default(),
            };
            if had != named {
                let text = format!(
                    "grain table {number} names {} grains, of which the stream holds {}",
                    named.count, had.count
                );
                return Err(match had.count < named.count {
                    true => ImageError::Truncated(text),
                    false => ImageError::Corrupt(format!("{text}, at other places")),
                });
            }
        }
        Ok(())
    }

    fn table_at(&self, sector: u32, number: u32) -> Result<Sum, ImageError> {
        let found = self.tables.binary_search_by_key(&sector, |(at, _)| *at).ok();
        found.and_then(|at| self.tables.get(at)).map(|(_, sum)| *sum).ok_or_else(|| {
            let at = u64::from(sector) * SECTOR;
            ImageError::corrupt(format!("grain table {number} is not at byte {at} of the stream"))
        })
    }
}
