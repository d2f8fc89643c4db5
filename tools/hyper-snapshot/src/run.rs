//! Doing what `hyper snapshot` is asked to.

use futures::StreamExt;
use hyper_common::error::{Error, Result};
use hyper_common::history::Counts;
use hyper_common::output::Outcome;
use hyper_common::provider::{Provider, Snapshots};
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Target, Which, question};

use crate::record::ActionRow;
use crate::request::{Change, Request};
use crate::{list, prune, work};

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some machines or snapshots failed and others did not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { which } => list::run(&which, cx).await,
        Request::Change { which, change } => change_all(which, change, cx).await,
        Request::Prune { which, rule, dry_run, yes } => {
            let victims = prune::find(&which, rule, cx).await?;
            if dry_run {
                return prune::show(victims, cx);
            }
            prune::run(which, rule, yes, victims, cx).await
        }
    }
}

/// The machines that are meant, where their providers have snapshots.
pub async fn targets(which: &Which, cx: &Context) -> Result<Vec<Target>> {
    let targets = cx.targets(which, |provider| snapshots(provider).map(drop)).await?;
    if targets.is_empty() {
        cx.remarks.say("no machine here passes");
    }
    Ok(targets)
}

/// The facet of a provider.
pub fn snapshots(provider: &dyn Provider) -> Result<&dyn Snapshots> {
    provider.snapshots().ok_or_else(|| {
        Error::unsupported(format!("{} machines have no snapshots here", provider.name()))
            .with_hint("they are files; a hypervisor takes snapshots")
    })
}

async fn change_all(which: Which, change: Change, cx: &mut Context) -> Result<()> {
    let targets = targets(&which, cx).await?;
    if targets.is_empty() {
        return Ok(());
    }
    confirm(&targets, &change, cx)?;
    let shown: Vec<String> = targets.iter().map(|it| it.reference.to_string()).collect();
    let sources: Vec<&str> = shown.iter().map(String::as_str).collect();
    let request = Request::Change { which, change: change.clone() };
    let run = cx.begin_run("hyper-snapshot", &request, &sources, &[])?;
    let mut done = Tally::default();
    let cancel = cx.cancel.clone();
    let all = targets.iter().map(|target| work::perform(target, &change, &cancel));
    let mut all = futures::stream::iter(all).buffer_unordered(AT_ONCE);
    let mut printed = Ok(());
    while let Some(results) = all.next().await {
        for result in results {
            printed = printed.and(done.take(result, cx));
        }
    }
    let outcome = printed.and_then(|()| done.end(cx));
    run.end_with(outcome.as_ref().err(), done.counts, 0)?;
    outcome
}

/// Asks before something is lost.
fn confirm(targets: &[Target], change: &Change, cx: &Context) -> Result<()> {
    let vm = |it: &Target| format!("{}:{}", it.reference.context, it.name);
    let vm = targets.first().map(vm).unwrap_or_default();
    match change {
        Change::Create(_) | Change::Consolidate => Ok(()),
        Change::Revert { snapshot, yes } => {
            cx.confirm(&format!("make {vm} again what it was at {snapshot:?}?"), *yes)
        }
        Change::Delete { snapshots, children, yes } => {
            let doing = match children {
                true => format!("delete from {vm}, with all made from them,"),
                false => format!("delete from {vm}"),
            };
            cx.confirm(&question(&doing, "snapshots", snapshots), *yes)
        }
    }
}

/// One result: its record, and the failure where it is one.
pub type Told = (ActionRow, Option<Error>);

/// Counts what came of a run, and prints it.
#[derive(Debug, Default)]
pub struct Tally {
    /// For the journal.
    pub counts: Counts,
    failures: Vec<Error>,
}

impl Tally {
    /// Prints a result and counts it.
    ///
    /// # Errors
    /// Those of printing.
    pub fn take(&mut self, (row, failure): Told, cx: &mut Context) -> Result<()> {
        self.counts.total += 1;
        match failure {
            None => self.counts.succeeded += 1,
            Some(error) => {
                self.counts.failed += 1;
                self.failures.push(error);
            }
        }
        cx.printer.next(&row)
    }

    /// How the run ends.
    ///
    /// # Errors
    /// As [`Context::end_of_several`].
    pub fn end(&mut self, cx: &Context) -> Result<()> {
        let total = usize::try_from(self.counts.total).unwrap_or(usize::MAX);
        cx.end_of_several(std::mem::take(&mut self.failures), total, "changes")
    }
}

/// A row about a machine, to be filled in.
pub fn row(target: &Target, action: &'static str) -> ActionRow {
    ActionRow {
        vm: target.name.clone(),
        context: target.reference.context.clone(),
        vm_id: None,
        action,
        snapshot: None,
        snapshot_id: None,
        outcome: Outcome::Done,
        note: None,
        error_kind: None,
        error: None,
    }
}

/// The result of something that failed.
pub fn failed(target: &Target, row: ActionRow, error: Error) -> Told {
    let row = row.failed(&error);
    (row, Some(error.with_subject(target.reference.to_string())))
}
