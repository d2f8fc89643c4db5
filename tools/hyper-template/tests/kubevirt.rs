//! `hyper-template` on KubeVirt: a simulated one in front of a real API server, with kubectl to
//! compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::cluster::{Cluster, machine, wait_for};
use self::vcsim::{Done, run};

const INSTANCETYPE: &str = "instancetype.kubevirt.io/default-instancetype";
const PREFERENCE: &str = "instancetype.kubevirt.io/default-preference";

/// A namespace of the cluster, and a user of it.
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

    fn run(&self, args: &[&str]) -> Done {
        self.anywhere(&[args, &["-n", &self.space]].concat())
    }

    fn anywhere(&self, args: &[&str]) -> Done {
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        let program = env!("CARGO_BIN_EXE_hyper-template");
        run(program, self.home.path(), &variables, &[args, &["-c", "hyper-sim"]].concat())
    }

    /// The records of what must succeed.
    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let done = self.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.lines()
    }

    /// How a run that fails ends, and what it says.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        let done = self.run(args);
        (done.status, done.err)
    }

    /// A machine with a disk of its own and a second one.
    fn make(&self, name: &str, strategy: &str) {
        let mut object = machine(name, strategy);
        let volume = |disk: &str, size: &str| {
            json!({
                "metadata": { "name": format!("{name}-{disk}") },
                "spec": {
                    "source": { "registry": { "url": "docker://debian" } },
                    "storage": { "resources": { "requests": { "storage": size } } },
                },
            })
        };
        object["spec"]["dataVolumeTemplates"] =
            json!([volume("data", "32Mi"), volume("root", "64Mi")]);
        object["spec"]["instancetype"] = json!({ "name": self.shape("small") });
        object["spec"]["preference"] =
            json!({ "name": "guest", "kind": "VirtualMachinePreference" });
        let part = &mut object["spec"]["template"]["spec"];
        part["domain"] = json!({ "devices": { "disks": [
            { "name": "data", "disk": { "bus": "virtio" } },
            { "name": "root", "disk": { "bus": "virtio" }, "bootOrder": 1 },
        ] } });
        let disk = |disk: &str| json!({ "name": disk, "dataVolume": { "name": format!("{name}-{disk}") } });
        part["volumes"] = json!([disk("data"), disk("root")]);
        part["networks"] = json!([]);
        self.cluster.apply(&self.space, &object);
        let status = if strategy == "Always" { "Running" } else { "Stopped" };
        self.cluster.machine_is(&self.space, name, status);
    }

    /// What a name of something that the whole cluster shares is here.
    fn shape(&self, name: &str) -> String {
        format!("{name}-{}", self.space)
    }

    /// Two sizes for the whole cluster, and one with its devices for the namespace.
    fn shapes(&self) {
        let size = |kind: &str, name: &str, cpus: u32, memory: &str| {
            json!({
                "apiVersion": "instancetype.kubevirt.io/v1beta1",
                "kind": kind,
                "metadata": { "name": name, "annotations": {
                    "instancetype.kubevirt.io/description": format!("{cpus} processors") } },
                "spec": { "cpu": { "guest": cpus }, "memory": { "guest": memory } },
            })
        };
        let shared = "VirtualMachineClusterInstancetype";
        let preference = json!({
            "apiVersion": "instancetype.kubevirt.io/v1beta1",
            "kind": "VirtualMachinePreference",
            "metadata": { "name": "guest" },
            "spec": {},
        });
        for object in [
            size(shared, &self.shape("small"), 1, "1Gi"),
            size(shared, &self.shape("large"), 4, "8Gi"),
            size("VirtualMachineInstancetype", "own", 2, "512Mi"),
            preference,
        ] {
            self.cluster.apply(&self.space, &object);
        }
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.cluster.get(&self.space, kind, name)
    }

    /// The names of all objects of a kind.
    fn names(&self, kind: &str) -> Vec<String> {
        let list = self.cluster.kubectl(&["get", kind, "-n", &self.space, "-o", "name"]);
        list.lines().map(|line| line.split_once('/').unwrap().1.to_owned()).collect()
    }

    /// Lets each step of a volume take so long that it is seen.
    fn slow(&self, volume: &str) {
        let object = format!("datavolumes/{}/{volume}", self.space);
        self.cluster.fault(&format!("op=controller,object={object},delay=300ms"));
    }

    /// A golden image without a size of its own, ready.
    fn golden(&self) {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": "image" },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "hyper-sim",
                "resources": { "requests": { "storage": "48Mi" } },
            },
        });
        self.cluster.apply(&self.space, &claim);
        self.ok(&["create", "golden", "--claim", "image"]);
    }
}

