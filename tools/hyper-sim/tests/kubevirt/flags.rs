//! What each flag does. What can be seen without a cluster is seen without one.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, machine, simulator, wait_for};

/// A raw image of 1 MiB, its first bytes telling of its name.
fn raw(folder: &Path, name: &str) -> String {
    let mut bytes = vec![0; 1 << 20];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// Runs it with something that ends it before any server is started.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = simulator().args(args).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn mistakes_are_said_before_anything_starts() {
    for (args, status, words) in [
        (&["--running", "nobody"][..], 2, "there is no such machine"),
        (&["--no-agent", "nobody"], 2, "there is no such machine"),
        (&["--vm", "a", "--vm", "a"], 2, "two machines have this name"),
        (&["--vm", "A"], 2, "small letters"),
        (&["--vm", "a/b/c"], 2, "NAMESPACE/NAME"),
        (&["--vm", "a=nothing.raw"], 5, "nothing.raw"),
        (&["--fault", "op=list,fault=x"], 2, "op is one of"),
        (&["--kubevirt-version", "2"], 2, "1.5"),
    ] {
        let (code, said) = refused(args);
        assert_eq!(code, Some(status), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

/// An image that is not there ends it just before the servers are started.
const END: [&str; 2] = ["--vm", "a=nothing.raw"];

#[test]
fn flag_etcd_and_flag_apiserver_name_the_programs() {
    for flag in ["--etcd", "--apiserver"] {
        let (code, said) = refused(&[&[flag, "/no/such"][..], &END].concat());
        assert_eq!(code, Some(5), "{said}");
        assert!(said.contains("/no/such: there is no such program"), "{flag}: {said}");
    }
}

#[test]
fn flag_crds_needs_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    let (code, said) = refused(&[&["--crds", &empty][..], &END].concat());
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("there are no definitions"), "{said}");
}

#[test]
fn flag_kubeconfig_stands_in_front_of_a_cluster() {
    let (code, said) = refused(&[&["--kubeconfig", "/no/config"][..], &END].concat());
    assert!(code == Some(5) && said.contains("/no/config"), "{said}");
    // The one before it has KubeVirt's own API already; this one answers it anew.
    let first = Cluster::start(&["--pace", "50ms"]);
    let second = Cluster::start(&["--kubeconfig", first.kubeconfig(), "--name", "second"]);
    assert!(second.access["etcd"].is_null());
    assert_ne!(first.at("url"), second.at("url"));
    second.apply("default", &machine("web01", "Halted"));
    assert_eq!(first.get("default", "vm", "web01")["kind"], "VirtualMachine");
    let wrong = second.try_kubectl(&["--token", "wrong", "get", "vm"], None);
    assert!(!wrong.status.success());
}

#[test]
fn flag_name_and_flag_kubevirt_version_and_flag_vm_and_flag_vms_and_flag_running_and_flag_no_agent_and_flag_metrics_and_flag_fault_make_a_cluster()
 {
    let folder = tempfile::tempdir().unwrap();
    let disks =
        format!("prod/web01={},{}", raw(folder.path(), "a.raw"), raw(folder.path(), "b.raw"));
    let extra = folder.path().join("extra");
    std::fs::create_dir(&extra).unwrap();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.example.org" },
        "spec": {
            "group": "example.org",
            "names": { "kind": "Thing", "plural": "things" },
            "scope": "Namespaced",
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": { "type": "object" },
            } }],
        },
    });
    std::fs::write(extra.join("things.yaml"), definition.to_string()).unwrap();
    let cluster = Cluster::start(&[
        "--name",
        "one",
        "--kubevirt-version",
        "1.0",
        "--vm",
        &disks,
        "--vm",
        "db01",
        "--running",
        "db01",
        "--no-agent",
        "db01",
        "--metrics",
        "--vms",
        "120",
        "--fault",
        "op=get,object=virtualmachines/vm-00007,status=503,retry-after=9",
        "--crds",
        &extra.display().to_string(),
    ]);
    let contexts = cluster.kubectl(&["config", "get-contexts", "-o", "name"]);
    assert_eq!(contexts.lines().collect::<Vec<_>>(), ["one", "one-nobody", "one-viewer"]);
    let versions = cluster.kubectl(&["api-versions"]);
    for (version, there) in [
        ("export.kubevirt.io/v1alpha1", true),
        ("export.kubevirt.io/v1beta1", false),
        ("snapshot.kubevirt.io/v1alpha1", true),
        ("snapshot.kubevirt.io/v1beta1", false),
        ("subresources.kubevirt.io/v1", true),
        ("example.org/v1", true),
    ] {
        assert_eq!(versions.lines().any(|line| line == version), there, "{version}: {versions}");
    }
    wait_for("the metrics of db01", || {
        let top = cluster.try_kubectl(&["top", "pod", "--no-headers"], None);
        let top = String::from_utf8_lossy(&top.stdout).into_owned();
        let words: Vec<_> = top.split_whitespace().collect();
        matches!(words[..], [pod, cpu, _] if pod.starts_with("virt-launcher-db01-") && cpu != "0m")
    });
    let table = cluster.kubectl(&["get", "vm", "-A", "--no-headers"]);
    assert_eq!(table.lines().count(), 122, "{table}");
    let is = |name: &str, status: &str| {
        let line = table.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.split_whitespace().any(|word| word == status), "{line}");
    };
    is("web01", "Stopped");
    is("db01", "Running");
    is("vm-00120", "Stopped");
    let claims = cluster.kubectl(&["get", "pvc", "-n", "prod", "--no-headers"]);
    assert!(claims.contains("web01-disk0") && claims.contains("web01-disk1"), "{claims}");
    let instance = cluster.get("default", "vmi", "db01");
    let kinds = instance["status"]["conditions"].as_array().unwrap().iter();
    assert!(!kinds.clone().any(|it| it["type"] == "AgentConnected"), "{instance}");
    let failed = cluster.try_kubectl(&["get", "vm", "vm-00007"], None);
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && words.contains("refused as asked"), "{words}");
}

