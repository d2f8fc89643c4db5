//! What the API server is said to serve: its own groups and those of KubeVirt's aggregated API.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::metrics;
use super::sim::Sim;
use super::upstream::all;
use crate::body::Reply;
use crate::rule::Action;

/// The groups that are aggregated, and their versions, the preferred one first.
const GROUPS: [(&str, &[&str]); 3] = [
    ("subresources.kubevirt.io", &["v1", "v1alpha3"]),
    ("upload.cdi.kubevirt.io", &["v1beta1"]),
    (metrics::GROUP, &["v1beta1"]),
];

/// Whether a version of an aggregated group is served.
pub fn serves(group: &str, version: &str) -> bool {
    GROUPS.iter().any(|(name, versions)| *name == group && versions.contains(&version))
}

/// A group as it is listed.
pub fn group(name: &str, versions: &[&str]) -> Value {
    let version = |it: &&str| json!({ "groupVersion": format!("{name}/{it}"), "version": it });
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions[0] })
}

/// The answer to a question about a group alone.
pub fn one(name: &str) -> Option<Value> {
    let (name, versions) = GROUPS.iter().find(|(it, _)| *it == name)?;
    let mut found = group(name, versions);
    found["kind"] = "APIGroup".into();
    found["apiVersion"] = "v1".into();
    Some(found)
}

/// All groups.
pub async fn groups(sim: &Arc<Sim>, request: &Request<Incoming>, action: &Action) -> Answer {
    let mut asked = Request::new(Reply::Text(None));
    *asked.uri_mut() = request.uri().clone();
    *asked.headers_mut() = request.headers().clone();
    // The list is read and added to here.
    asked.headers_mut().remove(header::ACCEPT_ENCODING);
    let Ok(found) = sim.control.api.send(asked).await else {
        return answer::refusal(503, "the API server cannot be reached");
    };
    let status = found.status().as_u16();
    let kind = found.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.unwrap_or("application/json").to_owned();
    let Ok(bytes) = all(found.into_body()).await else {
        return answer::refusal(503, "the API server broke off");
    };
    let Ok(mut list) = serde_json::from_slice::<Value>(&bytes) else {
        return answer::bytes(status, &kind, bytes, action);
    };
    let own = GROUPS.iter().filter(|(name, _)| sim.metrics || *name != metrics::GROUP);
    if let Some(groups) = list["groups"].as_array_mut() {
        groups.extend(own.map(|(name, versions)| group(name, versions)));
    } else if let Some(items) = list["items"].as_array_mut() {
        items.extend(own.map(|(name, versions)| aggregated(name, versions)));
    }
    answer::bytes(status, &kind, list.to_string(), action)
}

/// A group in the form that names all resources at once.
fn aggregated(name: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| {
        let resource = |(plural, kind): &(&str, &str)| {
            json!({
                "resource": plural,
                "responseKind": { "group": name, "version": version, "kind": kind },
                "scope": "Namespaced",
                "singularResource": "",
                "verbs": verbs(plural),
            })
        };
        let whole = resources(name).iter().filter(|(plural, _)| !plural.contains('/'));
        json!({ "version": version, "freshness": "Current", "resources": whole.map(resource).collect::<Vec<_>>() })
    };
    json!({
        "metadata": { "name": name, "creationTimestamp": null },
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
    })
}

type Resources = &'static [(&'static str, &'static str)];

fn resources(group: &str) -> Resources {
    match group {
        "upload.cdi.kubevirt.io" => &[("uploadtokenrequests", "UploadTokenRequest")],
        metrics::GROUP => &[("pods", "PodMetrics")],
        _ => &[
            ("virtualmachines", "VirtualMachine"),
            ("virtualmachines/start", "VirtualMachine"),
            ("virtualmachines/stop", "VirtualMachine"),
            ("virtualmachines/restart", "VirtualMachine"),
            ("virtualmachines/migrate", "VirtualMachine"),
            ("virtualmachines/expand-spec", "VirtualMachine"),
            ("virtualmachines/portforward", "VirtualMachine"),
            ("virtualmachines/addvolume", "VirtualMachine"),
            ("virtualmachines/removevolume", "VirtualMachine"),
            ("virtualmachineinstances", "VirtualMachineInstance"),
            ("virtualmachineinstances/console", "VirtualMachineInstance"),
            ("virtualmachineinstances/vnc", "VirtualMachineInstance"),
            ("virtualmachineinstances/vnc/screenshot", "VirtualMachineInstance"),
            ("virtualmachineinstances/portforward", "VirtualMachineInstance"),
            ("virtualmachineinstances/pause", "VirtualMachineInstance"),
            ("virtualmachineinstances/unpause", "VirtualMachineInstance"),
            ("virtualmachineinstances/freeze", "VirtualMachineInstance"),
            ("virtualmachineinstances/unfreeze", "VirtualMachineInstance"),
            ("virtualmachineinstances/reset", "VirtualMachineInstance"),
            ("virtualmachineinstances/softreboot", "VirtualMachineInstance"),
            ("virtualmachineinstances/guestosinfo", "VirtualMachineInstanceGuestAgentInfo"),
            ("virtualmachineinstances/userlist", "VirtualMachineInstanceGuestOSUserList"),
            ("virtualmachineinstances/filesystemlist", "VirtualMachineInstanceFileSystemList"),
        ],
    }
}

fn verbs(plural: &str) -> Value {
    match plural.split_once('/').map(|(_, it)| it) {
        None if plural == "uploadtokenrequests" => json!(["create"]),
        None if plural == "pods" => json!(["get", "list"]),
        None => json!([]),
        Some(
            "console" | "vnc" | "vnc/screenshot" | "portforward" | "guestosinfo" | "userlist"
            | "filesystemlist" | "expand-spec",
        ) => json!(["get"]),
        Some(_) => json!(["update"]),
    }
}

/// The resources of a version of an aggregated group.
pub fn list(group: &str, version: &str) -> Value {
    let resource = |(plural, kind): &(&str, &str)| {
        json!({
            "name": plural,
            "singularName": "",
            "namespaced": true,
            "kind": kind,
            "verbs": verbs(plural),
        })
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{group}/{version}"),
        "resources": resources(group).iter().map(resource).collect::<Vec<_>>(),
    })
}

/// What is asked about a group that the simulator serves itself, if that is what is asked.
pub fn about(name: &str, rest: &[&str], action: &Action) -> Option<Answer> {
    match rest {
        [] => one(name).map(|it| answer::json(200, &it, action)),
        [version] if serves(name, version) => Some(answer::json(200, &list(name, version), action)),
        [version, ..] if !serves(name, version) => {
            Some(answer::refusal(404, "the server could not find the requested resource"))
        }
        _ => None,
    }
}
