//! A local file, written under a temporary name and named at commit.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

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
    /// Whether the state outlives the naming, until [`Sink::settle`].
    hold: bool,
    claim: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    claim: Option<Claim>,
    named: bool,
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
        let len = file.metadata().map_err(failed)?.len();
        if len < written {
            return Ok(Err(claim));
        }
        // A file that is whole keeps the time by which it is known.
        if len > written {
            file.set_len(written).map_err(failed)?;
        }
        Ok(Ok(Self::of(file, claim, overwrite)))
    }

    /// The file that an earlier run wrote and named, but did not settle.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn named(claim: Claim) -> Result<Self> {
        let path = claim.target().path();
        let file = File::open(path).map_err(|error| Error::io("open", error))?;
        let mut sink = Self::of(file, claim, false);
        sink.claim.get_mut().unwrap_or_else(PoisonError::into_inner).named = true;
        Ok(sink.held())
    }

    /// The same, with a state that outlives the naming until [`Sink::settle`].
    #[must_use]
    pub fn held(self) -> Self {
        Self { hold: true, ..self }
    }

    fn of(file: File, claim: Claim, overwrite: bool) -> Self {
        let path = claim.target().path().to_path_buf();
        let claim = Mutex::new(Held { claim: Some(claim), named: false });
        Self { file: Arc::new(file), path, overwrite, hold: false, claim }
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file system can hold a file of `len` bytes at all; holes do not count against
    /// free space.
    ///
    /// # Errors
    /// `Unsupported` where it cannot; what the operating system said.
    pub fn check_room(&self, len: u64) -> Result<()> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < len) {
            // A limit of the process, which much of a sparse file may never meet.
            return Ok(());
        }
        match self.file.set_len(len).and_then(|()| self.file.set_len(0)) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let text = format!("the file system cannot hold a file of {len} bytes");
                Err(Error::unsupported(text)
                    .with_subject(self.path.display().to_string())
                    .with_hint("write to another file system, or as qcow2, which is smaller"))
            }
            Err(error) => Err(self.failed(error)),
            Ok(()) => Ok(()),
        }
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

    fn claim(&self) -> MutexGuard<'_, Held> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn apply_all(&self, ops: Vec<WriteOp>) -> Result<()> {
        let mut joined = Joined::default();
        for op in ops {
            match op {
                WriteOp::Write { at, bytes } => {
                    if !joined.fits(at) {
                        joined.write(&self.file).map_err(|error| self.failed(error))?;
                    }
                    joined.push(at, bytes);
                }
                WriteOp::Zeros { .. } => {}
                WriteOp::SetLen(_) => {
                    joined.write(&self.file).map_err(|error| self.failed(error))?;
                    self.apply(op)?;
                }
            }
        }
        joined.write(&self.file).map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    fn read_back(&self) -> Option<Arc<dyn ReadAt>> {
        Some(Arc::new(Written(self.file.clone())))
    }

    fn commit(&self) -> Result<()> {
        let mut held = self.claim();
        if let (Some(claim), false) = (&held.claim, held.named) {
            // Held on to after a failure, so that it can still be aborted.
            claim.name(&self.file, self.overwrite)?;
            held.named = true;
        }
        drop(held);
        if !self.hold {
            self.settle();
        }
        Ok(())
    }

    fn settle(&self) {
        let mut held = self.claim();
        if held.named
            && let Some(claim) = held.claim.take()
        {
            claim.forget();
        }
    }

    fn abort(&self) -> Option<String> {
        let mut held = self.claim();
        let claim = held.claim.take()?;
        if held.named { None } else { claim.discard() }
    }
}

/// Pieces that follow each other in a file, to be written by one call.
#[derive(Default)]
struct Joined {
    at: u64,
    end: u64,
    pieces: Vec<Bytes>,
}

impl Joined {
    /// Pieces of one call: what Linux takes at most (`UIO_MAXIOV`).
    const MOST: usize = 1024;

    /// Whether a piece at `at` can follow.
    fn fits(&self, at: u64) -> bool {
        self.pieces.is_empty() || at == self.end && self.pieces.len() < Self::MOST
    }

    fn push(&mut self, at: u64, bytes: Bytes) {
        if self.pieces.is_empty() {
            (self.at, self.end) = (at, at);
        }
        if !bytes.is_empty() {
            self.end += bytes.len() as u64;
            self.pieces.push(bytes);
        }
    }

    /// Writes the pieces and forgets them.
    fn write(&mut self, file: &File) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> =
            self.pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        let mut at = self.at;
        while !rest.is_empty() {
            match rustix::io::pwritev(file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.pieces.clear();
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Target;

    #[test]
    fn pieces_land_where_they_belong_whether_they_follow_each_other_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let sink = FileSink::create(Target::new(&path).unwrap().claim().unwrap(), false).unwrap();
        let mut expected = vec![0; 40_000];
        let mut ops = Vec::new();
        let mut put = |at: usize, len: usize| {
            let bytes: Vec<u8> = (at..at + len).map(|n| (n % 251) as u8 + 1).collect();
            expected[at..at + len].copy_from_slice(&bytes);
            ops.push(WriteOp::Write { at: at as u64, bytes: bytes.into() });
        };
        // More pieces in a row than one call takes, a gap, a piece of nothing, a step back.
        (0..2_500).for_each(|n| put(n * 7, 7));
        put(20_000, 3_000);
        put(23_000, 0);
        put(23_000, 10);
        put(18_000, 5);
        ops.push(WriteOp::Zeros { at: 30_000, len: 5 });
        ops.push(WriteOp::SetLen(39_000));
        put_last(&mut ops, &mut expected);
        sink.apply_all(ops).unwrap();
        sink.commit().unwrap();
        assert!(std::fs::read(path).unwrap() == expected);
    }

    fn put_last(ops: &mut Vec<WriteOp>, expected: &mut Vec<u8>) {
        expected.truncate(39_000);
        expected[38_998..].copy_from_slice(b"ab");
        ops.push(WriteOp::Write { at: 38_998, bytes: Bytes::from_static(b"ab") });
    }
}
