//! Switching machines on and off, several at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::history::Counts;
use hyper_common::provider::{Power, Provider, Stop, Switched, registry};
use hyper_common::tool::Context;
use hyper_common::vm::VmId;

use crate::record::PowerRow;
use crate::request::{Action, Reference};

/// Machines that are switched at the same time.
const AT_ONCE: usize = 8;

/// What came of one machine.
struct Outcome {
    reference: Reference,
    id: Option<VmId>,
    result: Result<Switched>,
}

/// Switches the machines; a record for each as it is done.
pub async fn run(vms: Vec<Reference>, action: Action, cx: &mut Context) -> Result<()> {
    let providers = open(&vms, cx)?;
    let shown: Vec<String> = vms.iter().map(ToString::to_string).collect();
    let sources: Vec<&str> = shown.iter().map(String::as_str).collect();
    let request = crate::request::Request::Power { vms: vms.clone(), action };
    let run = cx.begin_run("hyper-vm", &request, &sources, &[])?;
    let mut counts = Counts { total: vms.len() as u64, ..Counts::default() };
    let outcome = all(vms, action, &providers, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

/// The providers of all contexts that are meant.
fn open(vms: &[Reference], cx: &Context) -> Result<BTreeMap<String, Arc<dyn Provider>>> {
    let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    for Reference { context, .. } in vms {
        if providers.contains_key(context) {
            continue;
        }
        let provider = registry::open(&cx.config.context(context)?)?;
        if provider.power().is_none() {
            let words = format!("{} machines cannot be switched on or off", provider.name());
            return Err(Error::unsupported(words)
                .with_subject(context.clone())
                .with_hint("they are files; start them with the hypervisor that is to run them"));
        }
        providers.insert(context.clone(), provider.into());
    }
    Ok(providers)
}

async fn all(
    vms: Vec<Reference>,
    action: Action,
    providers: &BTreeMap<String, Arc<dyn Provider>>,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = vms.len();
    let work = vms.into_iter().filter_map(|reference| {
        let provider = providers.get(&reference.context)?.clone();
        Some(one(reference, provider, action, cx.cancel.clone()))
    });
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some(Outcome { reference, id, result }) = work.next().await {
        let place = (reference.context.as_str(), reference.rest.as_str());
        cx.printer.next(&PowerRow::new(place, id, action.word(), result.as_ref().copied()))?;
        match result {
            Ok(_) => counts.succeeded += 1,
            Err(error) => failures.push(error.with_subject(reference.to_string())),
        }
    }
    cx.cancel.check()?;
    end(failures, total, cx)
}

/// The one failure, or that there were several.
fn end(mut failures: Vec<Error>, total: usize, cx: &Context) -> Result<()> {
    let failed = failures.len();
    match failures.pop() {
        None => Ok(()),
        Some(only) if total == 1 => Err(only),
        Some(last) => {
            let kind = if failed == total && failures.iter().all(|it| it.kind() == last.kind()) {
                last.kind()
            } else {
                ErrorKind::Partial
            };
            for error in failures.iter().chain([&last]) {
                cx.remarks.warn(&one_line(error));
            }
            Err(Error::new(kind, format!("{failed} of {total} machines failed")))
        }
    }
}

async fn one(
    reference: Reference,
    provider: Arc<dyn Provider>,
    action: Action,
    cancel: Cancel,
) -> Outcome {
    let found = cancel.unless_cancelled(provider.resolve(&reference.rest)).await;
    let (id, result) = match (found, provider.power()) {
        (Ok(id), Some(power)) => {
            let result = switch(power, &id, action, &cancel).await;
            (Some(id), result)
        }
        (Err(error), _) => (None, Err(error)),
        (Ok(id), None) => (Some(id), Err(Error::unsupported("it cannot be switched"))),
    };
    Outcome { reference, id, result }
}

async fn switch(power: &dyn Power, id: &VmId, action: Action, cancel: &Cancel) -> Result<Switched> {
    match action {
        Action::Start => power.start(id, false, cancel).await,
        Action::StartAndWait => power.start(id, true, cancel).await,
        Action::Stop => power.stop(id, Stop::Graceful, cancel).await,
        Action::ForcedStop => power.stop(id, Stop::Hard, cancel).await,
    }
}

impl Action {
    /// The verb in records.
    fn word(self) -> &'static str {
        match self {
            Self::Start | Self::StartAndWait => "start",
            Self::Stop | Self::ForcedStop => "stop",
        }
    }
}
