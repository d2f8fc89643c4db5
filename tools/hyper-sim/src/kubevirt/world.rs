//! What a simulated cluster starts with: nodes, a storage class, KubeVirt and CDI themselves, those
//! who may look, and machines.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper_common::error::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::cluster::IDENTITIES;
use super::coding::{decode, encode};
use super::json::{list, namespace, now, set, text, uid, uuid};
use super::kind::{Key, Kind};
use super::machine::HOLD;
use super::machine_status;
use super::sim::Sim;
use super::upload;
use super::upstream::{Fail, Upstream};
use crate::vsphere::disk::DiskImage;

/// The storage class that claims have.
pub const STORAGE: &str = "hyper-sim";

/// Nodes of the cluster.
const NODES: [&str; 3] = ["node01", "node02", "node03"];

/// Machines in one transaction of etcd; it takes at most 128 steps.
const BATCH: usize = 100;

/// A machine that is there from the start.
#[derive(Debug)]
pub struct Start {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Its disks; a small disk out of a container where there are none.
    pub disks: Vec<Arc<DiskImage>>,
}

fn failed(what: &'static str) -> impl Fn(Fail) -> Error {
    move |fail| Error::new(ErrorKind::Protocol, what).with_hint(fail.to_string())
}

/// Makes an object unless it is there; an API server that does not know its kind goes without.
async fn make(api: &Upstream, path: &str, object: &Value) -> Result<()> {
    match api.make(path, object).await {
        Ok(()) | Err(Fail { status: 404, .. }) => Ok(()),
        Err(fail) => Err(failed("make what a cluster has")(fail)),
    }
}

/// Makes everything but the machines.
///
/// # Errors
/// `Protocol` when the API server refuses something.
pub async fn furnish(sim: &Sim) -> Result<()> {
    let api = &sim.control.api;
    for name in ["kubevirt", "cdi"] {
        make(
            api,
            "/api/v1/namespaces",
            &json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            }),
        )
        .await?;
    }
    for name in NODES {
        node(api, name).await?;
    }
    make(
        api,
        "/apis/storage.k8s.io/v1/storageclasses",
        &json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE,
                "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
            },
            "provisioner": "hyper.sim/disks",
            "allowVolumeExpansion": true,
        }),
    )
    .await?;
    operators(sim).await?;
    upload::install(sim).await.map_err(failed("make what an upload proxy has"))?;
    rights(api).await
}

async fn node(api: &Upstream, name: &str) -> Result<()> {
    let room = json!({
        "cpu": "64",
        "memory": "256Gi",
        "pods": "250",
        "devices.kubevirt.io/kvm": "1k",
    });
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "kubevirt.io/schedulable": "true",
                "node-role.kubernetes.io/worker": "",
            },
        },
    });
    make(api, "/api/v1/nodes", &object).await?;
    let status = json!({ "status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }],
        "addresses": [{ "type": "Hostname", "address": name }],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "cri-o://1.30",
            "kernelVersion": "6.1.0", "kubeProxyVersion": "v1.20.2", "kubeletVersion": "v1.20.2",
            "machineID": "", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 12",
            "systemUUID": "",
        },
    } });
    let path = format!("/api/v1/nodes/{name}/status");
    let patched = api.call(Method::PATCH, &path, Some(&status)).await;
    patched.map(|_| ()).map_err(failed("make a node"))
}

/// The objects that say which KubeVirt and which CDI run here.
async fn operators(sim: &Sim) -> Result<()> {
    let version = sim.release.version();
    let objects = [
        (
            "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts",
            json!({
                "apiVersion": "kubevirt.io/v1",
                "kind": "KubeVirt",
                "metadata": { "name": "kubevirt", "namespace": "kubevirt" },
                "spec": { "configuration": { "developerConfiguration": { "featureGates": [
                    "Snapshot", "VMExport", "LiveMigration",
                ] } } },
            }),
            json!({
                "phase": "Deployed",
                "observedKubeVirtVersion": version,
                "operatorVersion": version,
                "targetKubeVirtVersion": version,
            }),
        ),
        (
            "/apis/cdi.kubevirt.io/v1beta1/cdis",
            json!({
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "CDI",
                "metadata": { "name": "cdi" },
                "spec": {},
            }),
            json!({ "phase": "Deployed", "observedVersion": "v1.62.0" }),
        ),
        (
            "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs",
            json!({
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "CDIConfig",
                "metadata": { "name": "config" },
                "spec": {},
            }),
            json!({
                "uploadProxyURL": sim.ingress,
                "uploadProxyCA": sim.authority.pem(),
                "scratchSpaceStorageClass": STORAGE,
            }),
        ),
    ];
    for (path, object, status) in objects {
        make(&sim.control.api, path, &object).await?;
        let path = format!("{path}/{}/status", text(&object, "/metadata/name"));
        let change = json!({ "status": status });
        let patched = sim.control.api.call(Method::PATCH, &path, Some(&change)).await;
        patched.map_err(failed("say what runs here"))?;
    }
    Ok(())
}

