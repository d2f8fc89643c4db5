//! `hyper-watch` as a process, against vcsim, whose machines govc changes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;
mod watching;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vcsim::{Done, Vcsim, run};
use watching::{Replay, Watching};

/// A vCenter and a user.
struct Lab {
    vcsim: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    /// A vCenter with four machines that run.
    fn start(more: &[&str]) -> Self {
        Self { vcsim: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn govc(&self, args: &[&str]) {
        self.vcsim.govc(self.home.path(), args);
    }

    fn watch(&self, args: &[&str]) -> Watching {
        Watching::start(self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
        let variables = self.vcsim.variables();
        command.args(args).env_clear().env("HOME", self.home.path()).envs(variables);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        let program = env!("CARGO_BIN_EXE_hyper-watch");
        run(program, self.home.path(), &self.vcsim.variables(), args)
    }
}

/// The names of the machines of [`Lab::start`].
const ALL: [&str; 4] = ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1", "DC0_H0_VM0", "DC0_H0_VM1"];

/// Takes in what is there at first.
fn added(watch: &mut Watching, names: &[&str]) {
    let mut told: Vec<_> = names.iter().map(|_| watch.next()).collect();
    told.sort();
    let all = |name: &&str| ("ADDED".to_owned(), (*name).to_owned(), "running".to_owned());
    assert_eq!(told, names.iter().map(all).collect::<Vec<_>>());
}

/// Changes until one that fits: a task may change a machine in several steps. vcsim forgets a filter
/// whose only machine is destroyed.
fn until(watch: &mut Watching, event: &str, name: &str, fits: impl Fn(&Value) -> bool) {
    loop {
        let record = watch.record();
        if record["event"] == "RELISTED" {
            continue;
        }
        assert_eq!(record["vm"]["name"], name, "{record}");
        if record["event"] == event && fits(&record["vm"]) {
            return;
        }
        assert_eq!(record["event"], "MODIFIED", "{record}");
    }
}

#[test]
fn what_govc_changes_is_told() {
    let lab = Lab::start(&[]);
    let mut watch = lab.watch(&[]);
    added(&mut watch, &ALL);
    lab.govc(&["vm.power", "-off", "DC0_H0_VM0"]);
    until(&mut watch, "MODIFIED", "DC0_H0_VM0", |vm| vm["status"] == "stopped");
    lab.govc(&["vm.change", "-vm", "DC0_H0_VM0", "-c", "3", "-m", "512"]);
    until(&mut watch, "MODIFIED", "DC0_H0_VM0", |vm| {
        vm["cpus"] == 3 && vm["memory_bytes"] == 512 << 20
    });
    lab.govc(&["object.rename", "/DC0/vm/DC0_H0_VM0", "web01"]);
    until(&mut watch, "MODIFIED", "web01", |vm| vm["path"] == "/DC0/vm/web01");
    let place = ["-pool", "DC0_C0/Resources", "-ds", "LocalDS_0", "-net", "VM Network"];
    lab.govc(&[&["vm.create", "-on=false"], &place[..], &["db01"]].concat());
    until(&mut watch, "ADDED", "db01", |vm| vm["path"] == "/DC0/vm/db01");
    lab.govc(&["vm.destroy", "web01"]);
    loop {
        let record = watch.record();
        if record["event"] == "DELETED" {
            assert_eq!(record["vm"]["name"], "web01");
            break;
        }
        // What else happens to the new one.
        assert_eq!(record["event"], "MODIFIED", "{record}");
    }
}

#[test]
fn a_folder_that_is_renamed_moves_what_is_in_it() {
    let lab = Lab::start(&[]);
    lab.govc(&["folder.create", "/DC0/vm/test"]);
    lab.govc(&["object.mv", "/DC0/vm/DC0_H0_VM0", "/DC0/vm/test"]);
    let mut watch = lab.watch(&["--match", "DC0_H0_VM0"]);
    added(&mut watch, &["DC0_H0_VM0"]);
    lab.govc(&["object.rename", "/DC0/vm/test", "prod"]);
    until(&mut watch, "MODIFIED", "DC0_H0_VM0", |vm| vm["path"] == "/DC0/vm/prod/DC0_H0_VM0");
}

#[test]
fn a_login_that_ends_is_renewed_and_only_what_differs_is_told() {
    let lab = Lab::start(&[]);
    let mut watch = lab.watch(&[]);
    added(&mut watch, &ALL);
    let logins = lab.vcsim.logins(lab.home.path());
    assert_eq!(logins.len(), 1);
    lab.govc(&["session.rm", &logins[0]]);
    lab.govc(&["vm.power", "-off", "DC0_H0_VM1"]);
    until(&mut watch, "MODIFIED", "DC0_H0_VM1", |vm| vm["status"] == "stopped");
    let mut relisted = false;
    lab.govc(&["vm.power", "-off", "DC0_H0_VM0"]);
    loop {
        let record = watch.record();
        relisted |= record["event"] == "RELISTED";
        if record["vm"]["name"] == "DC0_H0_VM0" && record["vm"]["status"] == "stopped" {
            break;
        }
        assert_ne!(record["event"], "ADDED", "{record}");
        assert_ne!(record["event"], "DELETED", "{record}");
    }
    lab.govc(&["vm.power", "-off", "DC0_C0_RP0_VM0"]);
    loop {
        let record = watch.record();
        relisted |= record["event"] == "RELISTED";
        if record["vm"]["name"] == "DC0_C0_RP0_VM0" {
            break;
        }
    }
    assert!(relisted, "the list that was made again is told");
}

#[test]
fn filters_and_conditions_are_those_of_every_platform() {
    let lab = Lab::start(&[]);
    let names = |args: &[&str]| -> Vec<String> {
        let done = lab.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{done:?}");
        let name = |line: &Value| line["vm"]["name"].as_str().unwrap().to_owned();
        done.lines().iter().map(name).collect()
    };
    assert_eq!(names(&["DC0_H0_VM1", "--until", "status=running"]), ["DC0_H0_VM1"]);
    assert_eq!(names(&["--match", "*RP0*", "--until", "status=running"]).len(), 2);
    let done = lab.run(&["DC0_H0_VM0", "--until", "status=stopped", "--timeout", "1"]);
    assert_eq!(done.status, 11, "{done:?}");
    assert_eq!(lab.run(&["nobody", "--until", "deleted"]).status, 0);
    assert_eq!(lab.run(&["nobody"]).status, 5);
    let done = lab.run(&["-l", "app=web"]);
    assert_eq!(done.status, 7, "{done:?}");
    let done = lab.run(&["--kind", "migration"]);
    assert_eq!(done.status, 7, "{done:?}");
    assert!(done.err.contains("migration"), "{done:?}");
    // A machine that is gone is no more, and nothing else ends.
    let mut watch = lab.watch(&["DC0_H0_VM0", "--until", "deleted"]);
    added(&mut watch, &["DC0_H0_VM0"]);
    lab.govc(&["vm.destroy", "DC0_H0_VM0"]);
    until(&mut watch, "DELETED", "DC0_H0_VM0", |_| true);
    assert_eq!(watch.end(), Some(0));
}

#[test]
fn nothing_stays_on_the_server() {
    let lab = Lab::start(&[]);
    // Collectors and views belong to logins, which outlive a run.
    for _ in 0..2 {
        let done = lab.run(&["--match", "DC0_H0_VM0", "--until", "status=running", "-vv"]);
        assert_eq!(done.status, 0, "{done:?}");
        assert!(done.err.contains("DestroyPropertyCollector"), "{done:?}");
        assert_eq!(done.err.matches(" DestroyView").count(), 2, "{done:?}");
    }
    assert_eq!(lab.vcsim.logins(lab.home.path()).len(), 1);
    let mut watch = lab.watch(&[]);
    added(&mut watch, &ALL);
    watch.signal("INT");
    assert_eq!(watch.end(), Some(130));
}

/// Takes records in until a machine is in a state.
fn replay_until(replay: &mut Replay, watch: &mut Watching, name: &str, status: &str) {
    let is = |vm: &Value| vm["name"] == name && vm["status"] == status;
    while !replay.machines.values().any(is) {
        replay.take(&watch.record());
    }
}

/// Waits until it is so, for half a minute at most.
fn wait(so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "it did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_that_restarts_is_waited_for_and_only_what_differs_is_told() {
    let place = format!("127.0.0.1:{}", free_port());
    let mut lab = Lab::start(&["-l", &place]);
    let errors = lab.home.path().join("errors");
    let mut command = lab.command(&[]);
    command.stderr(std::fs::File::create(&errors).unwrap());
    let mut watch = Watching::start(command);
    let mut replay = Replay::default();
    for name in ALL {
        replay_until(&mut replay, &mut watch, name, "running");
    }
    assert_eq!(replay.relists, 0);
    // It comes back with fewer machines, and has forgotten logins and what it told.
    drop(lab.vcsim);
    wait(|| Watching::tells(&errors, false));
    lab.vcsim = Vcsim::start(&["-l", &place, "-vm", "1"]);
    lab.govc(&["vm.power", "-off", "DC0_H0_VM0"]);
    replay_until(&mut replay, &mut watch, "DC0_H0_VM0", "stopped");
    lab.govc(&["vm.power", "-on", "DC0_H0_VM0"]);
    replay_until(&mut replay, &mut watch, "DC0_H0_VM0", "running");
    assert_eq!(replay.names(), ["DC0_C0_RP0_VM0", "DC0_H0_VM0"]);
    assert!(replay.relists > 0, "the list that was made again is told");
    wait(|| Watching::tells(&errors, true));
}
