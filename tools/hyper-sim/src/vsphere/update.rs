//! Filters, and waiting for what they watch to change.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::collector::{Plan, REFERENCE, Written};
use super::fault::Fault;
use super::schema::Type;
use super::spec::FilterSpec;
use super::state::State;
use super::value::{Ref, write};

/// A collector's filters and how far its client has read.
#[derive(Debug, Default)]
pub struct Collector {
    /// The filters.
    pub filters: Vec<Filter>,
    /// The version that was sent last.
    version: u64,
    /// Raised to end a wait.
    pub cancelled: u64,
}

/// A filter.
#[derive(Debug)]
pub struct Filter {
    /// Its id.
    pub id: String,
    spec: FilterSpec,
    plan: Plan,
    /// What the client knows of each object.
    known: BTreeMap<Ref, Written>,
}

impl Filter {
    /// A filter that nothing was told of yet.
    pub fn new(id: String, spec: FilterSpec) -> Self {
        Self { id, spec, plan: Plan::default(), known: BTreeMap::new() }
    }
}

/// What changed in the view of one collector since it was told last, written as an update set;
/// `None` where nothing did. `version` is what the client holds.
///
/// # Errors
/// `InvalidCollectorVersion` for a version that was never sent; `ManagedObjectNotFound` where a
/// watched object is gone.
pub fn update(
    state: &mut State,
    session: &str,
    collector: &str,
    version: &str,
) -> Result<Option<String>, Fault> {
    let gone = || Fault::gone(&Ref::new("PropertyCollector", collector));
    let own = state.sessions.get_mut(session).ok_or_else(gone)?;
    // Taken out while the state is read, and put back.
    let mut taken = own.collectors.remove(collector).ok_or_else(gone)?;
    let changed = changes(state, session, &mut taken, version.trim());
    if let Some(own) = state.sessions.get_mut(session) {
        own.collectors.insert(collector.to_owned(), taken);
    }
    changed
}

fn changes(
    state: &State,
    session: &str,
    collector: &mut Collector,
    version: &str,
) -> Result<Option<String>, Fault> {
    if version.is_empty() {
        collector.filters.iter_mut().for_each(|filter| filter.known.clear());
    } else if version != collector.version.to_string() {
        return Err(Fault::new("InvalidCollectorVersion", "this version was never sent"));
    }
    let mut sets = String::new();
    for filter in &mut collector.filters {
        let objects = filter_changes(state, session, filter)?;
        if !objects.is_empty() {
            sets.push_str("<filterSet>");
            write(&mut sets, "filter", &Ref::new("PropertyFilter", &filter.id).into(), REFERENCE);
            sets.push_str(&objects);
            sets.push_str("</filterSet>");
        }
    }
    if sets.is_empty() {
        return Ok(None);
    }
    collector.version += 1;
    let version = collector.version;
    Ok(Some(format!("<returnval><version>{version}</version>{sets}</returnval>")))
}

fn filter_changes(state: &State, session: &str, filter: &mut Filter) -> Result<String, Fault> {
    let objects = filter.spec.objects(state, Some(session))?;
    let mut text = String::new();
    let mut known = BTreeMap::new();
    for object in objects {
        let now = filter.plan.properties(state, Some(session), &filter.spec, &object);
        match filter.known.remove(&object) {
            None => tell(&mut text, "enter", &object, &now, &Written::new()),
            Some(before) if before != now => tell(&mut text, "modify", &object, &now, &before),
            Some(_) => {}
        }
        known.insert(object, now);
    }
    for object in filter.known.keys() {
        tell(&mut text, "leave", object, &Written::new(), &Written::new());
    }
    filter.known = known;
    Ok(text)
}

fn tell(text: &mut String, kind: &str, object: &Ref, now: &Written, before: &Written) {
    let _ = write!(text, "<objectSet><kind>{kind}</kind>");
    write(text, "obj", &object.into(), Type { ..REFERENCE });
    for (path, value) in now.iter().filter(|it| !before.contains(it)) {
        let _ = write!(text, "<changeSet><name>{path}</name><op>assign</op>{value}</changeSet>");
    }
    for (path, _) in before.iter().filter(|(path, _)| !now.iter().any(|(it, _)| it == path)) {
        // A property that has no value any more is assigned none.
        let _ = write!(text, "<changeSet><name>{path}</name><op>assign</op></changeSet>");
    }
    text.push_str("</objectSet>");
}
