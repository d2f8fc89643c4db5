//! File checksums: SHA-256 or SHA-1 of an artifact's bytes, with a state that can be saved.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::digest::Digest;
use sha2::digest::common::hazmat::SerializableState;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::image::ReadAt;

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SumKind {
    /// FIPS 180-4 SHA-256.
    Sha256,
    /// SHA-1, for readers of OVF packages that know no better.
    Sha1,
}

impl SumKind {
    /// The name in records and flags: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
        }
    }
}

/// A finished checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// The algorithm.
    pub kind: SumKind,
    /// Lower-case hex.
    pub hex: String,
}

impl std::fmt::Display for FileSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.hex)
    }
}

/// A checksum being made.
#[derive(Debug, Clone)]
pub enum Summer {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-1.
    Sha1(sha1::Sha1),
}

impl Summer {
    /// An empty checksum.
    pub fn new(kind: SumKind) -> Self {
        match kind {
            SumKind::Sha256 => Self::Sha256(sha2::Sha256::new()),
            SumKind::Sha1 => Self::Sha1(sha1::Sha1::new()),
        }
    }

    /// The algorithm.
    pub fn kind(&self) -> SumKind {
        match self {
            Self::Sha256(_) => SumKind::Sha256,
            Self::Sha1(_) => SumKind::Sha1,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
        }
    }

    /// Takes `len` zeros.
    pub fn update_zeros(&mut self, mut len: u64) {
        let zeros = [0; 16 << 10];
        while len > 0 {
            let part = len.min(zeros.len() as u64);
            self.update(&zeros[..part as usize]);
            len -= part;
        }
    }

    /// The checksum of everything taken.
    pub fn finish(self) -> FileSum {
        let kind = self.kind();
        let bytes = match self {
            Self::Sha256(state) => state.finalize().to_vec(),
            Self::Sha1(state) => state.finalize().to_vec(),
        };
        FileSum { kind, hex: hex(&bytes) }
    }

    /// The state, from which [`Summer::restore`] goes on.
    pub fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha256(state) => state.serialize().to_vec(),
            Self::Sha1(state) => state.serialize().to_vec(),
        }
    }

    /// Goes on from a saved state; `None` where the state is not one.
    pub fn restore(kind: SumKind, state: &[u8]) -> Option<Self> {
        match kind {
            SumKind::Sha256 => {
                sha2::Sha256::deserialize(state.try_into().ok()?).ok().map(Self::Sha256)
            }
            SumKind::Sha1 => sha1::Sha1::deserialize(state.try_into().ok()?).ok().map(Self::Sha1),
        }
    }
}

/// The checksum of a whole file. Blocks; not for a tokio worker.
///
/// # Errors
/// The read's, or `Interrupted` when cancelled.
pub fn sum_file(file: &Arc<dyn ReadAt>, kind: SumKind, cancel: &Cancel) -> Result<FileSum> {
    let mut summer = Summer::new(kind);
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < file.len() {
        cancel.check()?;
        let part = (file.len() - at).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..part], at).map_err(|error| {
            Error::new(ErrorKind::Io, "read it back for the checksum").with_source(error)
        })?;
        summer.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(summer.finish())
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_goes_on() {
        for kind in [SumKind::Sha256, SumKind::Sha1] {
            let mut whole = Summer::new(kind);
            whole.update(b"hello ");
            let mut resumed = Summer::restore(kind, &whole.save()).unwrap();
            whole.update(b"world");
            resumed.update(b"world");
            assert_eq!(whole.finish(), resumed.finish());
        }
        let mut summer = Summer::new(SumKind::Sha256);
        summer.update(b"abc");
        assert!(summer.finish().hex.starts_with("ba7816bf"));
    }

    #[test]
    fn zeros_are_zeros() {
        let (mut a, mut b) = (Summer::new(SumKind::Sha256), Summer::new(SumKind::Sha256));
        a.update_zeros(40_000);
        b.update(&vec![0; 40_000]);
        assert_eq!(a.finish(), b.finish());
    }
}
