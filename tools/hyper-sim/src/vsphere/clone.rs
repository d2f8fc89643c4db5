//! What makes and removes machines: clones, full, linked and instant, and their ends.

use std::sync::Arc;

use jiff::Timestamp;

use super::call::Caller;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{Identity, Machine, Power};
use super::sim::Sim;
use super::state::State;
use super::task::{self, Job};
use super::value::{Data, Ref, Value};
use super::{change, customization, history};

/// A clone to be made.
struct Wanted {
    source: Ref,
    name: String,
    folder: Ref,
    snapshot: Option<Ref>,
    linked: bool,
    power_on: bool,
    options: Vec<(String, String)>,
    /// What its guest makes of itself.
    identity: Option<Identity>,
    /// Whether it goes on where its source is.
    instant: bool,
}

/// A key and a value of the configuration.
fn option(node: &Node) -> (String, String) {
    let text = |name: &str| node.text_of(name).unwrap_or_default().to_owned();
    (text("key"), text("value"))
}

impl Wanted {
    fn of(this: &Ref, args: &Node) -> Self {
        let spec = args.one("spec");
        let location = spec.and_then(|spec| spec.one("location"));
        let options = spec.and_then(|spec| spec.one("config")).into_iter();
        Self {
            source: this.clone(),
            name: args.text_of("name").unwrap_or_default().to_owned(),
            folder: args.reference_of("folder").unwrap_or_else(|| Ref::new("Folder", "")),
            snapshot: spec.and_then(|spec| spec.reference_of("snapshot")),
            linked: location.and_then(|it| it.text_of("diskMoveType"))
                == Some("createNewChildDiskBacking"),
            power_on: spec.is_some_and(|spec| spec.is("powerOn")),
            options: options.flat_map(|it| it.all("extraConfig").map(option)).collect(),
            identity: None,
            instant: false,
        }
    }

    /// One that goes on where a machine is: in the given folder, or in the machine's own.
    fn instant(source: &Machine, spec: &Node) -> Self {
        let location = spec.one("location");
        let folder = location.and_then(|it| it.reference_of("folder"));
        Self {
            source: source.reference.clone(),
            name: spec.text_of("name").unwrap_or_default().to_owned(),
            folder: folder.unwrap_or_else(|| source.folder.clone()),
            snapshot: None,
            linked: true,
            power_on: true,
            options: spec.all("config").map(option).collect(),
            identity: None,
            instant: true,
        }
    }

    /// That nothing is called so.
    fn free(&self, state: &State) -> Result<(), Fault> {
        let Some(there) = state.tree.child(&self.folder, &self.name) else { return Ok(()) };
        let message = format!("The name '{}' already exists.", self.name);
        let data = Data::new("DuplicateName").set("name", &self.name).set("object", &there);
        Err(Fault { message, data })
    }
}

/// Begins to make a clone, and answers with its task.
fn begin(sim: &Arc<Sim>, caller: &Caller, description: &'static str, wanted: Wanted) -> Answer {
    let (entity, name) = (wanted.source.clone(), wanted.name.clone());
    let job = Job { entity, user: &caller.user, description, makes: Some(&name) };
    let user = caller.user.clone();
    let work = move |state: &mut State| make(state, wanted, &user).map(|it| Some(Value::from(it)));
    Answer::Value(task::begin(sim, job, work).into())
}

/// `CloneVM_Task`. A vCenter has it; a single host does not.
///
/// # Errors
/// `NotSupported`, `DuplicateName`; `InvalidArgument` for a linked clone without a snapshot; those
/// of its guest's [`customization::identity`].
pub fn clone(sim: &Arc<Sim>, caller: &Caller, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let mut wanted = Wanted::of(this, args);
    {
        let state = sim.lock();
        if state.tree.esx {
            return Err(Fault::new("NotSupported", "A host does not clone machines."));
        }
        wanted.free(&state)?;
        if wanted.linked && wanted.snapshot.is_none() {
            return Err(Fault::new("InvalidArgument", "A linked clone needs a snapshot."));
        }
        let owner = wanted.snapshot.as_ref().map(|it| state.tree.machine_of_snapshot(it));
        if owner.is_some_and(|owner| owner.is_none_or(|owner| owner.reference != *this)) {
            return Err(Fault::new("InvalidArgument", "The snapshot is another machine's."));
        }
        let spec = args.one("spec").and_then(|spec| spec.one("customization"));
        let source = state.tree.machine(this);
        if let Some((spec, source)) = spec.zip(source) {
            wanted.identity = Some(customization::identity(spec, &wanted.name, source)?);
        }
    }
    Ok(begin(sim, caller, "VirtualMachine.clone", wanted))
}

/// What of a location an instant clone may have.
const INSTANT: [&str; 4] = ["folder", "datastore", "pool", "deviceChange"];

