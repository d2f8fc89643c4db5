//! Following the machines of all contexts at once.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::provider::{Change, Provider, registry};
use hyper_common::tool::Context;
use hyper_common::vm::{VmFilter, VmId};
use jiff::Timestamp;

use crate::execute::execute;
use crate::record::ChangeRow;
use crate::request::{Condition, Request};
use crate::view::{Happened, View};

/// Follows until a condition holds, nothing is left to follow, or somebody asks to stop.
///
/// # Errors
/// The provider's; `Partial` where some of several contexts could not be followed, or a command
/// of `--exec` failed.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let Request { contexts, filter, until, exec } = request;
    let gone_is_fine = until.iter().any(|it| matches!(it, Condition::Deleted));
    let providers = open(&contexts, cx)?;
    let total = providers.len();
    let mut watch = Watch { filters: BTreeMap::new(), views: BTreeMap::new(), exec, failed: 0 };
    let mut feeds = SelectAll::new();
    let mut failures = Vec::new();
    for (name, provider) in &providers {
        let references = contexts.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = tokio::select! {
            found = resolve(provider.as_ref(), references, gone_is_fine) => found,
            () = cx.cancel.cancelled() => return cx.cancel.check(),
        };
        watch.views.insert(name.clone(), View::default());
        let ids = match found {
            Ok(ids) if ids.is_empty() && !references.is_empty() => {
                // All of them are gone already.
                watch.views.entry(name.clone()).or_default().synced = true;
                continue;
            }
            Ok(ids) => ids,
            Err(error) => {
                failures.push(error.with_subject(name.clone()));
                continue;
            }
        };
        let filter = VmFilter { ids, ..filter.clone() };
        watch.filters.insert(name.clone(), filter.clone());
        feeds.push(tagged(name, provider.as_ref(), filter));
    }
    let outcome = watch.follow(feeds, &until, total, failures, cx).await;
    match outcome {
        Ok(()) if watch.failed > 0 => Err(Error::new(
            ErrorKind::Partial,
            format!("the command of --exec failed {} times", watch.failed),
        )),
        other => other,
    }
}

/// A step of the feed of a context.
type Tagged<'p> = BoxStream<'p, (&'p str, Result<Change>)>;

fn tagged<'p>(name: &'p str, provider: &'p dyn Provider, filter: VmFilter) -> Tagged<'p> {
    match provider.feed() {
        Some(feed) => feed.changes(filter).map(move |change| (name, change)).boxed(),
        None => futures::stream::empty().boxed(),
    }
}

/// The providers of all contexts, each of which can be followed.
fn open(
    contexts: &BTreeMap<String, Vec<String>>,
    cx: &Context,
) -> Result<BTreeMap<String, Box<dyn Provider>>> {
    let mut providers = BTreeMap::new();
    for name in contexts.keys() {
        let provider = registry::open(&cx.config.context(name)?)?;
        if provider.feed().is_none() {
            let words = format!("{} machines cannot be followed", provider.name());
            return Err(Error::unsupported(words)
                .with_subject(name.clone())
                .with_hint("`hyper context capabilities` shows what each platform can do"));
        }
        providers.insert(name.clone(), provider);
    }
    Ok(providers)
}

async fn resolve(
    provider: &dyn Provider,
    references: &[String],
    gone_is_fine: bool,
) -> Result<Vec<VmId>> {
    let mut ids = Vec::with_capacity(references.len());
    for reference in references {
        match provider.resolve(reference).await {
            Ok(id) => ids.push(id),
            Err(error) if gone_is_fine && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

/// What is followed.
struct Watch {
    filters: BTreeMap<String, VmFilter>,
    views: BTreeMap<String, View>,
    exec: Option<String>,
    failed: u64,
}

impl Watch {
    async fn follow(
        &mut self,
        mut feeds: SelectAll<Tagged<'_>>,
        until: &[Condition],
        total: usize,
        mut failures: Vec<Error>,
        cx: &mut Context,
    ) -> Result<()> {
        for error in failures.iter().filter(|_| total > 1) {
            cx.remarks.warn(&one_line(error));
        }
        loop {
            if self.reached(until) && failures.is_empty() {
                return Ok(());
            }
            let step = tokio::select! {
                step = feeds.next() => step,
                () = cx.cancel.cancelled() => return cx.cancel.check(),
            };
            let Some((name, change)) = step else { break };
            match change {
                Ok(change) => {
                    let view = self.views.entry(name.to_owned()).or_default();
                    let filter = self.filters.entry(name.to_owned()).or_default();
                    for happened in view.take(change, filter) {
                        self.tell(name, &happened, cx).await?;
                    }
                }
                Err(error) => {
                    let error = error.with_subject(name);
                    if total > 1 {
                        cx.remarks.warn(&one_line(&error));
                    }
                    failures.push(error);
                }
            }
            if cx.printer.is_closed() && self.exec.is_none() && until.is_empty() {
                return Ok(());
            }
        }
        Error::of_several(failures, total, |failed| {
            format!("{failed} of {total} contexts could not be followed")
        })
    }

    /// Whether every condition holds over all contexts.
    fn reached(&self, until: &[Condition]) -> bool {
        if until.is_empty() || !self.views.values().all(|view| view.synced) {
            return false;
        }
        let all: Vec<_> = self.views.values().flat_map(View::machines).collect();
        until.iter().all(|condition| condition.holds(all.iter().copied()))
    }

    async fn tell(&mut self, context: &str, happened: &Happened, cx: &mut Context) -> Result<()> {
        let (event, vm) = happened;
        let row = ChangeRow { event: *event, time: Timestamp::now(), context, vm: vm.as_ref() };
        cx.printer.next(&row)?;
        let Some(line) = &self.exec else { return Ok(()) };
        if let Err(error) = execute(line, &row, &cx.cancel).await {
            cx.cancel.check()?;
            self.failed += 1;
            cx.remarks.warn(&one_line(&error));
        }
        Ok(())
    }
}
