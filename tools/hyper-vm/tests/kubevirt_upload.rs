//! `hyper vm create --image-upload` on a simulated KubeVirt in front of a real API server, whose
//! upload proxy keeps what it gets; what is on the claim then is exported again, and qemu-img
//! compares.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod lab;
mod vcsim;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use self::cluster::{Cluster, program, wait_for};
use self::lab::Lab;
use self::vcsim::{Done, run};

/// Bytes of the disk: no whole MiB.
const SIZE: usize = (3 << 20) + 1024 * 7;

/// A program of this workspace that is built beside the tests.
fn beside(name: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().unwrap().parent().unwrap().join(name);
    assert!(built.exists(), "{} is not built: run cargo test --workspace", built.display());
    built.display().to_string()
}

impl Lab {
    fn at(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// A disk with data, zeros and data again, as raw.
    fn disk(&self, name: &str) -> String {
        let mut bytes = vec![0; SIZE];
        let mut word = 7_u32;
        for (at, byte) in bytes.iter_mut().enumerate() {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = if (1 << 20..2 << 20).contains(&at) { 0 } else { (word >> 24) as u8 };
        }
        let path = self.at(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn qemu(&self, args: &[&str]) {
        let done = Command::new(program("HYPER_TB_QEMU_IMG", "qemu-img")).args(args).output();
        let done = done.expect("run qemu-img");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stdout));
    }

    /// The same disk in another format, by qemu-img.
    fn as_format(&self, disk: &str, name: &str, how: &[&str]) -> String {
        let path = self.at(name);
        self.qemu(&[&["convert", "-f", "raw"], how, &[disk, &path]].concat());
        path
    }

    fn upload(&self, name: &str, file: &str, more: &[&str]) -> Done {
        let args = ["create", name, "--memory", "1Gi", "--image-upload", file, "-o", "json"];
        self.vm(&[&args, more].concat())
    }

    fn uploaded(&self, name: &str, file: &str, more: &[&str]) {
        let done = self.upload(name, file, more);
        assert_eq!((done.status, &done.json()["outcome"]), (0, &json!("done")), "{done:?}");
    }

    /// What is on a machine's claim, exported again, is what was sent.
    fn holds(&self, name: &str, disk: &str) {
        let to = self.at(&format!("back-{name}"));
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        let args = [name, "-c", "hyper-sim", "-n", &self.space, "--format", "raw", "--to", &to];
        let args = [&args[..], &["--overwrite"]].concat();
        let done = run(&beside("hyper-export"), self.home.path(), &variables, &args);
        assert_eq!(done.status, 0, "{done:?}");
        let file = std::fs::read_dir(&to).unwrap().map(|it| it.unwrap().path());
        let file = file.map(|it| if it.is_dir() { first_of(&it) } else { it });
        let raw = file.filter(|it| it.extension().is_some_and(|it| it == "raw" || it == "img"));
        let raw: Vec<PathBuf> = raw.collect();
        self.qemu(&["compare", "-f", "raw", "-F", "raw", disk, raw[0].to_str().unwrap()]);
    }

    /// Nothing of a machine is there any more.
    fn is_gone(&self, name: &str) {
        for (kind, name) in [("vm", name), ("dv", &*format!("{name}-root"))] {
            assert_eq!(self.cluster.get(&self.space, kind, name), Value::Null, "{kind} {name}");
        }
        let claim = format!("{name}-root");
        wait_for("the claim to go", || self.cluster.get(&self.space, "pvc", &claim) == Value::Null);
    }

    /// Begins to send an image, which does not come to an end; the machine is there then.
    fn begun(&self, name: &str, file: &str) -> Child {
        let rule = format!("op=upload,object={}/{name},delay=60s", self.space);
        self.cluster.fault(&rule);
        let args = ["create", name, "--memory", "1Gi", "--image-upload", file];
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_hyper-vm")]).args(args);
        command.args(["-c", "hyper-sim", "-n", &self.space]);
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.env("KUBECONFIG", self.cluster.kubeconfig());
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let volume = format!("{name}-root");
        wait_for("the volume to wait for bytes", || {
            self.cluster.get(&self.space, "dv", &volume)["status"]["phase"] == "UploadReady"
        });
        child
    }
}

fn first_of(folder: &std::path::Path) -> PathBuf {
    std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn flag_image_upload() {
    let lab = Lab::new();
    let disk = lab.disk("disk.img");
    lab.uploaded("raw", &disk, &["--start", "--wait"]);
    lab.is("raw", "Running");
    let machine = lab.machine("raw");
    let template = &machine["spec"]["dataVolumeTemplates"][0];
    assert_eq!(template["spec"]["source"], json!({ "upload": {} }));
    let room = &template["spec"]["storage"]["resources"]["requests"]["storage"];
    assert_eq!(*room, "3079Ki", "as large as the guest sees it");
    assert!(
        !machine["metadata"].to_string().contains("hyper/unfinished"),
        "it is whole: {machine}"
    );
    assert_eq!(lab.vm(&["stop", "raw"]).status, 0);
    lab.holds("raw", &disk);
    let qcow2 = lab.as_format(&disk, "disk.qcow2", &["-O", "qcow2", "-c"]);
    lab.uploaded("qcow2", &qcow2, &["--storage-class", "hyper-sim"]);
    lab.holds("qcow2", &disk);
    let taken = lab.upload("qcow2", &qcow2, &[]);
    assert_eq!(taken.status, 6, "{taken:?}");
    lab.holds("qcow2", &disk);
    let nowhere = lab.upload("x", "nope.img", &[]);
    assert_eq!(nowhere.status, 5, "{nowhere:?}");
    let tried = lab.upload("tried", &qcow2, &["--dry-run"]);
    assert_eq!((tried.status, &tried.json()["outcome"]), (0, &json!("planned")), "{tried:?}");
    lab.is_gone("tried");
}

#[test]
fn other_formats_are_converted_on_the_way() {
    let lab = Lab::new();
    let disk = lab.disk("disk.img");
    let all = [
        ("vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"][..]),
        ("vhdx", &["-O", "vhdx"]),
        ("vdi", &["-O", "vdi"]),
    ];
    for (name, how) in all {
        let image = lab.as_format(&disk, &format!("disk.{name}"), how);
        lab.uploaded(name, &image, &[]);
        lab.holds(name, &disk);
    }
    let overlay = lab.at("overlay.qcow2");
    lab.qemu(&["create", "-q", "-f", "qcow2", "-b", &disk, "-F", "raw", &overlay]);
    lab.uploaded("overlay", &overlay, &[]);
    lab.holds("overlay", &disk);
    let machine = format!("local:{disk}");
    let package = lab.at("machine.ova");
    let args = [&*machine, "--format", "ova", "--to", &package];
    let done = run(&beside("hyper-export"), lab.home.path(), &[], &args);
    assert_eq!(done.status, 0, "{done:?}");
    lab.uploaded("ova", &package, &[]);
    lab.holds("ova", &disk);
    let broken = lab.at("broken.vmdk");
    std::fs::write(&broken, std::fs::read(lab.at("disk.vmdk")).unwrap().split_at(200_000).0)
        .unwrap();
    let done = lab.upload("broken", &broken, &[]);
    assert_eq!(done.status, 9, "{done:?}");
    lab.is_gone("broken");
}

#[test]
fn flag_from_format() {
    let lab = Lab::new();
    let disk = lab.disk("disk.bin");
    let unknown = lab.upload("web01", &disk, &[]);
    assert_eq!(unknown.status, 7, "{unknown:?}");
    lab.is_gone("web01");
    lab.uploaded("web01", &disk, &["--from-format", "raw"]);
    lab.holds("web01", &disk);
}

#[test]
fn what_fails_on_the_way_leaves_nothing() {
    let lab = Lab::new();
    let disk = lab.disk("disk.img");
    let rules = [
        ("refused", "op=upload,object=NS/refused,status=400", 1),
        ("cut", "op=upload,object=NS/cut,cut=1000000", 8),
        ("full", "op=datavolume,object=NS/full,fault=no space left", 1),
    ];
    for (name, rule, status) in rules {
        lab.cluster.fault(&rule.replace("NS", &lab.space));
        let failed = lab.upload(name, &disk, &[]);
        assert_eq!(failed.status, status, "{name}: {failed:?}");
        assert!(name != "full" || failed.err.contains("no space left"), "{failed:?}");
        lab.is_gone(name);
    }
    let once = format!("op=upload,object={}/again,cut=1000000,skip=1,max=1", lab.space);
    lab.cluster.fault(&once);
    lab.uploaded("again", &disk, &[]);
    lab.holds("again", &disk);
    let mine = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": { "name": "mine-root" },
        "spec": {
            "source": { "blank": {} },
            "storage": { "resources": { "requests": { "storage": "1Mi" } } },
        },
    });
    lab.cluster.apply(&lab.space, &mine);
    let taken = lab.upload("mine", &disk, &[]);
    assert_eq!(taken.status, 6, "{taken:?}");
    assert_ne!(lab.cluster.get(&lab.space, "dv", "mine-root"), Value::Null, "it stays");
    let late = lab.upload("late", &disk, &["--timeout", "0s"]);
    assert_ne!(late.status, 0, "{late:?}");
    lab.is_gone("late");
}