#[test]
fn many_machines_are_there_at_once() {
    let cluster = Cluster::start(&["--vms", "3000"]);
    let path = "/apis/kubevirt.io/v1/virtualmachines?limit=100";
    let page: serde_json::Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", path])).unwrap();
    assert_eq!(page["metadata"]["remainingItemCount"], 2900);
    cluster.put("default", "virtualmachines/vm-02999/start", "{}").unwrap();
    cluster.machine_is("default", "vm-02999", "Running");
}

#[test]
fn flag_pace_is_the_time_of_a_step_and_an_interruption_ends_all_and_leaves_nothing() {
    let cluster = Cluster::start(&["--pace", "1h"]);
    cluster.apply("default", &machine("web01", "Always"));
    wait_for("the instance", || cluster.get("default", "vmi", "web01").is_object());
    std::thread::sleep(Duration::from_secs(3));
    let instance = cluster.get("default", "vmi", "web01");
    assert!(instance["status"]["phase"].is_null(), "the first step is not over: {instance}");
    let folder = Path::new(cluster.at("folder")).to_owned();
    let number = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.pid"))).unwrap();
    let (etcd, server) = (number("etcd"), number("kube-apiserver"));
    cluster.signal("INT");
    wait_for("the end", || !folder.exists());
    for number in [etcd, server] {
        wait_for("the end of a server", || !Path::new("/proc").join(&number).exists());
    }
}

#[test]
fn a_simulator_that_is_killed_takes_its_servers_along() {
    let cluster = Cluster::start(&[]);
    let folder = Path::new(cluster.at("folder")).to_owned();
    let number = std::fs::read_to_string(folder.join("kube-apiserver.pid")).unwrap();
    cluster.signal("KILL");
    wait_for("the end of the server", || {
        let state = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_person_gets_a_line_for_the_shell() {
    use std::io::{BufRead, BufReader};
    let mut child = simulator().stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let path = line.trim().strip_prefix("export KUBECONFIG=").unwrap();
    let config = std::fs::read_to_string(path).unwrap();
    assert!(config.contains("certificate-authority-data"));
    let kill = format!("kill -TERM {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
