//! Exports from a simulated KubeVirt in front of a real API server: what is stopped and what runs,
//! both ways, what goes wrong on the wire, and what a sudden end leaves.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{Cluster, wait_for};
use crate::disks::{content, holds, image, noise, raw, untar};
use crate::user::{Done, User};

/// Guest bytes of the disks of the stopped machine, and of that of all others.
const SIZES: [usize; 3] = [(5 << 20) + 4096, 2 << 20, 12 << 20];

/// The cluster of all tests here. Each has a machine of its own, in a namespace of its name.
fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        raw(&at("a.raw"), &disks()[0]);
        image(&at("b.qcow2"), "qcow2", "", &disks()[1]);
        raw(&at("c.raw"), &disks()[2]);
        let path = |name: &str| at(name).display().to_string();
        let mut args = vec!["-v".to_owned(), "--pace".to_owned(), "50ms".to_owned()];
        let both = format!("{},{}", path("a.raw"), path("b.qcow2"));
        let mut machine = |space: &str, files: &str, runs: bool| {
            args.extend(["--vm".to_owned(), format!("{space}/{space}={files}")]);
            if runs {
                args.extend(["--running".to_owned(), space.to_owned()]);
            }
        };
        machine("stopped", &both, false);
        machine("running", &path("a.raw"), true);
        machine("off", &path("a.raw"), true);
        for space in ["ways", "lost", "whole", "anew", "interrupted", "killed", "viewed", "packed"]
        {
            machine(space, &path("c.raw"), false);
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Cluster::start(&args)
    })
}

fn disks() -> &'static [Vec<u8>; 3] {
    static DISKS: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    DISKS.get_or_init(|| [content(SIZES[0], 81), content(SIZES[1], 82), noise(SIZES[2], 83)])
}

/// A user who exports the machine of a namespace.
struct Lab {
    user: User,
    cluster: &'static Cluster,
    space: &'static str,
}

impl Lab {
    fn new(space: &'static str) -> Self {
        let (mut user, cluster) = (User::new(), cluster());
        user.env = vec![("KUBECONFIG".to_owned(), cluster.kubeconfig().to_owned())];
        Self { user, cluster, space }
    }

    fn args<'a>(&self, flags: &[&'a str]) -> Vec<&'a str> {
        self.args_as("hyper-sim", flags)
    }

    fn args_as<'a>(&self, context: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
        [&[self.space, "-c", context, "-n", self.space, "--to", "out"], flags].concat()
    }

    #[track_caller]
    fn export(&self, flags: &[&str], status: i32) -> Done {
        self.export_as("hyper-sim", flags, status)
    }

    #[track_caller]
    fn export_as(&self, context: &str, flags: &[&str], status: i32) -> Done {
        let done = self.user.run(&self.args_as(context, flags)).ends(status);
        if status != 0 {
            assert!(self.user.names("out").is_empty(), "{:?}", self.user.names("out"));
        }
        self.is_clean();
        done
    }

    /// Names of objects that runs have made.
    fn left(&self) -> Vec<String> {
        let kinds = "vmexport,vmsnapshot,secret";
        let all = self.cluster.kubectl(&["get", kinds, "-n", self.space, "-o", "name"]);
        all.lines().filter(|name| name.contains("hyper-export-")).map(str::to_owned).collect()
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.left(), [""; 0]);
    }

    /// Fails unless the disk is in `out` with the right bytes; empties `out`.
    #[track_caller]
    fn has(&self, format: &str, disk: &[u8]) {
        holds(&self.user.at(&format!("out/{}-disk0.{format}", self.space)), format, disk);
        std::fs::remove_dir_all(self.user.at("out")).unwrap();
    }

    /// How many requests for the namespace's volumes hold `text`.
    fn count(&self, text: &str) -> usize {
        let said = self.cluster.said.lock().unwrap();
        let of = format!("namespaces/{}/virtualmachineexports", self.space);
        said.lines().filter(|line| line.contains(&of) && line.contains(text)).count()
    }

    /// How often the server of its export was not there.
    fn lost(&self) -> usize {
        let said = self.cluster.said.lock().unwrap();
        let volume = format!("volumes/{}-disk0/disk.img 503", self.space);
        said.lines().filter(|line| line.contains(&volume)).count()
    }

    /// A file of the test's as JSON.
    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.user.at(path)).unwrap()).unwrap()
    }
}

