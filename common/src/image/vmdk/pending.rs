//! The grain table that is being filled while an image is written.

use serde::{Deserialize, Serialize};

use super::header::SECTOR;
use crate::image::ImageError;

/// Entries of a grain table.
pub(super) const TABLE_LEN: u64 = 512;
/// Sectors of a grain table.
pub(super) const TABLE_SECTORS: u64 = TABLE_LEN * 4 / SECTOR;

/// One table, not written yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PendingTable {
    number: u64,
    /// Up to the last grain so far.
    entries: Vec<u32>,
}

impl PendingTable {
    /// The table that must be written before `grain` can be noted, if there is one.
    pub(super) fn turn_to(&mut self, grain: u64) -> Option<(u64, Vec<u8>)> {
        if grain / TABLE_LEN == self.number {
            return None;
        }
        let done = self.take();
        self.number = grain / TABLE_LEN;
        done
    }

    /// The table and its number, if it names any grain; the next one is empty.
    pub(super) fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        let mut entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return None;
        }
        entries.resize(TABLE_LEN as usize, 0);
        Some((self.number, entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()))
    }

    /// Notes that `grain`, which is in this table, is at file offset `at`.
    pub(super) fn note(&mut self, grain: u64, at: u64) -> Result<(), ImageError> {
        self.entries.resize((grain % TABLE_LEN) as usize, 0);
        self.entries.push(sector_at(at)?);
        Ok(())
    }
}

/// The 32-bit sector number of a file offset.
pub(super) fn sector_at(at: u64) -> Result<u32, ImageError> {
    u32::try_from(at / SECTOR).map_err(|_| {
        ImageError::Limit(format!(
            "a sparse VMDK file ends at 2 TiB ({} bytes): its tables count sectors in 32 bits",
            1_u64 << 41
        ))
    })
}
