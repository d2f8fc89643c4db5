//! Machines as kubectl makes, reads and changes them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cluster::{Cluster, machine, wait_for};

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().unwrap();
    all.iter().find(|it| it["type"] == kind).unwrap_or(&Value::Null)
}

#[test]
fn a_machine_lives_as_its_strategy_and_its_clients_want() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Halted"));
    cluster.machine_is(&space, "web01", "Stopped");
    assert!(
        cluster
            .put(&space, "virtualmachines/web01/stop", "{}")
            .unwrap_err()
            .contains("not running")
    );
    cluster.put(&space, "virtualmachines/web01/start", r#"{"dryRun":["All"]}"#).unwrap();
    assert_eq!(cluster.get(&space, "vm", "web01")["spec"]["runStrategy"], "Halted");

    cluster.put(&space, "virtualmachines/web01/start", "{}").unwrap();
    cluster.machine_is(&space, "web01", "Running");
    let again = cluster.put(&space, "virtualmachines/web01/start", "{}").unwrap_err();
    assert!(again.contains("VM is already running"), "{again}");
    wait_for("the guest agent", || {
        condition(&cluster.get(&space, "vmi", "web01"), "AgentConnected")["status"] == "True"
    });
    let instance = cluster.get(&space, "vmi", "web01");
    assert_eq!(instance["status"]["guestOSInfo"]["id"], "debian");
    assert_eq!(instance["status"]["interfaces"][0]["infoSource"], "domain, guest-agent");
    let node = instance["status"]["nodeName"].as_str().unwrap();
    let pods = cluster.kubectl(&["get", "pods", "-n", &space, "-o", "wide", "--no-headers"]);
    assert!(pods.starts_with("virt-launcher-web01-") && pods.contains(node), "{pods}");

    cluster.put(&space, "virtualmachineinstances/web01/pause", "{}").unwrap();
    cluster.machine_is(&space, "web01", "Paused");
    cluster.put(&space, "virtualmachineinstances/web01/unpause", "{}").unwrap();
    cluster.machine_is(&space, "web01", "Running");

    let before = instance["metadata"]["uid"].clone();
    cluster.put(&space, "virtualmachines/web01/restart", r#"{"gracePeriodSeconds":0}"#).unwrap();
    wait_for("another instance", || {
        let now = cluster.get(&space, "vmi", "web01");
        now["status"]["phase"] == "Running" && now["metadata"]["uid"] != before
    });
    cluster.put(&space, "virtualmachines/web01/stop", "{}").unwrap();
    cluster.machine_is(&space, "web01", "Stopped");
    assert_eq!(cluster.get(&space, "vm", "web01")["spec"]["runStrategy"], "Halted");
    let events = cluster.kubectl(&["get", "events", "-n", &space]);
    for reason in ["SuccessfulCreate", "Started", "ShuttingDown", "SuccessfulDelete"] {
        assert!(events.contains(reason), "{reason}: {events}");
    }
    cluster.kubectl(&["delete", "-n", &space, "vm", "web01"]);
    assert!(cluster.kubectl(&["get", "vm,vmi,pods", "-n", &space]).is_empty());
}

#[test]
fn requests_start_and_stop_what_is_run_by_hand() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("hand", "Manual"));
    cluster.machine_is(&space, "hand", "Stopped");
    cluster.put(&space, "virtualmachines/hand/start", r#"{"paused":true}"#).unwrap();
    cluster.machine_is(&space, "hand", "Paused");
    cluster.put(&space, "virtualmachines/hand/stop", r#"{"gracePeriod":0}"#).unwrap();
    cluster.machine_is(&space, "hand", "Stopped");
    let machine = cluster.get(&space, "vm", "hand");
    assert_eq!(machine["spec"]["runStrategy"], "Manual");
    assert!(machine["status"]["stateChangeRequests"].is_null());
}

#[test]
fn a_migration_changes_the_node_and_is_refused_on_disks_of_one_node() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Always"));
    cluster.machine_is(&space, "web01", "Running");
    let node = |name: &str| cluster.get(&space, "vmi", name)["status"]["nodeName"].clone();
    let before = node("web01");
    cluster.put(&space, "virtualmachines/web01/migrate", "{}").unwrap();
    wait_for("another node", || node("web01") != before);
    wait_for("the end of the migration", || {
        cluster.kubectl(&["get", "vmim", "-n", &space, "--no-headers"]).contains("Succeeded")
    });
    let state = &cluster.get(&space, "vmi", "web01")["status"]["migrationState"];
    assert_eq!(state["sourceNode"], before);
    assert_eq!(state["completed"], true);

    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "own" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    cluster.apply(&space, &claim);
    let mut local = machine("local", "Always");
    local["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "persistentVolumeClaim": { "claimName": "own" } });
    cluster.apply(&space, &local);
    cluster.machine_is(&space, "local", "Running");
    let refused = cluster.put(&space, "virtualmachines/local/migrate", "{}").unwrap_err();
    assert!(refused.contains("DisksNotLiveMigratable"), "{refused}");
}

#[test]
fn what_cannot_be_placed_or_filled_says_so() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    let mut nowhere = machine("nowhere", "Always");
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": "no" });
    cluster.apply(&space, &nowhere);
    let mut lost = machine("lost", "Always");
    lost["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "persistentVolumeClaim": { "claimName": "nothing" } });
    cluster.apply(&space, &lost);
    cluster.machine_is(&space, "nowhere", "ErrorUnschedulable");
    cluster.machine_is(&space, "lost", "ErrorPvcNotFound");
    cluster.fault(&format!("op=datavolume,object=datavolumes/{space}/bad,fault=no such image"));
    let mut bad = machine("bad", "Always");
    bad["spec"]["dataVolumeTemplates"] = json!([{
        "metadata": { "name": "bad" },
        "spec": { "source": { "http": { "url": "http://nowhere.invalid/a.qcow2" } }, "storage": {} },
    }]);
    bad["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "dataVolume": { "name": "bad" } });
    cluster.apply(&space, &bad);
    cluster.machine_is(&space, "bad", "DataVolumeError");
    let words = cluster.try_kubectl(
        &["apply", "-n", &space, "-f", "-"],
        Some(&machine("many", "Halted").to_string().replace("\"1Gi\"", "\"lots\"")),
    );
    let words = String::from_utf8_lossy(&words.stderr).into_owned();
    assert!(words.contains("spec.template.spec.domain.memory.guest"), "{words}");
}

#[test]
fn kubectl_watches_what_happens() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    let watch = [
        "get",
        "vm",
        "-n",
        &space,
        "-w",
        "--no-headers",
        "-o",
        "custom-columns=S:.status.printableStatus",
    ];
    let mut child = cluster.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    cluster.apply(&space, &machine("web01", "Always"));
    assert!(lines.any(|line| line == "Starting"));
    assert!(lines.any(|line| line == "Running"));
    cluster.kubectl(&[
        "patch",
        "vm",
        "-n",
        &space,
        "web01",
        "--type=merge",
        "-p",
        r#"{"spec":{"runStrategy":"Halted"}}"#,
    ]);
    assert!(lines.any(|line| line == "Stopping"));
    assert!(lines.any(|line| line == "Stopped"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_volume_is_imported_step_by_step() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    let watch = ["get", "dv", "-n", &space, "-w", "--no-headers"];
    let mut child = cluster.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    cluster.apply(
        &space,
        &json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": { "name": "root" },
            "spec": {
                "source": { "registry": { "url": "docker://debian" } },
                "storage": { "resources": { "requests": { "storage": "2Gi" } } },
            },
        }),
    );
    for part in ["ImportScheduled", "ImportInProgress", "60.0%", "Succeeded"] {
        assert!(lines.any(|line| line.contains(part)), "{part}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let claim = cluster.get(&space, "pvc", "root");
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
}

#[test]
fn the_api_server_comes_back_with_everything_and_old_versions_are_gone_when_compacted() {
    let cluster = Cluster::start(&["--pace", "50ms"]);
    cluster.apply("default", &machine("web01", "Always"));
    cluster.machine_is("default", "web01", "Running");
    cluster.kill("kube-apiserver");
    wait_for("the API server", || cluster.try_kubectl(&["get", "vm"], None).status.success());
    cluster.put("default", "virtualmachines/web01/stop", "{}").unwrap();
    cluster.machine_is("default", "web01", "Stopped");

    let old = cluster.get("default", "vm", "web01")["metadata"]["resourceVersion"].clone();
    let old: u64 = old.as_str().unwrap().parse().unwrap();
    cluster.kubectl(&["label", "vm", "web01", "one=1"]);
    // etcd's own gateway speaks JSON.
    compact(cluster.at("etcd"), old + 1);
    cluster.kill("kube-apiserver");
    wait_for("the API server", || cluster.try_kubectl(&["get", "vm"], None).status.success());
    let path = format!("/apis/kubevirt.io/v1/virtualmachines?watch=1&resourceVersion={}", old - 1);
    let mut child = cluster
        .command(&["get", "--raw", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let words = format!("{line}{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.contains("too old resource version"), "{words}");
}

fn compact(etcd: &str, version: u64) {
    use std::io::{Read, Write};
    let place = etcd.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(place).unwrap();
    let body = json!({ "revision": version.to_string(), "physical": true }).to_string();
    write!(
        stream,
        "POST /v3/kv/compaction HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn rights_are_kept_in_what_the_simulator_answers_itself() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Always"));
    cluster.machine_is(&space, "web01", "Running");
    let as_one = |context: &str, args: &[&str]| {
        let all = [&["--context", context], args].concat();
        cluster.try_kubectl(&all, None)
    };
    let viewer = format!("{}-viewer", "hyper-sim");
    let may_look = as_one(&viewer, &["get", "vm", "-n", &space]).status.success();
    assert_eq!(may_look, cluster.has("rbac.authorization.k8s.io"));
    let path =
        format!("/apis/subresources.kubevirt.io/v1/namespaces/{space}/virtualmachines/web01/stop");
    let all = ["--context", &viewer, "replace", "--raw", &path, "-f", "-"];
    let stopped = cluster.try_kubectl(&all, Some("{}"));
    let words = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(!stopped.status.success() && words.contains("forbidden"), "{words}");
    let nobody = as_one("hyper-sim-nobody", &["get", "vm", "-n", &space]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("Forbidden"));
    let wrong = as_one(
        "hyper-sim",
        &["--token", "wrong", "get", "--raw", &path.replace("/stop", "/expand-spec")],
    );
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("Unauthorized"));
}

#[test]
fn faults_are_what_the_rules_say() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster
        .fault(&format!("op=list,object={space}/virtualmachines,max=1,status=429,retry-after=1"));
    // kubectl waits and asks again, as it was told.
    cluster.kubectl(&["get", "vm", "-n", &space]);
    cluster.fault(&format!("op=create,object={space}/virtualmachines,max=1,status=409"));
    let made = cluster.try_kubectl(
        &["create", "-n", &space, "-f", "-"],
        Some(&machine("a", "Halted").to_string()),
    );
    assert!(String::from_utf8_lossy(&made.stderr).contains("Conflict"));
    cluster.fault(&format!("op=list,object={space}/virtualmachines,max=1,expire"));
    let listed = cluster.try_kubectl(&["get", "vm", "-n", &space], None);
    assert!(String::from_utf8_lossy(&listed.stderr).contains("Unauthorized"));
    cluster.apply(&space, &machine("a", "Halted"));
    cluster.fault(&format!("op=watch,object={space}/virtualmachines,max=1,cut=10"));
    let path =
        format!("/apis/kubevirt.io/v1/namespaces/{space}/virtualmachines?watch=1&timeoutSeconds=5");
    let output = cluster.try_kubectl(&["get", "--raw", &path], None);
    assert_eq!(output.stdout.len(), 10);
    let wrong =
        cluster.try_kubectl(&["create", "--raw", "/hyper-sim/faults", "-f", "-"], Some("op=list"));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("does nothing"));
}
