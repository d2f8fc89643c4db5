//! Reaching a machine again whose connection broke, and what it wrote meanwhile.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::net::Line;
use hyper_common::provider::LogFrom;
use jiff::Timestamp;

use crate::run::Machine;

/// A connection that lasts shorter than this was hardly one.
const SHORT: Duration = Duration::from_secs(10);
/// So many of these in a row, and somebody else wants the machine as well.
const FIGHTS: u32 = 4;
/// First and longest wait before a connection is made again.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Bytes that are kept of what was heard, to know it again in a log.
const SEEN: usize = 64 << 10;
/// How much earlier a log's clock may be.
const MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// Counts connections that were hardly ones.
#[derive(Debug)]
pub struct Fights {
    begun: Instant,
    count: u32,
}

impl Fights {
    /// With the first connection.
    pub fn new() -> Self {
        Self { begun: Instant::now(), count: 0 }
    }

    /// A connection has begun.
    pub fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// It has ended, against the will of this side.
    ///
    /// # Errors
    /// `Conflict` where that happens again and again.
    pub fn lost(&mut self) -> Result<()> {
        self.count = if self.begun.elapsed() < SHORT { self.count + 1 } else { 0 };
        match self.count == FIGHTS {
            true => Err(Error::conflict("somebody else takes the connection again and again")),
            false => Ok(()),
        }
    }
}

/// A way to connect.
pub type Way = for<'m> fn(&'m Machine) -> BoxFuture<'m, Result<Line>>;

/// Connects again, once that works; `None` where the machine does not run any more. A person is
/// told that this lasts: `say` takes the words.
///
/// # Errors
/// The provider's, but for those that pass; those of being asked to stop.
pub async fn again(
    machine: &Machine,
    way: Way,
    cancel: &Cancel,
    say: impl Fn(&str),
) -> Result<Option<Line>> {
    let (console, mut wait, mut told) = (machine.console()?, WAITS.0, false);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => cancel.check()?,
        }
        wait = (wait * 2).min(WAITS.1);
        let line = async {
            match console.runs(&machine.id).await? {
                true => way(machine).await.map(Some),
                false => Ok(None),
            }
        };
        match cancel.unless_cancelled(line).await {
            Ok(line) => return Ok(line),
            // The API server may be away as well, and comes back.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                if !std::mem::replace(&mut told, true) {
                    let why = one_line(&error);
                    say(&format!("the connection is lost ({why}); trying again"));
                }
            }
            // It stopped between both questions.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connects to the serial line.
pub fn serial(machine: &Machine) -> BoxFuture<'_, Result<Line>> {
    Box::pin(async move { machine.console()?.serial(&machine.id).await })
}

/// The last of what was heard of a machine, and when that was.
#[derive(Debug)]
pub struct Heard {
    last: Vec<u8>,
    when: Timestamp,
}

impl Heard {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { last: Vec::new(), when: Timestamp::now() }
    }

    /// Adds what was written just now.
    pub fn add(&mut self, bytes: &[u8]) {
        self.when = Timestamp::now();
        self.last.extend_from_slice(bytes);
        if self.last.len() > 2 * SEEN {
            self.last.drain(..self.last.len() - SEEN);
        }
    }

    /// What was written while there was no connection, as far as somebody kept it. A log has whole
    /// lines alone, and its clock is another: lines that were heard are passed over.
    ///
    /// # Errors
    /// Those of being asked to stop.
    pub async fn missed(&self, machine: &Machine, cancel: &Cancel) -> Result<String> {
        let since = self.when.checked_sub(MARGIN).ok();
        let log = machine.console()?.log(&machine.id, LogFrom { since, follow: false });
        let Ok(mut log) = cancel.unless_cancelled(log).await else {
            return cancel.check().map(|()| String::new());
        };
        let mut text = Vec::new();
        while let Some(Ok(part)) = log.next().await {
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let heard = String::from_utf8_lossy(&self.last).into_owned();
        let missed = text.lines().skip_while(|line| heard.contains(&format!("{line}\r\n")));
        Ok(missed.flat_map(|line| [line, "\r\n"]).collect())
    }
}
