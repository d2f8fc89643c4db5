//! The properties of machines and of their snapshots.

use std::collections::HashMap;

use jiff::Timestamp;

use super::device::devices;
use super::inventory::{DATASTORE, Inventory};
use super::machine::{Machine, Power, Snapshot};
use super::value::{Data, Ref, Value};

/// A property of a machine, by its name.
pub fn property(tree: &Inventory, machine: &Machine, name: &str) -> Option<Value> {
    Some(match name {
        "parent" => (&machine.folder).into(),
        "name" => (&machine.name).into(),
        "overallStatus" | "configStatus" => "green".into(),
        "effectiveRole" => vec![-1].into(),
        "alarmActionsEnabled" => true.into(),
        "disabledMethod" => disabled(machine).into(),
        "config" => config(tree, machine).into(),
        "layoutEx" => layout(machine).into(),
        "storage" => storage(tree, machine).into(),
        "resourcePool" => (&tree.places.pool).into(),
        "runtime" => runtime(tree, machine).into(),
        "guest" => guest(tree, machine).into(),
        "summary" => summary(tree, machine).into(),
        "datastore" => vec![Value::from(&tree.places.datastore)].into(),
        "network" => networks(machine).into(),
        "snapshot" => snapshots(machine)?.into(),
        "rootSnapshot" => {
            machine.children(None).map(|it| Value::from(&it.reference)).collect::<Vec<_>>().into()
        }
        "guestHeartbeatStatus" => heartbeat(machine).into(),
        _ => return None,
    })
}

/// A property of a snapshot, by its name.
pub fn snapshot_property(
    tree: &Inventory,
    machine: &Machine,
    snapshot: &Snapshot,
    name: &str,
) -> Option<Value> {
    Some(match name {
        "config" => {
            // What the machine was when the snapshot was made: on the chain below it.
            let then = Machine { current: snapshot.parent, ..machine.clone() };
            config(tree, &then).into()
        }
        "childSnapshot" => {
            let children = machine.children(Some(snapshot.id));
            children.map(|it| Value::from(&it.reference)).collect::<Vec<_>>().into()
        }
        "vm" => (&machine.reference).into(),
        _ => return None,
    })
}

fn networks(machine: &Machine) -> Vec<Value> {
    let mut seen: Vec<&Ref> = machine.nics.iter().map(|(_, network)| network).collect();
    seen.dedup();
    seen.into_iter().map(Value::from).collect()
}

fn disabled(machine: &Machine) -> Vec<&'static str> {
    let mut methods = match machine.power {
        Power::On => vec!["PowerOnVM_Task", "ExportVm"],
        Power::Off => vec!["PowerOffVM_Task", "ShutdownGuest", "RebootGuest"],
    };
    if !machine.leases.is_empty() {
        methods.extend(["PowerOnVM_Task", "Destroy_Task", "CreateSnapshot_Task"]);
    }
    methods.dedup();
    methods
}

fn heartbeat(machine: &Machine) -> &'static str {
    if machine.power == Power::On { "green" } else { "gray" }
}

fn file(machine: &Machine, name: &str) -> String {
    format!("[{DATASTORE}] {}/{name}", machine.directory())
}

