//! KubeVirt's aggregated API: what is done to a machine or an instance, and its console and screen.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, header};
use serde_json::{Value, json};

use super::answer::{Answer, bytes, failed, json as reply, refusal};
use super::discovery;
use super::json::{drop_condition, has, is_condition, is_true, set_condition, text, uid};
use super::kind::{Key, Kind};
use super::machine::{is_final, strategy};
use super::proxy::{parameter, upgrades};
use super::sim::Sim;
use super::upstream::{Fail, all};
use super::{instance, migration, socket};
use crate::rule::Action;

const GROUP: &str = "subresources.kubevirt.io";

/// A refusal, or nothing.
type Checked<T> = Result<T, Answer>;

/// Answers what is asked of the group.
pub async fn answer(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    rest: &[&str],
    action: &Action,
) -> Answer {
    if let Some(answer) = discovery::about(GROUP, rest, action) {
        return answer;
    }
    match rest {
        [_, "version"] => {
            let version = sim.release.version();
            let parts: Vec<&str> = version.trim_start_matches('v').split('.').collect();
            let about = json!({
                "gitVersion": version,
                "gitCommit": "0000000000000000000000000000000000000000",
                "gitTreeState": "clean",
                "major": parts[0],
                "minor": parts.get(1),
                "platform": "linux/amd64",
            });
            reply(200, &about, action)
        }
        [_, "healthz"] => bytes(200, "text/plain", "ok", action),
        [_, "namespaces", space, resource, name, verb @ ..] if !verb.is_empty() => {
            let verb = verb.join("/");
            match checked(sim, request, [space, resource, name, &verb], action).await {
                Ok(answer) | Err(answer) => answer,
            }
        }
        _ => refusal(404, "the server could not find the requested resource"),
    }
}

async fn checked(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    [space, resource, name, verb]: [&str; 4],
    action: &Action,
) -> Checked<Answer> {
    let kind = match resource {
        "virtualmachines" => Kind::Machine,
        "virtualmachineinstances" => Kind::Instance,
        _ => return Err(refusal(404, "the server could not find the requested resource")),
    };
    let does = if request.method() == Method::PUT { "update" } else { "get" };
    may(sim, &request, [does, GROUP, resource, verb, space, name]).await?;
    let key = Key::new(kind, space, name);
    match (request.method().clone(), kind, verb) {
        (Method::GET, _, "console" | "vnc") if kind == Kind::Instance => {
            socket::open(sim, request, &key, verb, action).await
        }
        (Method::GET, _, _) if verb == "portforward" || verb.starts_with("portforward/") => {
            socket::open(sim, request, &key, verb, action).await
        }
        (Method::GET, ..) => read(sim, &request, &key, verb, action).await,
        (Method::PUT, ..) => {
            let body = body(request).await?;
            let done = match kind {
                Kind::Machine => machine(sim, &key, verb, &body).await,
                _ => guest(sim, &key, verb, &body).await,
            };
            done.map(|status| bytes(status, "application/json", "", action))
        }
        _ => Err(refusal(405, "not with this method")),
    }
}

/// Asks the API server whether the client may do something.
///
/// # Errors
/// The refusal to be passed on.
pub async fn may(
    sim: &Sim,
    request: &Request<Incoming>,
    [verb, group, resource, subresource, space, name]: [&str; 6],
) -> Checked<()> {
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "namespace": space,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "name": name,
        } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (status, found) = as_client(sim, request, Method::POST, path, Some(&asked)).await?;
    match status {
        // An API server that cannot be asked allows everything, or nothing.
        404 => match as_client(sim, request, Method::GET, "/api/v1", None).await? {
            (401, _) => Err(refusal(401, "Unauthorized")),
            (403, found) => Err(refusal(403, text(&found, "/message"))),
            _ => Ok(()),
        },
        401 => Err(refusal(401, "Unauthorized")),
        403 => Err(refusal(403, text(&found, "/message"))),
        _ if is_true(&found, "/status/allowed") => Ok(()),
        _ => {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let words = format!(
                "{resource}.{group} \"{name}\" is forbidden: User cannot {verb} resource \
                 \"{resource}{slash}{subresource}\" in API group \"{group}\" in the namespace \"{space}\""
            );
            Err(refusal(403, &words))
        }
    }
}

