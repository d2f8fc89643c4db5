//! Pass-through: a file copied as it is, hashed on the way by a second thread.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;

use super::engine::Engine;
use super::sum::{FileSum, SumKind, Summer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ImageError, ReadAt, WriteOp};
use crate::progress::DiskProgress;
use crate::sink::Sink;

/// Bytes of one read.
const PART: u64 = 1 << 20;
/// Parts that wait for the hashing thread at the most.
const QUEUE: usize = 8;

/// What a copied file was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDone {
    /// Its checksums, in the order they were asked for.
    pub sums: Vec<FileSum>,
    /// Its length in bytes.
    pub size: u64,
}

/// Looks at the bytes of a copied file as they pass, in order; told `None` at the end.
pub type Watcher = Box<dyn FnMut(Option<&[u8]>) -> Result<(), ImageError> + Send>;

impl Engine {
    /// Copies `file` to `sink`, making the checksums `kinds` and showing every byte to `watch`.
    /// Progress counts `capacity` guest bytes for the whole file.
    ///
    /// # Errors
    /// The read's, the write's, or what `watch` found; `Interrupted` when cancelled.
    pub async fn copy(
        &self,
        file: Arc<dyn ReadAt>,
        sink: Arc<dyn Sink>,
        kinds: Vec<SumKind>,
        watch: Watcher,
        progress: (Arc<dyn DiskProgress>, u64),
    ) -> Result<CopyDone> {
        let size = file.len();
        let (sender, queue) = mpsc::sync_channel::<Bytes>(QUEUE);
        let looked = tokio::task::spawn_blocking(move || look(&queue, &kinds, watch));
        let mut at = 0;
        let mut copied = Ok(());
        while at < size {
            if let Err(error) = self.cancel.check() {
                copied = Err(error);
                break;
            }
            let len = PART.min(size - at);
            if let Some(limit) = &self.limit {
                tokio::select! {
                    () = limit.take(len) => {}
                    // Seen at the head of the loop.
                    () = self.cancel.cancelled() => continue,
                }
            }
            let buffer = self.buffers.plain.take(len as usize);
            let (file, sink, sender) = (file.clone(), sink.clone(), sender.clone());
            copied = super::disk::blocking(move || {
                let mut buffer = buffer;
                file.read_exact_at(&mut buffer, at).map_err(ImageError::Io)?;
                let bytes = buffer.freeze();
                sink.apply(WriteOp::Write { at, bytes: bytes.clone() })?;
                // A watcher that gave up says why when it is joined.
                let _ = sender.send(bytes);
                Ok(())
            })
            .await;
            if copied.is_err() {
                break;
            }
            at += len;
            let (progress, capacity) = &progress;
            let position = (u128::from(*capacity) * u128::from(at) / u128::from(size)) as u64;
            progress.advance(position, len, len);
        }
        drop(sender);
        let looked = looked.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the hashing thread failed").with_source(error)
        })?;
        copied?;
        Ok(CopyDone { sums: looked?, size })
    }
}

fn look(
    queue: &mpsc::Receiver<Bytes>,
    kinds: &[SumKind],
    mut watch: Watcher,
) -> Result<Vec<FileSum>> {
    let mut sums: Vec<_> = kinds.iter().map(|kind| Summer::new(*kind)).collect();
    while let Ok(bytes) = queue.recv() {
        watch(Some(&bytes))?;
        for sum in &mut sums {
            sum.update(&bytes);
        }
    }
    watch(None)?;
    Ok(sums.into_iter().map(Summer::finish).collect())
}