fn config(tree: &Inventory, machine: &Machine) -> Data {
    let names: Vec<String> = machine
        .nics
        .iter()
        .map(|(_, network)| tree.name(network).unwrap_or_default().to_owned())
        .collect();
    let files = Data::new("VirtualMachineFileInfo")
        .set("vmPathName", file(machine, &format!("{}.vmx", machine.name)))
        .set("snapshotDirectory", file(machine, ""))
        .set("suspendDirectory", file(machine, ""))
        .set("logDirectory", file(machine, ""));
    let hardware = Data::new("VirtualHardware")
        .set("numCPU", machine.cpus)
        .set("numCoresPerSocket", 1)
        .set("memoryMB", machine.memory_mib)
        .set("virtualICH7MPresent", false)
        .set("virtualSMCPresent", false)
        .set("device", devices(machine, &tree.places, &names));
    let stamp = machine.created;
    let changed = machine.snapshots.last().map_or(stamp, |snapshot| snapshot.created);
    Data::new("VirtualMachineConfigInfo")
        .set("changeVersion", changed)
        .set("modified", changed)
        .set("name", &machine.name)
        .set("guestFullName", machine.guest.1)
        .set("version", "vmx-19")
        .set("uuid", &machine.uuid)
        .set("createDate", stamp)
        .set("instanceUuid", &machine.instance_uuid)
        .set("template", false)
        .set("guestId", machine.guest.0)
        .set("alternateGuestName", "")
        .set("annotation", "")
        .set("files", files)
        .set("tools", tools(machine))
        .set("flags", flags())
        .set("defaultPowerOps", power_ops())
        .set("rebootPowerOff", false)
        .set("hardware", hardware)
        .set("cpuAllocation", allocation(1000 * machine.cpus))
        .set("memoryAllocation", allocation(10 * machine.memory_mib as u32))
        .set("memoryHotAddEnabled", false)
        .set("cpuHotAddEnabled", false)
        .set("extraConfig", extra(machine))
        .set("datastoreUrl", vec![datastore_url()])
        .set("swapPlacement", "inherit")
        .set("bootOptions", boot(machine))
        .set("changeTrackingEnabled", false)
        .set("firmware", if machine.efi { "efi" } else { "bios" })
        .set("maxMksConnections", 40)
        .set("migrateEncryption", "opportunistic")
}

fn boot(machine: &Machine) -> Data {
    Data::new("VirtualMachineBootOptions")
        .set("bootDelay", 0)
        .set("enterBIOSSetup", false)
        .set("efiSecureBootEnabled", machine.secure_boot)
        .set("bootRetryEnabled", false)
        .set("bootRetryDelay", 10000)
        .set("networkBootProtocol", "ipv4")
}

fn tools(machine: &Machine) -> Data {
    let pending = machine.pending.as_ref().map(|_| format!("imcf-{}", machine.name));
    Data::new("ToolsConfigInfo")
        .set("toolsVersion", 12389)
        .set("toolsInstallType", "guestToolsTypeOpenVMTools")
        .set("afterPowerOn", true)
        .set("afterResume", true)
        .set("beforeGuestStandby", true)
        .set("beforeGuestShutdown", true)
        .set("toolsUpgradePolicy", "manual")
        .maybe("pendingCustomization", pending)
        .set("syncTimeWithHostAllowed", true)
        .set("syncTimeWithHost", false)
}

fn flags() -> Data {
    Data::new("VirtualMachineFlagInfo")
        .set("disableAcceleration", false)
        .set("enableLogging", true)
        .set("useToe", false)
        .set("runWithDebugInfo", false)
        .set("monitorType", "release")
        .set("htSharing", "any")
        .set("snapshotDisabled", false)
        .set("snapshotLocked", false)
        .set("diskUuidEnabled", false)
        .set("snapshotPowerOffBehavior", "powerOff")
        .set("recordReplayEnabled", false)
        .set("vbsEnabled", false)
}

fn power_ops() -> Data {
    Data::new("VirtualMachineDefaultPowerOpInfo")
        .set("powerOffType", "soft")
        .set("suspendType", "hard")
        .set("resetType", "soft")
        .set("defaultPowerOffType", "soft")
        .set("defaultSuspendType", "hard")
        .set("defaultResetType", "soft")
        .set("standbyAction", "checkpoint")
}

fn allocation(shares: u32) -> Data {
    let shares = Data::new("SharesInfo").set("shares", shares).set("level", "normal");
    Data::new("ResourceAllocationInfo")
        .set("reservation", 0)
        .set("expandableReservation", false)
        .set("limit", -1)
        .set("shares", shares)
}

