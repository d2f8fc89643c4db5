//! The log ([MS-VHDX] 2.3): whether changes wait in it.

use crate::image::blocks::{array, le32};
use crate::image::{ImageError, ReadAt};

use super::header::Header;

/// Log entries start at multiples of this and take multiples of it.
const SECTOR: u64 = 4096;

/// Bytes read at once.
const PIECE: u64 = 64 << 10;

/// Whether the log holds an entry with changes to replay: one with the header's log GUID, at
/// least one descriptor and a right checksum. An entry that was torn while it was written
/// changed nothing yet.
///
/// # Errors
/// [`ImageError::Truncated`] where the log leaves the file, or a failed read.
pub fn is_dirty(file: &dyn ReadAt, header: &Header) -> Result<bool, ImageError> {
    let range = &header.log_range;
    if header.log == [0; 16] {
        return Ok(false);
    }
    if range.end > file.len() {
        return Err(ImageError::Truncated("the log leaves the file".to_owned()));
    }
    // Entries cannot overlap, so in a sound log all of them together are no longer than it. A
    // log that claims more is made to keep us busy; what it would hide counts as changes.
    let mut budget = 2 * (range.end - range.start);
    let mut at = range.start;
    let mut piece = Vec::new();
    while at < range.end {
        piece.resize((range.end - at).min(PIECE) as usize, 0);
        file.read_exact_at(&mut piece, at)?;
        for (index, sector) in piece.chunks(SECTOR as usize).enumerate() {
            let Some(len) = claimed_len(sector, header) else { continue };
            if len > budget {
                return Ok(true);
            }
            budget -= len;
            let start = at + index as u64 * SECTOR;
            if entry_checksum(file, range, start, len)? == le32(sector, 4) {
                return Ok(true);
            }
        }
        at += piece.len() as u64;
    }
    Ok(false)
}

/// The length of the entry that starts with `sector`, where one may start.
fn claimed_len(sector: &[u8], header: &Header) -> Option<u64> {
    let len = u64::from(le32(sector, 8));
    let log = header.log_range.end - header.log_range.start;
    let fits = len >= SECTOR && len.is_multiple_of(SECTOR) && len <= log;
    let entry = sector.starts_with(b"loge") && array::<16>(sector, 32) == header.log;
    (entry && fits && le32(sector, 24) > 0).then_some(len)
}

/// CRC-32C of the entry at `start`, which may run past the log's end into its beginning.
fn entry_checksum(
    file: &dyn ReadAt,
    log: &std::ops::Range<u64>,
    start: u64,
    len: u64,
) -> Result<u32, ImageError> {
    let mut sum = 0;
    let mut sector = [0; SECTOR as usize];
    for step in 0..len / SECTOR {
        let mut at = start + step * SECTOR;
        if at + SECTOR > log.end {
            at = at - log.end + log.start;
        }
        file.read_exact_at(&mut sector, at)?;
        if step == 0 {
            sector[4..8].fill(0);
        }
        sum = crc32c::crc32c_append(sum, &sector);
    }
    Ok(sum)
}
