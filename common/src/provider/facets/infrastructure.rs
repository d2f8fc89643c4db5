//! What machines run on and are stored in, and what a platform is busy with.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::named::Named;
use crate::error::Result;

/// The infrastructure facet. Each list is whole, by path. What a platform does not tell is `None`.
/// The fields of the records are named as HyperSDK named them, with their units: MHz, and `mb` for
/// MiB.
#[async_trait]
pub trait Infrastructure: Send + Sync {
    /// The hosts.
    ///
    /// # Errors
    /// Those of the platform; `Unsupported` where it has nothing of the kind. So with the others.
    async fn hosts(&self) -> Result<Vec<Host>>;

    /// The clusters.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn clusters(&self) -> Result<Vec<Cluster>>;

    /// The datacenters.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn datacenters(&self) -> Result<Vec<Datacenter>>;

    /// The datastores.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn datastores(&self) -> Result<Vec<Datastore>>;

    /// The networks.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn networks(&self) -> Result<Vec<Network>>;

    /// The server itself.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn server(&self) -> Result<Server>;

    /// What the server does now and did lately, oldest first.
    ///
    /// # Errors
    /// As [`Infrastructure::hosts`].
    async fn tasks(&self) -> Result<Vec<Task>>;
}

/// A machine that runs others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// The path of what it is in: a cluster, or what the server makes for a host by itself.
    pub parent_path: Option<String>,
    /// What the provider calls it.
    pub id: String,
    /// The datacenter that it is in.
    pub datacenter: Option<String>,
    /// The cluster that it is in; `None` for a host by itself.
    pub cluster: Option<String>,
    /// Whether the server reaches it: `connected`, `disconnected`, `notResponding`.
    pub connection_state: Option<String>,
    /// Whether it runs: `poweredOn`, `standBy` …
    pub power_state: Option<String>,
    /// Whether it is in maintenance.
    pub maintenance: Option<bool>,
    /// How the server finds it to be: `green`.
    pub status: Option<String>,
    /// What it runs: `8.0.2`.
    pub version: Option<String>,
    /// The build of that.
    pub build: Option<String>,
    /// Who made it.
    pub vendor: Option<String>,
    /// What they call it.
    pub model: Option<String>,
    /// The hardware's UUID.
    pub uuid: Option<String>,
    /// Its processors.
    pub cpu_model: Option<String>,
    /// Their cores.
    pub cpu_cores: Option<u32>,
    /// Their threads.
    pub cpu_threads: Option<u32>,
    /// The speed of one core.
    pub cpu_mhz: Option<u64>,
    /// What is used of all cores together.
    pub cpu_usage_mhz: Option<u64>,
    /// Memory.
    pub memory_mb: Option<u64>,
    /// What is used of it.
    pub memory_usage_mb: Option<u64>,
    /// Network adapters.
    pub num_nics: Option<u32>,
    /// Machines on it.
    pub num_vms: u32,
    /// When it was started.
    pub boot_time: Option<Timestamp>,
}

/// Hosts that share machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// The path of the folder that it is in.
    pub parent_path: Option<String>,
    /// What the provider calls it.
    pub id: String,
    /// The datacenter that it is in.
    pub datacenter: Option<String>,
    /// How the server finds it to be.
    pub status: Option<String>,
    /// Processors of all hosts.
    pub total_cpu_mhz: Option<u64>,
    /// Memory of all hosts.
    pub total_memory_mb: Option<u64>,
    /// What of the processors is for machines: without hosts that cannot run any.
    pub effective_cpu_mhz: Option<u64>,
    /// The same of memory.
    pub effective_memory_mb: Option<u64>,
    /// Hosts.
    pub num_hosts: Option<u32>,
    /// Hosts that can run machines now.
    pub num_effective_hosts: Option<u32>,
    /// Cores.
    pub num_cpu_cores: Option<u32>,
    /// Threads.
    pub num_cpu_threads: Option<u32>,
    /// Whether the server balances the hosts (DRS).
    pub drs_enabled: Option<bool>,
    /// How: `manual`, `partiallyAutomated`, `fullyAutomated`.
    pub drs_behavior: Option<String>,
    /// Whether machines of a failed host are started on others (HA).
    pub ha_enabled: Option<bool>,
}

/// A datacenter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Datacenter {
    /// Its name.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// What the provider calls it.
    pub id: String,
    /// How the server finds it to be.
    pub status: Option<String>,
    /// Clusters in it.
    pub num_clusters: u32,
    /// Hosts in it, in clusters or not.
    pub num_hosts: u32,
    /// Machines in it, templates too.
    pub num_vms: u32,
    /// Datastores in it.
    pub num_datastores: u32,
    /// Networks in it.
    pub num_networks: u32,
}