/// `InstantClone_Task`. A vCenter has it; a single host does not.
///
/// # Errors
/// `NotSupported`, for a location that says what such a clone cannot have as well; `DuplicateName`;
/// `InvalidPowerState` for a source that does not run.
pub fn instant(sim: &Arc<Sim>, caller: &Caller, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let spec = args.one("spec").ok_or_else(|| Fault::request("spec is missing"))?;
    let wanted = {
        let state = sim.lock();
        if state.tree.esx {
            return Err(Fault::new("NotSupported", "A host does not clone machines."));
        }
        let source = state.tree.machine(this).ok_or_else(|| Fault::gone(this))?;
        if source.power == Power::Off {
            return Err(Fault::power(Some("poweredOn"), source.power.word()));
        }
        let location = spec.one("location").map(|it| it.children.as_slice()).unwrap_or_default();
        if let Some(other) = location.iter().find(|it| !INSTANT.contains(&it.name.as_str())) {
            let message = format!("An instant clone takes no {}.", other.name);
            return Err(Fault::new("NotSupported", message));
        }
        let wanted = Wanted::instant(source, spec);
        wanted.free(&state)?;
        wanted
    };
    Ok(begin(sim, caller, "VirtualMachine.instantClone", wanted))
}

fn make(state: &mut State, wanted: Wanted, user: &str) -> Result<Ref, Fault> {
    // Somebody may have been faster.
    wanted.free(state)?;
    let source = state.tree.machine(&wanted.source).cloned();
    let source = source.ok_or_else(|| Fault::gone(&wanted.source))?;
    if wanted.instant && source.power == Power::Off {
        return Err(Fault::power(Some("poweredOn"), source.power.word()));
    }
    let reference = state.tree.next_machine();
    let number = state.tree.next_number();
    let snapshot = wanted.snapshot.as_ref().and_then(|it| source.snapshot(it)).cloned();
    // What it shares is what the disks were when the snapshot was taken.
    let shared = match wanted.instant {
        true => Some(source.current),
        false => snapshot.filter(|_| wanted.linked).map(|it| it.parent),
    };
    let shared = shared.map(|current| Box::new(Machine { current, ..source.clone() }));
    // One that goes on where its source is has what the source's guest has made of itself.
    let going_on = wanted.instant.then(|| Identity {
        host_name: source.host_name(),
        addresses: (0..source.nics.len()).map(|card| Some(source.address(card))).collect(),
    });
    let switched_on = wanted.power_on && !wanted.instant;
    let mut options = source.options.clone();
    options.retain(|(key, _)| wanted.options.iter().all(|(own, _)| own != key));
    options.extend(wanted.options);
    let nics = source.nics.iter().enumerate();
    let mac =
        |at: usize| format!("00:50:57:{:02x}:{:02x}:{at:02x}", number >> 8 & 255, number & 255);
    state.tree.insert(Machine {
        reference: reference.clone(),
        name: wanted.name,
        folder: wanted.folder,
        uuid: format!("4215f000-cccc-bbbb-cccc-{number:012x}"),
        instance_uuid: format!("5015f000-cccc-bbbb-cccc-{number:012x}"),
        power: if wanted.instant { Power::On } else { Power::Off },
        booted: source.booted.filter(|_| wanted.instant),
        created: Timestamp::now(),
        nics: nics.map(|(at, (_, network))| (mac(at), network.clone())).collect(),
        snapshots: Vec::new(),
        current: None,
        made_snapshots: 0,
        unmerged: false,
        leases: Vec::new(),
        options,
        shared,
        serial: None,
        pending: wanted.identity,
        identity: going_on,
        ..source
    });
    match switched_on {
        true => change::set_power(state, &reference.value, Power::On, user),
        false if wanted.instant => history::switched(state, &reference.value, Power::On, user),
        false => {}
    }
    Ok(reference)
}

/// `Destroy_Task` of a machine.
///
/// # Errors
/// `InvalidPowerState` for one that runs; `NotSupported` for what is no machine.
pub fn destroy(sim: &Arc<Sim>, caller: &Caller, this: &Ref) -> Result<Answer, Fault> {
    {
        let state = sim.lock();
        let machine = state.tree.machine(this);
        let other = || Fault::new("NotSupported", "Only machines can be removed.");
        if machine.ok_or_else(other)?.power == Power::On {
            return Err(Fault::power(Some("poweredOff"), "poweredOn"));
        }
    }
    let gone = this.clone();
    let work = move |state: &mut State| {
        state.tree.remove(&gone);
        Ok(None)
    };
    let task = task::start(sim, this.clone(), &caller.user, "VirtualMachine.destroy", work);
    Ok(Answer::Value(task.into()))
}
