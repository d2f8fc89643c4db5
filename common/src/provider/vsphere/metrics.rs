//! What there is, and what machines, hosts and clusters use. Hosts measure themselves and their
//! machines every 20 seconds and keep an hour of that; vCenter keeps the past in rollups. Of
//! clusters it has rollups alone: what they use now is put together from their hosts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use jiff::Timestamp;

use super::counters::{Counters, REALTIME, Rollup, Span, rollups};
use super::inventory::{MACHINE, each_machine, place};
use super::names::Names;
use super::place::{self, Kind};
use super::property::{Object, Properties};
use super::record::status;
use super::soap::{MoRef, Value};
use super::{NAME, Vsphere};
use crate::error::Result;
use crate::provider::{Entity, EntityKind, Metrics, Provider, Summary, Usage, Window};
use crate::vm::{VmFilter, VmStatus};

/// Real-time samples of an hour: what hosts keep.
const HOUR: u32 = 3600 / REALTIME;

/// What machines are counted by.
const PATHS: [&str; 6] = [
    "runtime.powerState",
    "runtime.connectionState",
    "config.template",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "snapshot.rootSnapshotList",
];

#[async_trait]
impl Metrics for Vsphere {
    async fn summary(&self) -> Result<Summary> {
        let client = &self.client;
        let names = Names::read(client).await?;
        let top = place(client, &names, None).await?;
        let found = Arc::new(Mutex::new(Summary::default()));
        let into = found.clone();
        let take = move |object: Object| {
            let mut summary = into.lock().unwrap_or_else(PoisonError::into_inner);
            count(&mut summary, &object.properties);
            Ok(true)
        };
        each_machine(client, &top, &PATHS, Box::new(take)).await?;
        let mut summary =
            std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        let endpoint = client.endpoint();
        summary.place = endpoint.place.clone();
        if let Some(datacenter) = &endpoint.server.datacenter {
            summary.place.push('/');
            summary.place.push_str(datacenter.trim_matches('/'));
        }
        // None of them need not be told.
        summary.templates.get_or_insert(0);
        summary.snapshots.get_or_insert(0);
        Ok(summary)
    }

    async fn entities(&self, kind: EntityKind, references: &[String]) -> Result<Vec<Entity>> {
        match kind {
            EntityKind::Vm => self.machines(references).await,
            EntityKind::Host => self.places(kind, Kind::Host, references).await,
            EntityKind::Cluster => self.places(kind, Kind::Cluster, references).await,
        }
    }

    async fn usage(&self, entities: &[Entity], window: &Window) -> Result<Vec<Usage>> {
        if entities.is_empty() {
            return Ok(Vec::new());
        }
        let counters = Counters::read(&self.client).await?;
        let span = match window {
            Window::Latest { samples } => Span::Realtime((*samples).min(HOUR)),
            Window::Recent => Span::Realtime(HOUR),
            Window::History { start, end, interval } => {
                let age = Timestamp::now().duration_since(*start);
                let age = Duration::try_from(age).unwrap_or_default();
                let rollup = Rollup::choose(rollups(&self.client).await?, *interval, age);
                Span::History { start: *start, end: *end, rollup }
            }
        };
        let things: Vec<MoRef> = entities.iter().map(thing).collect();
        let clusters = entities.iter().any(|it| it.kind == EntityKind::Cluster);
        let usage = match &span {
            Span::Realtime(samples) if clusters => {
                let mut usage = Vec::new();
                for cluster in &things {
                    usage.extend(self.of_hosts(&counters, cluster, *samples).await?);
                }
                usage
            }
            span => counters.query(&self.client, &things, span).await?,
        };
        let words = match &span {
            Span::Realtime(_) => format!("real time, {REALTIME} s"),
            Span::History { rollup, .. } => rollup.words(),
        };
        let source = |mut usage: Usage| {
            usage.metadata.insert("source".to_owned(), NAME.to_owned());
            usage.metadata.insert("rollup".to_owned(), words.clone());
            usage
        };
        Ok(usage.into_iter().map(source).collect())
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(REALTIME.into())
    }
}

