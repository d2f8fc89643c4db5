//! Image files on the wire: read into extents, or copied as they are, in one pass. The bytes go to
//! the decoder or the sink and, on another thread, into the checksum that the server's is held
//! against. The decoder says whether the file is whole before the checksum is asked for, so that
//! a stream that broke off is called that.

use std::io::{BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::copy::CopyDone;
use super::disk::blocking;
use super::engine::Engine;
use super::read::opened_stream_extents;
use super::sum::{FileSum, SumKind, Summer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::vmdk::{StreamCheck, StreamFacts, open_buffered};
use crate::image::{StreamImage, WriteOp};
use crate::progress::DiskProgress;
use crate::provider::{ByteStream, ExtentStream, Wire};
use crate::sink::Sink;

/// Bytes that are handed from one thread to the next at once. What arrives comes in pieces of a
/// TLS record, which are too small to wake a thread for each.
const BATCH: usize = 256 << 10;
/// Batches that wait at the most.
const QUEUE: usize = 6;

type Batch = Vec<Bytes>;

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
    let body = wire.open().await?;
    let (to_reader, reader) = mpsc::channel(QUEUE);
    let (to_sum, summed) = mpsc::channel(QUEUE);
    let kind = wire.sum_kind();
    let sum = tokio::task::spawn_blocking(move || sum_up(summed, kind));
    tokio::spawn(pump(body, to_reader, to_sum));
    let open = move || {
        let image = open_buffered(Box::new(WireReader::new(reader)))?;
        disk.check(image.as_ref())?;
        Ok(image)
    };
    let told = wire.clone();
    let extents = opened_stream_extents(open, from).inspect_ok(move |batch| {
        if let Some(last) = batch.last() {
            told.reached(last.range.end);
        }
    });
    let verdict = stream::once(async move {
        let (size, sum) = sum.await.map_err(panicked)?;
        wire.check(size, sum.as_ref()).await.map(|()| Vec::new())
    });
    Ok(extents.chain(verdict).boxed())
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
    mut body: ByteStream,
    to_reader: mpsc::Sender<Result<Batch>>,
    to_sum: mpsc::Sender<Batch>,
) {
    loop {
        let gathered = tokio::select! {
            gathered = gather(&mut body) => gathered,
            () = to_reader.closed() => return,
        };
        let ended = match gathered {
            Ok((batch, ended)) => {
                let sent = batch.is_empty()
                    || to_sum.send(batch.clone()).await.is_ok()
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

/// The next batch, and whether the transfer ended with it.
async fn gather(body: &mut ByteStream) -> Result<(Batch, bool)> {
    let (mut batch, mut len) = (Vec::new(), 0);
    while len < BATCH {
        match body.next().await {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) => {
                len += bytes.len();
                batch.push(bytes);
            }
            Some(Err(error)) => return Err(error),
            None => return Ok((batch, true)),
        }
    }
    Ok((batch, false))
}

fn sum_up(mut queue: mpsc::Receiver<Batch>, kind: Option<SumKind>) -> (u64, Option<FileSum>) {
    let (mut size, mut sum) = (0, kind.map(Summer::new));
    while let Some(batch) = queue.blocking_recv() {
        for bytes in &batch {
            size += bytes.len() as u64;
            if let Some(sum) = &mut sum {
                sum.update(bytes);
            }
        }
    }
    (size, sum.map(Summer::finish))
}

/// What a thread reads from a server. The end of the transfer is the end of the file.
struct WireReader {
    queue: mpsc::Receiver<Result<Batch>>,
    batch: std::vec::IntoIter<Bytes>,
    front: Bytes,
}

impl WireReader {
    fn new(queue: mpsc::Receiver<Result<Batch>>) -> Self {
        Self { queue, batch: Vec::new().into_iter(), front: Bytes::new() }
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
                None => break,
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
        let mut body = wire.open().await?;
        let offered = wire.sum_kind();
        kinds.extend(offered.filter(|kind| !kinds.contains(kind)));
        let (to_look, queue) = mpsc::channel(QUEUE);
        let look = Look { wire: wire.clone(), progress, kinds };
        let look = tokio::task::spawn_blocking(move || look.run(queue));
        let (to_sink, queue) = mpsc::channel(QUEUE);
        let write = tokio::task::spawn_blocking(move || write(queue, sink.as_ref()));
        let fed = self.feed_wire(&mut body, &to_look, &to_sink).await;
        drop((body, to_look, to_sink));
        let (looked, written) = (join(look).await, join(write).await);
        fed?;
        let size = written?;
        let Looked { check, sums } = looked?;
        let (facts, sums) = blocking(move || {
            let sums: Vec<_> = sums.into_iter().map(Summer::finish).collect();
            Ok((check.finish()?, sums))
        })
        .await?;
        disk.check_capacity(facts.capacity)?;
        let sum = offered.and_then(|kind| sums.iter().find(|sum| sum.kind == kind));
        wire.check(size, sum).await?;
        Ok((CopyDone { sums, size, facts: Some(facts) }, facts))
    }

    async fn feed_wire(
        &self,
        body: &mut ByteStream,
        to_look: &mpsc::Sender<Batch>,
        to_sink: &mpsc::Sender<Batch>,
    ) -> Result<()> {
        loop {
            let (batch, ended) = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return self.cancel.check(),
                gathered = gather(body) => gathered?,
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
                || to_look.send(batch.clone()).await.is_ok() && to_sink.send(batch).await.is_ok();
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
    fn run(self, mut queue: mpsc::Receiver<Batch>) -> Result<Looked> {
        let mut check = StreamCheck::new();
        let mut sums: Vec<_> = self.kinds.iter().map(|kind| Summer::new(*kind)).collect();
        while let Some(batch) = queue.blocking_recv() {
            let mut len = 0;
            for bytes in &batch {
                check.push(bytes)?;
                sums.iter_mut().for_each(|sum| sum.update(bytes));
                len += bytes.len() as u64;
            }
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
