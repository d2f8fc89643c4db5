//! Restores: a machine becomes again what a snapshot holds, or a new one is made of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::control::Next;
use super::json::{has, is_true, list, name, now, owner, set, set_condition, text, uid, unset};
use super::kind::{Key, Kind};
use super::machine::{HOLD, is_final};
use super::sim::Sim;
use super::snapshot::{lock, ready};
use super::upstream::Fail;

/// How long a restore waits for its target to stop when nobody says.
const GRACE: Duration = Duration::from_secs(300);

/// Looks at a restore.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(restore) = sim.control.get(key) else { return Ok(Next::Done) };
    let target = Key::new(Kind::Machine, &key.namespace, text(&restore, "/spec/target/name"));
    if super::json::deleting(&restore) {
        let there = sim.control.get(&target);
        if there.is_some_and(|it| text(&it, "/status/restoreInProgress") == key.name) {
            lock(sim, &target, "restoreInProgress", None).await?;
        }
        if !list(&restore, "/metadata/finalizers").is_empty() {
            sim.control.finalize(Kind::Restore, &restore, None).await?;
        }
        return Ok(Next::Done);
    }
    let mut restore = (*restore).clone();
    if is_true(&restore, "/status/complete") || super::json::is_condition(&restore, "Failure") {
        return Ok(Next::Done);
    }
    if let Some(words) = sim.rules.meet("restore", &key.to_string()).fault {
        return fail(sim, &mut restore, &target, &words).await;
    }
    let from = text(&restore, "/spec/virtualMachineSnapshotName").to_owned();
    let Some((_, content)) = ready(sim, &key.namespace, &from) else {
        let words = format!("VirtualMachineSnapshot {}/{from} not ready", key.namespace);
        return wait(sim, &mut restore, &words).await;
    };
    if let Some(next) = stopped(sim, key, &mut restore, &target).await? {
        return Ok(next);
    }
    if !sim.control.passed(key, "restored", sim.pace * 2) {
        if sim.control.get(&target).is_some() {
            lock(sim, &target, "restoreInProgress", Some(&key.name)).await?;
        }
        set(&mut restore, &["status", "complete"], false.into());
        set_condition(&mut restore, "Progressing", true, "Creating new PVCs", "");
        set_condition(&mut restore, "Ready", false, "Waiting for new PVCs", "");
        sim.control.put_status(Kind::Restore, &restore).await?;
        return Ok(Next::Again(sim.pace));
    }
    apply(sim, key, &mut restore, &target, &content).await
}

async fn wait(sim: &Sim, restore: &mut Value, words: &str) -> Result<Next, Fail> {
    set(restore, &["status", "complete"], false.into());
    set_condition(restore, "Progressing", false, words, "");
    set_condition(restore, "Ready", false, words, "");
    sim.control.put_status(Kind::Restore, restore).await?;
    Ok(Next::Again(sim.pace * 2))
}

async fn fail(sim: &Sim, restore: &mut Value, target: &Key, words: &str) -> Result<Next, Fail> {
    set(restore, &["status", "complete"], false.into());
    set_condition(restore, "Progressing", false, "Operation failed", words);
    set_condition(restore, "Ready", false, "Operation failed", words);
    set_condition(restore, "Failure", true, "Operation failed", words);
    sim.control.put_status(Kind::Restore, restore).await?;
    lock(sim, target, "restoreInProgress", None).await?;
    Ok(Next::Done)
}