impl Vsphere {
    /// The machines that are named, or all that run.
    async fn machines(&self, references: &[String]) -> Result<Vec<Entity>> {
        let entity = |id: String, name: String| Entity { kind: EntityKind::Vm, id, name };
        if references.is_empty() {
            let vms = self.list(VmFilter::default());
            let running = vms.try_filter(|vm| std::future::ready(vm.status == VmStatus::Running));
            return running.map_ok(|vm| entity(vm.id.0, vm.name)).try_collect().await;
        }
        let mut ids: Vec<MoRef> = Vec::new();
        for reference in references {
            let id = MoRef::new(MACHINE, self.resolve(reference).await?.0);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let found = self.client.objects(&ids, &["name"]).await?;
        let named = |id: &MoRef| {
            let object = found.iter().find(|object| object.id == *id)?;
            Some(entity(id.value.clone(), object.properties.str("name")?.to_owned()))
        };
        Ok(ids.iter().filter_map(named).collect())
    }

    /// The hosts or clusters that are named, or all.
    async fn places(
        &self,
        kind: EntityKind,
        what: Kind,
        references: &[String],
    ) -> Result<Vec<Entity>> {
        let names = Names::read(&self.client).await?;
        let mut found: Vec<(String, Entity)> = Vec::new();
        let all = names.of_types(what.types());
        let entity =
            |id: &MoRef, name: &str| Entity { kind, id: id.value.clone(), name: name.to_owned() };
        if references.is_empty() {
            found.extend(all.map(|(id, name, path)| (path, entity(&id, name))));
            found.sort_by(|a, b| a.0.cmp(&b.0));
        }
        for reference in references {
            let id = match reference.strip_prefix('@') {
                Some(id) if names.name(id).is_some() => MoRef::new("", id),
                _ => place::find(&self.client, &names, what, reference).await?,
            };
            let entity = entity(&id, names.name(&id.value).unwrap_or(reference));
            if !found.iter().any(|(_, other)| *other == entity) {
                found.push((String::new(), entity));
            }
        }
        Ok(found.into_iter().map(|(_, entity)| entity).collect())
    }

    /// What a cluster uses now: what its hosts use together.
    async fn of_hosts(
        &self,
        counters: &Counters,
        cluster: &MoRef,
        samples: u32,
    ) -> Result<Vec<Usage>> {
        let found = self.client.properties(cluster, &["host"]).await?;
        let hosts = found.get("host").map_or(&[][..], |it| &it.children);
        let hosts: Vec<MoRef> = hosts.iter().filter_map(Value::reference).collect();
        let sizes = [
            "summary.hardware.cpuMhz",
            "summary.hardware.numCpuCores",
            "summary.hardware.memorySize",
        ];
        let size = |object: &Object| {
            let number = |path: &str| object.properties.number::<f64>(path);
            Some((number(sizes[0])? * number(sizes[1])?, number(sizes[2])?))
        };
        let sizes = self.client.objects(&hosts, &sizes).await?;
        let usage = counters.query(&self.client, &hosts, &Span::Realtime(samples)).await?;
        // Hosts that do not answer have no values, and count for nothing.
        let measured = |object: &&Object| usage.iter().any(|it| it.id == object.id.value);
        let sizes: Option<Vec<_>> = sizes.iter().filter(measured).map(size).collect();
        let total = sizes.map(|all| all.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1)));
        Ok(together(&cluster.value, usage, total))
    }
}

/// The object of an entity.
fn thing(entity: &Entity) -> MoRef {
    let kind = match entity.kind {
        EntityKind::Vm => MACHINE,
        EntityKind::Host => "HostSystem",
        EntityKind::Cluster => "ClusterComputeResource",
    };
    MoRef::new(kind, &entity.id)
}

/// Counts a machine, or a template.
fn count(summary: &mut Summary, properties: &Properties) {
    let roots = properties.get("snapshot.rootSnapshotList").map_or(&[][..], |it| &it.children);
    *summary.snapshots.get_or_insert(0) += roots.iter().map(tree).sum::<u64>();
    if properties.flag("config.template") == Some(true) {
        *summary.templates.get_or_insert(0) += 1;
        return;
    }
    let status = status(properties);
    summary.count_status(status, properties.str("runtime.powerState").unwrap_or(status.name()));
    let memory = properties.number::<u64>("config.hardware.memoryMB");
    let memory = memory.and_then(|mib| mib.checked_mul(1 << 20));
    summary.count_size(properties.number("config.hardware.numCPU"), memory);
}

