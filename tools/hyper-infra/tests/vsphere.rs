//! `hyper-infra` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new(more: &[&str]) -> Self {
        Self { server: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let variables = self.server.variables();
        run(env!("CARGO_BIN_EXE_hyper-infra"), self.home.path(), &variables, args)
    }

    /// Runs what must succeed.
    fn ok(&self, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done
    }

    fn list(&self, args: &[&str]) -> Vec<Value> {
        self.ok(&[args, &["-o", "ndjson"]].concat()).lines()
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    /// What govc reads of an object.
    fn properties(&self, of: &str) -> BTreeMap<String, Value> {
        self.server.properties(self.home.path(), of)
    }

    /// What govc finds of a type, by path.
    fn paths(&self, kind: &str) -> Vec<String> {
        let found = self.govc(&["find", "/", "-type", kind]);
        let mut paths: Vec<_> = found.lines().map(str::to_owned).collect();
        paths.sort();
        paths
    }

    /// The records of a noun, each found by govc at its path, and got by its name.
    fn records(&self, noun: &str, kind: &str) -> Vec<(Value, BTreeMap<String, Value>)> {
        let rows = self.list(&[noun, "list"]);
        let path = |row: &Value| row["path"].as_str().unwrap().to_owned();
        let mut paths: Vec<_> = rows.iter().map(path).collect();
        paths.sort();
        assert_eq!(paths, self.paths(kind), "{noun}");
        let name = self.ok(&[noun, "list", "-o", "name"]).out;
        let first = name.lines().next().unwrap();
        assert_eq!(self.ok(&[noun, "get", first, "-o", "json"]).json(), rows[0]);
        let pair = |row: Value| {
            let real = self.properties(&path(&row));
            assert_eq!(row["name"], path(&row).rsplit_once('/').unwrap().1);
            assert_eq!((&row["context"], &row["status"]), (&json!("govc"), &real["overallStatus"]));
            (row, real)
        };
        rows.into_iter().map(pair).collect()
    }
}

/// What govc shows as nothing, hyper leaves out.
fn same(ours: &Value, govc: &Value) -> bool {
    let nothing = |it: &Value| it.is_null() || *it == 0 || *it == "" || *it == false;
    ours == govc || (ours.is_null() && nothing(govc))
}

/// Holds fields of a record against what govc reads.
fn hold(row: &Value, fields: &[(&str, &Value)]) {
    for (field, govc) in fields {
        assert!(same(&row[*field], govc), "{field}: {} and {govc} in {row}", row[*field]);
    }
}

fn count(properties: &BTreeMap<String, Value>, name: &str) -> Value {
    json!(properties[name]["ManagedObjectReference"].as_array().map_or(0, Vec::len))
}

fn mib(bytes: &Value) -> Value {
    json!(bytes.as_u64().unwrap() >> 20)
}

