//! From a checked call to what it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::collector;
use super::envelope::{Answer, Request};
use super::fault::Fault;
use super::machine::Power;
use super::schema::SCHEMA;
use super::session::{Session, View};
use super::sim::Sim;
use super::spec::FilterSpec;
use super::state::State;
use super::update::{self, Collector, Filter};
use super::value::{Data, Ref, Value};
use super::{
    change, clone, console, customization, history, lease, ovf, performance, service, task,
};

/// Who calls.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The key of the login, where there is one.
    pub session: Option<String>,
    /// The user behind it.
    pub user: String,
    /// From where.
    pub address: String,
    /// With what.
    pub agent: String,
}

/// The answer to a call, and the cookie of a login that it made.
pub type Answered = (Answer, Option<String>);

/// The longest that a client may wait for changes where it does not say.
const LONG_WAIT: Duration = Duration::from_secs(1800);

/// Does what a call asks.
///
/// # Errors
/// `NotAuthenticated`, `ManagedObjectNotFound`, and those of the call.
pub async fn call(sim: &Arc<Sim>, caller: &Caller, request: &Request) -> Result<Answered, Fault> {
    let method = request.method.as_str();
    // RetrieveProperties hides the refusal in an answer, see `collector`.
    let open = matches!(
        method,
        "RetrieveServiceContent" | "Login" | "RetrieveProperties" | "RetrievePropertiesEx"
    );
    let public = open || method == "Fetch" && request.this.kind == "ServiceInstance";
    if caller.session.is_none() && !public {
        return Err(Fault::not_authenticated(&request.this));
    }
    if !sim.lock().exists(caller.session.as_deref(), &request.this) {
        return Err(Fault::gone(&request.this));
    }
    if method == "Login" {
        return login(sim, caller, request);
    }
    let answer = match method {
        "WaitForUpdates" | "WaitForUpdatesEx" => wait(sim, caller, request).await?,
        "HttpNfcLeaseGetManifest" => lease::manifest(sim, &request.this).await?,
        _ => at_once(sim, caller, request)?,
    };
    Ok((answer, None))
}

fn at_once(sim: &Arc<Sim>, caller: &Caller, request: &Request) -> Result<Answer, Fault> {
    let (this, args) = (&request.this, &request.args);
    let key = caller.session.as_deref();
    let own = key.unwrap_or_default();
    match request.method.as_str() {
        "RetrieveServiceContent" => Ok(Answer::Value(service::content(sim.lock().tree.esx).into())),
        "CurrentTime" => Ok(Answer::Value(jiff::Timestamp::now().into())),
        "Fetch" => fetch(&sim.lock(), key, request),
        "Logout" => {
            sim.end_sessions(key);
            Ok(Answer::Nothing)
        }
        "SessionIsActive" => {
            let state = sim.lock();
            let meant = args.text_of("sessionID").and_then(|key| state.sessions.get(key));
            let active = meant.is_some_and(|it| args.text_of("userName") == Some(it.user.as_str()));
            Ok(Answer::Value(active.into()))
        }
        "TerminateSession" => terminate(sim, own, request),
        "RetrieveProperties" => collector::retrieve(&sim.lock(), key, args),
        "RetrievePropertiesEx" => {
            collector::retrieve_page(&mut sim.lock(), key, args, sim.settings.page_size)
        }
        "ContinueRetrievePropertiesEx" => collector::next_page(&mut sim.lock(), own, args),
        "CancelRetrievePropertiesEx" => collector::cancel(&mut sim.lock(), own, args),
        "CreateFilter" => create_filter(&mut sim.lock(), own, request),
        "DestroyPropertyFilter" => destroy_filter(&mut sim.lock(), own, this),
        "CreatePropertyCollector" => create_collector(&mut sim.lock(), own),
        "DestroyPropertyCollector" => destroy_collector(sim, own, this),
        "CancelWaitForUpdates" => cancel_wait(sim, own, this),
        "CreateContainerView" => create_view(&mut sim.lock(), own, request),
        "DestroyView" => {
            on_session(&mut sim.lock(), own)?.views.remove(&this.value);
            Ok(Answer::Nothing)
        }
        "FindByInventoryPath" | "FindByUuid" | "FindChild" => Ok(find(&sim.lock(), request)),
        "CreateCollectorForEvents" => history::create(&mut sim.lock(), own, args),
        "ReadNextEvents" => history::read(&mut sim.lock(), own, this, true, args),
        "ReadPreviousEvents" => history::read(&mut sim.lock(), own, this, false, args),
        "SetCollectorPageSize" | "RewindCollector" | "ResetCollector" | "DestroyCollector" => {
            history::set(&mut sim.lock(), own, this, &request.method, args)
        }
        "LogUserEvent" => history::log(&mut sim.lock(), caller, args).inspect(|_| sim.changed()),
        "PostEvent" => history::post(&mut sim.lock(), caller, args).inspect(|_| sim.changed()),
        "QueryPerfProviderSummary" => performance::provider(&sim.lock(), args),
        "QueryAvailablePerfMetric" => performance::available(&sim.lock(), args),
        "QueryPerf" => performance::query(&sim.lock(), args),
        "CreateDescriptor" => ovf::create_descriptor(&sim.lock(), args),
        "PowerOnVM_Task" => change::power(sim, caller, this, Power::On),
        "PowerOffVM_Task" => change::power(sim, caller, this, Power::Off),
        "ShutdownGuest" => change::shut_down(sim, this),
        "RebootGuest" => change::reboot(sim, this),
        "CreateSnapshot_Task" => change::create_snapshot(sim, caller, this, args),
        "RemoveSnapshot_Task" => change::remove_snapshot(sim, caller, this, args),
        "AcquireTicket" => console::ticket(sim, this, args),
        "PutUsbScanCodes" => console::keys(sim, this, args),
        "CloneVM_Task" => clone::clone(sim, caller, this, args),
        "InstantClone_Task" => clone::instant(sim, caller, this, args),
        "CancelTask" => task::cancel(sim, this),
        "DoesCustomizationSpecExist" => Ok(customization::exists(args)),
        "GetCustomizationSpec" => customization::get(args),
        "Destroy_Task" => clone::destroy(sim, caller, this),
        "RevertToSnapshot_Task" => change::revert(sim, caller, this),
        "ConsolidateVMDisks_Task" => change::consolidate(sim, caller, this),
        "ExportVm" => lease::export(sim, this, None),
        "ExportSnapshot" => {
            let owner = sim.lock().tree.machine_of_snapshot(this).map(|it| it.reference.clone());
            lease::export(sim, &owner.ok_or_else(|| Fault::gone(this))?, Some(this))
        }
        "HttpNfcLeaseProgress" => lease::progress(&mut sim.lock(), this, args),
        "HttpNfcLeaseSetManifestChecksumType" => lease::set_checksum(&mut sim.lock(), this, args),
        "HttpNfcLeaseComplete" => lease::complete(&mut sim.lock(), this).inspect(|_| sim.changed()),
        "HttpNfcLeaseAbort" => lease::abort(&mut sim.lock(), this).inspect(|_| sim.changed()),
        other => Err(Fault {
            message: format!("{other} is not simulated"),
            data: Data::new("MethodNotFound").set("receiver", this).set("method", other),
        }),
    }
}

