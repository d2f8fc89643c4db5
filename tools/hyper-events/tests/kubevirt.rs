//! `hyper-events` as a process, against a real API server in which kubectl makes events.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-watch/tests/kubernetes/mod.rs"]
mod kubernetes;
mod process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubernetes::{CONTEXT, Cluster, machine};
use process::{Following, User};
use serde_json::{Value, json};

/// A namespace of the cluster, and a user of it.
struct Lab {
    cluster: &'static Cluster,
    space: String,
    user: User,
}

impl Lab {
    fn new() -> Self {
        Self::of(Cluster::shared())
    }

    fn of(cluster: &'static Cluster) -> Self {
        let kubeconfig = cluster.kubeconfig.display().to_string();
        let user = User::new(vec![("KUBECONFIG", kubeconfig)]);
        Self { cluster, space: cluster.namespace(), user }
    }

    fn run(&self, args: &[&str]) -> process::Done {
        self.user.run(&[&["-n", &self.space], args].concat())
    }

    /// The names of the events' objects, in the order in which they are shown.
    fn names(&self, args: &[&str]) -> Vec<String> {
        let done = self.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{done:?}");
        done.lines().iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn follow(&self, args: &[&str]) -> Following {
        self.user.follow(&[&["-n", &self.space], args].concat())
    }

    fn make(&self, event: &Value) {
        self.cluster.apply(event);
    }
}

/// An event about something, so many minutes ago.
fn event(space: &str, name: &str, about: (&str, &str), minutes: i64) -> Value {
    let time = Timestamp::now() - SignedDuration::from_mins(minutes);
    let time = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let api = if about.0.starts_with("Virtual") { "kubevirt.io/v1" } else { "v1" };
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": space},
        "involvedObject": {
            "apiVersion": api, "kind": about.0, "name": about.1, "namespace": space, "uid": "u-1",
        },
        "reason": "Started", "message": format!("{name} <happened>"), "type": "Normal",
        "source": {"component": "virt-handler", "host": "node01"},
        "firstTimestamp": time, "lastTimestamp": time, "count": 1,
    })
}

