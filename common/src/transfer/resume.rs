//! What a killed or cancelled run leaves so that the next one goes on: the placer's state at a
//! position up to which everything is on disk.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::content::ContentSum;
use super::disk::DiskDone;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::SourceIdentity;
use crate::image::vmdk;

/// A point from which a disk goes on. Everything before `position` is durable in the partial file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Guest bytes that are done.
    pub position: u64,
    /// Length of the partial file that counts; the rest is cut off before going on.
    pub written: u64,
    /// The state of the format's placer.
    pub format: Vec<u8>,
    /// The content checksum so far, where one is made.
    pub content: Option<ContentSum>,
    /// The state of the file checksum, where it is made on the way.
    pub sum: Option<Vec<u8>>,
    /// Guest bytes so far that were neither hole nor zero.
    pub data_bytes: u64,
}

/// What stands in the state file beside a partial file: a checkpoint bound to one source and one
/// way of writing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The source disk's identity; a different one means that nothing may be reused.
    pub source: String,
    /// Everything that decides the artifact's bytes: format, options, version of hyper.
    pub recipe: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far an artifact is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// It goes on from here.
    Part(Checkpoint),
    /// It is the source's own file, copied as far as this.
    Copied(CopyPoint),
    /// All is written; only the final name is missing.
    Complete(Complete),
}

impl Progress {
    /// Length of the file that counts.
    pub fn written(&self) -> u64 {
        match self {
            Self::Part(point) => point.written,
            Self::Copied(point) => point.at,
            Self::Complete(done) => done.size,
        }
    }
}

/// A point from which a copy goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyPoint {
    /// Bytes that are copied and durable.
    pub at: u64,
    /// Guest bytes that they cover.
    pub position: u64,
    /// The states of the checksums being made.
    pub sums: Vec<(super::sum::SumKind, Vec<u8>)>,
    /// What is known of the file's structure so far.
    pub check: Option<vmdk::StreamCheck>,
}

/// Facts of a complete artifact that waits for the rest of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// File length in bytes.
    pub size: u64,
    /// The file checksum, where one was made.
    pub sum: Option<super::sum::FileSum>,
    /// The content checksum, where one was made.
    pub content: Option<super::content::Content>,
    /// Guest bytes that were neither hole nor zero.
    pub data_bytes: u64,
    /// The file, by which it is known again under its final name; none for a member of a package.
    pub file: Option<SourceIdentity>,
}

impl Complete {
    /// What a run of the engine came to, its file not yet looked at.
    pub(super) fn of(done: &DiskDone) -> Self {
        let DiskDone { content, sum, size, data_bytes, .. } = done.clone();
        Self { size, sum, content, data_bytes, file: None }
    }
}

/// Version tag at the front of a state file; another one is not read.
const TAG: &[u8; 8] = b"hyperst3";

impl State {
    /// The bytes of a state file, with a checksum so that a torn file is not believed.
    ///
    /// # Errors
    /// `Internal` where the state cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        seal(TAG, self)
    }

    /// The state in `bytes`; `None` where they are torn, of another version, or no state at all.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        unseal(TAG, bytes)
    }
}

/// `state` in bytes, behind a tag and a checksum.
pub(super) fn seal(tag: &[u8; 8], state: &impl Serialize) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(state).map_err(|error| {
        Error::new(ErrorKind::Internal, "write the resume state").with_source(error)
    })?;
    let mut bytes = tag.to_vec();
    bytes.extend_from_slice(blake3::hash(&body).as_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// What [`seal`] made bytes of.
pub(super) fn unseal<T: DeserializeOwned>(tag: &[u8; 8], bytes: &[u8]) -> Option<T> {
    let rest = bytes.strip_prefix(tag)?;
    let (sum, body) = rest.split_at_checked(32)?;
    if blake3::hash(body).as_bytes() != sum {
        return None;
    }
    postcard::from_bytes(body).ok()
}

/// When and how checkpoints are taken.
#[derive(Clone)]
pub struct Checkpointing {
    /// Time between checkpoints.
    pub every: Duration,
    /// Stores one durably. Called after the data it speaks of was synced.
    pub store: Arc<dyn Fn(Checkpoint) -> Result<()> + Send + Sync>,
}

impl std::fmt::Debug for Checkpointing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpointing({:?})", self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_state_is_not_believed() {
        let state = State {
            source: "a".into(),
            recipe: "b".into(),
            progress: Progress::Part(Checkpoint {
                position: 1,
                written: 2,
                format: vec![3; 100],
                content: None,
                sum: None,
                data_bytes: 4,
            }),
        };
        let bytes = state.to_bytes().unwrap();
        assert_eq!(State::from_bytes(&bytes), Some(state));
        for cut in 0..bytes.len() {
            assert_eq!(State::from_bytes(&bytes[..cut]), None);
        }
        let mut flipped = bytes.clone();
        flipped[60] ^= 1;
        assert_eq!(State::from_bytes(&flipped), None);
    }
}
