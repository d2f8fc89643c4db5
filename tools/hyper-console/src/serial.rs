//! A session on a serial line: by a person at a terminal, or by a script.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::fs::Target;
use hyper_common::net::Line;
use hyper_common::provider::LogFrom;
use hyper_common::tool::Context;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::cast::Cast;
use crate::request::Request;
use crate::run::Machine;
use crate::script::{Script, Talk};
use crate::terminal::{self, LEAVE, Terminal};

/// A connection that lasts shorter than this was hardly one.
const SHORT: Duration = Duration::from_secs(10);
/// So many of these in a row, and somebody else wants the line as well.
const FIGHTS: u32 = 4;
/// First and longest wait before a connection is made again.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Bytes that are kept of what was heard, to know it again in a log.
const SEEN: usize = 64 << 10;
/// How much earlier a log's clock may be.
const MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// When it is first asked whether the machine still runs, and how often then.
const LOOKS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// How a connection came to its end.
enum Ended {
    /// The person has left, or the script is through.
    Left,
    /// By the other side, for this reason if it gave one.
    Lost(Option<Error>),
}

/// All that a session is made of beside its connection.
struct Session<'s> {
    talk: Option<Talk>,
    terminal: Option<Terminal>,
    /// What is typed; none where a script does that, or once there is no more.
    keys: Option<mpsc::Receiver<Bytes>>,
    cast: Option<Cast>,
    /// What the script types next.
    typed: Vec<u8>,
    /// The last of what was heard of the machine, and when that was.
    seen: Vec<u8>,
    heard: Timestamp,
    cx: &'s Context,
}

/// Sits down at the serial line of a machine.
///
/// # Errors
/// The provider's; `Unavailable` where the machine ended before a script did; `Conflict` where
/// somebody else takes the line again and again.
pub async fn run(
    machine: &Machine,
    script: &Script,
    record: Option<&(PathBuf, bool)>,
    request: &Request,
    cx: &Context,
) -> Result<()> {
    let line = cx.cancel.unless_cancelled(machine.console()?.serial(&machine.id)).await?;
    let journal = match record {
        Some((path, _)) => {
            let run = cx.begin_run("hyper-console", request, &[&machine.name], &[])?;
            run.making_file(&Target::new(path)?)?;
            Some(run)
        }
        None => None,
    };
    let begun =
        |(path, overwrite): &(PathBuf, bool)| Cast::begin(path, *overwrite, terminal::size());
    let cast = record.map(begun).transpose();
    let outcome = match cast {
        Ok(cast) => attend(machine, line, script, cast, record, cx).await,
        Err(error) => Err(error),
    };
    if let (Some(run), Some((path, _))) = (journal, record) {
        run.settled(&Target::new(path)?)?;
        run.end_one(outcome.as_ref().map(|()| 0))?;
    }
    outcome
}

async fn attend(
    machine: &Machine,
    line: Line,
    script: &Script,
    cast: Option<Cast>,
    record: Option<&(PathBuf, bool)>,
    cx: &Context,
) -> Result<()> {
    let mut talk = (!script.0.is_empty()).then(|| Talk::new(script));
    let typed = talk.as_mut().map(|talk| talk.hear(b"").to_vec()).unwrap_or_default();
    let (terminal, keys) = match &talk {
        Some(_) => (None, None),
        None => (Terminal::take()?, Some(terminal::input()?)),
    };
    let (seen, heard) = (Vec::new(), Timestamp::now());
    let mut session = Session { talk, terminal, keys, cast, typed, seen, heard, cx };
    session.say("connected; Ctrl-] leaves");
    let outcome = session.whole(machine, line).await;
    // What was seen until a failure is worth keeping as well.
    let kept = match (session.cast.take(), record) {
        (Some(cast), Some((_, overwrite))) => cast.finish(*overwrite),
        _ => Ok(()),
    };
    outcome.and(kept)
}

