//! Snapshots of machines, and what they hold.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::control::Next;
use super::json::{
    deleting, is_condition, is_true, list, name, namespace, now, owner, set, set_condition, text,
    uid, unset,
};
use super::kind::{Key, Kind};
use super::machine::is_final;
use super::machine_status::{claim_of, volumes};
use super::sim::Sim;
use super::upstream::Fail;

const HOLD: &str = "snapshot.kubevirt.io/vmsnapshot-protection";

/// How long a snapshot may take when nobody says.
const DEADLINE: Duration = Duration::from_secs(300);

/// Looks at a snapshot.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(snapshot) = sim.control.get(key) else { return Ok(Next::Done) };
    let machine = Key::new(Kind::Machine, &key.namespace, text(&snapshot, "/spec/source/name"));
    if deleting(&snapshot) {
        return remove(sim, key, &snapshot, &machine).await;
    }
    let mut snapshot = (*snapshot).clone();
    if list(&snapshot, "/metadata/finalizers").is_empty() {
        snapshot = sim.control.finalize(Kind::Snapshot, &snapshot, Some(HOLD)).await?;
    }
    if matches!(text(&snapshot, "/status/phase"), "Succeeded" | "Failed") {
        return Ok(Next::Done);
    }
    if let Some(words) = sim.rules.meet("snapshot", &key.to_string()).fault {
        return fail(sim, &mut snapshot, &machine, &words).await;
    }
    if !sim.control.passed(key, "deadline", Duration::ZERO) {
        return Ok(Next::Again(sim.pace));
    }
    let Some(source) = sim.control.get(&machine) else {
        set(&mut snapshot, &["status", "phase"], "InProgress".into());
        set(&mut snapshot, &["status", "readyToUse"], false.into());
        progress(&mut snapshot, false, "Source does not exist");
        sim.control.put_status(Kind::Snapshot, &snapshot).await?;
        if sim.control.passed(key, "deadline", DEADLINE) {
            return fail(sim, &mut snapshot, &machine, "snapshot deadline exceeded").await;
        }
        return Ok(Next::Again(sim.pace * 5));
    };
    if text(&source, "/status/snapshotInProgress") != key.name {
        lock(sim, &machine, "snapshotInProgress", Some(&key.name)).await?;
    }
    if !sim.control.passed(key, "taken", sim.pace * 2) {
        set(&mut snapshot, &["status", "phase"], "InProgress".into());
        set(&mut snapshot, &["status", "readyToUse"], false.into());
        set(&mut snapshot, &["status", "sourceUID"], uid(&source).into());
        indicate(sim, &mut snapshot, &machine);
        progress(&mut snapshot, true, "Source locked and operation in progress");
        sim.control.put_status(Kind::Snapshot, &snapshot).await?;
        return Ok(Next::Again(sim.pace));
    }
    take(sim, key, &mut snapshot, &machine, &source).await
}

fn progress(object: &mut Value, busy: bool, words: &str) {
    set_condition(object, "Progressing", busy, words, "");
    set_condition(object, "Ready", false, "Not ready", "");
}

