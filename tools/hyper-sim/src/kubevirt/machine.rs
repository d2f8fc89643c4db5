//! Machines: what their run strategy and the requests of clients make of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::Next;
use super::json::{deleting, has, is_owned, list, name, namespace, owner, set, text, uid, unset};
use super::kind::{Key, Kind};
use super::launch;
use super::machine_status;
use super::sim::Sim;
use super::upstream::Fail;

/// What a machine waits with until everything of it is gone.
pub const HOLD: &str = "kubevirt.io/virtualMachineControllerFinalize";

/// How a machine is to run: `runStrategy`, or what stood there before it.
pub fn strategy(machine: &Value) -> &str {
    match (text(machine, "/spec/runStrategy"), machine.pointer("/spec/running")) {
        ("", Some(Value::Bool(true))) => "Always",
        ("", _) => "Halted",
        (strategy, _) => strategy,
    }
}

/// Whether an instance has come to its end.
pub fn is_final(instance: &Value) -> bool {
    matches!(text(instance, "/status/phase"), "Succeeded" | "Failed")
}

/// Looks at a machine.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(machine) = sim.control.get(key) else { return Ok(Next::Done) };
    let instance = sim.control.get(&key.other(Kind::Instance));
    // An instance of the same name that nobody made for it is not its own.
    let instance = instance.filter(|it| is_owned(it, uid(&machine)));
    let instance = instance.as_deref();
    if deleting(&machine) {
        return remove(sim, key, &machine, instance).await;
    }
    let mut machine = (*machine).clone();
    if !list(&machine, "/metadata/finalizers").iter().any(|it| it == HOLD) {
        machine = sim.control.finalize(Kind::Machine, &machine, Some(HOLD)).await?;
    }
    let volumes = make_volumes(sim, &machine).await?;
    if let Some(grown) = instance.and_then(|it| launch::grown(sim, &machine, it)) {
        sim.control.put(Kind::Instance, &grown).await?;
        return Ok(Next::Again(sim.pace));
    }
    let mut next = act(sim, key, &mut machine, instance).await?;
    settle_requests(&mut machine, instance);
    machine_status::fill(sim, &mut machine, sim.control.get(&key.other(Kind::Instance)).as_deref());
    sim.control.put_status(Kind::Machine, &machine).await?;
    if volumes && next == Next::Done {
        next = Next::Again(sim.pace * 2);
    }
    Ok(next)
}

/// Starts or stops what has to be.
async fn act(
    sim: &Arc<Sim>,
    key: &Key,
    machine: &mut Value,
    instance: Option<&Value>,
) -> Result<Next, Fail> {
    let requests = list(machine, "/status/stateChangeRequests");
    let first = requests.first().cloned().unwrap_or_default();
    let start = requests.iter().find(|it| text(it, "/action") == "Start").cloned();
    let mine = instance.is_some_and(|it| text(&first, "/uid") == uid(it));
    let stop = text(&first, "/action") == "Stop" && (mine || text(&first, "/uid").is_empty());
    let how = strategy(machine).to_owned();
    if let Some(instance) = instance {
        let failed = text(instance, "/status/phase") == "Failed";
        let over = match how.as_str() {
            "Halted" => start.is_none(),
            "Always" => is_final(instance),
            "RerunOnFailure" => failed,
            _ => false,
        };
        if (stop || over) && !deleting(instance) {
            sim.set_halted(uid(machine), stop && start.is_none());
            sim.control.delete(&key.other(Kind::Instance)).await?;
            let words = format!(
                "Stopped the virtual machine by deleting the virtual machine instance {}",
                uid(instance)
            );
            sim.event(machine, "SuccessfulDelete", &words).await;
        }
        return Ok(Next::Done);
    }
    if how == "Halted" && start.is_some() {
        // A paused start of a halted machine: from now on it is one that runs.
        let there = sim.control.get(key);
        let mut changed = there.map(|it| (*it).clone()).unwrap_or_default();
        match has(&changed, "/spec/running") {
            true => set(&mut changed, &["spec", "running"], true.into()),
            false => set(&mut changed, &["spec", "runStrategy"], "Always".into()),
        }
        *machine = sim.control.put(Kind::Machine, &changed).await?;
    }
    let run = match how.as_str() {
        "Always" => true,
        "Halted" | "Manual" => start.is_some(),
        "RerunOnFailure" | "Once" => start.is_some() || !sim.is_halted(uid(machine)),
        _ => false,
    };
    match run {
        true => begin(sim, key, machine, start.as_ref()).await,
        false => Ok(Next::Done),
    }
}