fn extra(machine: &Machine) -> Vec<Data> {
    let option = |key: &str, value: &str| {
        let value = Value::Any("string", value.to_owned());
        Data::new("OptionValue").set("key", key).set("value", value)
    };
    let mut all = vec![
        option("nvram", &format!("{}.nvram", machine.name)),
        option("svga.present", "TRUE"),
        option("pciBridge0.present", "TRUE"),
        option("hpet0.present", "TRUE"),
        option("viv.moid", &machine.reference.value),
        option("guestinfo.note", "a <b> & \"c\""),
    ];
    all.extend(machine.options.iter().map(|(key, value)| option(key, value)));
    all
}

fn datastore_url() -> Data {
    Data::new("VirtualMachineConfigInfoDatastoreUrlPair")
        .set("name", DATASTORE)
        .set("url", DATASTORE_URL)
}

/// Where the datastore is mounted.
pub const DATASTORE_URL: &str = "/vmfs/volumes/5f000000-00000000-0000-000000000001";

fn runtime(tree: &Inventory, machine: &Machine) -> Data {
    let on = machine.power == Power::On;
    Data::new("VirtualMachineRuntimeInfo")
        .set("host", &tree.places.host)
        .set("connectionState", "connected")
        .set("powerState", machine.power.word())
        .set("faultToleranceState", "notConfigured")
        .set("toolsInstallerMounted", false)
        .maybe("bootTime", machine.booted.filter(|_| on))
        .set("maxCpuUsage", 2400 * machine.cpus)
        .set("maxMemoryUsage", machine.memory_mib)
        .set("numMksConnections", 0)
        .set("recordReplayState", "inactive")
        .maybe("cleanPowerOff", (!on).then_some(true))
        .set("onlineStandby", false)
        .set("consolidationNeeded", machine.unmerged)
        .set("paused", false)
        .set("snapshotInBackground", false)
        .set("quiescedForkParent", false)
        .set("instantCloneFrozen", false)
}

fn tools_words(machine: &Machine) -> (&'static str, &'static str) {
    match machine.power {
        Power::On if machine.guest_is_up() => ("toolsOk", "guestToolsRunning"),
        Power::On | Power::Off => ("toolsNotRunning", "guestToolsNotRunning"),
    }
}

fn guest(tree: &Inventory, machine: &Machine) -> Data {
    let on = machine.power == Power::On;
    let (status, running) = tools_words(machine);
    let nics = machine.nics.iter().enumerate().map(|(at, (mac, network))| {
        Data::new("GuestNicInfo")
            .set("network", tree.name(network).unwrap_or_default())
            .set("ipAddress", vec![machine.address(at)])
            .set("macAddress", mac)
            .set("connected", true)
            .set("deviceConfigId", 4000 + at as i32)
    });
    let data = Data::new("GuestInfo")
        .set("toolsStatus", status)
        .set("toolsVersionStatus", "guestToolsUnmanaged")
        .set("toolsVersionStatus2", "guestToolsUnmanaged")
        .set("toolsRunningStatus", running)
        .set("toolsVersion", "12389");
    if !on {
        return data.set("guestState", "notRunning").set("guestOperationsReady", false);
    }
    data.set("guestId", machine.guest.0)
        .set("guestFamily", "linuxGuest")
        .set("guestFullName", machine.guest.1)
        .set("hostName", machine.host_name())
        .set("ipAddress", machine.address(0))
        .set("net", nics.collect::<Vec<_>>())
        .set("guestState", "running")
        .set("guestOperationsReady", true)
}