#[test]
fn flag_from_makes_a_copy_of_the_disk_that_boots() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    lab.slow("debian");
    let told = ["-o", "json", "--progress", "lines"];
    let made = lab.run(&[&["create", "debian", "--from", "web01"][..], &told].concat());
    assert_eq!(made.status, 0, "{made:?}");
    let row = made.json();
    assert_eq!(
        (&row["schema"], &row["outcome"]),
        (&json!("hyper.template_action/v1"), &json!("done"))
    );
    assert_eq!(row["id"], format!("{}/debian", lab.space));
    assert!(made.err.contains("not part of it: data"), "{made:?}");
    assert!(made.err.contains("debian: Clone"), "how far it is, is told: {made:?}");
    assert!(made.err.contains("debian: 100%") && !made.err.contains("N/A"), "{made:?}");

    // kubectl reads what hyper wrote.
    let source = lab.get("datasource", "debian");
    let pvc = json!({ "namespace": lab.space, "name": "debian" });
    assert_eq!(source["spec"]["source"]["pvc"], pvc);
    let labels = &source["metadata"]["labels"];
    assert_eq!(labels[INSTANCETYPE], lab.shape("small"));
    assert_eq!(labels[format!("{INSTANCETYPE}-kind")], Value::Null);
    assert_eq!(labels[PREFERENCE], "guest");
    assert_eq!(labels[format!("{PREFERENCE}-kind")], "VirtualMachinePreference");
    let volume = lab.get("datavolume", "debian");
    assert_eq!(volume["spec"]["source"]["pvc"]["name"], "web01-root");
    assert_eq!(volume["status"]["phase"], "Succeeded");

    let listed = &lab.ok(&["list"])[0];
    let expected = json!({
        "schema": "hyper.template/v1",
        "context": "hyper-sim",
        "id": format!("{}/debian", lab.space),
        "name": "debian",
        "namespace": lab.space,
        "kind": "data-source",
        "ready": true,
        "reason": null,
        "size_bytes": 64 << 20,
        "cpus": null,
        "memory_bytes": null,
        "instancetype": lab.shape("small"),
        "preference": "guest",
        "guest_os_name": null,
        "source": format!("claim {}/debian", lab.space),
        "path": null,
        "description": null,
        "created": source["metadata"]["creationTimestamp"],
        "labels": labels,
    });
    assert_eq!(*listed, expected);
    assert_eq!(lab.ok(&["get", "debian"])[0], expected);

    let (status, words) = lab.refused(&["create", "debian", "--from", "web01"]);
    assert!(status == 6 && words.contains("the name is taken"), "{status} {words}");
    assert_eq!(lab.refused(&["create", "x", "--from", "nope"]).0, 5);
    assert_eq!(lab.refused(&["create", "No Name", "--from", "web01"]).0, 2);
    assert_eq!(lab.refused(&["create", "x"]).0, 2, "of what?");
    lab.cluster.put(&lab.space, "virtualmachines/web01/start", "{}").unwrap();
    lab.cluster.machine_is(&lab.space, "web01", "Running");
    let (status, words) = lab.refused(&["create", "x", "--from", "web01"]);
    assert!(status == 6 && words.contains("the machine runs"), "{status} {words}");
    assert_eq!(lab.names("datasource"), ["debian"]);
}

