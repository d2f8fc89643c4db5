//! One disk's run through the engine: feed, work, place, write, finish.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::content::{Content, ContentSum};
use super::cutter::Cutter;
use super::engine::Engine;
use super::order::{Finished, Order};
use super::resume::{Checkpoint, Checkpointing};
use super::sum::{FileSum, SumKind, Summer, sum_file};
use super::worker::{Job, Recipe};
use super::writer::{OrderedThread, Track, Turns, Writer, store};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::image::{Block, Body, Extent, Format, Layout};
use crate::progress::DiskProgress;
use crate::provider::ExtentStream;
use crate::sink::Sink;

/// A disk to be read and, with a target, written.
pub struct DiskTask {
    /// How messages call the source disk.
    pub name: String,
    /// Guest bytes of the source.
    pub source_capacity: u64,
    /// Guest bytes of the target: the source's, rounded up to what the format can hold. What lies
    /// between reads as zero.
    pub capacity: u64,
    /// The source's block size; see [`crate::provider::DiskInfo::block_size`].
    pub block_size: u32,
    /// The source's extents, from the checkpoint's position (or 0) to `source_capacity`.
    pub extents: ExtentStream,
    /// Where it is written; `None` only reads.
    pub target: Option<Target>,
    /// Moves compressed blocks without inflating them.
    pub trust_source: bool,
    /// Compresses every block anew.
    pub recompress: bool,
    /// Makes the content checksum.
    pub content: bool,
    /// The point to go on from.
    pub from: Option<Checkpoint>,
    /// Told how far it is.
    pub progress: Arc<dyn DiskProgress>,
}

/// Where a disk is written.
pub struct Target {
    /// Places the blocks.
    pub format: Box<dyn Format>,
    /// Takes the bytes. Neither committed nor aborted here.
    pub sink: Arc<dyn Sink>,
    /// The file checksum to make.
    pub sum: Option<SumKind>,
    /// How the run can be resumed; `None`: not at all.
    pub checkpointing: Option<Checkpointing>,
}

/// What a finished disk was.
#[derive(Debug, Clone)]
pub struct DiskDone {
    /// The content checksum, where asked for.
    pub content: Option<Content>,
    /// The same, not yet finished: to go on with where the disk is the front of another.
    pub content_sum: Option<ContentSum>,
    /// The file checksum, where asked for.
    pub sum: Option<FileSum>,
    /// Length of the artifact in bytes; 0 where nothing is written.
    pub size: u64,
    /// Guest bytes that were neither hole nor zero.
    pub data_bytes: u64,
}

/// A job's share of the memory budget, and the sign that it is under way.
struct Token {
    _share: OwnedSemaphorePermit,
    alive: mpsc::Sender<()>,
}

struct Shared {
    recipe: Recipe,
    order: Mutex<Order<Token>>,
    writer: Mutex<Option<Arc<Writer<Token>>>>,
    checkpointing: Option<Checkpointing>,
    failure: Mutex<Option<Error>>,
    stop: AtomicBool,
}

