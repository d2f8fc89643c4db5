//! A volume that the server of an export sends: in ranges, several at once, where it takes them;
//! else as one stream, plain or compressed, which is begun anew where it breaks off.

use std::ops::Range;
use std::sync::Arc;

use async_stream::try_stream;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::gunzip::gunzip;
use super::machine::VmDisk;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Block, Body, Extent};
use crate::net::{Response, retry};
use crate::provider::{ByteStream, ExtentStream};
use crate::transfer::ranged_extents;

/// Requests of a volume that are under way at once.
const AT_ONCE: usize = 8;

/// Bytes of a stream that become one extent.
const PIECE: usize = 1 << 20;

/// Bytes that are asked for to learn how large a volume is.
const TASTE: u64 = 512;

/// How often a stream is begun anew.
const AGAIN: u32 = 5;

/// A volume of an export.
#[derive(Debug)]
pub(super) struct Volume {
    session: Arc<Session>,
    disk: VmDisk,
    form: Form,
    /// Guest bytes.
    pub len: u64,
}

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In any part.
    Ranges,
    /// From its front to its end.
    Whole,
    /// The same, compressed.
    Gzip,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Ranges | Self::Whole => "raw",
            Self::Gzip => "gzip",
        }
    }
}

impl Volume {
    /// Learns how large it is and how it is sent.
    ///
    /// # Errors
    /// `Unsupported` for a volume that is not served, or is no disk; the server's.
    pub(super) async fn open(session: Arc<Session>, disk: &VmDisk) -> Result<Self> {
        let mut volume = Self { session, disk: disk.clone(), form: Form::Ranges, len: 0 };
        let found = volume.session.persist(|server| async move {
            let served = server.volume(&disk.claim).ok_or_else(|| {
                Error::unsupported("the cluster does not export this volume")
                    .with_hint("its storage may have no snapshots; `kubectl describe vm` tells")
            })?;
            let Some(url) = served.url("raw") else {
                return match served.url("gzip") {
                    Some(_) => Ok((Form::Gzip, None)),
                    None => Err(Error::unsupported("the volume holds files and no disk")),
                };
            };
            let response = server.get(url, Some(&(0..TASTE)), &[200, 206, 416]).await?;
            Ok(match response.status() {
                200 => (Form::Whole, response.content_length()),
                _ => (Form::Ranges, Some(total(&response)?)),
            })
        });
        let (form, len) = found.await?;
        volume.form = form;
        volume.len = match len {
            Some(len) => len,
            // Nobody tells: it is read once to be counted.
            None => volume.count().await?,
        };
        if volume.len == 0 {
            return Err(Error::integrity("the volume is empty"));
        }
        Ok(volume)
    }

    /// Whether any part of it can be had.
    pub(super) fn takes_ranges(&self) -> bool {
        self.form == Form::Ranges
    }

    async fn count(&self) -> Result<u64> {
        let once = || async {
            let (mut body, mut len) = (self.body().await?, 0);
            while let Some(bytes) = body.next().await {
                len += bytes?.len() as u64;
            }
            Ok(len)
        };
        retry(once).await
    }

    /// The extents of a range; a stream is read from its front, whatever the range.
    pub(super) fn extents(self: &Arc<Self>, range: Range<u64>) -> ExtentStream {
        let volume = self.clone();
        if self.form == Form::Ranges {
            return ranged_extents(range, AT_ONCE, move |piece| {
                let volume = volume.clone();
                async move { volume.part(piece).await }
            });
        }
        volume.stream(range)
    }

