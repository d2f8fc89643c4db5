//! `hyper-vm` on KubeVirt: a simulated one in front of a real API server, with kubectl to compare
//! with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod lab;
mod vcsim;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use self::cluster::{machine, wait_for};
use self::lab::Lab;

fn told(status: i32, outcome: &str, note: &str) -> (i32, String, String) {
    (status, outcome.to_owned(), note.to_owned())
}

#[test]
fn machines_are_restarted_and_held() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    let uid = || lab.instance("web01")["metadata"]["uid"].clone();
    assert_eq!(lab.outcome(&["unpause", "web01"]), told(0, "already", ""));
    assert_eq!(lab.outcome(&["pause", "web01"]), told(0, "done", ""));
    lab.is("web01", "Paused");
    assert_eq!(lab.outcome(&["pause", "web01"]), told(0, "already", ""));
    assert_eq!(lab.outcome(&["unpause", "web01"]), told(0, "done", ""));
    lab.is("web01", "Running");
    for force in [&[][..], &["--force"]] {
        let before = uid();
        let done = lab.outcome(&[&["restart", "web01"], force].concat());
        assert_eq!(done, told(0, "done", ""));
        assert_ne!(uid(), before, "{force:?}");
        assert_eq!(lab.instance("web01")["status"]["phase"], "Running");
    }
    lab.make("off", "Halted");
    for verb in ["restart", "pause", "unpause", "migrate"] {
        let (status, outcome, error) = lab.outcome(&[verb, "off"]);
        assert_eq!((status, &*outcome), (6, "failed"), "{verb}");
        assert!(error.contains("does not run"), "{error}");
    }
}

#[test]
fn a_machine_that_changes_meanwhile_is_asked_for_again() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let fault = |times: u32| {
        let object = format!("{}/virtualmachines/web01/start", lab.space);
        lab.cluster.fault(&format!("object={object},status=409,max={times}"));
    };
    fault(2);
    assert_eq!(lab.outcome(&["start", "web01"]), told(0, "done", ""));
    assert_eq!(lab.outcome(&["stop", "web01"]), told(0, "done", ""));
    fault(100);
    let (status, outcome, error) = lab.outcome(&["start", "web01"]);
    assert_eq!((status, &*outcome), (6, "failed"), "but not for ever");
    assert!(error.contains("has been modified"), "{error}");
}

#[test]
fn flag_grace_period() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    let path = "jsonpath={.spec.terminationGracePeriodSeconds}{\"\\n\"}";
    let watch = ["get", "vmi", "-n", &lab.space, "web01", "-w", "-o", path];
    let mut watch = lab.cluster.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "30");
    let done = lab.outcome(&["stop", "web01", "--grace-period", "90500ms"]);
    assert_eq!(done, told(0, "done", ""));
    watch.kill().unwrap();
    watch.wait().unwrap();
    let seen: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(seen.iter().any(|line| line == "91"), "{seen:?}");
    assert_eq!(lab.vm(&["stop", "web01", "--force", "--grace-period", "1m"]).status, 2);
}

#[test]
fn flag_selector_and_flag_all_namespaces() {
    let lab = Lab::new();
    for name in ["web", "db"] {
        lab.make(name, "Always");
    }
    let stopped = lab.outcome(&["stop", "-l", "app=web"]);
    assert_eq!(stopped, told(0, "done", ""));
    lab.is("web", "Stopped");
    assert_eq!(lab.machine("db")["status"]["printableStatus"], "Running");
    let both = format!("namespace={}", lab.space);
    let none = lab.anywhere(&["stop", "--match", &both]);
    assert_eq!((none.status, none.out.as_str()), (0, ""), "they are not in default: {none:?}");
    let all = lab.anywhere(&["stop", "-A", "--match", &both, "-o", "ndjson"]);
    assert_eq!((all.status, all.lines().len()), (0, 2), "{all:?}");
    lab.is("db", "Stopped");
    assert_eq!(lab.vm(&["stop", "-A", "-l", "app=web"]).status, 2, "both -n and -A");
}

#[test]
fn flag_wait_of_delete() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    lab.make("web02", "Halted");
    assert_eq!(lab.vm(&["delete", "web01"]).status, 2, "nobody to ask");
    assert_eq!(lab.machine("web01")["status"]["printableStatus"], "Running");
    lab.make("web03", "Always");
    for name in ["web01", "web03"] {
        let object = format!("virtualmachines/{}/{name}", lab.space);
        lab.cluster.fault(&format!("op=controller,object={object},delay=2s,max=1"));
    }
    let (status, outcome, note) = lab.outcome(&["delete", "--yes", "web03"]);
    assert_eq!((status, &*outcome), (0, "done"));
    assert!(note.contains("--wait waits"), "it is there still: {note:?}");
    let deleted = lab.outcome(&["delete", "--yes", "--wait", "web01"]);
    assert_eq!(deleted, told(0, "done", ""));
    assert_eq!(lab.machine("web01"), Value::Null);
    assert_eq!(lab.instance("web01"), Value::Null);
    assert_eq!(lab.machine("web02")["status"]["printableStatus"], "Stopped");
    assert_eq!(lab.vm(&["delete", "--yes", "web01"]).status, 5);
}

