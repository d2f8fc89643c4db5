//! `hyper vm create` on a simulated KubeVirt in front of a real API server, which judges what is
//! made; kubectl reads it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod lab;
mod vcsim;

use serde_json::{Value, json};

use self::lab::Lab;

/// What a complete API server has; a testbed's smaller one takes objects into any namespace.
const RIGHTS: &str = "rbac.authorization.k8s.io";

/// A container image and enough memory for it.
const IMAGE: [&str; 4] = ["--container-disk", "registry/debian:12", "--memory", "1Gi"];

impl Lab {
    /// Makes a machine; it is there then.
    fn create(&self, args: &[&str]) -> Value {
        let done = self.vm(&[&["create", "-o", "json"], args].concat());
        assert_eq!(done.status, 0, "{done:?}");
        done.json()
    }

    /// The status of a creation that fails, and what it says.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        let done = self.vm(&[&["create"], args].concat());
        (done.status, done.err)
    }

    fn spec(&self, name: &str) -> Value {
        self.machine(name)["spec"]["template"]["spec"].clone()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn apply(&self, objects: &[Value]) {
        for object in objects {
            self.cluster.apply(&self.space, object);
        }
    }
}

#[test]
fn flag_container_disk_and_flag_cpus_and_flag_memory_and_flag_label() {
    let lab = Lab::new();
    let row = lab.create(
        &[&["web01", "--cpus", "3", "--label", "app=web", "--label", "tier="], &IMAGE[..]].concat(),
    );
    let wanted = (&json!("create"), &json!("done"), &json!(format!("{}/web01", lab.space)));
    assert_eq!((&row["action"], &row["outcome"], &row["id"]), wanted);
    assert_eq!(row["schema"], "hyper.vm_action/v1");
    lab.is("web01", "Stopped");
    let machine = lab.machine("web01");
    assert_eq!(machine["metadata"]["labels"], json!({ "app": "web", "tier": "" }));
    assert_eq!(machine["spec"]["template"]["metadata"]["labels"]["app"], "web");
    let spec = lab.spec("web01");
    assert_eq!(spec["domain"]["cpu"], json!({ "cores": 1, "sockets": 3, "threads": 1 }));
    assert_eq!(spec["domain"]["memory"]["guest"], "1Gi");
    assert_eq!(spec["volumes"][0]["containerDisk"]["image"], "registry/debian:12");
    assert_eq!(spec["networks"], json!([{ "name": "default", "pod": {} }]));
    let vm = lab.vm(&["get", "web01", "-o", "json"]).json();
    assert_eq!((&vm["cpus"], &vm["memory_bytes"]), (&json!(3), &json!(1_u64 << 30)));
    assert_eq!(lab.vm(&["start", "web01"]).status, 0, "it can run");

    let (status, words) = lab.refused(&[&["web01"], &IMAGE[..]].concat());
    assert_eq!(status, 6, "{words}");
    assert!(words.contains("already exists"), "{words}");
}

#[test]
fn flag_start_and_flag_wait_of_create() {
    let lab = Lab::new();
    let row = lab.create(&[&["web01", "--start", "--wait"], &IMAGE[..]].concat());
    assert_eq!(row["note"], "it runs");
    assert_eq!(lab.instance("web01")["status"]["phase"], "Running");
    lab.cluster
        .fault(&format!("op=schedule,object=virtualmachineinstances/{},fault=full", lab.space));
    let stuck = lab.vm(&[&["create", "web02", "--start", "--wait"], &IMAGE[..]].concat());
    assert_eq!(stuck.status, 1, "{stuck:?}");
    assert!(stuck.err.contains("full"), "{stuck:?}");
    let slow = format!("op=controller,object=virtualmachines/{}/web03,delay=5s,max=1", lab.space);
    lab.cluster.fault(&slow);
    let late = [&["create", "web03", "--start", "--wait", "--timeout", "3s"], &IMAGE[..]].concat();
    assert_eq!(lab.vm(&late).status, 11);
    assert_ne!(lab.machine("web03"), Value::Null, "it stays, to be looked at");
}

