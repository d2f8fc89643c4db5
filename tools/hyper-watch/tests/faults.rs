//! What goes wrong between `hyper-watch` and a cluster: nothing is lost, and nothing told twice.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod watching;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cluster::{Cluster, machine, wait_for};
use serde_json::{Value, json};
use watching::{Replay, Watching};

fn watch(kubeconfig: &Path, args: &[&str]) -> Watching {
    Watching::start(command(Path::new(env!("CARGO_BIN_EXE_hyper-watch")), kubeconfig, args))
}

/// A program of this repository on a cluster.
fn command(program: &Path, kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", kubeconfig.parent().unwrap());
    command.env("KUBECONFIG", kubeconfig).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// Takes records in until a machine's label is so; answers all values that were told.
fn until(replay: &mut Replay, watch: &mut Watching, name: &str, step: &str) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let record = watch.record();
        replay.take(&record);
        let now = record["vm"]["labels"]["step"].as_str().unwrap_or_default();
        if record["vm"]["name"] != name || now.is_empty() {
            continue;
        }
        if told.last().is_none_or(|last| last != now) {
            told.push(now.to_owned());
        }
        if now == step {
            return told;
        }
    }
}

/// Changes a machine so that it can be told apart.
fn step(cluster: &Cluster, space: &str, name: &str, step: &str) {
    let label = format!("step={step}");
    wait_for("kubectl to get through", || {
        let args = ["label", "--overwrite", "-n", space, "vm", name, &label];
        cluster.try_kubectl(&args, None).status.success()
    });
}

#[test]
fn a_server_that_is_busy_is_waited_for_in_list_and_watch() {
    let cluster = Cluster::shared();
    let config = Path::new(cluster.kubeconfig());
    let rules = [
        // The list that a watch begins with.
        "op=list,max=2,status=429,retry-after=1",
        // The watch that follows it, and those that follow one that breaks.
        "op=watch,max=2,status=429,retry-after=1",
        "op=watch,max=3,cut=200",
        "op=watch,max=1,status=503",
        // A login that is not taken for a moment.
        "op=watch,max=2,expire",
    ];
    let one = |rule: &str| {
        let space = cluster.namespace();
        cluster.apply(&space, &machine("web01", "Halted"));
        cluster.machine_is(&space, "web01", "Stopped");
        cluster.fault(&format!("{rule},object={space}/virtualmachines"));
        let mut watch = watch(config, &["-c", "hyper-sim", "-n", &space]);
        let mut replay = Replay::default();
        for number in 1..=3 {
            let number = number.to_string();
            step(cluster, &space, "web01", &number);
            let told = until(&mut replay, &mut watch, "web01", &number);
            assert_eq!(told, [number], "{rule}");
        }
        assert_eq!(replay.relists, 0, "{rule}: a watch goes on where it was");
    };
    // They wait more than they work.
    std::thread::scope(|scope| {
        let all: Vec<_> = rules.iter().map(|rule| scope.spawn(|| one(rule))).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_kind_that_the_server_does_not_know_for_a_moment_is_asked_for_again() {
    let cluster = Cluster::shared();
    let config = Path::new(cluster.kubeconfig());
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let start = |program: &str, space: &str, flags: &[&str]| {
        let built = Path::new(env!("CARGO_BIN_EXE_hyper-watch")).with_file_name(program);
        let args = [&["-c", "hyper-sim", "-n", space, "-q"], flags].concat();
        let mut command = command(&built, config, &args);
        command.stderr(std::fs::File::create(folder.path().join(program)).unwrap());
        command
    };
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Halted"));
    cluster.machine_is(&space, "web01", "Stopped");
    cluster.fault(&format!("op=watch,max=3,status=404,object={space}/virtualmachines"));
    let mut watch = Watching::start(start("hyper-watch", &space, &[]));
    let mut replay = Replay::default();
    step(cluster, &space, "web01", "1");
    assert_eq!(until(&mut replay, &mut watch, "web01", "1"), ["1"]);
    assert_eq!(replay.relists, 0);
    let warning = "hyper-watch: warning: the API server has no virtualmachines (kubevirt.io/v1)";
    let words = said("hyper-watch");
    assert!(words.starts_with(warning) && words.lines().count() == 1, "{words}");
    // Events are a kind like others.
    cluster.fault(&format!("op=watch,max=3,status=404,object={space}/events"));
    let mut events = Watching::endless(start("hyper-events", &space, &["--follow"]));
    let event = json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "e1", "namespace": space},
        "involvedObject": {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "name": "web01", "namespace": space},
        "reason": "Told", "message": "once", "type": "Normal"});
    wait_for("the follower to be refused", || said("hyper-events").contains("has no events (v1)"));
    cluster.apply(&space, &event);
    while events.record()["message"] != "once" {}
    // A kind that was never there is not waited for.
    let other = cluster.namespace();
    cluster.fault(&format!("op=list,max=1,status=404,object={other}/virtualmachines"));
    assert_eq!(Watching::start(start("hyper-watch", &other, &[])).end(), Some(5));
}

