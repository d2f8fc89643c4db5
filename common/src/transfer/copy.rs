//! Pass-through: a file copied as it is, hashed on the way by a second thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;

use super::disk::blocking;
use super::engine::Engine;
use super::keep::CHECKPOINT_EVERY;
use super::resume::CopyPoint;
use super::sum::{FileSum, SumKind, Summer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::vmdk::{StreamCheck, StreamFacts};
use crate::image::{ImageError, ReadAt, WriteOp};
use crate::progress::DiskProgress;
use crate::sink::Sink;

/// Bytes of one read.
const PART: u64 = 1 << 20;
/// Parts that wait for the hashing thread at the most.
const QUEUE: usize = 8;

/// Stores a point to go on from; called after the data it speaks of was synced.
pub(super) type StorePoint = Arc<dyn Fn(CopyPoint) -> Result<()> + Send + Sync>;

/// A file to be copied.
pub struct CopyTask {
    /// The file.
    pub file: Arc<dyn ReadAt>,
    /// Where it goes.
    pub sink: Arc<dyn Sink>,
    /// The checksums to make.
    pub sums: Vec<SumKind>,
    /// Whether it is a streamOptimized VMDK, whose structure is followed.
    pub follow: bool,
    /// Guest bytes that progress counts for the whole file.
    pub capacity: u64,
    /// Told how far it is.
    pub progress: Arc<dyn DiskProgress>,
}

/// What a copied file was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDone {
    /// Its checksums, in the order they were asked for.
    pub sums: Vec<FileSum>,
    /// Its length in bytes.
    pub size: u64,
    /// What following its structure found.
    pub facts: Option<StreamFacts>,
}

impl Engine {
    /// Copies a file whole.
    ///
    /// # Errors
    /// The read's, the write's, or what its structure is against; `Interrupted` when cancelled.
    pub async fn copy(&self, task: CopyTask) -> Result<CopyDone> {
        self.copy_from(task, None, None).await
    }

    /// The same from a point on, which the sums and the check of `task` have to fit. Points are
    /// stored with `store`, one more when the run is told to stop.
    pub(super) async fn copy_from(
        &self,
        task: CopyTask,
        from: Option<&CopyPoint>,
        store: Option<StorePoint>,
    ) -> Result<CopyDone> {
        let size = task.file.len();
        let at = from.map_or(0, |from| from.at);
        let look = Look::new(&task, from)?;
        let (sender, queue) = mpsc::sync_channel(QUEUE);
        let looked = tokio::task::spawn_blocking(move || look.run(&queue));
        let mut copying = Copying { task, at, size, sender, store, stored: Instant::now() };
        let copied = self.copy_parts(&mut copying).await;
        if let Err(error) = &copied
            && matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut)
            && let Err(error) = copying.checkpoint().await
        {
            tracing::warn!("no checkpoint could be stored: {}", crate::error::one_line(&error));
        }
        drop(copying);
        let looked = looked.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the hashing thread failed").with_source(error)
        })?;
        copied?;
        let (sums, facts) = looked?;
        Ok(CopyDone { sums, size, facts })
    }

    async fn copy_parts(&self, copying: &mut Copying) -> Result<()> {
        while copying.at < copying.size {
            self.cancel.check()?;
            let len = PART.min(copying.size - copying.at);
            if let Some(limit) = &self.limit {
                tokio::select! {
                    () = limit.take(len) => {}
                    // Seen at the head of the loop.
                    () = self.cancel.cancelled() => continue,
                }
            }
            copying.part(self.buffers.plain.take(len as usize)).await?;
            if copying.stored.elapsed() >= CHECKPOINT_EVERY {
                copying.checkpoint().await?;
            }
        }
        Ok(())
    }
}

/// A copy under way.
struct Copying {
    task: CopyTask,
    at: u64,
    size: u64,
    sender: mpsc::SyncSender<Seen>,
    store: Option<StorePoint>,
    stored: Instant,
}

impl Copying {
    /// Copies the next bytes, as many as `buffer` has room for.
    async fn part(&mut self, mut buffer: super::buffer::Buffer) -> Result<()> {
        let (file, sink) = (self.task.file.clone(), self.task.sink.clone());
        let (sender, at, len) = (self.sender.clone(), self.at, buffer.len() as u64);
        blocking(move || {
            file.read_exact_at(&mut buffer, at).map_err(ImageError::Io)?;
            let bytes = buffer.freeze();
            sink.apply(WriteOp::Write { at, bytes: bytes.clone() })?;
            // A thread that gave up says why when it is joined.
            let _ = sender.send(Seen::Bytes(bytes));
            Ok(())
        })
        .await?;
        self.at += len;
        let position = u128::from(self.task.capacity) * u128::from(self.at) / u128::from(self.size);
        self.task.progress.advance(position as u64, len, len);
        Ok(())
    }

    /// Stores how far it is.
    async fn checkpoint(&mut self) -> Result<()> {
        self.stored = Instant::now();
        let Some(store) = self.store.clone() else { return Ok(()) };
        let (sender, sink, at) = (self.sender.clone(), self.task.sink.clone(), self.at);
        blocking(move || {
            let (reply, answer) = mpsc::channel();
            // A thread that gave up has found damage, which is no place to go on from.
            if sender.send(Seen::Asked(reply)).is_err() {
                return Ok(());
            }
            let Ok(Look { sums, check }) = answer.recv() else { return Ok(()) };
            sink.sync()?;
            store(CopyPoint {
                at,
                position: check.as_ref().map_or(0, StreamCheck::position),
                sums: sums.iter().map(|sum| (sum.kind(), sum.save())).collect(),
                check,
            })
        })
        .await
    }
}

/// What the hashing thread is given.
enum Seen {
    /// The next bytes.
    Bytes(Bytes),
    /// The wish to know its state.
    Asked(mpsc::Sender<Look>),
}

/// What looks at the bytes as they pass, in order.
#[derive(Debug, Clone)]
struct Look {
    sums: Vec<Summer>,
    check: Option<StreamCheck>,
}

impl Look {
    fn new(task: &CopyTask, from: Option<&CopyPoint>) -> Result<Self> {
        let Some(from) = from else {
            let sums = task.sums.iter().map(|kind| Summer::new(*kind)).collect();
            return Ok(Self { sums, check: task.follow.then(StreamCheck::new) });
        };
        let restored = from.sums.iter().map(|(kind, state)| Summer::restore(*kind, state));
        let sums: Option<Vec<_>> = restored.collect();
        let sums = sums.filter(|sums| sums.iter().map(Summer::kind).eq(task.sums.iter().copied()));
        match (sums, &from.check) {
            (Some(sums), check) if check.is_some() == task.follow => {
                Ok(Self { sums, check: check.clone() })
            }
            _ => Err(Error::new(ErrorKind::Internal, "the saved state of a copy is not one")),
        }
    }

    fn run(mut self, queue: &mpsc::Receiver<Seen>) -> Result<(Vec<FileSum>, Option<StreamFacts>)> {
        while let Ok(seen) = queue.recv() {
            match seen {
                Seen::Bytes(bytes) => self.see(&bytes)?,
                // Who asked may have left.
                Seen::Asked(reply) => drop(reply.send(self.clone())),
            }
        }
        let facts = self.check.map(StreamCheck::finish).transpose()?;
        Ok((self.sums.into_iter().map(Summer::finish).collect(), facts))
    }

    fn see(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if let Some(check) = &mut self.check {
            check.push(bytes)?;
        }
        self.sums.iter_mut().for_each(|sum| sum.update(bytes));
        Ok(())
    }
}