impl Shared {
    fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.stop.store(true, Ordering::Release);
        // Jobs that wait for one that will never come would hold the feeder for ever.
        lock(&self.order).forget();
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn outcome(&self) -> Result<()> {
        lock(&self.failure).take().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Runs one disk to its end. The artifact is complete but neither synced nor named when this
    /// returns. On failure or when cancelled a last checkpoint is stored, where there is
    /// checkpointing, so that the same call can go on later. Several disks may run at once.
    ///
    /// # Errors
    /// The source's, the target's, `Integrity` for damaged blocks, `Interrupted` when cancelled.
    pub async fn run(&self, task: DiskTask) -> Result<DiskDone> {
        let (name, began) = (task.name.clone(), Instant::now());
        let what = if task.target.is_some() { "written" } else { "read" };
        let done = self.run_disk(task).await.subject(|| name.clone())?;
        tracing::info!(
            data_bytes = done.data_bytes,
            file_bytes = done.size,
            elapsed = ?began.elapsed(),
            "{what} {name}"
        );
        Ok(done)
    }

    async fn run_disk(&self, mut task: DiskTask) -> Result<DiskDone> {
        let codec = task.target.as_ref().map(|target| target.format.codec());
        let recipe = Recipe {
            codec,
            trust_source: task.trust_source,
            recompress: task.recompress,
            content: task.content,
        };
        let target = task.target.take();
        let (sink, kind) = match &target {
            Some(target) => (Some(target.sink.clone()), target.sum),
            None => (None, None),
        };
        let started = self.start(&task, recipe, target)?;
        let Started { shared, thread, on_the_way } = started;
        let fed = self.feed(&mut task, &shared, codec.map_or(512, |codec| codec.unit)).await;
        if let Err(error) = fed {
            shared.fail(error);
        }
        let outcome = shared.outcome();
        let writer = lock(&shared.writer).take();
        drop(writer);
        let thread = match thread {
            Some(thread) => Some(join(thread).await?),
            None => None,
        };
        // The writing thread may have failed after the last job was prepared.
        if let Err(error) = outcome.and_then(|()| shared.outcome()) {
            self.last_checkpoint(&shared, sink, thread, &error).await;
            return Err(error);
        }
        let Finished { ops, content, written, data_bytes } =
            lock(&shared.order).finish(task.capacity)?;
        let cancel = self.cancel.clone();
        let capacity = task.capacity;
        blocking(move || {
            let mut sum = None;
            if let Some(sink) = sink {
                sum = match thread {
                    Some(mut thread) => {
                        thread.apply(ops)?;
                        thread.finish()
                    }
                    None => {
                        sink.apply_all(ops)?;
                        None
                    }
                };
                if let Some(kind) = kind.filter(|_| !on_the_way) {
                    sink.sync()?;
                    let file = sink.read_back().ok_or_else(|| {
                        Error::unsupported("a checksum needs a target that can be read back")
                    })?;
                    sum = Some(sum_file(&file, kind, &cancel)?);
                }
            }
            let content_sum = content.clone();
            let content = content.map(|content| content.finish(capacity));
            Ok(DiskDone { content, content_sum, sum, size: written, data_bytes })
        })
        .await
    }

    fn start(&self, task: &DiskTask, recipe: Recipe, target: Option<Target>) -> Result<Started> {
        let content = task
            .content
            .then(|| task.from.as_ref().and_then(|from| from.content.clone()).unwrap_or_default());
        let from = task.from.as_ref();
        let Some(target) = target else {
            let order = Order::new(None, content, from, None);
            let writer = Writer::Discard(Track::new(task.progress.clone()));
            let shared = Shared::new(recipe, order, writer, None);
            return Ok(Started { shared: Arc::new(shared), thread: None, on_the_way: false });
        };
        let append = target.format.layout() == Layout::Append;
        let every = target.checkpointing.as_ref().map(|plan| plan.every);
        let order = Order::new(Some(target.format), content, from, every);
        let on_the_way = append && target.sum.is_some();
        if target.sink.seekable() && !on_the_way {
            let writer =
                Writer::Direct(target.sink, Track::new(task.progress.clone()), Turns::default());
            let shared = Shared::new(recipe, order, writer, target.checkpointing);
            return Ok(Started { shared: Arc::new(shared), thread: None, on_the_way });
        }
        let sum = match (target.sum, from.and_then(|from| from.sum.as_ref())) {
            (Some(kind), Some(state)) => Some(Summer::restore(kind, state).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "the saved checksum state is not one")
            })?),
            (kind, _) => kind.map(Summer::new),
        };
        let thread = OrderedThread {
            sink: target.sink,
            sum,
            progress: task.progress.clone(),
            checkpointing: target.checkpointing.clone(),
        };
        // The thread reports failures to what is made after it.
        let shared = Arc::new(Shared {
            recipe,
            order: Mutex::new(order),
            writer: Mutex::new(None),
            checkpointing: target.checkpointing,
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let told = shared.clone();
        let (sender, thread) = thread.start(move |error| told.fail(error))?;
        *lock(&shared.writer) = Some(Arc::new(Writer::Ordered(sender)));
        Ok(Started { shared, thread: Some(thread), on_the_way: true })
    }

    /// Cuts the extents into jobs, queues them, and waits until all are done.
    async fn feed(&self, task: &mut DiskTask, shared: &Arc<Shared>, unit: u32) -> Result<()> {
        let start = task.from.as_ref().map_or(0, |from| from.position);
        let mut cutter = Cutter::new(start..task.capacity, task.block_size, unit);
        let (alive, mut all_done) = mpsc::channel::<()>(1);
        let mut index = 0;
        let mut fed = Ok(());
        let padding = Extent { range: task.source_capacity..task.capacity, body: Body::Hole };
        let mut tail = Some(padding).filter(|padding| !padding.is_empty());
        if start > task.source_capacity {
            tail = None;
        }
        let mut extents = (&mut task.extents).fuse();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.cancel.cancelled() => { fed = self.cancel.check(); break }
                batch = extents.next() => batch,
            };
            let batch = match batch {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    fed = Err(error);
                    break;
                }
                None => match tail.take() {
                    Some(padding) => vec![padding],
                    None => break,
                },
            };
            let mut jobs = Vec::new();
            let cut = batch.into_iter().try_for_each(|extent| cutter.push(extent, &mut jobs));
            if let Err(error) = cut {
                fed = Err(error);
                break;
            }
            for job in jobs {
                if let Err(error) = self.queue(job, index, shared, &alive).await {
                    fed = Err(error);
                    break;
                }
                index += 1;
            }
            if fed.is_err() || shared.stopped() {
                break;
            }
        }
        if fed.is_ok() && !shared.stopped() {
            fed = cutter.finish();
        }
        drop(alive);
        let _ = all_done.recv().await;
        fed
    }

    async fn queue(
        &self,
        job: Job,
        index: u64,
        shared: &Arc<Shared>,
        alive: &mpsc::Sender<()>,
    ) -> Result<()> {
        let (held, taken) = cost(&job);
        if let Some(limit) = self.limit.as_ref().filter(|_| taken > 0) {
            tokio::select! {
                () = limit.take(taken) => {}
                () = self.cancel.cancelled() => self.cancel.check()?,
            }
        }
        let share = self.budget.clone().acquire_many_owned(Self::share(held)).await;
        let share = share.map_err(|error| {
            Error::new(ErrorKind::Internal, "the memory budget is closed").with_source(error)
        })?;
        let token = Token { _share: share, alive: alive.clone() };
        let (shared, buffers) = (shared.clone(), self.buffers.clone());
        // The token goes with the job, so it may be gone before a failure is told: this clone keeps
        // the run from ending, and from taking itself for a success, until it was.
        let told = alive.clone();
        self.pool.submit(move |tools| {
            let _told = told;
            if shared.stopped() {
                return;
            }
            let work = AssertUnwindSafe(|| {
                let prepared = tools.prepare(job, &shared.recipe, &buffers)?;
                shared.done(index, prepared, token)
            });
            match std::panic::catch_unwind(work) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(error),
                Err(_) => shared.fail(Error::new(ErrorKind::Internal, "a worker panicked")),
            }
        });
        Ok(())
    }

    /// After a failure: what was placed and written so far becomes the point to go on from.
    async fn last_checkpoint(
        &self,
        shared: &Arc<Shared>,
        sink: Option<Arc<dyn Sink>>,
        thread: Option<OrderedThread>,
        error: &Error,
    ) {
        let (Some(sink), Some(plan)) = (sink, shared.checkpointing.clone()) else { return };
        // Only a run that was told to stop knows that all it placed was also written.
        if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut) {
            return;
        }
        let checkpoint = lock(&shared.order).checkpoint();
        let stored = blocking(move || match (checkpoint, thread) {
            (Some(checkpoint), Some(thread)) => thread.store(checkpoint),
            (Some(checkpoint), None) => store(sink.as_ref(), Some(&plan), checkpoint),
            (None, _) => Ok(()),
        });
        if let Err(error) = stored.await {
            tracing::warn!("no checkpoint could be stored: {}", crate::error::one_line(&error));
        }
    }
}

