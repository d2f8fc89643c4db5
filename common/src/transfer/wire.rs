//! Image files on the wire: read into extents, or copied as they are, in one pass. The bytes go to
//! the decoder or the sink and, on another thread, into the checksum that the server's is held
//! against. The decoder says whether the file is whole before the checksum is asked for, so that
//! a stream that broke off is called that.

use std::io::{BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::copy::CopyDone;
use super::disk::blocking;
use super::engine::Engine;
use super::read::opened_stream_extents;
use super::refetch::{Batch, Feed, Passing};
use super::sum::{FileSum, SumKind, Summer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::vmdk::{StreamCheck, StreamFacts, open_buffered};
use crate::image::{StreamImage, WriteOp};
use crate::progress::DiskProgress;
use crate::provider::{ExtentStream, Wire};
use crate::sink::Sink;

/// Batches that wait at the most.
const QUEUE: usize = 6;

/// What a disk on the wire was said to be.
#[derive(Debug, Clone)]
pub struct WireDisk {
    /// Guest bytes.
    pub capacity: u64,
    /// Largest run that one of its blocks may cover.
    pub block_size: u32,
}

/// The extents, from `from` on, of a streamOptimized VMDK that a server sends; what comes before
/// is read and thrown away. After the last one the server's checksum is held against what came.
pub fn wire_extents(wire: Arc<dyn Wire>, disk: WireDisk, from: u64) -> ExtentStream {
    stream::once(extents_of(wire, disk, from)).try_flatten().boxed()
}

async fn extents_of(wire: Arc<dyn Wire>, disk: WireDisk, from: u64) -> Result<ExtentStream> {
    let (to_reader, reader) = mpsc::channel(QUEUE);
    let (to_sum, summed) = mpsc::channel(QUEUE);
    let feed = Feed::open(wire.clone(), to_sum.clone()).await?;
    let kind = wire.sum_kind();
    let sum = tokio::task::spawn_blocking(move || sum_up(summed, kind));
    tokio::spawn(pump(feed, to_reader, to_sum));
    let ended = Arc::new(AtomicBool::new(false));
    let at_end = ended.clone();
    let open = move || {
        let image = open_buffered(Box::new(WireReader::new(reader, ended)))?;
        disk.check(image.as_ref())?;
        Ok(image)
    };
    let (told, lives) = (wire.clone(), wire.clone());
    let extents = opened_stream_extents(open, from)
        .inspect_ok(move |batch| {
            if let Some(last) = batch.last() {
                told.reached(last.range.end);
            }
        })
        .map_err(move |error| match at_end.load(Ordering::Acquire) {
            true => perhaps_short(error, lives.as_ref()),
            false => error,
        });
    let verdict = stream::once(async move {
        let (size, sum) = sum.await.map_err(panicked)?;
        wire.check(size, sum.as_ref()).await.map(|()| Vec::new())
    });
    Ok(extents.chain(verdict).boxed())
}

/// What was found wrong at the end may be for want of the rest: all of it may be asked for anew.
fn perhaps_short(error: Error, wire: &dyn Wire) -> Error {
    match error.kind() {
        ErrorKind::Integrity if wire.alive() => error.with_retry_after(Duration::ZERO),
        _ => error,
    }
}

impl WireDisk {
    fn check(&self, image: &dyn StreamImage) -> Result<()> {
        self.check_capacity(image.capacity())?;
        if image.block_size() > self.block_size {
            let text = format!(
                "its grains have {} bytes, more than those of any known maker",
                image.block_size()
            );
            return Err(Error::unsupported(text));
        }
        Ok(())
    }

    fn check_capacity(&self, sent: u64) -> Result<()> {
        if sent == self.capacity {
            return Ok(());
        }
        let text = format!("the disk that comes has {sent} bytes instead of {}", self.capacity);
        Err(Error::integrity(text))
    }
}

/// Takes bytes as they come and hands them on in batches until the transfer ends or nobody reads.
async fn pump(
    mut feed: Feed,
    to_reader: mpsc::Sender<Result<Batch>>,
    to_sum: mpsc::Sender<Passing>,
) {
    loop {
        let gathered = tokio::select! {
            gathered = feed.next() => gathered,
            () = to_reader.closed() => return,
        };
        let ended = match gathered {
            Ok((batch, ended)) => {
                let sent = batch.is_empty()
                    || to_sum.send(Passing::Bytes(batch.clone())).await.is_ok()
                        && to_reader.send(Ok(batch)).await.is_ok();
                !sent || ended
            }
            Err(error) => {
                // Where nobody listens any more nobody wants to know.
                let _ = to_reader.send(Err(error)).await;
                true
            }
        };
        if ended {
            return;
        }
    }
}

fn sum_up(mut queue: mpsc::Receiver<Passing>, kind: Option<SumKind>) -> (u64, Option<FileSum>) {
    let (mut size, mut sums) = (0, kind.map(Summer::new).into_iter().collect::<Vec<_>>());
    while let Some(passing) = queue.blocking_recv() {
        match passing {
            Passing::Bytes(batch) => size += add(&batch, &mut sums),
            Passing::SumSoFar(kind, tell) => drop(tell.send(so_far(&sums, kind))),
        }
    }
    (size, sums.pop().map(Summer::finish))
}

/// Takes a batch into checksums; answers with its length.
fn add(batch: &Batch, sums: &mut [Summer]) -> u64 {
    for bytes in batch {
        sums.iter_mut().for_each(|sum| sum.update(bytes));
    }
    batch.iter().map(|bytes| bytes.len() as u64).sum()
}

fn so_far(sums: &[Summer], kind: SumKind) -> Option<FileSum> {
    sums.iter().find(|sum| sum.kind() == kind).map(|sum| sum.clone().finish())
}

/// What a thread reads from a server. The end of the transfer is the end of the file.
struct WireReader {
    queue: mpsc::Receiver<Result<Batch>>,
    batch: std::vec::IntoIter<Bytes>,
    front: Bytes,
    /// Set once the end was met.
    ended: Arc<AtomicBool>,
}

impl WireReader {
    fn new(queue: mpsc::Receiver<Result<Batch>>, ended: Arc<AtomicBool>) -> Self {
        Self { queue, batch: Vec::new().into_iter(), front: Bytes::new(), ended }
    }
}

impl BufRead for WireReader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.front.is_empty() {
            if let Some(next) = self.batch.next() {
                self.front = next;
                continue;
            }
            match self.queue.blocking_recv() {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(error)) => return Err(std::io::Error::other(error)),
                None => {
                    self.ended.store(true, Ordering::Release);
                    break;
                }
            }
        }
        Ok(&self.front)
    }

    fn consume(&mut self, len: usize) {
        let len = len.min(self.front.len());
        let _ = self.front.split_to(len);
    }
}

