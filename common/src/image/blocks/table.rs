//! Tables of fixed-width entries. Neither reading nor writing holds more than one window of a
//! table, however long it is.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::image::{ImageError, ReadAt, WriteOp};

/// Bytes of a table in memory at once.
const WINDOW: usize = 65_536;

/// How an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Width {
    /// 32 bits, big-endian.
    Be32,
    /// 32 bits, little-endian.
    Le32,
    /// 64 bits, little-endian.
    Le64,
}

impl Width {
    /// Bytes of an entry.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Be32 | Self::Le32 => 4,
            Self::Le64 => 8,
        }
    }

    fn read(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Be32 => super::be32(bytes, 0).into(),
            Self::Le32 => super::le32(bytes, 0).into(),
            Self::Le64 => super::le64(bytes, 0),
        }
    }

    fn write(self, value: u64, bytes: &mut Vec<u8>) {
        match self {
            Self::Be32 => bytes.extend_from_slice(&(value as u32).to_be_bytes()),
            Self::Le32 => bytes.extend_from_slice(&(value as u32).to_le_bytes()),
            Self::Le64 => bytes.extend_from_slice(&value.to_le_bytes()),
        }
    }
}

/// A table in a file.
#[derive(Debug)]
pub struct Table {
    file: Arc<dyn ReadAt>,
    at: u64,
    entries: u64,
    width: Width,
}

/// The part of a table that a reader has at hand.
#[derive(Debug, Default)]
pub struct Window {
    first: u64,
    bytes: Vec<u8>,
}

impl Table {
    /// The table of `entries` entries at file offset `at`.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] where it leaves the file.
    pub fn new(
        file: Arc<dyn ReadAt>,
        at: u64,
        entries: u64,
        width: Width,
    ) -> Result<Self, ImageError> {
        let end = entries.checked_mul(width.bytes()).and_then(|len| len.checked_add(at));
        if end.is_none_or(|end| end > file.len()) {
            return Err(ImageError::Truncated(format!(
                "the block table at byte {at} has {entries} entries and leaves the file of {} bytes",
                file.len()
            )));
        }
        Ok(Self { file, at, entries, width })
    }

    /// Number of entries.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The bytes of the file that the table takes.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.at..self.at + self.entries * self.width.bytes()
    }

    /// The entry at `index` and how many entries from there on are equal to it, at least 1 and at
    /// most `limit`. Longer runs may come in parts.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] past the end of the table; a failed read.
    pub fn run(
        &self,
        window: &mut Window,
        index: u64,
        limit: u64,
    ) -> Result<(u64, u64), ImageError> {
        if index >= self.entries {
            return Err(ImageError::corrupt(format!(
                "the block table has {} entries, too few for the disk",
                self.entries
            )));
        }
        let width = self.width.bytes();
        let held = window.bytes.len() as u64 / width;
        if index < window.first || index - window.first >= held {
            let count = (self.entries - index).min(WINDOW as u64 / width);
            window.bytes.resize((count * width) as usize, 0);
            window.first = index;
            let read = self.file.read_exact_at(&mut window.bytes, self.at + index * width);
            if let Err(error) = read {
                window.bytes.clear();
                return Err(error.into());
            }
        }
        let skip = ((index - window.first) * width) as usize;
        let mut entries = window.bytes.get(skip..).unwrap_or_default().chunks_exact(width as usize);
        let first = entries.next().unwrap_or_default();
        let most = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        let same = entries.take(most).take_while(|entry| *entry == first).count() as u64;
        Ok((self.width.read(first), same + 1))
    }
}

/// Writes a table in ascending order; what is complete leaves at once.
#[derive(Debug, Serialize, Deserialize)]
pub struct TableWriter {
    at: u64,
    width: Width,
    window: Vec<u8>,
}

impl TableWriter {
    /// A table that starts at file offset `at`.
    pub fn new(at: u64, width: Width) -> Self {
        Self { at, width, window: Vec::new() }
    }

    /// Appends `count` entries of `value`.
    pub fn push(&mut self, value: u64, mut count: u64, out: &mut Vec<WriteOp>) {
        let width = self.width.bytes();
        while count > 0 && !self.window.is_empty() {
            self.width.write(value, &mut self.window);
            count -= 1;
            if self.window.len() >= WINDOW {
                self.flush(out);
            }
        }
        let whole = count * width / WINDOW as u64;
        self.push_windows(value, whole, out);
        for _ in 0..count - whole * (WINDOW as u64 / width) {
            self.width.write(value, &mut self.window);
        }
    }

    /// Many equal entries share one window in memory, and zeros need none.
    fn push_windows(&mut self, value: u64, windows: u64, out: &mut Vec<WriteOp>) {
        if windows == 0 {
            return;
        }
        if value == 0 {
            let len = windows * WINDOW as u64;
            out.push(WriteOp::Zeros { at: self.at, len });
            self.at += len;
            return;
        }
        let mut window = Vec::with_capacity(WINDOW);
        while window.len() < WINDOW {
            self.width.write(value, &mut window);
        }
        let window = Bytes::from(window);
        for _ in 0..windows {
            out.push(WriteOp::Write { at: self.at, bytes: window.clone() });
            self.at += WINDOW as u64;
        }
    }

    /// Hands on what is left.
    pub fn flush(&mut self, out: &mut Vec<WriteOp>) {
        let len = self.window.len() as u64;
        if len == 0 {
            return;
        }
        if self.window.iter().all(|byte| *byte == 0) {
            out.push(WriteOp::Zeros { at: self.at, len });
            self.window.clear();
        } else {
            let bytes = std::mem::take(&mut self.window).into();
            out.push(WriteOp::Write { at: self.at, bytes });
        }
        self.at += len;
    }
}
