//! Live migrations.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::Next;
use super::instance::suits;
use super::json::{
    deleting, has, hash, is_condition, list, name, now, set, set_condition, text, uid,
};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upstream::Fail;
use super::{json, pod};

const STEPS: [(&str, &str, &str); 7] = [
    ("", "Pending", "first"),
    ("Pending", "Scheduling", "second"),
    ("Scheduling", "Scheduled", "third"),
    ("Scheduled", "PreparingTarget", "fourth"),
    ("PreparingTarget", "TargetReady", "fifth"),
    ("TargetReady", "Running", "sixth"),
    ("Running", "Succeeded", "seventh"),
];

/// Looks at a migration.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(migration) = sim.control.get(key) else { return Ok(Next::Done) };
    let mut migration = (*migration).clone();
    let phase = text(&migration, "/status/phase").to_owned();
    let over = phase == "Succeeded" || phase == "Failed";
    let instance = Key::new(Kind::Instance, &key.namespace, text(&migration, "/spec/vmiName"));
    if deleting(&migration) {
        if !over {
            finish(sim, &mut migration, &instance, Some("the migration was aborted")).await?;
        }
        sim.control.finalize(Kind::Migration, &migration, None).await?;
        return Ok(Next::Done);
    }
    if over {
        return Ok(Next::Done);
    }
    let Some(runs) = sim.control.get(&instance) else {
        finish(sim, &mut migration, &instance, Some("there is no VMI of this name")).await?;
        return Ok(Next::Done);
    };
    if let Some(words) = sim.rules.meet("migration", &key.to_string()).fault {
        finish(sim, &mut migration, &instance, Some(&words)).await?;
        return Ok(Next::Done);
    }
    if text(&runs, "/status/phase") != "Running" || deleting(&runs) {
        finish(sim, &mut migration, &instance, Some("the VMI does not run")).await?;
        return Ok(Next::Done);
    }
    let hold = "kubevirt.io/migrationJobFinalize";
    if list(&migration, "/metadata/finalizers").is_empty() {
        sim.control.finalize(Kind::Migration, &migration, Some(hold)).await?;
        label(sim, key, &instance.name).await?;
        return Ok(Next::Again(sim.pace));
    }
    let Some((_, next, step)) = STEPS.iter().find(|(now, ..)| *now == phase) else {
        return Ok(Next::Done);
    };
    if !sim.control.passed(key, step, sim.pace) {
        return Ok(Next::Again(sim.pace));
    }
    proceed(sim, &mut migration, &instance, &runs, next).await
}

/// Labels the migration with the instance it is about, as selectors ask for.
async fn label(sim: &Sim, key: &Key, instance: &str) -> Result<(), Fail> {
    let change = json!({ "metadata": { "labels": { "kubevirt.io/vmi-name": instance } } });
    let path = sim.control.groups.object(key);
    sim.control.api.call(hyper::Method::PATCH, &path, Some(&change)).await.map(|_| ())
}

async fn proceed(
    sim: &Arc<Sim>,
    migration: &mut Value,
    key: &Key,
    instance: &Value,
    next: &str,
) -> Result<Next, Fail> {
    match next {
        "Scheduling" => {
            let target = format!("virt-launcher-{}-{}", key.name, json::suffix(uid(migration)));
            pod::make(sim, instance, &target, "").await?;
        }
        "Scheduled" => match target(sim, migration, instance).await? {
            Some(node) => begin(sim, migration, instance, &node).await?,
            None => {
                let words = "no other node has what the VMI asks for";
                set_condition(migration, "Scheduled", false, "Unschedulable", words);
                sim.control.put_status(Kind::Migration, migration).await?;
                return Ok(Next::Again(sim.pace * 4));
            }
        },
        "Succeeded" => {
            finish(sim, migration, key, None).await?;
            return Ok(Next::Done);
        }
        _ => {}
    }
    phase(migration, next);
    if let Some(state) =
        sim.control.get(key).as_deref().and_then(|it| it.pointer("/status/migrationState").cloned())
    {
        set(migration, &["status", "migrationState"], state);
    }
    sim.control.put_status(Kind::Migration, migration).await?;
    Ok(Next::Again(sim.pace))
}