#[test]
fn flag_snapshot_and_flag_instancetype_and_flag_preference_of_create() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Always");
    let snapshot = json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": "before" },
        "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" } },
    });
    lab.cluster.apply(&lab.space, &snapshot);
    wait_for("the snapshot", || lab.get("vmsnapshot", "before")["status"]["readyToUse"] == true);
    let args = ["create", "old", "--from", "web01", "--snapshot", "before"];
    lab.ok(&[&args[..], &["--instancetype", "own", "--preference", "guest"]].concat());
    let labels = lab.get("datasource", "old")["metadata"]["labels"].clone();
    assert_eq!(labels[INSTANCETYPE], "own");
    assert_eq!(labels[format!("{INSTANCETYPE}-kind")], "VirtualMachineInstancetype");
    assert_eq!(labels[PREFERENCE], "guest");
    let volume = lab.get("datavolume", "old");
    let taken = volume["spec"]["source"]["snapshot"]["name"].as_str().unwrap();
    let content =
        lab.cluster.kubectl(&["get", "vmsnapshotcontent", "-n", &lab.space, "-o", "yaml"]);
    assert!(content.contains(&format!("volumeSnapshotName: {taken}")), "{content}");
    assert_eq!(lab.ok(&["list"])[0]["size_bytes"], 64 << 20);
    let none = ["create", "x", "--from", "web01", "--snapshot"];
    assert_eq!(lab.refused(&[&none[..], &["nope"]].concat()).0, 5);
    let other = ["before", "--instancetype", "nope"];
    assert_eq!(lab.refused(&[&none[..], &other].concat()).0, 5);
    let other = ["before", "--preference", "nope"];
    assert_eq!(lab.refused(&[&none[..], &other].concat()).0, 5);
}

#[test]
fn flag_claim_and_flag_dry_run_of_every_verb() {
    let lab = Lab::new();
    let golden = lab.refused(&["create", "golden", "--claim", "image"]);
    assert_eq!(golden.0, 5, "{golden:?}");
    lab.golden();
    assert_eq!(lab.get("datasource", "golden")["spec"]["source"]["pvc"]["name"], "image");
    assert_eq!(lab.names("datavolume"), [""; 0], "nothing is copied");
    let planned = |args: &[&str]| {
        let rows = lab.ok(&[args, &["--dry-run"]].concat());
        assert_eq!(rows[0]["outcome"], "planned", "{rows:?}");
    };
    planned(&["create", "other", "--claim", "image"]);
    planned(&["deploy", "golden", "web01", "--memory", "1Gi"]);
    planned(&["delete", "golden"]);
    assert_eq!((lab.names("datasource").len(), lab.names("vm").len()), (1, 0));
    lab.ok(&["delete", "golden", "--yes"]);
    assert_eq!(lab.names("pvc"), ["image"], "it was there before");
}

