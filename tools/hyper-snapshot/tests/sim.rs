//! `hyper-snapshot` on `hyper sim vsphere`: what vcsim does not play.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::simulator::Sim;
use self::vcsim::{Done, run};

fn snapshot(sim: &Sim, args: &[&str]) -> Done {
    run(env!("CARGO_BIN_EXE_hyper-snapshot"), sim.home.path(), &sim.variables, args)
}

fn ok(sim: &Sim, args: &[&str]) -> Vec<Value> {
    let done = snapshot(sim, &[args, &["-o", "ndjson"]].concat());
    assert_eq!(done.status, 0, "{args:?}: {done:?}");
    done.lines()
}

#[test]
fn flag_memory_and_the_sizes_of_a_chain() {
    let sim = Sim::start(&["--running", "app01"]);
    ok(&sim, &["create", "app01", "--name", "asleep"]);
    ok(&sim, &["create", "app01", "--name", "awake", "--memory"]);
    ok(&sim, &["create", "app01", "--name", "last"]);
    let rows = ok(&sim, &["list", "app01"]);
    let field = |name: &str| -> Vec<Value> { rows.iter().map(|row| row[name].clone()).collect() };
    assert_eq!(field("name"), ["asleep", "awake", "last"]);
    assert_eq!(field("memory"), [json!(false), json!(true), json!(false)]);
    assert_eq!(field("current"), [json!(false), json!(false), json!(true)]);
    let info = sim.govc(&["vm.info", "-json", "app01"]);
    let info: Value = serde_json::from_str(&info).unwrap();
    let hardware = &info["VirtualMachines"][0]["Config"]["Hardware"];
    let disks = hardware["Device"].as_array().unwrap().iter();
    let disks = disks.filter(|it| !it["CapacityInKB"].is_null()).count() as u64;
    let memory = hardware["MemoryMB"].as_u64().unwrap() << 20;
    // The state, the guest's memory, and what was written to each disk since the one before.
    let (state, delta) = (28_000, disks * ((1 << 20) + 400));
    let sizes = [state, state + memory + delta, state + delta + delta];
    assert_eq!(field("size_bytes"), sizes.map(Value::from));
    let back = ok(&sim, &["revert", "app01", "awake", "--yes"]);
    assert_eq!(back[0]["note"], "it runs");
    let back = ok(&sim, &["revert", "app01", "asleep", "--yes"]);
    assert_eq!(back[0]["note"], "it is off");
    assert_eq!(sim.govc(&["snapshot.tree", "-vm", "app01"]), "asleep\n.\n  awake\n    last\n");
    assert_eq!(snapshot(&sim, &["create", "app01", "--memory", "--quiesce"]).status, 2);
}

#[test]
fn what_a_removed_snapshot_leaves_is_merged() {
    let sim = Sim::start(&["--fault", "op=merge,fault=InvalidState,max=1"]);
    ok(&sim, &["create", "web01", "--name", "a"]);
    let idle = ok(&sim, &["consolidate", "web01"]);
    assert_eq!(idle[0]["outcome"], "already");
    let locked = snapshot(&sim, &["delete", "web01", "a", "--yes"]);
    assert_eq!(locked.status, 6, "{locked:?}");
    assert!(locked.err.contains("remove the snapshot \"a\""), "{locked:?}");
    let merged = ok(&sim, &["consolidate", "web01"]);
    assert_eq!(merged[0]["outcome"], "done");
    let needed = ["object.collect", "-s", "vm/web01", "runtime.consolidationNeeded"];
    assert_eq!(sim.govc(&needed), "false\n");
}

#[test]
fn a_task_that_fails_says_why_and_one_of_several_is_partial() {
    let sim = Sim::start(&["--fault", "op=CreateSnapshot_Task,max=1,fault=InvalidState"]);
    let failed = snapshot(&sim, &["create", "web01", "--quiesce", "-o", "json"]);
    assert_eq!(failed.status, 6, "{failed:?}");
    assert_eq!(failed.json()["error_kind"], "conflict");
    assert!(failed.err.contains("--quiesce needs VMware Tools"), "{failed:?}");
    assert_eq!(ok(&sim, &["list", "web01"]).len(), 0);
}
