//! Bodies of answers: text at once, or the bytes of a disk as they are read.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_common::image::ReadAt;
use tokio::sync::mpsc;

use crate::rule::Action;

/// Bytes that are read at a time.
const PART: u64 = 1 << 20;

/// How long what was sent takes to be on its way.
const FLUSH: Duration = Duration::from_millis(100);

/// A body.
#[derive(Debug)]
pub enum Reply {
    /// All of it; `None` once it was sent.
    Text(Option<Bytes>),
    /// What comes from a reader, and how much that will be, where the client is told.
    Parts(mpsc::Receiver<std::io::Result<Bytes>>, Option<u64>),
    /// What another server sends, or a client. It breaks off after so many bytes, where asked.
    Passed(Incoming, Left),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Parts(parts, left) => {
                let part = std::task::ready!(parts.poll_recv(cx));
                if let (Some(Ok(part)), Some(left)) = (&part, left) {
                    *left = left.saturating_sub(part.len() as u64);
                }
                Poll::Ready(part.map(|part| part.map(Frame::data)))
            }
            Self::Passed(body, left) => {
                match left {
                    // At once: a watch may have nothing more to say for long. But what was passed
                    // on is sent first, in the turn after this one.
                    Left::Bytes(0) => {
                        *left = Left::Nothing;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Left::Nothing => return Poll::Ready(Some(Err(broken()))),
                    Left::All | Left::Bytes(_) => {}
                }
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                let part = frame.map(|frame| match (frame.map_err(std::io::Error::other)?, left) {
                    (frame, Left::Bytes(left)) => passed(frame, left),
                    (frame, _) => Ok(frame),
                });
                Poll::Ready(part)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Parts(_, left) => *left == Some(0),
            Self::Passed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Parts(_, Some(left)) => SizeHint::with_exact(*left),
            Self::Parts(_, None) => SizeHint::default(),
            Self::Passed(body, _) => body.size_hint(),
        }
    }
}

/// How much of a body is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    All,
    /// So many bytes.
    Bytes(u64),
    /// It breaks now.
    Nothing,
}

impl From<Option<u64>> for Left {
    fn from(cut: Option<u64>) -> Self {
        cut.map_or(Self::All, Self::Bytes)
    }
}

fn broken() -> std::io::Error {
    std::io::Error::other("the connection is broken as asked")
}

/// A part that is passed on: as it is, or as much of it as is `left`.
fn passed(frame: Frame<Bytes>, left: &mut u64) -> std::io::Result<Frame<Bytes>> {
    let Ok(data) = frame.into_data() else {
        return Err(std::io::Error::other("trailers are not passed on"));
    };
    let len = (data.len() as u64).min(*left);
    *left -= len;
    Ok(Frame::data(data.slice(..len as usize)))
}

/// What is done while bytes are sent.
pub trait Watch: Send + 'static {
    /// Whether to go on; asked before each part.
    fn go_on(&mut self) -> bool;
    /// All bytes were taken.
    fn done(&mut self) {}
}

/// Goes on, whatever happens.
#[derive(Debug)]
pub struct Always;

impl Watch for Always {
    fn go_on(&mut self) -> bool {
        true
    }
}

/// Sends a range of `bytes`, with what an action does to it. The length is told where `told`.
pub fn send(
    bytes: Arc<dyn ReadAt>,
    range: Range<u64>,
    action: &Action,
    told: bool,
    mut watch: impl Watch,
) -> Reply {
    let (sender, parts) = mpsc::channel(4);
    let len = range.end - range.start;
    let (cut, short, corrupt) = (action.cut, action.short, action.corrupt);
    tokio::task::spawn_blocking(move || {
        let broken = || {
            // What was sent before has to leave the buffers first: an error takes them along.
            std::thread::sleep(FLUSH);
            Err(std::io::Error::other("the connection is broken as asked"))
        };
        let end = [cut, short].into_iter().flatten().min().unwrap_or(len).min(len);
        let mut at = 0;
        while at < end {
            if !watch.go_on() {
                let _ = sender.blocking_send(broken());
                return;
            }
            let mut part = vec![0; PART.min(end - at) as usize];
            if let Err(error) = bytes.read_exact_at(&mut part, range.start + at) {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            let place = corrupt.and_then(|place| usize::try_from(place.checked_sub(at)?).ok());
            if let Some(byte) = place.and_then(|place| part.get_mut(place)) {
                *byte ^= 0x55;
            }
            at += part.len() as u64;
            if sender.blocking_send(Ok(part.into())).is_err() {
                return;
            }
        }
        if cut.is_some_and(|cut| cut <= end && end < len) || cut == Some(0) {
            let _ = sender.blocking_send(broken());
        } else {
            watch.done();
        }
    });
    let told = told.then(|| short.unwrap_or(len).min(len));
    Reply::Parts(parts, told)
}

/// A text, with what an action does to it.
pub fn text(text: impl Into<Bytes>, action: &Action) -> Reply {
    let text = text.into();
    match action {
        Action { cut: None, short: None, corrupt: None, .. } => Reply::Text(Some(text)),
        action => {
            let len = text.len() as u64;
            send(Arc::new(text), 0..len, action, false, Always)
        }
    }
}