async fn begin(
    sim: &Arc<Sim>,
    key: &Key,
    machine: &Value,
    start: Option<&Value>,
) -> Result<Next, Fail> {
    // A clone's or a restore's target must not run on half a disk.
    if has(machine, "/status/restoreInProgress") {
        return Ok(Next::Again(sim.pace));
    }
    if !machine_status::volumes_ready(sim, machine) {
        return Ok(Next::Again(sim.pace));
    }
    let paused = start.is_some_and(|it| text(it, "/data/paused") == "true");
    let instance = launch::instance(sim, machine, paused).await?;
    sim.set_halted(uid(machine), false);
    sim.control.create(Kind::Instance, instance).await?;
    let words = format!(
        "Started the virtual machine by creating the new virtual machine instance {}",
        key.name
    );
    sim.event(machine, "SuccessfulCreate", &words).await;
    Ok(Next::Done)
}

/// Drops the requests that were carried out.
fn settle_requests(machine: &mut Value, instance: Option<&Value>) {
    let mut left = list(machine, "/status/stateChangeRequests").to_vec();
    if left.is_empty() {
        return;
    }
    let stops = |it: &Value| text(it, "/action") == "Stop";
    if left.first().is_some_and(stops) {
        let still = instance.is_some_and(|it| uid(it) == text(&left[0], "/uid"));
        if !still {
            left.remove(0);
        }
    }
    // One that begins when the other has ended stays until then.
    let waits = left.first().is_some_and(stops);
    if !waits && instance.is_some_and(|it| !deleting(it)) {
        left.clear();
    }
    match left.is_empty() {
        true => unset(machine, &["status", "stateChangeRequests"]),
        false => set(machine, &["status", "stateChangeRequests"], Value::Array(left)),
    }
}

/// Makes the volumes that the machine has templates for; whether one of them is on its way.
async fn make_volumes(sim: &Sim, machine: &Value) -> Result<bool, Fail> {
    let mut waits = false;
    for template in list(machine, "/spec/dataVolumeTemplates") {
        let key = Key::new(Kind::Volume, namespace(machine), name(template));
        match sim.control.get(&key) {
            Some(volume) => waits |= text(&volume, "/status/phase") != "Succeeded",
            None => {
                let mut volume = json!({
                    "metadata": template["metadata"],
                    "spec": template["spec"],
                });
                set(&mut volume, &["metadata", "namespace"], namespace(machine).into());
                set(&mut volume, &["metadata", "ownerReferences"], json!([owner(machine)]));
                let id = uid(machine).into();
                set(&mut volume, &["metadata", "labels", "kubevirt.io/created-by"], id);
                // Importers keep the claim alone once the volume is filled, where told to.
                if sim.control.get(&key.other(Kind::Claim)).is_none() {
                    sim.control.create(Kind::Volume, volume).await?;
                    waits = true;
                }
            }
        }
    }
    Ok(waits)
}

/// Removes a machine: its instance, the volumes that are its own, then itself.
async fn remove(
    sim: &Arc<Sim>,
    key: &Key,
    machine: &Value,
    instance: Option<&Value>,
) -> Result<Next, Fail> {
    if let Some(instance) = instance {
        if !deleting(instance) {
            sim.control.delete(&key.other(Kind::Instance)).await?;
        }
        let mut machine = machine.clone();
        machine_status::fill(sim, &mut machine, Some(instance));
        sim.control.put_status(Kind::Machine, &machine).await?;
        return Ok(Next::Again(sim.pace));
    }
    for kind in [Kind::Volume, Kind::Claim] {
        for owned in sim.control.all(kind, &key.namespace, |it| is_owned(it, uid(machine))) {
            sim.control.delete(&Key::of(kind, &owned)).await?;
        }
    }
    sim.control.finalize(Kind::Machine, machine, None).await?;
    Ok(Next::Done)
}