impl Read for WireReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let held = self.fill_buf()?;
        let len = held.len().min(buf.len());
        buf[..len].copy_from_slice(&held[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl Engine {
    /// Copies a streamOptimized VMDK from the wire to `sink` as it is, following its structure and
    /// making the checksums `kinds` on the way.
    ///
    /// # Errors
    /// The source's, the sink's; `Integrity` where the stream is not whole or not what the server
    /// says that it sent; `Interrupted` when cancelled.
    pub(super) async fn copy_wire(
        &self,
        wire: &Arc<dyn Wire>,
        disk: &WireDisk,
        sink: Arc<dyn Sink>,
        mut kinds: Vec<SumKind>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<(CopyDone, StreamFacts)> {
        let (to_look, queue) = mpsc::channel(QUEUE);
        let mut feed = Feed::open(wire.clone(), to_look.clone()).await?;
        let offered = wire.sum_kind();
        kinds.extend(offered.filter(|kind| !kinds.contains(kind)));
        let look = Look { wire: wire.clone(), progress, kinds };
        let look = tokio::task::spawn_blocking(move || look.run(queue));
        let (to_sink, queue) = mpsc::channel(QUEUE);
        let write = tokio::task::spawn_blocking(move || write(queue, sink.as_ref()));
        let fed = self.feed_wire(&mut feed, &to_look, &to_sink).await;
        drop((feed, to_look, to_sink));
        let (looked, written) = (join(look).await, join(write).await);
        fed?;
        let size = written?;
        let Looked { check, sums } = looked?;
        let lives = wire.clone();
        let (facts, sums) = blocking(move || {
            let sums: Vec<_> = sums.into_iter().map(Summer::finish).collect();
            Ok((check.finish().map_err(|error| perhaps_short(error.into(), lives.as_ref()))?, sums))
        })
        .await?;
        disk.check_capacity(facts.capacity)?;
        let sum = offered.and_then(|kind| sums.iter().find(|sum| sum.kind == kind));
        wire.check(size, sum).await?;
        Ok((CopyDone { sums, size, facts: Some(facts) }, facts))
    }

    async fn feed_wire(
        &self,
        feed: &mut Feed,
        to_look: &mpsc::Sender<Passing>,
        to_sink: &mpsc::Sender<Batch>,
    ) -> Result<()> {
        loop {
            let (batch, ended) = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return self.cancel.check(),
                gathered = feed.next() => gathered?,
            };
            if let Some(limit) = &self.limit {
                let len: usize = batch.iter().map(Bytes::len).sum();
                tokio::select! {
                    () = limit.take(len as u64) => {}
                    () = self.cancel.cancelled() => return self.cancel.check(),
                }
            }
            // Who does not listen any more has failed, and says why when it is joined.
            let sent = batch.is_empty()
                || to_look.send(Passing::Bytes(batch.clone())).await.is_ok()
                    && to_sink.send(batch).await.is_ok();
            if !sent || ended {
                return Ok(());
            }
        }
    }
}

/// What looks at a copied stream as it passes by.
struct Look {
    wire: Arc<dyn Wire>,
    progress: Arc<dyn DiskProgress>,
    kinds: Vec<SumKind>,
}

struct Looked {
    check: StreamCheck,
    sums: Vec<Summer>,
}

impl Look {
    fn run(self, mut queue: mpsc::Receiver<Passing>) -> Result<Looked> {
        let mut check = StreamCheck::new();
        let mut sums: Vec<_> = self.kinds.iter().map(|kind| Summer::new(*kind)).collect();
        while let Some(passing) = queue.blocking_recv() {
            let batch = match passing {
                Passing::Bytes(batch) => batch,
                Passing::SumSoFar(kind, tell) => {
                    drop(tell.send(so_far(&sums, kind)));
                    continue;
                }
            };
            batch.iter().try_for_each(|bytes| check.push(bytes))?;
            let len = add(&batch, &mut sums);
            self.wire.reached(check.position());
            self.progress.advance(check.position(), len, len);
        }
        Ok(Looked { check, sums })
    }
}

/// Writes batches one after another; answers with how many bytes they were.
fn write(mut queue: mpsc::Receiver<Batch>, sink: &dyn Sink) -> Result<u64> {
    let mut at = 0;
    while let Some(batch) = queue.blocking_recv() {
        for bytes in batch {
            let len = bytes.len() as u64;
            sink.apply(WriteOp::Write { at, bytes })?;
            at += len;
        }
    }
    Ok(at)
}

async fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.await.map_err(panicked)?
}

fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a thread that takes bytes from the wire failed")
        .with_source(error)
}
