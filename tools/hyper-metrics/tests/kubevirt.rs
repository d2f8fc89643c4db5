//! `hyper-metrics` on KubeVirt: simulated ones in front of real API servers, with kubectl to compare
//! with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::cluster::{Cluster, machine, wait_for};
use self::vcsim::{Done, run};

/// A namespace of the cluster that has a metrics server, and a user of it.
struct Lab {
    cluster: &'static Cluster,
    space: String,
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let cluster = Cluster::shared();
        Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() }
    }

    /// In the namespace.
    fn run(&self, args: &[&str]) -> Done {
        self.anywhere(&[args, &["-n", &self.space, "-c", "hyper-sim"]].concat())
    }

    fn anywhere(&self, args: &[&str]) -> Done {
        self.with(self.cluster.kubeconfig(), args)
    }

    fn with(&self, kubeconfig: &str, args: &[&str]) -> Done {
        let variables = [("KUBECONFIG", kubeconfig.to_owned()), ("TZ", "UTC".to_owned())];
        run(env!("CARGO_BIN_EXE_hyper-metrics"), self.home.path(), &variables, args)
    }

    /// The records of what must succeed.
    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let done = self.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.lines()
    }

    /// A machine with so many processors and so much memory.
    fn make(&self, name: &str, strategy: &str, domain: &Value) {
        make(self.cluster, &self.space, name, strategy, domain);
    }
}

fn make(cluster: &Cluster, space: &str, name: &str, strategy: &str, domain: &Value) {
    let mut object = machine(name, strategy);
    for (field, value) in domain.as_object().unwrap() {
        object["spec"]["template"]["spec"]["domain"][field] = value.clone();
    }
    cluster.apply(space, &object);
    cluster.machine_is(space, name, if strategy == "Always" { "Running" } else { "Stopped" });
}

/// What `kubectl top` says of the pod of a machine: thousandths of a processor, and bytes.
fn top(lab: &Lab, machine: &str) -> (f64, u64) {
    let raw = ["get", "--raw"];
    let path = format!(
        "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector=vm.kubevirt.io/name={machine}",
        lab.space
    );
    let list: Value =
        serde_json::from_str(&lab.cluster.kubectl(&[&raw[..], &[&path]].concat())).unwrap();
    let containers = list["items"][0]["containers"].as_array().unwrap();
    let unit = |text: &str| match text.strip_suffix("Ki") {
        Some(kib) => kib.parse::<u64>().unwrap() << 10,
        None => text.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 20,
    };
    let cpu = containers.iter().map(|it| it["usage"]["cpu"].as_str().unwrap());
    let cpu = cpu.map(|it| it.strip_suffix('m').unwrap().parse::<f64>().unwrap()).sum();
    let memory = containers.iter().map(|it| unit(it["usage"]["memory"].as_str().unwrap())).sum();
    (cpu, memory)
}

/// How many backups there are: none, or unknown where the cluster has no such kind.
fn backups(lab: &Lab) -> Value {
    if lab.cluster.has("backup.kubevirt.io") { json!(0) } else { Value::Null }
}

fn four() -> Value {
    json!({ "cpu": { "cores": 2, "sockets": 2, "threads": 1 }, "memory": { "guest": "2Gi" } })
}

/// A namespace with a machine that runs, one that is off, a snapshot and a golden image.
fn stocked() -> Lab {
    let lab = Lab::new();
    lab.make("web01", "Always", &four());
    lab.make("db01", "Halted", &json!({ "cpu": null, "memory": null }));
    let patch = json!({ "spec": { "instancetype": { "name": "big" } } });
    let kind = json!({
        "apiVersion": "instancetype.kubevirt.io/v1beta1",
        "kind": "VirtualMachineClusterInstancetype",
        "metadata": { "name": "big" },
        "spec": { "cpu": { "guest": 8 }, "memory": { "guest": "1536Mi" } },
    });
    lab.cluster.apply("default", &kind);
    lab.cluster.kubectl(&[
        "patch",
        "vm",
        "db01",
        "-n",
        &lab.space,
        "--type=merge",
        "-p",
        &patch.to_string(),
    ]);
    lab.cluster.apply(&lab.space, &json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": "before" },
        "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" } },
    }));
    lab.cluster.apply(
        &lab.space,
        &json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataSource",
            "metadata": { "name": "debian" },
            "spec": { "source": { "pvc": { "name": "debian", "namespace": lab.space } } },
        }),
    );
    lab
}

