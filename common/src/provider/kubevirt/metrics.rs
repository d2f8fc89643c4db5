//! What there is (`counts.rs`), and what machines use where the cluster measures it: the group
//! metrics.k8s.io, which knows the pods that machines run in and keeps one value of each. What a
//! machine uses is what its pod does, the guest's memory and the emulator's together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use jiff::Timestamp;
use serde::Deserialize;

use super::client::escape;
use super::discovery::Resource;
use super::record::parts;
use super::wire::Meta;
use super::{Kubevirt, NAME, counts, quantity};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Entity, EntityKind, Metrics, Provider, Summary, Usage, Window};
use crate::vm::{Vm, VmFilter, VmId, VmStatus};

/// The group of usage.
const GROUP: &str = "metrics.k8s.io";
/// Pods that machines run in.
const LAUNCHERS: &str = "kubevirt.io=virt-launcher";
/// The label that names a pod's machine.
const MACHINE: &str = "vm.kubevirt.io/name";
/// The same in releases that have no such label.
const DOMAIN: &str = "kubevirt.io/domain";
/// How often a metrics server asks kubelets, unless told otherwise.
const PACE: Duration = Duration::from_secs(15);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Meta,
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
}

/// `PodMetrics`.
#[derive(Debug, Clone, Deserialize)]
struct PodMetrics {
    metadata: Meta,
    timestamp: Timestamp,
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    usage: BTreeMap<String, String>,
}

impl PodMetrics {
    /// All containers together.
    fn sum(&self, resource: &str) -> Option<f64> {
        let used = self.containers.iter().map(|it| quantity::number(it.usage.get(resource)?));
        used.sum::<Option<f64>>().filter(|_| !self.containers.is_empty())
    }

    fn usage(&self, vm: &Vm) -> Usage {
        let cores = self.sum("cpu");
        let memory = self.sum("memory").map(|bytes| bytes.max(0.0) as u64);
        let percent = |used: f64, of: f64| (of > 0.0).then(|| 100.0 * used / of);
        let window = crate::time::parse_duration(&self.window).unwrap_or_default();
        Usage {
            id: vm.id.0.clone(),
            timestamp: self.timestamp,
            interval_seconds: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
            cpu_cores: cores,
            cpu_percent: cores.and_then(|cores| percent(cores, f64::from(vm.cpus?))),
            memory_usage_bytes: memory,
            memory_percent: memory.and_then(|bytes| percent(bytes as f64, vm.memory_bytes? as f64)),
            metadata: [
                ("source".to_owned(), GROUP.to_owned()),
                ("pod".to_owned(), self.metadata.name.clone()),
            ]
            .into(),
            ..Usage::default()
        }
    }
}

#[async_trait]
impl Metrics for Kubevirt {
    async fn summary(&self) -> Result<Summary> {
        counts::summary(self).await
    }

    async fn entities(&self, kind: EntityKind, references: &[String]) -> Result<Vec<Entity>> {
        if kind != EntityKind::Vm {
            return Err(Error::unsupported(format!("{NAME} measures machines only")));
        }
        let entity = |id: VmId| {
            let name = parts(&id).1.to_owned();
            Entity { kind, id: id.0, name }
        };
        let mut found: Vec<Entity> = Vec::new();
        for reference in references {
            let entity = entity(self.resolve(reference).await?);
            if !found.contains(&entity) {
                found.push(entity);
            }
        }
        if references.is_empty() {
            let mut vms = self.list(VmFilter::default());
            while let Some(vm) = vms.try_next().await? {
                if vm.status == VmStatus::Running {
                    found.push(entity(vm.id));
                }
            }
        }
        Ok(found)
    }