/// Those who may look, and change nothing.
async fn rights(api: &Upstream) -> Result<()> {
    let root = "/apis/rbac.authorization.k8s.io/v1";
    let groups = [
        "kubevirt.io",
        "subresources.kubevirt.io",
        "snapshot.kubevirt.io",
        "clone.kubevirt.io",
        "export.kubevirt.io",
        "instancetype.kubevirt.io",
        "pool.kubevirt.io",
        "migrations.kubevirt.io",
        "cdi.kubevirt.io",
        "",
    ];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "kubevirt.io:view" },
        "rules": [{ "apiGroups": groups, "resources": ["*"], "verbs": ["get", "list", "watch"] }],
    });
    make(api, &format!("{root}/clusterroles"), &role).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "hyper-sim:viewers" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "kubevirt.io:view",
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": IDENTITIES[1].2,
        }],
    });
    make(api, &format!("{root}/clusterrolebindings"), &binding).await
}

/// A machine as a client would make it.
fn machine(start: &Start, claims: &[String]) -> Value {
    let mut disks = Vec::new();
    let mut volumes = Vec::new();
    for (at, claim) in claims.iter().enumerate() {
        disks.push(json!({ "name": format!("disk{at}"), "disk": { "bus": "virtio" } }));
        volumes.push(json!({
            "name": format!("disk{at}"),
            "persistentVolumeClaim": { "claimName": claim },
        }));
    }
    if claims.is_empty() {
        disks.push(json!({ "name": "containerdisk", "disk": { "bus": "virtio" } }));
        volumes.push(json!({
            "name": "containerdisk",
            "containerDisk": { "image": "quay.io/containerdisks/debian:12" },
        }));
    }
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": start.name,
            "namespace": start.namespace,
            "labels": { "app": start.name },
        },
        "spec": {
            "runStrategy": if start.running { "Always" } else { "Halted" },
            "template": {
                "metadata": { "labels": {
                    "kubevirt.io/domain": start.name,
                    "vm.kubevirt.io/name": start.name,
                } },
                "spec": {
                    "domain": {
                        "cpu": { "cores": 1, "sockets": 2, "threads": 1 },
                        "memory": { "guest": "2Gi" },
                        "devices": {
                            "disks": disks,
                            "interfaces": [{ "name": "default", "masquerade": {} }],
                        },
                    },
                    "networks": [{ "name": "default", "pod": {} }],
                    "terminationGracePeriodSeconds": 30,
                    "volumes": volumes,
                },
            },
        },
    })
}

/// Makes machines with disks of their own.
///
/// # Errors
/// `Protocol` when the API server refuses one; those of reading an image.
pub async fn populate(sim: &Sim, machines: &[Start]) -> Result<()> {
    for start in machines {
        make(
            &sim.control.api,
            "/api/v1/namespaces",
            &json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": start.namespace },
            }),
        )
        .await?;
        let mut claims = Vec::new();
        for (at, disk) in start.disks.iter().enumerate() {
            let name = format!("{}-disk{at}", start.name);
            let claim = json!({
                "metadata": { "name": name, "namespace": start.namespace },
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "volumeMode": "Filesystem",
                    "storageClassName": STORAGE,
                    "resources": { "requests": { "storage": disk.capacity.to_string() } },
                },
            });
            let made = sim.control.create(Kind::Claim, claim).await;
            let made = made.map_err(failed("make a claim"))?;
            sim.disks.image(uid(&made), disk.clone());
            // Before anyone can ask for it: nobody should measure how fast this is.
            sim.disks.bytes(uid(&made)).await?;
            claims.push(name);
        }
        let object = machine(start, &claims);
        let made = sim.control.create(Kind::Machine, object).await;
        made.map_err(failed("make a machine"))?;
    }
    Ok(())
}

