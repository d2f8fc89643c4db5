//! Tables of 64-bit numbers in the file, one page in memory at a time.

use super::header::be64;
use crate::image::{ImageError, ReadAt};

/// Bytes of a page: small, so that many walkers at once cost little; large enough that reading a
/// table is not bound by calls.
const PAGE: u64 = 4096;

/// A reader of table entries that keeps the last page.
#[derive(Debug, Default)]
pub struct Pages {
    start: u64,
    page: Vec<u8>,
}

impl Pages {
    /// The number at `offset`, a multiple of 8, of `file`.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] where it lies past the end of the file.
    pub fn get(&mut self, file: &dyn ReadAt, offset: u64) -> Result<u64, ImageError> {
        if self.page.is_empty() || offset / PAGE * PAGE != self.start {
            self.load(file, offset)?;
        }
        let within = (offset - self.start) as usize;
        if within + 8 > self.page.len() {
            return Err(past_the_end(offset));
        }
        Ok(be64(&self.page, within))
    }

    fn load(&mut self, file: &dyn ReadAt, offset: u64) -> Result<(), ImageError> {
        let start = offset / PAGE * PAGE;
        let len = PAGE.min(file.len().saturating_sub(start));
        if len == 0 {
            return Err(past_the_end(offset));
        }
        self.page.clear();
        self.page.resize(len as usize, 0);
        self.start = start;
        file.read_exact_at(&mut self.page, start).inspect_err(|_| self.page.clear())?;
        Ok(())
    }
}

fn past_the_end(offset: u64) -> ImageError {
    ImageError::Truncated(format!("a table entry at byte {offset} lies past the end of the file"))
}
