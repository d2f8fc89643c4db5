//! The whole of an export: the machines, several at once, a record for each as it ends.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::Mutex;

use futures::StreamExt;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::history::{Counts, Outcome};
use hyper_common::progress::Phase;
use hyper_common::tool::{Context, JournaledRun};
use hyper_common::transfer::Engine;

use crate::beside::how_to_start;
use crate::machine::{Done, Shared};
use crate::record::{ErrorText, Exported};
use crate::reference::Wanted;
use crate::request::{Request, To};

/// Exports all machines of the request.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    if request.to_pipe() {
        cx.printer.yield_stdout();
    }
    let machines = request.machines(&cx.config).await?;
    let run = if request.dry_run { None } else { Some(begin(&request, &machines, cx)?) };
    let engine = Engine::new(&request.write.engine(), cx.cancel.clone())?;
    let progress = cx.start_progress();
    let shared = Shared {
        request,
        engine,
        reporter: progress.reporter(),
        run,
        cancel: cx.cancel.clone(),
        taken: Mutex::new(HashSet::new()),
    };
    shared.reporter.phase(Phase::Plan);
    let mut tally = Tally {
        counts: Counts { total: machines.len() as u64, ..Counts::default() },
        ..Tally::default()
    };
    let taken = take_all(&shared, &machines, cx, &mut tally).await;
    let error = taken.err().or_else(|| tally.error(&shared));
    drop(progress);
    if let Some(run) = &shared.run {
        run.end_with(error.as_ref(), tally.counts, tally.written)?;
    }
    if std::io::stderr().is_terminal() {
        for line in &tally.last_words {
            cx.remarks.say(line);
        }
    }
    error.map_or(Ok(()), Err)
}

fn begin(request: &Request, machines: &[Wanted], cx: &Context) -> Result<JournaledRun> {
    let sources: Vec<_> = machines.iter().map(|wanted| wanted.label.as_str()).collect();
    let target = match &request.to {
        To::Pipe => "-".to_owned(),
        To::Folder(path) | To::File(path) => path.display().to_string(),
    };
    cx.begin_run("hyper-export", request, &sources, &[&target])
}

/// What the machines came to so far.
#[derive(Default)]
struct Tally {
    counts: Counts,
    written: u64,
    first: Option<Error>,
    last_words: Vec<String>,
}

async fn take_all(
    shared: &Shared,
    machines: &[Wanted],
    cx: &mut Context,
    tally: &mut Tally,
) -> Result<()> {
    let jobs = machines.iter().map(|wanted| async move {
        // What was not begun when the run was told to stop is not begun any more.
        let outcome = match shared.cancel.check() {
            Ok(()) => shared.export(wanted).await,
            Err(error) => Err(error),
        };
        (wanted, outcome)
    });
    let mut ended = futures::stream::iter(jobs).buffer_unordered(shared.request.jobs);
    let single = machines.len() == 1;
    while let Some((wanted, outcome)) = ended.next().await {
        let record = match outcome {
            Ok(Done::Planned(files)) => {
                tally.counts.succeeded += 1;
                print(shared, cx, |cx| files.iter().try_for_each(|file| cx.printer.next(file)))?;
                continue;
            }
            Ok(Done::Exported(record, plan)) => {
                tally.counts.succeeded += 1;
                tally.counts.reused += u64::from(record.reused_bytes > 0);
                tally.written += record.written_bytes;
                for file in &record.artifacts {
                    tally.last_words.push(format!("wrote {}", file.path));
                }
                tally.last_words.extend(how_to_start(&plan));
                *record
            }
            Err(error) => {
                tally.counts.failed += 1;
                let record = failed(shared, wanted, &error);
                if !single && !shared.cancel.is_cancelled() {
                    shared.reporter.warn(&format!("{}: {}", wanted.label, one_line(&error)));
                }
                tally.first.get_or_insert(error);
                record
            }
        };
        // The one error of a single machine is the tool's own.
        if !single || record.outcome == Outcome::Succeeded {
            print(shared, cx, |cx| cx.printer.next(&record))?;
        }
    }
    Ok(())
}

fn print(
    shared: &Shared,
    cx: &mut Context,
    mut print: impl FnMut(&mut Context) -> Result<()>,
) -> Result<()> {
    let mut printed = Ok(());
    shared.reporter.suspend(&mut || printed = print(cx));
    printed
}

fn failed(shared: &Shared, wanted: &Wanted, error: &Error) -> Exported {
    Exported {
        vm: wanted.label.clone(),
        context: wanted.context.name.clone(),
        outcome: Outcome::of(Some(error)),
        format: shared.request.format.name(),
        capacity_bytes: 0,
        data_bytes: 0,
        written_bytes: 0,
        reused_bytes: 0,
        verified: false,
        seconds: 0.0,
        artifacts: Vec::new(),
        warnings: Vec::new(),
        error: Some(ErrorText::new(error)),
    }
}

impl Tally {
    /// How the run as a whole failed.
    fn error(&mut self, shared: &Shared) -> Option<Error> {
        let first = self.first.take()?;
        if self.counts.total == 1 || shared.cancel.is_cancelled() {
            if !shared.cancel.is_cancelled() || shared.request.to_pipe() {
                return Some(first);
            }
            let continued = shared.run.as_ref().is_some_and(|run| run.can_be_continued());
            return Some(first.with_hint(match continued {
                true => "the same command again goes on where this stopped",
                false => "nothing half done remains; the same command again begins anew",
            }));
        }
        let text = format!("{} of {} machines failed", self.counts.failed, self.counts.total);
        Some(Error::new(ErrorKind::Partial, text))
    }
}
