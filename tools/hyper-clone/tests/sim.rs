//! `hyper-clone` on `hyper sim vsphere`, which holds each call against the interface and makes
//! linked clones: vcsim does neither.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::Value;

use self::simulator::Sim;
use self::vcsim::{Done, run};

fn clone(sim: &Sim, args: &[&str]) -> Done {
    let args = [args, &["-o", "ndjson"]].concat();
    run(env!("CARGO_BIN_EXE_hyper-clone"), sim.home.path(), &sim.variables, &args)
}

/// The first disk of a machine, as the server has it.
fn disk(sim: &Sim, vm: &str) -> Value {
    let info: Value = serde_json::from_str(&sim.govc(&["vm.info", "-json", vm])).unwrap();
    let devices = info["VirtualMachines"][0]["Config"]["Hardware"]["Device"].as_array().unwrap();
    devices.iter().find(|it| !it["CapacityInKB"].is_null()).unwrap()["Backing"].clone()
}

#[test]
fn flag_linked_and_flag_make_snapshot_share_the_disks_of_a_snapshot() {
    let sim = Sim::start(&[]);
    let made =
        clone(&sim, &["web01", "--count", "2", "--name", "ci-{n}", "--linked", "--make-snapshot"]);
    assert_eq!(made.status, 0, "{made:?}");
    let tree = sim.govc(&["snapshot.tree", "-vm", "web01"]);
    assert!(tree.starts_with("hyper-clone-2") && tree.lines().count() == 2, "one for both: {tree}");
    for name in ["ci-1", "ci-2"] {
        let disk = disk(&sim, name);
        let file = |backing: &Value| backing["FileName"].as_str().unwrap().to_owned();
        assert!(file(&disk).contains(name), "{disk}");
        assert_eq!(file(&disk["Parent"]), "[datastore1] web01/web01.vmdk");
    }
    let more = clone(&sim, &["web01", "ci-3", "--linked", "--make-snapshot"]);
    assert_eq!(more.status, 0, "within the same second: {more:?}");
    let again =
        clone(&sim, &["web01", "ci-1", "--linked", "--snapshot", tree.lines().next().unwrap()]);
    assert_eq!(again.lines()[0]["outcome"], "exists", "{again:?}");
    let full = clone(&sim, &["web01", "copy"]);
    assert_eq!(full.status, 0, "{full:?}");
    assert!(disk(&sim, "copy")["Parent"].is_null());
}

#[test]
fn flag_instant_goes_on_where_the_source_is() {
    let sim = Sim::start(&["--running", "web01"]);
    let value = |vm: &str, path: &str| {
        sim.govc(&["object.collect", "-s", &format!("vm/{vm}"), path]).trim().to_owned()
    };
    let args = ["web01", "--count", "2", "--name", "i-{n}", "--instant"];
    let made = clone(&sim, &args);
    assert_eq!(made.status, 0, "{made:?}");
    assert!(made.err.contains("i-1: its guest goes on with the host name"), "{made:?}");
    for name in ["i-1", "i-2"] {
        for path in ["runtime.powerState", "guest.hostName", "guest.toolsRunningStatus"] {
            assert_eq!(value(name, path), value("web01", path), "{name} {path}");
        }
        let parent = disk(&sim, name)["Parent"]["FileName"].clone();
        assert_eq!(parent, "[datastore1] web01/web01.vmdk");
    }
    assert_ne!(value("i-1", "config.instanceUuid"), value("web01", "config.instanceUuid"));
    let again = clone(&sim, &[&args[..], &["--power-on"]].concat());
    assert!(again.status == 0 && again.lines()[0]["outcome"] == "exists", "{again:?}");
    assert_eq!(again.lines()[0]["note"], "it runs");
    let bulk = r#"{"source_vm":"web01","target_name":"i-3","instant_clone":true}"#;
    let file = sim.home.path().join("one.json");
    std::fs::write(&file, bulk).unwrap();
    let made = clone(&sim, &["--bulk", file.to_str().unwrap(), "--power-on"]);
    assert_eq!((made.status, &made.lines()[0]["note"]), (0, &"it runs".into()), "{made:?}");
    let off = clone(&sim, &["db01", "x", "--instant"]);
    assert!(off.status == 6 && off.err.contains("`hyper vm start` switches it on"), "{off:?}");
    for other in [
        &["--linked"][..],
        &["--snapshot", "a"],
        &["--customize", "linux"],
        &["--host", "esx1.example.com"],
    ] {
        let wrong = clone(&sim, &[&["web01", "x", "--instant"], other].concat());
        assert_eq!(wrong.status, 2, "{other:?}: {wrong:?}");
    }
    let host = Sim::start(&["--esx", "--running", "web01"]);
    let esx = clone(&host, &["web01", "x", "--instant"]);
    assert!(esx.status == 7 && esx.err.contains("makes no instant clones"), "{esx:?}");
}

#[test]
fn flag_rollback_removes_linked_clones_and_their_snapshot() {
    let sim = Sim::start(&["--fault", "op=CloneVM_Task,skip=1,fault=HostNotConnected"]);
    let count = ["--count", "3", "--name", "ci-{n}", "--max-concurrent", "1"];
    let args = ["web01", "--linked", "--make-snapshot", "--rollback", "--power-on"];
    let failed = clone(&sim, &[&args[..], &count].concat());
    assert_eq!(failed.status, 10, "{failed:?}");
    let outcomes: Vec<_> = failed.lines().into_iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done", "failed", "skipped", "rolled_back"]);
    assert_eq!(sim.govc(&["find", "/", "-type", "m", "-name", "ci-*"]), "");
    assert_eq!(sim.govc(&["snapshot.tree", "-vm", "web01"]), "");
}

#[test]
fn flag_progress() {
    let sim = Sim::start(&[]);
    let made = clone(&sim, &["web01", "copy", "--progress", "json"]);
    assert_eq!(made.status, 0, "{made:?}");
    let events: Vec<Value> =
        made.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let half = events.iter().find(|it| it["event"] == "task_step" && it["task"]["percent"] == 50);
    assert!(half.is_some(), "what the server says is told: {made:?}");
    let end = events.iter().find(|it| it["event"] == "task_ended").unwrap();
    assert_eq!((&end["task"]["id"], &end["task"]["done"]), (&"copy".into(), &true.into()));
    assert!(!clone(&sim, &["web01", "again"]).err.contains("task_"), "only where it is asked for");
}
