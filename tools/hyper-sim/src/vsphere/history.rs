//! What happened: the events that the server keeps, and the collectors that read them.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use super::call::Caller;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::inventory::{HOST, Inventory};
use super::machine::Power;
use super::sim::Sim;
use super::state::State;
use super::value::{Data, Ref, Value};

/// The largest part that is read at once.
const LARGEST: usize = 1000;

/// How large a latest page is where nobody says.
const PAGE: usize = 10;

/// The kinds of events: class, severity, what it is called.
const KINDS: [(&str, &str, &str); 3] = [
    ("VmPoweredOnEvent", "info", "VM powered on"),
    ("VmPoweredOffEvent", "info", "VM powered off"),
    ("GeneralUserEvent", "user", "General user event"),
];

/// The events, by their numbers.
#[derive(Debug, Default)]
pub struct History(Vec<Event>);

/// An event.
#[derive(Debug)]
struct Event {
    class: &'static str,
    time: Timestamp,
    user: String,
    machine: Option<(Ref, String)>,
    message: String,
}

impl History {
    /// So many remarks of a user, a millisecond apart.
    pub fn filled(count: u32) -> Self {
        let now = Timestamp::now();
        let time =
            |number: u32| now.checked_sub(i64::from(count - number).milliseconds()).unwrap_or(now);
        Self((1..=count).map(|number| Event::remark(number as usize, time(number))).collect())
    }

    /// Adds so many remarks of a user, all made now.
    fn remark(&mut self, count: u32) {
        let now = Timestamp::now();
        for _ in 0..count {
            self.0.push(Event::remark(self.0.len() + 1, now));
        }
    }
}

/// Adds so many remarks of a user each second, for ever.
pub async fn remarks(sim: Arc<Sim>, count: u32) {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    loop {
        pace.tick().await;
        sim.lock().history.remark(count);
        sim.changed();
    }
}

/// `LogUserEvent`: what a user says of a thing.
///
/// # Errors
/// `ManagedObjectNotFound` for what is not there.
pub fn log(state: &mut State, caller: &Caller, args: &Node) -> Result<Answer, Fault> {
    let about = args.reference_of("entity").filter(|it| state.tree.is_entity(it));
    let about = about.ok_or_else(|| {
        Fault::gone(&args.reference_of("entity").unwrap_or_else(|| Ref::new("", "")))
    })?;
    let machine = state.tree.machine(&about).map(|it| (about, it.name.clone()));
    said(state, caller, machine, args.text_of("msg"));
    Ok(Answer::Nothing)
}

/// `PostEvent`, of what a user says.
///
/// # Errors
/// `InvalidArgument` for events of other classes.
pub fn post(state: &mut State, caller: &Caller, args: &Node) -> Result<Answer, Fault> {
    let event = args.one("eventToPost").ok_or_else(|| Fault::request("eventToPost is missing"))?;
    if event.kind.as_deref() != Some("GeneralUserEvent") {
        let words = "only events of the class GeneralUserEvent can be posted here";
        return Err(Fault::argument("eventToPost", words));
    }
    let vm = event.one("vm").and_then(|it| it.reference_of("vm"));
    let machine = vm.and_then(|it| Some((it.clone(), state.tree.machine(&it)?.name.clone())));
    said(state, caller, machine, event.text_of("message"));
    Ok(Answer::Nothing)
}

fn said(state: &mut State, caller: &Caller, machine: Option<(Ref, String)>, message: Option<&str>) {
    state.history.0.push(Event {
        class: "GeneralUserEvent",
        time: Timestamp::now(),
        user: caller.user.clone(),
        machine,
        message: message.unwrap_or_default().to_owned(),
    });
}

/// Notes that a machine was switched.
pub fn switched(state: &mut State, id: &str, power: Power, user: &str) {
    let Some(machine) = state.tree.machines.get(id) else { return };
    let (class, word) = match power {
        Power::On => ("VmPoweredOnEvent", "on"),
        Power::Off => ("VmPoweredOffEvent", "off"),
    };
    let centre = state.tree.name(&state.tree.places.datacenter).unwrap_or_default();
    let message = format!("{} on {HOST} in {centre} is powered {word}", machine.name);
    let machine = Some((machine.reference.clone(), machine.name.clone()));
    let event = Event { class, time: Timestamp::now(), user: user.to_owned(), machine, message };
    state.history.0.push(event);
}

impl Event {
    fn remark(number: usize, time: Timestamp) -> Self {
        Self {
            class: "GeneralUserEvent",
            time,
            user: "operator".to_owned(),
            machine: None,
            message: format!("remark {number}"),
        }
    }

    fn data(&self, tree: &Inventory, number: usize) -> Data {
        let places = &tree.places;
        let argument = |kind, field, reference: &Ref| {
            let name = tree.name(reference).unwrap_or_default();
            Data::new(kind).set("name", name).set(field, reference)
        };
        let mut data = Data::new(self.class)
            .set("key", number as u64)
            .set("chainId", number as u64)
            .set("createdTime", self.time)
            .set("userName", &self.user);
        if let Some((machine, name)) = &self.machine {
            let centre = &places.datacenter;
            data = data
                .set("datacenter", argument("DatacenterEventArgument", "datacenter", centre))
                .set(
                    "computeResource",
                    argument("ComputeResourceEventArgument", "computeResource", &places.cluster),
                )
                .set("host", argument("HostEventArgument", "host", &places.host))
                .set("vm", Data::new("VmEventArgument").set("name", name).set("vm", machine));
        }
        data = data.set("fullFormattedMessage", &self.message);
        match self.class {
            "GeneralUserEvent" => data.set("message", &self.message),
            _ => data.set("template", false),
        }
    }
}

