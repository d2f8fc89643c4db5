//! Carries out what the format asked for: at once and in parallel where the target can seek, or by
//! one thread in order where it cannot or where the file's checksum is made on the way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::resume::{Checkpoint, Checkpointing};
use super::sum::{FileSum, Summer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::WriteOp;
use crate::progress::DiskProgress;
use crate::sink::Sink;

/// One job's writes, in the order of placing.
pub(super) struct Batch<T> {
    /// The job's number.
    pub index: u64,
    /// What to write.
    pub ops: Vec<WriteOp>,
    /// Guest bytes that are done once this and all before are written.
    pub position: u64,
    /// Bytes taken from the source for it.
    pub read_bytes: u64,
    /// The state after it, when a checkpoint is due.
    pub checkpoint: Option<Checkpoint>,
    /// Held until it is written: the job's share of the memory budget.
    pub _token: T,
}

/// Where batches go.
pub(super) enum Writer<T> {
    /// Nothing is written; the run only reads.
    Discard(Track),
    /// Written by pool threads, one at a time.
    Direct(Arc<dyn Sink>, Track, Turns<T>),
    /// Written in order by one thread.
    Ordered(mpsc::Sender<Batch<T>>),
}

/// Batches that wait for the thread whose turn it is to write. File systems let one thread at a
/// time write to a file: others would spin for the inode's lock where they could compress.
pub(super) struct Turns<T> {
    state: Mutex<Turn<T>>,
}

struct Turn<T> {
    waiting: VecDeque<Batch<T>>,
    taken: bool,
    broken: bool,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        let turn = Turn { waiting: VecDeque::new(), taken: false, broken: false };
        Self { state: Mutex::new(turn) }
    }
}

impl<T> Turns<T> {
    fn lock(&self) -> MutexGuard<'_, Turn<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch, unless writing has failed before.
    fn add(&self, batch: Batch<T>) {
        let mut turn = self.lock();
        if !turn.broken {
            turn.waiting.push_back(batch);
        }
    }

    /// Writes what waits, and what is added meanwhile, unless another thread is at it.
    fn write_all(&self, mut write: impl FnMut(Batch<T>) -> Result<()>) -> Result<()> {
        {
            let mut turn = self.lock();
            if std::mem::replace(&mut turn.taken, true) {
                return Ok(());
            }
        }
        // Batches hold shares of the memory budget that others wait for: none may be left behind
        // by an error or a panic.
        let unfinished = Unfinished(self);
        loop {
            let mut turn = self.lock();
            let Some(batch) = turn.waiting.pop_front() else {
                turn.taken = false;
                std::mem::forget(unfinished);
                return Ok(());
            };
            drop(turn);
            write(batch)?;
        }
    }
}

/// Drops what waits, then and later.
struct Unfinished<'a, T>(&'a Turns<T>);

impl<T> Drop for Unfinished<'_, T> {
    fn drop(&mut self) {
        let mut turn = self.0.lock();
        turn.broken = true;
        turn.taken = false;
        turn.waiting.clear();
    }
}

/// How far a disk is written, and the checkpoints that wait for it.
pub(super) struct Track {
    done: Mutex<Done>,
    progress: Arc<dyn DiskProgress>,
}

#[derive(Default)]
struct Done {
    next: u64,
    later: BTreeMap<u64, Mark>,
    checkpoint: Option<Checkpoint>,
    storing: bool,
}

struct Mark {
    index: u64,
    position: u64,
    read: u64,
    written: u64,
    checkpoint: Option<Checkpoint>,
}

impl<T> Batch<T> {
    fn mark(self, written: u64) -> Mark {
        let Self { index, position, read_bytes: read, checkpoint, .. } = self;
        Mark { index, position, read, written, checkpoint }
    }
}

impl Track {
    pub fn new(progress: Arc<dyn DiskProgress>) -> Self {
        Self { done: Mutex::default(), progress }
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a job is written; gives a checkpoint that may be stored now. Only one is given
    /// at a time, until [`Track::stored`].
    fn written(&self, mark: Mark) -> Option<Checkpoint> {
        let mut done = self.lock();
        done.later.insert(mark.index, mark);
        loop {
            let next = done.next;
            let Some(mark) = done.later.remove(&next) else { break };
            done.next += 1;
            self.progress.advance(mark.position, mark.read, mark.written);
            if mark.checkpoint.is_some() {
                done.checkpoint = mark.checkpoint;
            }
        }
        if done.storing {
            return None;
        }
        let checkpoint = done.checkpoint.take();
        done.storing = checkpoint.is_some();
        checkpoint
    }

    fn stored(&self) {
        self.lock().storing = false;
    }
}

impl<T: Send + 'static> Writer<T> {
    /// Takes batches, which come in order. What waits is written by [`Writer::write`].
    ///
    /// # Errors
    /// `Internal` where the thread of [`Writer::Ordered`] has ended.
    pub fn take(&self, batches: Vec<Batch<T>>) -> Result<()> {
        for batch in batches {
            match self {
                Self::Discard(track) => drop(track.written(batch.mark(0))),
                Self::Direct(_, _, turns) => turns.add(batch),
                Self::Ordered(queue) => queue
                    .send(batch)
                    .map_err(|_| Error::new(ErrorKind::Internal, "the writing thread has ended"))?,
            }
        }
        Ok(())
    }

