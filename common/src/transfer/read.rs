//! Images as extent streams: a blocking walk on a thread of its own, in batches over a short queue.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::image::{Extent, Image, StreamImage};
use crate::provider::ExtentStream;

/// Extents in a batch at the most.
const BATCH: usize = 256;
/// Batches that wait at the most.
const QUEUE: usize = 4;

/// The extents of `range` of an image that can be read at any place. `range` starts at a multiple
/// of the image's block size.
pub fn image_extents(image: Arc<dyn Image>, range: Range<u64>) -> ExtentStream {
    walk(move |send| {
        for extent in image.extents(range) {
            if !send(extent.map_err(Error::from)) {
                return;
            }
        }
    })
}

/// The extents of an image that arrives in order, from `from` on; what comes before is read and
/// thrown away. `from` is a multiple of the image's block size.
pub fn image_stream_extents(image: Box<dyn StreamImage>, from: u64) -> ExtentStream {
    opened_stream_extents(|| Ok(image), from)
}

/// The same of an image that is opened where it is read: opening waits for its first bytes.
pub(super) fn opened_stream_extents(
    open: impl FnOnce() -> Result<Box<dyn StreamImage>> + Send + 'static,
    from: u64,
) -> ExtentStream {
    walk(move |send| {
        let mut image = match open() {
            Ok(image) => image,
            Err(error) => {
                send(Err(error));
                return;
            }
        };
        loop {
            let extent = match image.next() {
                Ok(Some(extent)) => clip(extent, from),
                Ok(None) => return,
                Err(error) => {
                    send(Err(error.into()));
                    return;
                }
            };
            if let Some(extent) = extent
                && !send(Ok(extent))
            {
                return;
            }
        }
    })
}

/// The part of `extent` at or after `from`.
fn clip(mut extent: Extent, from: u64) -> Option<Extent> {
    if extent.range.end <= from {
        return None;
    }
    if extent.range.start < from {
        if let crate::image::Body::Data(block) = &extent.body {
            extent.body = crate::image::Body::Data(block.skip(from - extent.range.start)?);
        }
        extent.range.start = from;
    }
    Some(extent)
}

/// Runs `work` on a blocking thread; its sink answers `false` when nobody listens any more.
fn walk(
    work: impl FnOnce(&mut dyn FnMut(Result<Extent>) -> bool) + Send + 'static,
) -> ExtentStream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut batch = Vec::with_capacity(BATCH);
        let mut listening = true;
        work(&mut |extent| {
            let send = |item| sender.blocking_send(item).is_ok();
            match extent {
                Ok(extent) => {
                    batch.push(extent);
                    if batch.len() == BATCH {
                        listening =
                            send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))));
                    }
                }
                Err(error) => {
                    listening = send(Ok(std::mem::take(&mut batch))) && send(Err(error));
                }
            }
            listening
        });
        if listening && !batch.is_empty() {
            let _ = sender.blocking_send(Ok(batch));
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
    .boxed()
}