fn summary(tree: &Inventory, machine: &Machine) -> Data {
    let on = machine.power == Power::On;
    let (status, running) = tools_words(machine);
    let guest = Data::new("VirtualMachineGuestSummary")
        .maybe("guestId", on.then_some(machine.guest.0))
        .maybe("guestFullName", on.then_some(machine.guest.1))
        .set("toolsStatus", status)
        .set("toolsVersionStatus", "guestToolsUnmanaged")
        .set("toolsVersionStatus2", "guestToolsUnmanaged")
        .set("toolsRunningStatus", running)
        .maybe("hostName", on.then(|| machine.host_name()))
        .maybe("ipAddress", on.then(|| machine.address(0)));
    let config = Data::new("VirtualMachineConfigSummary")
        .set("name", &machine.name)
        .set("template", false)
        .set("vmPathName", file(machine, &format!("{}.vmx", machine.name)))
        .set("memorySizeMB", machine.memory_mib)
        .set("cpuReservation", 0)
        .set("memoryReservation", 0)
        .set("numCpu", machine.cpus)
        .set("numEthernetCards", machine.nics.len() as i32)
        .set("numVirtualDisks", machine.disks.len() as i32)
        .set("uuid", &machine.uuid)
        .set("instanceUuid", &machine.instance_uuid)
        .set("guestId", machine.guest.0)
        .set("guestFullName", machine.guest.1)
        .set("annotation", "")
        .set("tpmPresent", machine.tpm)
        .set("hwVersion", "vmx-19");
    let storage = Data::new("VirtualMachineStorageSummary")
        .set("committed", committed(machine))
        .set("uncommitted", machine.capacity() - committed(machine))
        .set("unshared", committed(machine))
        .set("timestamp", machine.created);
    let uptime = machine.booted.map_or(0, |since| Timestamp::now().as_second() - since.as_second());
    let stats = Data::new("VirtualMachineQuickStats")
        .set("overallCpuUsage", if on { 24 } else { 0 })
        .set("guestMemoryUsage", if on { machine.memory_mib / 10 } else { 0 })
        .set("hostMemoryUsage", if on { machine.memory_mib } else { 0 })
        .set("guestHeartbeatStatus", heartbeat(machine))
        .set("uptimeSeconds", if on { uptime } else { 0 });
    Data::new("VirtualMachineSummary")
        .set("vm", &machine.reference)
        .set("runtime", runtime(tree, machine))
        .set("guest", guest)
        .set("config", config)
        .set("storage", storage)
        .set("quickStats", stats)
        .set("overallStatus", "green")
}

fn committed(machine: &Machine) -> u64 {
    machine.disks.iter().map(|disk| disk.image.committed(disk.thin)).sum()
}

fn storage(tree: &Inventory, machine: &Machine) -> Data {
    let usage = Data::new("VirtualMachineUsageOnDatastore")
        .set("datastore", &tree.places.datastore)
        .set("committed", committed(machine))
        .set("uncommitted", machine.capacity() - committed(machine))
        .set("unshared", committed(machine));
    Data::new("VirtualMachineStorageInfo")
        .set("perDatastoreUsage", vec![usage])
        .set("timestamp", machine.created)
}

/// The files of a machine, numbered as they are added.
struct Files<'m> {
    machine: &'m Machine,
    list: Vec<Data>,
}

impl Files<'_> {
    fn add(&mut self, name: &str, kind: &str, size: u64) -> i32 {
        let key = self.list.len() as i32;
        self.list.push(
            Data::new("VirtualMachineFileLayoutExFileInfo")
                .set("key", key)
                .set("name", file(self.machine, name))
                .set("type", kind)
                .set("size", size)
                .set("uniqueSize", size)
                .set("accessible", true),
        );
        key
    }
}

/// The files of a disk: its base, and by snapshot the delta that was begun with it.
type DiskFiles = (Vec<i32>, HashMap<u32, Vec<i32>>);