#[test]
fn flag_cpus_and_flag_memory_of_a_template() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let domain = || lab.machine("web01")["spec"]["template"]["spec"]["domain"].clone();
    let done = lab.outcome(&["resize", "web01", "--cpus", "8"]);
    assert_eq!(done, told(0, "done", "it starts with it"));
    assert_eq!(domain()["cpu"], json!({ "cores": 2, "sockets": 4 }));
    assert_eq!(domain()["memory"]["guest"], "1Gi", "only what is named");
    let done = lab.outcome(&["resize", "web01", "--memory", "4Gi"]);
    assert_eq!(done, told(0, "done", "it starts with it"));
    assert_eq!(domain()["memory"]["guest"], "4Gi");
    let same = lab.outcome(&["resize", "web01", "--memory", "4Gi", "--cpus", "8"]);
    assert_eq!(same, told(0, "already", ""));
    assert_eq!(lab.vm(&["resize", "web01", "--memory", "lots"]).status, 2);

    let mut kind = machine("kind", "Halted");
    kind["spec"]["instancetype"] = json!({ "name": "u1.medium" });
    kind["spec"]["template"]["spec"]["domain"].as_object_mut().unwrap().remove("cpu");
    lab.cluster.apply(&lab.space, &kind);
    let (status, _, error) = lab.outcome(&["resize", "kind", "--cpus", "4"]);
    assert_eq!(status, 7);
    assert!(error.contains("u1.medium"), "{error}");
}

#[test]
fn a_running_machine_is_resized_at_once_or_with_its_next_restart() {
    let lab = Lab::new();
    let mut object = machine("web01", "Always");
    object["spec"]["template"]["spec"]["domain"]["cpu"] = json!({ "cores": 2, "sockets": 1 });
    lab.make_so(&object);
    let live = lab.outcome(&["resize", "web01", "--cpus", "4", "--memory", "2Gi"]);
    assert_eq!(live, told(0, "done", "the guest has it"));
    let now = lab.instance("web01");
    assert_eq!(now["status"]["currentCPUTopology"]["sockets"], 2);
    assert_eq!(now["status"]["memory"]["guestCurrent"], "2Gi");
    let more = lab.outcome(&["resize", "web01", "--cpus", "6"]);
    assert_eq!(more, told(0, "done", "the guest has it"));
    // Three processors are no whole sockets of two cores, and cores do not change while it runs.
    let (status, outcome, note) = lab.outcome(&["resize", "web01", "--cpus", "3"]);
    assert_eq!((status, &*outcome), (0, "done"));
    assert!(note.starts_with("a restart is needed"), "{note}");
    let cpus = || {
        let vm = lab.vm(&["get", "web01", "-o", "json"]).json();
        vm["cpus"].as_u64().unwrap()
    };
    assert_eq!(cpus(), 6);
    let again = lab.outcome(&["resize", "web01", "--cpus", "3"]);
    assert_eq!(again, (0, "done".to_owned(), note), "it still does not have it");
    assert_eq!(lab.vm(&["restart", "web01"]).status, 0);
    assert_eq!(cpus(), 3);
}

/// A machine with a disk that only one node can have.
fn bound(lab: &Lab, name: &str) -> Value {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    lab.cluster.apply(&lab.space, &claim);
    let mut object = machine(name, "Always");
    object["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "persistentVolumeClaim": { "claimName": name } });
    object
}

/// A node that an instance is not on.
fn other(instance: &Value) -> &'static str {
    let here = &instance["status"]["nodeName"];
    ["node01", "node02"].into_iter().find(|node| here != node).unwrap()
}

