//! Taking a file from a server although connections break. It is asked for again; what came before
//! comes a second time, is held against the checksum of the first time and thrown away, and only
//! then does what follows it count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::sum::{FileSum, SumKind, Summer};
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::image::vmdk::ends_whole;
use crate::net::varied;
use crate::provider::{ByteStream, Wire};

/// Bytes that are handed from one thread to the next at once. What arrives comes in pieces of a
/// TLS record, which are too small to wake a thread for each.
const BATCH: usize = 256 << 10;

/// How often one file is asked for again.
const AGAIN: u32 = 5;

/// The wait before the first time; it doubles. Tests have no patience.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 300 });

/// Bytes of the front that are kept: the header's fields.
const FRONT: usize = 64;

/// What comes from the wire at once.
pub(super) type Batch = Vec<Bytes>;

/// What the thread that makes checksums is told.
pub(super) enum Passing {
    /// The next bytes.
    Bytes(Batch),
    /// Tell the checksum of a kind of all bytes so far, where it is made.
    SumSoFar(SumKind, oneshot::Sender<Option<FileSum>>),
}

/// A file that comes from a server, taken up again where it broke off.
pub(super) struct Feed {
    wire: Arc<dyn Wire>,
    state: State,
    /// Bytes that were handed out.
    came: u64,
    /// Where the server ended it once although it did not look whole.
    ended_at: Option<u64>,
    /// How often it may still be asked for again, and how long to wait then.
    again: (u32, Duration),
    front: Vec<u8>,
    tail: [Batch; 2],
    sums: mpsc::Sender<Passing>,
}

enum State {
    Flowing(ByteStream),
    Broken(Error),
    Short,
}

/// How a batch came to be no longer.
enum Stopped {
    Full,
    Ended,
    Broken(Error),
}

impl Feed {
    /// Asks for the file. `sums` leads to the thread that makes its checksums; it must be sent each
    /// batch before the next one is asked for.
    ///
    /// # Errors
    /// Those of [`Wire::open`].
    pub(super) async fn open(wire: Arc<dyn Wire>, sums: mpsc::Sender<Passing>) -> Result<Self> {
        let state = State::Flowing(wire.open().await?);
        let (front, tail) = (Vec::new(), [Vec::new(), Vec::new()]);
        Ok(Self { wire, state, came: 0, ended_at: None, again: (AGAIN, PAUSE), front, tail, sums })
    }

    /// The next batch, and whether the file ended with it.
    ///
    /// # Errors
    /// Why no more comes. `Integrity` with a time to wait where the server sent something else the
    /// second time: all of it may be asked for anew.
    pub(super) async fn next(&mut self) -> Result<(Batch, bool)> {
        loop {
            match std::mem::replace(&mut self.state, State::Short) {
                State::Flowing(mut body) => {
                    let (batch, stopped) = gather(&mut body).await;
                    self.saw(&batch);
                    match stopped {
                        Stopped::Full => self.state = State::Flowing(body),
                        Stopped::Broken(error) => self.state = State::Broken(error),
                        Stopped::Ended if self.is_end() => return Ok((batch, true)),
                        Stopped::Ended => self.ended_at = Some(self.came),
                    }
                    if !batch.is_empty() {
                        return Ok((batch, false));
                    }
                }
                State::Broken(error) if error.retry_after().is_none() => return Err(error),
                State::Broken(error) => self.take_up(error).await?,
                State::Short => {
                    let text = "the server ended it before it was whole";
                    self.take_up(Error::new(ErrorKind::Unavailable, text)).await?;
                }
            }
        }
    }

    /// Whether an end here is the file's: it looks whole, or it ended here before.
    fn is_end(&self) -> bool {
        if self.ended_at == Some(self.came) || self.again.0 == 0 || !self.wire.alive() {
            return true;
        }
        let tail = self.tail.iter().flatten().flatten().copied().collect::<Vec<u8>>();
        ends_whole(&self.front, &tail, self.came)
    }

    fn saw(&mut self, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        let missing = FRONT - self.front.len();
        self.front.extend(batch.iter().flatten().take(missing));
        self.came += batch.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.tail.rotate_left(1);
        self.tail[1].clone_from(batch);
    }

    /// Asks again until the file flows where it broke off.
    async fn take_up(&mut self, mut why: Error) -> Result<()> {
        loop {
            let (left, pause) = self.again;
            if left == 0 || !self.wire.alive() {
                return Err(why);
            }
            self.again = (left - 1, pause * 2);
            tracing::info!("{} after {} bytes; asked for again", one_line(&why), self.came);
            tokio::time::sleep(varied(pause.max(why.retry_after().unwrap_or_default()))).await;
            match self.second_time().await {
                Ok(body) => {
                    self.state = State::Flowing(body);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => why = error,
                Err(error) => return Err(error),
            }
        }
    }

    /// The file from where it broke off, once what came before has proven to be the same.
    async fn second_time(&mut self) -> Result<ByteStream> {
        let Some(kind) = self.wire.sum_kind() else { return Err(unproven("has no checksum")) };
        let (tell, told) = oneshot::channel();
        let asked = self.sums.send(Passing::SumSoFar(kind, tell)).await.is_ok();
        let first = match asked.then_some(told) {
            Some(told) => told.await.ok().flatten(),
            None => None,
        };
        let Some(first) = first else {
            // That thread has failed, and says why when it is waited for.
            self.ended_at = Some(self.came);
            return Ok(stream::empty().boxed());
        };
        let mut body = self.wire.open().await?;
        let (mut left, mut rest) = (self.came, Bytes::new());
        let mut summer = Summer::new(kind);
        while left > 0 {
            let Some(bytes) = body.next().await else {
                let text = "the server ended it earlier than before";
                return Err(Error::new(ErrorKind::Unavailable, text));
            };
            rest = bytes?;
            let part = rest.split_to(rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            summer.update(&part);
            left -= part.len() as u64;
        }
        if summer.finish() != first {
            return Err(unproven("is another one the second time"));
        }
        Ok(stream::iter([Ok(rest)]).chain(body).boxed())
    }
}

/// What the server sends after a break cannot be put behind what came before.
fn unproven(what: &str) -> Error {
    Error::integrity(format!("the stream broke off, and its front {what}")).with_retry_after(PAUSE)
}

async fn gather(body: &mut ByteStream) -> (Batch, Stopped) {
    let (mut batch, mut len) = (Vec::new(), 0);
    while len < BATCH {
        match body.next().await {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) => {
                len += bytes.len();
                batch.push(bytes);
            }
            Some(Err(error)) => return (batch, Stopped::Broken(error)),
            None => return (batch, Stopped::Ended),
        }
    }
    (batch, Stopped::Full)
}
