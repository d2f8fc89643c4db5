//! What changes machines: power and snapshots.

use std::sync::Arc;

use jiff::Timestamp;

use super::call::Caller;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{BOOT, Machine, Power, Snapshot};
use super::sim::Sim;
use super::state::State;
use super::value::{Ref, Value};
use super::{history, task};

/// How long a guest takes to shut down.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_millis(300);

fn machine<'s>(state: &'s State, this: &Ref) -> Result<&'s Machine, Fault> {
    state.tree.machine(this).ok_or_else(|| Fault::gone(this))
}

/// A machine that is being exported stays as it is.
fn free(machine: &Machine) -> Result<(), Fault> {
    match machine.leases.is_empty() {
        true => Ok(()),
        false => Err(Fault::new(
            "InvalidState",
            "The operation is not allowed in the current state: the virtual machine is being \
             exported.",
        )),
    }
}

/// `PowerOnVM_Task` and `PowerOffVM_Task`.
///
/// # Errors
/// `InvalidPowerState`; `InvalidState` while a lease holds the machine.
pub fn power(sim: &Arc<Sim>, caller: &Caller, this: &Ref, wanted: Power) -> Result<Answer, Fault> {
    {
        let state = sim.lock();
        let machine = machine(&state, this)?;
        if machine.power == wanted {
            return Err(Fault::power(Some(wanted.word()), machine.power.word()));
        }
        if wanted == Power::On {
            free(machine)?;
        }
    }
    let description = match wanted {
        Power::On => "VirtualMachine.powerOn",
        Power::Off => "VirtualMachine.powerOff",
    };
    let (id, user) = (this.value.clone(), caller.user.clone());
    let told = sim.clone();
    let work = move |state: &mut State| {
        set_power(state, &id, wanted, &user);
        tokio::spawn(async move {
            tokio::time::sleep(BOOT.unsigned_abs()).await;
            told.changed();
        });
        Ok(None)
    };
    let task = task::start(sim, this.clone(), &caller.user, description, work);
    Ok(Answer::Value(task.into()))
}

/// Switches a machine, at once.
pub fn set_power(state: &mut State, id: &str, power: Power, user: &str) {
    if let Some(machine) = state.tree.machines.get_mut(id) {
        machine.power = power;
        machine.booted = (power == Power::On).then(Timestamp::now);
        if let Some(identity) = machine.pending.take_if(|_| power == Power::On) {
            machine.identity = Some(identity);
        }
    }
    history::switched(state, id, power, user);
}

/// `ShutdownGuest`: asks the guest, which takes a while.
///
/// # Errors
/// `InvalidPowerState` for a machine that is off; `ToolsUnavailable` for a guest that is not up.
pub fn shut_down(sim: &Arc<Sim>, this: &Ref) -> Result<Answer, Fault> {
    let (power, up) = {
        let state = sim.lock();
        let machine = machine(&state, this)?;
        (machine.power, machine.guest_is_up())
    };
    if power == Power::Off {
        return Err(Fault::power(Some("poweredOn"), power.word()));
    }
    if !up {
        let text = "The operation cannot be performed because VMware Tools is not running.";
        return Err(Fault::new("ToolsUnavailable", text));
    }
    let (sim, id) = (sim.clone(), this.value.clone());
    tokio::spawn(async move {
        tokio::time::sleep(SHUTDOWN).await;
        set_power(&mut sim.lock(), &id, Power::Off, "");
        sim.changed();
    });
    Ok(Answer::Nothing)
}

/// `RebootGuest`: asks the guest, which takes a while.
///
/// # Errors
/// `InvalidPowerState` for a machine that is off.
pub fn reboot(sim: &Arc<Sim>, this: &Ref) -> Result<Answer, Fault> {
    let power = machine(&sim.lock(), this)?.power;
    if power == Power::Off {
        return Err(Fault::power(Some("poweredOn"), power.word()));
    }
    let (sim, id) = (sim.clone(), this.value.clone());
    tokio::spawn(async move {
        tokio::time::sleep(SHUTDOWN).await;
        set_power(&mut sim.lock(), &id, Power::On, "");
        sim.changed();
    });
    Ok(Answer::Nothing)
}

