//! `hyper-watch --kind`: what a simulated KubeVirt does beside its machines, in front of a real API
//! server. kubectl asks for it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;
mod watching;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cluster::{Cluster, machine};
use serde_json::{Value, json};
use watching::Watching;

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

    fn make(&self, name: &str, strategy: &str, status: &str) {
        self.cluster.apply(&self.space, &machine(name, strategy));
        self.cluster.machine_is(&self.space, name, status);
    }

    fn object(&self, group: &str, kind: &str, name: &str, spec: &Value) {
        let object =
            json!({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec});
        self.cluster.apply(&self.space, &object);
    }

    fn snapshot(&self, name: &str, of: &str) {
        let spec =
            json!({"source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": of}});
        self.object("snapshot.kubevirt.io/v1beta1", "VirtualMachineSnapshot", name, &spec);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
        command.args(args).args(["-c", "hyper-sim", "-n", &self.space]);
        command.env_clear().env("HOME", self.home.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig()).stdin(Stdio::null());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|it| ("HYPER_NEUTRALISE", it)));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(&[args, &["--timeout", "20"]].concat()).output().unwrap()
    }
}

/// The records up to one that says so of an object; each is news.
fn until(watch: &mut Watching, name: &str, field: &str, value: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let record = watch.record();
        let same = |it: &&Value| it["object"]["id"] == record["object"]["id"];
        let before = all.iter().rev().find(same);
        assert!(before.is_none_or(|it| it["object"] != record["object"]), "told twice: {record}");
        let found = record["object"]["name"] == name && record["object"][field] == value;
        all.push(record);
        if found {
            return all;
        }
    }
}

#[test]
fn flag_kind_follows_what_happens_to_machines() {
    let lab = Lab::new();
    lab.make("web01", "Always", "Running");
    let mut watch = Watching::start(lab.command(&["--kind", "instance,migration"]));
    let first = watch.record();
    assert_eq!(first["schema"], "hyper.object_change/v1");
    assert_eq!((&first["event"], &first["kind"]), (&json!("ADDED"), &json!("instance")));
    let node = first["object"]["node"].as_str().unwrap().to_owned();
    lab.object(
        "kubevirt.io/v1",
        "VirtualMachineInstanceMigration",
        "away",
        &json!({"vmiName": "web01"}),
    );
    let told = until(&mut watch, "away", "status", "Succeeded");
    let last = &told.last().unwrap()["object"];
    assert_eq!((&last["kind"], &last["vm"]), (&json!("migration"), &json!("web01")));
    assert_eq!(last["source"], node.as_str());
    assert_ne!(last["target"], node.as_str());
    assert!(last["ended"].is_string(), "{last}");
    let phases: Vec<_> = told.iter().filter(|it| it["kind"] == "migration").collect();
    assert_eq!(phases[0]["event"], "ADDED");
    assert!(phases.len() > 2, "its phases are told: {phases:?}");
    lab.cluster.kubectl(&["delete", "-n", &lab.space, "vmim", "away"]);
    let gone = std::iter::repeat_with(|| watch.record()).find(|it| it["event"] == "DELETED");
    assert_eq!(gone.unwrap()["object"]["name"], "away");
}

