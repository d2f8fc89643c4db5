//! Doing what `hyper pool` is asked to.

use hyper_common::error::{Error, Result};
use hyper_common::output::{Matching, OutputFormat};
use hyper_common::provider::{Pool, Pools, Provider, find_named, registry};
use hyper_common::tool::Context;
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::machines::Reference;

use crate::change;
use crate::record::{PoolRow, TreeRow};
use crate::request::Request;

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some contexts or pools failed and others did not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { platforms, matches } => list(&platforms, &matches, cx).await,
        Request::Get { pools } => get(&pools, cx).await,
        Request::Change { change, dry_run, yes } => change::run(change, dry_run, yes, cx).await,
    }
}

/// The facet of a provider.
pub fn pools(provider: &dyn Provider) -> Result<&dyn Pools> {
    provider.pools().ok_or_else(|| {
        Error::unsupported(format!("{} has no resource pools", provider.name()))
            .with_hint("vSphere has")
    })
}

async fn list(platforms: &Platforms, matches: &[String], cx: &mut Context) -> Result<()> {
    let matching = Matching::<PoolRow>::parse(matches)?;
    let read = async |name: &str, provider: &dyn Provider| {
        let all = pools(provider)?.all().await?;
        Ok(all.into_iter().map(|pool| (name.to_owned(), pool)).collect())
    };
    let mut gathered = cx.gather(platforms, read).await?;
    let passes =
        |(context, pool): &(String, Pool)| matching.accepts(&PoolRow::new(context, pool.clone()));
    let found: Vec<_> = std::mem::take(&mut gathered.found).into_iter().filter(passes).collect();
    if found.is_empty() {
        cx.remarks.say("no resource pool here passes");
    }
    if matches!(cx.printer.format(), OutputFormat::Table | OutputFormat::Wide) {
        let row = |(context, pool): (String, Pool)| TreeRow::new(&context, pool);
        cx.printer.all(&found.into_iter().map(row).collect::<Vec<_>>())?;
    } else {
        let row = |(context, pool): (String, Pool)| PoolRow::new(&context, pool);
        cx.printer.all(&found.into_iter().map(row).collect::<Vec<_>>())?;
    }
    gathered.end(cx)
}

async fn get(references: &[Reference], cx: &mut Context) -> Result<()> {
    let mut found: Vec<PoolRow> = Vec::new();
    for reference in references {
        let provider = registry::open(&cx.config.context(&reference.context)?)?;
        let all = cx.cancel.unless_cancelled(pools(&*provider)?.all()).await?;
        let pool = find_named(&all, &reference.rest)?.clone();
        found.push(PoolRow::new(&reference.context, pool));
    }
    match found.as_slice() {
        [one] => cx.printer.facts(one),
        several => cx.printer.all(several),
    }
}
