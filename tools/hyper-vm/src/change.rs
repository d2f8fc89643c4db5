//! Changing machines, several at a time.

use futures::StreamExt;
use hyper_common::cancel::Cancel;
use hyper_common::error::Result;
use hyper_common::history::Counts;
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Target, Which, question};
use hyper_common::vm::VmId;

use crate::action::{self, Done};
use crate::record::ActionRow;
use crate::request::{Action, Request};

/// What came of one machine.
struct Outcome {
    target: Target,
    id: Option<VmId>,
    result: Result<Done>,
}

/// Changes the machines; a record for each as it is done.
pub async fn run(which: Which, action: Action, cx: &mut Context) -> Result<()> {
    let targets = cx.targets(&which, |provider| action::check(provider, &action)).await?;
    if targets.is_empty() {
        cx.remarks.say("no machine here passes");
        return Ok(());
    }
    if let Action::Delete { yes, .. } = action {
        let name = |it: &Target| format!("{}:{}", it.reference.context, it.name);
        let names: Vec<_> = targets.iter().map(name).collect();
        cx.confirm(&question("delete", "machines", &names), yes)?;
    }
    let shown: Vec<String> = targets.iter().map(|it| it.reference.to_string()).collect();
    let sources: Vec<&str> = shown.iter().map(String::as_str).collect();
    let request = Request::Change { which, action: action.clone() };
    let run = cx.begin_run("hyper-vm", &request, &sources, &[])?;
    let mut counts = Counts { total: targets.len() as u64, ..Counts::default() };
    let outcome = all(targets, &action, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

async fn all(
    targets: Vec<Target>,
    action: &Action,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = targets.len();
    let cancel = cx.cancel.clone();
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    let work = targets.into_iter().map(|target| async {
        let task = reporter.task(&target.name, action.word());
        let outcome = one(target, action, &cancel).await;
        task.finish(outcome.result.is_ok());
        outcome
    });
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some(Outcome { target, id, result }) = work.next().await {
        let place = (target.reference.context.as_str(), target.name.as_str());
        let row = ActionRow::new(place, id, action.word(), result.as_ref());
        cx.print_over(&*reporter, &row)?;
        match result {
            Ok(_) => counts.succeeded += 1,
            Err(error) => failures.push(error.with_subject(target.reference.to_string())),
        }
    }
    cx.end_of_several(failures, total, "machines")
}

async fn one(target: Target, action: &Action, cancel: &Cancel) -> Outcome {
    let (id, result) = match target.resolve(cancel).await {
        Ok(id) => {
            let result = action::perform(&*target.provider, &id, action, cancel).await;
            (Some(id), result)
        }
        Err(error) => (None, Err(error)),
    };
    Outcome { target, id, result }
}
