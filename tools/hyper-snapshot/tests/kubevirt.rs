//! `hyper-snapshot` on KubeVirt: a simulated one in front of a real API server, with kubectl to
//! compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::cluster::{Cluster, machine, wait_for};
use self::vcsim::{Done, run};

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
        let program = env!("CARGO_BIN_EXE_hyper-snapshot");
        run(program, self.home.path(), &variables, &[args, &["-c", "hyper-sim"]].concat())
    }

    /// The records of what must succeed.
    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let done = self.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.lines()
    }

    /// A machine with a disk of its own.
    fn make(&self, name: &str, strategy: &str) {
        let mut object = machine(name, strategy);
        let disk = format!("{name}-root");
        object["spec"]["dataVolumeTemplates"] = json!([{
            "metadata": { "name": disk },
            "spec": {
                "source": { "registry": { "url": "docker://debian" } },
                "storage": { "resources": { "requests": { "storage": "64Mi" } } },
            },
        }]);
        object["spec"]["template"]["spec"]["volumes"][0] =
            json!({ "name": "root", "dataVolume": { "name": disk } });
        self.cluster.apply(&self.space, &object);
        let status = if strategy == "Always" { "Running" } else { "Stopped" };
        self.cluster.machine_is(&self.space, name, status);
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.cluster.get(&self.space, kind, name)
    }

    /// The names of all objects of a kind.
    fn names(&self, kind: &str) -> Vec<String> {
        let list = self.cluster.kubectl(&["get", kind, "-n", &self.space, "-o", "name"]);
        list.lines().map(|line| line.split_once('/').unwrap().1.to_owned()).collect()
    }
}

#[test]
fn flag_quiesce_and_flag_description_of_a_running_machine() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    wait_for("the agent", || lab.get("vmi", "web01").to_string().contains("AgentConnected"));
    let args = ["create", "web01", "--name", "before", "--quiesce", "--description", "for a test"];
    let made = &lab.ok(&args)[0];
    assert_eq!((&made["outcome"], &made["snapshot"]), (&json!("done"), &json!("before")));
    assert_eq!(made["note"], "Online, GuestAgent");
    let there = lab.get("vmsnapshot", "before");
    assert_eq!(there["metadata"]["annotations"]["description"], "for a test");
    assert_eq!(there["status"]["readyToUse"], true);
    let listed = &lab.ok(&["list", "web01"])[0];
    let expected = json!({
        "schema": "hyper.snapshot/v1",
        "vm": "web01",
        "context": "hyper-sim",
        "vm_id": format!("{}/web01", lab.space),
        "id": "before",
        "name": "before",
        "description": "for a test",
        "created": listed["created"],
        "parent": null,
        "depth": 0,
        "current": null,
        "status": "ready",
        "memory": false,
        "quiesced": true,
        "indications": there["status"]["indications"],
        "size_bytes": null,
        "capacity_bytes": 64 << 20,
        "error": null,
    });
    assert_eq!(*listed, expected);
    let made: jiff::Timestamp = listed["created"].as_str().unwrap().parse().unwrap();
    assert_eq!(made, there["status"]["creationTime"].as_str().unwrap().parse().unwrap());
}

#[test]
fn a_machine_that_is_off_returns_to_a_snapshot() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    let claim = || {
        let volumes = &lab.get("vm", "web01")["spec"]["template"]["spec"]["volumes"];
        volumes[0]["dataVolume"]["name"].as_str().unwrap().to_owned()
    };
    lab.ok(&["create", "web01", "--name", "a"]);
    let runs = lab.run(&["revert", "web01", "a", "--yes"]);
    assert_eq!(runs.status, 6, "{runs:?}");
    assert!(runs.err.contains("only one that is off"), "{runs:?}");
    assert_eq!(lab.names("vmrestore"), [""; 0]);
    lab.cluster.put(&lab.space, "virtualmachines/web01/stop", "{}").unwrap();
    lab.cluster.machine_is(&lab.space, "web01", "Stopped");
    assert_eq!(lab.run(&["revert", "web01", "a"]).status, 2, "nobody to ask");
    assert_eq!(claim(), "web01-root");
    let done = &lab.ok(&["restore", "web01", "a", "--yes"])[0];
    assert_eq!((&done["action"], &done["outcome"]), (&json!("revert"), &json!("done")));
    assert!(claim().starts_with("restore-"), "{}", claim());
    assert_eq!(lab.get("pvc", &claim())["status"]["phase"], "Bound");
    assert_eq!(lab.names("vmrestore"), [""; 0], "what was made for it is gone");

    lab.make("db01", "Halted");
    lab.ok(&["create", "db01", "--name", "b"]);
    let other = lab.run(&["revert", "web01", "b", "--yes"]);
    assert_eq!(other.status, 5, "that is another machine's: {other:?}");
    lab.cluster.fault(&format!("op=restore,object={}/,fault=the storage says no", lab.space));
    let failed = lab.run(&["revert", "db01", "b", "--yes"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("the storage says no"), "{failed:?}");
    assert_eq!(lab.names("vmrestore"), [""; 0]);
}

