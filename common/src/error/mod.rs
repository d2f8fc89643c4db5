//! The one error type of hyper, its kinds, and how both are reported.
//!
//! An [`Error`] says what was being done (`op`), to what (`subject`), why it failed (its kind and
//! its source) and what to do next (hints). Levels add their own words with [`ResultExt`]; no
//! level repeats the words of the one below.

mod kind;
mod report;

use std::time::Duration;

pub use kind::ErrorKind;
pub use report::{ErrorRecord, one_line};

/// A source of an [`Error`]: any error of a library or of the operating system.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What hyper functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what was being done to what, why it failed and what may help.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    subject: Option<String>,
    hints: Vec<String>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

impl Error {
    /// A failure of `kind`; `message` is a clause without a full stop, such as
    /// `"the descriptor names no extents"`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            subject: None,
            hints: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Wrong flags or arguments (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something that was asked for does not exist (exit 5).
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The target, platform or format cannot do this (exit 7).
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Something exists, is locked or is ambiguous (exit 6).
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Data is not what it should be (exit 9).
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Integrity, message)
    }

    /// A failed system call: `message` says what was being done, such as `"read disk.vmdk"`.
    /// The kind follows the operating system's error: a missing file is `NotFound`, a refused
    /// one `Auth`, an existing one `Conflict`, all else `Io`.
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::of_io(&source), message).with_source(source)
    }

    /// How a run ends that was about `total` things, some of which failed: well where none did, with
    /// the failure itself where there was one thing alone, else with one whose kind is that of all
    /// failures where everything failed in one way, and `Partial` where not. `words` says how many
    /// failed.
    ///
    /// # Errors
    /// As said.
    pub fn of_several(
        mut failures: Vec<Self>,
        total: usize,
        words: impl FnOnce(usize) -> String,
    ) -> Result<()> {
        let failed = failures.len();
        let Some(last) = failures.pop() else { return Ok(()) };
        if total == 1 {
            return Err(last);
        }
        let one_way = failures.iter().all(|it| it.kind() == last.kind());
        let kind = if failed == total && one_way { last.kind() } else { ErrorKind::Partial };
        Err(Self::new(kind, words(failed)))
    }

    /// Names the thing that the failure is about: a file, a VM, a disk.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject.get_or_insert(subject.into());
        self
    }

    /// Adds a line that says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Keeps the lower error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// How long the server asked to wait before another try.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Puts this error below a new one of the same kind that says what the level above was doing.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let hints = self.0.hints.clone();
        let mut outer = Self::new(self.0.kind, message);
        outer.0.hints = hints;
        outer.0.retry_after = self.0.retry_after;
        outer.with_source(self)
    }

    /// The kind, which decides the exit status.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// This level's own words, without subject, source or hints.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The thing that failed, where one was named.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// What to do next, in the order it was added.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.subject() {
            Some(subject) => write!(f, "{subject}: {}", self.message()),
            None => f.write_str(self.message()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Adds words of the level above to a failure on its way up.
pub trait ResultExt<T> {
    /// Says what this level was doing; evaluated only on failure.
    fn context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T>;
    /// Names the thing it was done to, unless a level below already did.
    fn subject<S: Into<String>>(self, subject: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }

    fn subject<S: Into<String>>(self, subject: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().with_subject(subject()))
    }
}