/// `CreateSnapshot_Task`.
///
/// # Errors
/// `InvalidState` while a lease holds a machine that is off.
pub fn create_snapshot(
    sim: &Arc<Sim>,
    caller: &Caller,
    this: &Ref,
    args: &Node,
) -> Result<Answer, Fault> {
    {
        let state = sim.lock();
        let machine = machine(&state, this)?;
        if machine.power == Power::Off {
            free(machine)?;
        }
    }
    let name = args.text_of("name").unwrap_or_default().to_owned();
    let description = args.text_of("description").unwrap_or_default().to_owned();
    let (quiesced, memory, id) = (args.is("quiesce"), args.is("memory"), this.value.clone());
    let work = move |state: &mut State| {
        let number = state.tree.next_number();
        let machine = state.tree.machines.get_mut(&id);
        let machine = machine.ok_or_else(|| Fault::new("InvalidState", "The machine is gone."))?;
        machine.made_snapshots += 1;
        let reference = Ref::new("VirtualMachineSnapshot", format!("snapshot-{number}"));
        machine.snapshots.push(Snapshot {
            reference: reference.clone(),
            id: machine.made_snapshots,
            name,
            description,
            created: Timestamp::now(),
            quiesced,
            // Nothing is in the memory of a machine that is off.
            memory: memory && machine.power == Power::On,
            power: machine.power,
            parent: machine.current,
        });
        machine.current = Some(machine.made_snapshots);
        Ok(Some(Value::from(reference)))
    };
    let task = task::start(sim, this.clone(), &caller.user, "VirtualMachine.createSnapshot", work);
    Ok(Answer::Value(task.into()))
}

/// `RemoveSnapshot_Task`. What was made from it hangs on what it was made from, or goes with it.
///
/// # Errors
/// `InvalidState` while a lease holds the machine.
pub fn remove_snapshot(
    sim: &Arc<Sim>,
    caller: &Caller,
    this: &Ref,
    args: &Node,
) -> Result<Answer, Fault> {
    let owner = {
        let state = sim.lock();
        let machine = state.tree.machine_of_snapshot(this).ok_or_else(|| Fault::gone(this))?;
        free(machine)?;
        machine.reference.clone()
    };
    let (below, snapshot, id) = (args.is("removeChildren"), this.clone(), owner.value.clone());
    let stuck = stuck(sim, &owner);
    let work = move |state: &mut State| {
        if let Some(machine) = state.tree.machines.get_mut(&id) {
            remove(machine, &snapshot, below);
            machine.unmerged |= stuck.is_some();
        }
        stuck.map_or(Ok(None), Err)
    };
    let task = task::start(sim, owner, &caller.user, "vm.Snapshot.remove", work);
    Ok(Answer::Value(task.into()))
}

/// What keeps the disks of a machine from being merged, where a rule says so.
fn stuck(sim: &Sim, machine: &Ref) -> Option<Fault> {
    sim.rules.meet("merge", &machine.value).fault.as_deref().and_then(super::http::made_fault)
}

/// `RevertToSnapshot_Task`: the machine goes on from there, off unless the snapshot has its memory.
///
/// # Errors
/// `InvalidState` while a lease holds the machine.
pub fn revert(sim: &Arc<Sim>, caller: &Caller, this: &Ref) -> Result<Answer, Fault> {
    let owner = {
        let state = sim.lock();
        let machine = state.tree.machine_of_snapshot(this).ok_or_else(|| Fault::gone(this))?;
        free(machine)?;
        machine.reference.clone()
    };
    let (snapshot, id) = (this.clone(), owner.value.clone());
    let work = move |state: &mut State| {
        let machine = state.tree.machines.get_mut(&id);
        let machine = machine.ok_or_else(|| Fault::new("InvalidState", "The machine is gone."))?;
        let found = machine.snapshot(&snapshot).map(|it| (it.id, it.memory));
        let (number, memory) = found.ok_or_else(|| Fault::gone(&snapshot))?;
        machine.current = Some(number);
        set_power(state, &id, if memory { Power::On } else { Power::Off }, "");
        Ok(None)
    };
    let task = task::start(sim, owner, &caller.user, "vm.Snapshot.revert", work);
    Ok(Answer::Value(task.into()))
}

/// `ConsolidateVMDisks_Task`.
///
/// # Errors
/// `InvalidState` while a lease holds the machine.
pub fn consolidate(sim: &Arc<Sim>, caller: &Caller, this: &Ref) -> Result<Answer, Fault> {
    free(machine(&sim.lock(), this)?)?;
    let (stuck, id) = (stuck(sim, this), this.value.clone());
    let work = move |state: &mut State| {
        if let Some(machine) = state.tree.machines.get_mut(&id) {
            machine.unmerged &= stuck.is_some();
        }
        stuck.map_or(Ok(None), Err)
    };
    let description = "VirtualMachine.consolidateDisks";
    let task = task::start(sim, this.clone(), &caller.user, description, work);
    Ok(Answer::Value(task.into()))
}

fn remove(machine: &mut Machine, reference: &Ref, below: bool) {
    let Some(found) = machine.snapshot(reference).cloned() else { return };
    let mut gone = vec![found.id];
    let mut next = 0;
    while let Some(at) = gone.get(next).copied().filter(|_| below) {
        gone.extend(machine.children(Some(at)).map(|child| child.id));
        next += 1;
    }
    machine.snapshots.retain(|snapshot| !gone.contains(&snapshot.id));
    for snapshot in &mut machine.snapshots {
        if snapshot.parent.is_some_and(|parent| gone.contains(&parent)) {
            snapshot.parent = found.parent;
        }
    }
    if machine.current.is_some_and(|current| gone.contains(&current)) {
        machine.current = found.parent;
    }
}