/// Tells etcd to forget what was before a version; its own gateway speaks JSON.
fn compact(etcd: &str, version: u64) {
    let place = etcd.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(place).unwrap();
    let body = json!({"revision": version.to_string(), "physical": true}).to_string();
    let head = "POST /v3/kv/compaction HTTP/1.1\r\nConnection: close";
    let length = body.len();
    write!(stream, "{head}\r\nHost: {place}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_server_that_was_killed_and_has_forgotten_is_listed_again() {
    let cluster = Cluster::start(&["--pace", "20ms"]);
    let config = Path::new(cluster.kubeconfig());
    for name in ["kept", "gone"] {
        cluster.apply("default", &machine(name, "Halted"));
        cluster.machine_is("default", name, "Stopped");
    }
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, flags: &[&str]| {
        let args = [&["-c", "hyper-sim", "-n", "default"], flags].concat();
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_hyper-watch")), config, &args);
        command.stderr(std::fs::File::create(folder.path().join(name)).unwrap());
        Watching::start(command)
    };
    let mut watch = start("heard", &[]);
    let mut quiet = start("quiet", &["-q"]);
    let mut replay = Replay::default();
    step(&cluster, "default", "kept", "1");
    until(&mut replay, &mut watch, "kept", "1");
    let mut silent = Replay::default();
    until(&mut silent, &mut quiet, "kept", "1");
    // Killed while nothing happens: the watch goes on where it was.
    cluster.kill("kube-apiserver");
    step(&cluster, "default", "kept", "2");
    assert_eq!(until(&mut replay, &mut watch, "kept", "2"), ["2"]);
    let heard = folder.path().join("heard");
    wait_for("the connection to be back", || Watching::tells(&heard, true));
    until(&mut silent, &mut quiet, "kept", "2");
    let unheard = std::fs::read_to_string(folder.path().join("quiet")).unwrap();
    assert!(!unheard.contains("the connection"), "{unheard}");
    let before = replay.relists;
    // Killed while nobody listens, with all that happened meanwhile forgotten (410).
    watch.signal("STOP");
    step(&cluster, "default", "kept", "3");
    cluster.kubectl(&["delete", "-n", "default", "vm", "gone"]);
    step(&cluster, "default", "kept", "4");
    let now = cluster.get("default", "vm", "kept")["metadata"]["resourceVersion"].clone();
    compact(cluster.at("etcd"), now.as_str().unwrap().parse().unwrap());
    cluster.kill("kube-apiserver");
    step(&cluster, "default", "kept", "4");
    watch.signal("CONT");
    step(&cluster, "default", "kept", "5");
    until(&mut replay, &mut watch, "kept", "5");
    cluster.apply("default", &machine("new", "Halted"));
    step(&cluster, "default", "new", "1");
    until(&mut replay, &mut watch, "new", "1");
    assert_eq!(replay.names(), ["kept", "new"]);
    assert!(replay.relists > before, "the list that was made again is told");
}

/// A token of a service account that may do everything; it ends with the account.
fn token(cluster: &Cluster, account: &str) -> String {
    cluster.kubectl(&["create", "serviceaccount", "-n", "default", account]);
    let role = "--clusterrole=cluster-admin";
    let whom = format!("--serviceaccount=default:{account}");
    cluster.kubectl(&["create", "clusterrolebinding", account, role, &whom]);
    let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600}});
    let args = ["create", "--raw", &path, "-f", "-"];
    let output = cluster.try_kubectl(&args, Some(&request.to_string()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_that_the_server_takes_no_more_is_fetched_anew() {
    let cluster = Cluster::start(&["--pace", "20ms"]);
    cluster.apply("default", &machine("web01", "Halted"));
    cluster.machine_is("default", "web01", "Stopped");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token(&cluster, "first")).unwrap();
    let script = "printf '{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\
        \"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s\"}}' \"$(cat \"$0\")\"";
    let users = [
        ("file", json!({"tokenFile": file})),
        (
            "command",
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "/bin/sh", "args": ["-c", script, file], "interactiveMode": "Never"}}),
        ),
    ];
    let mut watches = users.map(|(name, user)| {
        let server =
            json!({"server": cluster.at("url"), "certificate-authority": cluster.at("ca_file")});
        let context = json!({"cluster": "c", "user": "u", "namespace": "default"});
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": name, "context": context}]});
        let path = folder.path().join(name);
        std::fs::write(&path, config.to_string()).unwrap();
        (watch(&path, &["-c", name]), Replay::default())
    });
    step(&cluster, "default", "web01", "1");
    for (watch, replay) in &mut watches {
        until(replay, watch, "web01", "1");
    }
    // The account goes, and with it what the server knew of its token.
    let second = token(&cluster, "second");
    cluster.kubectl(&["delete", "serviceaccount", "-n", "default", "first"]);
    std::fs::write(&file, second).unwrap();
    cluster.kill("kube-apiserver");
    step(&cluster, "default", "web01", "2");
    for (watch, replay) in &mut watches {
        assert_eq!(until(replay, watch, "web01", "2"), ["2"]);
    }
}