#[test]
fn a_list_is_what_kubectl_shows_of_machines() {
    let lab = Lab::new();
    let about = [
        ("pod", "Pod", "virt-launcher-web01-x7k2p"),
        ("vm", "VirtualMachine", "web01"),
        ("vmi", "VirtualMachineInstance", "web01"),
        ("other-pod", "Pod", "web01-x7k2p"),
        ("node", "Node", "node01"),
    ];
    for (minutes, (name, kind, object)) in about.iter().enumerate() {
        lab.make(&event(&lab.space, name, (kind, object), 10 - i64::try_from(minutes).unwrap()));
    }
    assert_eq!(lab.names(&[]), ["pod", "vm", "vmi"], "the oldest first, and only machines");
    let listed = lab.run(&["-o", "ndjson"]).lines();
    let seen = lab.cluster.kubectl(&["get", "events", "-n", &lab.space, "-o", "json"]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    for row in &listed {
        let same = |it: &&Value| it["metadata"]["name"] == row["metadata"]["name"];
        let own = seen["items"].as_array().unwrap().iter().find(same).unwrap();
        let expected = json!({
            "schema": "hyper.event/v1",
            "context": CONTEXT,
            "provider": "kubevirt",
            "event_id": own["metadata"]["uid"],
            "event_type": own["reason"],
            "severity": "info",
            "created_time": own["lastTimestamp"],
            "first_time": null,
            "count": own["count"],
            "message": own["message"],
            "entity_name": own["involvedObject"]["name"],
            "entity_type": own["involvedObject"]["kind"],
            "entity_id": own["involvedObject"]["uid"],
            "vm": "web01",
            "vm_id": format!("{}/web01", lab.space),
            "namespace": own["metadata"]["namespace"],
            "datacenter": null,
            "cluster": null,
            "host": own["source"]["host"],
            "user_name": null,
            "source": own["source"]["component"],
            "chain_id": null,
            "metadata": {
                "name": own["metadata"]["name"],
                "api_version": own["involvedObject"]["apiVersion"],
            },
            "late": false,
            "gap": null,
        });
        assert_eq!(*row, expected);
    }
    let table = lab.run(&[]).out;
    assert!(table.starts_with("TIME") && table.contains("vm <happened>"), "{table}");
    assert_eq!(
        lab.run(&["-o", "name"]).out.lines().next().unwrap(),
        format!("{CONTEXT}:@{}/web01", lab.space)
    );
}

#[test]
fn a_machine_is_named_whether_it_is_there_or_not() {
    let lab = Lab::new();
    lab.make(&event(&lab.space, "gone", ("VirtualMachine", "gone"), 1));
    lab.make(&event(&lab.space, "pod", ("Pod", "virt-launcher-alarms-x7k2p"), 1));
    assert_eq!(lab.names(&["gone"]), ["gone"]);
    let unknown = lab.run(&["web01"]);
    assert_eq!(unknown.status, 5, "{unknown:?}");
    assert!(unknown.err.contains("there is no VM \"web01\""), "{unknown:?}");
    lab.cluster.apply(&machine(&lab.space, "web01", 1, 1, "Stopped"));
    assert!(lab.names(&["web01"]).is_empty());
    assert_eq!(lab.names(&["web01", "gone"]), ["gone"]);
    let dashed = lab.run(&["-o", "ndjson", "--", "alarms"]).lines();
    assert_eq!(dashed[0]["metadata"]["name"], "pod", "a machine may be called alarms");
    let alarms = lab.user.run(&["alarms"]);
    assert_eq!(alarms.status, 7, "{alarms:?}");
    assert_eq!(lab.run(&["a/b/c"]).status, 2);
}

#[test]
fn flag_since_and_flag_types_and_flag_severity_and_flag_user() {
    let lab = Lab::new();
    let vm = ("VirtualMachine", "web01");
    lab.make(&event(&lab.space, "old", vm, 90));
    lab.make(&event(&lab.space, "new", vm, 5));
    let mut bad = event(&lab.space, "bad", vm, 1);
    bad["type"] = json!("Warning");
    bad["reason"] = json!("FailedCreate");
    lab.make(&bad);
    assert_eq!(lab.names(&[]), ["new", "bad"], "of the last hour");
    assert_eq!(lab.names(&["--since", "2h"]), ["old", "new", "bad"]);
    let since = (Timestamp::now() - SignedDuration::from_mins(2)).to_string();
    assert_eq!(lab.names(&["--since", &since]), ["bad"]);
    assert_eq!(lab.names(&["--types", "failed*,Nothing"]), ["bad"]);
    assert_eq!(lab.names(&["--types", "Started"]), ["new"]);
    assert_eq!(lab.names(&["--severity", "Warning"]), ["bad"]);
    assert!(lab.names(&["--user", "*"]).is_empty(), "a cluster knows no users");
    assert_eq!(lab.run(&["--severity", "dire"]).status, 2);
    assert_eq!(lab.run(&["--since", "whenever"]).status, 2);
}

#[test]
fn flag_follow_tells_each_event_once_and_each_time_that_it_happens() {
    let lab = Lab::new();
    let vm = ("VirtualMachine", "web01");
    lab.make(&event(&lab.space, "before", vm, 5));
    let mut counted = event(&lab.space, "counted", vm, 4);
    lab.make(&counted);
    let mut since = lab.follow(&["--follow", "--since", "1h"]);
    assert_eq!(since.next_by("/metadata/name"), "before");
    assert_eq!(since.next_by("/metadata/name"), "counted");
    // The one that tells only what comes has begun when it tells this.
    let mut follow = lab.follow(&["--follow"]);
    let mut number = 0;
    follow.until_it_tells("/metadata/name", || {
        number += 1;
        let name = format!("begun-{number}");
        lab.make(&event(&lab.space, &name, vm, 0));
        name
    });
    counted["count"] = json!(2);
    counted["lastTimestamp"] = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    lab.make(&counted);
    let row = follow.next();
    assert_eq!((&row["metadata"]["name"], &row["count"]), (&json!("counted"), &json!(2)));
    assert_eq!(row["first_time"], counted["firstTimestamp"]);
    // What changes nothing that is told is no event.
    lab.cluster.kubectl(&["annotate", "-n", &lab.space, "events/counted", "x=y"]);
    lab.make(&event(&lab.space, "other", ("Pod", "web01"), 0));
    lab.make(&event(&lab.space, "last", vm, 0));
    assert_eq!(follow.next_by("/metadata/name"), "last");
    for _ in 0..number {
        assert!(since.next_by("/metadata/name").starts_with("begun-"));
    }
    assert_eq!(since.next_by("/metadata/name"), "counted");
    assert_eq!(since.next_by("/metadata/name"), "last");
}

#[test]
fn a_server_that_restarts_loses_and_doubles_nothing() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let lab = Lab::of(cluster);
    let vm = ("VirtualMachine", "web01");
    lab.make(&event(&lab.space, "a", vm, 3));
    let mut follow = lab.follow(&["--follow", "--since", "1h"]);
    assert_eq!(follow.next_by("/metadata/name"), "a");
    let pid = follow.pid();
    // A restart while nothing happens: the watch goes on where it was, or all is listed again.
    cluster.restart();
    lab.make(&event(&lab.space, "b", vm, 0));
    let mut relists = 0;
    let mut next = || loop {
        let row = follow.next();
        if row["event_type"] != "Gap" {
            return row["metadata"]["name"].as_str().unwrap().to_owned();
        }
        assert_eq!(row["gap"]["reason"], "relisted");
        relists += 1;
    };
    assert_eq!(next(), "b");
    // One that forgets what happened while nobody listened (410).
    process::signal(&pid, "STOP");
    cluster.restart();
    lab.make(&event(&lab.space, "c", vm, 1));
    let mut again = event(&lab.space, "a", vm, 0);
    again["count"] = json!(2);
    lab.make(&again);
    cluster.kubectl(&["delete", "-n", &lab.space, "events/b"]);
    compact(cluster);
    cluster.restart();
    process::signal(&pid, "CONT");
    assert_eq!([next(), next()], ["c", "a"]);
    lab.make(&event(&lab.space, "d", vm, 0));
    assert_eq!(next(), "d");
    assert!(relists > 0, "the list that was made again is told");
}

