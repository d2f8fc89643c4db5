//! The properties of everything in the tree but machines.

use jiff::Timestamp;

use super::inventory::{DATASTORE, HOST, Inventory};
use super::value::{Data, Ref, Value};
use super::view_vm::DATASTORE_URL;

/// Bytes of the datastore.
const CAPACITY: u64 = 4 << 40;

fn list(references: &[Ref]) -> Value {
    references.iter().map(Value::from).collect::<Vec<_>>().into()
}

/// A property of a place, by its name.
pub fn property(tree: &Inventory, object: &Ref, name: &str) -> Option<Value> {
    let entity = tree.entities.get(object)?;
    match name {
        "name" => return Some((&entity.name).into()),
        "parent" => return entity.parent.as_ref().map(Value::from),
        "overallStatus" | "configStatus" => return Some("green".into()),
        "effectiveRole" => return Some(vec![-1].into()),
        "alarmActionsEnabled" => return Some(true.into()),
        _ => {}
    }
    match object.kind.as_str() {
        "Folder" => folder(tree, object, name),
        "Datacenter" => datacenter(tree, name),
        "ComputeResource" | "ClusterComputeResource" => compute(tree, object, name),
        "HostSystem" => host(tree, name),
        "ResourcePool" => pool(tree, name),
        "Datastore" => datastore(tree, name),
        "Network" => network(tree, object, name),
        _ => None,
    }
}

fn folder(tree: &Inventory, object: &Ref, name: &str) -> Option<Value> {
    let places = &tree.places;
    match name {
        "childEntity" => Some(list(&tree.children(object))),
        "childType" => {
            let kinds = if *object == places.root {
                vec!["Folder", "Datacenter"]
            } else if *object == places.hosts {
                vec!["Folder", "ComputeResource"]
            } else if *object == places.datastores {
                vec!["Folder", "StoragePod", "Datastore"]
            } else if *object == places.networks {
                vec!["Folder", "Network", "DistributedVirtualSwitch"]
            } else {
                vec!["Folder", "VirtualMachine", "VirtualApp"]
            };
            Some(kinds.into())
        }
        _ => None,
    }
}

fn datacenter(tree: &Inventory, name: &str) -> Option<Value> {
    let places = &tree.places;
    Some(match name {
        "vmFolder" => (&places.vms).into(),
        "hostFolder" => (&places.hosts).into(),
        "datastoreFolder" => (&places.datastores).into(),
        "networkFolder" => (&places.networks).into(),
        "datastore" => vec![Value::from(&places.datastore)].into(),
        "network" => list(&places.network),
        _ => return None,
    })
}

fn compute(tree: &Inventory, object: &Ref, name: &str) -> Option<Value> {
    let places = &tree.places;
    let kind = match object.kind.as_str() {
        "ComputeResource" => "ComputeResourceSummary",
        _ => "ClusterComputeResourceSummary",
    };
    Some(match name {
        "resourcePool" => (&places.pool).into(),
        "host" => vec![Value::from(&places.host)].into(),
        "datastore" => vec![Value::from(&places.datastore)].into(),
        "network" => list(&places.network),
        "summary" => {
            let summary = Data::new(kind)
                .set("totalCpu", 76_800)
                .set("totalMemory", 256_u64 << 30)
                .set("numCpuCores", 32)
                .set("numCpuThreads", 64)
                .set("effectiveCpu", 76_000)
                .set("effectiveMemory", 250_u64 << 10)
                .set("numHosts", 1)
                .set("numEffectiveHosts", 1)
                .set("overallStatus", "green");
            match kind {
                "ComputeResourceSummary" => summary.into(),
                _ => summary.set("currentFailoverLevel", 0).set("numVmotions", 0).into(),
            }
        }
        _ => return None,
    })
}

fn host(tree: &Inventory, name: &str) -> Option<Value> {
    let places = &tree.places;
    Some(match name {
        "runtime" => host_runtime().into(),
        "summary" => host_summary(places.host.clone()).into(),
        "vm" => list(&tree.all_machines()),
        "datastore" => vec![Value::from(&places.datastore)].into(),
        "network" => list(&places.network),
        _ => return None,
    })
}