#[test]
fn flag_memory_and_flag_children_are_not_kubevirts() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let memory = lab.run(&["create", "web01", "--memory"]);
    assert_eq!((memory.status, lab.names("vmsnapshot").len()), (7, 0), "{memory:?}");
    lab.ok(&["create", "web01", "--name", "a"]);
    let children = lab.run(&["delete", "web01", "a", "--children", "--yes"]);
    assert_eq!((children.status, lab.names("vmsnapshot").len()), (7, 1), "{children:?}");
    assert_eq!(lab.run(&["consolidate", "web01"]).status, 7);
    let twice = lab.run(&["create", "web01", "--name", "a"]);
    assert_eq!(twice.status, 6, "{twice:?}");
    let gone = &lab.ok(&["delete", "web01", "a", "--yes"])[0];
    assert_eq!(gone["outcome"], "done");
    assert_eq!((lab.names("vmsnapshot").len(), lab.names("vmsnapshotcontent").len()), (0, 0));
    assert_eq!(lab.run(&["create", "nope"]).status, 5);
    assert_eq!(lab.run(&["create", "web01", "--name", "No Name"]).status, 2);
}

#[test]
fn flag_timeout_takes_back_what_is_not_ready_and_so_does_a_failure() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let bad = format!("op=snapshot,object={}/bad,fault=the storage says no", lab.space);
    lab.cluster.fault(&bad);
    let failed = lab.run(&["create", "web01", "--name", "bad", "-o", "json"]);
    assert_eq!((failed.status, &failed.json()["outcome"]), (1, &json!("failed")), "{failed:?}");
    assert!(failed.err.contains("the storage says no"), "{failed:?}");
    let object = format!("virtualmachinesnapshots/{}", lab.space);
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=3"));
    let late = lab.run(&["create", "web01", "--name", "late", "--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    wait_for("both to go", || lab.names("vmsnapshot").is_empty());
}

#[test]
fn flag_selector_and_flag_all_namespaces_and_flag_namespace() {
    let lab = Lab::new();
    for name in ["web", "db"] {
        lab.make(name, "Halted");
    }
    let made = &lab.ok(&["create", "-l", "app=web"])[0];
    let name = made["snapshot"].as_str().unwrap();
    assert!(name.starts_with("web-2"), "{name}");
    assert_eq!(lab.names("vmsnapshot"), [name]);
    let there = format!("namespace={}", lab.space);
    let none = lab.anywhere(&["create", "--match", &there]);
    assert_eq!((none.status, none.out.as_str()), (0, ""), "they are not in default: {none:?}");
    let all = lab.anywhere(&["create", "-A", "--match", &there, "--name", "{vm}-x"]);
    assert_eq!(all.status, 0, "{all:?}");
    let mut names = lab.names("vmsnapshot");
    names.sort();
    assert_eq!(names, ["db-x", name, "web-x"]);
    lab.ok(&["prune", "web", "db", "--keep", "1", "--yes"]);
    let mut names = lab.names("vmsnapshot");
    names.sort();
    assert_eq!(names, ["db-x", "web-x"]);
}

#[test]
fn flag_kubeconfig() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let file = lab.home.path().join("other");
    std::fs::copy(lab.cluster.kubeconfig(), &file).unwrap();
    let file = file.to_str().unwrap();
    let rename = ["config", "rename-context", "hyper-sim", "elsewhere", "--kubeconfig", file];
    lab.cluster.kubectl(&rename);
    let args = ["list", "--kubeconfig", file, "-n", &lab.space, "web01"];
    let program = env!("CARGO_BIN_EXE_hyper-snapshot");
    let done = run(program, lab.home.path(), &[], &[&args[..], &["-c", "elsewhere"]].concat());
    assert_eq!(done.status, 0, "{done:?}");
}
