//! How much there is, and how much of it is used.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::vm::{Vm, VmStatus};

/// The metrics facet.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// What there is in the place that the context's lists are about.
    ///
    /// # Errors
    /// Those of listing.
    async fn summary(&self) -> Result<Summary>;

    /// The things of a kind that are named by references, in that order and each once; all that can
    /// be measured where none is named.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where several are meant by one; `Unsupported` for a kind that the
    /// platform does not measure.
    async fn entities(&self, kind: EntityKind, references: &[String]) -> Result<Vec<Entity>>;

    /// The usage of these, those of each sorted in time. Of what is switched off there is none.
    ///
    /// # Errors
    /// `Unsupported` where the platform keeps no such values; those of asking.
    async fn usage(&self, entities: &[Entity], window: &Window) -> Result<Vec<Usage>>;

    /// How often the platform has new values.
    fn pace(&self) -> Duration;
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// A virtual machine.
    Vm,
    /// A host.
    Host,
    /// A cluster of hosts.
    Cluster,
}

impl EntityKind {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Host => "host",
            Self::Cluster => "cluster",
        }
    }
}

/// Something that can be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// What the platform calls it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Which values are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// So many of the latest, as fine as the platform has them.
    Latest {
        /// How many of each thing, at most.
        samples: u32,
    },
    /// All values of the last hour, as fine as the platform has them.
    Recent,
    /// What the platform keeps of the past.
    History {
        /// From here.
        start: Timestamp,
        /// Until here.
        end: Timestamp,
        /// The time that one value is about, at least; the finest that reaches back so far where it
        /// is not given.
        interval: Option<Duration>,
    },
}

/// How much of its resources something used in an interval. What the platform does not tell is not
/// known. A megabyte is 1024 kilobytes of 1024 bytes, as vSphere counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The thing's identifier.
    #[serde(rename = "entity_id")]
    pub id: String,
    /// The end of the interval.
    pub timestamp: Timestamp,
    /// Its length in seconds.
    pub interval_seconds: u32,
    /// Processors, in processors kept busy.
    pub cpu_cores: Option<f64>,
    /// Processors, in megahertz.
    pub cpu_usage_mhz: Option<f64>,
    /// Processors, of those that it has.
    pub cpu_percent: Option<f64>,
    /// Memory in bytes.
    pub memory_usage_bytes: Option<u64>,
    /// Memory, of what it has.
    pub memory_percent: Option<f64>,
    /// Megabytes read from disks each second.
    pub disk_read_mbps: Option<f64>,
    /// Megabytes written to disks each second.
    pub disk_write_mbps: Option<f64>,
    /// Megabytes received each second.
    pub net_rx_mbps: Option<f64>,
    /// Megabytes sent each second.
    pub net_tx_mbps: Option<f64>,
    /// Whether it was put together from what its parts used.
    pub derived: bool,
    /// Where it comes from.
    pub metadata: BTreeMap<String, String>,
}

/// What there is in a place. What a platform does not have, or does not tell, is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Where that is: the server, and the namespace where it is about one. Contexts may lead to the
    /// same place.
    pub place: String,
    /// Machines.
    pub vms: u64,
    /// Those that run.
    pub vms_running: u64,
    /// Those that are off.
    pub vms_stopped: u64,
    /// Those that are held.
    pub vms_paused: u64,
    /// Those that are on their way up.
    pub vms_starting: u64,
    /// Those that are on their way down.
    pub vms_stopping: u64,
    /// Those that failed.
    pub vms_failed: u64,
    /// Those of which nobody knows.
    pub vms_unknown: u64,
    /// Machines by the platform's own words.
    pub phases: BTreeMap<String, u64>,
    /// Processors of all machines whose size is known.
    pub cpus: u64,
    /// Memory of all machines whose size is known, in bytes.
    pub memory_bytes: u64,
    /// Machines whose processors or memory are not known.
    pub vms_of_unknown_size: u64,
    /// Templates.
    pub templates: Option<u64>,
    /// Snapshots of machines.
    pub snapshots: Option<u64>,
    /// Backups.
    pub backups: Option<u64>,
    /// Backups that are complete.
    pub backups_completed: Option<u64>,
    /// Backups that failed.
    pub backups_failed: Option<u64>,
    /// Restores.
    pub restores: Option<u64>,
    /// Restores that are complete.
    pub restores_completed: Option<u64>,
    /// How the platform's own operator is, in its words.
    pub operator_status: Option<String>,
    /// Its replicas that are ready.
    pub operator_replicas: Option<u64>,
}

