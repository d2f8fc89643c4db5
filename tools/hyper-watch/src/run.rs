//! Following what is asked for in all contexts at once.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::output::Printer;
use hyper_common::provider::{Change, Feed, Provider, registry};
use hyper_common::tool::Context;
use hyper_common::vm::{ObjectKind, VmFilter, VmId, VmObject};
use jiff::Timestamp;

use crate::execute::execute;
use crate::item::Item;
use crate::request::{Condition, Request, Target};
use crate::screen::{Screen, Seen};
use crate::view::View;

/// The providers of the contexts by name.
type Providers = BTreeMap<String, Box<dyn Provider>>;

/// A step of one of the feeds, by its number.
type Tagged<'p> = BoxStream<'p, (usize, Result<Change<Item>>)>;

/// Follows until a condition holds, nothing is left to follow, or somebody asks to stop.
///
/// # Errors
/// The provider's; `Unsupported` where a platform cannot be followed; `Partial` where some of
/// several contexts could not be followed, or a command of `--exec` failed.
pub async fn follow(request: Request, cx: &mut Context) -> Result<()> {
    let providers = open(&request, cx)?;
    let outcome = follow_all(request, &providers, cx).await;
    for feed in providers.values().filter_map(|provider| provider.feed()) {
        feed.end().await;
    }
    outcome
}

async fn follow_all(request: Request, providers: &Providers, cx: &mut Context) -> Result<()> {
    let others_write = request.exec.is_some() || tracing::enabled!(tracing::Level::INFO);
    let mut watch = Watch {
        machines: request.is_of_machines(),
        sources: Vec::new(),
        screen: Screen::new(cx, others_write),
        exec: request.exec.clone(),
        until: request.until.clone(),
        failures: Vec::new(),
        failed: 0,
    };
    let mut feeds = SelectAll::new();
    for target in &request.targets {
        let Some(feed) = providers.get(&target.context).and_then(|it| it.feed()) else { continue };
        let provider = providers.get(&target.context).map(AsRef::as_ref);
        let ids = cx.cancel.unless_cancelled(async { Ok(ids(provider, target, &watch).await) });
        let ids = match ids.await? {
            Ok(ids) => ids,
            Err(error) => {
                watch.add(target, ObjectKind::Vm, VmFilter::default(), false);
                watch.failures.push(error.with_subject(target.context.clone()));
                continue;
            }
        };
        let gone = ids.is_empty() && !target.vms.is_empty();
        let within = target.within.clone();
        let filter = VmFilter { ids, within, ..request.filter.clone() };
        for &kind in &request.kinds {
            // All of the machines may be gone already.
            let number = watch.add(target, kind, filter.clone(), gone);
            if gone {
                continue;
            }
            let steps = steps(feed, kind, watch.machines, filter.clone());
            let steps = steps.ok_or_else(|| cannot(providers, target, kind))?;
            feeds.push(steps.map(move |step| (number, step)).boxed());
        }
    }
    let outcome = watch.follow(feeds, cx).await;
    watch.screen.draw(cx)?;
    match outcome {
        Ok(()) if watch.failed > 0 => Err(Error::new(
            ErrorKind::Partial,
            format!("the command of --exec failed {} times", watch.failed),
        )),
        other => other,
    }
}

/// The feed of a kind, where the platform has one.
fn steps(
    feed: &dyn Feed,
    kind: ObjectKind,
    machines: bool,
    filter: VmFilter,
) -> Option<BoxStream<'_, Result<Change<Item>>>> {
    let whole = |vm| Item::Vm(Box::new(vm));
    let object = |object| Item::Object(Box::new(object));
    if kind != ObjectKind::Vm {
        let steps = feed.objects(kind, filter)?;
        return Some(steps.map(move |step| Ok(step?.map(object))).boxed());
    }
    let steps = feed.changes(filter);
    Some(match machines {
        true => steps.map(move |step| Ok(step?.map(whole))).boxed(),
        false => steps.map(move |step| Ok(step?.map(|vm| object(VmObject::of_vm(&vm))))).boxed(),
    })
}

fn cannot(providers: &Providers, target: &Target, kind: ObjectKind) -> Error {
    let platform = providers.get(&target.context).map_or("", |provider| provider.name());
    Error::unsupported(format!("{platform} has no objects of the kind {kind} to follow"))
        .with_subject(target.context.clone())
}

