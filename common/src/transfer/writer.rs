//! Carries out what the format asked for: at once and in parallel where the target can seek, or by
//! one thread in order where it cannot or where the file's checksum is made on the way.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Written by whoever prepared it.
    Direct(Arc<dyn Sink>, Track),
    /// Written in order by one thread.
    Ordered(mpsc::Sender<Batch<T>>),
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
    position: u64,
    read: u64,
    written: u64,
    checkpoint: Option<Checkpoint>,
}

impl Track {
    pub fn new(progress: Arc<dyn DiskProgress>) -> Self {
        Self { done: Mutex::default(), progress }
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that job `index` is written; gives a checkpoint that may be stored now. Only one is
    /// given at a time, until [`Track::stored`].
    fn written(&self, index: u64, mark: Mark) -> Option<Checkpoint> {
        let mut done = self.lock();
        done.later.insert(index, mark);
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
    /// Writes `batch`, or queues it; gives a checkpoint that is due to be stored by the caller, who
    /// tells [`Writer::stored`] when that is done. For [`Writer::Ordered`] calls must come in
    /// order; its thread stores checkpoints itself.
    pub fn write(&self, batch: Batch<T>) -> Result<Option<Checkpoint>> {
        match self {
            Self::Discard(track) => {
                let mark = Mark {
                    position: batch.position,
                    read: batch.read_bytes,
                    written: 0,
                    checkpoint: None,
                };
                Ok(track.written(batch.index, mark))
            }
            Self::Direct(sink, track) => {
                let mut written = 0;
                for op in batch.ops {
                    written += op_bytes(&op);
                    sink.apply(op)?;
                }
                let mark = Mark {
                    position: batch.position,
                    read: batch.read_bytes,
                    written,
                    checkpoint: batch.checkpoint,
                };
                Ok(track.written(batch.index, mark))
            }
            Self::Ordered(queue) => queue
                .send(batch)
                .map(|()| None)
                .map_err(|_| Error::new(ErrorKind::Internal, "the writing thread has ended")),
        }
    }

    /// The checkpoint that [`Writer::write`] gave is stored.
    pub fn stored(&self) {
        match self {
            Self::Discard(track) | Self::Direct(_, track) => track.stored(),
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
        let mut written = 0;
        for op in batch.ops {
            written += op_bytes(&op);
            self.apply(op)?;
        }
        self.progress.advance(batch.position, batch.read_bytes, written);
        match batch.checkpoint {
            Some(checkpoint) => self.store(checkpoint),
            None => Ok(()),
        }
    }

    /// Writes one step, taking it into the checksum.
    pub fn apply(&mut self, op: WriteOp) -> Result<()> {
        if let Some(sum) = &mut self.sum {
            match &op {
                WriteOp::Write { bytes, .. } => sum.update(bytes),
                WriteOp::Zeros { len, .. } => sum.update_zeros(*len),
                WriteOp::SetLen(_) => {}
            }
        }
        self.sink.apply(op)
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
