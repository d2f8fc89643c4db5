//! Checking the structure of a streamOptimized VMDK that is copied as it is.

use serde::{Deserialize, Serialize};

use super::follow::{Follower, Want};
use super::header::{Header, SECTOR};
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
