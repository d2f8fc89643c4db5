//! Doing what `hyper vm` is asked to.

use hyper_common::error::Result;
use hyper_common::output::OutputFormat;
use hyper_common::tool::Context;
use hyper_common::tool::machines::Which;

use crate::record::facts;
use crate::request::Request;
use crate::{change, create, list};

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some machines could be read and others could not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { places, filter, shape } => list::run(places, *filter, shape, cx).await,
        Request::Get { which, watch: false } => get(which, cx).await,
        Request::Get { which, watch: true } => watch(which, cx).await,
        Request::Watch(request) => hyper_watch::follow(*request, cx).await,
        Request::Create(new) => create::run(new, cx).await,
        Request::Change { which, action } => change::run(which, action, cx).await,
    }
}

/// Shows machines as they change; one that is to be picked is picked first.
async fn watch(which: Which, cx: &mut Context) -> Result<()> {
    let targets = cx.targets(&which, |_| Ok(())).await?;
    let vms = targets.into_iter().map(|target| target.reference).collect();
    hyper_watch::follow(hyper_watch::Request::of_machines(vms), cx).await
}

async fn get(which: Which, cx: &mut Context) -> Result<()> {
    let targets = cx.targets(&which, |_| Ok(())).await?;
    let mut found = Vec::new();
    for target in targets {
        let vm = async { target.provider.get(&target.resolve(&cx.cancel).await?).await };
        found.push(cx.cancel.unless_cancelled(vm).await?);
    }
    match (cx.printer.format(), found.as_slice()) {
        (OutputFormat::Table, [vm]) => cx.printer.all(&facts(vm)),
        (_, [vm]) => cx.printer.one(vm),
        (_, vms) => cx.printer.all(vms),
    }
}