#[test]
fn flag_dry_run_of_create() {
    let lab = Lab::new();
    let row = lab.create(&[&["web01", "--dry-run"], &IMAGE[..]].concat());
    assert_eq!(
        (&row["outcome"], &row["note"]),
        (&json!("planned"), &json!("the server accepts it"))
    );
    assert_eq!(lab.machine("web01"), Value::Null);
    if lab.cluster.has(RIGHTS) {
        let nowhere = ["create", "--dry-run", "nope/web01", IMAGE[0], IMAGE[1], "--memory", "1Gi"];
        let done = lab.vm(&nowhere);
        assert_eq!(done.status, 5, "{done:?}");
        assert!(done.err.contains("nope"), "{done:?}");
    }
    let space = lab.space.clone();
    // Larger than every node: a cluster may promise more than it has, so that it is only told.
    for (flag, size, words) in
        [("--cpus", "100000", "so many processors (64)"), ("--memory", "9Ti", "so much memory")]
    {
        let args = ["create", "huge", "--container-disk", "a", "--dry-run", flag, size];
        let other = if flag == "--cpus" { &["--memory", "1Gi"][..] } else { &[] };
        let done = lab.vm(&[&args[..], other].concat());
        assert_eq!(done.status, 0, "{done:?}");
        assert!(done.err.contains(words), "{done:?}");
    }
    let viewer = ["create", "-c", "hyper-sim-viewer", "-n", &space, "web01"];
    let done = lab.as_anyone(&[&viewer[..], &IMAGE].concat());
    assert_eq!(done.status, 4, "{done:?}");
    for wrong in [
        &["web01", "--container-disk", "a", "--memory", "lots"][..],
        &["web01", "--container-disk", "a", "--memory", "1Gi", "--cpus", "0"],
        &["web01", "--container-disk", "a", "--memory", "1Gi", "--cpus", "99999999999"],
        &["web01", "--container-disk", "a", "--memory", "1Gi", "--label", "app"],
        &["web01", "--container-disk", "a"],
        &["web01", "--memory", "1Gi"],
        &["web01", "--memory", "1Gi", "--container-disk", "a", "--blank", "1Gi"],
        &["WEB", "--container-disk", "a", "--memory", "1Gi"],
        &["--memory", "1Gi"],
        &[],
    ] {
        let (status, words) = lab.refused(wrong);
        assert_eq!(status, 2, "{wrong:?}: {words}");
    }
    let vsphere = [("GOVC_URL", "https://127.0.0.1:1".to_owned())];
    let program = env!("CARGO_BIN_EXE_hyper-vm");
    let args = [&["create", "govc:web01"], &IMAGE[..]].concat();
    assert_eq!(vcsim::run(program, lab.home.path(), &vsphere, &args).status, 7);
}

#[test]
fn flag_datavolume_and_flag_blank_and_flag_storage_class() {
    let lab = Lab::new();
    let args = ["web01", "--memory", "1Gi", "--blank", "2Gi", "--storage-class", "hyper-sim"];
    lab.create(&[&args[..], &["--wait"]].concat());
    let template = &lab.machine("web01")["spec"]["dataVolumeTemplates"][0];
    assert_eq!(template["spec"]["source"], json!({ "blank": {} }));
    assert_eq!(template["spec"]["storage"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(template["spec"]["storage"]["storageClassName"], "hyper-sim");
    let volume = lab.cluster.get(&lab.space, "dv", "web01-root");
    assert_eq!(volume["status"]["phase"], "Succeeded", "--wait is for disks, too");
    let nowhere = ["a", "--memory", "1Gi", "--blank", "2Gi", "--storage-class", "nope"];
    assert_eq!(lab.refused(&nowhere).0, 5);

    lab.create(&["web02", "--memory", "1Gi", "--datavolume", "web01-root"]);
    let volume = json!({ "name": "root", "dataVolume": { "name": "web01-root" } });
    assert_eq!(lab.spec("web02")["volumes"][0], volume);
    let (status, words) = lab.refused(&["web03", "--memory", "1Gi", "--datavolume", "nope"]);
    assert_eq!(status, 5, "{words}");
    lab.apply(&[json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "plain" },
        "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } } },
    })]);
    lab.create(&["web03", "--memory", "1Gi", "--datavolume", "plain"]);
    let claim = json!({ "name": "root", "persistentVolumeClaim": { "claimName": "plain" } });
    assert_eq!(lab.spec("web03")["volumes"][0], claim);
}