impl Summary {
    /// Counts a machine.
    pub fn count(&mut self, vm: &Vm) {
        let word = vm.state.as_deref().unwrap_or(vm.status.name());
        self.count_status(vm.status, word);
        self.count_size(vm.cpus, vm.memory_bytes);
    }

    /// Counts a machine that is so, in the platform's own word.
    pub fn count_status(&mut self, status: VmStatus, word: &str) {
        self.vms += 1;
        *self.phases.entry(word.to_owned()).or_default() += 1;
        *match status {
            VmStatus::Running => &mut self.vms_running,
            VmStatus::Stopped => &mut self.vms_stopped,
            VmStatus::Paused => &mut self.vms_paused,
            VmStatus::Starting => &mut self.vms_starting,
            VmStatus::Stopping => &mut self.vms_stopping,
            VmStatus::Failed => &mut self.vms_failed,
            VmStatus::Unknown => &mut self.vms_unknown,
        } += 1;
    }

    /// Counts the size of a machine.
    pub fn count_size(&mut self, cpus: Option<u32>, memory_bytes: Option<u64>) {
        self.cpus = self.cpus.saturating_add(cpus.map_or(0, u64::from));
        self.memory_bytes = self.memory_bytes.saturating_add(memory_bytes.unwrap_or(0));
        self.vms_of_unknown_size += u64::from(cpus.is_none() || memory_bytes.is_none());
    }

    /// Adds another place. What only one of both knows counts as far as it is known; two operators
    /// that are not alike are told side by side.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.vms, other.vms),
            (&mut self.vms_running, other.vms_running),
            (&mut self.vms_stopped, other.vms_stopped),
            (&mut self.vms_paused, other.vms_paused),
            (&mut self.vms_starting, other.vms_starting),
            (&mut self.vms_stopping, other.vms_stopping),
            (&mut self.vms_failed, other.vms_failed),
            (&mut self.vms_unknown, other.vms_unknown),
            (&mut self.cpus, other.cpus),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.vms_of_unknown_size, other.vms_of_unknown_size),
        ];
        for (own, more) in pairs {
            *own = own.saturating_add(more);
        }
        let known = [
            (&mut self.templates, other.templates),
            (&mut self.snapshots, other.snapshots),
            (&mut self.backups, other.backups),
            (&mut self.backups_completed, other.backups_completed),
            (&mut self.backups_failed, other.backups_failed),
            (&mut self.restores, other.restores),
            (&mut self.restores_completed, other.restores_completed),
            (&mut self.operator_replicas, other.operator_replicas),
        ];
        for (own, more) in known {
            *own = match (*own, more) {
                (Some(own), Some(more)) => Some(own.saturating_add(more)),
                (own, more) => own.or(more),
            };
        }
        for (word, count) in &other.phases {
            *self.phases.entry(word.clone()).or_default() += count;
        }
        self.operator_status = match (self.operator_status.take(), &other.operator_status) {
            (Some(own), Some(more)) if !own.split(';').any(|it| it == more) => {
                Some(format!("{own};{more}"))
            }
            (own, more) => own.or(more.clone()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_stays_unknown_and_what_one_knows_counts() {
        let mut all = Summary::default();
        all.count_status(VmStatus::Running, "Migrating");
        all.count_size(Some(2), None);
        let mut other = Summary { snapshots: Some(3), ..Summary::default() };
        other.count_status(VmStatus::Running, "Running");
        other.count_size(Some(4), Some(1 << 30));
        other.operator_status = Some("Deployed".into());
        all.add(&other);
        all.add(&other);
        assert_eq!((all.vms, all.vms_running, all.cpus), (3, 3, 10));
        assert_eq!((all.memory_bytes, all.vms_of_unknown_size), (2 << 30, 1));
        assert_eq!((all.snapshots, all.templates), (Some(6), None));
        assert_eq!(all.phases, [("Migrating".into(), 1), ("Running".into(), 2)].into());
        assert_eq!(all.operator_status.as_deref(), Some("Deployed"));
    }
}
