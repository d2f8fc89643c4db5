//! The terminal of the person: its keys come one by one, none of them means anything here.

use std::io::{IsTerminal, Read};

use bytes::Bytes;
use hyper_common::error::{Error, Result};
use hyper_common::tool::Remarks;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Ctrl-]: the only key that is for hyper.
pub const LEAVE: u8 = 0x1d;

/// A terminal in raw mode; as it was once this is dropped.
pub struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes the terminal on standard input; `None` where there is none.
    ///
    /// # Errors
    /// `Io` for one that cannot be changed.
    pub fn take() -> Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
        let terminal = Self { before };
        terminal.set(true)?;
        Ok(Some(terminal))
    }

    fn set(&self, raw: bool) -> Result<()> {
        let mut mode = self.before.clone();
        if raw {
            mode.make_raw();
        }
        let set = tcsetattr(std::io::stdin(), OptionalActions::Drain, &mode);
        set.map_err(|error| failed(error.into()))
    }

    /// Tells the person something, in lines as they should be.
    ///
    /// # Errors
    /// As [`Terminal::take`].
    pub fn say(&self, remarks: &Remarks, words: &str) -> Result<()> {
        self.set(false)?;
        remarks.say(words);
        self.set(true)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.set(false);
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("set up the terminal", error)
}

/// Columns and rows of the terminal, or those of old.
pub fn size() -> (u16, u16) {
    let sizes = [tcgetwinsize(std::io::stdout()), tcgetwinsize(std::io::stdin())];
    let known = sizes.into_iter().flatten().find(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (size.ws_col, size.ws_row))
}

/// News of the terminal's size.
pub struct Sizes(Signal);

/// Hears of changes of the terminal's size.
///
/// # Errors
/// `Io` where no handler can be had.
pub fn sizes() -> Result<Sizes> {
    signal(SignalKind::window_change()).map(Sizes).map_err(failed)
}

impl Sizes {
    /// The next size.
    pub async fn next(&mut self) -> (u16, u16) {
        self.0.recv().await;
        size()
    }
}

/// What tells a shell at its prompt the size of the terminal. A space in front keeps it out of
/// the shell's history.
pub fn stty((columns, rows): (u16, u16)) -> String {
    format!(" stty rows {rows} cols {columns}\r")
}

/// What comes from standard input, read by a thread of its own, which nobody waits for.
///
/// # Errors
/// `Io` where no thread can be had.
pub fn input() -> Result<mpsc::Receiver<Bytes>> {
    let (sender, keys) = mpsc::channel(16);
    let read = move || {
        let mut buffer = [0; 4096];
        let mut stdin = std::io::stdin().lock();
        while let Ok(len @ 1..) = stdin.read(&mut buffer) {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..len])).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("input".to_owned()).spawn(read);
    thread.map_err(|error| Error::io("read the terminal", error))?;
    Ok(keys)
}