/// The providers of all contexts, each of which can be followed.
fn open(request: &Request, cx: &Context) -> Result<Providers> {
    let mut providers = BTreeMap::new();
    for name in request.targets.iter().map(|target| &target.context) {
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

/// The ids of the machines that are named; those that are gone are left away where that is what
/// is waited for.
async fn ids(provider: Option<&dyn Provider>, target: &Target, watch: &Watch) -> Result<Vec<VmId>> {
    let gone_is_fine = watch.until.iter().any(|it| matches!(it, Condition::Deleted));
    let mut ids = Vec::with_capacity(target.vms.len());
    for (reference, provider) in target.vms.iter().zip(std::iter::repeat(provider)) {
        let Some(provider) = provider else { continue };
        match provider.resolve(reference).await {
            Ok(id) => ids.push(id),
            Err(error) if gone_is_fine && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

/// One feed and what is seen of it.
struct Source {
    context: String,
    kind: ObjectKind,
    filter: VmFilter,
    view: View,
}

/// What is followed.
struct Watch {
    /// Whether machines alone are, and told whole.
    machines: bool,
    sources: Vec<Source>,
    screen: Screen,
    exec: Option<String>,
    until: Vec<Condition>,
    failures: Vec<Error>,
    /// How many commands have failed.
    failed: u64,
}

impl Watch {
    /// Adds a feed, of which all may be known already; answers its number.
    fn add(&mut self, target: &Target, kind: ObjectKind, filter: VmFilter, known: bool) -> usize {
        let mut view = View::default();
        view.synced = known;
        let context = target.context.clone();
        self.sources.push(Source { context, kind, filter, view });
        self.sources.len() - 1
    }

    async fn follow(&mut self, mut feeds: SelectAll<Tagged<'_>>, cx: &mut Context) -> Result<()> {
        let total = self.sources.len();
        // Otherwise it goes on for what it does, or for its exit status.
        let shows = self.exec.is_none() && self.until.is_empty();
        for error in std::mem::take(&mut self.failures) {
            self.fail(error, cx)?;
        }
        loop {
            if self.failures.is_empty() && self.reached() {
                return Ok(());
            }
            let step = tokio::select! {
                step = feeds.next() => step,
                () = at(self.screen.due()) => {
                    self.screen.draw(cx)?;
                    continue;
                }
                () = cx.cancel.cancelled() => return cx.cancel.check(),
                () = Printer::reader_gone(), if shows => return Ok(()),
            };
            let Some((number, change)) = step else { break };
            match change {
                Ok(change) => self.take(number, change, cx).await?,
                Err(error) => {
                    let context = self.sources.get(number).map(|source| source.context.clone());
                    self.fail(error.with_subject(context.unwrap_or_default()), cx)?;
                }
            }
            if cx.printer.is_closed() && shows {
                return Ok(());
            }
        }
        let what = if self.machines { "contexts" } else { "feeds" };
        Error::of_several(std::mem::take(&mut self.failures), total, |failed| {
            format!("{failed} of {total} {what} could not be followed")
        })
    }

    /// Takes in that a feed has ended. One of several is told at once.
    ///
    /// # Errors
    /// The same, where it is about the one context and will not pass.
    fn fail(&mut self, error: Error, cx: &mut Context) -> Result<()> {
        let mut contexts = self.sources.iter().map(|source| &source.context);
        let first = contexts.next();
        if error.kind() == ErrorKind::Unsupported && contexts.all(|other| Some(other) == first) {
            return Err(error);
        }
        if self.sources.len() > 1 {
            self.screen.warn(&error, cx)?;
        }
        self.failures.push(error);
        Ok(())
    }

    async fn take(&mut self, number: usize, change: Change<Item>, cx: &mut Context) -> Result<()> {
        let Some(source) = self.sources.get_mut(number) else { return Ok(()) };
        let (kind, machines) = (source.kind.name(), self.machines);
        let context = source.context.clone();
        for (event, item) in source.view.take(change, &source.filter) {
            let (time, context) = (Timestamp::now(), context.clone());
            let seen = Seen { event, time, context, machines, kind, item };
            self.tell(&seen, cx).await?;
        }
        Ok(())
    }

    /// Whether every condition holds over all feeds.
    fn reached(&self) -> bool {
        if self.until.is_empty() || !self.sources.iter().all(|source| source.view.synced) {
            return false;
        }
        let all: Vec<_> = self.sources.iter().flat_map(|source| source.view.items()).collect();
        self.until.iter().all(|condition| condition.holds(all.iter().copied()))
    }

    async fn tell(&mut self, seen: &Seen, cx: &mut Context) -> Result<()> {
        self.screen.show(seen, cx)?;
        let Some(line) = &self.exec else { return Ok(()) };
        if let Err(error) = execute(line, seen, &cx.cancel).await {
            cx.cancel.check()?;
            self.failed += 1;
            self.screen.warn(&error, cx)?;
        }
        Ok(())
    }
}

/// Waits until then; for ever where there is no such time.
async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
