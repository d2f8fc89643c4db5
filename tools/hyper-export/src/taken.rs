//! What is told of a name that is taken.

use std::path::Path;

use hyper_common::error::Error;
use hyper_common::fs::Folders;
use hyper_common::history::{Outcome, RunFilter, Runs};

/// The error for a final name under which something stands. Where the last run that made it was
/// killed before it had named all of its files, the hint says so.
pub fn taken(path: &Path) -> Error {
    let error = Error::conflict("the file exists").with_subject(path.display().to_string());
    match killed_maker(path) {
        Some(run) => error.with_hint(format!(
            "run {run} was killed while it named its files: --overwrite makes them anew"
        )),
        None => error.with_hint("give --overwrite to replace it, or another --to"),
    }
}

/// The last run that made the file, if it was killed. A journal that cannot be read tells of none.
fn killed_maker(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?.display().to_string();
    let history = Folders::from_environment().ok()?.history();
    let runs = Runs::open(&history, RunFilter::default()).ok()?.filter_map(Result::ok);
    let mut makers = runs.filter(|run| run.artifacts.iter().any(|file| file.path == path));
    makers.next().filter(|run| run.outcome == Outcome::Lost).map(|run| run.id)
}
