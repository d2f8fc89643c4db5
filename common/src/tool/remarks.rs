//! Remarks for people on standard error.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, layer};

use crate::net::REMARK;
use crate::output::printable;
use crate::progress::Reporter;

/// The way to tell a person something while a tool runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remarks {
    name: &'static str,
    quiet: bool,
    reporter: Arc<OnceLock<Arc<dyn Reporter>>>,
}

impl Remarks {
    /// Remarks of the program `name`; with `quiet` only warnings are heard.
    pub fn new(name: &'static str, quiet: bool) -> Self {
        Self { name, quiet, reporter: Arc::default() }
    }

    /// Sends all further remarks through the display of progress. The first one stays.
    pub fn go_through(&self, reporter: Arc<dyn Reporter>) {
        let _ = self.reporter.set(reporter);
    }

    /// Tells something worth knowing; silent under `--quiet`.
    pub fn say(&self, text: &str) {
        match self.reporter.get() {
            _ if self.quiet => {}
            Some(reporter) => reporter.note(text),
            None => print(text),
        }
    }

    /// Warns: something was done, but not quite as one might expect.
    pub fn warn(&self, text: &str) {
        match self.reporter.get() {
            Some(reporter) => reporter.warn(text),
            None => print(&format!("{}: warning: {text}", self.name)),
        }
    }

    /// The log as something to write to: each write is one line, and never lands in a bar.
    pub(super) fn log(&self) -> Log {
        Log(self.clone())
    }

    /// Tells what happens to the program itself, whatever was asked to be quiet.
    pub(super) fn announce(&self, text: &str) {
        match self.reporter.get() {
            Some(reporter) => reporter.warn(text),
            None => print(&format!("{}: {text}", self.name)),
        }
    }
}

/// Takes the lines of the log.
#[derive(Debug)]
pub(super) struct Log(Remarks);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        match self.0.reporter.get() {
            Some(reporter) => reporter.suspend(&mut || print(text.trim_end())),
            None => print(text.trim_end()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Warns of what the log calls a warning, and tells what it calls a remark.
#[derive(Debug)]
pub(super) struct Warnings(pub Remarks);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let mut text = Message(String::new());
        event.record(&mut text);
        match event.metadata().target() {
            REMARK => self.0.say(&text.0),
            _ => self.0.warn(&text.0),
        }
    }
}

/// The words of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Prints a line, control characters escaped. Nobody listening is no failure.
pub(super) fn print(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(line));
}