#[test]
fn flag_to_node_and_flag_allow_cold() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    let before = lab.instance("web01");
    let there = other(&before);
    let moved = lab.outcome(&["migrate", "web01", "--to-node", there]);
    assert_eq!(moved, told(0, "done", &format!("on {there}")));
    let now = lab.instance("web01");
    assert_eq!(now["status"]["nodeName"], there);
    assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"], "it ran all the time");
    let again = lab.outcome(&["migrate", "web01", "--to-node", there]);
    assert_eq!(again, told(0, "already", &format!("on {there}")));
    let free = lab.outcome(&["migrate", "web01"]);
    assert_eq!((free.0, &*free.1), (0, "done"), "{free:?}");
    assert_ne!(lab.instance("web01")["status"]["nodeName"], there);
    assert_eq!(lab.vm(&["migrate", "web01", "--to-node", "nope"]).status, 5);

    lab.make_so(&bound(&lab, "local"));
    let before = lab.instance("local");
    let there = other(&before);
    let (status, _, why) = lab.outcome(&["migrate", "local", "--to-node", there]);
    assert_eq!(status, 6);
    assert!(why.contains("PVC local is not shared"), "{why}");
    assert_eq!(lab.instance("local")["metadata"]["uid"], before["metadata"]["uid"]);
    let cold = lab.outcome(&["migrate", "local", "--to-node", there, "--allow-cold"]);
    assert_eq!((cold.0, &*cold.1), (0, "done"), "{cold:?}");
    assert!(cold.2.starts_with(&format!("on {there}, after a restart")), "{cold:?}");
    let now = lab.instance("local");
    assert_eq!(now["status"]["nodeName"], there);
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    let pinned = &lab.machine("local")["spec"]["template"]["spec"]["nodeSelector"];
    assert_eq!(*pinned, json!({ "kubernetes.io/hostname": there }));
    assert_eq!(lab.vm(&["migrate", "local", "--allow-cold"]).status, 2, "where to?");
}

#[test]
fn a_migration_that_fails_or_takes_too_long_leaves_the_machine_where_it_is() {
    let lab = Lab::new();
    lab.make("web01", "Always");
    let node = lab.instance("web01")["status"]["nodeName"].clone();
    let object = format!("virtualmachineinstancemigrations/{}", lab.space);
    lab.cluster.fault(&format!("op=migration,object={object},max=1,fault=the target went away"));
    let (status, _, why) = lab.outcome(&["migrate", "web01"]);
    assert_eq!(status, 1);
    assert!(why.contains("the target went away"), "{why}");
    lab.cluster.fault(&format!("op=controller,object={object},delay=3s,max=2"));
    let late = lab.vm(&["migrate", "web01", "--timeout", "1s"]);
    assert_eq!(late.status, 11, "{late:?}");
    wait_for("the migration to be called off", || {
        let left = ["get", "vmim", "-n", &lab.space, "--no-headers"];
        !lab.cluster.kubectl(&left).lines().any(|line| !line.contains("Failed"))
    });
    assert_eq!(lab.instance("web01")["status"]["nodeName"], node);
}

#[test]
fn without_a_name_a_machine_is_picked_on_the_terminal() {
    let lab = Lab::new();
    lab.make("db01", "Halted");
    lab.make("web01", "Halted");
    let (status, said) = lab.typed(&["start"], &[("Which machine?", "web\\r")]);
    assert_eq!(status, Some(0), "{said}");
    lab.is("web01", "Running");
    lab.is("db01", "Stopped");
    let (status, said) = lab.typed(&["get"], &[("Which machine?", "\\r")]);
    assert!(status == Some(0) && said.contains("db01"), "{said}");
    let (status, said) = lab.typed(&["stop"], &[("Which machine?", "\\x03")]);
    assert_eq!(status, Some(130), "{said}");
    let nobody = lab.vm(&["stop"]);
    assert_eq!(nobody.status, 2, "{nobody:?}");
}

#[test]
fn a_question_is_answered_or_interrupted_on_the_terminal() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let (status, said) = lab.typed(&["delete", "web01"], &[("[y/N] ", "\\x03")]);
    assert_eq!(status, Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    let (status, said) = lab.typed(&["delete", "web01"], &[("[y/N] ", "n\\r")]);
    assert!(status == Some(130) && said.contains("not confirmed"), "{said}");
    lab.is("web01", "Stopped");
    let (status, said) = lab.typed(&["delete", "web01"], &[("[y/N] ", "y\\r")]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(lab.vm(&["get", "web01"]).status, 5);
}

#[test]
fn flag_progress() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    let lines = lab.vm(&["start", "web01", "--progress", "lines"]);
    assert_eq!(lines.status, 0, "{lines:?}");
    assert!(lines.err.contains("start web01: done in"), "{}", lines.err);
    let json = lab.vm(&["stop", "web01", "--progress", "json"]);
    let events = json.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ended = events.into_iter().find(|it| it["event"] == "task_ended").expect("an end");
    assert_eq!((&ended["task"]["id"], &ended["task"]["done"]), (&"web01".into(), &true.into()));
    let silent = lab.vm(&["start", "web01"]);
    assert_eq!(silent.err, "", "a short run in a script stays silent");
}