#[test]
fn who_interrupts_or_kills_it_leaves_nothing_either() {
    let lab = Lab::new();
    let disk = lab.disk("disk.img");
    let child = lab.begun("stopped", &disk);
    let line = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    lab.is_gone("stopped");

    let mut child = lab.begun("killed", &disk);
    child.kill().unwrap();
    child.wait().unwrap();
    let half = lab.machine("killed");
    assert!(half["metadata"].to_string().contains("hyper/unfinished"), "{half}");
    let again = lab.upload("killed", &disk, &[]);
    assert_eq!(again.status, 6, "{again:?}");
    assert!(again.err.contains("hyper history runs clean"), "{again:?}");
    let variables = [("KUBECONFIG", lab.cluster.kubeconfig().to_owned())];
    let done =
        run(&beside("hyper-history"), lab.home.path(), &variables, &["runs", "clean", "--yes"]);
    assert_eq!(done.status, 0, "{done:?}");
    lab.is_gone("killed");
}

impl Lab {
    /// One with a cluster of its own.
    fn private() -> Self {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(&["--pace", "20ms"])));
        let home = tempfile::tempdir().unwrap();
        Self { cluster, space: cluster.namespace(), home }
    }

    /// Lets CDI say this of its upload proxy.
    fn announce(&self, status: Value) {
        let path = "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs/config/status";
        let mut config = self.cluster.get("default", "cdiconfig", "config");
        config["status"] = status;
        let args = ["replace", "--raw", path, "-f", "-"];
        let replaced = self.cluster.try_kubectl(&args, Some(&config.to_string()));
        assert!(replaced.status.success(), "{}", String::from_utf8_lossy(&replaced.stderr));
    }
}

