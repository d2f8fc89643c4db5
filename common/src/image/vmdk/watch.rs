//! Checking the structure of a streamOptimized VMDK that is copied as it is.

use serde::{Deserialize, Serialize};

use super::follow::{Follower, Want};
use super::header::{Header, SECTOR, SPARSE_MAGIC};
use crate::image::ImageError;

/// Follows a streamOptimized VMDK that passes by in pieces of any length, without inflating it:
/// every grain that the tables name must come, in order, then footer and end marker in the
/// layout that has them. Serialisable, so that a copy that was interrupted goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCheck {
    follower: Follower,
    /// The front of what the follower wants to take.
    held: Vec<u8>,
    /// Bytes still to go by.
    passing: u64,
}

/// What a stream held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFacts {
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Grains in the stream.
    pub grains: u64,
    /// Guest bytes that the grains cover.
    pub populated_bytes: u64,
}

impl Default for StreamCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamCheck {
    /// Before the first byte.
    pub fn new() -> Self {
        Self { follower: Follower::new(), held: Vec::new(), passing: 0 }
    }

    /// Follows the next bytes.
    ///
    /// # Errors
    /// [`ImageError::Unsupported`] where it is no stream, [`ImageError::Corrupt`] where it
    /// contradicts its format.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let part = self.passing.min(bytes.len() as u64);
                bytes = bytes.get(part as usize..).unwrap_or_default();
                self.passing -= part;
                if self.passing == 0 {
                    self.follower.passed()?;
                }
                continue;
            }
            match self.follower.want() {
                Want::Take(len) => {
                    let part = (len - self.held.len()).min(bytes.len());
                    let (front, rest) = bytes.split_at_checked(part).unwrap_or_default();
                    bytes = rest;
                    self.held.extend_from_slice(front);
                    if self.held.len() == len {
                        let held = std::mem::take(&mut self.held);
                        self.follower.took(&held)?;
                        self.held = held;
                        self.held.clear();
                    }
                }
                Want::Pass(len) => self.passing = len,
                Want::Grain { len, .. } => self.passing = u64::from(len),
                Want::Rest => {
                    self.follower.rest(bytes)?;
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    /// How far on the disk the stream has come: the guest byte behind the last grain.
    pub fn position(&self) -> u64 {
        let unit = self.follower.header().map_or(0, Header::grain_bytes);
        self.follower.last_grain().map_or(0, |last| (last + 1) * unit)
    }

    /// The stream has ended: was it whole?
    ///
    /// # Errors
    /// [`ImageError::Truncated`] where something is missing, [`ImageError::Corrupt`] where
    /// tables and grains contradict each other.
    pub fn finish(mut self) -> Result<StreamFacts, ImageError> {
        self.follower.end(self.held.len() + self.passing as usize)?;
        let Some(header) = self.follower.header() else {
            return Err(ImageError::Truncated("the VMDK stream is empty".into()));
        };
        let (capacity, unit) = (header.capacity * SECTOR, header.grain_bytes());
        let grains = self.follower.grains();
        let beyond = match self.follower.last_grain() {
            Some(last) => ((last + 1) * unit).saturating_sub(capacity),
            None => 0,
        };
        Ok(StreamFacts { capacity, grains, populated_bytes: grains * unit - beyond })
    }
}

/// Whether a stream of `len` bytes may end with `tail`, as far as that can be told without
/// following it. One that begins with `front` and has its directory behind the grains ends with a
/// footer and an empty marker, and perhaps with more zeros; of any other nothing can be told.
pub fn ends_whole(front: &[u8], tail: &[u8], len: u64) -> bool {
    let directory = front.get(56..64).unwrap_or_default();
    if !front.starts_with(&SPARSE_MAGIC) || directory != u64::MAX.to_le_bytes() {
        return true;
    }
    if !len.is_multiple_of(SECTOR) {
        return false;
    }
    let sectors = tail.rchunks_exact(SECTOR as usize);
    let empty = sectors.clone().take_while(|sector| sector.iter().all(|byte| *byte == 0)).count();
    let mut rest = sectors.skip(empty);
    empty > 0 && rest.next().is_none_or(|sector| sector.starts_with(&SPARSE_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_a_break() {
        let (mut front, sector) = (vec![0; 64], |byte: u8| vec![byte; SECTOR as usize]);
        front[..4].copy_from_slice(&SPARSE_MAGIC);
        let footer = [&SPARSE_MAGIC[..], &vec![0; 508]].concat();
        let whole = [sector(1), footer.clone(), sector(0)].concat();
        let behind = [&front[..56], &[0xff; 8]].concat();
        assert!(ends_whole(&behind, &whole, 1536));
        assert!(ends_whole(&behind, &[whole.clone(), sector(0)].concat(), 2048));
        for broken in
            [&whole[..1535], &whole[..1024], &whole[..512], &[sector(1), sector(0)].concat()]
        {
            assert!(!ends_whole(&behind, broken, broken.len() as u64));
            assert!(ends_whole(&front, broken, broken.len() as u64), "the directory is in front");
        }
        assert!(!ends_whole(&behind, &[], 0));
        assert!(ends_whole(b"", b"", 0));
    }
}