#[test]
fn hosts_are_what_govc_reads_each_with_its_own_parents() {
    let lab = Lab::new(&["-dc", "2"]);
    lab.govc(&["host.maintenance.enter", "/DC1/host/DC1_H0/DC1_H0"]);
    let records = lab.records("host", "h");
    assert_eq!(records.len(), 8);
    for (row, real) in &records {
        let path = row["path"].as_str().unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let (hardware, runtime) = (&real["summary"]["Hardware"], &real["runtime"]);
        let (product, now) =
            (&real["summary"]["Config"]["Product"], &real["summary"]["QuickStats"]);
        let cluster = if parts[3].contains("_C") { json!(parts[3]) } else { Value::Null };
        hold(
            row,
            &[
                ("schema", &json!("hyper.host/v1")),
                ("parent_path", &json!(path.rsplit_once('/').unwrap().0)),
                ("datacenter", &json!(parts[1])),
                ("cluster", &cluster),
                ("connection_state", &runtime["ConnectionState"]),
                ("power_state", &runtime["PowerState"]),
                ("maintenance", &runtime["InMaintenanceMode"]),
                ("version", &product["Version"]),
                ("build", &product["Build"]),
                ("vendor", &hardware["Vendor"]),
                ("model", &hardware["Model"]),
                ("uuid", &hardware["Uuid"]),
                ("cpu_model", &hardware["CpuModel"]),
                ("cpu_cores", &hardware["NumCpuCores"]),
                ("cpu_threads", &hardware["NumCpuThreads"]),
                ("cpu_mhz", &hardware["CpuMhz"]),
                ("cpu_usage_mhz", &now["OverallCpuUsage"]),
                ("memory_mb", &mib(&hardware["MemorySize"])),
                ("memory_usage_mb", &now["OverallMemoryUsage"]),
                ("num_nics", &hardware["NumNics"]),
                ("num_vms", &count(real, "vm")),
            ],
        );
        assert!(row["cpu_cores"].as_u64() > Some(0) && row["memory_mb"].as_u64() > Some(1000));
    }
    let resting = lab.list(&["host", "list", "--match", "maintenance=true"]);
    assert_eq!((resting.len(), &resting[0]["name"]), (1, &json!("DC1_H0")));
    let facts = lab.ok(&["host", "get", "DC1_H0/DC1_H0"]).out;
    assert!(facts.contains("maintenance") && facts.contains("/DC1/host/DC1_H0/DC1_H0"), "{facts}");
    assert_eq!(lab.run(&["host", "get", "nope"]).status, 5);
}

#[test]
fn clusters_tell_the_truth_about_ha_drs_and_what_is_effective() {
    let lab = Lab::new(&["-cluster", "2"]);
    lab.govc(&[
        "cluster.change",
        "-ha-enabled",
        "-drs-enabled",
        "-drs-mode=manual",
        "/DC0/host/DC0_C0",
    ]);
    for (row, real) in &lab.records("cluster", "c") {
        let summary = &real["summary"];
        let (drs, ha) =
            (&real["configurationEx"]["DrsConfig"], &real["configurationEx"]["DasConfig"]);
        hold(
            row,
            &[
                ("schema", &json!("hyper.cluster/v1")),
                ("datacenter", &json!("DC0")),
                ("parent_path", &json!("/DC0/host")),
                ("total_cpu_mhz", &summary["TotalCpu"]),
                ("total_memory_mb", &mib(&summary["TotalMemory"])),
                ("effective_cpu_mhz", &summary["EffectiveCpu"]),
                ("effective_memory_mb", &summary["EffectiveMemory"]),
                ("num_hosts", &summary["NumHosts"]),
                ("num_effective_hosts", &summary["NumEffectiveHosts"]),
                ("num_cpu_cores", &summary["NumCpuCores"]),
                ("num_cpu_threads", &summary["NumCpuThreads"]),
                ("drs_enabled", &drs["Enabled"]),
                ("drs_behavior", &drs["DefaultVmBehavior"]),
                ("ha_enabled", &ha["Enabled"]),
            ],
        );
        assert!(row["effective_memory_mb"].as_u64() > Some(0), "{row}");
    }
    let first = lab.ok(&["cluster", "get", "DC0_C0", "-o", "json"]).json();
    assert_eq!(first["drs_enabled"], true, "{first}");
    let several = lab.run(&["cluster", "get", "DC0_C0", "govc:DC0_C1", "DC0_C0", "-o", "json"]);
    assert_eq!(several.json()["items"].as_array().unwrap().len(), 2, "{several:?}");
}

