//! What a running tool has at hand.

use std::io::{BufRead, IsTerminal, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::remarks::Remarks;
use crate::cancel::Cancel;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::output::{Printer, Record};
use crate::progress::{Progress, ProgressMode, Reporter};

/// What a running tool has at hand.
#[derive(Debug)]
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// The way for records to standard output.
    pub printer: Printer,
    /// How progress is shown.
    pub progress: ProgressMode,
    /// Whether only warnings and errors are wanted.
    pub quiet: bool,
    /// The wish to stop, and the list of what a sudden end would leave behind.
    pub cancel: Cancel,
    /// The way for remarks to standard error.
    pub remarks: Remarks,
}

impl Context {
    /// Starts the display of progress on standard error; remarks go through it from now on, so
    /// that they never land in the middle of a bar.
    pub fn start_progress(&self) -> Progress {
        let progress = Progress::start(self.progress, self.quiet);
        self.remarks.go_through(progress.reporter());
        progress
    }

    /// Prints a record as it happens, with what shows progress out of its way.
    ///
    /// # Errors
    /// As [`Printer::next`].
    pub fn print_over<R: Record>(&mut self, progress: &dyn Reporter, record: &R) -> Result<()> {
        let mut printed = Ok(());
        progress.suspend(&mut || printed = self.printer.next(record));
        printed
    }

    /// Asks a person before something that cannot be undone; `yes` is the flag `--yes`.
    ///
    /// # Errors
    /// `Usage` where there is no terminal to ask on; `Interrupted` when the answer is no; those of
    /// being asked to stop.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<()> {
        if yes {
            return Ok(());
        }
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Error::usage(format!("{question} needs an answer"))
                .with_hint("give --yes where nobody can be asked"));
        }
        let failed = |error| Error::io("ask on the terminal", error);
        // Held until the answer: what others have to say does not land behind the question.
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
        while !answered().map_err(failed)? {
            if let Err(stopped) = self.cancel.check() {
                let _ = writeln!(stderr);
                return Err(stopped);
            }
        }
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer).map_err(failed)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::new(crate::error::ErrorKind::Interrupted, "not confirmed")),
        }
    }
}

/// Whether a line was typed, or the terminal is gone; waits a moment for that, so that a signal
/// that comes meanwhile is seen soon.
fn answered() -> std::io::Result<bool> {
    let mut looked = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
    match poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