#[test]
fn snapshots_restores_clones_and_exports_are_told_to_their_end() {
    let lab = Lab::new();
    lab.make("web01", "Halted", "Stopped");
    lab.make("other", "Halted", "Stopped");
    let kinds = ["--kind", "snapshot,restore", "--kind", "vmclone,export"];
    let mut watch = Watching::start(lab.command(&[&kinds[..], &["web01"]].concat()));
    // What is about another machine is not told.
    lab.snapshot("not-this", "other");
    lab.snapshot("s1", "web01");
    let told = until(&mut watch, "s1", "status", "Succeeded");
    assert!(told.iter().all(|it| it["object"]["vm"] == "web01"), "{told:?}");
    let spec = json!({"target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine",
        "name": "web01"}, "virtualMachineSnapshotName": "s1"});
    lab.object("snapshot.kubevirt.io/v1beta1", "VirtualMachineRestore", "back", &spec);
    let told = until(&mut watch, "back", "status", "Succeeded");
    assert_eq!(told.last().unwrap()["object"]["source"], "VirtualMachineSnapshot/s1");
    let spec = json!({"source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine",
        "name": "web01"}, "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine",
        "name": "web02"}});
    lab.object("clone.kubevirt.io/v1beta1", "VirtualMachineClone", "copy", &spec);
    let told = until(&mut watch, "copy", "status", "Succeeded");
    assert_eq!(told.last().unwrap()["object"]["target"], "VirtualMachine/web02");
    // A condition over what is there, with fields of objects alone.
    let args = ["--kind", "snapshot", "--match", "s1", "--until", "status=succeeded", "-o", "csv"];
    let output = lab.run(&args);
    let csv = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{csv}");
    assert!(csv.contains(",ADDED,snapshot,s1,"), "{csv}");
    let args =
        ["--kind", "snapshot", "--match", "s1", "--until", "status=Failed", "--timeout", "1"];
    assert_eq!(lab.command(&args).output().unwrap().status.code(), Some(11));
}

/// A program of this workspace that is built beside the tests.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().unwrap().parent().unwrap().join(name);
    assert!(built.exists(), "{} is not built: run cargo test --workspace", built.display());
    built
}

#[test]
fn exports_are_told_from_their_beginning_to_their_end() {
    let lab = Lab::new();
    let mut object = machine("web01", "Halted");
    object["spec"]["dataVolumeTemplates"] = json!([{
        "metadata": { "name": "web01-root" },
        "spec": {
            "source": { "registry": { "url": "docker://debian" } },
            "storage": { "resources": { "requests": { "storage": "1Mi" } } },
        },
    }]);
    object["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "dataVolume": { "name": "web01-root" } });
    lab.cluster.apply(&lab.space, &object);
    lab.cluster.machine_is(&lab.space, "web01", "Stopped");
    lab.make("other", "Halted", "Stopped");
    let mut watch = Watching::start(lab.command(&["--kind", "export", "web01"]));
    // What hyper makes itself, and removes again; an export of another machine is not told.
    let of = |kind: &str, group: &str, name: &str| json!({"source": {"apiGroup": group, "kind": kind, "name": name}});
    let export = |name: &str, spec: &Value| {
        lab.object("export.kubevirt.io/v1beta1", "VirtualMachineExport", name, spec);
    };
    export("not-this", &of("VirtualMachine", "kubevirt.io", "other"));
    let to = lab.home.path().join("out");
    let mut exporting = Command::new(beside("hyper-export"));
    exporting.args(["web01", "-c", "hyper-sim", "-n", &lab.space, "--to"]).arg(&to);
    exporting.env_clear().env("HOME", lab.home.path());
    let done = exporting.env("KUBECONFIG", lab.cluster.kubeconfig()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let first = watch.record();
    let name = first["object"]["name"].as_str().unwrap().to_owned();
    assert_eq!((&first["event"], &first["kind"]), (&json!("ADDED"), &json!("export")));
    assert!(name.starts_with("hyper-"), "{first}");
    let told = until(&mut watch, &name, "status", "Ready");
    let ready = &told.last().unwrap()["object"];
    assert_eq!((&ready["vm"], &ready["ready"]), (&json!("web01"), &json!(true)));
    assert_eq!(ready["source"], "VirtualMachine/web01");
    let gone = std::iter::repeat_with(|| watch.record()).find(|it| it["event"] == "DELETED");
    assert_eq!(gone.unwrap()["object"]["name"], name.as_str());
    // One of a snapshot is about its machine as well.
    lab.snapshot("s1", "web01");
    export("of-s1", &of("VirtualMachineSnapshot", "snapshot.kubevirt.io", "s1"));
    let told = until(&mut watch, "of-s1", "status", "Ready");
    let ready = &told.last().unwrap()["object"];
    assert_eq!(ready["source"], "VirtualMachineSnapshot/s1");
    let args = ["--kind", "vmexport", "--match", "of-s1", "--until", "status=ready", "-o", "name"];
    let output = lab.run(&args);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "export/of-s1\n");
    lab.cluster.kubectl(&["delete", "-n", &lab.space, "vmexport", "of-s1"]);
    let gone = std::iter::repeat_with(|| watch.record()).find(|it| it["event"] == "DELETED");
    assert_eq!(gone.unwrap()["object"]["name"], "of-s1");
}

#[test]
fn volumes_are_told_with_their_progress() {
    let lab = Lab::new();
    let mut watch =
        Watching::start(lab.command(&["--kind", "dv", "--status", "ImportInProgress,Succeeded"]));
    let spec = json!({"source": {"registry": {"url": "docker://debian"}}, "storage":
        {"resources": {"requests": {"storage": "1Gi"}}}});
    lab.object("cdi.kubevirt.io/v1beta1", "DataVolume", "root", &spec);
    let told = until(&mut watch, "root", "status", "Succeeded");
    let percents: Vec<_> =
        told.iter().filter_map(|it| it["object"]["progress_percent"].as_f64()).collect();
    assert!(percents.is_sorted() && percents.last() == Some(&100.0), "{told:?}");
    assert!(percents.len() > 1, "{told:?}");
    assert_eq!(told[0]["object"]["source"], "registry");
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_refused() {
    let lab = Lab::new();
    let refused = |args: &[&str], status: i32, words: &str| {
        let output = lab.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
    };
    refused(&["--kind", "pods"], 2, "snapshot");
    refused(&["--kind", "snapshot", "--min-cpus", "2"], 2, "--min-cpus");
    refused(&["--kind", "snapshot", "--match", "firmware=uefi"], 2, "firmware");
    refused(&["--kind", "vm,snapshot", "--until", "mac=00*"], 2, "mac");
    // Machines among other objects are told as they are.
    lab.make("web01", "Halted", "Stopped");
    let args = ["--kind", "vm,snapshot", "--until", "status=stopped", "-o", "name"];
    let output = lab.run(&args);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "vm/web01\n");
}

#[test]
fn a_cluster_without_a_kind_says_so() {
    // CDI may be missing where KubeVirt is.
    let cluster = Cluster::start(&["--pace", "20ms"]);
    let crd = "datavolumes.cdi.kubevirt.io";
    cluster.kubectl(&["delete", "crd", crd]);
    let home = tempfile::tempdir().unwrap();
    for kinds in ["datavolume", "instance,datavolume"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
        command.args(["-c", "hyper-sim", "--timeout", "10", "--kind", kinds]);
        command.env_clear().env("HOME", home.path()).env("KUBECONFIG", cluster.kubeconfig());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains("datavolumes"), "{said}");
    }
}

