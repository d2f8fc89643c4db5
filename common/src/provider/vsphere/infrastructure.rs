//! Hosts, clusters, datacenters, datastores and networks (the managed objects of these names,
//! vSphere API reference). The server itself and its tasks are in `server.rs`.

use std::collections::HashMap;

use async_trait::async_trait;

use super::Vsphere;
use super::inventory::MACHINE;
use super::names::Names;
use super::objects::all_of;
use super::property::{Object, Properties};
use super::server;
use super::soap::{MoRef, Value};
use crate::error::Result;
use crate::provider::facets::infrastructure::{
    Cluster, Datacenter, Datastore, Host, Infrastructure, Network, Server, Task,
};

const HOST: [&str; 11] = [
    "name",
    "parent",
    "summary.hardware",
    "summary.config.product",
    "summary.quickStats",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "runtime.bootTime",
    "overallStatus",
    "vm",
];

/// `configurationEx` whole: the parts are those of a subtype, which a path does not lead to on
/// every server.
const CLUSTER: [&str; 5] = ["name", "parent", "summary", "configurationEx", "overallStatus"];

const DATACENTER: [&str; 5] = ["name", "parent", "datastore", "network", "overallStatus"];

const DATASTORE: [&str; 6] = ["name", "parent", "summary", "host", "vm", "overallStatus"];

const NETWORK: [&str; 6] = ["name", "parent", "summary.accessible", "host", "vm", "overallStatus"];

const PORT_GROUP: &str = "DistributedVirtualPortgroup";

#[async_trait]
impl Infrastructure for Vsphere {
    async fn hosts(&self) -> Result<Vec<Host>> {
        let names = Names::read(self.client()).await?;
        let read = move |object: &Object| host(&names, object);
        let mut all = all_of(self.client(), &[("HostSystem", &HOST[..])], read).await?;
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(all)
    }

    async fn clusters(&self) -> Result<Vec<Cluster>> {
        let names = Names::read(self.client()).await?;
        let read = move |object: &Object| cluster(&names, object);
        let mut all =
            all_of(self.client(), &[("ClusterComputeResource", &CLUSTER[..])], read).await?;
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(all)
    }

    async fn datacenters(&self) -> Result<Vec<Datacenter>> {
        let names = std::sync::Arc::new(Names::read(self.client()).await?);
        let around = names.clone();
        let read = move |object: &Object| {
            let mut parent = ["parent", "parentVApp"].into_iter();
            let parent = parent.find_map(|path| object.properties.reference(path))?;
            around.above(&parent.value, "Datacenter").map(str::to_owned)
        };
        let machines = [(MACHINE, &["parent", "parentVApp"][..])];
        let mut vms: HashMap<Option<String>, u32> = HashMap::new();
        for datacenter in all_of(self.client(), &machines, read).await? {
            *vms.entry(datacenter).or_default() += 1;
        }
        let read = move |object: &Object| datacenter(&names, &vms, object);
        let mut all = all_of(self.client(), &[("Datacenter", &DATACENTER[..])], read).await?;
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(all)
    }

    async fn datastores(&self) -> Result<Vec<Datastore>> {
        let names = Names::read(self.client()).await?;
        let read = move |object: &Object| datastore(&names, object);
        let mut all = all_of(self.client(), &[("Datastore", &DATASTORE[..])], read).await?;
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(all)
    }

    async fn networks(&self) -> Result<Vec<Network>> {
        let client = self.client();
        let names = Names::read(client).await?;
        // The types below Network come with it on some servers, and only by their own names on
        // others.
        let kinds = ["Network", PORT_GROUP, "OpaqueNetwork"].map(|kind| (kind, &NETWORK[..]));
        let mut all = all_of(client, &kinds, move |object| network(&names, object)).await?;
        if all.iter().any(|it| it.kind == "distributed") {
            let groups = all_of(client, &[(PORT_GROUP, &["config"][..])], port_group).await?;
            let switches = ["DistributedVirtualSwitch", "VmwareDistributedVirtualSwitch"];
            let switches = switches.map(|kind| (kind, &["name"][..]));
            let name =
                |it: &Object| (it.id.value.clone(), it.properties.str("name").map(str::to_owned));
            let switches: HashMap<_, _> =
                all_of(client, &switches, name).await?.into_iter().collect();
            let mut groups: HashMap<_, _> = groups.into_iter().collect();
            for network in &mut all {
                let Some(group) = groups.remove(&network.id) else { continue };
                network.switch = group.switch.and_then(|id| switches.get(&id).cloned().flatten());
                network.vlan = group.vlan;
                network.uplink = group.uplink;
            }
        }
        all.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(all)
    }

    async fn server(&self) -> Result<Server> {
        server::about(self.client()).await
    }

    async fn tasks(&self) -> Result<Vec<Task>> {
        server::recent_tasks(self.client()).await
    }
}

/// The text of a property.
fn text(properties: &Properties, path: &str) -> Option<String> {
    properties.str(path).map(str::to_owned)
}