/// A source of images, made from a blank volume, and a size and a preference of the same name.
fn golden(lab: &Lab, labels: Value) {
    let of = |kind: &str, spec: Value| {
        let group = match kind {
            "DataVolume" | "DataSource" => "cdi",
            _ => "instancetype",
        };
        json!({
            "apiVersion": format!("{group}.kubevirt.io/v1beta1"),
            "kind": kind,
            "metadata": { "name": "golden", "labels": if kind == "DataSource" { labels.clone() } else { json!({}) } },
            "spec": spec,
        })
    };
    let size = json!({ "cpu": { "guest": 4 }, "memory": { "guest": "2Gi" } });
    lab.apply(&[
        of("VirtualMachineInstancetype", size),
        of("VirtualMachinePreference", json!({ "devices": { "preferredDiskBus": "virtio" } })),
        of(
            "DataVolume",
            json!({
                "source": { "blank": {} },
                "storage": { "resources": { "requests": { "storage": "1Gi" } } },
            }),
        ),
        of(
            "DataSource",
            json!({ "source": { "pvc": { "name": "golden", "namespace": lab.space } } }),
        ),
    ]);
}

#[test]
fn flag_data_source_and_flag_instancetype_and_flag_preference() {
    let lab = Lab::new();
    golden(&lab, json!({}));
    let source = format!("{}/golden", lab.space);
    let sized = ["--instancetype", "golden", "--preference", "golden"];
    lab.create(&[&["web01", "--data-source", &source, "--wait"], &sized[..]].concat());
    let machine = lab.machine("web01");
    let from = &machine["spec"]["dataVolumeTemplates"][0]["spec"]["sourceRef"];
    assert_eq!(*from, json!({ "kind": "DataSource", "name": "golden", "namespace": lab.space }));
    let kind = json!({ "kind": "VirtualMachineInstancetype", "name": "golden" });
    assert_eq!(machine["spec"]["instancetype"], kind);
    assert_eq!(machine["spec"]["preference"]["name"], "golden");
    assert_eq!(lab.vm(&["get", "web01", "-o", "jsonpath=$.cpus"]).out.trim(), "4");
    assert_eq!(lab.refused(&["a", "--data-source", "nope", "--memory", "1Gi"]).0, 5);
    assert_eq!(lab.refused(&["a", "--container-disk", "a", "--instancetype", "nope"]).0, 5);
    let both = ["a", "--container-disk", "a", "--instancetype", "golden", "--memory", "1Gi"];
    assert_eq!(lab.refused(&both).0, 2, "whose size would it have?");
    let (status, words) = lab.refused(&["a", "--template", "golden"]);
    assert_eq!(status, 7, "it is none: {words}");
}

#[test]
fn flag_template() {
    let lab = Lab::new();
    let labels = ["instancetype", "preference"]
        .map(|it| (format!("instancetype.kubevirt.io/default-{it}"), json!("golden")));
    golden(&lab, Value::Object(labels.into_iter().collect()));
    lab.create(&["web01", "--template", "golden"]);
    let machine = lab.machine("web01");
    assert_eq!(machine["spec"]["instancetype"]["name"], "golden");
    assert_eq!(machine["spec"]["preference"]["name"], "golden");
    lab.create(&["web02", "--template", "golden", "--memory", "3Gi", "--cpus", "1"]);
    let machine = lab.machine("web02");
    assert_eq!(machine["spec"].get("instancetype"), None, "its own size");
    assert_eq!(lab.spec("web02")["domain"]["memory"]["guest"], "3Gi");
}