fn layout(machine: &Machine) -> Data {
    let mut files = Files { machine, list: Vec::new() };
    files.add(&format!("{}.vmx", machine.name), "config", 3000);
    files.add(&format!("{}.nvram", machine.name), "nvram", super::folder::NVRAM_LEN);
    files.add(&format!("{}.vmsd", machine.name), "snapshotList", 43);
    let mut disks: Vec<DiskFiles> = Vec::new();
    for (at, disk) in machine.disks.iter().enumerate() {
        let stem = machine.disk_stem(at);
        let flat = disk.image.committed(disk.thin);
        let base = vec![
            files.add(&format!("{stem}.vmdk"), "diskDescriptor", 512),
            files.add(&format!("{stem}-flat.vmdk"), "diskExtent", flat),
        ];
        let mut delta = |snapshot: &Snapshot| {
            let stem = format!("{stem}-{:06}", snapshot.id);
            let descriptor = files.add(&format!("{stem}.vmdk"), "diskDescriptor", 400);
            let extent = files.add(&format!("{stem}-sesparse.vmdk"), "diskExtent", 1 << 20);
            (snapshot.id, vec![descriptor, extent])
        };
        disks.push((base, machine.snapshots.iter().map(&mut delta).collect()));
    }
    let mut snapshots = Vec::new();
    for snapshot in &machine.snapshots {
        let stem = format!("{}-Snapshot{}", machine.name, snapshot.id);
        let state = files.add(&format!("{stem}.vmsn"), "snapshotData", 28_000);
        let mut keep = |bytes| files.add(&format!("{stem}.vmem"), "snapshotMemory", bytes);
        let memory = if snapshot.memory { keep(machine.memory_mib << 20) } else { -1 };
        snapshots.push(
            Data::new("VirtualMachineFileLayoutExSnapshotLayout")
                .set("key", &snapshot.reference)
                .set("dataKey", state)
                .set("memoryKey", memory)
                .set("disk", chains(&disks, &machine.line(snapshot.parent))),
        );
    }
    Data::new("VirtualMachineFileLayoutEx")
        .set("file", files.list)
        .set("disk", chains(&disks, &machine.line(machine.current)))
        .set("snapshot", snapshots)
        .set("timestamp", machine.created)
}

/// What each disk consists of on the way of these snapshots.
fn chains(disks: &[DiskFiles], line: &[u32]) -> Vec<Data> {
    let unit = |keys: &Vec<i32>| {
        Data::new("VirtualMachineFileLayoutExDiskUnit").set("fileKey", keys.clone())
    };
    let chain = |(at, (base, deltas)): (usize, &DiskFiles)| {
        let units = [base].into_iter().chain(line.iter().filter_map(|id| deltas.get(id)));
        Data::new("VirtualMachineFileLayoutExDiskLayout")
            .set("key", Machine::disk_key(at))
            .set("chain", units.map(unit).collect::<Vec<_>>())
    };
    disks.iter().enumerate().map(chain).collect()
}

fn snapshots(machine: &Machine) -> Option<Data> {
    let roots = branch(machine, None);
    let current = machine.snapshots.iter().find(|snapshot| Some(snapshot.id) == machine.current);
    (!roots.is_empty()).then(|| {
        Data::new("VirtualMachineSnapshotInfo")
            .maybe("currentSnapshot", current.map(|it| &it.reference))
            .set("rootSnapshotList", roots)
    })
}

fn branch(machine: &Machine, parent: Option<u32>) -> Vec<Data> {
    let one = |snapshot: &Snapshot| {
        let below = branch(machine, Some(snapshot.id));
        Data::new("VirtualMachineSnapshotTree")
            .set("snapshot", &snapshot.reference)
            .set("vm", &machine.reference)
            .set("name", &snapshot.name)
            .set("description", &snapshot.description)
            .set("id", snapshot.id)
            .set("createTime", snapshot.created)
            .set("state", snapshot.power.word())
            .set("quiesced", snapshot.quiesced)
            .maybe("childSnapshotList", (!below.is_empty()).then_some(below))
            .set("replaySupported", false)
    };
    machine.children(parent).map(one).collect()
}
