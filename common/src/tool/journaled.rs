//! Runs of tools in the journal.

use serde::Serialize;

use super::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{Folders, Target};
use crate::history::{Begin, Counts, End, Failure, Journal, Outcome, Run, Thing};

/// A run that is in the journal. Dropped without an end it counts as lost.
#[derive(Debug)]
pub struct JournaledRun(Run);

impl std::ops::Deref for JournaledRun {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.0
    }
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
        journal.begin(begin).map(JournaledRun)
    }
}

impl JournaledRun {
    /// Notes the partial file of an artifact before it is made; its folder exists.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn making_file(&self, place: &Target) -> Result<()> {
        let path = place.partial_path();
        let path = std::path::absolute(&path).unwrap_or(path);
        self.0.making(&Thing::File { path })
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
        self.0.end(End {
            outcome: Outcome::of(error),
            error: error.map(Failure::from),
            counts,
            read_bytes: 0,
            written_bytes: written,
        })
    }
}
