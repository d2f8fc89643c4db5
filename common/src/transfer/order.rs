//! Brings prepared jobs back into disk order and lets the format place them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::content::ContentSum;
use super::resume::Checkpoint;
use super::worker::Prepared;
use super::writer::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, ImageError, WriteOp};

/// The ordered half of a disk's run.
pub(super) struct Order<T> {
    next: u64,
    ready: BTreeMap<u64, (Prepared, T)>,
    format: Option<Box<dyn Format>>,
    content: Option<ContentSum>,
    position: u64,
    written: u64,
    data_bytes: u64,
    taken: Instant,
    every: Option<Duration>,
}

impl<T> Order<T> {
    /// Starts at `from` (or at the disk's start); `every` is the time between checkpoints.
    pub fn new(
        format: Option<Box<dyn Format>>,
        content: Option<ContentSum>,
        from: Option<&Checkpoint>,
        every: Option<Duration>,
    ) -> Self {
        Self {
            next: 0,
            ready: BTreeMap::new(),
            format,
            content,
            position: from.map_or(0, |from| from.position),
            written: from.map_or(0, |from| from.written),
            data_bytes: from.map_or(0, |from| from.data_bytes),
            taken: Instant::now(),
            every,
        }
    }

    /// Takes job number `index` and gives the batches that can now be written, in order.
    pub fn push(
        &mut self,
        index: u64,
        prepared: Prepared,
        token: T,
    ) -> std::result::Result<Vec<Batch<T>>, ImageError> {
        self.ready.insert(index, (prepared, token));
        let mut batches = Vec::new();
        while let Some((prepared, token)) = self.ready.remove(&self.next) {
            batches.push(self.place(prepared, token)?);
            self.next += 1;
        }
        Ok(batches)
    }

    /// Drops what waits for its turn.
    pub fn forget(&mut self) {
        self.ready.clear();
    }

    fn place(&mut self, prepared: Prepared, token: T) -> std::result::Result<Batch<T>, ImageError> {
        let Prepared { end, runs, sums, data_bytes, read_bytes } = prepared;
        let mut ops = Vec::new();
        self.position = end;
        if let Some(format) = &mut self.format {
            for run in runs {
                format.place(run, &mut ops)?;
            }
        }
        if let Some(content) = &mut self.content {
            content.extend(sums);
        }
        self.data_bytes += data_bytes;
        self.note(&ops);
        let due = self.every.is_some_and(|every| self.taken.elapsed() >= every);
        let checkpoint = if due { self.checkpoint() } else { None };
        Ok(Batch {
            index: self.next,
            ops,
            position: self.position,
            read_bytes,
            checkpoint,
            _token: token,
        })
    }

    fn note(&mut self, ops: &[WriteOp]) {
        let end = ops.iter().map(op_end).max();
        self.written = self.written.max(end.unwrap_or(0));
    }

    /// The state after everything placed so far.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        self.taken = Instant::now();
        Some(Checkpoint {
            position: self.position,
            written: self.written,
            format: self.format.as_ref()?.save(),
            content: self.content.clone(),
            sum: None,
            data_bytes: self.data_bytes,
        })
    }

    /// Everything was placed, up to `end`: what the format still writes, and the sums.
    ///
    /// # Errors
    /// `Internal` where something was not placed; the format's.
    pub fn finish(&mut self, end: u64) -> Result<Finished> {
        if self.position != end || !self.ready.is_empty() {
            let text = format!("only {} of {end} bytes were placed", self.position);
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let mut ops = Vec::new();
        if let Some(format) = self.format.take() {
            format.finish(&mut ops)?;
        }
        self.note(&ops);
        Ok(Finished {
            ops,
            content: self.content.take(),
            written: self.written,
            data_bytes: self.data_bytes,
        })
    }
}

/// What [`Order::finish`] leaves.
pub(super) struct Finished {
    /// The last writes.
    pub ops: Vec<WriteOp>,
    /// The content checksum.
    pub content: Option<ContentSum>,
    /// The file's length.
    pub written: u64,
    /// Guest bytes that were data.
    pub data_bytes: u64,
}

fn op_end(op: &WriteOp) -> u64 {
    match op {
        WriteOp::Write { at, bytes } => at + bytes.len() as u64,
        WriteOp::Zeros { at, len } => at + len,
        WriteOp::SetLen(len) => *len,
    }
}