fn host_runtime() -> Data {
    Data::new("HostRuntimeInfo")
        .set("connectionState", "connected")
        .set("powerState", "poweredOn")
        .set("standbyMode", "none")
        .set("inMaintenanceMode", false)
        .set("inQuarantineMode", false)
}

fn host_summary(host: Ref) -> Data {
    let hardware = Data::new("HostHardwareSummary")
        .set("vendor", "hyper")
        .set("model", "simulated")
        .set("uuid", "5f000000-0000-0000-0000-00000000000a")
        .set("memorySize", 256_u64 << 30)
        .set("cpuModel", "simulated processor")
        .set("cpuMhz", 2400)
        .set("numCpuPkgs", 2)
        .set("numCpuCores", 32)
        .set("numCpuThreads", 64)
        .set("numNics", 2)
        .set("numHBAs", 1);
    let config = Data::new("HostConfigSummary")
        .set("name", HOST)
        .set("port", 443)
        .set("product", super::service::about(true))
        .set("vmotionEnabled", false)
        .set("faultToleranceEnabled", false);
    let stats = Data::new("HostListSummaryQuickStats")
        .set("overallCpuUsage", 120)
        .set("overallMemoryUsage", 8000)
        .set("uptime", 3600);
    Data::new("HostListSummary")
        .set("host", host)
        .set("hardware", hardware)
        .set("runtime", host_runtime())
        .set("config", config)
        .set("quickStats", stats)
        .set("overallStatus", "green")
        .set("rebootRequired", false)
}

fn pool(tree: &Inventory, name: &str) -> Option<Value> {
    Some(match name {
        "owner" => (&tree.places.cluster).into(),
        "vm" => list(&tree.all_machines()),
        _ => return None,
    })
}

fn datastore(tree: &Inventory, name: &str) -> Option<Value> {
    let places = &tree.places;
    let used: u64 = tree.machines.values().map(super::machine::Machine::capacity).sum();
    let free = CAPACITY.saturating_sub(used);
    Some(match name {
        "info" => Data::new("VmfsDatastoreInfo")
            .set("name", DATASTORE)
            .set("url", DATASTORE_URL)
            .set("freeSpace", free)
            .set("maxFileSize", 64_u64 << 40)
            .set("maxMemoryFileSize", 64_u64 << 40)
            .set("timestamp", Timestamp::now())
            .set("maxPhysicalRDMFileSize", 64_u64 << 40)
            .set("maxVirtualRDMFileSize", 62_u64 << 40)
            .into(),
        "summary" => Data::new("DatastoreSummary")
            .set("datastore", &places.datastore)
            .set("name", DATASTORE)
            .set("url", DATASTORE_URL)
            .set("capacity", CAPACITY)
            .set("freeSpace", free)
            .set("uncommitted", 0)
            .set("accessible", true)
            .set("multipleHostAccess", false)
            .set("type", "VMFS")
            .set("maintenanceMode", "normal")
            .into(),
        "host" => {
            let mount = Data::new("HostMountInfo")
                .set("path", DATASTORE_URL)
                .set("accessMode", "readWrite")
                .set("mounted", true)
                .set("accessible", true);
            let one = Data::new("DatastoreHostMount").set("key", &places.host);
            vec![one.set("mountInfo", mount)].into()
        }
        "vm" => list(&tree.all_machines()),
        "capability" => Data::new("DatastoreCapability")
            .set("directoryHierarchySupported", true)
            .set("rawDiskMappingsSupported", true)
            .set("perFileThinProvisioningSupported", true)
            .set("storageIORMSupported", true)
            .set("nativeSnapshotSupported", false)
            .into(),
        _ => return None,
    })
}

fn network(tree: &Inventory, object: &Ref, name: &str) -> Option<Value> {
    let title = tree.name(object).unwrap_or_default();
    Some(match name {
        "summary" => Data::new("NetworkSummary")
            .set("network", object)
            .set("name", title)
            .set("accessible", true)
            .set("ipPoolName", "")
            .into(),
        "host" => vec![Value::from(&tree.places.host)].into(),
        "vm" => {
            let on = |machine: &&super::machine::Machine| {
                machine.nics.iter().any(|(_, network)| network == object)
            };
            let machines = tree.machines.values().filter(on);
            machines.map(|machine| Value::from(&machine.reference)).collect::<Vec<_>>().into()
        }
        _ => return None,
    })
}