fn phase(migration: &mut Value, phase: &str) {
    set(migration, &["status", "phase"], phase.into());
    let mut all = list(migration, "/status/phaseTransitionTimestamps").to_vec();
    all.push(json!({ "phase": phase, "phaseTransitionTimestamp": now() }));
    set(migration, &["status", "phaseTransitionTimestamps"], all.into());
}

/// Another node that suits, if there is one.
async fn target(sim: &Sim, migration: &Value, instance: &Value) -> Result<Option<String>, Fail> {
    let nodes = sim.control.api.get("/api/v1/nodes").await?;
    let wanted = migration.pointer("/spec/addedNodeSelector").and_then(Value::as_object);
    let here = text(instance, "/status/nodeName");
    let fits = |node: &&Value| {
        let labels = &node["metadata"]["labels"];
        let selected =
            wanted.is_none_or(|all| all.iter().all(|(label, it)| labels.get(label) == Some(it)));
        name(node) != here && selected && suits(node, instance)
    };
    let fits: Vec<&Value> = list(&nodes, "/items").iter().filter(fits).collect();
    if fits.is_empty() {
        return Ok(None);
    }
    Ok(Some(name(fits[hash(uid(migration)) as usize % fits.len()]).to_owned()))
}

async fn begin(sim: &Sim, migration: &Value, instance: &Value, node: &str) -> Result<(), Fail> {
    let mut instance = instance.clone();
    let state = json!({
        "migrationUid": uid(migration),
        "startTimestamp": now(),
        "sourceNode": instance["status"]["nodeName"],
        "targetNode": node,
        "mode": "PreCopy",
        "completed": false,
        "sourcePod": pod::name_of(&instance),
        "targetPod": format!("virt-launcher-{}-{}", name(&instance), json::suffix(uid(migration))),
    });
    set(&mut instance, &["status", "migrationState"], state);
    sim.control.put_status(Kind::Instance, &instance).await?;
    sim.event(&instance, "PreparingTarget", "Migration Target is listening").await;
    Ok(())
}

/// Ends a migration: with a reason it has failed, without one the guest is on another node.
async fn finish(
    sim: &Arc<Sim>,
    migration: &mut Value,
    key: &Key,
    why: Option<&str>,
) -> Result<(), Fail> {
    let mut state = migration["status"]["migrationState"].clone();
    if let Some(instance) = sim.control.get(key) {
        let mut instance = (*instance).clone();
        if has(&instance, "/status/migrationState")
            && text(&instance, "/status/migrationState/migrationUid") == uid(migration)
        {
            state = ended(&mut instance, why);
            sim.control.put_status(Kind::Instance, &instance).await?;
            if why.is_none() {
                let words = format!(
                    "The VirtualMachineInstance migrated to node {}.",
                    text(&instance, "/status/nodeName")
                );
                sim.event(&instance, "Migrated", &words).await;
            }
        }
    }
    if let Some(why) = why.filter(|_| !state.is_object()) {
        state = json!({ "failed": true, "failureReason": why, "endTimestamp": now() });
    }
    set(migration, &["status", "migrationState"], state);
    phase(migration, if why.is_some() { "Failed" } else { "Succeeded" });
    sim.control.put_status(Kind::Migration, migration).await
}

fn ended(instance: &mut Value, why: Option<&str>) -> Value {
    let mut state = instance["status"]["migrationState"].clone();
    state["endTimestamp"] = now().into();
    state["completed"] = true.into();
    match why {
        Some(why) => {
            state["failed"] = true.into();
            state["failureReason"] = why.into();
        }
        None => {
            let node = state["targetNode"].clone();
            let pods = json!({ uid(instance): node });
            set(instance, &["metadata", "labels", "kubevirt.io/nodeName"], node.clone());
            set(instance, &["status", "activePods"], pods);
            set(instance, &["status", "nodeName"], node);
        }
    }
    set(instance, &["status", "migrationState"], state.clone());
    state
}

/// Why an instance cannot be migrated, if it cannot.
pub fn refusal(instance: &Value) -> Option<String> {
    let condition = json::condition(instance, "LiveMigratable")?;
    let blocked = !is_condition(instance, "LiveMigratable");
    blocked.then(|| {
        format!(
            "Cannot migrate VMI, Reason: {}, Message: {}",
            text(condition, "/reason"),
            text(condition, "/message")
        )
    })
}
