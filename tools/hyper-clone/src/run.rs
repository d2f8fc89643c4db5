//! Doing what `hyper clone` is asked to.

use std::sync::atomic::AtomicBool;

use futures::StreamExt;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::history::Counts;
use hyper_common::output::Outcome;
use hyper_common::provider::NewSnapshot;
use hyper_common::tool::{Context, JournaledRun};

use crate::plan::{self, Item, Next};
use crate::record::CloneRow;
use crate::request::{OnError, Request};
use crate::rollback::{self, Made, Taken};
use crate::work::{Done, Shop};

/// Carries out a request.
///
/// # Errors
/// What concerns all of it; the failure of the only clone; `Partial` where some failed.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let items = plan::look(request.clones.clone(), request.make_snapshot, cx).await?;
    let bad = items.iter().filter(|it| matches!(it.next, Next::Fail(_))).count();
    if request.dry_run || bad > 0 && request.on_error != OnError::KeepGoing {
        return show(items, request.dry_run, cx);
    }
    let sources: Vec<String> = request.clones.iter().map(|it| it.source.to_string()).collect();
    let targets = items.iter().map(|it| format!("{}:{}", it.row.context, it.row.target_name));
    let targets: Vec<String> = targets.collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let run = cx.begin_run("hyper-clone", &request, &sources, &targets)?;
    let mut counts = Counts { total: items.len() as u64, ..Counts::default() };
    let outcome = make_all(items, &request, &run, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

/// Shows what would be made, or why nothing is.
fn show(items: Vec<Item>, dry_run: bool, cx: &mut Context) -> Result<()> {
    let total = items.len();
    let mut failures = Vec::new();
    for item in items {
        let row = match item.next {
            Next::There => CloneRow { outcome: Outcome::Exists, ..item.row },
            Next::Make(_) if dry_run => item.row,
            Next::Make(_) => CloneRow { outcome: Outcome::Skipped, ..item.row },
            Next::Fail(error) => {
                let place = format!("{}:{}", item.row.context, item.row.target_name);
                let row = item.row.failed(&error);
                failures.push(error.with_subject(place));
                row
            }
        };
        cx.printer.next(&row)?;
    }
    if !failures.is_empty() && !dry_run && total > 1 {
        cx.remarks.warn("nothing is made, because not all can be; --keep-going makes the others");
    }
    cx.end_of_several(failures, total, "clones")
}

async fn make_all(
    mut items: Vec<Item>,
    request: &Request,
    run: &JournaledRun,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = items.len();
    let roll_back = request.on_error == OnError::RollBack;
    let taken = match request.make_snapshot {
        true => take_snapshots(&mut items, cx).await?,
        false => Vec::new(),
    };
    let cancel = cx.cancel.clone();
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    let shop = Shop {
        wait: request.wait,
        stop_on_error: roll_back || request.on_error == OnError::Stop,
        stopped: AtomicBool::new(false),
        cancel: &cancel,
        run,
        reporter: reporter.clone(),
    };
    let work = items.into_iter().map(|item| {
        let provider = item.provider.clone();
        async { (provider, shop.work(item).await) }
    });
    let mut work = futures::stream::iter(work).buffer_unordered(request.max_concurrent);
    let (mut failures, mut made, mut printed) = (Vec::new(), Vec::new(), Ok(()));
    let mut skipped = 0;
    while let Some((provider, Done { row, failure, made: id })) = work.next().await {
        printed = printed.and_then(|()| cx.print_over(&*reporter, &row));
        counts.succeeded += u64::from(matches!(row.outcome, Outcome::Done | Outcome::Exists));
        skipped += usize::from(row.outcome == Outcome::Skipped);
        made.extend(id.map(|id| Made { row, provider, id }));
        failures.extend(failure);
    }
    drop(work);
    if cx.cancel.is_cancelled() {
        tell_stop(&failures, skipped, total, cx);
    }
    if roll_back && (!failures.is_empty() || cx.cancel.is_cancelled()) {
        counts.succeeded = counts.succeeded.saturating_sub(made.len() as u64);
        undo(made, taken, &mut failures, cx).await?;
    }
    printed?;
    cx.end_of_several(failures, total, "clones")
}

/// Tells what became of the clones of a run that was asked to stop.
fn tell_stop(failures: &[Error], skipped: usize, total: usize, cx: &Context) {
    for error in failures {
        cx.remarks.warn(&one_line(error));
        for hint in error.hints() {
            cx.remarks.warn(hint);
        }
    }
    let stopped = failures.len();
    let done = total - stopped - skipped;
    cx.remarks.warn(&format!(
        "of {total} clones {done} are there, {stopped} were stopped and {skipped} not begun; the \
         same command makes what is missing"
    ));
}

/// Takes a snapshot of each source of linked clones that names none, and looks again.
async fn take_snapshots(items: &mut [Item], cx: &Context) -> Result<Vec<Taken>> {
    let mut taken: Vec<Taken> = Vec::new();
    for item in items.iter_mut().filter(|it| matches!(it.next, Next::Make(_))) {
        let Some(new) = item.new.as_mut().filter(|new| new.snapshot_comes) else { continue };
        let known = taken.iter().find(|it| {
            it.source == new.source && std::sync::Arc::ptr_eq(&it.provider, &item.provider)
        });
        let id = match known {
            Some(known) => known.snapshot.id.clone(),
            None => {
                let facet = item.provider.snapshots();
                let facet = facet.ok_or_else(|| Error::unsupported("there are no snapshots"))?;
                let wanted = NewSnapshot {
                    name: Some(NewSnapshot::default().name_or_time("hyper-clone")),
                    description: Some("Made by hyper clone for linked clones".to_owned()),
                    ..NewSnapshot::default()
                };
                let snapshot = facet.create(&new.source, &wanted, &cx.cancel).await?;
                cx.remarks.say(&format!(
                    "{}: the snapshot {} was taken for its clones",
                    item.row.source_vm, snapshot.name
                ));
                let id = snapshot.id.clone();
                let (provider, source) = (item.provider.clone(), new.source.clone());
                taken.push(Taken { provider, source, snapshot });
                id
            }
        };
        (new.snapshot, new.snapshot_comes) = (Some(format!("@{id}")), false);
    }
    if !taken.is_empty() {
        plan::plan(items, cx).await?;
    }
    Ok(taken)
}

/// Removes all that was made, clones before the snapshots that they stand on.
async fn undo(
    made: Vec<Made>,
    taken: Vec<Taken>,
    failures: &mut Vec<Error>,
    cx: &mut Context,
) -> Result<()> {
    let mut all_gone = true;
    for one in made {
        let (row, failure) = rollback::remove(one).await;
        cx.printer.next(&row)?;
        if let Some(error) = failure {
            all_gone = false;
            failures.push(error.with_subject(format!("{}:{}", row.context, row.target_name)));
        }
    }
    for one in taken.iter().filter(|_| all_gone) {
        if let Err(error) = rollback::remove_snapshot(one).await {
            let name = &one.snapshot.name;
            cx.remarks.warn(&format!("the snapshot {name} stays: {}", one_line(&error)));
        }
    }
    Ok(())
}
