//! Kubernetes' events about machines: about `VirtualMachine`s, their instances and the pods that
//! these run in. Core `v1` has the events of `events.k8s.io` as well.

use std::collections::HashMap;

use async_stream::try_stream;
use async_trait::async_trait;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::discovery::Resource;
use super::event::CoreEvent;
use super::resolve::{place_of, resolve};
use super::watch::{Step, Watched, watch_from};
use super::{Kubevirt, NAME};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::provider::facets::events::{EventQuery, Events, Gap, GapReason, Pattern, Told};

/// Kubernetes' kind.
const EVENTS: Resource = Resource::core("events");

#[async_trait]
impl Events for Kubevirt {
    fn events(&self, query: EventQuery, stop: Cancel) -> BoxStream<'_, Result<Told>> {
        let told = if query.follow { follow(self, query) } else { list(self, query) };
        // Nothing is left on the server by a stream that is dropped.
        told.take_until(async move { stop.cancelled().await }).boxed()
    }

    async fn unknown_types(&self, _: &[Pattern]) -> Result<Vec<String>> {
        // Whoever notes an event writes a reason of his own.
        Ok(Vec::new())
    }
}

/// The machines that are meant, and where their events are.
struct Scope {
    /// Namespace and name; empty for all.
    subjects: Vec<(String, String)>,
    /// The namespace that is looked into; `None` for all.
    namespace: Option<String>,
}

impl Scope {
    fn new(kubevirt: &Kubevirt, query: &EventQuery) -> Result<Self> {
        let subjects: Vec<_> = query
            .subjects
            .iter()
            .map(|it| place_of(kubevirt, it).map(|(space, name)| (space.into(), name.into())))
            .collect::<Result<Vec<(String, String)>>>()?;
        let namespace = match subjects.first() {
            Some((first, _)) => {
                subjects.iter().all(|(space, _)| space == first).then(|| first.clone())
            }
            None => kubevirt.listed().map(str::to_owned),
        };
        Ok(Self { subjects, namespace })
    }

    fn wants(&self, event: &CoreEvent) -> bool {
        let space = &event.involved_object.namespace;
        match self.subjects.is_empty() {
            true => event.concerns_machines(),
            false => self.subjects.iter().any(|(own, name)| own == space && event.concerns(name)),
        }
    }
}

/// Where the last event that was told stands in the server's history.
#[derive(Debug, Clone, Default)]
struct Place {
    /// The version of the server's state; servers count them up.
    version: u64,
    time: Option<Timestamp>,
}

impl Place {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let version = text("resource_version").and_then(|it| it.parse().ok()).unwrap_or_default();
        Self { version, time: text("time").and_then(|it| it.parse().ok()) }
    }

    /// Goes on to an event.
    fn pass(&mut self, event: &CoreEvent) {
        self.version = self.version.max(event.version());
        self.time = self.time.max(Some(event.time()));
    }

    fn value(&self) -> Option<Value> {
        (self.version > 0)
            .then(|| json!({"resource_version": self.version.to_string(), "time": self.time}))
    }

    /// Whether an event of a list is behind it.
    fn is_before(&self, event: &CoreEvent) -> bool {
        match (self.version, event.version()) {
            (0, _) | (_, 0) => self.time.is_none_or(|time| event.time() > time),
            (own, version) => version > own,
        }
    }
}

/// In the order in which they happened.
fn sort(events: &mut [CoreEvent]) {
    events.sort_by_key(|event| (event.time(), event.version()));
}

/// Events of a list; only the last has a place, for their order is not that of the server's history.
fn told_together(kubevirt: &Kubevirt, events: &[CoreEvent], place: &mut Place) -> Vec<Told> {
    events.iter().for_each(|event| place.pass(event));
    let one = |event: &CoreEvent| Told { event: event.record(&kubevirt.context), place: None };
    let mut told: Vec<Told> = events.iter().map(one).collect();
    if let Some(last) = told.last_mut() {
        last.place = place.value();
    }
    told
}