/// Where disks are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Datastore {
    /// Its name.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// The path of what it is in.
    pub parent_path: Option<String>,
    /// What the provider calls it.
    pub id: String,
    /// The datacenter that it is in.
    pub datacenter: Option<String>,
    /// The cluster of datastores that it is in.
    pub datastore_cluster: Option<String>,
    /// What it is: `VMFS`, `NFS`, `vsan` …
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How the server finds it to be.
    pub status: Option<String>,
    /// Whether hosts reach it; else the sizes are the last that were known.
    pub accessible: Option<bool>,
    /// Whether it is in maintenance: `normal`, `enteringMaintenance`, `inMaintenance`.
    pub maintenance: Option<String>,
    /// Bytes that it holds.
    pub capacity_bytes: Option<u64>,
    /// Bytes that are free.
    pub free_bytes: Option<u64>,
    /// Bytes that its disks can still grow by.
    pub uncommitted_bytes: Option<u64>,
    /// Whether several hosts have it.
    pub multiple_host_access: Option<bool>,
    /// Hosts that have it.
    pub num_hosts: u32,
    /// Machines on it.
    pub num_vms: u32,
    /// Where it is, in the server's words.
    pub url: Option<String>,
}

/// What machines' network cards are plugged into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// The path of the folder that it is in.
    pub parent_path: Option<String>,
    /// What the provider calls it.
    pub id: String,
    /// The datacenter that it is in.
    pub datacenter: Option<String>,
    /// What it is: `standard`, `distributed`, `opaque`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The distributed switch that it is part of.
    pub switch: Option<String>,
    /// Its VLAN where it is distributed: `100`, ranges for a trunk (`1-10,20`), `private 7`.
    pub vlan: Option<String>,
    /// Whether it leads out of a distributed switch and is not for machines.
    pub uplink: Option<bool>,
    /// How the server finds it to be.
    pub status: Option<String>,
    /// Whether hosts reach it.
    pub accessible: Option<bool>,
    /// Hosts that have it.
    pub num_hosts: u32,
    /// Machines on it.
    pub num_vms: u32,
}

/// A server that manages all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Server {
    /// What it calls itself.
    pub name: String,
    /// The same with version and build.
    pub full_name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The build of that.
    pub build: Option<String>,
    /// Who made it.
    pub vendor: Option<String>,
    /// What it runs on, in its words.
    pub os_type: Option<String>,
    /// `VirtualCenter`, or `HostAgent` for a host by itself.
    pub api_type: Option<String>,
    /// The version of its interface.
    pub api_version: Option<String>,
    /// Its own UUID; a host by itself has none.
    pub instance_id: Option<String>,
    /// Where it is, without credentials.
    pub endpoint: String,
    /// Datacenters that it manages.
    pub num_datacenters: u32,
    /// Clusters.
    pub num_clusters: u32,
    /// Hosts.
    pub num_hosts: u32,
    /// Machines, templates too.
    pub num_vms: u32,
    /// Datastores.
    pub num_datastores: u32,
    /// Networks.
    pub num_networks: u32,
}

/// What a server does on its own time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Task {
    /// What the provider calls it.
    pub task_id: String,
    /// What is done: `PowerOnVM_Task`.
    pub name: String,
    /// The same for people, or by its key: `VirtualMachine.powerOn`.
    pub description: Option<String>,
    /// `queued`, `running`, `success` or `error`.
    pub state: String,
    /// Hundredths that are done, while the server tells.
    pub progress: Option<u8>,
    /// What it is done to.
    pub entity_name: Option<String>,
    /// What that is: `VirtualMachine`.
    pub entity_type: Option<String>,
    /// What the provider calls that.
    pub entity_id: Option<String>,
    /// Why: `user`, `schedule`, `alarm` or `system`.
    pub reason: Option<&'static str>,
    /// Who wanted it; the schedule's or alarm's name where it was one.
    pub user: Option<String>,
    /// When it was asked for.
    pub queue_time: Option<Timestamp>,
    /// When it began.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub complete_time: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

macro_rules! named {
    ($kind:ident, $word:literal, $id:ident, $path:expr) => {
        impl Named for $kind {
            const WORD: &'static str = $word;

            fn id(&self) -> &str {
                &self.$id
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn path(&self) -> Option<&str> {
                let path: fn(&Self) -> Option<&str> = $path;
                path(self)
            }
        }
    };
}

named!(Host, "host", id, |it| it.path.as_deref());
named!(Cluster, "cluster", id, |it| it.path.as_deref());
named!(Datacenter, "datacenter", id, |it| it.path.as_deref());
named!(Datastore, "datastore", id, |it| it.path.as_deref());
named!(Network, "network", id, |it| it.path.as_deref());
named!(Task, "task", task_id, |_| None);