/// A snapshot and all that follow it.
fn tree(snapshot: &Value) -> u64 {
    let mut open = vec![snapshot];
    let mut count = 0;
    while let Some(snapshot) = open.pop() {
        count += 1;
        open.extend(snapshot.all("childSnapshotList"));
    }
    count
}

/// The sums of what hosts measured at the same time, the oldest first, where all of them did. `total`
/// are the megahertz and the memory that they have.
fn together(id: &str, mut usage: Vec<Usage>, total: Option<(f64, f64)>) -> Vec<Usage> {
    usage.sort_by_key(|it| it.timestamp);
    let mut hosts: Vec<&str> = usage.iter().map(|it| it.id.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let count = hosts.len();
    let mut groups: Vec<Vec<&Usage>> = Vec::new();
    for sample in &usage {
        // Clocks differ a little; the next sample is a whole interval away.
        let apart = |first: &Usage| sample.timestamp.duration_since(first.timestamp).as_secs();
        match groups.last_mut() {
            Some(group) if apart(group[0]) < i64::from(REALTIME) / 2 => group.push(sample),
            _ => groups.push(vec![sample]),
        }
    }
    let whole = groups.into_iter().filter(|group| group.len() == count);
    whole.map(|group| sum(id, &group, total)).collect()
}

fn sum(id: &str, group: &[&Usage], total: Option<(f64, f64)>) -> Usage {
    let add = |of: fn(&Usage) -> Option<f64>| group.iter().map(|it| of(it)).sum::<Option<f64>>();
    let mhz = add(|it| it.cpu_usage_mhz);
    let memory = group.iter().map(|it| it.memory_usage_bytes).sum::<Option<u64>>();
    let share = |used: Option<f64>, of: Option<f64>| {
        let of = of.filter(|of| *of > 0.0)?;
        Some(100.0 * used? / of)
    };
    Usage {
        id: id.to_owned(),
        timestamp: group.iter().map(|it| it.timestamp).max().unwrap_or_default(),
        interval_seconds: REALTIME,
        cpu_usage_mhz: mhz,
        cpu_percent: share(mhz, total.map(|it| it.0)),
        memory_usage_bytes: memory,
        memory_percent: share(memory.map(|it| it as f64), total.map(|it| it.1)),
        disk_read_mbps: add(|it| it.disk_read_mbps),
        disk_write_mbps: add(|it| it.disk_write_mbps),
        net_rx_mbps: add(|it| it.net_rx_mbps),
        net_tx_mbps: add(|it| it.net_tx_mbps),
        derived: true,
        metadata: [("hosts".to_owned(), group.len().to_string())].into(),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_hosts_measured_at_a_time_is_summed() {
        let host = |id: &str, at: &str, mhz: f64, kib: u64| Usage {
            id: id.into(),
            timestamp: at.parse().unwrap(),
            cpu_usage_mhz: Some(mhz),
            memory_usage_bytes: Some(kib << 10),
            ..Usage::default()
        };
        let usage = vec![
            host("a", "2026-11-20T10:00:20Z", 300.0, 1),
            host("a", "2026-11-20T10:00:00.1Z", 100.0, 2),
            host("b", "2026-11-20T10:00:00Z", 200.0, 4),
            host("b", "2026-11-20T10:00:20.2Z", 400.0, 8),
            host("b", "2026-11-20T10:00:40Z", 500.0, 16),
        ];
        let found = together("c", usage, Some((1000.0, f64::from(1 << 20))));
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.cpu_usage_mhz, it.cpu_percent, it.memory_usage_bytes, it.derived))
            .collect();
        let expected = [
            (Some(300.0), Some(30.0), Some(6 << 10), true),
            (Some(700.0), Some(70.0), Some(9 << 10), true),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[0].disk_read_mbps, None, "what one does not tell nobody knows");
    }
}
