//! What a metrics server would say of the pods that machines run in (metrics.k8s.io). Of a machine
//! with one processor and 1 GiB the same is always in use: a quarter of a processor and half of the
//! memory in `compute`, one thousandth and 1 MiB in `guest-console-log`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::answer::{self, Answer, refusal};
use super::discovery::about;
use super::json::{list, name, namespace, now, quantity, text};
use super::sim::Sim;
use super::subresource::may;
use crate::rule::Action;

/// The group.
pub const GROUP: &str = "metrics.k8s.io";

/// Answers what is asked below the group.
pub async fn answer(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    rest: &[&str],
    action: &Action,
) -> Answer {
    if let Some(answer) = about(GROUP, rest, action) {
        return answer;
    }
    if request.method() != Method::GET {
        return refusal(405, "the metrics server only reads");
    }
    let (space, pod) = match rest {
        [_, "pods"] => ("", ""),
        [_, "namespaces", space, "pods"] => (*space, ""),
        [_, "namespaces", space, "pods", pod] => (*space, *pod),
        _ => return refusal(404, "the server could not find the requested resource"),
    };
    let verb = if pod.is_empty() { "list" } else { "get" };
    if let Err(answer) = may(sim, &request, [verb, GROUP, "pods", "", space, pod]).await {
        return answer;
    }
    match measured(sim, space, request.uri().query().unwrap_or_default()).await {
        Err(answer) => answer,
        Ok(all) if pod.is_empty() => {
            let found = json!({
                "kind": "PodMetricsList",
                "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {},
                "items": all,
            });
            answer::json(200, &found, action)
        }
        Ok(all) => match all.iter().find(|it| name(it) == pod) {
            Some(found) => answer::json(200, found, action),
            None => refusal(404, &format!("podmetrics.metrics.k8s.io \"{pod}\" not found")),
        },
    }
}

/// The metrics of the pods that run, in a namespace or in all, as a query selects them.
async fn measured(sim: &Sim, space: &str, query: &str) -> Result<Vec<Value>, Answer> {
    let within = if space.is_empty() { String::new() } else { format!("/namespaces/{space}") };
    let selected = query.split('&').filter(|it| it.starts_with("labelSelector="));
    let query = selected.collect::<Vec<_>>().join("&");
    let pods = sim.control.api.get(&format!("/api/v1{within}/pods?{query}")).await;
    let pods = pods.map_err(|fail| answer::failed(&fail))?;
    let instances = format!("/apis/kubevirt.io/v1{within}/virtualmachineinstances");
    let instances = sim.control.api.get(&instances).await;
    let instances = instances.map_err(|fail| answer::failed(&fail))?;
    let running = list(&pods, "/items").iter().filter(|it| text(it, "/status/phase") == "Running");
    let metrics = |pod: &Value| {
        let machine = text(pod, "/metadata/labels/vm.kubevirt.io~1name");
        let mut instances = list(&instances, "/items").iter();
        let found = instances.find(|it| (name(it), namespace(it)) == (machine, namespace(pod)))?;
        Some(of(pod, found))
    };
    Ok(running.filter_map(metrics).collect())
}

fn of(pod: &Value, instance: &Value) -> Value {
    let part = |name: &str| instance["spec"]["domain"]["cpu"][name].as_u64().unwrap_or(1).max(1);
    let processors = part("cores") * part("sockets") * part("threads");
    let memory = quantity(text(instance, "/spec/domain/memory/guest")).unwrap_or(0);
    json!({
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": name(pod),
            "namespace": namespace(pod),
            "creationTimestamp": now(),
            "labels": pod["metadata"]["labels"],
        },
        "timestamp": now(),
        "window": "15s",
        "containers": [
            { "name": "compute", "usage": {
                "cpu": format!("{}m", processors * 250),
                "memory": format!("{}Ki", memory / 2 / 1024),
            } },
            { "name": "guest-console-log", "usage": { "cpu": "1m", "memory": "1Mi" } },
        ],
    })
}