/// Makes many small machines, straight into etcd where that is ours.
///
/// # Errors
/// `Protocol` when one is refused.
pub async fn multiply(sim: &Arc<Sim>, etcd: Option<&Upstream>, names: Vec<String>) -> Result<()> {
    let mut objects = Vec::new();
    for name in names {
        let start =
            Start { namespace: "default".to_owned(), name, running: false, disks: Vec::new() };
        objects.push(machine(&start, &[]));
    }
    match etcd {
        Some(etcd) => store(sim, etcd, objects).await,
        None => send(sim, objects).await,
    }
}

/// Writes machines as the API server would have stored them, with the status they would get.
async fn store(sim: &Sim, etcd: &Upstream, mut objects: Vec<Value>) -> Result<()> {
    let root = root(etcd).await?;
    for batch in objects.chunks_mut(BATCH) {
        let mut steps = Vec::new();
        for object in batch {
            let name = text(object, "/metadata/name").to_owned();
            let id = uuid(&format!("{}/{name}", namespace(object)));
            set(object, &["metadata", "uid"], id.into());
            set(object, &["metadata", "creationTimestamp"], now().into());
            set(object, &["metadata", "generation"], 1.into());
            set(object, &["metadata", "finalizers"], json!([HOLD]));
            machine_status::fill(sim, object, None);
            let space = namespace(object);
            let key = format!("{root}/kubevirt.io/virtualmachines/{space}/{name}");
            steps.push(json!({ "request_put": {
                "key": encode(key.as_bytes()),
                "value": encode(object.to_string().as_bytes()),
            } }));
        }
        let body = json!({ "success": steps });
        let stored = etcd.call(Method::POST, "/v3/kv/txn", Some(&body)).await;
        stored.map_err(failed("store machines"))?;
    }
    Ok(())
}

/// Where the API server keeps the objects of definitions: beside the definitions.
async fn root(etcd: &Upstream) -> Result<String> {
    let all = json!({ "key": encode(b"/"), "range_end": encode(b"0"), "limit": 100,
        "keys_only": true });
    let found = etcd.call(Method::POST, "/v3/kv/range", Some(&all)).await;
    let found = found.map_err(failed("look for what is stored"))?;
    let root = list(&found, "/kvs").iter().find_map(|it| {
        let key = String::from_utf8(decode(text(it, "/key"))?).ok()?;
        Some(key.split_once("/apiextensions.k8s.io/customresourcedefinitions/")?.0.to_owned())
    });
    root.ok_or_else(|| Error::new(ErrorKind::Protocol, "there are no definitions in etcd"))
}

async fn send(sim: &Arc<Sim>, objects: Vec<Value>) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    let count = objects.len();
    let share = count.div_ceil(16).max(1);
    for part in objects.chunks(share) {
        let (sim, part) = (sim.clone(), part.to_vec());
        tasks.spawn(async move {
            for object in part {
                sim.control.create(Kind::Machine, object).await?;
            }
            Ok::<_, Fail>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok(Err(fail)) = done {
            return Err(failed("make machines")(fail));
        }
    }
    Ok(())
}

/// Waits until the controllers have seen all machines, and those that are to run do.
pub async fn settled(sim: &Sim, machines: &[Start], count: usize) {
    let runs = |start: &&Start| {
        let key = Key::new(Kind::Machine, &start.namespace, &start.name);
        let wanted = if start.running { "Running" } else { "Stopped" };
        sim.control.get(&key).is_some_and(|it| text(&it, "/status/printableStatus") == wanted)
    };
    let agent = |start: &&Start| {
        let key = Key::new(Kind::Instance, &start.namespace, &start.name);
        let connected = |it: &Value| super::json::is_condition(it, "AgentConnected");
        !start.running
            || !sim.has_agent(&start.name)
            || sim.control.get(&key).is_some_and(|it| connected(&it))
    };
    while !machines.iter().all(|start| runs(&start) && agent(&start))
        || sim.control.all(Kind::Machine, "default", |_| true).len() < count
    {
        sleep(Duration::from_millis(20)).await;
    }
}