#[test]
fn flag_cursor_and_flag_save_cursor_go_on_behind_the_last_event() {
    let lab = Lab::new();
    let vm = ("VirtualMachine", "web01");
    let file = lab.user.home().join("at.json").display().to_string();
    lab.make(&event(&lab.space, "a", vm, 2));
    lab.make(&event(&lab.space, "b", vm, 1));
    let missing = lab.run(&["--cursor", &file]);
    assert_eq!(missing.status, 5, "{missing:?}");
    let both = ["--cursor", &file, "--save-cursor", &file];
    assert_eq!(lab.names(&both), ["a", "b"], "a first run has no file");
    assert!(lab.names(&both).is_empty());
    let mut again = event(&lab.space, "a", vm, 0);
    again["count"] = json!(2);
    lab.make(&again);
    lab.make(&event(&lab.space, "c", vm, 30));
    assert_eq!(lab.names(&["--cursor", &file]), ["c", "a"], "nothing is noted unless asked");
    let mut follow = lab.follow(&[&both[..], &["--follow"]].concat());
    let mut told = [follow.next_by("/metadata/name"), follow.next_by("/metadata/name")];
    told.sort();
    assert_eq!(told, ["a", "c"]);
    let done = follow.stop();
    assert_eq!(done, 130);
    assert!(lab.names(&["--cursor", &file]).is_empty());
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["schema"], "hyper.event_cursor/v1");
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(lab.run(&["--cursor", &file]).status, 3);
    assert_eq!(lab.run(&["--cursor", &file, "--since", "1h"]).status, 2);
}

#[test]
fn flag_namespace_and_flag_all_namespaces_and_flag_context_and_flag_kubeconfig() {
    let lab = Lab::new();
    let other = Lab::new();
    lab.make(&event(&lab.space, "a", ("VirtualMachine", "a"), 2));
    other.make(&event(&other.space, "b", ("VirtualMachine", "b"), 1));
    assert_eq!(lab.names(&[]), ["a"]);
    let everywhere = lab.user.run(&["-A", "-o", "ndjson"]).lines();
    let mut names: Vec<_> = everywhere.iter().map(|it| it["namespace"].as_str().unwrap()).collect();
    names.retain(|it| [lab.space.as_str(), other.space.as_str()].contains(it));
    assert_eq!(names, [lab.space.as_str(), other.space.as_str()]);
    let (a, b) = (format!("{CONTEXT}:{}/a", lab.space), format!("{}/b", other.space));
    let both = lab.run(&["--context", CONTEXT, &a, &b, "-o", "name"]);
    assert_eq!(both.out.lines().count(), 2, "{both:?}");
    assert_eq!(lab.run(&["--context", "nowhere"]).status, 5);
    let kubeconfig = lab.cluster.kubeconfig.display().to_string();
    let bare = User::new(Vec::new());
    let done = bare.run(&["--kubeconfig", &kubeconfig, "-n", &lab.space, "-o", "name"]);
    assert_eq!((done.status, done.out.lines().count()), (0, 1), "{done:?}");
}