#[test]
fn flag_power_on_and_flag_wait_of_deploy() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    lab.ok(&["create", "debian", "--from", "web01"]);
    let made = lab.run(&["deploy", "debian", "a", "b", "--power-on", "--wait", "-o", "ndjson"]);
    assert_eq!(made.status, 0, "{made:?}");
    let mut rows = made.lines();
    rows.sort_by_key(|row| row["vm"].as_str().unwrap().to_owned());
    for (row, name) in rows.iter().zip(["a", "b"]) {
        assert_eq!((&row["vm"], &row["outcome"]), (&json!(name), &json!("done")));
        assert_eq!((&row["note"], &row["template"]), (&json!("switched on"), &json!("debian")));
        assert_eq!(row["id"], format!("{}/{name}", lab.space));
        let spec = &lab.get("vm", name)["spec"];
        assert_eq!(spec["instancetype"]["name"], lab.shape("small"));
        assert_eq!(spec["instancetype"]["kind"], "VirtualMachineClusterInstancetype");
        assert_eq!(spec["preference"]["kind"], "VirtualMachinePreference");
        let from = &spec["dataVolumeTemplates"][0]["spec"]["sourceRef"];
        assert_eq!(
            *from,
            json!({ "kind": "DataSource", "name": "debian", "namespace": lab.space })
        );
        assert_eq!(lab.get("datavolume", &format!("{name}-root"))["status"]["phase"], "Succeeded");
        let instance = lab.get("vmi", name);
        assert!(instance.to_string().contains("AgentConnected"), "{instance}");
    }
    let again = lab.ok(&["deploy", "debian", "a"]);
    assert_eq!(again[0]["outcome"], "exists");
    assert_eq!(lab.refused(&["deploy", "debian", "a", "--wait"]).0, 2, "for what?");
    let (status, words) = lab.refused(&["deploy", "debian", "c", "web01"]);
    assert!(status == 10 && words.contains("the name is taken"), "{status} {words}");
    assert_eq!(lab.get("vm", "c"), Value::Null, "nothing is made where not all can be");
    assert_eq!(lab.refused(&["deploy", "nope", "c"]).0, 5);
    assert_eq!(lab.refused(&["deploy", "debian", "c", "c"]).0, 2);
}

#[test]
fn flag_instancetype_and_flag_preference_and_flag_cpus_and_flag_memory_of_deploy() {
    let lab = Lab::new();
    lab.shapes();
    lab.golden();
    let (status, words) = lab.refused(&["deploy", "golden", "a"]);
    assert!(status == 2 && words.contains("how much memory"), "{status} {words}");
    assert!(
        words.contains("--memory or --instancetype") && !words.contains("--template"),
        "{words}"
    );
    let large = lab.shape("large");
    lab.ok(&["deploy", "golden", "a", "--instancetype", &large, "--preference", "guest"]);
    let spec = lab.get("vm", "a")["spec"].clone();
    assert_eq!(
        (&spec["instancetype"]["name"], &spec["preference"]["name"]),
        (&json!(large), &json!("guest"))
    );
    assert_eq!(spec["runStrategy"], "Halted");
    lab.ok(&["deploy", "golden", "b", "--cpus", "3", "--memory", "1Gi"]);
    let domain = lab.get("vm", "b")["spec"]["template"]["spec"]["domain"].clone();
    assert_eq!((&domain["cpu"]["sockets"], &domain["memory"]["guest"]), (&json!(3), &json!("1Gi")));
    let twice = ["deploy", "golden", "c", "--cpus", "3", "--instancetype", &large];
    assert_eq!(lab.refused(&twice).0, 2);
    assert_eq!(lab.refused(&["deploy", "golden", "c", "--instancetype", "nope"]).0, 5);
    assert_eq!(
        lab.refused(&["deploy", "golden", "c", "--preference", "nope", "--memory", "1Gi"]).0,
        5
    );
}

