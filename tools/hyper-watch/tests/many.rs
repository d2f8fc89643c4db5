//! `hyper-watch` on more machines than an API server of a testbed is filled with in passing: how
//! much memory it takes, and that each is told once. The server is one of the test's own, which
//! serves lists by pages and watches as a cluster would (Kubernetes API concepts, "Retrieving large
//! results sets in chunks"); what it sends is as large as KubeVirt's objects are.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod watching;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use watching::{Replay, Watching};

/// How many machines there are; every second one runs.
const MACHINES: usize = 10_000;

/// The most memory that all of them may take, in KiB: 10 KiB for each, where what the server sends
/// of one is more than that, and is several times as much once it is read.
const BOUND: usize = 100 << 10;

/// What stands in a template for the number, the state and the version of an object.
const GAPS: [&str; 3] = ["NUMBER", "STATE", "VERSION"];

fn name(number: usize) -> String {
    format!("vm-{number:05}")
}

fn meta() -> Value {
    let fields =
        (0..50).map(|it| (format!("f:field-{it:02}"), json!({"f:name": {}, "f:value": {}})));
    let fields: serde_json::Map<_, _> = fields.collect();
    let managers = ["kubectl", "virt-controller", "virt-api"];
    let managed = managers.map(|it| {
        json!({"manager": it, "operation": "Update", "apiVersion": "kubevirt.io/v1",
            "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    });
    json!({
        "name": "vm-NUMBER", "namespace": "default", "resourceVersion": "VERSION",
        "uid": "00000000-0000-4000-8000-0000000NUMBER", "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": {"app": "vm-NUMBER", "team": "many"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(2000)},
        "managedFields": managed,
    })
}

fn spec() -> Value {
    let disks = ["root", "data", "config"];
    let disks = disks.map(|it| json!({"name": it, "disk": {"bus": "virtio"}}));
    json!({
        "domain": {
            "cpu": {"cores": 2, "sockets": 1, "threads": 1}, "memory": {"guest": "2Gi"},
            "firmware": {"uuid": "00000000-0000-4000-9000-0000000NUMBER"},
            "machine": {"type": "q35"},
            "devices": {"disks": disks, "interfaces": [{"name": "default", "masquerade": {}}]},
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [
            {"name": "root", "dataVolume": {"name": "vm-NUMBER-root"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "vm-NUMBER-data"}},
            {"name": "config", "cloudInitNoCloud": {"userData": "#cloud-config\n".repeat(20)}},
        ],
    })
}

fn conditions() -> Value {
    ["Ready", "LiveMigratable", "AgentConnected", "StorageLiveMigratable"]
        .map(|it| {
            json!({"type": it, "status": "True", "lastProbeTime": null, "reason": "AsItShouldBe",
                "lastTransitionTime": "2026-01-02T03:04:05Z", "message": "there is nothing to say"})
        })
        .as_slice()
        .into()
}

fn machine(number: usize, state: &str, version: usize) -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let template = json!({
            "metadata": {"labels": {"vm.kubevirt.io/name": "vm-NUMBER"}}, "spec": spec()});
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": meta(),
            "spec": {"runStrategy": "Manual", "template": template},
            "status": {"printableStatus": "STATE", "conditions": conditions()},
        })
        .to_string()
    });
    filled(template, number, state, version)
}

fn instance(number: usize) -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": meta(), "spec": spec(),
            "status": {"phase": "STATE", "nodeName": "node01", "conditions": conditions(),
                "guestOSInfo": {"id": "debian", "prettyName": "Debian GNU/Linux 12"},
                "interfaces": [{"name": "default", "mac": "02:00:00:00:00:01",
                    "ipAddress": "10.0.0.1", "ipAddresses": ["10.0.0.1"]}]},
        })
        .to_string()
    });
    filled(template, number, "Running", 1)
}

/// A template with its gaps filled: much quicker than making each object anew.
fn filled(template: &str, number: usize, state: &str, version: usize) -> String {
    let values = [format!("{number:05}"), state.to_owned(), version.to_string()];
    let pairs = GAPS.iter().zip(values);
    pairs.fold(template.to_owned(), |text, (gap, value)| text.replace(gap, &value))
}

fn runs(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// A page of a list: `limit` of the objects with these numbers, from `continue` on.
fn page(query: &str, numbers: &[usize], object: impl Fn(usize) -> String) -> String {
    let of = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let from = of("continue").unwrap_or(0);
    let to = of("limit").map_or(numbers.len(), |limit| numbers.len().min(from + limit));
    let next = if to < numbers.len() { to.to_string() } else { String::new() };
    let items: Vec<_> = numbers[from..to].iter().map(|it| object(*it)).collect();
    let meta = json!({"resourceVersion": "1", "continue": next});
    format!("{{\"metadata\":{meta},\"items\":[{}]}}", items.join(","))
}

/// Answers what comes over a connection, until a watch is asked for: that stays open.
fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        let _ = lines.by_ref().take_while(|line| !line.is_empty()).count();
        let target = first.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let machines = path.ends_with("/virtualmachines");
        if query.contains("watch=1") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
            if machines {
                let object = machine(7, "Starting", 2);
                let line = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n");
                let _ = stream.write_all(line.as_bytes());
            }
            // Ends with the client.
            let _ = lines.count();
            return;
        }
        let all: Vec<usize> = (1..=MACHINES).collect();
        let running: Vec<usize> = all.iter().copied().filter(|it| runs(*it)).collect();
        let state = |it| if runs(it) { "Running" } else { "Stopped" };
        let answer = match path {
            "/apis" => {
                let version = json!({"groupVersion": "kubevirt.io/v1", "version": "v1"});
                json!({"groups": [{"name": "kubevirt.io", "versions": [version]}]}).to_string()
            }
            _ if machines => page(query, &all, |it| machine(it, state(it), 1)),
            _ => page(query, &running, instance),
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        if write!(stream, "{head} {}\r\n\r\n{answer}", answer.len()).is_err() {
            return;
        }
    }
}

/// The most memory that a process has had, in KiB.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_machines_are_told_once_each_in_bounded_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    let sent = machine(1, "Stopped", 1).len();
    assert!(sent > 10 << 10, "{sent} bytes are less than a machine of a cluster has");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "many",
        "clusters": [{"name": "many", "cluster": {"server": format!("http://{place}")}}],
        "users": [{"name": "many", "user": {}}],
        "contexts": [{"name": "many", "context": {"cluster": "many", "user": "many"}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
    command.arg("-A").env_clear().env("HOME", folder.path()).env("KUBECONFIG", &file);
    command.stdin(Stdio::null());
    let mut watch = Watching::start(command);
    let mut replay = Replay::default();
    for _ in 0..MACHINES {
        let record = watch.record();
        assert_eq!(record["event"], "ADDED");
        replay.take(&record);
    }
    let expected: Vec<_> = (1..=MACHINES).map(name).collect();
    assert_eq!(replay.names(), expected);
    let running = replay.machines.values().filter(|vm| vm["node"] == "node01").count();
    assert_eq!(running, MACHINES / 2);
    let record = watch.record();
    replay.take(&record);
    assert_eq!((&record["event"], &record["vm"]["name"]), (&json!("MODIFIED"), &json!(name(7))));
    watch.silence(Duration::from_millis(200));
    let peak = peak(watch.pid());
    assert!(peak < BOUND, "{peak} KiB");
}