#[test]
fn flag_output_and_flag_quiet_and_flag_verbose_and_flag_timeout() {
    let lab = Lab::new();
    lab.make(&event(&lab.space, "a", ("VirtualMachine", "a"), 2));
    let csv = lab.run(&["-o", "csv"]).out;
    assert!(csv.starts_with("created_time,severity,event_type,entity_name,count,message"), "{csv}");
    assert_eq!(lab.run(&["-o", "json"]).json()["items"][0]["event_type"], "Started");
    assert!(lab.run(&["-vv"]).err.contains("/events"));
    assert_eq!(lab.run(&["--quiet"]).err, "");
    assert_eq!(lab.run(&["--quiet", "-v"]).status, 2);
    let ended = lab.run(&["--follow", "--timeout", "300ms"]);
    assert_eq!(ended.status, 11, "{ended:?}");
}

#[test]
fn flag_all_contexts_and_flag_delay_merge_two_clusters() {
    // The same cluster by two names: every event comes twice, and the order is that of the times.
    let lab = Lab::new();
    let twice = lab.user.home().join("twice");
    std::fs::write(&twice, two_names(&lab).to_string()).unwrap();
    let file = twice.display().to_string();
    lab.make(&event(&lab.space, "late", ("VirtualMachine", "a"), 1));
    lab.make(&event(&lab.space, "early", ("VirtualMachine", "a"), 2));
    let args = ["--kubeconfig", &file, "-n", &lab.space, "-c", "lab,second", "-o", "ndjson"];
    let rows = lab.user.run(&args).lines();
    let name = |row: &Value| row["metadata"]["name"].as_str().unwrap().to_owned();
    let names: Vec<_> = rows.iter().map(name).collect();
    assert_eq!(names, ["early", "early", "late", "late"]);
    // A machine by each of the names, in a namespace of its own.
    let other = Lab::new();
    lab.cluster.apply(&machine(&lab.space, "m", 1, 1, "Stopped"));
    lab.cluster.apply(&machine(&other.space, "m", 1, 1, "Stopped"));
    let (one, two) = (format!("lab:{}/m", lab.space), format!("second:{}/m", other.space));
    let follow = |delay: &str| {
        let args = ["--kubeconfig", &file, &one, &two];
        lab.user.follow(&[&args[..], &["--follow", "--since", "30s", "--delay", delay]].concat())
    };
    // What is held back is put in order, and told at the end.
    let held = follow("1h");
    // What is not held back and comes too late is told as such.
    let mut hasty = follow("0s");
    let about = ("VirtualMachine", "m");
    lab.make(&event(&lab.space, "second", about, 0));
    let row = hasty.next();
    assert_eq!((name(&row), &row["late"]), ("second".to_owned(), &json!(false)));
    std::thread::sleep(Duration::from_secs(3));
    other.make(&event(&other.space, "first", about, 5));
    let row = hasty.next();
    assert_eq!((name(&row), &row["late"]), ("first".to_owned(), &json!(true)));
    let rows = held.rest();
    assert_eq!(rows.iter().map(name).collect::<Vec<_>>(), ["first", "second"]);
    assert!(rows.iter().all(|row| row["late"] == false));
    // Files note no events, and are among all contexts.
    let all = lab.user.run(&["--all-contexts", "--kubeconfig", &file]);
    assert_eq!(all.status, 7, "{all:?}");
}

/// Lets etcd forget all that was before now. The API server keeps no cache of events.
fn compact(cluster: &Cluster) {
    let list: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/api/v1/namespaces"])).unwrap();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let log = std::fs::read_to_string(cluster.kubeconfig.with_file_name("etcd.log")).unwrap();
    let (_, rest) = log.split_once("http://127.0.0.1:").unwrap();
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let body = json!({"revision": revision, "physical": true}).to_string();
    let mut etcd = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let head = "POST /v3/kv/compaction HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n";
    write!(etcd, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    etcd.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The kubeconfig with a second name for the cluster.
fn two_names(lab: &Lab) -> Value {
    let shown = lab.cluster.kubectl(&["config", "view", "--raw", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&shown).unwrap();
    let mut second = config["contexts"][0].clone();
    second["name"] = json!("second");
    config["contexts"].as_array_mut().unwrap().push(second);
    config
}
