//! The bytes of an image file, as formats see them.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Random access to the bytes of an image file. Formats know files by this trait alone, so that
/// a local file, a member of an OVA and bytes in memory read alike.
pub trait ReadAt: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before, else what the operating system said.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()>;

    /// The first run at or after `from` that may hold data, clipped to the file; what lies before
    /// it is a hole of the file system and reads as zero. `None`: only holes follow.
    fn next_data(&self, from: u64) -> Option<Range<u64>> {
        (from < self.len()).then(|| from..self.len())
    }
}

impl ReadAt for Bytes {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= ReadAt::len(self));
        let Some(end) = end else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        buf.copy_from_slice(&self[offset as usize..end as usize]);
        Ok(())
    }
}

/// A part of a file that is a file of its own, such as a member of an OVA.
#[derive(Debug, Clone)]
pub struct Window {
    file: Arc<dyn ReadAt>,
    range: Range<u64>,
}

impl Window {
    /// The bytes `range` of `file`; `None` where the range leaves the file.
    pub fn new(file: Arc<dyn ReadAt>, range: Range<u64>) -> Option<Self> {
        (range.start <= range.end && range.end <= file.len()).then_some(Self { file, range })
    }
}

impl ReadAt for Window {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len());
        if end.is_none() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, self.range.start + offset)
    }

    fn next_data(&self, from: u64) -> Option<Range<u64>> {
        if from >= self.len() {
            return None;
        }
        let found = self.file.next_data(self.range.start + from)?;
        let start = found.start.max(self.range.start + from) - self.range.start;
        let end = found.end.min(self.range.end).saturating_sub(self.range.start);
        (start < end).then_some(start..end)
    }
}