fn on_session<'s>(state: &'s mut State, key: &str) -> Result<&'s mut Session, Fault> {
    let manager = Ref::new("SessionManager", "SessionManager");
    state.sessions.get_mut(key).ok_or_else(|| Fault::not_authenticated(&manager))
}

fn login(sim: &Arc<Sim>, caller: &Caller, request: &Request) -> Result<Answered, Fault> {
    let given = |name| request.args.text_of(name).unwrap_or_default();
    let right =
        given("userName") == sim.settings.user && given("password") == sim.settings.password;
    // A second login in a session is refused as a wrong one is.
    if !right || caller.session.is_some() {
        let text = "Cannot complete login due to an incorrect user name or password.";
        return Err(Fault::new("InvalidLogin", text));
    }
    let mut state = sim.lock();
    let number = state.number();
    let mut session = Session::new(number, &sim.settings.user, &caller.address, &caller.agent);
    session.touch();
    let shared = service::collector(state.tree.esx).value;
    session.collectors.insert(shared, Collector::default());
    let (data, cookie) = (session.data(), session.cookie.clone());
    state.sessions.insert(session.key.clone(), session);
    Ok((Answer::Value(data.into()), Some(cookie)))
}

fn terminate(sim: &Arc<Sim>, own: &str, request: &Request) -> Result<Answer, Fault> {
    for key in request.args.all("sessionId").map(|node| node.text.trim()) {
        if key == own {
            return Err(Fault::argument("sessionId", "a session cannot terminate itself"));
        }
        if !sim.lock().sessions.contains_key(key) {
            return Err(Fault::new("NotFound", "There is no such session."));
        }
        sim.end_sessions(Some(key));
    }
    Ok(Answer::Nothing)
}

/// One property, as pyVmomi reads them.
fn fetch(state: &State, session: Option<&str>, request: &Request) -> Result<Answer, Fault> {
    let name = request.args.text_of("prop").unwrap_or_default();
    let kind = SCHEMA.member(&request.this.kind, name).ok_or_else(|| Fault::property(name))?.kind;
    Ok(match state.property(session, &request.this, name) {
        Some(value) => Answer::Typed(value, kind),
        None => Answer::Nothing,
    })
}

