//! The directory and the tables of a sparse extent, a page and a table at a time.

use super::header::SECTOR;
use super::sparse::{Cell, Sparse};
use crate::image::ImageError;

/// Directory entries read at once.
const PAGE: u64 = 1024;

/// A window on one directory of an extent.
#[derive(Debug, Default)]
pub(super) struct Tables {
    page: Vec<u32>,
    page_number: Option<u64>,
    table: Vec<u32>,
    table_number: Option<u64>,
}

impl Tables {
    /// Loads table `number` of the directory at file offset `directory`, which is always the
    /// same, unless that says that the table holds nothing. [`Cell::At`] is the table's offset.
    pub(super) fn load(
        &mut self,
        extent: &Sparse,
        directory: u64,
        number: u64,
    ) -> Result<Cell, ImageError> {
        let page = number / PAGE;
        if self.page_number != Some(page) {
            let count = extent.tables().saturating_sub(page * PAGE).min(PAGE) as usize;
            self.page_number = None;
            let at = directory + page * PAGE * 4;
            extent.read_entries(at, count, "the grain directory", &mut self.page)?;
            self.page_number = Some(page);
        }
        let entry = self.page.get((number % PAGE) as usize).copied().unwrap_or_default();
        let at = match entry {
            0 => return Ok(Cell::Absent),
            1 if extent.has_zeroed => return Ok(Cell::Zeroed),
            sector => u64::from(sector) * SECTOR,
        };
        if self.table_number != Some(number) {
            self.table_number = None;
            let count = extent.used_entries(number);
            extent.read_entries(at, count, "the grain table", &mut self.table)?;
            self.table_number = Some(number);
        }
        Ok(Cell::At(at))
    }

    /// The entries of the table loaded last.
    pub(super) fn entries(&self) -> &[u32] {
        &self.table
    }
}