/// Fails unless the message is one line that has `words`, with hints at the most.
#[track_caller]
fn says(done: &Done, words: &str) {
    let mut lines =
        done.err.lines().filter(|line| !line.contains("warning") && !line.contains("note: "));
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("hyper-export: ") && first.contains(words), "{}", done.err);
    assert!(lines.all(|line| line.starts_with("hint: ")), "{}", done.err);
}

#[test]
fn a_stopped_machine_becomes_every_format() {
    let lab = Lab::new("stopped");
    let interface =
        json!({ "name": "default", "masquerade": {}, "macAddress": "02:00:00:AA:00:01" });
    let change = json!([
        { "op": "replace", "path": "/spec/template/spec/domain/devices/interfaces/0", "value": interface },
        { "op": "replace", "path": "/spec/template/spec/domain/devices/disks/1/disk/bus", "value": "scsi" },
        { "op": "add", "path": "/spec/template/spec/domain/firmware",
          "value": { "bootloader": { "efi": { "secureBoot": false } } } },
        { "op": "add", "path": "/spec/template/spec/volumes/-",
          "value": { "name": "seed", "cloudInitNoCloud": { "userData": "#cloud-config" } } },
        { "op": "add", "path": "/spec/template/spec/volumes/-",
          "value": { "name": "tools", "containerDisk": { "image": "quay.io/kubevirt/virtio" } } },
    ]);
    lab.cluster.kubectl(&[
        "patch",
        "vm",
        "-n",
        lab.space,
        "stopped",
        "--type=json",
        "-p",
        &change.to_string(),
    ]);
    let record = lab.export(&["--verify", "--manifest", "-o", "json"], 0).json();
    let warnings = record["warnings"].to_string();
    assert!(warnings.contains("seed is not exported: it is data for cloud-init"), "{record}");
    assert!(warnings.contains("quay.io/kubevirt/virtio"), "{record}");
    assert_eq!(record["verified"], true);
    holds(&lab.user.at("out/stopped-disk1.qcow2"), "qcow2", &disks()[1]);
    let machine = lab.json("out/stopped.machine.json");
    assert_eq!(
        (&machine["cpus"]["count"], &machine["memory_bytes"]),
        (&json!(2), &json!(2_u64 << 30))
    );
    assert_eq!(machine["firmware"]["kind"], "uefi");
    assert_eq!(machine["nics"][0]["mac"], "02:00:00:aa:00:01");
    let buses: Vec<_> = (0..2).map(|disk| machine["disks"][disk]["controller"].clone()).collect();
    assert_eq!(buses, ["virtio0", "scsi0"]);
    assert_eq!(machine["disks"][0]["capacity_bytes"], SIZES[0]);
    let domain = std::fs::read_to_string(lab.user.at("out/stopped.xml")).unwrap();
    assert!(domain.contains("02:00:00:aa:00:01") && domain.contains("bus=\"virtio\""), "{domain}");
    assert_eq!(lab.json("out/stopped.artifact-manifest.json")["source"]["provider"], "kubevirt");
    lab.has("qcow2", &disks()[0]);
    for (flags, format) in [
        (&["-f", "qcow2", "--compress", "zstd"][..], "qcow2"),
        (&["-f", "raw"], "raw"),
        (&["-f", "vmdk"], "vmdk"),
        (&["-f", "vhdx"], "vhdx"),
        (&["-f", "ovf"], "vmdk"),
    ] {
        lab.export(flags, 0);
        holds(&lab.user.at(&format!("out/stopped-disk1.{format}")), format, &disks()[1]);
        lab.has(format, &disks()[0]);
    }
    lab.export(&["-f", "ova"], 0);
    let inside = untar(&lab.user.at("out/stopped.ova"));
    holds(&inside.path().join("stopped-disk0.vmdk"), "vmdk", &disks()[0]);
    std::fs::remove_dir_all(lab.user.at("out")).unwrap();
    // Only that disk is asked for.
    let before = lab.count("disk0/disk.img");
    lab.export(&["--disk", "disk1", "-f", "raw"], 0);
    assert_eq!(lab.count("disk0/disk.img") - before, 1, "one byte, to see who answers");
    lab.has("raw", &disks()[1]);
}

