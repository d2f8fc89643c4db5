//! A real API server with etcd, and kubectl to change what is in it. KubeVirt's kinds are there as
//! bare definitions: no controller touches the objects that a test makes.
//!
//! `HYPER_TEST_KUBECONFIG` names a server that runs already; each test works in a namespace of its
//! own, so that many may share one.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The name of the context in [`Cluster::kubeconfig`].
pub const CONTEXT: &str = "lab";

/// Starts both servers and ends them when standard input ends, so that they never outlive a test.
const SERVE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/testbed.d/kubernetes-serve");

/// An API server and its etcd.
pub struct Cluster {
    /// Reaches it as somebody who may do everything.
    pub kubeconfig: PathBuf,
    folder: Option<tempfile::TempDir>,
    input: Option<std::sync::Mutex<ChildStdin>>,
    child: Option<Child>,
}

fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// The one that all tests of this program share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var_os("HYPER_TEST_KUBECONFIG") {
            Some(kubeconfig) => {
                let kubeconfig = kubeconfig.into();
                let cluster = Self { kubeconfig, folder: None, input: None, child: None };
                cluster.define();
                cluster
            }
            None => Self::start(),
        })
    }

    /// One of its own, for a test that breaks it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (etcd, api) = (free_port(), free_port());
        let mut child = Command::new(SERVE)
            .arg(folder.path())
            .args([etcd.to_string(), api.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().map(std::sync::Mutex::new);
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = Self { kubeconfig, folder: Some(folder), input, child: Some(child) };
        cluster.ready();
        cluster.define();
        cluster
    }

    /// Kills the API server and starts it again; what is in etcd stays.
    pub fn restart(&self) {
        use std::io::Write;
        let mut input = self.input.as_ref().unwrap().lock().unwrap();
        input.write_all(b"again\n").unwrap();
        drop(input);
        // The old one may answer for a moment.
        std::thread::sleep(Duration::from_millis(300));
        self.ready();
    }

    fn ready(&self) {
        let started = Instant::now();
        while !self.try_kubectl(&["get", "namespace", "default"]).status.success() {
            if started.elapsed() > Duration::from_secs(120) {
                let log = self.folder.as_ref().map(|it| it.path().join("api.log"));
                let log = log.and_then(|path| std::fs::read_to_string(path).ok());
                panic!("the API server does not answer: {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn define(&self) {
        let kinds = [
            ("virtualmachine", "VirtualMachine"),
            ("virtualmachineinstance", "VirtualMachineInstance"),
        ];
        for (singular, kind) in kinds {
            let plural = format!("{singular}s");
            let schema = json!({"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
            self.apply(&json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.kubevirt.io")},
                "spec": {
                    "group": "kubevirt.io", "scope": "Namespaced", "versions": [version],
                    "names": {"plural": plural, "singular": singular, "kind": kind},
                },
            }));
            let name = format!("crd/{plural}.kubevirt.io");
            self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name]);
        }
    }

    /// A namespace that no other test uses.
    pub fn namespace(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        self.kubectl(&["create", "namespace", &name]);
        name
    }

    /// Makes or changes an object.
    pub fn apply(&self, object: &Value) {
        use std::io::Write;
        let mut child = self
            .command(&["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start kubectl");
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs kubectl, which must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_kubectl(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("run kubectl")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("HYPER_TB_KUBECTL", "kubectl"));
        let home = self.kubeconfig.parent().unwrap_or(Path::new("/"));
        command.env_clear().env("HOME", home).env("KUBECONFIG", &self.kubeconfig);
        command.args(args);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// A machine: so many cores, so many GiB, in a state.
pub fn machine(namespace: &str, name: &str, cores: u32, gib: u32, state: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": namespace, "labels": {"name": name}},
        "spec": {"runStrategy": "Manual", "template": {"spec": {"domain": {
            "cpu": {"cores": cores}, "memory": {"guest": format!("{gib}Gi")}, "devices": {},
        }}}},
        "status": {"printableStatus": state},
    })
}

/// The running instance of a machine, on a node.
pub fn instance(namespace: &str, name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"domain": {"cpu": {"cores": 2}, "memory": {"guest": "2Gi"}, "devices": {}}},
        "status": {"phase": "Running", "nodeName": node},
    })
}