#[test]
fn flag_output_and_flag_namespace_what_there_is_in_every_format() {
    let lab = stocked();
    let rows = lab.ok(&["summary"]);
    let [one, all] = rows.as_slice() else { panic!("{rows:?}") };
    let expected = json!({
        "schema": "hyper.metrics_summary/v1",
        "scope": "context",
        "context": "hyper-sim",
        "provider": "kubevirt",
        "timestamp": one["timestamp"],
        "place": format!("{}/{}", lab.cluster.at("url"), lab.space),
        "vms": 2, "vms_running": 1, "vms_stopped": 1, "vms_paused": 0, "vms_starting": 0,
        "vms_stopping": 0, "vms_failed": 0, "vms_unknown": 0,
        "phases": { "Running": 1, "Stopped": 1 },
        "cpus": 12,
        "memory_bytes": 3584_u64 << 20,
        "vms_of_unknown_size": 0,
        "templates": 1,
        "snapshots": 1,
        "backups": backups(&lab), "backups_completed": backups(&lab), "backups_failed": backups(&lab),
        "restores": 0, "restores_completed": 0,
        "operator_status": "Deployed",
        "operator_replicas": null,
        "error_kind": null,
        "error": null,
    });
    assert_eq!(*one, expected);
    assert_eq!(
        (&all["scope"], &all["cpus"], &all["context"]),
        (&json!("all"), &json!(12), &Value::Null)
    );
    let table = lab.run(&[]).out;
    assert_eq!(table.lines().count(), 2, "one place needs no sum: {table}");
    assert!(table.contains("3.5 GiB"), "{table}");
    let yaml = lab.run(&["-o", "yaml"]).out;
    assert!(yaml.contains("Stopped: 1"), "{yaml}");
    let path = lab.run(&["-o", "jsonpath={.items[1].memory_bytes}"]).out;
    assert_eq!(path.trim(), "3758096384");
    assert_eq!(lab.run(&["-o", "name"]).out, "hyper-sim:\n(all)\n");
    let values = lab.run(&["-o", "prometheus"]).out;
    assert!(values.contains("\n# TYPE hyper_vms gauge\n"), "{values}");
    assert!(
        values.contains("\nhyper_vms{context=\"hyper-sim\",status=\"running\"} 1\n"),
        "{values}"
    );
    assert!(
        values.contains("\nhyper_vm_memory_bytes{context=\"hyper-sim\"} 3758096384\n"),
        "{values}"
    );
}

/// The rows of hypersdk's metrics, in their order.
const ROWS: [&str; 20] = [
    "Timestamp",
    "Operator Status",
    "Operator Replicas",
    "Total VMs",
    "Running VMs",
    "Stopped VMs",
    "Failed VMs",
    "Total Backups",
    "Completed Backups",
    "Failed Backups",
    "Total Restores",
    "Completed Restores",
    "Total Templates",
    "Total Snapshots",
    "Total CPU Cores (VMs)",
    "Total Memory (VMs)",
    "Avg Carbon Intensity (VMs)",
    "Carbon-Aware VMs",
    "Carbon-Aware Backups",
    "Avg Carbon Intensity (Backups)",
];

