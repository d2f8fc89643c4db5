//! A simulated KubeVirt in front of a real API server, and kubectl to hold hyper against.
//!
//! Starting one takes seconds, so tests share it: each takes a namespace of its own. Other crates
//! include this file by its path. `HYPER_TEST_CLUSTER` names a file with what a running one has
//! printed, for all programs of tests to share; without it each starts its own.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How shared ones are started, here and by scripts/test.
const SHARED: [&str; 3] = ["--pace", "50ms", "--metrics"];

/// A cluster; one that was started here ends with the process, however that ends.
pub struct Cluster {
    /// What the simulator printed: how to reach it.
    pub access: Value,
    /// What it said so far.
    pub said: Arc<Mutex<String>>,
    spaces: AtomicU32,
    /// None where it runs already.
    own: Option<Own>,
}

/// A simulator that was started here.
struct Own {
    pid: u32,
    /// The simulator ends when this does.
    _input: ChildStdin,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have ended before. One that is shared ends with the process.
        let Some(own) = &self.own else { return };
        let line = format!("kill -TERM {}", own.pid);
        let _ = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status();
        let end = Instant::now() + Duration::from_secs(30);
        while PathBuf::from(self.at("folder")).exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A program of the testbed, or the one on PATH.
pub fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

/// Runs a program until its own standard input ends, and then asks it to end, once: a program that
/// is asked twice leaves at once and cleans up nothing. Prints the program's process first; the output
/// ends with the program's.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
echo "$pid"
exec >&-
read -r _ <&3
kill -TERM "$pid" 2>/dev/null
wait "$pid"
"#;

/// `hyper-sim kubevirt`, to be ended with the thread that starts it.
pub fn simulator() -> Command {
    let mut command = Command::new("setpriv");
    under(&mut command, &["--pdeathsig", "TERM"]);
    command
}

/// Lets `command` with `args` start the simulator.
fn under(command: &mut Command, args: &[&str]) {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().unwrap().parent().unwrap().join("hyper-sim");
    assert!(built.exists(), "{} is not built: run cargo test --workspace", built.display());
    command.args(args).args(["env", "--default-signal=INT,TERM"]);
    command.arg(built).arg("kubevirt").stdin(Stdio::null());
    for name in ["HYPER_TB_ETCD", "HYPER_TB_KUBE_APISERVER"] {
        assert!(
            std::env::var_os(name).is_some(),
            "{name} is not set: eval \"$(scripts/testbed --env kubernetes)\""
        );
    }
    let kept: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("HYPER_TB_") || name == "HYPER_NEUTRALISE" || name == "TMPDIR"
        })
        .collect();
    command.env_clear().envs(kept).env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin");
}

