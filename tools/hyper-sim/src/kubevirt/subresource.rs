//! KubeVirt's aggregated API: what is done to a machine or an instance, and its console and screen.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, header};
use serde_json::{Value, json};

use super::answer::{Answer, bytes, failed, json as reply, refusal};
use super::discovery;
use super::json::{is_condition, is_true, text};
use super::kind::{Key, Kind};
use super::proxy::{parameter, upgrades};
use super::sim::Sim;
use super::upstream::all;
use super::{instance, socket, verbs};
use crate::rule::Action;

const GROUP: &str = "subresources.kubevirt.io";

/// A refusal, or nothing.
pub type Checked<T> = Result<T, Answer>;

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
                Kind::Machine => verbs::machine(sim, &key, verb, &body).await,
                _ => verbs::guest(sim, &key, verb, &body).await,
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

/// Says that an object is not there.
pub fn missing(key: &Key) -> Answer {
    let (group, plural, _) = key.kind.names();
    refusal(404, &format!("{plural}.{group} \"{}\" not found", key.name))
}

/// Says that a machine's state does not allow it.
pub fn conflict(key: &Key, words: &str) -> Answer {
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

/// The instance of a machine.
///
/// # Errors
/// The refusal to be passed on.
pub async fn find_instance(sim: &Sim, key: &Key) -> Checked<Option<Value>> {
    let path = sim.control.groups.object(&key.other(Kind::Instance));
    sim.control.api.find(&path).await.map_err(|fail| failed(&fail))
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
