//! Changing machines, several at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::history::Counts;
use hyper_common::provider::{Provider, registry};
use hyper_common::tool::Context;
use hyper_common::vm::{VmFilter, VmId};

use crate::action::{self, Done};
use crate::record::ActionRow;
use crate::request::{Action, Reference, Request, Which};

/// Machines that are changed at the same time.
const AT_ONCE: usize = 8;

/// Machines that a question names before it only counts them.
const NAMED: usize = 5;

/// A machine that is meant.
struct Target {
    reference: Reference,
    /// How it is called in results.
    name: String,
}

/// What came of one machine.
struct Outcome {
    target: Target,
    id: Option<VmId>,
    result: Result<Done>,
}

type Providers = BTreeMap<String, Arc<dyn Provider>>;

/// Changes the machines; a record for each as it is done.
pub async fn run(which: Which, action: Action, cx: &mut Context) -> Result<()> {
    let providers = open(&which, &action, cx)?;
    let targets = match &which {
        Which::Named(vms) => vms.iter().cloned().map(named).collect(),
        Which::Chosen { context, filter } => choose(context, filter, &providers).await?,
    };
    if targets.is_empty() {
        cx.remarks.say("no machine here passes");
        return Ok(());
    }
    if let Action::Delete { yes, .. } = action {
        cx.confirm(&question(&targets), yes)?;
    }
    let shown: Vec<String> = targets.iter().map(|it| it.reference.to_string()).collect();
    let sources: Vec<&str> = shown.iter().map(String::as_str).collect();
    let request = Request::Change { which, action: action.clone() };
    let run = cx.begin_run("hyper-vm", &request, &sources, &[])?;
    let mut counts = Counts { total: targets.len() as u64, ..Counts::default() };
    let outcome = all(targets, &action, &providers, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

fn named(reference: Reference) -> Target {
    Target { name: reference.rest.clone(), reference }
}

/// The providers of all contexts that are meant.
fn open(which: &Which, action: &Action, cx: &Context) -> Result<Providers> {
    let contexts: Vec<&String> = match which {
        Which::Named(vms) => vms.iter().map(|vm| &vm.context).collect(),
        Which::Chosen { context, .. } => vec![context],
    };
    let mut providers = Providers::new();
    for context in contexts {
        if providers.contains_key(context) {
            continue;
        }
        let provider = registry::open(&cx.config.context(context)?)?;
        action::check(&*provider, action).map_err(|error| error.with_subject(context.clone()))?;
        providers.insert(context.clone(), provider.into());
    }
    Ok(providers)
}

/// The machines of a context that pass a filter. All of them or none: what cannot be read could
/// be one that is meant.
async fn choose(context: &str, filter: &VmFilter, providers: &Providers) -> Result<Vec<Target>> {
    let Some(provider) = providers.get(context) else { return Ok(Vec::new()) };
    let vms: Vec<_> = provider.list(filter.clone()).try_collect().await?;
    let target = |vm: hyper_common::vm::Vm| Target {
        reference: Reference { context: context.to_owned(), rest: format!("@{}", vm.id) },
        name: vm.name,
    };
    Ok(vms.into_iter().map(target).collect())
}

/// What is asked before machines are deleted.
fn question(targets: &[Target]) -> String {
    let names = targets.iter().take(NAMED);
    let names = names.map(|it| format!("{}:{}", it.reference.context, it.name));
    let names = names.collect::<Vec<_>>().join(", ");
    match targets.len() {
        1 => format!("delete {names}?"),
        count if count <= NAMED => format!("delete {count} machines: {names}?"),
        count => format!("delete {count} machines: {names} and {} more?", count - NAMED),
    }
}

async fn all(
    targets: Vec<Target>,
    action: &Action,
    providers: &Providers,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = targets.len();
    let work = targets.into_iter().filter_map(|target| {
        let provider = providers.get(&target.reference.context)?.clone();
        Some(one(target, provider, action, cx.cancel.clone()))
    });
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some(Outcome { target, id, result }) = work.next().await {
        let place = (target.reference.context.as_str(), target.name.as_str());
        cx.printer.next(&ActionRow::new(place, id, action.word(), result.as_ref()))?;
        match result {
            Ok(_) => counts.succeeded += 1,
            Err(error) => failures.push(error.with_subject(target.reference.to_string())),
        }
    }
    cx.cancel.check()?;
    // Of several, each is told by itself; the only one is how the run ends.
    for error in failures.iter().filter(|_| total > 1) {
        cx.remarks.warn(&one_line(error));
    }
    Error::of_several(failures, total, |failed| format!("{failed} of {total} machines failed"))
}

async fn one(
    target: Target,
    provider: Arc<dyn Provider>,
    action: &Action,
    cancel: Cancel,
) -> Outcome {
    let found = cancel.unless_cancelled(provider.resolve(&target.reference.rest)).await;
    let (id, result) = match found {
        Ok(id) => {
            let result = action::perform(&*provider, &id, action, &cancel).await;
            (Some(id), result)
        }
        Err(error) => (None, Err(error)),
    };
    Outcome { target, id, result }
}