/// Says how the guest was when it happened.
fn indicate(sim: &Sim, snapshot: &mut Value, machine: &Key) {
    let instance = sim.control.get(&machine.other(Kind::Instance));
    let Some(instance) = instance.filter(|it| !is_final(it)) else { return };
    let agent = match is_condition(&instance, "AgentConnected") {
        true => (
            "GuestAgent",
            "Guest agent was active and attempted to quiesce the filesystem for application consistency.",
        ),
        false => (
            "NoGuestAgent",
            "Guest agent was not active, so there was no attempt to quiesce the filesystem.",
        ),
    };
    let mut all = vec![("Online", "The snapshot was taken while the VM was running."), agent];
    if is_condition(&instance, "Paused") {
        all.push(("Paused", "The snapshot was taken while the VM was paused."));
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let pair = |(name, words): &(&str, &str)| json!({ "indication": name, "message": words });
    let pairs: Vec<Value> = all.iter().map(pair).collect();
    set(snapshot, &["status", "indications"], json!(names));
    if sim.release >= super::crds::Release::V1_9 {
        set(snapshot, &["status", "sourceIndications"], pairs.into());
    }
}

/// Notes in a machine that an operation has it, or that it has ended.
///
/// # Errors
/// Those of the API server.
pub async fn lock(sim: &Sim, machine: &Key, field: &str, by: Option<&str>) -> Result<(), Fail> {
    let Some(there) = sim.control.get(machine) else { return Ok(()) };
    let mut there = (*there).clone();
    match by {
        Some(by) => set(&mut there, &["status", field], by.into()),
        None => unset(&mut there, &["status", field]),
    }
    sim.control.put_status(Kind::Machine, &there).await
}

async fn fail(sim: &Sim, snapshot: &mut Value, machine: &Key, words: &str) -> Result<Next, Fail> {
    set(snapshot, &["status", "phase"], "Failed".into());
    set(snapshot, &["status", "readyToUse"], false.into());
    set(snapshot, &["status", "error"], json!({ "message": words, "time": now() }));
    set_condition(snapshot, "Progressing", false, "Operation failed", words);
    set_condition(snapshot, "Failure", true, "Operation failed", words);
    sim.control.put_status(Kind::Snapshot, snapshot).await?;
    lock(sim, machine, "snapshotInProgress", None).await?;
    Ok(Next::Done)
}

/// Copies what the machine is and what is on its claims.
async fn take(
    sim: &Arc<Sim>,
    key: &Key,
    snapshot: &mut Value,
    machine: &Key,
    source: &Value,
) -> Result<Next, Fail> {
    let (mut backups, mut statuses) = (Vec::new(), Vec::new());
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    for volume in volumes(source) {
        let id = text(volume, "/name");
        let claim = claim_of(volume).map(|it| Key::new(Kind::Claim, &key.namespace, it));
        let Some(claim) = claim.and_then(|it| sim.control.get(&it)) else {
            excluded.push(id);
            continue;
        };
        included.push(id);
        let taken = format!("vmsnapshot-{}-volume-{id}", uid(snapshot));
        sim.disks.copy(uid(&claim), &taken);
        backups.push(json!({
            "volumeName": id,
            "persistentVolumeClaim": {
                "metadata": { "name": name(&claim), "namespace": namespace(&claim) },
                "spec": claim["spec"],
            },
            "volumeSnapshotName": taken,
        }));
        statuses.push(json!({
            "volumeSnapshotName": taken,
            "readyToUse": true,
            "creationTime": now(),
        }));
    }
    let content = content_of(snapshot);
    make_content(sim, snapshot, source, &content, backups, statuses).await?;
    set(snapshot, &["status", "phase"], "Succeeded".into());
    set(snapshot, &["status", "readyToUse"], true.into());
    set(snapshot, &["status", "creationTime"], now().into());
    set(snapshot, &["status", "virtualMachineSnapshotContentName"], content.into());
    let parts = json!({ "includedVolumes": included, "excludedVolumes": excluded });
    set(snapshot, &["status", "snapshotVolumes"], parts);
    set_condition(snapshot, "Progressing", false, "Operation complete", "");
    set_condition(snapshot, "Ready", true, "Operation complete", "");
    sim.control.put_status(Kind::Snapshot, snapshot).await?;
    lock(sim, machine, "snapshotInProgress", None).await?;
    Ok(Next::Done)
}

fn content_of(snapshot: &Value) -> String {
    format!("vmsnapshot-content-{}", uid(snapshot))
}

async fn make_content(
    sim: &Sim,
    snapshot: &Value,
    source: &Value,
    content: &str,
    backups: Vec<Value>,
    statuses: Vec<Value>,
) -> Result<(), Fail> {
    let mut metadata = source["metadata"].clone();
    for field in ["managedFields", "finalizers", "resourceVersion", "creationTimestamp"] {
        unset(&mut metadata, &[field]);
    }
    let object = json!({
        "metadata": {
            "name": content,
            "namespace": namespace(snapshot),
            "finalizers": ["snapshot.kubevirt.io/vmsnapshotcontent-protection"],
            "ownerReferences": [owner(snapshot)],
        },
        "spec": {
            "source": { "virtualMachine": { "metadata": metadata, "spec": source["spec"] } },
            "virtualMachineSnapshotName": name(snapshot),
            "volumeBackups": backups,
        },
    });
    let mut made = sim.control.create(Kind::Content, object).await?;
    let status = json!({
        "readyToUse": true,
        "creationTime": now(),
        "volumeSnapshotStatus": statuses,
    });
    set(&mut made, &["status"], status);
    sim.control.put_status(Kind::Content, &made).await
}

async fn remove(sim: &Sim, key: &Key, snapshot: &Value, machine: &Key) -> Result<Next, Fail> {
    let mine = sim.control.get(machine);
    if mine.is_some_and(|it| text(&it, "/status/snapshotInProgress") == key.name) {
        lock(sim, machine, "snapshotInProgress", None).await?;
    }
    if text(snapshot, "/spec/deletionPolicy") != "Retain" {
        sim.control.delete(&Key::new(Kind::Content, &key.namespace, &content_of(snapshot))).await?;
    }
    sim.control.finalize(Kind::Snapshot, snapshot, None).await?;
    Ok(Next::Done)
}

/// Looks at the content of a snapshot: with it goes what it holds.
///
/// # Errors
/// Those of the API server.
pub async fn content(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(content) = sim.control.get(key) else { return Ok(Next::Done) };
    if deleting(&content) {
        for backup in list(&content, "/spec/volumeBackups") {
            sim.disks.drop(text(backup, "/volumeSnapshotName"));
        }
        sim.control.finalize(Kind::Content, &content, None).await?;
    }
    Ok(Next::Done)
}

/// A snapshot that is ready, and its content.
pub fn ready(sim: &Sim, space: &str, name: &str) -> Option<(Arc<Value>, Arc<Value>)> {
    let snapshot = sim.control.get(&Key::new(Kind::Snapshot, space, name))?;
    if !is_true(&snapshot, "/status/readyToUse") {
        return None;
    }
    let content = text(&snapshot, "/status/virtualMachineSnapshotContentName");
    let content = sim.control.get(&Key::new(Kind::Content, space, content))?;
    Some((snapshot, content))
}