#[test]
fn flag_upload_proxy_url_and_flag_upload_proxy_ca_and_flag_insecure() {
    let lab = Lab::private();
    let cluster = lab.cluster;
    let disk = lab.disk("disk.img");
    let url = format!("https://{}", cluster.at("ingress").trim_start_matches("https://"));
    let nobody = lab.upload("a", &disk, &["--upload-proxy-url", "https://127.0.0.1:1"]);
    assert_eq!(nobody.status, 8, "{nobody:?}");
    lab.is_gone("a");
    let plain = lab.upload("a", &disk, &["--upload-proxy-url", "http://127.0.0.1:1"]);
    assert_eq!(plain.status, 2, "{plain:?}");
    lab.announce(json!({}));
    let stranger = lab.upload("a", &disk, &["--upload-proxy-url", &url]);
    assert_eq!(stranger.status, 4, "{stranger:?}");
    assert!(stranger.err.contains("--upload-proxy-ca"), "{stranger:?}");
    lab.is_gone("a");
    let named = ["--upload-proxy-url", &url, "--upload-proxy-ca", cluster.at("ca_file")];
    lab.uploaded("a", &disk, &named);
    lab.holds("a", &disk);
    lab.uploaded("b", &disk, &["--upload-proxy-url", &url, "--insecure"]);
    lab.holds("b", &disk);
}