#[test]
fn flag_cloud_init_and_flag_ssh_key() {
    let lab = Lab::new();
    let data = lab.write("user-data", "#cloud-config\nhostname: web01\n");
    let key = lab.write("key.pub", "# mine\nssh-ed25519 AAAAC3 me@home\n");
    let both = ["--cloud-init", &data, "--ssh-key", &key];
    lab.create(&[&["web01"], &both[..], &IMAGE].concat());
    let text = lab.spec("web01")["volumes"][1]["cloudInitNoCloud"]["userData"].clone();
    let wanted =
        "#cloud-config\nhostname: web01\nssh_authorized_keys:\n- \"ssh-ed25519 AAAAC3 me@home\"\n";
    assert_eq!(text, wanted);
    let long = lab.write("long", &format!("#cloud-config\nruncmd: [\"{}\"]\n", "x".repeat(3000)));
    lab.create(&[&["web02", "--cloud-init", &long], &IMAGE[..]].concat());
    let named = &lab.spec("web02")["volumes"][1]["cloudInitNoCloud"]["secretRef"]["name"];
    assert_eq!(*named, "web02-cloudinit");
    let secret = lab.cluster.get(&lab.space, "secret", "web02-cloudinit");
    let owner = &secret["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], lab.machine("web02")["metadata"]["uid"], "it goes with the machine");
    lab.cluster.kubectl(&["delete", "-n", &lab.space, "secret", "web02-cloudinit"]);
    let taken = lab.refused(&[&["web02", "--cloud-init", &long], &IMAGE[..]].concat());
    assert_eq!(taken.0, 6, "{taken:?}");
    let left = lab.cluster.get(&lab.space, "secret", "web02-cloudinit");
    assert_eq!(left, Value::Null, "what was made on the way is gone");
    let private = lab.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (flag, file, status) in
        [("--ssh-key", &*private, 2), ("--ssh-key", &*data, 2), ("--cloud-init", "nope", 5)]
    {
        let done = lab.refused(&[&["a", flag, file], &IMAGE[..]].concat());
        assert_eq!(done.0, status, "{done:?}");
    }
}

#[test]
fn flag_network() {
    let lab = Lab::new();
    let to = |names: &[&str]| {
        let flags = names.iter().flat_map(|name| ["--network", name]);
        [&["web01"], &IMAGE[..], &flags.collect::<Vec<_>>()]
            .concat()
            .iter()
            .map(|it| it.to_string())
            .collect::<Vec<_>>()
    };
    let refused = |names: &[&str]| {
        let args = to(names);
        lab.refused(&args.iter().map(String::as_str).collect::<Vec<_>>()).0
    };
    // An earlier run may have given the cluster such networks; then there is none of this name.
    let known = lab.cluster.has("k8s.cni.cncf.io");
    assert_eq!(refused(&["vlan10"]), if known { 5 } else { 7 });
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    lab.apply(&[json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "network-attachment-definitions.k8s.cni.cncf.io" },
        "spec": {
            "group": "k8s.cni.cncf.io",
            "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions",
                "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition",
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    })]);
    let wait = ["wait", "--for", "condition=established", "crd", "--all", "--timeout", "60s"];
    lab.cluster.kubectl(&wait);
    let network = json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "vlan10" },
        "spec": { "config": "{}" },
    });
    cluster::wait_for("the network", || {
        let text = network.to_string();
        let apply = ["apply", "-n", &lab.space, "-f", "-"];
        lab.cluster.try_kubectl(&apply, Some(&text)).status.success()
    });
    assert_eq!(refused(&["nope"]), 5);
    let args = to(&["pod", "vlan10"]);
    lab.create(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let networks = json!([
        { "name": "default", "pod": {} },
        { "name": "net1", "multus": { "networkName": "vlan10" } },
    ]);
    assert_eq!(lab.spec("web01")["networks"], networks);
    let cards = &lab.spec("web01")["domain"]["devices"]["interfaces"];
    assert_eq!(cards[1], json!({ "name": "net1", "bridge": {} }));
}