#[test]
fn a_machine_that_runs_is_exported_at_a_moment_that_is_named() {
    let lab = Lab::new("running");
    lab.cluster.machine_is(lab.space, "running", "Running");
    let refused = lab.export(&[], 6);
    says(&refused, "the machine is running");
    for flag in ["--snapshot", "--temp-snapshot", "--power-off"] {
        assert!(refused.err.contains(flag), "{}", refused.err);
    }
    says(&lab.export(&["--snapshot", "before"], 5), "no such snapshot");
    lab.cluster.apply(
        lab.space,
        &json!({
            "apiVersion": "snapshot.kubevirt.io/v1beta1",
            "kind": "VirtualMachineSnapshot",
            "metadata": { "name": "before" },
            "spec": { "source": {
                "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "running",
            } },
        }),
    );
    wait_for("the snapshot", || {
        lab.cluster.get(lab.space, "vmsnapshot", "before")["status"]["readyToUse"] == true
    });
    let unknown = lab.export(&["--snapshot", "after"], 5);
    assert!(unknown.err.contains("its snapshots: before"), "{}", unknown.err);
    lab.export(&["--snapshot", "before", "--verify"], 0);
    lab.has("qcow2", &disks()[0]);
    assert_eq!(lab.cluster.get(lab.space, "vmsnapshot", "before")["status"]["phase"], "Succeeded");
    lab.export(&["--temp-snapshot", "--quiesce", "-f", "raw"], 0);
    lab.has("raw", &disks()[0]);
    assert_eq!(lab.cluster.get(lab.space, "vm", "running")["status"]["printableStatus"], "Running");

    lab.cluster.fault(&format!("op=snapshot,object={}/,max=1,fault=no class", lab.space));
    says(&lab.export(&["--temp-snapshot"], 1), "take a snapshot");
}

#[test]
fn a_machine_is_shut_down_where_that_is_asked_for() {
    let lab = Lab::new("off");
    lab.cluster.machine_is(lab.space, "off", "Running");
    let done = lab.export(&["--power-off", "-f", "raw"], 0);
    assert!(done.err.contains("it was shut down and stays off"), "{}", done.err);
    lab.has("raw", &disks()[0]);
    lab.cluster.machine_is(lab.space, "off", "Stopped");
}

#[test]
fn both_ways_lead_out_and_others_are_refused() {
    let lab = Lab::new("ways");
    let inside = || {
        let said = lab.cluster.said.lock().unwrap();
        let port = format!(" by a port of virtualmachineexports/{}/", lab.space);
        said.lines().filter(|line| line.contains(" 206") && line.contains(&port)).count()
    };
    lab.export(&["-f", "raw", "--transport", "ingress"], 0);
    lab.has("raw", &disks()[2]);
    assert!(lab.count(" 206") >= SIZES[2] >> 20, "{}", lab.cluster.said.lock().unwrap());
    assert_eq!(inside(), 0);
    let by_ingress = lab.count(" 206");
    lab.export(&["-f", "raw", "--transport", "port-forward"], 0);
    lab.has("raw", &disks()[2]);
    assert_eq!(lab.count(" 206"), by_ingress);
    assert!(inside() >= SIZES[2] >> 20);
    lab.export(&["-f", "raw"], 0);
    lab.has("raw", &disks()[2]);
    assert!(lab.count(" 206") > by_ingress, "auto goes by the ingress where there is one");
    // The ingress does not answer, and the probe gives up: the API server leads there.
    let rule = format!("op=export,object=/namespaces/{}/,status=404", lab.space);
    lab.cluster.fault(&rule);
    let done = lab.export(&["-f", "raw"], 0);
    assert!(done.err.contains("read through the API server"), "{}", done.err);
    lab.has("raw", &disks()[2]);
    says(&lab.export(&["--transport", "ingress"], 5), "404");
    says(&lab.export(&["--transport", "nfc"], 2), "no way out of KubeVirt");
}

