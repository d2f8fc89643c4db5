//! Doing what `hyper history` is asked to.

use std::path::Path;

use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::fs::Folders;
use hyper_common::history::{
    Begin, Counts, End, Failure, Fate, Journal, Leftover, Outcome, Run, RunFilter, Runs, clean,
    find_run,
};
use hyper_common::output::OutputFormat;
use hyper_common::tool::{Context, Tool};

use crate::History;
use crate::record::facts;
use crate::request::Request;

/// Carries out a request.
pub fn run(request: &Request, cx: &mut Context) -> Result<()> {
    let dir = Folders::from_environment()?.history();
    match request {
        Request::List { filter, limit } => list(&dir, filter, *limit, cx),
        Request::Show { id } => show(&dir, id, cx),
        Request::Clean { dry_run: true, .. } => preview(&dir, cx),
        Request::Clean { yes, .. } => clean_up(&dir, *yes, request, cx),
    }
}

fn list(dir: &Path, filter: &RunFilter, limit: Option<usize>, cx: &mut Context) -> Result<()> {
    let mut list = cx.printer.list();
    for run in Runs::open(dir, filter.clone())?.take(limit.unwrap_or(usize::MAX)) {
        cx.cancel.check()?;
        list.push(&run?)?;
    }
    let empty = list.is_empty();
    list.finish()?;
    if empty {
        cx.remarks.say("no such run in the history");
    }
    Ok(())
}

fn show(dir: &Path, id: &str, cx: &mut Context) -> Result<()> {
    let run = find_run(dir, id)?;
    match cx.printer.format() {
        OutputFormat::Table | OutputFormat::Wide => cx.printer.all(&facts(&run)),
        _ => cx.printer.one(&run),
    }
}

fn preview(dir: &Path, cx: &mut Context) -> Result<()> {
    let mut remote = cx.remover();
    let mut list = cx.printer.list();
    clean(dir, true, &mut remote, &mut |leftover| {
        cx.cancel.check()?;
        list.push(&leftover)
    })?;
    let empty = list.is_empty();
    list.finish()?;
    if empty {
        cx.remarks.say("no run left anything behind");
    }
    Ok(())
}

fn clean_up(dir: &Path, yes: bool, request: &Request, cx: &mut Context) -> Result<()> {
    let mut files = Vec::new();
    let mut remote = cx.remover();
    clean(dir, true, &mut remote, &mut |leftover| {
        cx.cancel.check()?;
        if leftover.fate == Fate::WouldRemove {
            files.push(leftover.thing.to_string());
        }
        Ok(())
    })?;
    if files.is_empty() {
        return preview(dir, cx);
    }
    if !yes {
        files.iter().for_each(|file| cx.remarks.say(file));
    }
    let many = if files.len() == 1 { "thing" } else { "things" };
    cx.confirm(&format!("Remove {} {many} that runs left behind?", files.len()), yes)?;
    let request = serde_json::to_value(request)
        .map_err(|e| Error::new(ErrorKind::Internal, "store the request").with_source(e))?;
    let journaled = Journal::open(dir)?.begin(Begin {
        tool: History::NAME.to_owned(),
        request,
        sources: Vec::new(),
        targets: files,
    })?;
    let mut counts = Counts::default();
    let result = remove(dir, &mut counts, cx);
    end(&journaled, counts, result.as_ref().err())?;
    result
}

/// Removes, and prints what became of each thing.
fn remove(dir: &Path, counts: &mut Counts, cx: &mut Context) -> Result<()> {
    let mut remote = cx.remover();
    let mut list = cx.printer.list::<Leftover>();
    clean(dir, false, &mut remote, &mut |leftover| {
        match leftover.fate {
            Fate::Removed => counts.succeeded += 1,
            Fate::Failed => counts.failed += 1,
            Fate::Kept | Fate::WouldRemove => {}
        }
        list.push(&leftover)?;
        cx.cancel.check()
    })?;
    list.finish()?;
    counts.total = counts.succeeded + counts.failed;
    match counts {
        Counts { failed: 0, .. } => Ok(()),
        Counts { failed, total, succeeded, .. } => {
            let kind = if *succeeded == 0 { ErrorKind::Io } else { ErrorKind::Partial };
            Err(Error::new(kind, format!("{failed} of {total} could not be removed")))
        }
    }
}

fn end(run: &Run, counts: Counts, error: Option<&Error>) -> Result<()> {
    run.end(End {
        outcome: Outcome::of(error),
        error: error.map(Failure::from),
        counts,
        read_bytes: 0,
        written_bytes: 0,
    })
}