#[test]
fn flag_kind_and_flag_all_namespaces_and_flag_namespace() {
    let lab = Lab::new();
    lab.shapes();
    lab.golden();
    let names = |args: &[&str]| -> Vec<(String, Value)> {
        let rows = lab.ok(args);
        let own = |row: &&Value| row.to_string().contains(&lab.space);
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        rows.iter().filter(own).map(|row| (name(row), row["memory_bytes"].clone())).collect()
    };
    let wanted = [
        ("own".to_owned(), json!(512 << 20)),
        (lab.shape("large"), json!(8_u64 << 30)),
        (lab.shape("small"), json!(1 << 30)),
    ];
    assert_eq!(names(&["list", "--kind", "instancetype"]), wanted);
    assert_eq!(names(&["list", "--kind", "preference"]), [("guest".to_owned(), Value::Null)]);
    assert_eq!(names(&["list"]), [("golden".to_owned(), Value::Null)]);
    assert_eq!(names(&["list", "--kind", "machine"]), []);
    let own = &lab.ok(&["get", "own", "--kind", "instancetype,preference"])[0];
    assert_eq!((&own["cpus"], &own["description"]), (&json!(2), &json!("2 processors")));
    assert_eq!(lab.refused(&["get", "own"]).0, 5, "no machine is made from a size");
    assert_eq!(lab.refused(&["get", "golden", "--kind", "nonsense"]).0, 2);
    let elsewhere = lab.anywhere(&["list"]);
    assert_eq!((elsewhere.status, elsewhere.out.contains("golden")), (0, false), "{elsewhere:?}");
    let all = lab.anywhere(&["list", "-A"]);
    assert!(all.out.contains(&lab.space), "{all:?}");
    // A machine in one namespace from a template in another.
    let other = lab.cluster.namespace();
    let reference = format!("{}/golden", lab.space);
    let args = ["deploy", &reference, "web01", "--memory", "1Gi", "-n", &other];
    let made = lab.anywhere(&args);
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(lab.cluster.get(&other, "dv", "web01-root")["status"]["phase"], "Succeeded");
}

#[test]
fn flag_yes_and_what_deleting_leaves() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    lab.ok(&["create", "debian", "--from", "web01"]);
    lab.ok(&["deploy", "debian", "web02"]);
    assert_eq!(lab.refused(&["delete", "debian"]).0, 2, "nobody to ask");
    assert_eq!(lab.names("datasource"), ["debian"]);
    let rows = lab.run(&["delete", "debian", "nope", "--yes", "-o", "ndjson"]);
    assert_eq!(rows.status, 10, "{rows:?}");
    let mut told: Vec<_> = rows.lines().iter().map(|it| it["outcome"].clone()).collect();
    told.sort_by_key(Value::to_string);
    assert_eq!(told, ["done", "failed"]);
    assert_eq!(lab.names("datasource"), [""; 0]);
    assert_eq!(lab.get("dv", "debian"), Value::Null, "its copy goes with it");
    assert_eq!(lab.get("dv", "web02-root")["status"]["phase"], "Succeeded");
    assert_eq!(lab.get("dv", "web01-root")["status"]["phase"], "Succeeded");
    lab.golden();
    let cron =
        ["label", "datasource", "golden", "cdi.kubevirt.io/dataImportCron=daily", "-n", &lab.space];
    lab.cluster.kubectl(&cron);
    let (status, words) = lab.refused(&["delete", "golden", "--yes"]);
    assert!(status == 6 && words.contains("daily"), "{status} {words}");
}