/// What a collector collects, and how far it was read.
#[derive(Debug)]
pub struct Collector {
    entity: Option<Ref>,
    since: Option<Timestamp>,
    types: Vec<String>,
    size: usize,
    /// How many events of the history are behind it.
    position: usize,
}

impl Collector {
    fn wants(&self, tree: &Inventory, event: &Event) -> bool {
        let about = |entity: &Ref| {
            let machine = event.machine.as_ref().map(|(machine, _)| machine);
            *entity == tree.places.root
                || machine.is_some_and(|it| it == entity || tree.below(entity).contains(it))
        };
        self.entity.as_ref().is_none_or(about)
            && self.since.is_none_or(|since| event.time >= since)
            && (self.types.is_empty() || self.types.iter().any(|it| it == event.class))
    }
}

fn on<'s>(state: &'s mut State, own: &str, this: &Ref) -> Result<&'s mut Collector, Fault> {
    let session = state.sessions.get_mut(own);
    session.and_then(|it| it.events.get_mut(&this.value)).ok_or_else(|| Fault::gone(this))
}

fn count(args: &Node) -> Result<usize, Fault> {
    let count = args.text_of("maxCount").and_then(|text| text.trim().parse().ok());
    let fits = count.filter(|count| (1..=LARGEST).contains(count));
    fits.ok_or_else(|| Fault::argument("maxCount", "from 1 to 1000"))
}

/// `CreateCollectorForEvents`.
///
/// # Errors
/// `ManagedObjectNotFound` for an entity that is not there.
pub fn create(state: &mut State, own: &str, args: &Node) -> Result<Answer, Fault> {
    let filter = args.one("filter").ok_or_else(|| Fault::request("filter is missing"))?;
    let entity = filter.one("entity").and_then(|it| it.reference_of("entity"));
    if let Some(gone) = entity.as_ref().filter(|it| !state.tree.is_entity(it)) {
        return Err(Fault::gone(gone));
    }
    let since = filter.one("time").and_then(|it| it.text_of("beginTime")?.trim().parse().ok());
    let types = filter.all("eventTypeId").map(|it| it.text.trim().to_owned()).collect();
    let id = format!("session[{own}]events-{}", state.number());
    let this = Ref::new("EventHistoryCollector", id);
    let collector = Collector { entity, since, types, size: PAGE, position: 0 };
    let session = state.sessions.get_mut(own).ok_or_else(|| Fault::gone(&this))?;
    session.events.insert(this.value.clone(), collector);
    Ok(Answer::Value(this.into()))
}

/// `SetCollectorPageSize`, `RewindCollector`, `ResetCollector` and `DestroyCollector`.
///
/// # Errors
/// `InvalidArgument` for a size that no page has.
pub fn set(
    state: &mut State,
    own: &str,
    this: &Ref,
    method: &str,
    args: &Node,
) -> Result<Answer, Fault> {
    let end = state.history.0.len();
    let collector = on(state, own, this)?;
    match method {
        "SetCollectorPageSize" => collector.size = count(args)?,
        "RewindCollector" => collector.position = 0,
        "ResetCollector" => collector.position = end,
        _ => {
            state.sessions.get_mut(own).and_then(|it| it.events.remove(&this.value));
        }
    }
    Ok(Answer::Nothing)
}

/// `ReadNextEvents` and `ReadPreviousEvents`: a part of the history, and then the one beside it.
///
/// # Errors
/// `InvalidArgument` for a part that is too large.
pub fn read(
    state: &mut State,
    own: &str,
    this: &Ref,
    forward: bool,
    args: &Node,
) -> Result<Answer, Fault> {
    let count = count(args)?;
    let mut position = on(state, own, this)?.position;
    let mut found = Vec::new();
    let session = state.sessions.get(own);
    if let Some(collector) = session.and_then(|it| it.events.get(&this.value)) {
        while found.len() < count {
            let at = if forward { Some(position) } else { position.checked_sub(1) };
            let Some((at, event)) = at.and_then(|at| Some((at, state.history.0.get(at)?))) else {
                break;
            };
            position = if forward { at + 1 } else { at };
            if collector.wants(&state.tree, event) {
                found.push(Value::from(event.data(&state.tree, at + 1)));
            }
        }
    }
    on(state, own, this)?.position = position;
    Ok(Answer::Value(found.into()))
}

/// A property of a collector.
pub fn collected(state: &State, session: Option<&str>, this: &Ref, name: &str) -> Option<Value> {
    let collector = state.sessions.get(session?)?.events.get(&this.value)?;
    let all = state.history.0.iter().enumerate().rev();
    let wanted = all.filter(|(_, event)| collector.wants(&state.tree, event));
    let page = wanted.take(collector.size).map(|(at, event)| event.data(&state.tree, at + 1));
    (name == "latestPage").then(|| page.map(Value::from).collect::<Vec<_>>().into())
}

/// A property of the manager.
pub fn property(state: &State, name: &str) -> Option<Value> {
    let detail = |(class, severity, title): (&'static str, &str, &str)| {
        let data = Data::new("EventDescriptionEventDetail")
            .set("key", class)
            .set("description", title)
            .set("category", severity);
        let formats =
            ["formatOnDatacenter", "formatOnComputeResource", "formatOnHost", "formatOnVm"];
        let data = formats.into_iter().fold(data, |data, field| data.set(field, title));
        Value::from(data.set("fullFormat", title))
    };
    Some(match name {
        "description" => Data::new("EventDescription")
            .set("category", Vec::<Value>::new())
            .set("eventInfo", KINDS.map(detail).to_vec())
            .into(),
        "latestEvent" => state.history.0.last()?.data(&state.tree, state.history.0.len()).into(),
        "maxCollector" => 32.into(),
        _ => return None,
    })
}