#[test]
fn datastores_networks_and_datacenters_are_what_govc_reads() {
    let lab = Lab::new(&["-ds", "2", "-nsx", "1"]);
    let group = ["dvs.portgroup.add", "-dvs", "DVS0", "-type", "earlyBinding", "-nports", "8"];
    lab.govc(&[&group[..], &["-vlan", "42", "tagged"]].concat());
    for (row, real) in &lab.records("datastore", "s") {
        let summary = &real["summary"];
        let hosts = real["host"]["DatastoreHostMount"].as_array().map_or(0, Vec::len);
        hold(
            row,
            &[
                ("schema", &json!("hyper.datastore/v1")),
                ("datacenter", &json!("DC0")),
                ("parent_path", &json!("/DC0/datastore")),
                ("type", &summary["Type"]),
                ("capacity_bytes", &summary["Capacity"]),
                ("free_bytes", &summary["FreeSpace"]),
                ("uncommitted_bytes", &summary["Uncommitted"]),
                ("accessible", &summary["Accessible"]),
                ("maintenance", &summary["MaintenanceMode"]),
                ("multiple_host_access", &summary["MultipleHostAccess"]),
                ("url", &summary["Url"]),
                ("num_hosts", &json!(hosts)),
                ("num_vms", &count(real, "vm")),
            ],
        );
        assert!(row["capacity_bytes"].as_u64() > Some(1 << 30));
    }
    let networks = lab.list(&["network", "list"]);
    let found: Vec<(&Value, &Value)> =
        networks.iter().map(|it| (&it["name"], &it["type"])).collect();
    let kinds = [
        ("VM Network", "standard"),
        ("DC0_DVPG0", "distributed"),
        ("tagged", "distributed"),
        ("DC0_NSX0", "opaque"),
    ];
    for (name, kind) in kinds {
        assert!(found.contains(&(&json!(name), &json!(kind))), "{name}: {found:?}");
    }
    for row in &networks {
        let real = lab.properties(row["path"].as_str().unwrap());
        hold(
            row,
            &[
                ("datacenter", &json!("DC0")),
                ("parent_path", &json!("/DC0/network")),
                ("num_hosts", &count(&real, "host")),
                ("num_vms", &count(&real, "vm")),
                ("accessible", &real["summary"]["Accessible"]),
            ],
        );
    }
    let tagged = lab.ok(&["network", "get", "tagged", "-o", "json"]).json();
    assert_eq!((&tagged["vlan"], &tagged["switch"]), (&json!("42"), &json!("DVS0")));
    for (row, real) in &lab.records("datacenter", "d") {
        hold(
            row,
            &[
                ("num_clusters", &json!(lab.paths("c").len())),
                ("num_hosts", &json!(lab.paths("h").len())),
                ("num_vms", &json!(lab.paths("m").len())),
                ("num_datastores", &count(real, "datastore")),
                ("num_networks", &count(real, "network")),
            ],
        );
    }
    let server = lab.ok(&["vcenter", "get", "-o", "json"]).json();
    let about = &lab.server.govc_json(lab.home.path(), &["about", "-json"])["About"];
    hold(
        &server,
        &[
            ("schema", &json!("hyper.vcenter/v1")),
            ("name", &about["Name"]),
            ("full_name", &about["FullName"]),
            ("version", &about["Version"]),
            ("build", &about["Build"]),
            ("os_type", &about["OsType"]),
            ("api_type", &about["ApiType"]),
            ("api_version", &about["ApiVersion"]),
            ("instance_id", &about["InstanceUuid"]),
            ("num_datacenters", &json!(1)),
            ("num_hosts", &json!(lab.paths("h").len())),
            ("num_vms", &json!(lab.paths("m").len())),
            ("num_datastores", &json!(2)),
            ("num_networks", &json!(networks.len())),
            ("endpoint", &json!(lab.server.url())),
        ],
    );
    assert_eq!(lab.list(&["vcenter", "list"]), [server]);
}

