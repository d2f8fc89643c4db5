//! What `hyper infra` prints: the records of the provider with their context.

use hyper_common::error::Result;
use hyper_common::output::{Cell, Column, Record, cells_by_name};
use hyper_common::provider::{
    Cluster, Datacenter, Datastore, Host, Infrastructure, Network, Server, Task,
};
use serde::Serialize;

/// A record of one context.
#[derive(Debug, Clone, Serialize)]
pub struct Row<T> {
    /// The record.
    #[serde(flatten)]
    pub it: T,
    /// The context.
    pub context: String,
}

/// What can be looked at.
pub trait Shown: Serialize + Sized {
    /// Name and version of the serialised form.
    const SCHEMA: &'static str;
    /// What several of them are called.
    const WORDS: &'static str;
    /// The columns, called like the fields.
    const COLUMNS: &'static [Column];

    /// All of a provider.
    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>>;

    /// What the provider calls it.
    fn key(&self) -> &str;
}

impl<T: Shown> Record for Row<T> {
    const SCHEMA: &'static str = T::SCHEMA;
    const COLUMNS: &'static [Column] = T::COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        cells_by_name(self, T::COLUMNS)
    }

    fn name(&self) -> String {
        match self.it.key() {
            // A server is its context's.
            "" => self.context.clone(),
            key => format!("{}:@{key}", self.context),
        }
    }
}

impl Shown for Host {
    const SCHEMA: &'static str = "hyper.host/v1";
    const WORDS: &'static str = "hosts";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "HOST"),
        Column::text("cluster", "CLUSTER"),
        Column::text("connection_state", "STATE"),
        Column::text("maintenance", "MAINTENANCE"),
        Column::number("cpu_cores", "CORES"),
        Column::number("cpu_usage_mhz", "MHZ USED"),
        Column::number("memory_mb", "MEM MB"),
        Column::number("memory_usage_mb", "MB USED"),
        Column::number("num_vms", "VMS"),
        Column::text("version", "VERSION"),
        Column::text("context", "CONTEXT").wide(),
        Column::text("power_state", "POWER").wide(),
        Column::text("status", "STATUS").wide(),
        Column::text("build", "BUILD").wide(),
        Column::text("vendor", "VENDOR").wide(),
        Column::text("model", "MODEL").wide(),
        Column::text("cpu_model", "CPU").wide(),
        Column::number("cpu_threads", "THREADS").wide(),
        Column::number("cpu_mhz", "MHZ").wide(),
        Column::number("num_nics", "NICS").wide(),
        Column::text("boot_time", "STARTED").wide(),
        Column::text("uuid", "UUID").wide(),
        Column::text("datacenter", "DATACENTER").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("parent_path", "PARENT PATH").wide(),
        Column::text("id", "ID").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.hosts().await
    }

    fn key(&self) -> &str {
        &self.id
    }
}

impl Shown for Cluster {
    const SCHEMA: &'static str = "hyper.cluster/v1";
    const WORDS: &'static str = "clusters";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "CLUSTER"),
        Column::text("datacenter", "DATACENTER"),
        Column::number("num_hosts", "HOSTS"),
        Column::number("num_cpu_cores", "CORES"),
        Column::number("effective_cpu_mhz", "EFFECTIVE MHZ"),
        Column::number("effective_memory_mb", "EFFECTIVE MB"),
        Column::text("drs_enabled", "DRS"),
        Column::text("ha_enabled", "HA"),
        Column::text("drs_behavior", "DRS BEHAVIOR").wide(),
        Column::number("total_cpu_mhz", "MHZ").wide(),
        Column::number("total_memory_mb", "MB").wide(),
        Column::number("num_effective_hosts", "EFFECTIVE HOSTS").wide(),
        Column::number("num_cpu_threads", "THREADS").wide(),
        Column::text("context", "CONTEXT").wide(),
        Column::text("status", "STATUS").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("parent_path", "PARENT PATH").wide(),
        Column::text("id", "ID").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.clusters().await
    }

    fn key(&self) -> &str {
        &self.id
    }
}

