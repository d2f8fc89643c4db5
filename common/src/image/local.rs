//! Local files as image bytes.

use std::ops::Range;

use super::ReadAt;
use crate::fs::FileBytes;

impl ReadAt for FileBytes {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        Self::read_exact_at(self, buf, offset)
    }

    fn next_data(&self, from: u64) -> Option<Range<u64>> {
        Self::next_data(self, from)
    }
}