fn create_filter(state: &mut State, own: &str, request: &Request) -> Result<Answer, Fault> {
    let spec = request.args.one("spec").ok_or_else(|| Fault::request("spec is missing"))?;
    let spec = FilterSpec::new(spec)?;
    let id = format!("session[{own}]filter-{}", state.number());
    let collectors = &mut on_session(state, own)?.collectors;
    let collector =
        collectors.get_mut(&request.this.value).ok_or_else(|| Fault::gone(&request.this))?;
    collector.filters.push(Filter::new(id.clone(), spec));
    Ok(Answer::Value(Ref::new("PropertyFilter", id).into()))
}

fn destroy_filter(state: &mut State, own: &str, this: &Ref) -> Result<Answer, Fault> {
    for collector in on_session(state, own)?.collectors.values_mut() {
        collector.filters.retain(|filter| filter.id != this.value);
    }
    Ok(Answer::Nothing)
}

fn create_collector(state: &mut State, own: &str) -> Result<Answer, Fault> {
    let id = format!("session[{own}]collector-{}", state.number());
    on_session(state, own)?.collectors.insert(id.clone(), Collector::default());
    Ok(Answer::Value(Ref::new("PropertyCollector", id).into()))
}

fn destroy_collector(sim: &Sim, own: &str, this: &Ref) -> Result<Answer, Fault> {
    let mut state = sim.lock();
    if *this == service::collector(state.tree.esx) {
        return Err(Fault::argument("_this", "this collector belongs to everyone"));
    }
    on_session(&mut state, own)?.collectors.remove(&this.value);
    drop(state);
    sim.changed();
    Ok(Answer::Nothing)
}

fn cancel_wait(sim: &Sim, own: &str, this: &Ref) -> Result<Answer, Fault> {
    if let Some(collector) = on_session(&mut sim.lock(), own)?.collectors.get_mut(&this.value) {
        collector.cancelled += 1;
    }
    sim.changed();
    Ok(Answer::Nothing)
}

fn create_view(state: &mut State, own: &str, request: &Request) -> Result<Answer, Fault> {
    let args = &request.args;
    let container = args.reference_of("container").unwrap_or_else(|| Ref::new("", ""));
    if !state.exists(Some(own), &container) {
        return Err(Fault::gone(&container));
    }
    let kinds: Vec<String> = args.all("type").map(|node| node.text.trim().to_owned()).collect();
    if let Some(kind) = kinds.iter().find(|kind| !SCHEMA.is_managed(kind)) {
        return Err(Fault::argument("type", format!("there are no objects of kind {kind}")));
    }
    let id = format!("session[{own}]view-{}", state.number());
    let view = View { container, kinds, recursive: args.is("recursive") };
    on_session(state, own)?.views.insert(id.clone(), view);
    Ok(Answer::Value(Ref::new("ContainerView", id).into()))
}

fn find(state: &State, request: &Request) -> Answer {
    let text = |name| request.args.text_of(name).unwrap_or_default();
    let found = match request.method.as_str() {
        "FindByInventoryPath" => state.tree.at_path(text("inventoryPath")),
        "FindChild" => {
            let parent = request.args.reference_of("entity");
            parent.and_then(|parent| state.tree.child(&parent, text("name")))
        }
        _ => {
            let uuid = text("uuid").trim().to_ascii_lowercase();
            let instance = request.args.is("instanceUuid");
            let mut machines = state.tree.machines.values();
            let is = |machine: &&super::machine::Machine| {
                *if instance { &machine.instance_uuid } else { &machine.uuid } == uuid
            };
            let found = machines.find(is).filter(|_| request.args.is("vmSearch"));
            found.map(|machine| machine.reference.clone())
        }
    };
    found.map_or(Answer::Nothing, |found| Answer::Value(Value::Ref(found)))
}

/// Waits until something that the collector watches changes, or the time is up.
async fn wait(sim: &Arc<Sim>, caller: &Caller, request: &Request) -> Result<Answer, Fault> {
    let own = caller.session.as_deref().unwrap_or_default();
    let id = request.this.value.as_str();
    let version = request.args.text_of("version").unwrap_or_default();
    let seconds = request.args.one("options").and_then(|it| it.text_of("maxWaitSeconds"));
    let most = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let end = Instant::now() + most.unwrap_or(LONG_WAIT);
    let mut news = sim.news();
    let cancelled = |state: &State| {
        let own = state.sessions.get(own);
        own.and_then(|own| own.collectors.get(id)).map(|collector| collector.cancelled)
    };
    let before = cancelled(&sim.lock());
    loop {
        news.mark_unchanged();
        {
            let mut state = sim.lock();
            let now = cancelled(&state);
            if now.is_none() {
                return Err(match state.sessions.contains_key(own) {
                    true => Fault::gone(&request.this),
                    false => Fault::not_authenticated(&request.this),
                });
            }
            if now != before {
                return Err(Fault::new("RuntimeFault", "The wait was cancelled."));
            }
            if let Some(text) = update::update(&mut state, own, id, version)? {
                return Ok(Answer::Written(text));
            }
        }
        if tokio::time::timeout_at(end.into(), news.changed()).await.is_err() {
            return Ok(Answer::Nothing);
        }
    }
}