impl Session<'_> {
    /// Connection after connection, until there is nothing more to do.
    async fn whole(&mut self, machine: &Machine, mut line: Line) -> Result<()> {
        let mut fights = 0;
        loop {
            let begun = Instant::now();
            let lost = match self.once(machine, line).await? {
                Ended::Left => return Ok(()),
                Ended::Lost(why) => why,
            };
            fights = if begun.elapsed() < SHORT { fights + 1 } else { 0 };
            if fights == FIGHTS {
                return Err(Error::conflict("somebody else takes the line again and again"));
            }
            let why = lost.as_ref().map(one_line);
            line = match self.again(machine).await? {
                Some(line) => line,
                None => return self.over(),
            };
            let why = why.unwrap_or_else(|| "the connection was ended".to_owned());
            self.say(&format!("{why}; connected again"));
            self.catch_up(machine).await?;
        }
    }

    /// Connects again; `None` where the machine does not run any more.
    async fn again(&self, machine: &Machine) -> Result<Option<Line>> {
        let (console, mut wait) = (machine.console()?, WAITS.0);
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.cx.cancel.cancelled() => self.cx.cancel.check()?,
            }
            wait = (wait * 2).min(WAITS.1);
            let line = async {
                match console.runs(&machine.id).await? {
                    true => console.serial(&machine.id).await.map(Some),
                    false => Ok(None),
                }
            };
            match self.cx.cancel.unless_cancelled(line).await {
                Ok(line) => return Ok(line),
                // The API server may be away as well, and comes back.
                Err(error) if error.kind() == ErrorKind::Unavailable => {}
                // It stopped between both questions.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Shows what was written while there was no connection, as far as somebody kept it. A log
    /// has whole lines alone, and its clock is another: lines that were seen are passed over.
    async fn catch_up(&mut self, machine: &Machine) -> Result<()> {
        let since = self.heard.checked_sub(MARGIN).ok();
        let log = machine.console()?.log(&machine.id, LogFrom { since, follow: false });
        let Ok(mut log) = self.cx.cancel.unless_cancelled(log).await else {
            return self.cx.cancel.check();
        };
        let mut text = Vec::new();
        while let Some(Ok(part)) = log.next().await {
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let seen = String::from_utf8_lossy(&self.seen).into_owned();
        let missed = text.lines().skip_while(|line| seen.contains(&format!("{line}\r\n")));
        let missed: String = missed.flat_map(|line| [line, "\r\n"]).collect();
        self.hear(missed.as_bytes()).map(drop)
    }

    /// The machine runs no more.
    fn over(&self) -> Result<()> {
        match self.talk.as_ref().and_then(Talk::awaited) {
            Some(text) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the machine ended before it wrote {text:?}"),
            )),
            None => {
                self.say("the machine has ended");
                Ok(())
            }
        }
    }

    /// One connection, until it or the person ends it.
    async fn once(&mut self, machine: &Machine, line: Line) -> Result<Ended> {
        let (mut reader, writer) = line.split();
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOKS.0, LOOKS.1);
        let mut sent = writer.send(std::mem::take(&mut self.typed).into()).await;
        loop {
            if self.talk.as_ref().is_some_and(|talk| talk.awaited().is_none()) {
                return Ok(Ended::Left);
            }
            if let Err(error) = sent {
                return Ok(Ended::Lost(Some(error)));
            }
            sent = Ok(());
            tokio::select! {
                () = self.cx.cancel.cancelled() => self.cx.cancel.check()?,
                // One that was made in the machine's last moment may never be ended.
                _ = looks.tick() => {
                    if let Ok(false) = machine.console()?.runs(&machine.id).await {
                        return Ok(Ended::Lost(None));
                    }
                }
                part = reader.next() => {
                    let part = match part {
                        Some(Ok(part)) => part,
                        Some(Err(error)) => return Ok(Ended::Lost(Some(error))),
                        None => return Ok(Ended::Lost(None)),
                    };
                    self.heard = Timestamp::now();
                    if !self.hear(&part)? {
                        return Ok(Ended::Left);
                    }
                    if !self.typed.is_empty() {
                        sent = writer.send(std::mem::take(&mut self.typed).into()).await;
                    }
                }
                typed = next(&mut self.keys) => match typed {
                    None => self.keys = None,
                    Some(typed) => {
                        let own = self.terminal.as_ref().and_then(|_| {
                            typed.iter().position(|byte| *byte == LEAVE)
                        });
                        let typed = typed.slice(..own.unwrap_or(typed.len()));
                        sent = if typed.is_empty() { Ok(()) } else { writer.send(typed).await };
                        if own.is_some() {
                            return Ok(Ended::Left);
                        }
                    }
                },
            }
        }
    }

    /// Shows and records what was written; whether somebody still reads it.
    fn hear(&mut self, bytes: &[u8]) -> Result<bool> {
        if let Some(cast) = &mut self.cast {
            cast.add(bytes)?;
        }
        if let Some(talk) = &mut self.talk {
            self.typed.extend_from_slice(&talk.hear(bytes));
        }
        self.seen.extend_from_slice(bytes);
        if self.seen.len() > 2 * SEEN {
            self.seen.drain(..self.seen.len() - SEEN);
        }
        show(bytes)
    }

    fn say(&self, words: &str) {
        match &self.terminal {
            Some(terminal) => {
                let _ = terminal.say(&self.cx.remarks, words);
            }
            None => tracing::info!("{words}"),
        }
    }
}

/// The next keys; never, where there are none.
async fn next(keys: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes bytes to standard output as they are; false once nobody reads there.
///
/// # Errors
/// `Io`.
pub fn show(bytes: &[u8]) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to standard output", error)),
    }
}
