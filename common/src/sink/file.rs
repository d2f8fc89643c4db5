//! A local file, written under a temporary name and named at commit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Sink;
use crate::error::{Error, Result};
use crate::fs::Claim;
use crate::image::{ReadAt, WriteOp};

/// A file of this machine. May be written from several threads at once.
#[derive(Debug)]
pub struct FileSink {
    file: Arc<File>,
    path: PathBuf,
    overwrite: bool,
    claim: Mutex<Option<Claim>>,
}

impl FileSink {
    /// A fresh partial file under `claim`. With `overwrite` the commit replaces what stands under
    /// the final name.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn create(claim: Claim, overwrite: bool) -> Result<Self> {
        let file = claim.create()?;
        Ok(Self::of(file, claim, overwrite))
    }

    /// The partial file of an earlier run, cut to the `written` bytes that its state vouches for.
    /// `Err` gives the claim back where there is no such file.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn resume(
        claim: Claim,
        overwrite: bool,
        written: u64,
    ) -> Result<std::result::Result<Self, Claim>> {
        let Some(file) = claim.resume()? else { return Ok(Err(claim)) };
        let failed = |error| Error::io("reuse the partial file", error);
        if file.metadata().map_err(failed)?.len() < written {
            return Ok(Err(claim));
        }
        file.set_len(written).map_err(failed)?;
        Ok(Ok(Self::of(file, claim, overwrite)))
    }

    fn of(file: File, claim: Claim, overwrite: bool) -> Self {
        let path = claim.target().path().to_path_buf();
        Self { file: Arc::new(file), path, overwrite, claim: Mutex::new(Some(claim)) }
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let full = error.kind() == std::io::ErrorKind::StorageFull
            || error.kind() == std::io::ErrorKind::QuotaExceeded;
        let limited = error.kind() == std::io::ErrorKind::FileTooLarge;
        let error = Error::io("write", error).with_subject(self.path.display().to_string());
        if limited {
            return error.with_hint(
                "a limit of this process (ulimit -f) or of the file system allows no larger file",
            );
        }
        if full {
            return error.with_hint("free some space, then run the same command again");
        }
        error
    }

    fn take_claim(&self) -> Option<Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Sink for FileSink {
    fn seekable(&self) -> bool {
        true
    }

    fn apply(&self, op: WriteOp) -> Result<()> {
        let done = match op {
            WriteOp::Write { at, bytes } => self.file.write_all_at(&bytes, at),
            // The file was empty, or cut where its state vouches for it: what is not written
            // reads as zero.
            WriteOp::Zeros { .. } => Ok(()),
            WriteOp::SetLen(len) => self.file.set_len(len),
        };
        done.map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    fn read_back(&self) -> Option<Arc<dyn ReadAt>> {
        Some(Arc::new(Written(self.file.clone())))
    }

    fn commit(&self) -> Result<()> {
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*claim {
            held.commit(&self.file, self.overwrite)?;
        }
        // Held on to after a failure, so that it can still be aborted.
        *claim = None;
        Ok(())
    }

    fn abort(&self) -> Option<String> {
        self.take_claim().and_then(Claim::discard)
    }
}

/// The bytes of a file that is being written.
#[derive(Debug)]
struct Written(Arc<File>);

impl ReadAt for Written {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |data| data.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn next_data(&self, from: u64) -> Option<std::ops::Range<u64>> {
        crate::fs::next_data(&self.0, from, self.len())
    }
}