#[test]
fn flag_gpu_and_flag_host_device() {
    let lab = Lab::new();
    let (status, words) =
        lab.refused(&[&["web01", "--gpu", "sim.example/none"], &IMAGE[..]].concat());
    assert_eq!(status, 7, "{words}");
    assert!(words.contains("no node of the cluster offers sim.example/none"), "{words}");
    // Names of this test's own: other tests place machines on these nodes, too.
    let (card, usb) =
        (format!("sim.example/T4-{}", lab.space), format!("sim.example/{}", lab.space));
    cluster::wait_for("the node to offer them", || {
        let mut node: Value = lab.cluster.get(&lab.space, "node", "node02");
        for field in ["capacity", "allocatable"] {
            node["status"][field][&card] = "2".into();
            node["status"][field][&usb] = "1".into();
        }
        let put = ["replace", "--raw", "/api/v1/nodes/node02/status", "-f", "-"];
        lab.cluster.try_kubectl(&put, Some(&node.to_string())).status.success()
    });
    let two = ["--gpu", &card, "--gpu", &card];
    let device = ["--host-device", &usb, "--start", "--wait"];
    lab.create(&[&["web01"], &two[..], &device, &IMAGE].concat());
    let devices = &lab.spec("web01")["domain"]["devices"];
    let gpus =
        json!([{ "deviceName": card, "name": "gpu0" }, { "deviceName": card, "name": "gpu1" }]);
    assert_eq!(devices["gpus"], gpus);
    assert_eq!(devices["hostDevices"][0]["deviceName"], usb);
    assert_eq!(lab.instance("web01")["status"]["nodeName"], "node02", "where they are");
    let three = [&["web02"], &two[..], &["--gpu", &card], &IMAGE].concat();
    let (status, words) = lab.refused(&three);
    assert_eq!(status, 7, "{words}");
    let stick = ["web03", "--host-device", "sim.example/none"];
    assert_eq!(lab.refused(&[&stick, &IMAGE[..]].concat()).0, 7);
}

#[test]
fn flag_file() {
    let lab = Lab::new();
    let own = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [cluster::machine("web01", "Halted"), cluster::machine("web02", "Always")],
    });
    let file = lab.write("two.json", &own.to_string());
    let done = lab.vm(&["create", "-f", &file, "-o", "ndjson"]);
    assert_eq!((done.status, done.lines().len()), (0, 2), "{done:?}");
    lab.is("web01", "Stopped");
    lab.is("web02", "Running");
    let again = lab.vm(&["create", "--file", &file]);
    assert_eq!(again.status, 6, "{again:?}");
    let mut odd = cluster::machine("web03", "Halted");
    odd["spec"]["template"]["spec"]["domain"]["memory"]["guest"] = "lots".into();
    let mixed = format!("{}\n---\n{}\n", cluster::machine("web04", "Halted"), odd);
    let file = lab.write("mixed.yaml", &mixed);
    let done = lab.vm(&["create", "-f", &file, "-o", "ndjson"]);
    let rows = done.lines();
    assert_eq!(
        (done.status, &rows[0]["outcome"], &rows[1]["outcome"]),
        (10, &json!("done"), &json!("failed")),
        "{done:?}"
    );
    assert!(rows[1]["error"].as_str().unwrap().contains("memory.guest"), "{done:?}");
    let pod = lab.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n");
    assert_eq!(lab.refused(&["-f", &pod]).0, 2);
    assert_eq!(lab.refused(&["-f", "nope.yaml"]).0, 5);
    assert_eq!(lab.refused(&["-f", &file, "web01"]).0, 2);
}