    /// Writes what waits, unless another thread does. `due` is given checkpoints that speak of
    /// what is written, one at a time: the next comes after [`Writer::stored`]. The thread of
    /// [`Writer::Ordered`] stores them itself.
    ///
    /// # Errors
    /// The sink's, and what `due` answers.
    pub fn write(&self, mut due: impl FnMut(Checkpoint) -> Result<()>) -> Result<()> {
        let Self::Direct(sink, track, turns) = self else { return Ok(()) };
        turns.write_all(|mut batch| {
            let ops = std::mem::take(&mut batch.ops);
            let written = ops.iter().map(op_bytes).sum();
            sink.apply_all(ops)?;
            track.written(batch.mark(written)).map_or(Ok(()), &mut due)
        })
    }

    /// The checkpoint that [`Writer::write`] gave is stored.
    pub fn stored(&self) {
        match self {
            Self::Discard(track) | Self::Direct(_, track, _) => track.stored(),
            Self::Ordered(_) => {}
        }
    }
}

/// Syncs the data, then stores the checkpoint that speaks of it.
pub(super) fn store(
    sink: &dyn Sink,
    checkpointing: Option<&Checkpointing>,
    checkpoint: Checkpoint,
) -> Result<()> {
    let Some(checkpointing) = checkpointing else { return Ok(()) };
    // Zeros at the end were not written. A file shorter than its state says is not gone on with.
    if let (Some(file), Some(last)) = (sink.read_back(), checkpoint.written.checked_sub(1))
        && file.len() <= last
    {
        sink.apply(WriteOp::Write { at: last, bytes: Bytes::from_static(&[0]) })?;
    }
    sink.sync()?;
    (checkpointing.store)(checkpoint)
}

pub(super) fn op_bytes(op: &WriteOp) -> u64 {
    match op {
        WriteOp::Write { bytes, .. } => bytes.len() as u64,
        WriteOp::Zeros { .. } | WriteOp::SetLen(_) => 0,
    }
}

/// The one thread of [`Writer::Ordered`].
pub(super) struct OrderedThread {
    pub sink: Arc<dyn Sink>,
    pub sum: Option<Summer>,
    pub progress: Arc<dyn DiskProgress>,
    pub checkpointing: Option<Checkpointing>,
}

impl OrderedThread {
    /// Starts it. `failed` is told of the first failure, after which batches are dropped unwritten.
    pub fn start<T: Send + 'static>(
        mut self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<(mpsc::Sender<Batch<T>>, std::thread::JoinHandle<Self>)> {
        let (sender, queue) = mpsc::channel::<Batch<T>>();
        let thread = std::thread::Builder::new().name("hyper-write".into()).spawn(move || {
            let mut broken = false;
            for batch in queue {
                if broken {
                    continue;
                }
                if let Err(error) = self.write(batch) {
                    broken = true;
                    failed(error);
                }
            }
            self
        });
        thread.map(|thread| (sender, thread)).map_err(|error| Error::io("start a writer", error))
    }

    fn write<T>(&mut self, batch: Batch<T>) -> Result<()> {
        let written = batch.ops.iter().map(op_bytes).sum();
        self.apply(batch.ops)?;
        self.progress.advance(batch.position, batch.read_bytes, written);
        match batch.checkpoint {
            Some(checkpoint) => self.store(checkpoint),
            None => Ok(()),
        }
    }

    /// Writes steps, taking them into the checksum.
    pub fn apply(&mut self, ops: Vec<WriteOp>) -> Result<()> {
        if let Some(sum) = &mut self.sum {
            for op in &ops {
                match op {
                    WriteOp::Write { bytes, .. } => sum.update(bytes),
                    WriteOp::Zeros { len, .. } => sum.update_zeros(*len),
                    WriteOp::SetLen(_) => {}
                }
            }
        }
        self.sink.apply_all(ops)
    }

    /// Stores a checkpoint together with the checksum's state.
    pub fn store(&self, mut checkpoint: Checkpoint) -> Result<()> {
        checkpoint.sum = self.sum.as_ref().map(Summer::save);
        store(self.sink.as_ref(), self.checkpointing.as_ref(), checkpoint)
    }

    /// The finished checksum.
    pub fn finish(self) -> Option<FileSum> {
        self.sum.map(Summer::finish)
    }
}
