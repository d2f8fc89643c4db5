//! The pods that instances run in. No kubelet looks after them: they are objects, and what a client
//! asks a kubelet for is answered by the proxy.

use hyper::Method;
use serde_json::{Value, json};

use super::json::{name, namespace, now, suffix, text, uid};
use super::sim::Sim;
use super::upstream::Fail;

/// The pod of an instance.
pub fn name_of(instance: &Value) -> String {
    format!("virt-launcher-{}-{}", name(instance), suffix(uid(instance)))
}

fn path(instance: &Value) -> String {
    format!("/api/v1/namespaces/{}/pods", namespace(instance))
}

/// Makes the pod of an instance.
///
/// # Errors
/// Those of the API server.
pub async fn create(sim: &Sim, instance: &Value) -> Result<(), Fail> {
    make(sim, instance, &name_of(instance), "").await
}

/// Makes a pod by name; one that is there is taken as it is.
///
/// # Errors
/// Those of the API server.
pub async fn make(sim: &Sim, instance: &Value, pod: &str, node: &str) -> Result<(), Fail> {
    let container = |name: &str| json!({ "name": name, "image": "quay.io/kubevirt/virt-launcher" });
    let mut spec = json!({
        "containers": [container("compute"), container("guest-console-log")],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 60,
    });
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod,
            "namespace": namespace(instance),
            "labels": {
                "kubevirt.io": "virt-launcher",
                "kubevirt.io/created-by": uid(instance),
                "vm.kubevirt.io/name": name(instance),
            },
            "annotations": {
                "kubevirt.io/domain": name(instance),
                "kubectl.kubernetes.io/default-container": "compute",
            },
            "ownerReferences": [super::json::owner(instance)],
        },
        "spec": spec,
    });
    sim.control.api.make(&path(instance), &object).await
}

/// Makes the pod of a server and what leads to it, as far as they are not there, and says that it
/// runs: objects of the core API by their plurals.
///
/// # Errors
/// Those of the API server.
pub async fn serve(
    sim: &Sim,
    space: &str,
    pod: &str,
    objects: &[(&str, Value)],
) -> Result<(), Fail> {
    let api = &sim.control.api;
    let root = format!("/api/v1/namespaces/{space}");
    for (plural, object) in objects {
        api.make(&format!("{root}/{plural}"), object).await?;
    }
    let state = json!({ "status": {
        "phase": "Running",
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    api.call(Method::PATCH, &format!("{root}/pods/{pod}/status"), Some(&state)).await.map(drop)
}

/// Binds the pod of an instance to its node and says that it runs.
///
/// # Errors
/// Those of the API server.
pub async fn run(sim: &Sim, instance: &Value) -> Result<(), Fail> {
    let pod = name_of(instance);
    let node = text(instance, "/status/nodeName");
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": pod, "namespace": namespace(instance) },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let at = format!("{}/{pod}", path(instance));
    match sim.control.api.call(Method::POST, &format!("{at}/binding"), Some(&binding)).await {
        // An API server without pods' own subresources keeps them without a node.
        Ok(_) | Err(Fail { status: 404 | 405 | 409, .. }) => {}
        Err(fail) => return Err(fail),
    }
    state(sim, &at, instance).await
}

/// Says that a pod runs.
///
/// # Errors
/// Those of the API server.
pub async fn state(sim: &Sim, at: &str, instance: &Value) -> Result<(), Fail> {
    let since = now();
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "quay.io/kubevirt/virt-launcher",
            "imageID": "",
            "containerID": "cri-o://0",
            "ready": true,
            "started": true,
            "restartCount": 0,
            "state": { "running": { "startedAt": since } },
        })
    };
    let address = text(instance, "/status/interfaces/0/ipAddress");
    let mut status = json!({
        "phase": "Running",
        "startTime": since,
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": since }],
        "containerStatuses": [container("compute"), container("guest-console-log")],
    });
    if !address.is_empty() {
        status["podIP"] = address.into();
        status["podIPs"] = json!([{ "ip": address }]);
    }
    let change = json!({ "status": status });
    sim.control.api.call(Method::PATCH, &format!("{at}/status"), Some(&change)).await?;
    Ok(())
}

/// Deletes the pods of an instance.
///
/// # Errors
/// Those of the API server.
pub async fn delete(sim: &Sim, instance: &Value) -> Result<(), Fail> {
    let selector = format!("labelSelector=kubevirt.io%2Fcreated-by%3D{}", uid(instance));
    let pods = sim.control.api.get(&format!("{}?{selector}", path(instance))).await?;
    for pod in super::json::list(&pods, "/items") {
        // Without a kubelet nobody would confirm a graceful end.
        let at = format!("{}/{}?gracePeriodSeconds=0", path(instance), name(pod));
        match sim.control.api.call(Method::DELETE, &at, None).await {
            Ok(_) | Err(Fail { status: 404, .. }) => {}
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}