#[test]
fn what_hypersdk_describes_is_made_and_done() {
    let lab = Lab::new();
    let head = |kind: &str, name: &str| {
        format!("---\napiVersion: hypersdk.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n")
    };
    let text = [
        &head("VirtualMachine", "web01"),
        "spec:\n  cpus: 2\n  memory: 1Gi\n  running: false\n  image: {source: registry/debian}\n",
        "  carbonAware: {enabled: true}\n  networks: [{name: default}]\n",
        &head("VMSnapshot", "before"),
        "spec:\n  vmRef: {name: web01}\n  description: words\n",
        &head("VMOperation", "grow"),
        "spec:\n  vmRef: {name: web01}\n  operation: resize\n  resizeSpec: {cpus: 4}\n",
        &head("VMOperation", "copy"),
        "spec:\n  vmRef: {name: web01}\n  operation: clone\n",
        "  cloneSpec: {targetName: web02, startAfterClone: true}\n",
        &head("VMTemplate", "golden"),
        "spec:\n  displayName: Golden\n  defaultSpec: {cpus: 2, memory: 1Gi}\n",
        "  image: {source: registry/debian}\n",
    ]
    .concat();
    let file = lab.write("all.yaml", &text);
    let planned = lab.vm(&["create", "-f", &file, "--dry-run", "-o", "ndjson"]);
    let outcomes: Vec<_> = planned.lines().iter().map(|it| it["outcome"].clone()).collect();
    // What is to be done to machines that are made before it would be done.
    assert_eq!((planned.status, outcomes), (0, vec![json!("planned"); 6]), "{planned:?}");
    let lost = lab.write(
        "lost.yaml",
        &text[text.find("---\napiVersion: hypersdk.io/v1alpha1\nkind: VMOperation").unwrap()..],
    );
    assert_eq!(lab.vm(&["create", "-f", &lost, "--dry-run"]).status, 10, "web01 is not there");
    assert_eq!(lab.machine("web01"), Value::Null);

    let done = lab.vm(&["create", "-f", &file, "--wait", "-o", "ndjson"]);
    assert_eq!(done.status, 0, "{done:?}");
    let did: Vec<_> = done.lines().iter().map(|it| it["action"].clone()).collect();
    assert_eq!(did, ["create", "snapshot", "resize", "clone", "start", "template"]);
    for part in ["spec.carbonAware.enabled has no counterpart", "spec.description has no"] {
        assert!(done.err.contains(part), "{part}: {done:?}");
    }
    assert_eq!(lab.spec("web01")["domain"]["cpu"]["sockets"], 4);
    let snapshot = lab.cluster.get(&lab.space, "vmsnapshot", "before");
    assert_eq!(snapshot["status"]["readyToUse"], true, "--wait is for snapshots, too");
    lab.is("web02", "Running");
    lab.create(&["web03", "--template", "golden"]);
    assert_eq!(lab.machine("web03")["spec"]["instancetype"]["name"], "golden");
}

#[test]
fn flag_interactive() {
    let lab = Lab::new();
    lab.make("taken", "Halted");
    assert_eq!(lab.refused(&["--interactive"]).0, 2, "there is no terminal");
    let answer = |talk: &[(&str, &str)]| lab.typed(&["create", "--interactive"], talk);
    let talk = [
        ("Name", "Wrong!\\r"),
        ("cannot be the name", "taken\\r"),
        ("Namespace", "nowhere\\r"),
        ("there is no namespace", "\\r"),
        ("already", "other\\r"),
        ("Namespace", "\\r"),
        ("CPUs", "none\\r"),
        ("a number", "3\\r"),
        ("Memory", "lots\\r"),
        ("unit", "2Gi\\r"),
        ("Disk", "\\x1b[B\\x1b[B\\x1b[B\\r"),
        ("Size", "1Gi\\r"),
        ("Make other in", "y"),
        ("the server accepts it", ""),
    ];
    let (status, said) = answer(&talk);
    assert_eq!(status, Some(0), "{said}");
    let spec = lab.spec("other");
    assert_eq!(spec["domain"]["cpu"]["sockets"], 3);
    assert_eq!(spec["domain"]["memory"]["guest"], "2Gi");
    let (status, said) = answer(&[
        ("Name", "no\\r"),
        ("Namespace", "\\r"),
        ("CPUs", "\\r"),
        ("Memory", "\\r"),
        ("Disk", "\\r"),
        ("Image", "\\r"),
        ("with 2 CPUs, 4Gi", "n"),
    ]);
    assert_eq!(status, Some(130), "{said}");
    assert_eq!(lab.machine("no"), Value::Null);
}