#[test]
fn flag_timeout_and_a_failure_leave_nothing() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    let fault = |name: &str| {
        let rule = format!(
            "op=datavolume,object=datavolumes/{}/{name},fault=the storage says no",
            lab.space
        );
        lab.cluster.fault(&rule);
    };
    fault("bad");
    let failed = lab.run(&["create", "bad", "--from", "web01"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("the storage says no"), "{failed:?}");
    assert_eq!((lab.names("datasource").len(), lab.get("dv", "bad")), (0, Value::Null));
    lab.ok(&["create", "debian", "--from", "web01"]);
    fault("web02-root");
    let failed = lab.run(&["deploy", "debian", "web02"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("the storage says no"), "{failed:?}");
    assert_eq!(lab.get("vm", "web02"), Value::Null);
    let slow = format!("op=controller,object=datavolumes/{}/late,delay=3s,max=3", lab.space);
    lab.cluster.fault(&slow);
    let late = lab.run(&["create", "late", "--from", "web01", "--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    wait_for("the template to go", || lab.names("datasource") == ["debian"]);
    let slow = format!("op=controller,object=datavolumes/{}/web03-root,delay=3s,max=3", lab.space);
    lab.cluster.fault(&slow);
    let late = lab.run(&["deploy", "debian", "web03", "--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    assert_eq!(lab.get("vm", "web03"), Value::Null, "what is not whole goes");
    let pending = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": { "name": "pending" },
        "spec": { "source": { "pvc": { "namespace": lab.space, "name": "nope" } } },
    });
    lab.cluster.apply(&lab.space, &pending);
    wait_for("its condition", || {
        lab.get("datasource", "pending")["status"]["conditions"].is_array()
    });
    let (status, words) = lab.refused(&["deploy", "pending", "web04", "--memory", "1Gi"]);
    assert!(status == 6 && words.contains("PVC not found"), "{status} {words}");
    let row = &lab.ok(&["get", "pending"])[0];
    assert_eq!((&row["ready"], &row["reason"]), (&json!(false), &json!("PVC not found")));
}

#[test]
fn flag_progress_of_create_and_of_deploy() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    for (args, name) in [
        (&["create", "debian", "--from", "web01"][..], "debian"),
        (&["deploy", "debian", "web02"], "web02"),
    ] {
        let done = lab.run(&[args, &["--progress", "json"]].concat());
        assert_eq!(done.status, 0, "{done:?}");
        let told: Vec<Value> =
            done.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_it = |it: &&Value| it.to_string().contains(&format!("{name:?}"));
        assert!(told.iter().filter(of_it).count() > 1, "{done:?}");
        assert!(done.err.contains("Succeeded"), "the phases are told: {done:?}");
    }
    let silent = lab.run(&["deploy", "debian", "web03", "--progress", "none"]);
    assert_eq!((silent.status, silent.err.as_str()), (0, ""));
}

/// A program of this workspace that is built beside the tests.
fn beside(name: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().unwrap().parent().unwrap().join(name);
    assert!(built.exists(), "{} is not built: run cargo test --workspace", built.display());
    built.display().to_string()
}

#[test]
fn what_a_killed_run_left_of_a_template_is_known_and_removed() {
    let lab = Lab::new();
    lab.shapes();
    lab.make("web01", "Halted");
    let object = format!("datavolumes/{}/debian", lab.space);
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=2"));
    let create = ["create", "debian", "--from", "web01"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hyper-template"));
    command.args(create).args(["-c", "hyper-sim", "-n", &lab.space]);
    command.env_clear().env("HOME", lab.home.path()).env("KUBECONFIG", lab.cluster.kubeconfig());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_for("the copy to be begun", || lab.get("dv", "debian") != Value::Null);
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, words) = lab.refused(&create);
    assert!(status == 6 && words.contains("hyper history runs clean"), "{status} {words}");
    let variables = [("KUBECONFIG", lab.cluster.kubeconfig().to_owned())];
    let clean = |more: &[&str]| {
        let args = [&["runs", "clean"][..], more].concat();
        let done = run(&beside("hyper-history"), lab.home.path(), &variables, &args);
        assert_eq!(done.status, 0, "{done:?}");
        done.out
    };
    assert!(clean(&["--dry-run"]).contains("half-made template"));
    assert_eq!(lab.names("datasource"), ["debian"], "nothing is removed yet");
    assert!(clean(&["--yes"]).contains("half-made template"));
    assert_eq!((lab.names("datasource").len(), lab.get("dv", "debian")), (0, Value::Null));
    // A whole one of the same name is left alone.
    wait_for("the claim to go", || !lab.names("pvc").iter().any(|name| name == "debian"));
    lab.ok(&create);
    let whole = lab.get("datasource", "debian");
    assert!(!whole["metadata"].to_string().contains("hyper/unfinished"), "{whole}");
    assert!(!clean(&["--yes"]).contains("removed"));
    assert_eq!(lab.names("datasource"), ["debian"]);
}

#[test]
fn flag_folder_and_flag_pool_and_flag_datastore_and_flag_host_are_not_kubevirts() {
    let lab = Lab::new();
    lab.shapes();
    lab.golden();
    lab.make("web01", "Halted");
    for flag in ["--folder", "--pool", "--datastore", "--host"] {
        let create = ["create", "x", "--from", "web01", flag, "y"];
        assert_eq!(lab.refused(&create).0, 7, "{flag}");
        let deploy = ["deploy", "golden", "x", "--memory", "1Gi", flag, "y"];
        assert_eq!(lab.refused(&deploy).0, 7, "{flag}");
    }
    let customized = ["deploy", "golden", "x", "--memory", "1Gi", "--customize", "y"];
    assert_eq!(lab.refused(&customized).0, 7);
    assert_eq!(lab.refused(&["create", "x", "--from", "web01", "--convert"]).0, 7);
    lab.cluster.apply(&lab.space, &machine("diskless", "Halted"));
    lab.cluster.machine_is(&lab.space, "diskless", "Stopped");
    assert_eq!(lab.refused(&["create", "x", "--from", "diskless"]).0, 7);
}

#[test]
fn flag_kubeconfig_and_flag_all_contexts() {
    let lab = Lab::new();
    lab.golden();
    let file = lab.home.path().join("other");
    std::fs::copy(lab.cluster.kubeconfig(), &file).unwrap();
    let file = file.to_str().unwrap();
    let rename = ["config", "rename-context", "hyper-sim", "elsewhere", "--kubeconfig", file];
    lab.cluster.kubectl(&rename);
    let program = env!("CARGO_BIN_EXE_hyper-template");
    let args = |more: &[&str]| {
        let args = [more, &["--kubeconfig", file, "-n", &lab.space]].concat();
        run(program, lab.home.path(), &[], &args)
    };
    for verb in [&["list"][..], &["get", "golden"], &["delete", "golden", "--dry-run"]] {
        let done = args(&[verb, &["-c", "elsewhere"]].concat());
        assert_eq!(done.status, 0, "{done:?}");
    }
    let all = args(&["list", "--all-contexts", "-o", "ndjson"]);
    assert_eq!(all.status, 10, "one may see nothing: {all:?}");
    assert!(all.lines().iter().any(|it| it["context"] == "elsewhere"), "{all:?}");
    assert!(!all.err.contains("local"), "files have no templates: {all:?}");
    assert_eq!(args(&["list", "-c", "local"]).status, 7);
}

#[test]
fn flag_context_and_flag_output_and_flag_quiet_and_flag_verbose() {
    let lab = Lab::new();
    lab.golden();
    let id = format!("hyper-sim:@{}/golden\n", lab.space);
    for verb in [&["list"][..], &["get", "golden"], &["delete", "golden", "--dry-run"]] {
        assert_eq!(lab.run(&[verb, &["-o", "name"]].concat()).out, id);
        let nowhere = run(
            env!("CARGO_BIN_EXE_hyper-template"),
            lab.home.path(),
            &[("KUBECONFIG", lab.cluster.kubeconfig().to_owned())],
            &[verb, &["-c", "nowhere"]].concat(),
        );
        assert_eq!(nowhere.status, 5, "{nowhere:?}");
    }
    let facts = lab.run(&["get", "golden"]);
    assert!(facts.out.contains("source") && facts.out.contains("claim"), "{facts:?}");
    let by_id = lab.run(&["get", &format!("@{}/golden", lab.space), "-o", "name"]);
    assert_eq!(by_id.out, id);
    let told = lab.run(&["list", "-v"]);
    assert!(told.err.contains("configuration:"), "{told:?}");
    let empty = ["list", "--kind", "machine"];
    assert!(lab.run(&empty).err.contains("no template"));
    assert_eq!(lab.run(&[&empty[..], &["-q"]].concat()).err, "");
    let quiet = lab.run(&["deploy", "golden", "b", "--memory", "1Gi", "-q"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
}
