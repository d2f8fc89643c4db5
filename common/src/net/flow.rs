//! What becomes of a body that is sent in parts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::http::{SILENCE, silent};
use crate::error::{Error, Result};

/// How far a body has been taken.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Parts that were taken.
    moved: AtomicU64,
    /// Whether all were.
    ended: AtomicBool,
    /// What the body failed with, which is told instead of the library's words for it.
    failure: Mutex<Option<Error>>,
}

impl Flow {
    /// The body, counted as it is taken.
    pub(super) fn watch(
        self: Arc<Self>,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> BoxStream<'static, std::io::Result<Bytes>> {
        futures::stream::unfold(Some((self, body)), |state| async {
            let (flow, mut body) = state?;
            match body.next().await {
                Some(Ok(part)) => {
                    flow.moved.fetch_add(1, Ordering::Relaxed);
                    Some((Ok(part), Some((flow, body))))
                }
                Some(Err(error)) => {
                    let told = std::io::Error::other(error.message().to_owned());
                    *flow.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Some((Err(told), None))
                }
                None => {
                    flow.ended.store(true, Ordering::Relaxed);
                    None
                }
            }
        })
        .boxed()
    }

    /// Waits for the answer to a body while the server takes it, and for any time once it has all.
    ///
    /// # Errors
    /// `Unavailable` where the server takes nothing for a while.
    pub(super) async fn wait<T>(&self, sent: impl Future<Output = T>, place: &str) -> Result<T> {
        tokio::pin!(sent);
        loop {
            let before = self.moved.load(Ordering::Relaxed);
            match tokio::time::timeout(SILENCE, &mut sent).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.ended.load(Ordering::Relaxed) => {}
                Err(_) if self.moved.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(silent(place)),
            }
        }
    }

    /// What the body failed with, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