/// A call in the name of a client.
async fn as_client(
    sim: &Sim,
    request: &Request<Incoming>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Checked<(u16, Value)> {
    let unreachable = || refusal(503, "the API server cannot be reached");
    let body = body.map(|it| it.to_string().into());
    let mut asked = Request::new(crate::body::Reply::Text(body));
    *asked.method_mut() = method;
    *asked.uri_mut() = path.parse().map_err(|_| refusal(400, "this is no path"))?;
    if let Some(shown) = request.headers().get(header::AUTHORIZATION) {
        asked.headers_mut().insert(header::AUTHORIZATION, shown.clone());
    }
    let kind = header::HeaderValue::from_static("application/json");
    asked.headers_mut().insert(header::CONTENT_TYPE, kind);
    let answer = sim.control.api.send(asked).await.map_err(|_| unreachable())?;
    let status = answer.status().as_u16();
    let bytes = all(answer.into_body()).await.map_err(|_| unreachable())?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

async fn body(request: Request<Incoming>) -> Checked<Value> {
    let bytes = all(request.into_body()).await;
    let bytes = bytes.map_err(|_| refusal(400, "the request broke off"))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        refusal(400, &format!("Can not unmarshal Request body to struct, error: {error}"))
    })
}

fn missing(key: &Key) -> Answer {
    let (group, plural, _) = key.kind.names();
    refusal(404, &format!("{plural}.{group} \"{}\" not found", key.name))
}

fn conflict(key: &Key, words: &str) -> Answer {
    let singular = key.kind.names().2.to_ascii_lowercase();
    let words = format!(
        "Operation cannot be fulfilled on {singular}.kubevirt.io \"{}\": {words}",
        key.name
    );
    refusal(409, &words)
}

/// An object as the API server has it now; the cache may be a moment behind.
///
/// # Errors
/// The refusal to be passed on.
pub async fn fetch(sim: &Sim, key: &Key) -> Checked<Value> {
    let found = sim.control.api.find(&sim.control.groups.object(key)).await;
    found.map_err(|fail| failed(&fail))?.ok_or_else(|| missing(key))
}

async fn find_instance(sim: &Sim, key: &Key) -> Checked<Option<Value>> {
    let path = sim.control.groups.object(&key.other(Kind::Instance));
    sim.control.api.find(&path).await.map_err(|fail| failed(&fail))
}

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

async fn machine(sim: &Arc<Sim>, key: &Key, verb: &str, body: &Value) -> Checked<u16> {
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

async fn guest(sim: &Arc<Sim>, key: &Key, verb: &str, body: &Value) -> Checked<u16> {
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

async fn read(
    sim: &Arc<Sim>,
    request: &Request<Incoming>,
    key: &Key,
    verb: &str,
    action: &Action,
) -> Checked<Answer> {
    if upgrades(request) {
        return Err(refusal(404, "the server could not find the requested resource"));
    }
    if key.kind == Kind::Machine {
        if verb != "expand-spec" {
            return Err(refusal(404, "the server could not find the requested resource"));
        }
        return Ok(reply(200, &fetch(sim, key).await?, action));
    }
    let instance = fetch(sim, key).await?;
    if verb == "vnc/screenshot" {
        socket::has_screen(&instance)?;
        let guest = sim.guest(key);
        if parameter(request, "moveCursor").is_some_and(|it| it == "true") {
            guest.screen.point(1, 1);
        }
        let busy = guest.viewers.load(std::sync::atomic::Ordering::Acquire) > 0;
        if busy {
            return Err(refusal(503, "Active VNC connection. Request denied."));
        }
        let png = guest.screen.png().map_err(|error| refusal(500, &error.to_string()))?;
        return Ok(bytes(200, "image/png", png, action));
    }
    if text(&instance, "/status/phase") != "Running" {
        return Err(conflict(key, "VMI is not running"));
    }
    if !is_condition(&instance, "AgentConnected") {
        return Err(conflict(key, "VMI does not have guest agent connected"));
    }
    let found = match verb {
        "guestosinfo" => json!({
            "kind": "VirtualMachineInstanceGuestAgentInfo",
            "apiVersion": "subresources.kubevirt.io/v1",
            "guestAgentVersion": "7.2.0",
            "hostname": key.name,
            "os": instance::guest_os(),
            "timezone": "UTC, 0",
            "fsInfo": { "disks": disks() },
        }),
        "filesystemlist" => json!({
            "kind": "VirtualMachineInstanceFileSystemList",
            "apiVersion": "subresources.kubevirt.io/v1",
            "metadata": {},
            "items": disks(),
        }),
        "userlist" => json!({
            "kind": "VirtualMachineInstanceGuestOSUserList",
            "apiVersion": "subresources.kubevirt.io/v1",
            "metadata": {},
            "items": [],
        }),
        _ => return Err(refusal(404, "the server could not find the requested resource")),
    };
    Ok(reply(200, &found, action))
}

fn disks() -> Value {
    json!([{
        "diskName": "vda1",
        "mountPoint": "/",
        "fileSystemType": "ext4",
        "usedBytes": 1_288_490_188_u64,
        "totalBytes": 4_157_169_664_u64,
    }])
}