/// Waits, as the policy says, until the target does not run; `None` once it does not.
async fn stopped(
    sim: &Arc<Sim>,
    key: &Key,
    restore: &mut Value,
    target: &Key,
) -> Result<Option<Next>, Fail> {
    let instance = sim.control.get(&target.other(Kind::Instance));
    if instance.is_none_or(|it| is_final(&it)) {
        return Ok(None);
    }
    let words = "Restore target must be stopped: Waiting for target to be ready";
    match text(restore, "/spec/targetReadinessPolicy") {
        "FailImmediate" => {
            return fail(sim, restore, target, "Restore target failed to be ready").await.map(Some);
        }
        "StopTarget" => {
            if let Some(machine) = sim.control.get(target) {
                let mut machine = (*machine).clone();
                match has(&machine, "/spec/running") {
                    true => set(&mut machine, &["spec", "running"], false.into()),
                    false => set(&mut machine, &["spec", "runStrategy"], "Halted".into()),
                }
                sim.control.put(Kind::Machine, &machine).await?;
            }
        }
        "WaitEventually" => {}
        _ if sim.control.passed(key, "grace", GRACE) => {
            let words = "Restore target failed to be ready within 5m0s";
            return fail(sim, restore, target, words).await.map(Some);
        }
        _ => {}
    }
    wait(sim, restore, words).await.map(Some)
}

/// The name that a claim has after the restore.
fn claim_name(restore: &Value, backup: &Value) -> String {
    let volume = text(backup, "/volumeName");
    let asked = list(restore, "/spec/volumeRestoreOverrides").iter();
    let mut asked = asked.filter(|it| text(it, "/volumeName") == volume);
    let asked = asked.find_map(|it| it["restoreName"].as_str());
    if let Some(asked) = asked {
        return asked.to_owned();
    }
    match text(restore, "/spec/volumeRestorePolicy") {
        "InPlace" => text(backup, "/persistentVolumeClaim/metadata/name").to_owned(),
        "PrefixTargetName" => format!("{}-{volume}", text(restore, "/spec/target/name")),
        _ => format!("restore-{}-{volume}", uid(restore)),
    }
}

async fn apply(
    sim: &Arc<Sim>,
    key: &Key,
    restore: &mut Value,
    target: &Key,
    content: &Value,
) -> Result<Next, Fail> {
    let mut spec = content["spec"]["source"]["virtualMachine"]["spec"].clone();
    let mut restores = Vec::new();
    let mut claims = Vec::new();
    for backup in list(content, "/spec/volumeBackups") {
        let id = claim_name(restore, backup);
        rename(&mut spec, text(backup, "/volumeName"), &id);
        restores.push(json!({
            "persistentVolumeClaim": id,
            "volumeName": backup["volumeName"],
            "volumeSnapshotName": backup["volumeSnapshotName"],
        }));
        claims.push((id, backup));
    }
    let machine = match sim.control.get(target) {
        Some(there) => {
            let mut there = (*there).clone();
            // How it is to run is not part of what is restored.
            keep_strategy(&there["spec"], &mut spec);
            there["spec"] = spec;
            patch(restore, &mut there);
            sim.control.put(Kind::Machine, &there).await?
        }
        None => make(sim, restore, target, content, spec).await?,
    };
    for (id, backup) in claims {
        fill(sim, key, &machine, &id, backup).await?;
    }
    set(restore, &["status", "restores"], restores.into());
    set(restore, &["status", "restoreTime"], now().into());
    set(restore, &["status", "complete"], true.into());
    set_condition(restore, "Progressing", false, "Operation complete", "");
    set_condition(restore, "Ready", true, "Operation complete", "");
    sim.control.put_status(Kind::Restore, restore).await?;
    lock(sim, target, "restoreInProgress", None).await?;
    sim.event(
        restore,
        "VirtualMachineRestoreComplete",
        "Successfully completed VirtualMachineRestore",
    )
    .await;
    Ok(Next::Done)
}

fn keep_strategy(from: &Value, to: &mut Value) {
    for field in ["running", "runStrategy"] {
        match from.get(field) {
            Some(value) => to[field] = value.clone(),
            None => unset(to, &[field]),
        }
    }
}

