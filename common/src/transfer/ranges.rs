//! Disks of which any part can be asked for: fetched in pieces, several at once.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::image::{Block, Body, Extent};
use crate::provider::ExtentStream;

/// Bytes of one request. As large as a job of the engine, so that none is cut.
const PIECE: u64 = 1 << 20;

/// The extents of a range of which `fetch` gets pieces, `at_once` of them at a time.
pub fn ranged_extents<F>(
    range: Range<u64>,
    at_once: usize,
    fetch: impl Fn(Range<u64>) -> F + Send + Sync + 'static,
) -> ExtentStream
where
    F: Future<Output = Result<Bytes>> + Send + 'static,
{
    let pieces = stream::iter(pieces(range)).map(move |piece| {
        // On a task of its own it goes on while the engine is busy with others.
        let fetched = tokio::spawn(fetch(piece.clone()));
        async move {
            let bytes = fetched.await.map_err(|error| {
                Error::new(ErrorKind::Internal, "fetch a part of a disk").with_source(error)
            })??;
            Ok(vec![Extent { range: piece, body: Body::Data(Block::Plain(bytes)) }])
        }
    });
    pieces.buffered(at_once).boxed()
}

/// A range in pieces that end at multiples of [`PIECE`].
pub(super) fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = (at / PIECE + 1).saturating_mul(PIECE).min(range.end);
        let piece = at..end;
        at = end.max(at);
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_whole_pieces() {
        let cut: Vec<_> = pieces(PIECE - 512..2 * PIECE + 7).collect();
        assert_eq!(cut, [PIECE - 512..PIECE, PIECE..2 * PIECE, 2 * PIECE..2 * PIECE + 7]);
        assert_eq!(pieces(5..5).count(), 0);
    }
}
