//! `hyper-clone` on KubeVirt: a simulated one in front of a real API server, with kubectl to
//! compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::process::{Child, Command, Stdio};

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
        let lab = Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() };
        let mut object = machine("web01", "Halted");
        object["spec"]["dataVolumeTemplates"] = json!([{
            "metadata": { "name": "web01-root" },
            "spec": {
                "source": { "registry": { "url": "docker://debian" } },
                "storage": { "resources": { "requests": { "storage": "64Mi" } } },
            },
        }]);
        object["spec"]["template"]["spec"]["volumes"][0] =
            json!({ "name": "root", "dataVolume": { "name": "web01-root" } });
        cluster.apply(&lab.space, &object);
        cluster.machine_is(&lab.space, "web01", "Stopped");
        lab
    }

    fn run(&self, args: &[&str]) -> Done {
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        let more = ["-c", "hyper-sim", "-o", "ndjson", "-n", &self.space];
        let program = env!("CARGO_BIN_EXE_hyper-clone");
        run(program, self.home.path(), &variables, &[args, &more].concat())
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.cluster.get(&self.space, kind, name)
    }

    fn left(&self, kind: &str) -> String {
        self.cluster.kubectl(&["get", kind, "-n", &self.space, "-o", "name"])
    }
}

#[test]
fn flag_power_on_and_flag_wait_and_flag_namespace() {
    let lab = Lab::new();
    let made = lab.run(&["web01", "web02", "--power-on", "--wait", "--progress", "json"]);
    assert_eq!(made.status, 0, "{made:?}");
    let row = &made.lines()[0];
    assert_eq!((&row["outcome"], &row["note"]), (&json!("done"), &json!("switched on")));
    assert_eq!(row["id"], format!("{}/web02", lab.space));
    assert!(made.err.contains("Succeeded"), "the phases are told: {made:?}");
    let instance = lab.get("vmi", "web02");
    assert!(instance.to_string().contains("AgentConnected"), "{instance}");
    let volume = &lab.get("vm", "web02")["spec"]["template"]["spec"]["volumes"][0];
    let claim = volume["dataVolume"]["name"].as_str().unwrap();
    assert_ne!(claim, "web01-root");
    assert_eq!(lab.get("pvc", claim)["status"]["phase"], "Bound");
    wait_for("the cluster to clean up", || lab.left("vmclone,vmsnapshot,vmrestore").is_empty());
    let again = lab.run(&["web01", "web02"]);
    assert_eq!((again.status, &again.lines()[0]["outcome"]), (0, &json!("exists")), "{again:?}");
    lab.cluster.apply(&lab.space, &machine("other", "Halted"));
    let taken = lab.run(&["web01", "other"]);
    assert_eq!(taken.status, 6, "{taken:?}");
    let none = lab.run(&["nope", "x"]);
    assert_eq!(none.status, 5, "{none:?}");
}

#[test]
fn flag_snapshot_makes_a_clone_of_it() {
    let lab = Lab::new();
    let snapshot = json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": "before" },
        "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" } },
    });
    lab.cluster.apply(&lab.space, &snapshot);
    wait_for("the snapshot", || lab.get("vmsnapshot", "before")["status"]["readyToUse"] == true);
    let label = ["label", "vm", "web01", "since=then", "-n", &lab.space];
    lab.cluster.kubectl(&label);
    let made = lab.run(&["web01", "--name", "old-{n}", "--count", "2", "--snapshot", "before"]);
    assert_eq!(made.status, 0, "{made:?}");
    for name in ["old-1", "old-2"] {
        let labels = &lab.get("vm", name)["metadata"]["labels"];
        assert_eq!((&labels["app"], &labels["since"]), (&json!("web01"), &Value::Null), "{name}");
    }
    assert_eq!(lab.run(&["web01", "x", "--snapshot", "nope"]).status, 5);
    assert!(lab.left("vmsnapshot").contains("before"), "it stays");
}