#[test]
fn flag_transport() {
    let lab = Lab::private();
    let disk = lab.disk("disk.img");
    let by_port = ["--transport", "port-forward"];
    let by_ingress = ["--transport", "ingress"];
    // By a port of the proxy's pod, though there is an address.
    let closed = "op=portforward,object=pods/cdi-uploadproxy,status=403";
    lab.uploaded("port", &disk, &by_port);
    lab.holds("port", &disk);
    let vmdk = lab.as_format(&disk, "disk.vmdk", &["-O", "vmdk"]);
    lab.uploaded("converted", &vmdk, &by_port);
    lab.holds("converted", &disk);
    // An address that leads nowhere, and one that does not vouch for itself.
    for (name, status) in [
        ("dead", json!({ "uploadProxyURL": "127.0.0.1:1" })),
        ("stranger", json!({ "uploadProxyURL": lab.cluster.at("ingress") })),
    ] {
        lab.announce(status);
        let failed = lab.upload(name, &disk, &by_ingress);
        assert_eq!(failed.status, if name == "dead" { 8 } else { 4 }, "{failed:?}");
        lab.is_gone(name);
        let done = lab.upload(name, &disk, &[]);
        assert_eq!(done.status, 0, "{done:?}");
        let note = done.json()["note"].to_string();
        assert!(note.contains("through the API server"), "{done:?}");
        lab.holds(name, &disk);
    }
    // No address at all.
    lab.announce(json!({}));
    let unknown = lab.upload("none", &disk, &by_ingress);
    assert_eq!(unknown.status, 7, "{unknown:?}");
    assert!(unknown.err.contains("--transport port-forward"), "{unknown:?}");
    lab.uploaded("none", &disk, &[]);
    lab.holds("none", &disk);
    // The pod's certificate is held against CDI's authority.
    let authority = json!({ "data": { "ca-bundle.crt": "" } }).to_string();
    let patch = ["patch", "configmap", "-n", "cdi", "cdi-uploadproxy-signer-bundle", "-p"];
    lab.cluster.kubectl(&[&patch[..], &[&authority]].concat());
    let stranger = lab.upload("x", &disk, &[]);
    assert_eq!(stranger.status, 4, "{stranger:?}");
    lab.uploaded("named", &disk, &["--upload-proxy-ca", lab.cluster.at("ca_file")]);
    // Who may not use the port is told so, and nothing stays.
    lab.cluster.fault(closed);
    let refused = lab.upload("x", &disk, &["--insecure"]);
    assert_eq!(refused.status, 4, "{refused:?}");
    assert!(refused.err.contains("--upload-proxy-url"), "{refused:?}");
    lab.is_gone("x");
}

#[test]
fn a_port_that_breaks_is_taken_up_again() {
    let lab = Lab::new();
    let disk = lab.disk("disk.img");
    let args = ["--transport", "port-forward"];
    lab.cluster.fault(&format!("op=upload,object={}/again,cut=1000000,skip=1,max=1", lab.space));
    lab.uploaded("again", &disk, &args);
    lab.holds("again", &disk);
    lab.cluster.fault(&format!("op=upload,object={}/refused,status=400,skip=1", lab.space));
    let refused = lab.upload("refused", &disk, &args);
    assert_eq!(refused.status, 1, "{refused:?}");
    lab.is_gone("refused");
}