    async fn part(&self, range: Range<u64>) -> Result<Bytes> {
        let range = &range;
        let ask = |server: Arc<super::way::Server>| async move {
            let url = server.volume(&self.disk.claim).and_then(|volume| volume.url("raw"));
            let url = url.ok_or_else(|| self.gone())?;
            let response = server.get(url, Some(range), &[200, 206]).await?;
            if response.status() != 206 {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the server sends all of the volume though a part of it was asked for",
                ));
            }
            if total(&response)? != self.len || span(&response) != Some(range.clone()) {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the server sends another part of the volume than was asked for",
                ));
            }
            let wanted = range.end - range.start;
            let bytes = response.bytes(wanted as usize).await?;
            if bytes.len() as u64 != wanted {
                let text = format!("{} of {wanted} bytes came", bytes.len());
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            Ok(Bytes::from(bytes))
        };
        self.session.persist(ask).await
    }

    fn gone(&self) -> Error {
        Error::conflict("the volume is not exported any more")
    }

    /// All of its bytes, from the front on.
    async fn body(&self) -> Result<ByteStream> {
        let form = self.form;
        let ask = |server: Arc<super::way::Server>| async move {
            let url = server.volume(&self.disk.claim).and_then(|volume| volume.url(form.name()));
            let url = url.ok_or_else(|| self.gone())?;
            Ok(server.get(url, None, &[200]).await?.into_stream())
        };
        let body = self.session.persist(ask).await?;
        Ok(if form == Form::Gzip { gunzip(body) } else { body })
    }

    /// The extents of a range. Where the stream breaks off it is asked for anew, and what came
    /// before is thrown away: nothing can have changed, for the server holds the volume.
    fn stream(self: Arc<Self>, range: Range<u64>) -> ExtentStream {
        let cut = try_stream! {
            let (mut at, mut again) = (range.start, 0);
            let mut held = BytesMut::new();
            while at < range.end {
                let mut body = self.body().await?;
                // Bytes that are not wanted, or were had.
                let mut skip = at + held.len() as u64;
                let broke = loop {
                    let mut bytes = match body.next().await {
                        Some(Ok(bytes)) => bytes,
                        Some(Err(error)) => break error,
                        None => break short(),
                    };
                    let over = skip.min(bytes.len() as u64);
                    skip -= over;
                    held.extend_from_slice(&bytes.split_off(over as usize));
                    for extent in cut_off(&mut held, &mut at, range.end) {
                        yield vec![extent];
                    }
                    if at >= range.end {
                        break short();
                    }
                };
                if at < range.end {
                    again += 1;
                    if again > AGAIN || broke.retry_after().is_none() {
                        Err(broke)?;
                    }
                }
            }
        };
        cut.boxed()
    }
}

fn short() -> Error {
    Error::new(ErrorKind::Unavailable, "the server ended the volume before it was whole")
        .with_retry_after(std::time::Duration::ZERO)
}

/// What of `held` makes whole extents, the first of which is at `at`; the last ends at `end`.
fn cut_off(held: &mut BytesMut, at: &mut u64, end: u64) -> Vec<Extent> {
    let mut extents = Vec::new();
    loop {
        let to_border = PIECE as u64 - *at % PIECE as u64;
        let wanted = to_border.min(end - *at);
        if wanted == 0 || (held.len() as u64) < wanted {
            return extents;
        }
        let bytes = held.split_to(wanted as usize).freeze();
        let range = *at..*at + wanted;
        *at = range.end;
        extents.push(Extent { range, body: Body::Data(Block::Plain(bytes)) });
    }
}

/// The length of the whole, as an answer with a part of it says.
fn total(response: &Response) -> Result<u64> {
    let range = response.header("content-range");
    let len = range.and_then(|text| text.trim().rsplit_once('/')?.1.parse().ok());
    len.ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the server does not say how large the volume is")
    })
}

/// The part of it that is sent.
fn span(response: &Response) -> Option<Range<u64>> {
    let text = response.header("content-range")?.trim().strip_prefix("bytes ")?;
    let (first, last) = text.split_once('/')?.0.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_at_whole_pieces_and_its_end() {
        let piece = PIECE as u64;
        let (mut held, mut at) = (BytesMut::zeroed(PIECE), piece - 512);
        let ranges = |extents: Vec<Extent>| -> Vec<_> {
            extents.into_iter().map(|extent| extent.range).collect()
        };
        let end = 2 * piece + 7;
        assert_eq!(cut_off(&mut held, &mut at, end)[0].range, piece - 512..piece);
        held.extend_from_slice(&[0; 519]);
        assert_eq!(ranges(cut_off(&mut held, &mut at, end)), [piece..2 * piece, 2 * piece..end]);
        assert_eq!((at, held.len()), (end, 0));
        assert!(cut_off(&mut held, &mut at, end).is_empty());
    }
}
