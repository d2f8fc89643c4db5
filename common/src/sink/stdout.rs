//! A pipe: bytes in order, nothing twice.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::Sink;
use crate::error::{Error, Result};
use crate::image::{ReadAt, WriteOp};

/// A target that only takes bytes in order: stdout, usually.
pub struct PipeSink {
    state: Mutex<(Box<dyn Write + Send>, u64)>,
}

impl std::fmt::Debug for PipeSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PipeSink")
    }
}

impl PipeSink {
    /// Writes to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { state: Mutex::new((out, 0)) }
    }

    /// Writes to this process's stdout, unbuffered.
    ///
    /// # Errors
    /// `Io` where stdout is closed.
    pub fn stdout() -> Result<Self> {
        use std::os::fd::AsFd;
        let out = std::io::stdout().as_fd().try_clone_to_owned();
        let out = out.map_err(|error| Error::io("open stdout", error))?;
        Ok(Self::new(Box::new(std::fs::File::from(out))))
    }
}

impl Sink for PipeSink {
    fn seekable(&self) -> bool {
        false
    }

    fn apply(&self, op: WriteOp) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, position) = &mut *state;
        let (at, len) = match &op {
            WriteOp::Write { at, bytes } => (*at, bytes.len() as u64),
            WriteOp::Zeros { at, len } => (*at, *len),
            WriteOp::SetLen(len) => (*len, 0),
        };
        if at != *position {
            let text = format!("a pipe at byte {position} was to be written at byte {at}");
            return Err(Error::new(crate::error::ErrorKind::Internal, text));
        }
        let done = match op {
            WriteOp::Write { bytes, .. } => out.write_all(&bytes),
            WriteOp::Zeros { len, .. } => write_zeros(out.as_mut(), len),
            WriteOp::SetLen(_) => Ok(()),
        };
        done.map_err(|error| {
            let closed = error.kind() == std::io::ErrorKind::BrokenPipe;
            let error = Error::io("write to stdout", error);
            if closed { error.with_hint("the reader closed the pipe early") } else { error }
        })?;
        *position += len;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn read_back(&self) -> Option<Arc<dyn ReadAt>> {
        None
    }

    fn commit(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.flush().map_err(|error| Error::io("write to stdout", error))
    }

    fn abort(&self) -> Option<String> {
        None
    }
}

fn write_zeros(out: &mut dyn Write, mut len: u64) -> std::io::Result<()> {
    let zeros = [0; 64 << 10];
    while len > 0 {
        let part = len.min(zeros.len() as u64);
        out.write_all(&zeros[..part as usize])?;
        len -= part;
    }
    Ok(())
}
