//! The status of machines: the word that people read, and the conditions under it.

use serde_json::{Value, json};

use super::json::{
    condition, deleting, drop_condition, has, is_condition, list, namespace, set, set_condition,
    text, unset,
};
use super::kind::{Key, Kind};
use super::machine::{is_final, strategy};
use super::sim::Sim;

/// Conditions that a machine takes over from its instance.
const SHARED: [&str; 4] = ["AgentConnected", "LiveMigratable", "Paused", "StorageLiveMigratable"];

/// The name of the claim behind a volume of a machine.
pub fn claim_of(volume: &Value) -> Option<&str> {
    let names = ["/persistentVolumeClaim/claimName", "/dataVolume/name"];
    names.iter().map(|place| text(volume, place)).find(|name| !name.is_empty())
}

/// The volumes of a machine, or of an instance.
pub fn volumes(object: &Value) -> &[Value] {
    match has(object, "/spec/template") {
        true => list(object, "/spec/template/spec/volumes"),
        false => list(object, "/spec/volumes"),
    }
}

/// How the volumes of a machine are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Volumes {
    Ready,
    Waiting,
    Provisioning,
    Failed,
    Missing,
}

fn look_at_volumes(sim: &Sim, machine: &Value) -> Volumes {
    let mut worst = Volumes::Ready;
    for volume in volumes(machine) {
        let Some(name) = claim_of(volume) else { continue };
        let key = Key::new(Kind::Volume, namespace(machine), name);
        let claim = sim.control.get(&key.other(Kind::Claim));
        let now = match (sim.control.get(&key), claim) {
            (Some(source), _) => match text(&source, "/status/phase") {
                "Succeeded" => Volumes::Ready,
                "WaitForFirstConsumer" | "PendingPopulation" => Volumes::Waiting,
                "Failed" => Volumes::Failed,
                _ => Volumes::Provisioning,
            },
            (None, Some(_)) => Volumes::Ready,
            (None, None) if has(volume, "/dataVolume") => Volumes::Provisioning,
            (None, None) => Volumes::Missing,
        };
        worst = worst.max(now);
    }
    worst
}

/// Whether an instance may be made.
pub fn volumes_ready(sim: &Sim, machine: &Value) -> bool {
    matches!(look_at_volumes(sim, machine), Volumes::Ready | Volumes::Waiting)
}

fn printable(sim: &Sim, machine: &Value, instance: Option<&Value>) -> &'static str {
    if deleting(machine) {
        return "Terminating";
    }
    let phase = instance.map(|it| text(it, "/status/phase")).unwrap_or_default();
    if let Some(instance) = instance.filter(|it| !is_final(it)) {
        if deleting(instance) {
            return "Stopping";
        }
        if has(instance, "/status/migrationState")
            && !has(instance, "/status/migrationState/endTimestamp")
        {
            return "Migrating";
        }
        if phase == "Running" {
            let paused = is_condition(instance, "Paused");
            return if paused { "Paused" } else { "Running" };
        }
        let scheduled = condition(instance, "PodScheduled");
        if scheduled.is_some_and(|it| text(it, "/reason") == "Unschedulable") {
            return "ErrorUnschedulable";
        }
    }
    match look_at_volumes(sim, machine) {
        Volumes::Missing if strategy(machine) != "Halted" => return "ErrorPvcNotFound",
        Volumes::Failed => return "DataVolumeError",
        Volumes::Provisioning => return "Provisioning",
        Volumes::Waiting if instance.is_none() => return "WaitingForVolumeBinding",
        _ => {}
    }
    match (instance, strategy(machine)) {
        (Some(instance), _) if !is_final(instance) => "Starting",
        (Some(_), "Always") | (None, "Always") => "Starting",
        _ => "Stopped",
    }
}

/// Fills in the status.
pub fn fill(sim: &Sim, machine: &mut Value, instance: Option<&Value>) {
    let word = printable(sim, machine, instance);
    set(machine, &["status", "printableStatus"], word.into());
    let how = strategy(machine).to_owned();
    set(machine, &["status", "runStrategy"], how.into());
    let generation = machine["metadata"]["generation"].clone();
    set(machine, &["status", "desiredGeneration"], generation.clone());
    set(machine, &["status", "observedGeneration"], generation);
    match instance.filter(|it| !is_final(it)) {
        Some(instance) => {
            set(machine, &["status", "created"], true.into());
            match is_condition(instance, "Ready") {
                true => set(machine, &["status", "ready"], true.into()),
                false => unset(machine, &["status", "ready"]),
            }
        }
        None => {
            unset(machine, &["status", "created"]);
            unset(machine, &["status", "ready"]);
        }
    }
    conditions(machine, instance);
    let statuses: Vec<Value> = volumes(machine).iter().map(snapshot_status).collect();
    match statuses.is_empty() {
        true => unset(machine, &["status", "volumeSnapshotStatuses"]),
        false => set(machine, &["status", "volumeSnapshotStatuses"], statuses.into()),
    }
}

fn conditions(machine: &mut Value, instance: Option<&Value>) {
    match instance {
        None => set_condition(machine, "Ready", false, "VMINotExists", "VMI does not exist"),
        Some(instance) => match condition(instance, "Ready") {
            Some(ready) => {
                let is = text(ready, "/status") == "True";
                let (reason, message) = (text(ready, "/reason"), text(ready, "/message"));
                set_condition(machine, "Ready", is, reason, message);
            }
            None => set_condition(machine, "Ready", false, "GuestNotRunning", ""),
        },
    }
    for kind in SHARED {
        match instance.and_then(|it| condition(it, kind)) {
            Some(it) => {
                let (reason, message) = (text(it, "/reason"), text(it, "/message"));
                set_condition(machine, kind, text(it, "/status") == "True", reason, message);
            }
            None => drop_condition(machine, kind),
        }
    }
    if instance.is_none() {
        drop_condition(machine, "RestartRequired");
    } else if instance.is_some_and(|it| super::launch::differs(machine, it)) {
        let words = "a non-live-updatable field was changed in the template spec";
        set_condition(machine, "RestartRequired", true, "RestartRequired", words);
    }
}

/// Whether a volume can be part of a snapshot.
fn snapshot_status(volume: &Value) -> Value {
    let name = &volume["name"];
    match claim_of(volume) {
        Some(_) => json!({ "name": name, "enabled": true }),
        None => json!({
            "name": name,
            "enabled": false,
            "reason": format!(
                "Snapshot is not supported for this volumeSource type [{}]",
                name.as_str().unwrap_or_default()
            ),
        }),
    }
}