#[test]
fn tasks_tell_what_was_done_to_what_and_why_it_failed() {
    let lab = Lab::new(&[]);
    lab.govc(&["vm.power", "-off", "DC0_H0_VM0"]);
    lab.govc(&["snapshot.create", "-vm", "DC0_H0_VM1", "x"]);
    let rows = lab.list(&["tasks", "--match", "entity_type=VirtualMachine"]);
    let is_off = |row: &&Value| row["name"].as_str().unwrap().starts_with("PowerOff");
    let off = rows.iter().find(is_off).unwrap();
    for row in &rows {
        let of = format!("Task:{}", row["task_id"].as_str().unwrap());
        let info = lab.properties(&of)["info"].clone();
        let time = |name: &str| match info[name].as_str() {
            Some(text) => {
                let time: jiff::Timestamp = text.parse().unwrap();
                json!(time.to_string())
            }
            None => Value::Null,
        };
        hold(
            row,
            &[
                ("schema", &json!("hyper.task/v1")),
                ("state", &info["State"]),
                ("entity_name", &info["EntityName"]),
                ("entity_type", &info["Entity"]["Type"]),
                ("entity_id", &info["Entity"]["Value"]),
                ("queue_time", &time("QueueTime")),
                ("start_time", &time("StartTime")),
                ("complete_time", &time("CompleteTime")),
                ("progress", &info["Progress"]),
            ],
        );
        assert!(!row["name"].as_str().unwrap().is_empty(), "{row}");
    }
    assert_eq!(off["state"], "success", "{off}");
    assert!(off["description"].as_str().unwrap().contains("owerOff"), "{off}");
    assert!(rows.is_sorted_by_key(|row| row["queue_time"].as_str().unwrap().to_owned()));
}

#[test]
fn flag_match_and_flag_output() {
    let lab = Lab::new(&[]);
    let names = |args: &[&str]| -> Vec<String> {
        lab.list(args).iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["host", "list", "--match", "*_H0", "--match", "cluster=*"]), ["DC0_C0_H0"]);
    assert_eq!(names(&["host", "list", "--match", "path~/DC0_H0/"]), ["DC0_H0"]);
    let unknown = lab.run(&["datastore", "list", "--match", "free_byts=1"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.err.contains("did you mean free_bytes?"), "{unknown:?}");
    let csv = lab.ok(&["datacenter", "list", "-o", "csv"]).out;
    assert!(csv.starts_with("name,num_clusters,num_hosts,num_vms,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("DC0,1,4,4,1,"), "{csv}");
    assert!(lab.ok(&["cluster", "list", "-o", "yaml"]).out.contains("- schema: hyper.cluster/v1"));
    let wide = lab.ok(&["host", "list", "-o", "wide"]).out;
    assert!(wide.contains("/DC0/host/DC0_C0/DC0_C0_H0"), "{wide}");
}

#[test]
fn flag_context_and_flag_all_contexts_and_flag_quiet_and_flag_verbose_and_flag_timeout() {
    let lab = Lab::new(&[]);
    let files = lab.run(&["host", "list", "-c", "local"]);
    assert_eq!(files.status, 7, "files have none: {files:?}");
    assert_eq!(lab.run(&["host", "get", "x", "-c", "local"]).status, 7);
    assert_eq!(lab.run(&["vcenter", "get", "local"]).status, 7);
    assert_eq!(lab.run(&["cluster", "list", "-c", "nowhere"]).status, 5);
    assert_eq!(lab.run(&["cluster", "list", "-c", "local,govc"]).status, 10, "part of it");
    assert_eq!(lab.list(&["cluster", "list", "--all-contexts"]).len(), 1, "local is left out");
    let both = ["cluster", "list", "--all-contexts", "-c", "govc"];
    assert_eq!(lab.run(&both).status, 2, "one or all");
    let none = ["host", "list", "-c", "govc", "--match", "zzz"];
    assert_eq!(lab.ok(&none).err, "no hosts here pass\n");
    assert_eq!(lab.ok(&[&none[..], &["-q"]].concat()).err, "");
    assert!(lab.ok(&[&none[..], &["-v"]].concat()).err.contains("configuration:"));
    let slow = Lab::new(&["-delay", "700"]);
    assert_eq!(slow.run(&["host", "list", "--timeout", "500ms"]).status, 11);
}
