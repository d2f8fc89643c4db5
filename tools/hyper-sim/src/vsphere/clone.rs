//! What makes and removes machines: clones, full and linked, and their ends.

use std::sync::Arc;

use jiff::Timestamp;

use super::call::Caller;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{Machine, Power};
use super::sim::Sim;
use super::state::State;
use super::task;
use super::value::{Data, Ref, Value};

/// A clone to be made.
struct Wanted {
    source: Ref,
    name: String,
    folder: Ref,
    snapshot: Option<Ref>,
    linked: bool,
    power_on: bool,
    options: Vec<(String, String)>,
}

impl Wanted {
    fn of(this: &Ref, args: &Node) -> Self {
        let spec = args.one("spec");
        let location = spec.and_then(|spec| spec.one("location"));
        let options = spec.and_then(|spec| spec.one("config")).into_iter();
        let text = |node: &Node, name: &str| node.text_of(name).unwrap_or_default().to_owned();
        let option = |node: &Node| (text(node, "key"), text(node, "value"));
        Self {
            source: this.clone(),
            name: text(args, "name"),
            folder: args.reference_of("folder").unwrap_or_else(|| Ref::new("Folder", "")),
            snapshot: spec.and_then(|spec| spec.reference_of("snapshot")),
            linked: location.and_then(|it| it.text_of("diskMoveType"))
                == Some("createNewChildDiskBacking"),
            power_on: spec.is_some_and(|spec| spec.is("powerOn")),
            options: options.flat_map(|it| it.all("extraConfig").map(option)).collect(),
        }
    }
}

/// `CloneVM_Task`. A vCenter has it; a single host does not.
///
/// # Errors
/// `NotSupported`, `DuplicateName`; `InvalidArgument` for a linked clone without a snapshot.
pub fn clone(sim: &Arc<Sim>, caller: &Caller, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let wanted = Wanted::of(this, args);
    {
        let state = sim.lock();
        if state.tree.esx {
            return Err(Fault::new("NotSupported", "A host does not clone machines."));
        }
        if let Some(there) = state.tree.child(&wanted.folder, &wanted.name) {
            let message = format!("The name '{}' already exists.", wanted.name);
            let data = Data::new("DuplicateName").set("name", &wanted.name).set("object", &there);
            return Err(Fault { message, data });
        }
        if wanted.linked && wanted.snapshot.is_none() {
            return Err(Fault::new("InvalidArgument", "A linked clone needs a snapshot."));
        }
        let owner = wanted.snapshot.as_ref().map(|it| state.tree.machine_of_snapshot(it));
        if owner.is_some_and(|owner| owner.is_none_or(|owner| owner.reference != *this)) {
            return Err(Fault::new("InvalidArgument", "The snapshot is another machine's."));
        }
    }
    let work = move |state: &mut State| make(state, wanted).map(|made| Some(Value::from(made)));
    let task = task::start(sim, this.clone(), &caller.user, "VirtualMachine.clone", work);
    Ok(Answer::Value(task.into()))
}

fn make(state: &mut State, wanted: Wanted) -> Result<Ref, Fault> {
    let source = state.tree.machine(&wanted.source).cloned();
    let source = source.ok_or_else(|| Fault::gone(&wanted.source))?;
    let reference = state.tree.next_machine();
    let number = state.tree.next_number();
    let snapshot = wanted.snapshot.as_ref().and_then(|it| source.snapshot(it)).cloned();
    // What it shares is what the disks were when the snapshot was taken.
    let shared = snapshot.filter(|_| wanted.linked);
    let shared = shared.map(|it| Box::new(Machine { current: it.parent, ..source.clone() }));
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
        power: if wanted.power_on { Power::On } else { Power::Off },
        booted: wanted.power_on.then(Timestamp::now),
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
        ..source
    });
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