fn list(kubevirt: &Kubevirt, query: EventQuery) -> BoxStream<'_, Result<Told>> {
    try_stream! {
        let scope = Scope::new(kubevirt, &query)?;
        let mut place = query.place.as_ref().map(Place::read).unwrap_or_default();
        let begun = place.clone();
        let all = kubevirt.client().list::<CoreEvent>(EVENTS, scope.namespace.as_deref(), String::new());
        let mut all = all.try_filter(|event| std::future::ready(scope.wants(event)));
        let mut wanted = Vec::new();
        let mut silent: Vec<_> = query.subjects.iter().zip(&scope.subjects).collect();
        while let Some(event) = all.try_next().await? {
            silent.retain(|(_, (space, name))| *space != event.involved_object.namespace || !event.concerns(name));
            let passes = match query.place {
                Some(_) => begun.is_before(&event),
                None => query.since.is_none_or(|since| event.time() >= since),
            };
            if passes {
                wanted.push(event);
            }
        }
        for (reference, _) in silent {
            // A machine that is gone may still have events.
            resolve(kubevirt, reference).await?;
        }
        sort(&mut wanted);
        for told in told_together(kubevirt, &wanted, &mut place) {
            yield told;
        }
    }
    .boxed()
}

fn follow(kubevirt: &Kubevirt, query: EventQuery) -> BoxStream<'_, Result<Told>> {
    try_stream! {
        let scope = Scope::new(kubevirt, &query)?;
        let begun = query.place.as_ref().map(Place::read);
        let from = begun.as_ref().filter(|it| it.version > 0).map(|it| it.version.to_string());
        let what = Watched { resource: EVENTS, namespace: scope.namespace.clone(), query: String::new() };
        let mut steps = watch_from::<CoreEvent>(kubevirt.client().clone(), what, from.clone());
        let mut place = begun.clone().unwrap_or_default();
        let mut known = Known { listed: from.is_some(), ..Known::default() };
        let mut unchecked = query.subjects.clone();
        while let Some(step) = steps.try_next().await? {
            match step {
                Step::Reset => {
                    if known.listed {
                        let gap = Gap { reason: GapReason::Relisted, after: None, before: None };
                        yield Told { event: gap.record(&kubevirt.context, NAME), place: None };
                    }
                    known.list.clear();
                }
                Step::Listed(event) if scope.wants(&event) => known.list.push(event),
                Step::Synced => {
                    for reference in unchecked.drain(..) {
                        let (space, name) = place_of(kubevirt, &reference)?;
                        let about = |it: &CoreEvent| it.involved_object.namespace == space && it.concerns(name);
                        if !known.list.iter().any(about) {
                            resolve(kubevirt, &reference).await?;
                        }
                    }
                    let mut fresh = known.synced();
                    if !known.listed {
                        let wanted = |event: &CoreEvent| match &begun {
                            Some(begun) => begun.is_before(event),
                            None => query.since.is_some_and(|since| event.time() >= since),
                        };
                        fresh.iter().filter(|it| !wanted(it)).for_each(|it| place.pass(it));
                        fresh.retain(wanted);
                    } else if let Some(begun) = begun.as_ref().filter(|_| !known.relisted) {
                        fresh.retain(|event| begun.is_before(event));
                    }
                    known.relisted = true;
                    known.listed = true;
                    sort(&mut fresh);
                    for told in told_together(kubevirt, &fresh, &mut place) {
                        yield told;
                    }
                }
                Step::Applied(event) if scope.wants(&event) && known.is_new(&event) => {
                    known.take(&event);
                    place.pass(&event);
                    yield Told { event: event.record(&kubevirt.context), place: place.value() };
                }
                Step::Gone(event) => known.forget(&event),
                Step::Listed(_) | Step::Applied(_) => {}
            }
        }
    }
    .boxed()
}

/// What was told or passed over already: how often and when each event happened. As many as the
/// server has, which keeps them for an hour or so.
#[derive(Default)]
struct Known {
    told: HashMap<String, (u32, Timestamp)>,
    /// The list that is under way.
    list: Vec<CoreEvent>,
    /// Whether there was a list, or a place that stands for one.
    listed: bool,
    /// Whether there was a list.
    relisted: bool,
}

impl Known {
    fn is_new(&self, event: &CoreEvent) -> bool {
        self.told.get(&event.metadata.uid) != Some(&(event.count(), event.time()))
    }

    fn take(&mut self, event: &CoreEvent) {
        self.told.insert(event.metadata.uid.clone(), (event.count(), event.time()));
    }

    fn forget(&mut self, event: &CoreEvent) {
        self.told.remove(&event.metadata.uid);
    }

    /// What of a complete list is new. What is not in it is forgotten.
    fn synced(&mut self) -> Vec<CoreEvent> {
        let list = std::mem::take(&mut self.list);
        let before = std::mem::take(&mut self.told);
        let mut fresh = Vec::new();
        for event in list {
            self.take(&event);
            if before.get(&event.metadata.uid) != self.told.get(&event.metadata.uid) {
                fresh.push(event);
            }
        }
        fresh
    }
}