#[test]
fn flag_save_and_flag_overwrite_write_the_dated_file_once() {
    let lab = stocked();
    let csv = lab.run(&["-o", "csv"]).out;
    let lines: Vec<_> = csv.lines().map(|line| line.split_once(',').unwrap()).collect();
    assert_eq!(lines[0], ("Metric", "Value"));
    assert_eq!(lines[1..].iter().map(|it| it.0).collect::<Vec<_>>(), ROWS);
    let values: Vec<_> = lines[2..].iter().map(|it| it.1).collect();
    let none = if backups(&lab).is_null() { "" } else { "0" };
    let known =
        ["Deployed", "", "2", "1", "1", "0", none, none, none, "0", "0", "1", "1", "12", "3.50 Gi"];
    assert_eq!(values, [&known[..], &["", "", "", ""]].concat());

    let saved = lab.run(&["--save"]);
    assert_eq!((saved.status, saved.out.as_str()), (0, ""), "{saved:?}");
    let files = || -> Vec<String> {
        let all = std::fs::read_dir(lab.home.path()).unwrap();
        let all = all.map(|it| it.unwrap().file_name().into_string().unwrap());
        all.filter(|name| name.contains("metrics")).collect()
    };
    let [name] = &files()[..] else { panic!("{:?}", files()) };
    let day = name.strip_prefix("k8s-metrics-").and_then(|it| it.strip_suffix(".csv")).unwrap();
    assert!(day.parse::<jiff::civil::Date>().is_ok(), "{name}");
    assert!(saved.err.contains(&format!("wrote {name}")), "{saved:?}");
    let read = || std::fs::read_to_string(lab.home.path().join(name)).unwrap();
    let without_time = |text: &str| text.split_once("\nOperator").unwrap().1.to_owned();
    assert_eq!(without_time(&read()), without_time(&csv));

    std::fs::write(lab.home.path().join(name), "mine").unwrap();
    let again = lab.run(&["--save", "-o", "csv"]);
    assert_eq!((again.status, read().as_str()), (6, "mine"), "{again:?}");
    let replaced = lab.run(&["--save", "--overwrite"]);
    assert_eq!(replaced.status, 0, "{replaced:?}");
    assert_eq!(without_time(&read()), without_time(&csv));
    assert_eq!(files().len(), 1, "nothing else is left: {:?}", files());
    assert_eq!(lab.run(&["--save", "-o", "json"]).status, 2);
}

#[test]
fn flag_context_and_flag_all_contexts_and_flag_all_namespaces_count_every_cluster_once() {
    let lab = stocked();
    let east = Cluster::start(&["--pace", "50ms", "--name", "east", "--vms", "7"]);
    make(&east, "default", "web01", "Halted", &four());
    let both = format!("{}:{}", lab.cluster.kubeconfig(), east.kubeconfig());
    let rows = |args: &[&str]| {
        let done = lab.with(&both, &[args, &["-o", "ndjson"]].concat());
        let by = |row: Value| (row["context"].as_str().unwrap_or("all").to_owned(), row);
        (done.status, done.lines().into_iter().map(by).collect::<Vec<_>>(), done.err)
    };
    let two = ["--context", "hyper-sim,east", "-n", &lab.space];
    let (status, missing, said) = rows(&two);
    assert_eq!((status, &missing[1].1["error_kind"]), (10, &json!("not_found")), "{missing:?}");
    assert!(said.contains("east") && said.contains("there is no namespace"), "{said}");
    east.kubectl(&["create", "namespace", &lab.space]);
    let (status, two, _) = rows(&two);
    assert_eq!((status, two.len()), (0, 3), "{two:?}");
    assert_eq!((&two[1].0[..], &two[1].1["vms"]), ("east", &json!(0)), "an empty one: {two:?}");
    assert_eq!((&two[0].1["vms"], &two[2].1["vms"]), (&json!(2), &json!(2)));
    make(&east, &lab.space, "web02", "Halted", &four());
    let (status, one, _) = rows(&["--context", "east", "-A"]);
    assert_eq!((status, &one[0].1["vms"], &one[1].1["vms"]), (0, &json!(9), &json!(9)), "{one:?}");
    assert_eq!(one[0].1["restores"], 0);
    assert!(one[0].1["cpus"].as_u64().unwrap() >= 4 + 4 + 7, "{one:?}");

    let (status, all, said) = rows(&["--all-contexts", "-A"]);
    assert_eq!((status, all.len()), (10, 7), "one may not look: {said}");
    let of = |name: &str| &all.iter().find(|it| it.0 == name).unwrap().1;
    let (sim, east, sum) = (of("hyper-sim"), of("east"), of("all"));
    let add = |field: &str| sim[field].as_u64().unwrap() + east[field].as_u64().unwrap();
    for field in ["vms", "vms_running", "cpus", "memory_bytes", "templates", "snapshots"] {
        assert_eq!(sum[field].as_u64(), Some(add(field)), "two lead to each cluster: {field}");
    }
    // The other cluster is not this test's alone.
    if lab.cluster.has("rbac.authorization.k8s.io") {
        assert_eq!(of("east-viewer")["vms"], east["vms"]);
    }
    for nobody in ["hyper-sim-nobody", "east-nobody"] {
        assert_eq!((&of(nobody)["error_kind"], &of(nobody)["vms"]), (&json!("auth"), &Value::Null));
        assert!(said.contains(nobody), "{said}");
    }
    assert!(all.iter().all(|it| it.0 != "local"), "files have no metrics");
    let unmeasured = lab.with(&both, &["vm", "-c", "east"]);
    assert_eq!((unmeasured.status, unmeasured.out.as_str()), (7, ""), "{unmeasured:?}");
    assert!(unmeasured.err.contains("this cluster measures no usage"), "{unmeasured:?}");
    assert!(unmeasured.err.contains("hint: metrics-server"), "{unmeasured:?}");
    let local = lab.with(&both, &["--context", "local"]);
    assert_eq!(local.status, 7, "{local:?}");
}

