//! A session on a serial line: by a person at a terminal, or by a script.

use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::fs::Target;
use hyper_common::net::{Line, LineWriter};
use hyper_common::tool::Context;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cast::Cast;
use crate::reach::{self, Fights, Heard};
use crate::record::SessionState;
use crate::request::{MachineRequest, Serial};
use crate::run::Machine;
use crate::script::Talk;
use crate::sessions;
use crate::terminal::{self, LEAVE, Sizes, Terminal};

/// When it is first asked whether the machine still runs, and how often then.
const LOOKS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// How long the machine is silent after the end of input that is no terminal's until it counts as
/// having answered, and the longest that it is listened to then.
const ANSWER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How a connection came to its end.
enum Ended {
    /// The person has left, or the script or what was to be typed is through.
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
    /// Since the end of input that is no terminal's: when to leave.
    leaving: Option<Leaving>,
    cast: Option<Cast>,
    /// What the script types next.
    typed: Vec<u8>,
    heard: Heard,
    /// Changes of the terminal's size, and whether the machine hears of them.
    sizes: Option<Sizes>,
    resize: bool,
    /// What others see of this.
    open: sessions::Session,
    cx: &'s Context,
}

/// Sits down at the serial line of a machine. Input that is no terminal's is typed, and after its
/// end what the machine still says is shown.
///
/// # Errors
/// The provider's; `Unavailable` where the machine ended before a script did; `Conflict` where
/// somebody else takes the line again and again.
pub async fn run(
    machine: &Machine,
    serial: &Serial,
    request: &MachineRequest,
    cx: &Context,
) -> Result<()> {
    let record = serial.record.as_ref();
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
        Ok(cast) => attend(machine, line, serial, cast, cx).await,
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
    Serial { script, record, resize }: &Serial,
    cast: Option<Cast>,
    cx: &Context,
) -> Result<()> {
    let resize = *resize;
    let mut talk = (!script.0.is_empty()).then(|| Talk::new(script));
    let typed = talk.as_mut().map(|talk| talk.hear(b"").to_vec()).unwrap_or_default();
    let (terminal, keys) = match &talk {
        Some(_) => (None, None),
        None => (Terminal::take()?, Some(terminal::input()?)),
    };
    let sizes = terminal.as_ref().map(|_| terminal::sizes()).transpose()?;
    let open = sessions::Session::open("serial", machine, None);
    let heard = Heard::new();
    let mut session = Session {
        talk,
        terminal,
        keys,
        leaving: None,
        cast,
        typed,
        heard,
        sizes,
        resize,
        open,
        cx,
    };
    session.say("connected; Ctrl-] leaves");
    let outcome = session.whole(machine, line).await;
    let outcome = outcome.map_err(|error| session.waiting(error));
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
        let mut fights = Fights::new();
        loop {
            fights.begin();
            self.state(SessionState::Connected);
            let lost = match self.once(machine, line).await? {
                Ended::Left => return Ok(()),
                Ended::Lost(None) if self.leaving.is_some() => return Ok(()),
                Ended::Lost(why) => why,
            };
            fights.lost()?;
            self.state(SessionState::Reconnecting);
            let why = lost.as_ref().map(one_line);
            let told = Cell::new(false);
            let say = |words: &str| {
                told.set(true);
                self.tell(words);
            };
            let again = reach::again(machine, reach::serial, &self.cx.cancel, say);
            line = match again.await? {
                Some(line) => line,
                None => return self.over(),
            };
            let why = why.unwrap_or_else(|| "the connection was ended".to_owned());
            match told.get() {
                true => self.tell("the connection is back"),
                false => self.say(&format!("{why}; connected again")),
            }
            let missed = self.heard.missed(machine, &self.cx.cancel).await?;
            self.hear(missed.as_bytes())?;
        }
    }

    fn state(&self, state: SessionState) {
        self.open.note(|row| {
            row.state = state;
            row.viewers = (state == SessionState::Connected).into();
        });
    }

    /// What was waited for when the time was over.
    fn waiting(&self, error: Error) -> Error {
        let Some(talk) = self.talk.as_ref().filter(|_| error.kind() == ErrorKind::TimedOut) else {
            return error;
        };
        let error = match talk.awaited() {
            Some(text) => error.context(format!("wait until the machine writes {text:?}")),
            None => error,
        };
        match talk.heard_nothing() {
            true => error.with_hint(
                "it wrote nothing, and what it wrote before is not told again: --send '\\r' first \
                 makes a login ask anew",
            ),
            false => error,
        }
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
        let mut looks = tokio::time::interval_at(Instant::now() + LOOKS.0, LOOKS.1);
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
                    if !self.hear(&part)? {
                        return Ok(Ended::Left);
                    }
                    if !self.typed.is_empty() {
                        sent = writer.send(std::mem::take(&mut self.typed).into()).await;
                    }
                }
                typed = next(&mut self.keys) => match typed {
                    None => {
                        self.keys = None;
                        self.leaving = self.terminal.is_none().then(Leaving::begin);
                    }
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
                () = answered(self.leaving.as_ref()) => return Ok(Ended::Left),
                size = changed(&mut self.sizes) => sent = self.resized(size, &writer).await?,
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
        self.heard.add(bytes);
        if let Some(leaving) = &mut self.leaving {
            leaving.heard();
        }
        show(bytes)
    }

    /// The terminal has another size: that is recorded, and typed for a shell where asked. A serial
    /// line has no other way to tell it.
    async fn resized(&mut self, size: (u16, u16), writer: &LineWriter) -> Result<Result<()>> {
        if let Some(cast) = &mut self.cast {
            cast.resize(size)?;
        }
        match self.resize {
            true => Ok(writer.send(terminal::stty(size).into()).await),
            false => Ok(Ok(())),
        }
    }

    /// Tells what a script's reader wants to know as well.
    fn tell(&self, words: &str) {
        match &self.terminal {
            Some(_) => self.say(words),
            None => self.cx.remarks.say(words),
        }
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

/// When to leave after the end of input: the machine may still have something to say to it.
struct Leaving {
    at: Instant,
    latest: Instant,
}

impl Leaving {
    fn begin() -> Self {
        let now = Instant::now();
        Self { at: now + ANSWER.0, latest: now + ANSWER.1 }
    }

    /// The machine has written something.
    fn heard(&mut self) {
        self.at = (Instant::now() + ANSWER.0).min(self.latest);
    }
}

/// Waits until it is time to leave; for ever, where there is no end of input.
async fn answered(leaving: Option<&Leaving>) {
    match leaving {
        Some(leaving) => tokio::time::sleep_until(leaving.at).await,
        None => std::future::pending().await,
    }
}

/// The next keys; never, where there are none.
async fn next(keys: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

/// The next size of the terminal; never, where there is none.
async fn changed(sizes: &mut Option<Sizes>) -> (u16, u16) {
    match sizes {
        Some(sizes) => sizes.next().await,
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