impl Cluster {
    /// The cluster that all tests of this process share, or all programs of tests.
    pub fn shared() -> &'static Self {
        static ONE: OnceLock<Cluster> = OnceLock::new();
        ONE.get_or_init(|| match std::env::var_os("HYPER_TEST_CLUSTER") {
            // The simulator's own tests are about one that takes part in them.
            Some(file) if env!("CARGO_PKG_NAME") != "hyper-sim" => Self::running(&file),
            _ => Self::start(&SHARED),
        })
    }

    /// A cluster that runs already.
    fn running(file: &OsStr) -> Self {
        let line = std::fs::read(file).expect("read the file of HYPER_TEST_CLUSTER");
        let access = serde_json::from_slice(&line).expect("what the simulator printed");
        Self { access, said: Arc::default(), spaces: AtomicU32::new(0), own: None }
    }

    /// A cluster of a test's own, which ends with it.
    pub fn start(args: &[&str]) -> Self {
        let (sender, started) = mpsc::channel();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut args, heard): (Vec<String>, _) =
            (args.iter().map(|it| (*it).to_owned()).collect(), said.clone());
        // The real definitions are those of one release.
        if let Ok(folder) = std::env::var("HYPER_TB_KUBEVIRT_CRDS")
            && !args.iter().any(|it| it == "--kubevirt-version" || it == "--crds")
        {
            args.extend(["--crds".to_owned(), folder]);
        }
        std::thread::spawn(move || {
            let mut command = Command::new("/bin/sh");
            under(&mut command, &["-c", GUARD, "guard"]);
            command.args(args).args(["-o", "ndjson"]).stdin(Stdio::piped());
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.expect("start the simulator");
            let input = child.stdin.take().unwrap();
            let stderr = BufReader::new(child.stderr.take().unwrap());
            std::thread::spawn(move || {
                for line in stderr.lines().map_while(Result::ok) {
                    heard.lock().unwrap().push_str(&(line + "\n"));
                }
            });
            let (mut pid, mut line) = (String::new(), String::new());
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut pid).unwrap();
            stdout.read_line(&mut line).unwrap();
            let _ = sender.send((line, pid.trim().parse().unwrap(), input));
            let _ = child.wait();
        });
        let (line, pid, input) = started.recv().unwrap();
        let access = serde_json::from_str(&line);
        let access = access.unwrap_or_else(|_| panic!("{line:?} {}", said.lock().unwrap()));
        let own = Some(Own { pid, _input: input });
        Self { access, said, spaces: AtomicU32::new(0), own }
    }

    /// A text of what the simulator printed.
    pub fn at(&self, name: &str) -> &str {
        self.access[name].as_str().unwrap_or_else(|| panic!("{name}: {}", self.access))
    }

    /// The file that clients take.
    pub fn kubeconfig(&self) -> &str {
        self.at("kubeconfig")
    }

    /// Sends a signal to a simulator of the test's own.
    pub fn signal(&self, name: &str) {
        let own = self.own.as_ref().expect("other tests use this cluster");
        // The shell's own: Debian's base has no other.
        let line = format!("kill -{name} {}", own.pid);
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Kills one of the servers under a cluster of the test's own, `etcd` or `kube-apiserver`; it
    /// is started again.
    pub fn kill(&self, server: &str) {
        assert!(self.own.is_some(), "other tests use this cluster");
        let number = std::fs::read_to_string(format!("{}/{server}.pid", self.at("folder")));
        let line = format!("kill -KILL {}", number.unwrap());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// A namespace that no other test has; its name is part of no other's.
    pub fn namespace(&self) -> String {
        // Numbers of processes come again while the cluster runs.
        static SINCE: LazyLock<u128> =
            LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros());
        let number = self.spaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{:x}-{:x}-{number:03}", *SINCE, std::process::id());
        self.kubectl(&["create", "namespace", &name]);
        name
    }

    /// kubectl with arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("HYPER_TB_KUBECTL", "kubectl"));
        // Its cache of what is served goes where the simulator's files are.
        command.args(args).env_clear().env("HOME", self.at("folder")).env("PATH", "/usr/bin:/bin");
        command.env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// Runs kubectl, which has to succeed, and gives what it prints.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args, None);
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs kubectl with something on its standard input.
    pub fn try_kubectl(&self, args: &[&str], input: Option<&str>) -> Output {
        let mut command = self.command(args);
        let piped = input.map_or_else(Stdio::null, |_| Stdio::piped());
        let child = command.stdin(piped).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("run kubectl");
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        child.wait_with_output().unwrap()
    }

    /// Applies a manifest.
    pub fn apply(&self, namespace: &str, manifest: &Value) {
        let output =
            self.try_kubectl(&["apply", "-n", namespace, "-f", "-"], Some(&manifest.to_string()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// An object, as kubectl gives it; null where there is none.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let output = self.try_kubectl(&["get", "-n", namespace, kind, name, "-o", "json"], None);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Calls a subresource of KubeVirt, such as `virtualmachines/web01/start`: the error, if any.
    pub fn put(&self, namespace: &str, what: &str, body: &str) -> Result<(), String> {
        let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/{what}");
        let output = self.try_kubectl(&["replace", "--raw", &path, "-f", "-"], Some(body));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Lets something go wrong from now on; give it an object of the test's own.
    pub fn fault(&self, rule: &str) {
        let args = ["create", "--raw", "/hyper-sim/faults", "-f", "-"];
        let output = self.try_kubectl(&args, Some(rule));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether its API server knows an API group: a testbed's smaller server has no
    /// `rbac.authorization.k8s.io`, so that nobody but its admin may do anything.
    pub fn has(&self, group: &str) -> bool {
        let path = format!("/apis/{group}");
        self.try_kubectl(&["get", "--raw", &path], None).status.success()
    }

    /// Waits until a machine is as wanted, such as `Running`.
    pub fn machine_is(&self, namespace: &str, name: &str, status: &str) {
        wait_for(&format!("{name} to be {status}"), || {
            self.get(namespace, "vm", name)["status"]["printableStatus"] == status
        });
    }
}

/// Waits until something is so; fails when that takes too long.
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A small machine with a disk out of a container image.
pub fn machine(name: &str, strategy: &str) -> Value {
    serde_json::json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "runStrategy": strategy,
            "template": {
                "metadata": { "labels": { "vm.kubevirt.io/name": name } },
                "spec": {
                    "domain": {
                        "cpu": { "cores": 2 },
                        "memory": { "guest": "1Gi" },
                        "devices": {
                            "disks": [{ "name": "root", "disk": { "bus": "virtio" } }],
                            "interfaces": [{ "name": "default", "masquerade": {} }],
                        },
                    },
                    "networks": [{ "name": "default", "pod": {} }],
                    "volumes": [{ "name": "root", "containerDisk": { "image": "debian" } }],
                },
            },
        },
    })
}
