//! Removing what runs left behind that were killed, interrupted or failed.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::entry::{Outcome, Thing};
use super::filter::RunFilter;
use super::journal::{Journal, lock_path};
use super::query::Runs;
use crate::error::{ErrorKind, Result, one_line};
use crate::fs::Target;
use crate::output::{Cell, Column, Record};
use crate::provider::Reclaimed;

/// What became of something left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is gone.
    Removed,
    /// It would go.
    WouldRemove,
    /// It stays, as it should; the reason says why.
    Kept,
    /// It should have gone; the reason says why it did not.
    Failed,
}

/// Something that a run left behind: `hyper.leftover/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The run's id.
    pub run: String,
    /// How that run ended.
    pub outcome: Outcome,
    /// What it left.
    pub thing: Thing,
    /// What became of it.
    pub fate: Fate,
    /// Why it stays.
    pub reason: Option<String>,
}

impl Record for Leftover {
    const SCHEMA: &'static str = "hyper.leftover/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("fate", "FATE"),
        Column::text("thing", "THING").width(40),
        Column::text("run", "RUN").width(24),
        Column::text("outcome", "OUTCOME"),
        Column::text("reason", "REASON"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let fate = match self.fate {
            Fate::Removed => "removed",
            Fate::WouldRemove => "would remove",
            Fate::Kept => "kept",
            Fate::Failed => "failed",
        };
        vec![
            fate.into(),
            Cell::text(self.thing.to_string()),
            Cell::text(&self.run),
            self.outcome.name().into(),
            self.reason.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.thing.to_string()
    }
}

/// Goes through the runs in the journal `dir` that are over and tells `each` what they left and
/// what became of it, newest run first. With `dry_run` nothing is changed. A local file is only
/// removed where its name is one of [`crate::fs::Target`]'s, its folder is where the journal
/// says, and no living run works on it; things on platforms are removed by `remote`, which is told
/// whether it may, and what of it is there. What is gone is noted, so that it is not looked for
/// again.
///
/// # Errors
/// What the operating system said about the journal; what `each` answers. A file that cannot be
/// removed is no error but [`Fate::Failed`].
pub fn clean(
    dir: &Path,
    dry_run: bool,
    remote: &mut dyn FnMut(&Thing, bool) -> Result<Reclaimed>,
    each: &mut dyn FnMut(Leftover) -> Result<()>,
) -> Result<()> {
    let journal = if dry_run { None } else { Some(Journal::open(dir)?) };
    let mut seen = in_work(dir)?;
    for run in Runs::open(dir, RunFilter::default())? {
        let run = run?;
        if run.outcome == Outcome::Running {
            continue;
        }
        let mut all_gone = true;
        // What was made on a platform last stands in the way of what was made before.
        let (files, remote_things): (Vec<_>, Vec<_>) =
            run.leftovers.into_iter().partition(|thing| matches!(thing, Thing::File { .. }));
        for thing in files.into_iter().chain(remote_things.into_iter().rev()) {
            // Partial file and state of one artifact go together, and several runs may have left
            // the same.
            let known = !seen.insert(one_of(&thing));
            let settled = match &thing {
                Thing::File { path } => match look(path) {
                    Found::Gone => None,
                    _ if known => continue,
                    found => Some(settle(found, dry_run)),
                },
                Thing::Remote { .. } if known => continue,
                Thing::Remote { .. } => settle_remote(remote(&thing, dry_run)),
            };
            let Some((fate, reason)) = settled else {
                note_gone(journal.as_ref(), &run.id, &thing)?;
                continue;
            };
            match fate {
                Fate::Removed => note_gone(journal.as_ref(), &run.id, &thing)?,
                Fate::Kept | Fate::WouldRemove | Fate::Failed => all_gone = false,
            }
            each(Leftover { run: run.id.clone(), outcome: run.outcome, thing, fate, reason })?;
        }
        if run.outcome == Outcome::Lost && all_gone && !dry_run {
            // Nobody holds it and nobody will.
            let _ = std::fs::remove_file(lock_path(dir, &run.id));
        }
    }
    Ok(())
}

/// The things on platforms that living runs work on: one may go on with what a killed one began,
/// under the same name.
///
/// # Errors
/// What the operating system said about the journal.
pub fn in_work(dir: &Path) -> Result<HashSet<Thing>> {
    let filter = RunFilter { outcomes: vec![Outcome::Running], ..RunFilter::default() };
    let mut things = HashSet::new();
    for run in Runs::open(dir, filter)? {
        let remote = |it: &Thing| matches!(it, Thing::Remote { .. });
        things.extend(run?.leftovers.into_iter().filter(remote));
    }
    Ok(things)
}

/// What a thing is removed with: for a temporary file all that is beside its final name.
fn one_of(thing: &Thing) -> Thing {
    match thing {
        Thing::File { path } => match Target::of_temporary(path) {
            Some(target) => Thing::File { path: target.path().to_owned() },
            None => thing.clone(),
        },
        Thing::Remote { .. } => thing.clone(),
    }
}

/// What stands where a run made a file.
enum Found {
    Gone,
    There(Target),
    Kept(String),
}

fn look(path: &Path) -> Found {
    let Some(target) = Target::of_temporary(path) else {
        return Found::Kept("its name is none that hyper gives to temporary files".into());
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    match std::fs::canonicalize(folder) {
        Ok(real) if real == folder => {}
        Ok(_) => return Found::Kept("another folder stands where its folder was".into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Found::Gone,
        Err(e) => return Found::Kept(e.to_string()),
    }
    for name in target.temporaries() {
        match std::fs::symlink_metadata(&name) {
            Ok(found) if found.is_file() => return Found::There(target),
            Ok(_) => return Found::Kept("it is not a plain file".into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Found::Kept(e.to_string()),
        }
    }
    Found::Gone
}

/// Does, or in a dry run only says, what is to be done about what was found.
fn settle(found: Found, dry_run: bool) -> (Fate, Option<String>) {
    match found {
        Found::Gone => (Fate::Removed, None),
        Found::Kept(reason) => (Fate::Kept, Some(reason)),
        Found::There(_) if dry_run => (Fate::WouldRemove, None),
        Found::There(target) => remove(&target),
    }
}

/// What became of a thing on a platform; `None` where it was gone already.
fn settle_remote(answer: Result<Reclaimed>) -> Option<(Fate, Option<String>)> {
    match answer {
        Ok(Reclaimed::Gone) => None,
        Ok(Reclaimed::Found) => Some((Fate::WouldRemove, None)),
        Ok(Reclaimed::Removed) => Some((Fate::Removed, None)),
        Ok(Reclaimed::Kept(reason)) => Some((Fate::Kept, Some(reason))),
        Err(error) => Some((Fate::Failed, Some(one_line(&error)))),
    }
}

/// Removes what stands beside the final name.
fn remove(target: &Target) -> (Fate, Option<String>) {
    match target.claim().map(crate::fs::Claim::discard) {
        Ok(None) => (Fate::Removed, None),
        Ok(Some(left)) => (Fate::Failed, Some(format!("cannot remove {left}"))),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            (Fate::Kept, Some(error.message().to_owned()))
        }
        Err(error) => (Fate::Failed, Some(one_line(&error))),
    }
}

fn note_gone(journal: Option<&Journal>, run: &str, thing: &Thing) -> Result<()> {
    journal.map_or(Ok(()), |journal| journal.note_removed(run, thing))
}