#[test]
fn what_kubevirt_cannot_is_refused_and_what_fails_leaves_nothing() {
    let lab = Lab::new();
    let flags = ["--folder", "--pool", "--datastore", "--host"].map(|flag| vec![flag, "x"]);
    let shared = [vec!["--linked"], vec!["--linked", "--make-snapshot"], vec!["--instant"]];
    for flags in flags.into_iter().chain(shared).chain([vec!["--customize", "linux"]]) {
        let refused = lab.run(&[&["web01", "x"][..], &flags].concat());
        assert_eq!(refused.status, 7, "{flags:?}: {refused:?}");
    }
    lab.cluster.fault(&format!("op=clone,object={}/,max=1,fault=the storage says no", lab.space));
    let failed = lab.run(&["web01", "bad"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("the storage says no"), "{failed:?}");
    assert_eq!(lab.left("vmclone"), "");
    let again = lab.run(&["web01", "bad"]);
    assert_eq!((again.status, &again.lines()[0]["outcome"]), (0, &json!("done")), "{again:?}");
}

#[test]
fn flag_timeout_calls_it_off() {
    let lab = Lab::new();
    let object = format!("virtualmachineclones/{}", lab.space);
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=3"));
    let late = lab.run(&["web01", "late", "--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    wait_for("the clone to go", || lab.left("vmclone").is_empty());
    assert_eq!(lab.get("vm", "late"), Value::Null);
}

#[test]
fn flag_kubeconfig() {
    let lab = Lab::new();
    let file = lab.home.path().join("other");
    std::fs::copy(lab.cluster.kubeconfig(), &file).unwrap();
    let file = file.to_str().unwrap();
    let rename = ["config", "rename-context", "hyper-sim", "elsewhere", "--kubeconfig", file];
    lab.cluster.kubectl(&rename);
    let args = ["web01", "x", "--dry-run", "--kubeconfig", file, "-n", &lab.space];
    let program = env!("CARGO_BIN_EXE_hyper-clone");
    let done = run(program, lab.home.path(), &[], &[&args[..], &["-c", "elsewhere"]].concat());
    assert_eq!(done.status, 0, "{done:?}");
}

/// A program of this workspace that is built beside the tests.
fn beside(name: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().unwrap().parent().unwrap().join(name);
    assert!(built.exists(), "{} is not built: run cargo test --workspace", built.display());
    built.display().to_string()
}

impl Lab {
    /// The content checksum of a machine's only disk, exported.
    fn content(&self, space: &str, name: &str, more: &[&str]) -> String {
        let to = self.home.path().join(format!("{space}-{name}-{}", more.len()));
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        let args =
            ["-c", "hyper-sim", "-n", space, name, "--format", "raw", "--checksum", "sha256"];
        let args = [&args[..], &["-o", "json", "--to", to.to_str().unwrap()], more].concat();
        let done = run(&beside("hyper-export"), self.home.path(), &variables, &args);
        assert_eq!(done.status, 0, "{done:?}");
        let disk = done.json()["artifacts"][0].clone();
        assert_eq!(disk["role"], "disk", "{done:?}");
        disk["checksum"].as_str().unwrap().to_owned()
    }

    /// Gives the source a card with an address, and a TPM that keeps what it has.
    fn card(&self) {
        let card = json!([{
            "op": "add",
            "path": "/spec/template/spec/domain/devices/interfaces/0/macAddress",
            "value": "02:00:00:00:00:77",
        }, {
            "op": "add",
            "path": "/spec/template/spec/domain/devices/tpm",
            "value": { "persistent": true },
        }]);
        let patch = ["patch", "vm", "web01", "-n", &self.space, "--type", "json", "-p"];
        self.cluster.kubectl(&[&patch[..], &[&card.to_string()]].concat());
    }
}

#[test]
fn a_clone_in_another_namespace_is_exported_and_imported() {
    let lab = Lab::new();
    lab.card();
    let other = lab.cluster.namespace();
    let target = format!("{other}/web02");
    let made = lab.run(&["web01", &target, "--power-on", "--progress", "json"]);
    assert_eq!((made.status, &made.lines()[0]["outcome"]), (0, &json!("done")), "{made:?}");
    assert_eq!(made.lines()[0]["id"], target);
    assert!(made.err.contains("ImportInProgress"), "what the volume says is told: {made:?}");
    assert!(made.err.contains("TPM is not carried over"), "{made:?}");
    lab.cluster.machine_is(&other, "web02", "Running");
    let clone = lab.cluster.get(&other, "vm", "web02");
    let part = &clone["spec"]["template"]["spec"];
    let source = lab.get("vm", "web01");
    assert_eq!(part["domain"]["cpu"], source["spec"]["template"]["spec"]["domain"]["cpu"]);
    let card = &part["domain"]["devices"]["interfaces"][0];
    assert_ne!(card["macAddress"], "02:00:00:00:00:77", "no two machines share a card");
    assert!(!clone["metadata"].to_string().contains("hyper/unfinished"), "{clone}");
    let room = lab.cluster.get(&other, "pvc", "web02-root");
    assert_eq!(room["spec"]["resources"]["requests"]["storage"], "64Mi");
    for (space, kinds) in [(&lab.space, "vmexport,secret"), (&other, "configmap,secret")] {
        let left = lab.cluster.kubectl(&["get", kinds, "-n", space, "-o", "name"]);
        assert!(!left.contains("hyper-clone"), "{space}: {left}");
    }
    let again = lab.run(&["web01", &target]);
    assert_eq!((again.status, &again.lines()[0]["outcome"]), (0, &json!("exists")), "{again:?}");
    lab.cluster.put(&other, "virtualmachines/web02/stop", "{}").unwrap();
    lab.cluster.machine_is(&other, "web02", "Stopped");
    assert_eq!(lab.content(&other, "web02", &[]), lab.content(&lab.space, "web01", &[]));

    lab.cluster.apply(&other, &machine("mine", "Halted"));
    let taken = lab.run(&["web01", &format!("{other}/mine")]);
    assert_eq!(taken.status, 6, "{taken:?}");
    let nowhere = lab.run(&["web01", "no-such-place/web02"]);
    assert_eq!(nowhere.status, 5, "{nowhere:?}");
    lab.cluster.put(&lab.space, "virtualmachines/web01/start", "{}").unwrap();
    lab.cluster.machine_is(&lab.space, "web01", "Running");
    let running = lab.run(&["web01", &format!("{other}/web03")]);
    assert_eq!(running.status, 6, "{running:?}");
    assert!(running.err.contains("--snapshot"), "{running:?}");
}

#[test]
fn a_snapshot_is_cloned_into_another_namespace_and_what_fails_leaves_nothing() {
    let lab = Lab::new();
    let other = lab.cluster.namespace();
    let snapshot = json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": "before" },
        "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" } },
    });
    lab.cluster.apply(&lab.space, &snapshot);
    wait_for("the snapshot", || lab.get("vmsnapshot", "before")["status"]["readyToUse"] == true);
    let pattern = format!("{other}/old-{{n}}");
    let made = lab.run(&["web01", "--name", &pattern, "--count", "2", "--snapshot", "before"]);
    assert_eq!(made.status, 0, "{made:?}");
    let whole = lab.content(&lab.space, "web01", &["--snapshot", "before"]);
    assert_eq!(lab.content(&other, "old-2", &[]), whole);

    let bad = format!("{other}/bad");
    lab.cluster.fault(&format!("op=datavolume,object={other}/bad,max=1,fault=no space left"));
    let failed = lab.run(&["web01", &bad, "--rollback"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("no space left"), "{failed:?}");
    let gone = |name: &str| {
        for kind in ["vm", "dv"] {
            let found = lab.cluster.kubectl(&["get", kind, "-n", &other, "-o", "name"]);
            assert!(!found.contains(name), "{found}");
        }
        assert_eq!(lab.left("vmexport"), "");
    };
    gone("bad");
    let again = lab.run(&["web01", &bad]);
    assert_eq!((again.status, &again.lines()[0]["outcome"]), (0, &json!("done")), "{again:?}");

    let late = format!("{other}/late");
    let slow = format!("op=controller,object=datavolumes/{other}/late,delay=10s,max=2");
    lab.cluster.fault(&slow);
    let stopped = lab.run(&["web01", &late, "--timeout", "3s"]);
    assert_eq!(stopped.status, 11, "{stopped:?}");
    gone("late");
}

