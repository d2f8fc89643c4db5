//! What walking the extents does not see: structures that overlap, redundant tables that differ,
//! files that were not closed.

use std::fmt::Arguments;

use super::header::SECTOR;
use super::layer::Layer;
use super::sparse::{Cell, Packing, Sparse};
use super::tables::Tables;
use crate::image::ImageError;

/// Sectors of a file that are looked at in one pass (64 GiB): a bitmap of 16 MiB.
const WINDOW: u64 = 1 << 27;

/// Checks every sparse extent of every layer. Findings that leave the bytes readable are
/// returned; the first overlap is the error.
pub(super) fn check(layers: &[Layer]) -> Result<Vec<String>, ImageError> {
    let mut findings = Vec::new();
    for layer in layers {
        findings.extend(layer.remarks.iter().cloned());
        for extent in layer.sparse() {
            check_overlap(extent)?;
            if extent.unclean {
                findings.push(format!("{}the file was not closed by its writer", extent.label));
            }
            if let Some(redundant) = extent.redundant {
                findings.extend(check_redundant(extent, redundant));
            }
        }
    }
    Ok(findings)
}

/// Marks what every structure of the file occupies, window by window.
fn check_overlap(extent: &Sparse) -> Result<(), ImageError> {
    let sectors = extent.file.len().div_ceil(SECTOR);
    let mut start = 0;
    while start < sectors {
        let end = sectors.min(start + WINDOW);
        let mut map = Map::new(start, end);
        map.mark(extent, 0, extent.header_len, format_args!("the header"))?;
        map.mark(extent, extent.directory, extent.tables() * 4, format_args!("the directory"))?;
        let mut tables = Tables::default();
        for number in 0..extent.tables() {
            let Cell::At(at) = tables.load(extent, extent.directory, number)? else { continue };
            let len = tables.entries().len() as u64 * 4;
            map.mark(extent, at, len, format_args!("grain table {number}"))?;
            let first = number * extent.table_len;
            for (grain, entry) in (first..).zip(tables.entries()) {
                if let Cell::At(at) = extent.cell(grain, *entry)? {
                    mark_grain(&mut map, extent, grain, at)?;
                }
            }
        }
        start = end;
    }
    Ok(())
}

fn mark_grain(map: &mut Map, extent: &Sparse, grain: u64, at: u64) -> Result<(), ImageError> {
    let len = match extent.packing {
        Packing::None => extent.grain.min(extent.capacity - grain * extent.grain),
        // The length is not known; only that two do not start at the same place is.
        Packing::Unmarked => 1,
        Packing::Marked => {
            let reach = super::header::stream_max(extent.grain) + SECTOR;
            if !map.reaches(at, reach) {
                return Ok(());
            }
            let (start, len) = extent.stream(grain, at)?;
            start - at + u64::from(len)
        }
    };
    map.mark(extent, at, len, format_args!("grain {grain}"))
}

/// Which sectors of a window are taken.
struct Map {
    start: u64,
    end: u64,
    bits: Vec<u64>,
}

impl Map {
    fn new(start: u64, end: u64) -> Self {
        Self { start, end, bits: vec![0; (end - start).div_ceil(64) as usize] }
    }

    fn reaches(&self, at: u64, len: u64) -> bool {
        at / SECTOR < self.end && (at + len).div_ceil(SECTOR) > self.start
    }

    fn mark(
        &mut self,
        extent: &Sparse,
        at: u64,
        len: u64,
        what: Arguments<'_>,
    ) -> Result<(), ImageError> {
        if len == 0 || !self.reaches(at, len) {
            return Ok(());
        }
        let from = (at / SECTOR).max(self.start) - self.start;
        let to = (at + len).div_ceil(SECTOR).min(self.end) - self.start;
        for sector in from..to {
            let bit = 1 << (sector % 64);
            let Some(word) = self.bits.get_mut((sector / 64) as usize) else { break };
            if *word & bit != 0 {
                return Err(ImageError::corrupt(format!(
                    "{}{what} lies at byte {at}, where something else already is",
                    extent.label
                )));
            }
            *word |= bit;
        }
        Ok(())
    }
}

/// How the redundant tables differ from those that are used, if they do.
fn check_redundant(extent: &Sparse, directory: u64) -> Option<String> {
    let unreadable = || Some(format!("{}the redundant tables cannot be read", extent.label));
    if extent.check_directory(directory).is_err() {
        return unreadable();
    }
    let (mut used, mut spare) = (Tables::default(), Tables::default());
    let mut differ = 0_u64;
    for number in 0..extent.tables() {
        let (Ok(first), Ok(second)) =
            (used.load(extent, extent.directory, number), spare.load(extent, directory, number))
        else {
            return unreadable();
        };
        let same = match (first, second) {
            (Cell::At(_), Cell::At(_)) => used.entries() == spare.entries(),
            (first, second) => first == second,
        };
        differ += u64::from(!same);
    }
    (differ > 0).then(|| format!("{}{differ} redundant grain tables are stale", extent.label))
}