#[test]
fn what_machines_use_is_what_kubectl_says() {
    let lab = stocked();
    wait_for("the pod", || !lab.ok(&["vm"]).is_empty());
    let rows = lab.ok(&["vm"]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let (cpu, memory) = top(&lab, "web01");
    let expected = json!({
        "schema": "hyper.metrics_sample/v1",
        "entity_name": "web01",
        "entity_type": "vm",
        "context": "hyper-sim",
        "entity_id": format!("{}/web01", lab.space),
        "timestamp": row["timestamp"],
        "interval_seconds": 15,
        "cpu_cores": cpu / 1000.0,
        "cpu_usage_mhz": null,
        "cpu_percent": cpu / 40.0,
        "memory_usage_bytes": memory,
        "memory_percent": 100.0 * memory as f64 / f64::from(1 << 30) / 2.0,
        "memory_usage_mb": memory as f64 / f64::from(1 << 20),
        "disk_read_mbps": null, "disk_write_mbps": null, "net_rx_mbps": null, "net_tx_mbps": null,
        "derived": false,
        "metadata": row["metadata"],
    });
    assert_eq!(*row, expected);
    assert!(row["metadata"]["pod"].as_str().unwrap().starts_with("virt-launcher-web01-"));
    assert_eq!(lab.ok(&["vm", "web01", "web01"]).len(), 1, "named twice, measured once");
    let off = lab.run(&["vm", "db01", "web01", "-o", "csv"]);
    assert_eq!((off.status, off.out.lines().count()), (0, 2), "{off:?}");
    assert!(off.err.contains("hyper-sim:db01: there are no values of it"), "{off:?}");
    let values = lab.run(&["vm", "-o", "prometheus"]).out;
    let line = format!(
        "\nhyper_vm_cpu_usage_cores{{context=\"hyper-sim\",name=\"web01\",id=\"{}/web01\"}} 1.001\n",
        lab.space
    );
    assert!(values.contains(&line), "{values}");
    assert_eq!(lab.run(&["vm", "nope"]).status, 5);
    for (args, words) in [
        (&["vm", "--realtime"][..], "a cluster keeps the latest values only"),
        (&["vm", "--start", "1h ago"], "a cluster keeps the latest values only"),
        (&["host"], "kubevirt measures machines only"),
    ] {
        let done = lab.run(args);
        assert_eq!(done.status, 7, "{done:?}");
        assert!(done.err.contains(words), "{done:?}");
    }
}

#[test]
fn flag_kubeconfig() {
    let lab = Lab::new();
    let file = lab.home.path().join("other");
    std::fs::copy(lab.cluster.kubeconfig(), &file).unwrap();
    let file = file.to_str().unwrap();
    let rename = ["config", "rename-context", "hyper-sim", "elsewhere", "--kubeconfig", file];
    lab.cluster.kubectl(&rename);
    let done = lab.anywhere(&["--kubeconfig", file, "-c", "elsewhere"]);
    assert_eq!(done.status, 0, "{done:?}");
}

#[test]
fn flag_timeout_and_flag_quiet_and_flag_verbose() {
    let lab = Lab::new();
    let fault = format!("op=list,object={}/virtualmachines,delay=8s,max=1", lab.space);
    lab.cluster.fault(&fault);
    let late = lab.run(&["--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    lab.make("db01", "Halted", &four());
    let loud = lab.run(&["vm", "db01"]);
    assert!(loud.err.contains("no values of it"), "{loud:?}");
    let quiet = lab.run(&["vm", "db01", "--quiet"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""), "{quiet:?}");
    let verbose = lab.run(&["vm", "db01", "-v"]);
    assert!(verbose.err.contains("configuration:"), "{verbose:?}");
}
