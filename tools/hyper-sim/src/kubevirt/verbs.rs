//! What is done to machines and instances by KubeVirt's aggregated API.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use super::answer::{failed, refusal};
use super::json::{drop_condition, has, is_condition, is_true, set_condition, text, uid};
use super::kind::{Key, Kind};
use super::machine::{is_final, strategy};
use super::migration;
use super::sim::Sim;
use super::subresource::{Checked, conflict, fetch, find_instance, missing};
use super::upstream::Fail;

fn is_dry(body: &Value) -> bool {
    body.pointer("/dryRun/0").is_some_and(|it| it == "All")
}

/// Writes a change of a machine, only to be checked where that is asked for.
async fn patch(sim: &Sim, key: &Key, sub: &str, change: Value, body: &Value) -> Checked<u16> {
    let dry = if is_dry(body) { "?dryRun=All" } else { "" };
    let path = format!("{}{sub}{dry}", sim.control.groups.object(key));
    match sim.control.api.call(Method::PATCH, &path, Some(&change)).await {
        Ok(_) => Ok(202),
        Err(fail @ Fail { status: 409, .. }) => Err(conflict(key, &fail.message)),
        Err(fail) => Err(failed(&fail)),
    }
}

fn version_of(object: &Value) -> Value {
    json!({ "resourceVersion": object["metadata"]["resourceVersion"] })
}

/// Asks the controller to start or stop a machine, whatever its strategy is.
async fn ask(sim: &Sim, key: &Key, machine: &Value, requests: Value, body: &Value) -> Checked<u16> {
    let there = super::json::list(machine, "/status/stateChangeRequests");
    let only_stop =
        requests.as_array().is_some_and(|it| it.len() == 1 && it[0]["action"] == "Stop");
    if !there.is_empty() && !only_stop {
        return Err(refusal(500, "unable to complete request: stop/start already underway"));
    }
    let change = json!({
        "metadata": version_of(machine),
        "status": { "stateChangeRequests": requests },
    });
    patch(sim, key, "/status", change, body).await
}

/// Changes how a machine is to run.
async fn run(sim: &Sim, key: &Key, machine: &Value, run: bool, body: &Value) -> Checked<u16> {
    let spec = match has(machine, "/spec/running") {
        true => json!({ "running": run }),
        false => json!({ "runStrategy": if run { "Always" } else { "Halted" } }),
    };
    let change = json!({ "metadata": version_of(machine), "spec": spec });
    patch(sim, key, "", change, body).await
}

/// Does `verb` to a machine: the status of the answer.
///
/// # Errors
/// The refusal.
pub async fn machine(sim: &Arc<Sim>, key: &Key, verb: &str, body: &Value) -> Checked<u16> {
    let machine = fetch(sim, key).await?;
    let instance = find_instance(sim, key).await?;
    match verb {
        "start" => start(sim, key, &machine, instance.as_ref(), body).await,
        "stop" => stop(sim, key, &machine, instance.as_ref(), body).await,
        "restart" => restart(sim, key, &machine, instance.as_ref(), body).await,
        "migrate" => migrate(sim, key, instance.as_ref(), body).await,
        _ => Err(refusal(404, "the server could not find the requested resource")),
    }
}

async fn start(
    sim: &Sim,
    key: &Key,
    machine: &Value,
    instance: Option<&Value>,
    body: &Value,
) -> Checked<u16> {
    if instance.is_some_and(|it| !is_final(it) && has(it, "/status/phase")) {
        return Err(conflict(key, "VM is already running"));
    }
    let paused = is_true(body, "/paused");
    let data = if paused { json!({ "paused": "true" }) } else { json!({}) };
    let begin = json!({ "action": "Start", "data": data });
    let how = strategy(machine);
    match how {
        "Halted" if paused => ask(sim, key, machine, json!([begin]), body).await,
        "Halted" => run(sim, key, machine, true, body).await,
        "Manual" | "RerunOnFailure" => {
            let requests = match instance {
                Some(instance)
                    if text(instance, "/status/phase") == "Failed" && how != "Manual" =>
                {
                    let words = "RerunOnFailure does not support starting VM from failed state";
                    return Err(conflict(key, words));
                }
                Some(instance) => json!([{ "action": "Stop", "uid": uid(instance) }, begin]),
                None => json!([begin]),
            };
            ask(sim, key, machine, requests, body).await
        }
        how => Err(conflict(key, &format!("{how} does not support manual start requests"))),
    }
}

