//! `hyper-watch` against `hyper sim vsphere`, where things go wrong by rule.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;
mod watching;

use std::process::{Command, Stdio};

use serde_json::Value;
use simulator::Sim;
use vcsim::run;
use watching::Watching;

fn watch(sim: &Sim, args: &[&str]) -> Watching {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
    command.args(args).env_clear().env("HOME", sim.home.path());
    command.envs(sim.variables.clone()).stdin(Stdio::null());
    Watching::start(command)
}

/// Switches a machine by hyper's own means, which wait for tasks otherwise than a watch does.
fn switch(sim: &Sim, args: &[&str]) {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join("hyper-vm");
    assert!(program.exists(), "{} is not built: run cargo test --workspace", program.display());
    let done = run(program.to_str().unwrap(), sim.home.path(), &sim.variables, args);
    assert_eq!(done.status, 0, "{done:?}");
}

/// Takes records in until a machine is in a state; each must be news. Answers how often all was
/// listed again.
fn until(watch: &mut Watching, known: &mut Value, status: &str) -> usize {
    let mut relists = 0;
    while known["status"] != status {
        let record = watch.record();
        match record["event"].as_str().unwrap() {
            "RELISTED" => relists += 1,
            "MODIFIED" | "ADDED" => {
                assert_eq!(record["event"] == "ADDED", known.is_null(), "{record}");
                assert!(*known != record["vm"], "told twice: {record}");
                *known = record["vm"].clone();
            }
            other => panic!("{other}: {record}"),
        }
    }
    relists
}

#[test]
fn nothing_is_lost_or_doubled_when_waits_fail() {
    let rules = [
        ("skip=2,max=1,expire", true),
        ("skip=2,max=1,cut=40", true),
        ("skip=2,max=2,status=503,retry-after=1", false),
        ("skip=2,max=1,fault=InvalidCollectorVersion", true),
    ];
    let one = |(rule, relisted): &(&str, bool)| {
        let rule = format!("op=WaitForUpdatesEx,{rule}");
        let sim = Sim::start(&["--vms", "3", "--fault", &rule]);
        let list = sim.govc(&["find", "/", "-type", "m"]);
        let path = list.lines().next().unwrap().to_owned();
        let mut watch = watch(&sim, &[&path]);
        let (mut known, mut relists) = (Value::Null, 0);
        until(&mut watch, &mut known, "stopped");
        for _ in 0..2 {
            switch(&sim, &["start", &path]);
            relists += until(&mut watch, &mut known, "running");
            switch(&sim, &["stop", "--force", &path]);
            relists += until(&mut watch, &mut known, "stopped");
        }
        assert_eq!(relists > 0, *relisted, "{rule}");
    };
    // They wait more than they work.
    std::thread::scope(|scope| {
        let all: Vec<_> = rules.iter().map(|rule| scope.spawn(move || one(rule))).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}
