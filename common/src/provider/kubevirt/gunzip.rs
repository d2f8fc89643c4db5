//! Inflating what is sent compressed (RFC 1952), on a thread of its own.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::ByteStream;

/// Parts that wait at the most, on each side.
const QUEUE: usize = 4;

/// The bytes that were compressed. Ends with an error where the stream ends before its last member
/// does.
pub(super) fn gunzip(mut body: ByteStream) -> ByteStream {
    let (to_thread, mut compressed) = mpsc::channel::<Result<Bytes>>(QUEUE);
    let (sender, inflated) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(bytes) = body.next().await {
            if to_thread.send(bytes).await.is_err() {
                return;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        let mut decoder = MultiGzDecoder::new(Vec::new());
        while let Some(bytes) = compressed.blocking_recv() {
            let done = bytes.and_then(|bytes| {
                decoder.write_all(&bytes).map_err(broken)?;
                Ok(Bytes::from(std::mem::take(decoder.get_mut())))
            });
            let failed = done.is_err();
            if sender.blocking_send(done).is_err() || failed {
                return;
            }
        }
        let rest = decoder
            .finish()
            .map(Bytes::from)
            .map_err(|error| broken(error).with_retry_after(Duration::ZERO));
        let _ = sender.blocking_send(rest);
    });
    futures::stream::unfold(inflated, |mut inflated| async {
        inflated.recv().await.map(|bytes| (bytes, inflated))
    })
    .boxed()
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Integrity, "what the server compressed cannot be inflated")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn inflate(parts: Vec<Vec<u8>>) -> Result<Vec<u8>> {
        let parts: Vec<_> = parts.into_iter().map(|part| Ok(Bytes::from(part))).collect();
        let mut body = gunzip(futures::stream::iter(parts).boxed());
        let mut all = Vec::new();
        while let Some(bytes) = body.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn members_are_inflated_one_after_another_and_a_cut_is_told() {
        let pack = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        let (first, second) = (vec![1; 100_000], b"end".to_vec());
        let both = [pack(&first), pack(&second)].concat();
        let parts: Vec<_> = both.chunks(37).map(<[u8]>::to_vec).collect();
        assert_eq!(inflate(parts).await.unwrap(), [first, second].concat());
        let cut = both[..both.len() - 3].to_vec();
        let error = inflate(vec![cut]).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.retry_after().is_some());
        let error = inflate(vec![b"no gzip at all".to_vec()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}
