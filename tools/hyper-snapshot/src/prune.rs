//! Removing old snapshots.

use futures::StreamExt;
use hyper_common::error::Result;
use hyper_common::output::Outcome;
use hyper_common::provider::{Snapshot, SnapshotStatus};
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Which, question};

use crate::list::{self, Found};
use crate::record::ActionRow;
use crate::request::{Request, Rule};
use crate::run::{Tally, row, snapshots};
use crate::work::Deletion;

/// The old snapshots of all machines that are meant.
///
/// # Errors
/// Those of looking them up; nothing is removed then.
pub async fn find(which: &Which, rule: Rule, cx: &Context) -> Result<Vec<Found>> {
    let mut all = list::find(which, cx).await?;
    for found in &mut all {
        found.snapshots = old(std::mem::take(&mut found.snapshots), rule);
    }
    all.retain(|found| !found.snapshots.is_empty());
    if all.is_empty() {
        cx.remarks.say("nothing to remove");
    }
    Ok(all)
}

/// Those of a machine that a rule gives up, oldest first.
fn old(mut all: Vec<Snapshot>, rule: Rule) -> Vec<Snapshot> {
    all.sort_by_key(|it| it.created);
    let kept = rule.keep.unwrap_or(0);
    let mut ready = 0;
    let mut old: Vec<_> = all
        .into_iter()
        .rev()
        .filter(|it| !it.is_temporary())
        .filter(|it| {
            // What failed is given up with those around it, and counts for nothing.
            let within = ready < kept;
            ready += usize::from(it.status == SnapshotStatus::Ready);
            let settled = matches!(it.status, SnapshotStatus::Ready | SnapshotStatus::Failed);
            // A snapshot that does not tell when it was made is not known to be old.
            let aged =
                rule.older_than.is_none_or(|moment| it.created.is_some_and(|it| it < moment));
            !within && settled && aged
        })
        .collect();
    old.reverse();
    old
}

/// Shows what would be removed.
///
/// # Errors
/// Those of printing.
pub fn show(victims: Vec<Found>, cx: &mut Context) -> Result<()> {
    for Found { target, id, snapshots } in victims {
        for snapshot in snapshots {
            cx.printer.next(&ActionRow {
                vm_id: Some(id.clone()),
                snapshot: Some(snapshot.name),
                snapshot_id: Some(snapshot.id),
                outcome: Outcome::Planned,
                ..row(&target, "delete")
            })?;
        }
    }
    Ok(())
}

/// Removes them, machine by machine side by side.
///
/// # Errors
/// As of any change; `Partial` where some failed.
pub async fn run(
    which: Which,
    rule: Rule,
    yes: bool,
    victims: Vec<Found>,
    cx: &mut Context,
) -> Result<()> {
    if victims.is_empty() {
        return Ok(());
    }
    let name = |found: &Found, it: &Snapshot| {
        format!("{}:{} {}", found.target.reference.context, found.target.name, it.name)
    };
    let names = victims.iter().flat_map(|found| found.snapshots.iter().map(|it| name(found, it)));
    cx.confirm(&question("delete", "snapshots", &names.collect::<Vec<_>>()), yes)?;
    let shown: Vec<String> = victims.iter().map(|it| it.target.reference.to_string()).collect();
    let sources: Vec<&str> = shown.iter().map(String::as_str).collect();
    let request = Request::Prune { which, rule, dry_run: false, yes };
    let run = cx.begin_run("hyper-snapshot", &request, &sources, &[])?;
    let cancel = cx.cancel.clone();
    let all = victims.iter().map(|found| async {
        let facet = snapshots(&*found.target.provider)?;
        let (target, id) = (&found.target, &found.id);
        let deletion = Deletion { target, facet, id, children: false, cancel: &cancel };
        Ok(deletion.of(found.snapshots.iter().collect()).await)
    });
    let mut all = futures::stream::iter(all).buffer_unordered(AT_ONCE);
    let (mut done, mut printed) = (Tally::default(), Ok(()));
    while let Some(results) = all.next().await {
        match results {
            Ok(results) => {
                for result in results {
                    printed = printed.and(done.take(result, cx));
                }
            }
            Err(error) => printed = printed.and(Err(error)),
        }
    }
    let outcome = printed.and_then(|()| done.end(cx));
    run.end_with(outcome.as_ref().err(), done.counts, 0)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, status: SnapshotStatus) -> Snapshot {
        let day: i64 = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        Snapshot {
            name: name.to_owned(),
            created: jiff::Timestamp::from_second(day * 86_400).ok(),
            status,
            ..Snapshot::default()
        }
    }

    fn given_up(keep: Option<usize>, day: Option<i64>) -> Vec<String> {
        let all = vec![
            snapshot("d4", SnapshotStatus::Ready),
            snapshot("d1", SnapshotStatus::Ready),
            snapshot("bad2", SnapshotStatus::Failed),
            snapshot("bad5", SnapshotStatus::Failed),
            snapshot("hyper-export-7", SnapshotStatus::Ready),
            snapshot("d3", SnapshotStatus::Ready),
            snapshot("new6", SnapshotStatus::InProgress),
        ];
        let older_than = day.and_then(|day| jiff::Timestamp::from_second(day * 86_400).ok());
        old(all, Rule { keep, older_than }).into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn the_newest_that_can_be_returned_to_stay() {
        assert_eq!(given_up(Some(1), None), ["d1", "bad2", "d3"]);
        assert_eq!(given_up(Some(2), None), ["d1", "bad2"]);
        assert!(given_up(Some(9), None).is_empty());
        assert_eq!(given_up(Some(0), None), ["d1", "bad2", "d3", "d4", "bad5"]);
        assert_eq!(given_up(None, Some(3)), ["d1", "bad2"]);
        assert_eq!(given_up(Some(3), Some(2)), Vec::<String>::new());
        assert_eq!(given_up(Some(2), Some(2)), ["d1"]);
    }
}
