//! A run, from its begin to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::entry::{
    Action, ArtifactEntry, Counts, EndLine, Failure, Line, LineBody, Outcome, Thing,
};
use super::journal::{Journal, lock_path};
use super::segment;
use crate::config::Login;
use crate::error::{Error, ErrorKind, Result};

/// A run that is in the journal and alive. May be used from many threads. Dropped without
/// [`Run::end`] it counts as lost, as if it had been killed.
#[derive(Debug)]
pub struct Run {
    journal: Journal,
    id: String,
    begun_in: String,
    since: Instant,
    /// `None` once the run has ended.
    lock: Mutex<Option<File>>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct End {
    /// The outcome: succeeded, failed, partial or interrupted ([`Outcome::of`] an error).
    pub outcome: Outcome,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// What became of the machines or files it was about.
    pub counts: Counts,
    /// Bytes that were read from sources.
    pub read_bytes: u64,
    /// Bytes that were written to targets.
    pub written_bytes: u64,
}

impl Run {
    pub(super) fn new(journal: Journal, id: String, begun_in: String, lock: File) -> Self {
        Self { journal, id, begun_in, since: Instant::now(), lock: Mutex::new(Some(lock)) }
    }

    /// The run's id, which sorts by time and is what `hyper history runs show` takes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Says that `thing` is about to be made. On the medium when this returns: call it first, so
    /// that after a kill the thing is known.
    ///
    /// # Errors
    /// As [`Journal::begin`]; `NotFound` where a file's folder does not exist yet. `thing` must
    /// then not be made.
    pub fn making(&self, thing: &Thing) -> Result<()> {
        self.note(Action::Making, thing, true)
    }

    /// Says that `thing` was removed.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn removed(&self, thing: &Thing) -> Result<()> {
        self.note(Action::Removed, thing, false)
    }

    /// Says that `thing` became what was asked for, under its final name.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn committed(&self, thing: &Thing) -> Result<()> {
        self.note(Action::Committed, thing, false)
    }

    /// Says that an artifact stands under its final name.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn artifact(&self, artifact: &ArtifactEntry) -> Result<()> {
        self.write(LineBody::Artifact(artifact.clone()), false)
    }

    /// Says how the run got into a server.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn login(&self, login: &Login) -> Result<()> {
        self.write(LineBody::Login(login.clone()), false)
    }

    /// Ends the run; on the medium when this returns. A second end is ignored.
    ///
    /// # Errors
    /// As [`Journal::begin`]: the run then counts as lost once its process has ended.
    /// `Internal` for an outcome that only an onlooker can see.
    pub fn end(&self, end: End) -> Result<()> {
        if matches!(end.outcome, Outcome::Running | Outcome::Lost) {
            return Err(Error::new(ErrorKind::Internal, "no run ends as running or lost"));
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Ok(());
        }
        let line = LineBody::End(EndLine {
            outcome: end.outcome,
            error: end.error,
            counts: end.counts,
            read_bytes: end.read_bytes,
            written_bytes: end.written_bytes,
            seconds: (self.since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        });
        self.write(line, true)?;
        // After the end is written, so that an onlooker never takes the run for lost.
        *lock = None;
        let _ = std::fs::remove_file(lock_path(self.journal.dir(), &self.id));
        Ok(())
    }

    fn note(&self, action: Action, thing: &Thing, sync: bool) -> Result<()> {
        let thing = match thing {
            Thing::File { path } => Thing::File { path: place_of(path)? },
            remote @ Thing::Remote { .. } => remote.clone(),
        };
        self.write(LineBody::Note { action, thing }, sync)
    }

    fn write(&self, body: LineBody, sync: bool) -> Result<()> {
        let now = Timestamp::now();
        // Never into a file before the one of the begin, should the clock be set back: readers
        // go from the newest to the oldest and must meet the begin last.
        let name = segment::name_at(now).max(self.begun_in.clone());
        self.journal.write(&name, &Line { run: self.id.clone(), time: now, body }, sync)
    }
}

/// The absolute path with its folder's links resolved, which stays the same wherever the process
/// that looks later was started, and tells when another folder stands there.
fn place_of(path: &Path) -> Result<PathBuf> {
    let failed = |e| Error::io("find the folder", e).with_subject(path.display().to_string());
    let absolute = std::path::absolute(path).map_err(failed)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => Ok(std::fs::canonicalize(folder).map_err(failed)?.join(name)),
        _ => Ok(absolute),
    }
}
