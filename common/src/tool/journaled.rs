//! Runs of tools in the journal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Context;
use crate::config::Logins;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{Folders, Target};
use crate::history::{ArtifactEntry, Begin, Counts, End, Failure, Journal, Outcome, Run, Thing};

/// A run that is in the journal. Dropped without an end it counts as lost.
#[derive(Debug)]
pub struct JournaledRun {
    pub(super) run: Arc<Run>,
    /// Partial files that were noted and are not known to be gone, absolute.
    made: Mutex<BTreeSet<PathBuf>>,
    logins: Logins,
}

impl Context {
    /// Writes the begin of a run, before any of its work. `request` is what is to be done; it holds
    /// no secrets.
    ///
    /// # Errors
    /// Where the journal cannot be written: nothing may be begun then.
    pub fn begin_run(
        &self,
        tool: &str,
        request: &impl Serialize,
        sources: &[&str],
        targets: &[&str],
    ) -> Result<JournaledRun> {
        let request = serde_json::to_value(request).map_err(|error| {
            Error::new(ErrorKind::Internal, "store the request").with_source(error)
        })?;
        let journal = Journal::open(&Folders::from_environment()?.history())?;
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let begin =
            Begin { tool: tool.into(), request, sources: own(sources), targets: own(targets) };
        let run = journal.begin(begin)?;
        let logins = self.config.logins_of_run();
        Ok(JournaledRun { run: Arc::new(run), made: Mutex::default(), logins })
    }
}

impl JournaledRun {
    /// Notes the partial file of an artifact before it is made; its folder exists.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn making_file(&self, place: &Target) -> Result<()> {
        let path = absolute(&place.partial_path());
        self.run.making(&Thing::File { path: path.clone() })?;
        self.made().insert(path);
        Ok(())
    }

    /// Says that an artifact stands under its final name, and that its partial file is gone. Its
    /// path is stored so that it can be found from any folder; `-` is standard output.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn artifact(&self, artifact: ArtifactEntry) -> Result<()> {
        if artifact.path == "-" {
            return self.run.artifact(&artifact);
        }
        let path = absolute(Path::new(&artifact.path));
        self.run.artifact(&ArtifactEntry { path: path.display().to_string(), ..artifact })?;
        self.settled(&Target::new(&path)?)
    }

    /// Says that nothing but the artifact itself remains at `place`. While a state stands there
    /// nothing is said: a sudden end would leave it.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn settled(&self, place: &Target) -> Result<()> {
        let partial = absolute(&place.partial_path());
        if !has_state(&partial) && self.made().remove(&partial) {
            self.run.committed(&Thing::File { path: partial })?;
        }
        Ok(())
    }

    /// Notes which partial files were removed on the way, so that only those are told that a
    /// later run or a person finds.
    fn note_removed(&self) -> Result<()> {
        for path in std::mem::take(&mut *self.made()) {
            let folder_is_there = path.parent().is_some_and(Path::exists);
            if folder_is_there && !path.exists() && !has_state(&path) {
                self.run.removed(&Thing::File { path })?;
            }
        }
        Ok(())
    }

    /// Whether the same run, begun again, would go on from what this one leaves. Ask before the
    /// end.
    pub fn can_be_continued(&self) -> bool {
        self.made().iter().any(|path| path.exists() && has_state(path))
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a run that was about one thing; `outcome` is the bytes it wrote.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn end_one(&self, outcome: std::result::Result<u64, &Error>) -> Result<()> {
        let done = u64::from(outcome.is_ok());
        let counts = Counts { total: 1, succeeded: done, failed: 1 - done, ..Counts::default() };
        self.end_with(outcome.as_ref().err().copied(), counts, outcome.unwrap_or(0))
    }

    /// Ends a run that was about several things.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn end_with(&self, error: Option<&Error>, counts: Counts, written: u64) -> Result<()> {
        self.note_removed()?;
        for login in self.logins.all() {
            self.run.login(&login)?;
        }
        self.run.end(End {
            outcome: Outcome::of(error),
            error: error.map(Failure::from),
            counts,
            read_bytes: 0,
            written_bytes: written,
        })
    }
}

/// Whether a state file stands beside a partial file.
fn has_state(partial: &Path) -> bool {
    Target::of_temporary(partial).is_some_and(|place| place.state_path().exists())
}

/// The path from the root on, as far as that can be had.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