impl Shown for Datacenter {
    const SCHEMA: &'static str = "hyper.datacenter/v1";
    const WORDS: &'static str = "datacenters";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "DATACENTER"),
        Column::number("num_clusters", "CLUSTERS"),
        Column::number("num_hosts", "HOSTS"),
        Column::number("num_vms", "VMS"),
        Column::number("num_datastores", "DATASTORES"),
        Column::number("num_networks", "NETWORKS"),
        Column::text("context", "CONTEXT").wide(),
        Column::text("status", "STATUS").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("id", "ID").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.datacenters().await
    }

    fn key(&self) -> &str {
        &self.id
    }
}

impl Shown for Datastore {
    const SCHEMA: &'static str = "hyper.datastore/v1";
    const WORDS: &'static str = "datastores";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "DATASTORE"),
        Column::text("type", "TYPE"),
        Column::text("datacenter", "DATACENTER"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::number("free_bytes", "FREE"),
        Column::text("accessible", "ACCESSIBLE"),
        Column::text("maintenance", "MAINTENANCE"),
        Column::number("num_hosts", "HOSTS"),
        Column::number("num_vms", "VMS"),
        Column::number("uncommitted_bytes", "UNCOMMITTED").wide(),
        Column::text("datastore_cluster", "DATASTORE CLUSTER").wide(),
        Column::text("multiple_host_access", "SHARED").wide(),
        Column::text("context", "CONTEXT").wide(),
        Column::text("status", "STATUS").wide(),
        Column::text("url", "URL").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("parent_path", "PARENT PATH").wide(),
        Column::text("id", "ID").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.datastores().await
    }

    fn key(&self) -> &str {
        &self.id
    }
}

impl Shown for Network {
    const SCHEMA: &'static str = "hyper.network/v1";
    const WORDS: &'static str = "networks";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NETWORK"),
        Column::text("type", "TYPE"),
        Column::text("vlan", "VLAN"),
        Column::text("switch", "SWITCH"),
        Column::text("datacenter", "DATACENTER"),
        Column::number("num_hosts", "HOSTS"),
        Column::number("num_vms", "VMS"),
        Column::text("uplink", "UPLINK").wide(),
        Column::text("accessible", "ACCESSIBLE").wide(),
        Column::text("context", "CONTEXT").wide(),
        Column::text("status", "STATUS").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("parent_path", "PARENT PATH").wide(),
        Column::text("id", "ID").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.networks().await
    }

    fn key(&self) -> &str {
        &self.id
    }
}

impl Shown for Server {
    const SCHEMA: &'static str = "hyper.vcenter/v1";
    const WORDS: &'static str = "servers";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "SERVER"),
        Column::text("version", "VERSION"),
        Column::text("build", "BUILD"),
        Column::number("num_datacenters", "DATACENTERS"),
        Column::number("num_clusters", "CLUSTERS"),
        Column::number("num_hosts", "HOSTS"),
        Column::number("num_vms", "VMS"),
        Column::text("context", "CONTEXT"),
        Column::text("full_name", "FULL NAME").wide(),
        Column::text("vendor", "VENDOR").wide(),
        Column::text("os_type", "OS").wide(),
        Column::text("api_type", "API").wide(),
        Column::text("api_version", "API VERSION").wide(),
        Column::text("instance_id", "INSTANCE").wide(),
        Column::number("num_datastores", "DATASTORES").wide(),
        Column::number("num_networks", "NETWORKS").wide(),
        Column::text("endpoint", "ENDPOINT").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        Ok(vec![from.server().await?])
    }

    fn key(&self) -> &str {
        ""
    }
}

impl Shown for Task {
    const SCHEMA: &'static str = "hyper.task/v1";
    const WORDS: &'static str = "tasks";
    const COLUMNS: &'static [Column] = &[
        Column::text("task_id", "TASK"),
        Column::text("name", "WHAT"),
        Column::text("entity_name", "ON"),
        Column::text("state", "STATE"),
        Column::number("progress", "PERCENT"),
        Column::text("user", "USER"),
        Column::text("start_time", "STARTED"),
        Column::text("complete_time", "ENDED"),
        Column::text("error", "ERROR"),
        Column::text("description", "DESCRIPTION").wide(),
        Column::text("reason", "REASON").wide(),
        Column::text("entity_type", "ON TYPE").wide(),
        Column::text("entity_id", "ON ID").wide(),
        Column::text("queue_time", "QUEUED").wide(),
        Column::text("context", "CONTEXT").wide(),
    ];

    async fn all(from: &dyn Infrastructure) -> Result<Vec<Self>> {
        from.tasks().await
    }

    fn key(&self) -> &str {
        &self.task_id
    }
}