/// How many objects a property refers to.
fn count(properties: &Properties, path: &str) -> u32 {
    let list = properties.get(path).into_iter();
    let all = list.flat_map(|array| array.all("ManagedObjectReference"));
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// The path of what an object is in.
fn parent_path(names: &Names, properties: &Properties) -> Option<String> {
    names.path_to(&properties.reference("parent")?.value)
}

fn datacenter_of(names: &Names, id: &MoRef) -> Option<String> {
    names.around(&id.value, "Datacenter").map(str::to_owned)
}

fn host(names: &Names, object: &Object) -> Host {
    let Object { id, properties } = object;
    let part = |path: &str, name: &str| properties.get(path).and_then(|it| it.at(name));
    let words = |path: &str, name: &str| {
        part(path, name).map(|it| it.text.clone()).filter(|text| !text.is_empty())
    };
    let number = |path: &str, name: &str| properties.get(path)?.number::<u64>(name);
    let small = |path: &str, name: &str| properties.get(path)?.number::<u32>(name);
    let (hardware, product, now) =
        ("summary.hardware", "summary.config.product", "summary.quickStats");
    Host {
        name: text(properties, "name").unwrap_or_default(),
        path: names.path_to(&id.value),
        parent_path: parent_path(names, properties),
        id: id.value.clone(),
        datacenter: datacenter_of(names, id),
        cluster: names.around(&id.value, "ClusterComputeResource").map(str::to_owned),
        connection_state: text(properties, "runtime.connectionState"),
        power_state: text(properties, "runtime.powerState"),
        maintenance: properties.flag("runtime.inMaintenanceMode"),
        status: text(properties, "overallStatus"),
        version: words(product, "version"),
        build: words(product, "build"),
        vendor: words(hardware, "vendor"),
        model: words(hardware, "model"),
        uuid: words(hardware, "uuid").map(|uuid| uuid.to_ascii_lowercase()),
        cpu_model: words(hardware, "cpuModel"),
        cpu_cores: small(hardware, "numCpuCores"),
        cpu_threads: small(hardware, "numCpuThreads"),
        cpu_mhz: number(hardware, "cpuMhz"),
        cpu_usage_mhz: number(now, "overallCpuUsage"),
        memory_mb: number(hardware, "memorySize").map(|bytes| bytes >> 20),
        memory_usage_mb: number(now, "overallMemoryUsage"),
        num_nics: small(hardware, "numNics"),
        num_vms: count(properties, "vm"),
        boot_time: properties.str("runtime.bootTime").and_then(|time| time.parse().ok()),
    }
}

fn cluster(names: &Names, object: &Object) -> Cluster {
    let Object { id, properties } = object;
    let number = |name: &str| properties.get("summary")?.number::<u64>(name);
    let small = |name: &str| properties.get("summary")?.number::<u32>(name);
    let config = |path: &str| properties.get("configurationEx").and_then(|it| it.at(path));
    let flag = |path: &str| properties.get("configurationEx")?.flag(path);
    Cluster {
        name: text(properties, "name").unwrap_or_default(),
        path: names.path_to(&id.value),
        parent_path: parent_path(names, properties),
        id: id.value.clone(),
        datacenter: datacenter_of(names, id),
        status: text(properties, "overallStatus"),
        total_cpu_mhz: number("totalCpu"),
        // Of these two the API counts the first in bytes and the second in MiB.
        total_memory_mb: number("totalMemory").map(|bytes| bytes >> 20),
        effective_memory_mb: number("effectiveMemory"),
        effective_cpu_mhz: number("effectiveCpu"),
        num_hosts: small("numHosts"),
        num_effective_hosts: small("numEffectiveHosts"),
        num_cpu_cores: small("numCpuCores"),
        num_cpu_threads: small("numCpuThreads"),
        drs_enabled: flag("drsConfig.enabled"),
        drs_behavior: config("drsConfig.defaultVmBehavior").map(|it| it.text.clone()),
        ha_enabled: flag("dasConfig.enabled"),
    }
}

fn datacenter(names: &Names, vms: &HashMap<Option<String>, u32>, object: &Object) -> Datacenter {
    let Object { id, properties } = object;
    let inside = |kind: &str| names.count(&[kind], Some(&id.value));
    Datacenter {
        name: text(properties, "name").unwrap_or_default(),
        path: names.path_to(&id.value),
        id: id.value.clone(),
        status: text(properties, "overallStatus"),
        num_clusters: inside("ClusterComputeResource"),
        num_hosts: inside("HostSystem"),
        num_vms: vms.get(&Some(id.value.clone())).copied().unwrap_or(0),
        num_datastores: count(properties, "datastore"),
        num_networks: count(properties, "network"),
    }
}

fn datastore(names: &Names, object: &Object) -> Datastore {
    let Object { id, properties } = object;
    let summary = properties.get("summary");
    let words = |name: &str| summary.and_then(|it| it.str(name)).map(str::to_owned);
    let bytes = |name: &str| summary.and_then(|it| it.number::<u64>(name));
    let flag = |name: &str| summary.and_then(|it| it.flag(name));
    Datastore {
        name: text(properties, "name").unwrap_or_default(),
        path: names.path_to(&id.value),
        parent_path: parent_path(names, properties),
        id: id.value.clone(),
        datacenter: datacenter_of(names, id),
        datastore_cluster: names.around(&id.value, "StoragePod").map(str::to_owned),
        kind: words("type"),
        status: text(properties, "overallStatus"),
        accessible: flag("accessible"),
        maintenance: words("maintenanceMode"),
        capacity_bytes: bytes("capacity"),
        free_bytes: bytes("freeSpace"),
        uncommitted_bytes: bytes("uncommitted"),
        multiple_host_access: flag("multipleHostAccess"),
        num_hosts: mounts(properties),
        num_vms: count(properties, "vm"),
        url: words("url"),
    }
}

/// How many hosts have a datastore.
fn mounts(properties: &Properties) -> u32 {
    let list = properties.get("host").into_iter();
    let all = list.flat_map(|array| array.all("DatastoreHostMount"));
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

fn network(names: &Names, object: &Object) -> Network {
    let Object { id, properties } = object;
    Network {
        name: text(properties, "name").unwrap_or_default(),
        path: names.path_to(&id.value),
        parent_path: parent_path(names, properties),
        id: id.value.clone(),
        datacenter: datacenter_of(names, id),
        kind: match id.kind.as_str() {
            PORT_GROUP => "distributed",
            "OpaqueNetwork" => "opaque",
            _ => "standard",
        },
        status: text(properties, "overallStatus"),
        accessible: properties.flag("summary.accessible"),
        num_hosts: count(properties, "host"),
        num_vms: count(properties, "vm"),
        ..Network::default()
    }
}

/// What only distributed port groups have.
struct PortGroup {
    switch: Option<String>,
    vlan: Option<String>,
    uplink: Option<bool>,
}

fn port_group(object: &Object) -> (String, PortGroup) {
    let config = object.properties.get("config");
    let switch = config.and_then(|it| it.child("distributedVirtualSwitch")?.reference());
    let group = PortGroup {
        switch: switch.map(|it| it.value),
        vlan: config.and_then(|it| vlan(it.at("defaultPortConfig.vlan")?)),
        uplink: config.and_then(|it| it.flag("uplink")),
    };
    (object.id.value.clone(), group)
}

/// A VmwareDistributedVirtualSwitchVlanSpec in words.
fn vlan(spec: &Value) -> Option<String> {
    if let Some(private) = spec.str("pvlanId") {
        return Some(format!("private {private}"));
    }
    let range = |it: &Value| match (it.str("start"), it.str("end")) {
        (Some(start), Some(end)) if start != end => Some(format!("{start}-{end}")),
        (Some(start), _) => Some(start.to_owned()),
        _ => Some(it.text.trim().to_owned()).filter(|text| !text.is_empty()),
    };
    let all: Vec<String> = spec.all("vlanId").filter_map(range).collect();
    (!all.is_empty()).then(|| all.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::soap::parse;
    use super::*;

    #[test]
    fn vlans_are_told_in_words() {
        let of = |inner: &str| {
            let message = format!("<Envelope><Body><vlan>{inner}</vlan></Body></Envelope>");
            vlan(&parse(message.as_bytes()).unwrap())
        };
        assert_eq!(of("<inherited>false</inherited><vlanId>100</vlanId>").unwrap(), "100");
        let trunk = "<vlanId><start>1</start><end>10</end></vlanId>\
                     <vlanId><start>20</start><end>20</end></vlanId>";
        assert_eq!(of(trunk).unwrap(), "1-10,20");
        assert_eq!(of("<pvlanId>7</pvlanId>").unwrap(), "private 7");
        assert_eq!(of("<inherited>true</inherited>"), None);
    }

    /// vcsim stores neither HA nor how DRS behaves, and counts effective memory in bytes.
    #[test]
    fn clusters_have_their_flags_and_memory_by_its_units() {
        let message = "<Envelope><Body><objects><obj type=\"ClusterComputeResource\">c-1</obj>\
            <propSet><name>name</name><val>one</val></propSet>\
            <propSet><name>summary</name><val><totalMemory>137438953472</totalMemory>\
            <effectiveCpu>50000</effectiveCpu><effectiveMemory>120000</effectiveMemory></val></propSet>\
            <propSet><name>configurationEx</name><val><dasConfig><enabled>true</enabled></dasConfig>\
            <drsConfig><enabled>false</enabled><defaultVmBehavior>manual</defaultVmBehavior>\
            </drsConfig></val></propSet></objects></Body></Envelope>";
        let object = Object::read(parse(message.as_bytes()).unwrap()).unwrap();
        let one = cluster(&Names::default(), &object);
        assert_eq!((one.ha_enabled, one.drs_enabled), (Some(true), Some(false)));
        assert_eq!(one.drs_behavior.as_deref(), Some("manual"));
        assert_eq!((one.total_memory_mb, one.effective_memory_mb), (Some(131_072), Some(120_000)));
        assert_eq!((one.effective_cpu_mhz, one.path), (Some(50_000), None));
    }
}