async fn stop(
    sim: &Sim,
    key: &Key,
    machine: &Value,
    instance: Option<&Value>,
    body: &Value,
) -> Checked<u16> {
    let runs = instance.filter(|it| !is_final(it));
    let grace = body.get("gracePeriod").and_then(Value::as_i64);
    let mut before = None;
    if let (Some(instance), Some(grace)) = (runs, grace) {
        before = instance.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        let change = json!({ "spec": { "terminationGracePeriodSeconds": grace } });
        patch(sim, &key.other(Kind::Instance), "", change, body).await?;
    }
    let halt = |instance: &Value| json!([{ "action": "Stop", "uid": uid(instance) }]);
    match (strategy(machine), runs) {
        ("Always" | "Once", _) => run(sim, key, machine, false, body).await,
        (_, None) => Err(conflict(key, "VM is not running")),
        ("Halted", Some(instance)) => {
            if grace.is_none() || before.is_some_and(|before| grace >= Some(before)) {
                let words = "Halted only supports manual stop requests with a shorter graceperiod";
                return Err(conflict(key, words));
            }
            ask(sim, key, machine, halt(instance), body).await
        }
        (_, Some(instance)) => ask(sim, key, machine, halt(instance), body).await,
    }
}

async fn restart(
    sim: &Sim,
    key: &Key,
    machine: &Value,
    instance: Option<&Value>,
    body: &Value,
) -> Checked<u16> {
    let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
    if grace.is_some_and(|it| it > 0) {
        let words = "For force restart, only gracePeriod=0 is supported for now";
        return Err(refusal(400, words));
    }
    if grace.is_some_and(|it| it < 0) {
        return Err(refusal(400, "gracePeriod has to be greater or equal to 0"));
    }
    let how = strategy(machine);
    if how == "Halted" || how == "Once" {
        let words = format!("RunStategy {how} does not support manual restart requests");
        return Err(conflict(key, &words));
    }
    let Some(instance) = instance else {
        return Err(conflict(key, "VM is not running: Halted"));
    };
    if grace == Some(0) && !is_dry(body) {
        let change = json!({ "spec": { "terminationGracePeriodSeconds": 0 } });
        patch(sim, &key.other(Kind::Instance), "", change, body).await?;
    }
    let requests = json!([{ "action": "Stop", "uid": uid(instance) }, { "action": "Start" }]);
    ask(sim, key, machine, requests, body).await
}

async fn migrate(sim: &Sim, key: &Key, instance: Option<&Value>, body: &Value) -> Checked<u16> {
    let instance = instance.ok_or_else(|| missing(&key.other(Kind::Instance)))?;
    if text(instance, "/status/phase") != "Running" {
        return Err(conflict(key, "VM is not running"));
    }
    if is_condition(instance, "Paused") {
        return Err(conflict(key, "VM is paused"));
    }
    // KubeVirt's own admission would refuse the object.
    if let Some(words) = migration::refusal(instance) {
        return Err(refusal(500, &words));
    }
    let mut object = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": { "generateName": "kubevirt-migrate-vm-", "namespace": key.namespace },
        "spec": { "vmiName": key.name },
    });
    if let Some(nodes) = body.get("addedNodeSelector") {
        object["spec"]["addedNodeSelector"] = nodes.clone();
    }
    let dry = if is_dry(body) { "?dryRun=All" } else { "" };
    let path = format!("{}{dry}", sim.control.groups.path(Kind::Migration, &key.namespace));
    let made = sim.control.api.call(Method::POST, &path, Some(&object)).await;
    made.map(|_| 202).map_err(|fail| failed(&fail))
}

/// Does `verb` to an instance: the status of the answer.
///
/// # Errors
/// The refusal.
pub async fn guest(sim: &Arc<Sim>, key: &Key, verb: &str, body: &Value) -> Checked<u16> {
    let mut instance = fetch(sim, key).await?;
    let paused = is_condition(&instance, "Paused");
    if text(&instance, "/status/phase") != "Running" {
        return Err(conflict(key, "VMI is not running"));
    }
    match verb {
        "pause" => {
            if paused {
                return Err(conflict(key, "VMI is already paused"));
            }
            let migrating = has(&instance, "/status/migrationState")
                && !is_true(&instance, "/status/migrationState/completed");
            if migrating {
                let words = format!(
                    "Cannot pause VM '{}' because it is currently being migrated",
                    key.name
                );
                return Err(conflict(key, &words));
            }
            set_condition(&mut instance, "Paused", true, "PausedByUser", "VMI was paused by user");
        }
        "unpause" => {
            if !paused {
                return Err(conflict(key, "VMI is not paused"));
            }
            drop_condition(&mut instance, "Paused");
        }
        "freeze" => instance["status"]["fsFreezeStatus"] = "frozen".into(),
        "unfreeze" => super::json::unset(&mut instance, &["status", "fsFreezeStatus"]),
        "softreboot" | "reset" => {
            if verb == "softreboot" && !is_condition(&instance, "AgentConnected") {
                return Err(conflict(
                    key,
                    "VMI neither have the agent connected nor the ACPI feature enabled",
                ));
            }
            let guest = sim.guest(key);
            guest.reboot();
            return Ok(200);
        }
        _ => return Err(refusal(404, "the server could not find the requested resource")),
    }
    if is_dry(body) {
        return Ok(200);
    }
    match sim.control.put_status(Kind::Instance, &instance).await {
        Ok(()) => Ok(200),
        Err(fail) => Err(failed(&fail)),
    }
}