#[test]
fn one_watch_follows_vsphere_and_a_cluster() {
    let lab = Lab::new();
    lab.make("web01", "Halted", "Stopped");
    let vcsim = vcsim::Vcsim::start(&["-vm", "1"]);
    let mut command = lab.command(&["-c", "govc"]);
    command.envs(vcsim.variables());
    let mut watch = Watching::start(command);
    let mut told: Vec<_> = (0..3).map(|_| watch.record()).collect();
    told.sort_by_key(|record| record["vm"]["name"].to_string());
    let whole: Vec<_> = told
        .iter()
        .map(|it| (&it["context"], &it["vm"]["provider"], &it["vm"]["status"]))
        .collect();
    let (vsphere, running) = (json!("vsphere"), json!("running"));
    let (govc, sim) = (json!("govc"), json!("hyper-sim"));
    let one = (&govc, &vsphere, &running);
    assert_eq!(whole, [one, one, (&sim, &json!("kubevirt"), &json!("stopped"))]);
    vcsim.govc(lab.home.path(), &["vm.power", "-off", "DC0_H0_VM0"]);
    let change = watch.record();
    assert_eq!((&change["event"], &change["context"]), (&json!("MODIFIED"), &govc));
    lab.cluster.kubectl(&["delete", "-n", &lab.space, "vm", "web01"]);
    let gone = std::iter::repeat_with(|| watch.record()).find(|it| it["event"] == "DELETED");
    assert_eq!(gone.unwrap()["context"], sim);
    // What one of the platforms does not have is told at once.
    let mut command = lab.command(&["-c", "govc", "--kind", "snapshot"]);
    let output = command.envs(vcsim.variables()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("govc") && said.contains("snapshot"), "{said}");
}
