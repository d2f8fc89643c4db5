//! The serial line for browsers: all tabs share one connection to it, which is made again where it
//! breaks, and a tab that comes later sees what was written before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::net::Line;
use hyper_common::provider::LogFrom;
use hyper_common::tool::Remarks;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use crate::reach::{self, Fights, Heard};
use crate::record::SessionState;
use crate::run::Machine;
use crate::sessions::Session;
use crate::socket;

/// Bytes of what was written before that a new tab sees.
const BACKLOG: usize = 64 << 10;
/// Pieces that are kept for a tab that is slow.
const PIECES: usize = 1024;

/// Something that all tabs are told.
#[derive(Debug, Clone)]
enum Told {
    /// What the machine wrote.
    Written(Bytes),
    /// How the connection is, and why.
    State(String),
}

#[derive(Default)]
struct Held {
    /// The way to the machine, while somebody holds the connection.
    keys: Option<mpsc::Sender<Bytes>>,
    backlog: Vec<u8>,
    state: String,
}

/// The tabs.
pub struct Tabs {
    machine: Machine,
    open: Arc<Session>,
    cancel: Cancel,
    remarks: Remarks,
    line: Mutex<Held>,
    told: broadcast::Sender<Told>,
    count: watch::Sender<usize>,
}

impl Tabs {
    /// None yet.
    pub fn new(
        machine: Machine,
        open: Arc<Session>,
        cancel: Cancel,
        remarks: Remarks,
    ) -> Arc<Self> {
        let (told, count) = (broadcast::Sender::new(PIECES), watch::Sender::new(0));
        let line = Mutex::default();
        Arc::new(Self { machine, open, cancel, remarks, line, told, count })
    }

    fn line(&self) -> MutexGuard<'_, Held> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one tab, until it goes.
    ///
    /// # Errors
    /// `Unavailable` when its connection breaks.
    pub async fn attend<S>(self: &Arc<Self>, connection: S) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let gone = |error| {
            Error::new(ErrorKind::Unavailable, "the browser's connection broke").with_source(error)
        };
        let mut socket = socket::over(connection).await;
        let _viewer = self.open.viewer();
        let (keys, mut told, backlog, state) = self.enter();
        let _count = Counted(&self.count);
        socket.send(Message::Binary(backlog)).await.map_err(gone)?;
        socket.send(Message::Text(state.into())).await.map_err(gone)?;
        let mut pings = tokio::time::interval(socket::PING);
        loop {
            let message = tokio::select! {
                told = told.recv() => match told {
                    Ok(Told::Written(bytes)) => Message::Binary(bytes),
                    Ok(Told::State(state)) => Message::Text(state.into()),
                    // It was too slow for some; what is newer follows.
                    Err(_) => continue,
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(typed))) => {
                        // While there is no connection it comes to nothing.
                        let _ = keys.send(typed).await;
                        continue;
                    }
                    None | Some(Ok(Message::Close(_)) | Err(_)) => return Ok(()),
                    Some(Ok(_)) => continue,
                },
            };
            socket.send(message).await.map_err(gone)?;
        }
    }

    /// Comes in, and sees to it that there is a connection.
    fn enter(self: &Arc<Self>) -> (mpsc::Sender<Bytes>, broadcast::Receiver<Told>, Bytes, String) {
        let mut line = self.line();
        self.count.send_modify(|count| *count += 1);
        let keys = match &line.keys {
            Some(keys) => keys.clone(),
            None => {
                let (keys, typed) = mpsc::channel(64);
                line.keys = Some(keys.clone());
                line.state = state("connecting", "");
                tokio::spawn(self.clone().hold(typed));
                keys
            }
        };
        let backlog = Bytes::copy_from_slice(&line.backlog);
        (keys, self.told.subscribe(), backlog, line.state.clone())
    }

    fn write(&self, bytes: Bytes) {
        // Under the lock, so that a new tab gets each piece once.
        let mut line = self.line();
        line.backlog.extend_from_slice(&bytes);
        if line.backlog.len() > 2 * BACKLOG {
            let more = line.backlog.len() - BACKLOG;
            line.backlog.drain(..more);
        }
        let _ = self.told.send(Told::Written(bytes));
    }

    fn tell(&self, word: &str, why: &str) {
        let mut line = self.line();
        line.state = state(word, why);
        let _ = self.told.send(Told::State(line.state.clone()));
    }

    /// Holds the connection for as long as there are tabs.
    async fn hold(self: Arc<Self>, mut typed: mpsc::Receiver<Bytes>) {
        let end = tokio::select! {
            end = self.follow(&mut typed) => end,
            () = self.deserted() => return,
        };
        // The next tab tries again.
        self.line().keys = None;
        match end {
            Ok(()) => self.tell("ended", "the machine has ended"),
            Err(error) => {
                let words = one_line(&error);
                self.remarks.warn(&format!("the serial line: {words}"));
                self.tell("failed", &words);
            }
        }
    }

    /// Until there is no tab any more.
    async fn deserted(&self) {
        let mut count = self.count.subscribe();
        loop {
            if count.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            let mut line = self.line();
            if *self.count.borrow() == 0 {
                line.keys = None;
                return;
            }
        }
    }

    async fn follow(&self, typed: &mut mpsc::Receiver<Bytes>) -> Result<()> {
        if self.line().backlog.is_empty() {
            self.remember().await;
        }
        let (mut heard, mut fights) = (Heard::new(), Fights::new());
        let mut line = reach::serial(&self.machine).await?;
        loop {
            fights.begin();
            self.tell("connected", "");
            let why = self.relay(line, typed, &mut heard).await;
            fights.lost()?;
            let why = why.as_ref().map_or("the connection was ended".to_owned(), one_line);
            self.tell("reconnecting", &why);
            self.open.note(|row| row.state = SessionState::Reconnecting);
            // The page shows that it is tried again.
            let again = reach::again(&self.machine, reach::serial, &self.cancel, |_| ());
            line = match again.await? {
                Some(line) => line,
                None => return Ok(()),
            };
            self.open.note(|row| row.state = SessionState::Connected);
            let missed = heard.missed(&self.machine, &self.cancel).await?;
            heard.add(missed.as_bytes());
            self.write(missed.into());
        }
    }

    /// What the machine wrote before anybody looked, where somebody keeps that.
    async fn remember(&self) {
        let Ok(console) = self.machine.console() else { return };
        let Ok(mut log) = console.log(&self.machine.id, LogFrom::default()).await else { return };
        let mut text = Vec::new();
        while let Some(Ok(part)) = log.next().await {
            text.extend_from_slice(&part);
            if text.len() > 2 * BACKLOG {
                text.drain(..text.len() - BACKLOG);
            }
        }
        let text = String::from_utf8_lossy(&text);
        let text: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
        self.write(text.into());
    }

    /// Passes on both ways until the connection ends; why, if it was told.
    async fn relay(
        &self,
        line: Line,
        typed: &mut mpsc::Receiver<Bytes>,
        heard: &mut Heard,
    ) -> Option<Error> {
        let (mut reader, writer) = line.split();
        loop {
            tokio::select! {
                part = reader.next() => match part? {
                    Ok(bytes) => {
                        heard.add(&bytes);
                        self.write(bytes);
                    }
                    Err(error) => return Some(error),
                },
                Some(bytes) = typed.recv() => {
                    if let Err(error) = writer.send(bytes).await {
                        return Some(error);
                    }
                }
            }
        }
    }
}

/// A tab that is counted, until dropped.
struct Counted<'t>(&'t watch::Sender<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn state(word: &str, why: &str) -> String {
    json!({ "state": word, "why": why }).to_string()
}