#[test]
fn a_server_that_is_lost_in_mid_disk_is_waited_for() {
    let lab = Lab::new("lost");
    for transport in ["ingress", "port-forward"] {
        lab.cluster.fault("op=export,object=lost-disk0/disk.img,skip=6,max=2,lose");
        let lost = lab.lost();
        lab.export(&["-f", "raw", "--transport", transport, "--verify"], 0);
        assert!(lab.lost() > lost, "{transport}: the server was away");
        lab.has("raw", &disks()[2]);
        lab.cluster.fault("op=export,object=lost-disk0/disk.img,skip=4,max=2,cut=70000");
        lab.export(&["-f", "raw", "--transport", transport], 0);
        lab.has("raw", &disks()[2]);
    }
}

#[test]
fn a_volume_that_comes_whole_is_read_as_one_stream() {
    let lab = Lab::new("whole");
    // Once it breaks off in the middle, and goes on in the same run.
    lab.cluster.fault("op=export,object=whole-disk0/disk.img,skip=2,max=1,whole,cut=5000000");
    lab.cluster.fault("op=export,object=whole-disk0/disk.img,whole");
    let before = lab.count(" 206");
    lab.export(&["--verify"], 0);
    lab.has("qcow2", &disks()[2]);
    assert_eq!(lab.count(" 206"), before);
    // It is gone on with in the next run, too.
    let slowly = ["-f", "raw", "--limit-rate", "6M", "--progress", "json"];
    let mut run = lab.user.start(&lab.args(&slowly));
    run.wait_for_copy();
    run.signal("INT");
    run.end().ends(130);
    lab.is_clean();
    let record = lab.export(&["-f", "raw", "-o", "json"], 0).json();
    assert!(record["reused_bytes"].as_u64().unwrap() > 0, "{record}");
    lab.has("raw", &disks()[2]);
}

#[test]
fn a_volume_that_comes_compressed_only_is_inflated() {
    let lab = Lab::new("packed");
    lab.cluster.fault("op=links,object=virtualmachineexports/packed/,fault=gzip");
    lab.cluster.fault("op=export,object=packed-disk0/disk.img.gz,skip=2,max=1,cut=2000000");
    lab.export(&["--verify", "-f", "raw"], 0);
    // To see who answers, to count, and to read, which once breaks off.
    assert_eq!(lab.count("disk.img.gz 200"), 4);
    lab.has("raw", &disks()[2]);
}

#[test]
fn an_export_that_is_over_is_made_anew() {
    let lab = Lab::new("anew");
    let slowly = ["-f", "raw", "--limit-rate", "4M", "--progress", "json"];
    let mut run = lab.user.start(&lab.args(&slowly));
    run.wait_for_copy();
    // What the end of its time does to it.
    lab.cluster.kubectl(&["delete", "vmexport", "-n", lab.space, "--all"]);
    let done = run.end().ends(0);
    assert!(done.err.contains("is over; another one is made"), "{}", done.err);
    lab.is_clean();
    lab.has("raw", &disks()[2]);

    // Nobody knows what the machine wrote while nobody held its disk.
    let mut run = lab.user.start(&lab.args(&slowly));
    run.wait_for_copy();
    lab.cluster.kubectl(&["label", "vm", "-n", lab.space, lab.space, "changed=1"]);
    lab.cluster.kubectl(&["delete", "vmexport", "-n", lab.space, "--all"]);
    let done = run.end().ends(6);
    assert!(done.err.contains("the machine changed while it was read"), "{}", done.err);
    lab.is_clean();
    assert!(lab.user.names("out").is_empty());
}

#[test]
fn an_interrupted_export_leaves_nothing_and_is_gone_on_with() {
    let lab = Lab::new("interrupted");
    let slowly = ["--limit-rate", "4M", "--progress", "json"];
    for flags in [&[][..], &["--temp-snapshot"]] {
        let mut run = lab.user.start(&lab.args(&[&slowly[..], flags].concat()));
        run.wait_for_copy();
        assert_eq!(lab.left().len(), 2 + flags.len(), "{:?}", lab.left());
        run.signal("TERM");
        run.end().ends(130);
        lab.is_clean();
        assert!(lab.user.names("out").is_empty());
        let record = lab.export(&[&["-o", "json"][..], flags].concat(), 0).json();
        let reused = record["reused_bytes"].as_u64().unwrap();
        // What proves that another snapshot holds the same?
        assert_eq!(reused > 0, flags.is_empty(), "{record}");
        lab.has("qcow2", &disks()[2]);
    }
}