    async fn usage(&self, entities: &[Entity], window: &Window) -> Result<Vec<Usage>> {
        if !matches!(window, Window::Latest { .. }) {
            return Err(Error::unsupported("a cluster keeps the latest values only")
                .with_hint("--follow shows them as they come"));
        }
        let resource = self.measured().await?;
        let ids: Vec<VmId> = entities.iter().map(|entity| VmId(entity.id.clone())).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let filter = VmFilter { ids, ..VmFilter::default() };
        let namespace = super::inventory::namespace(self, &filter);
        let query = format!("labelSelector={}", escape(LAUNCHERS));
        let client = self.client();
        let namespace = namespace.as_deref();
        let pods = client.list::<Pod>(Resource::core("pods"), namespace, query.clone());
        let metrics = client.list::<PodMetrics>(resource, namespace, query);
        let (vms, pods, metrics) = futures::try_join!(
            self.list(filter).try_collect::<Vec<Vm>>(),
            pods.try_collect::<Vec<_>>(),
            metrics.try_collect::<Vec<_>>(),
        )?;
        Ok(together(entities, &vms, &pods, &metrics))
    }

    fn pace(&self) -> Duration {
        PACE
    }
}

impl Kubevirt {
    /// Where usage is.
    async fn measured(&self) -> Result<Resource> {
        let found = self.client().resource(GROUP, "pods").await;
        found.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => {
                Error::unsupported(format!("this cluster measures no usage: it has no {GROUP}"))
                    .with_subject(&*self.context)
                    .with_hint("metrics-server is not installed in it")
            }
            _ => error,
        })
    }
}

/// The usage of machines by their pods. While a machine moves it has two; the one on its node counts.
fn together(entities: &[Entity], vms: &[Vm], pods: &[Pod], metrics: &[PodMetrics]) -> Vec<Usage> {
    let measured: HashMap<_, _> = metrics.iter().map(|it| (it.metadata.key(), it)).collect();
    let vms: HashMap<&str, &Vm> = vms.iter().map(|vm| (vm.id.0.as_str(), vm)).collect();
    let mut taken = HashSet::new();
    let mut by_vm: HashMap<String, &PodMetrics> = HashMap::new();
    for pod in pods {
        let meta = &pod.metadata;
        let named = meta.labels.get(MACHINE).or_else(|| meta.annotations.get(DOMAIN));
        let (Some(name), Some(found)) = (named, measured.get(&meta.key())) else { continue };
        let id = format!("{}/{name}", meta.namespace);
        let node = vms.get(id.as_str()).and_then(|vm| vm.node.as_deref());
        let here = node == Some(pod.spec.node_name.as_str());
        if here || !taken.contains(&id) {
            by_vm.insert(id.clone(), found);
        }
        if here {
            taken.insert(id);
        }
    }
    let usage = |entity: &Entity| {
        let vm = vms.get(entity.id.as_str())?;
        Some(by_vm.get(&entity.id)?.usage(vm))
    };
    entities.iter().filter_map(usage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Machine;

    #[test]
    fn of_two_pods_that_on_the_machines_node_counts() {
        let pod = |name: &str, node: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": name, "namespace": "a", "labels": { MACHINE: "web" } },
                "spec": { "nodeName": node },
            }))
            .unwrap()
        };
        let measured = |name: &str, cpu: &str| -> PodMetrics {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": name, "namespace": "a" },
                "timestamp": "2026-11-20T10:00:00Z", "window": "15.5s",
                "containers": [
                    { "name": "compute", "usage": { "cpu": cpu, "memory": "512Mi" } },
                    { "name": "log", "usage": { "cpu": "0", "memory": "1024Ki" } },
                ],
            }))
            .unwrap()
        };
        let mut vm = Vm::of_machine(VmId("a/web".into()), "c", NAME, &Machine::default());
        (vm.node, vm.cpus, vm.memory_bytes) = (Some("n2".into()), Some(2), Some(1 << 30));
        let entity = Entity { kind: EntityKind::Vm, id: "a/web".into(), name: "web".into() };
        let metrics = [measured("x", "1500m"), measured("y", "250m"), measured("z", "1")];
        for order in [["x", "y", "z"], ["y", "z", "x"], ["z", "x", "y"]] {
            let pods = order.map(|name| pod(name, if name == "y" { "n2" } else { "n1" }));
            let found = together(std::slice::from_ref(&entity), &[vm.clone()], &pods, &metrics);
            let [usage] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((usage.cpu_cores, usage.cpu_percent), (Some(0.25), Some(12.5)));
            assert_eq!(usage.memory_usage_bytes, Some(513 << 20));
            assert_eq!((usage.interval_seconds, &*usage.metadata["pod"]), (15, "y"));
        }
    }
}
