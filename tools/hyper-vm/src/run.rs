//! Doing what `hyper vm` is asked to.

use futures::StreamExt;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::output::OutputFormat;
use hyper_common::provider::registry;
use hyper_common::tool::machines::Reference;
use hyper_common::tool::{Context, Remarks};
use hyper_common::vm::VmFilter;

use crate::record::facts;
use crate::request::Request;
use crate::{change, create};

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some machines could be read and others could not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { places, filter } => list(places, *filter, cx).await,
        Request::Get { vms } => get(vms, cx).await,
        Request::Create(new) => create::run(new, cx).await,
        Request::Change { which, action } => change::run(which, action, cx).await,
    }
}

async fn list(places: Vec<Reference>, filter: VmFilter, cx: &mut Context) -> Result<()> {
    let mut failures = Failures { remarks: cx.remarks.clone(), count: 0, last: None };
    let mut list = cx.printer.list();
    for Reference { context, rest } in places {
        let provider = registry::open(&cx.config.context(&context)?)?;
        let within = (!rest.is_empty()).then_some(rest);
        let mut vms = provider.list(VmFilter { within, ..filter.clone() });
        while let Some(vm) = cx.cancel.unless_cancelled(async { Ok(vms.next().await) }).await? {
            match vm {
                Ok(vm) => list.push(&vm)?,
                Err(error) => failures.add(error),
            }
        }
    }
    let shown = list.len();
    // A list that could not be had must not look like an empty one.
    if shown > 0 || failures.count == 0 {
        list.finish()?;
    }
    if shown == 0 && failures.count == 0 {
        cx.remarks.say("no machine here passes");
    }
    failures.end(shown)
}

async fn get(vms: Vec<Reference>, cx: &mut Context) -> Result<()> {
    let mut found = Vec::new();
    for Reference { context, rest } in vms {
        let provider = registry::open(&cx.config.context(&context)?)?;
        let vm = async { provider.get(&provider.resolve(&rest).await?).await };
        found.push(cx.cancel.unless_cancelled(vm).await?);
    }
    match (cx.printer.format(), found.as_slice()) {
        (OutputFormat::Table, [vm]) => cx.printer.all(&facts(vm)),
        (_, [vm]) => cx.printer.one(vm),
        (_, vms) => cx.printer.all(vms),
    }
}

/// What could not be read while others could. The last failure waits: where it stays the only
/// thing that happened it is the run's own failure and not a warning.
struct Failures {
    remarks: Remarks,
    count: usize,
    last: Option<Error>,
}

impl Failures {
    fn add(&mut self, error: Error) {
        self.count += 1;
        if let Some(earlier) = self.last.replace(error) {
            self.remarks.warn(&one_line(&earlier));
        }
    }

    fn end(self, shown: usize) -> Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        if shown == 0 && self.count == 1 {
            return Err(last);
        }
        self.remarks.warn(&one_line(&last));
        let kind = if shown == 0 { last.kind() } else { ErrorKind::Partial };
        let count = self.count;
        Err(Error::new(kind, format!("{count} of the machines could not be read")))
    }
}