#[test]
fn what_a_killed_export_leaves_is_removed_by_the_next() {
    let lab = Lab::new("killed");
    let slowly = ["-f", "raw", "--temp-snapshot", "--limit-rate", "4M", "--progress", "json"];
    let kill = || {
        let mut run = lab.user.start(&lab.args(&slowly));
        run.wait_for_copy();
        run.signal("KILL");
        run.end();
        assert_eq!(lab.left().len(), 3, "{:?}", lab.left());
    };
    kill();
    let done = lab.export(&["-f", "raw"], 0);
    assert!(done.err.contains("the snapshot that run"), "{}", done.err);
    assert!(done.err.contains("the export that run"), "{}", done.err);
    lab.has("raw", &disks()[2]);
    kill();
    let told =
        lab.user.tool("hyper-history", &["runs", "clean", "--dry-run", "-o", "json"]).ends(0);
    assert!(told.text().contains("hyper-export-"), "{}", told.text());
    assert_eq!(lab.left().len(), 3, "{:?}", lab.left());
    lab.user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
    lab.is_clean();
}

#[test]
fn who_may_not_make_an_export_is_told_so() {
    let lab = Lab::new("viewed");
    // A smaller API server lets nobody but its admin do anything, and says less.
    let told = lab.cluster.has("rbac.authorization.k8s.io");
    let done = lab.export_as("hyper-sim-viewer", &[], 4);
    says(&done, if told { "cannot create resource \"virtualmachineexports\"" } else { "cannot" });
    let done = lab.export_as("hyper-sim-viewer", &["--temp-snapshot"], 4);
    says(&done, if told { "cannot create resource \"virtualmachinesnapshots\"" } else { "cannot" });
    let done = lab.export_as("hyper-sim-nobody", &[], 4);
    says(&done, if told { "virtualmachines" } else { "cannot" });
    let told =
        lab.user.tool("hyper-history", &["runs", "clean", "--dry-run", "-o", "json"]).ends(0);
    assert!(!told.text().contains("hyper-export-"), "{}", told.text());
    // A machine that has nothing but what comes out of images, and one that has nothing.
    let name = "images";
    lab.cluster.apply(lab.space, &crate::cluster::machine(name, "Halted"));
    let done = lab.user.run(&[name, "-c", "hyper-sim", "-n", lab.space, "--to", "out"]).ends(7);
    says(&done, "none of the machine's volumes can be exported");
    assert!(done.err.contains("root is not exported"), "{}", done.err);
}

#[test]
fn older_releases_are_spoken_to_and_none_is_missed() {
    let user = User::new();
    raw(&user.at("a.raw"), &disks()[1]);
    let machine = format!("web01={}", user.at("a.raw").display());
    let args = ["--vm", &machine, "--kubevirt-version", "1.0", "--pace", "20ms"];
    let cluster = Cluster::start(&args);
    let mut user = user;
    user.env = vec![("KUBECONFIG".to_owned(), cluster.kubeconfig().to_owned())];
    let line = ["hyper-sim:web01", "-f", "raw", "--to", "out"];
    user.run(&line).ends(0);
    holds(&user.at("out/web01-disk0.raw"), "raw", &disks()[1]);
    user.run(&[&line[..], &["--overwrite", "--temp-snapshot"]].concat()).ends(0);
    cluster.kubectl(&["delete", "crd", "virtualmachineexports.export.kubevirt.io"]);
    wait_for("the group to be gone", || {
        !cluster.kubectl(&["get", "--raw", "/apis"]).contains("export.kubevirt.io")
    });
    let done = user.run(&[&line[..], &["--overwrite"]].concat()).ends(7);
    says(&done, "has no virtualmachineexports");
}