struct Started {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<OrderedThread>>,
    on_the_way: bool,
}

impl Shared {
    fn new(
        recipe: Recipe,
        order: Order<Token>,
        writer: Writer<Token>,
        checkpointing: Option<Checkpointing>,
    ) -> Self {
        Self {
            recipe,
            order: Mutex::new(order),
            writer: Mutex::new(Some(Arc::new(writer))),
            checkpointing,
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
        }
    }

    /// A prepared job: placed when its turn has come, and written.
    fn done(
        self: &Arc<Self>,
        index: u64,
        prepared: super::worker::Prepared,
        token: Token,
    ) -> Result<()> {
        let Some(writer) = lock(&self.writer).clone() else { return Ok(()) };
        let alive = token.alive.clone();
        let mut order = lock(&self.order);
        if self.stopped() {
            return Ok(());
        }
        // Taken before anyone else may place, so that they are written in order too.
        writer.take(order.push(index, prepared, token)?)?;
        drop(order);
        writer.write(|checkpoint| self.store_aside(writer.clone(), checkpoint, alive.clone()))
    }

    /// Stores a checkpoint on a thread of its own: syncing may take long, and the pool has better
    /// things to do. `alive` keeps the run from ending before.
    fn store_aside(
        self: &Arc<Self>,
        writer: Arc<Writer<Token>>,
        checkpoint: Checkpoint,
        alive: mpsc::Sender<()>,
    ) -> Result<()> {
        let Writer::Direct(sink, ..) = &*writer else { return Ok(()) };
        let (shared, sink, writer) = (self.clone(), sink.clone(), writer.clone());
        let work = move || {
            if let Err(error) = store(sink.as_ref(), shared.checkpointing.as_ref(), checkpoint) {
                shared.fail(error);
            }
            writer.stored();
            drop(alive);
        };
        let thread = std::thread::Builder::new().name("hyper-sync".into()).spawn(work);
        thread.map(|_| ()).map_err(|error| Error::io("start a thread", error))
    }
}

/// Bytes of memory that a job holds, and bytes that it takes from the source.
fn cost(job: &Job) -> (u64, u64) {
    let (mut data, mut packed, mut taken) = (false, 0, 0);
    for part in &job.parts {
        match &part.body {
            Body::Hole | Body::Zero => {}
            Body::Data(Block::Packed(block)) => {
                let len = match &block.at {
                    crate::image::PackedAt::Memory(bytes) => bytes.len() as u64,
                    crate::image::PackedAt::File { len, .. }
                    | crate::image::PackedAt::Framed { len, .. } => u64::from(*len),
                };
                data = true;
                packed += len;
                taken += len;
            }
            Body::Data(_) => {
                data = true;
                taken += part.len();
            }
        }
    }
    let plain = if data { job.range.end - job.range.start } else { 0 };
    (plain + packed, taken)
}

async fn join<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> Result<T> {
    blocking(move || {
        thread.join().map_err(|_| Error::new(ErrorKind::Internal, "the writing thread panicked"))
    })
    .await
}

/// Runs something that blocks, off tokio's workers.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a blocking task failed").with_source(error))
    })
}
