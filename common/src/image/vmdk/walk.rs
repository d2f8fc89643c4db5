//! Walking the tables of a sparse extent in guest order.

use std::ops::Range;

use super::header::SECTOR;
use super::sparse::{Cell, Packing, Sparse};
use super::tables::Tables;
use crate::image::ImageError;

/// Stored grains are joined up to this length, so that a walk yields something soon.
const STORED_MAX: u64 = 256 << 20;

/// A run of an extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes of the extent. A compressed grain comes whole, also where only a part was asked for.
    pub range: Range<u64>,
    /// What is there.
    pub place: Place,
}

/// What is in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in this image: the one below says.
    Below,
    /// Reads as zero and takes no room.
    Empty,
    /// Reads as zero, and the image says so.
    Zero,
    /// Guest bytes at this file offset.
    Stored(u64),
    /// One compressed grain.
    Packed {
        /// File offset of the stream.
        offset: u64,
        /// Its length, or an upper bound of it.
        len: u32,
    },
    /// One compressed grain behind its marker.
    Marked {
        /// File offset of the marker.
        offset: u64,
        /// Marker and stream at most.
        len: u32,
        /// The grain.
        number: u64,
    },
}

/// Walks ranges of one extent; each starts where or after the one before ended.
#[derive(Debug, Default)]
pub(super) struct Walk {
    at: u64,
    end: u64,
    tables: Tables,
    pending: Option<Piece>,
}

impl Walk {
    /// Turns to `range` of the extent, which lies within its capacity.
    pub(super) fn turn_to(&mut self, range: Range<u64>) {
        self.at = range.start;
        self.end = range.end;
        self.pending = None;
    }

    /// The next run of the range.
    pub(super) fn next(&mut self, extent: &Sparse) -> Option<Result<Piece, ImageError>> {
        loop {
            if self.at >= self.end {
                return self.pending.take().map(Ok);
            }
            let piece = match self.step(extent) {
                Ok(piece) => piece,
                Err(error) => {
                    self.at = self.end;
                    self.pending = None;
                    return Some(Err(error));
                }
            };
            self.at = piece.range.end;
            match &mut self.pending {
                Some(before) if joins(before, &piece) => before.range.end = piece.range.end,
                Some(before) => return Some(Ok(std::mem::replace(before, piece))),
                None => self.pending = Some(piece),
            }
        }
    }

    /// The run at the current place, as far as one table tells.
    fn step(&mut self, extent: &Sparse) -> Result<Piece, ImageError> {
        let number = self.at / extent.span();
        let table_end = ((number + 1) * extent.span()).min(self.end);
        let whole = |place| Piece { range: self.at..table_end, place };
        match self.tables.load(extent, extent.directory, number)? {
            Cell::Absent => return Ok(whole(Place::Below)),
            Cell::Zeroed => return Ok(whole(Place::Zero)),
            Cell::At(_) => {}
        }
        let grain = self.at / extent.grain;
        let from = (grain % extent.table_len) as usize;
        let rest = self.tables.entries().get(from..).unwrap_or_default();
        let Some(entry) = rest.first().copied() else {
            return Err(ImageError::corrupt("a grain table is too short"));
        };
        let (start, end) = (grain * extent.grain, (grain + 1) * extent.grain);
        let place = match extent.cell(grain, entry)? {
            Cell::At(at) if extent.packing == Packing::None => Place::Stored(at + self.at - start),
            Cell::At(at) => {
                let range = start..end.min(extent.capacity);
                let next = rest.get(1).map(|next| u64::from(*next) * SECTOR);
                let len = extent.reach(at, next);
                let place = match extent.packing {
                    Packing::Marked => Place::Marked { offset: at, len, number: grain },
                    _ => Place::Packed { offset: at, len },
                };
                return Ok(Piece { range, place });
            }
            cell => {
                let same = rest.iter().take_while(|other| **other == entry).count() as u64;
                let end = (start + same * extent.grain).min(self.end);
                let place = if cell == Cell::Absent { Place::Below } else { Place::Zero };
                return Ok(Piece { range: self.at..end, place });
            }
        };
        Ok(Piece { range: self.at..end.min(self.end), place })
    }
}

fn joins(before: &Piece, next: &Piece) -> bool {
    if before.range.end != next.range.start {
        return false;
    }
    let len = before.range.end - before.range.start;
    match (before.place, next.place) {
        (Place::Stored(a), Place::Stored(b)) => a + len == b && len < STORED_MAX,
        (Place::Packed { .. } | Place::Marked { .. }, _) => false,
        (a, b) => a == b,
    }
}