impl Lab {
    /// Begins a clone and does not wait for its end.
    fn begin(&self, target: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-clone"));
        command.args(["web01", target, "-c", "hyper-sim", "-n", &self.space]);
        command.env_clear().env("HOME", self.home.path());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("KUBECONFIG", self.cluster.kubeconfig()).spawn().unwrap()
    }

    /// Begins a clone, and kills the run when `so` holds.
    fn kill(&self, target: &str, so: impl Fn() -> bool) {
        let mut child = self.begin(target);
        wait_for("the clone to be begun", so);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What `hyper history` says of its runs.
    fn history(&self, args: &[&str]) -> String {
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        let args = [&["runs"], args].concat();
        let done = run(&beside("hyper-history"), self.home.path(), &variables, &args);
        assert_eq!(done.status, 0, "{done:?}");
        done.out
    }

    /// What there is only for the time of a clone into `other`.
    fn helpers(&self, other: &str) -> Vec<String> {
        let parts = [(&*self.space, "vmexport,secret"), (other, "configmap,secret,dv,vm")];
        let mut found = Vec::new();
        for (space, kinds) in parts {
            let all = self.cluster.kubectl(&["get", kinds, "-n", space, "-o", "name"]);
            let own =
                |it: &&str| it.contains("hyper-clone-") || space == other && it.contains("web");
            found.extend(all.lines().filter(own).map(str::to_owned));
        }
        found
    }
}

#[test]
fn what_a_killed_clone_left_in_two_namespaces_is_removed() {
    let lab = Lab::new();
    let other = lab.cluster.namespace();
    let object = format!("datavolumes/{other}/web02");
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=2"));
    let volume = || lab.cluster.get(&other, "dv", "web02-root") != Value::Null;
    lab.kill(&format!("{other}/web02"), volume);
    let left = lab.helpers(&other);
    assert!(left.len() >= 6, "{left:?}");
    let planned = lab.history(&["clean", "--dry-run"]);
    assert!(planned.contains("export") && planned.contains("half-made clone"), "{planned}");
    assert_eq!(lab.helpers(&other), left, "nothing is removed yet");
    lab.history(&["clean", "--yes"]);
    assert_eq!(lab.helpers(&other), [""; 0]);
    assert_ne!(lab.get("vm", "web01"), Value::Null, "the source stays");
    let again = lab.history(&["clean", "--yes", "-o", "json"]);
    assert!(!again.contains("half-made"), "{again}");
}

#[test]
fn a_clone_that_another_run_goes_on_with_is_left_alone() {
    let lab = Lab::new();
    let other = lab.cluster.namespace();
    let object = format!("datavolumes/{other}/web02");
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=2"));
    let target = format!("{other}/web02");
    lab.kill(&target, || lab.cluster.get(&other, "dv", "web02-root") != Value::Null);
    let second = lab.begin(&target);
    wait_for("the second run", || lab.history(&["list", "-o", "json"]).contains("running"));
    lab.history(&["clean", "--yes"]);
    let done = second.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(!said.contains("another one is made"), "{said}");
    lab.history(&["clean", "--yes"]);
    let clone = lab.cluster.get(&other, "vm", "web02");
    assert!(!clone["metadata"].to_string().contains("hyper/unfinished"), "{clone}");
    assert_eq!(lab.content(&other, "web02", &[]), lab.content(&lab.space, "web01", &[]));
}

#[test]
fn the_object_of_a_killed_clone_is_removed() {
    let lab = Lab::new();
    let object = format!("virtualmachineclones/{}", lab.space);
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=2"));
    lab.kill("web02", || lab.left("vmclone").contains("hyper-web02"));
    assert!(lab.history(&["clean", "--dry-run"]).contains("clone object"));
    lab.history(&["clean", "--yes"]);
    assert_eq!(lab.left("vmclone"), "");
}