/// Gives a volume of a machine another claim.
fn rename(spec: &mut Value, volume: &str, claim: &str) {
    let mut old = None;
    if let Some(all) = spec.pointer_mut("/template/spec/volumes").and_then(Value::as_array_mut) {
        for it in all.iter_mut().filter(|it| it["name"] == volume) {
            match it.get("dataVolume").is_some() {
                true => old = Some(std::mem::replace(&mut it["dataVolume"]["name"], claim.into())),
                false => it["persistentVolumeClaim"]["claimName"] = claim.into(),
            }
        }
    }
    if let (Some(old), Some(all)) = (old, spec["dataVolumeTemplates"].as_array_mut()) {
        for it in all.iter_mut().filter(|it| it["metadata"]["name"] == old) {
            it["metadata"]["name"] = claim.into();
        }
    }
}

async fn make(
    sim: &Sim,
    restore: &Value,
    target: &Key,
    content: &Value,
    mut spec: Value,
) -> Result<Value, Fail> {
    unset(&mut spec, &["running"]);
    spec["runStrategy"] = "Halted".into();
    let old = &content["spec"]["source"]["virtualMachine"]["metadata"];
    let mut machine = json!({
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "labels": old.get("labels").cloned().unwrap_or(json!({})),
            "annotations": old.get("annotations").cloned().unwrap_or(json!({})),
            "finalizers": [HOLD],
        },
        "spec": spec,
    });
    unset(
        &mut machine,
        &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"],
    );
    patch(restore, &mut machine);
    sim.control.create(Kind::Machine, machine).await
}

/// Applies the patches of a restore, each of which is an operation of JSON Patch.
fn patch(restore: &Value, machine: &mut Value) {
    for text in list(restore, "/spec/patches").iter().filter_map(Value::as_str) {
        let Ok(one) = serde_json::from_str::<Value>(text) else { continue };
        let path = super::json::text(&one, "/path").to_owned();
        let Some((parent, last)) = path.rsplit_once('/') else { continue };
        let last = last.replace("~1", "/").replace("~0", "~");
        let Some(place) = machine.pointer_mut(parent) else { continue };
        match (place, super::json::text(&one, "/op")) {
            (Value::Object(map), "remove") => {
                map.remove(&last);
            }
            (Value::Object(map), _) => {
                map.insert(last, one["value"].clone());
            }
            (Value::Array(all), operation) => {
                let at = last.parse().unwrap_or(all.len());
                match operation {
                    "remove" if at < all.len() => {
                        all.remove(at);
                    }
                    "replace" if at < all.len() => all[at] = one["value"].clone(),
                    "add" if at <= all.len() => all.insert(at, one["value"].clone()),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Makes a claim of what a snapshot holds, or puts that on the claim there is.
async fn fill(sim: &Sim, key: &Key, machine: &Value, id: &str, backup: &Value) -> Result<(), Fail> {
    let mut spec = backup["persistentVolumeClaim"]["spec"].clone();
    unset(&mut spec, &["volumeName"]);
    let claim = json!({
        "metadata": {
            "name": id,
            "namespace": key.namespace,
            "ownerReferences": [owner(machine)],
            "annotations": { "restore.kubevirt.io/name": key.name },
        },
        "spec": spec,
    });
    let made = sim.control.create(Kind::Claim, claim).await?;
    sim.disks.copy(text(backup, "/volumeSnapshotName"), uid(&made));
    tracing::info!("{key}: {} is on {}", text(backup, "/volumeSnapshotName"), name(&made));
    super::volume::bind(sim, &made).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_change_what_they_name() {
        let mut machine =
            json!({ "metadata": { "labels": { "a/b": "1", "c": "2" } }, "l": [1, 2] });
        let restore = json!({ "spec": { "patches": [
            r#"{"op":"remove","path":"/metadata/labels/a~1b"}"#,
            r#"{"op":"add","path":"/metadata/labels/d","value":"3"}"#,
            r#"{"op":"replace","path":"/l/1","value":5}"#,
        ] } });
        patch(&restore, &mut machine);
        let wanted = json!({ "metadata": { "labels": { "c": "2", "d": "3" } }, "l": [1, 5] });
        assert_eq!(machine, wanted);
    }
}
