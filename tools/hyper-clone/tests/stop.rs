//! Runs that end early: by a signal, by the time allowed, by a server that is gone, by a task that
//! failed. `hyper sim vsphere` works as slowly as it is told, and calls a task off when asked to.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::simulator::Sim;
use self::vcsim::{Done, Vcsim, run};

type Variables = Vec<(&'static str, String)>;

/// A user of a server, who may outlive it.
struct User {
    home: tempfile::TempDir,
    variables: Variables,
}

impl User {
    fn new(variables: &Variables) -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: variables.clone() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let args = [args, &["-o", "ndjson"]].concat();
        run(env!("CARGO_BIN_EXE_hyper-clone"), self.home.path(), &self.variables, &args)
    }

    /// Starts a run that tells how far it is.
    fn start(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-clone"));
        command.args(args).args(["-o", "ndjson", "--progress", "json"]);
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|it| ("HYPER_NEUTRALISE", it)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        Run { child, err, said: String::new() }
    }
}

/// A run that is under way.
struct Run {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Run {
    /// Waits until the server says how far it is with each of these.
    fn wait_for(&mut self, names: &[&str]) {
        let mut left: Vec<&str> = names.to_vec();
        while !left.is_empty() {
            let from = self.said.len();
            assert_ne!(self.err.read_line(&mut self.said).unwrap(), 0, "{left:?}: {}", self.said);
            let Ok(event) = serde_json::from_str::<Value>(&self.said[from..]) else { continue };
            if !event["task"]["percent"].is_null() {
                left.retain(|name| event["task"]["id"] != *name);
            }
        }
    }

    fn interrupt(&self) {
        let line = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// How it ended; one that does not within half a minute is killed.
    fn end(mut self) -> Done {
        let (tell, told) = std::sync::mpsc::channel();
        let err = std::thread::spawn(move || {
            for line in self.err.lines() {
                self.said.push_str(&line.unwrap());
                self.said.push('\n');
            }
            let _ = tell.send(());
            self.said
        });
        let _ = told.recv_timeout(Duration::from_secs(30));
        let _ = self.child.kill();
        let done = Done::from(self.child.wait_with_output().unwrap());
        Done { err: err.join().unwrap(), ..done }
    }
}

/// Names, outcomes and kinds of errors, by name.
fn outcomes(done: &Done) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row =
        |row: Value| (text(&row["target_name"]), text(&row["outcome"]), text(&row["error_kind"]));
    let mut all: Vec<_> = done.lines().into_iter().map(row).collect();
    all.sort();
    all
}

fn told(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    all.iter().map(|&(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).collect()
}

/// The clones that are there.
fn there(sim: &Sim) -> String {
    let found = sim.govc(&["find", "/", "-type", "m", "-name", "c-*"]).replace("/DC0/vm/", "");
    let mut found: Vec<_> = found.lines().map(|name| format!("{name}\n")).collect();
    found.sort();
    found.concat()
}

const SIX: [&str; 7] = ["web01", "--count", "6", "--name", "c-{n}", "--max-concurrent", "2"];

#[test]
fn an_interruption_calls_off_what_is_being_made_and_a_second_run_completes() {
    let sim =
        Sim::start(&["--fault", "op=task,object=VirtualMachine.clone,skip=2,max=2,delay=60s"]);
    let user = User::new(&sim.variables);
    let mut run = user.start(&SIX);
    run.wait_for(&["c-3", "c-4"]);
    run.interrupt();
    let done = run.end();
    assert_eq!(done.status, 130, "{done:?}");
    let rows = [
        ("c-1", "done", ""),
        ("c-2", "done", ""),
        ("c-3", "failed", "interrupted"),
        ("c-4", "failed", "interrupted"),
        ("c-5", "skipped", ""),
        ("c-6", "skipped", ""),
    ];
    assert_eq!(outcomes(&done), told(&rows));
    for words in [
        "govc:c-3: the clone was called off, nothing of it is left",
        "of 6 clones 2 are there, 2 were stopped and 2 not begun",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert_eq!(there(&sim), "c-1\nc-2\n");
    let again = user.run(&SIX);
    assert_eq!(again.status, 0, "{again:?}");
    let states: Vec<_> = outcomes(&again).into_iter().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(states, ["exists", "exists", "done", "done", "done", "done"]);
    assert_eq!(there(&sim).lines().count(), 6);
}

#[test]
fn an_interruption_of_one_and_of_a_run_that_rolls_back_leaves_nothing() {
    let sim = Sim::start(&["--running", "web01", "--fault", "op=task,object=c-2,delay=60s"]);
    let user = User::new(&sim.variables);
    for how in [&[][..], &["--instant"]] {
        let mut run = user.start(&[&["web01", "c-2"], how].concat());
        run.wait_for(&["c-2"]);
        run.interrupt();
        let done = run.end();
        assert_eq!(done.status, 130, "{done:?}");
        assert!(done.err.contains("c-2: the clone was called off"), "{done:?}");
        assert_eq!(there(&sim), "");
    }
    let mut run = user.start(&[&SIX[..], &["--rollback"]].concat());
    run.wait_for(&["c-2"]);
    run.interrupt();
    let done = run.end();
    assert_eq!(done.status, 130, "{done:?}");
    assert!(outcomes(&done).contains(&told(&[("c-1", "rolled_back", "")])[0]), "{done:?}");
    assert_eq!(there(&sim), "");
}

#[test]
fn flag_timeout_calls_off_what_is_being_made() {
    let sim = Sim::start(&["--fault", "op=task,object=c-2,delay=8s"]);
    let user = User::new(&sim.variables);
    let late = user.run(&[&SIX[..2], &["2"], &SIX[3..], &["--timeout", "2s"]].concat());
    assert_eq!(late.status, 11, "{late:?}");
    assert_eq!(outcomes(&late), told(&[("c-1", "done", ""), ("c-2", "failed", "timed_out")]));
    assert!(late.err.contains("c-2: the clone was called off"), "{late:?}");
    assert_eq!(there(&sim), "c-1\n");
}

#[test]
fn a_server_that_is_gone_fails_each_clone_that_is_not_made() {
    let sim = Sim::start(&["--fault", "op=task,object=VirtualMachine.clone,skip=1,delay=60s"]);
    let user = User::new(&sim.variables);
    let mut run = user.start(&SIX);
    run.wait_for(&["c-1", "c-2", "c-3"]);
    let begun = Instant::now();
    drop(sim);
    let done = run.end();
    assert!(begun.elapsed() < Duration::from_secs(30), "{done:?}");
    assert_eq!(done.status, 10, "{done:?}");
    let failed = |name| (name, "failed", "unavailable");
    let rows = [failed("c-2"), failed("c-3"), failed("c-4"), failed("c-5"), failed("c-6")];
    assert_eq!(outcomes(&done), told(&[&[("c-1", "done", "")][..], &rows].concat()));
    for words in ["govc:c-2: the server may go on making the clone", "govc:c-6: ask for the clone"]
    {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
}

#[test]
fn flag_stop_on_error_begins_no_more_once_a_vcenter_is_gone() {
    let vcsim = Vcsim::start(&["-method-delay", "CloneVM_Task:2000"]);
    let user = User::new(&vcsim.variables());
    let args = [&["DC0_H0_VM0"], &SIX[1..], &["--stop-on-error"]].concat();
    let mut run = user.start(&args);
    let mut rows = BufReader::new(run.child.stdout.take().unwrap());
    let mut first = String::new();
    rows.read_line(&mut first).unwrap();
    drop(vcsim);
    let rest: Vec<Value> =
        rows.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let done = run.end();
    assert_eq!(done.status, 10, "{done:?}");
    let count = |outcome: &str| rest.iter().filter(|row| row["outcome"] == outcome).count();
    // The second is made in the same moment as the first, or is cut off in it.
    assert_eq!((rest.len(), count("failed")), (5, 2), "{rest:?}");
    assert_eq!(count("done") + count("skipped"), 3, "{rest:?}");
    assert!(count("skipped") >= 2, "{rest:?}");
    let failed = rest.iter().filter(|row| row["outcome"] == "failed");
    assert!(failed.into_iter().all(|row| row["error_kind"] == "unavailable"), "{rest:?}");
}

#[test]
fn a_task_that_fails_leaves_the_others_alone_or_takes_them_back() {
    let sim = Sim::start(&["--fault", "op=task,object=c-2,fault=HostNotConnected"]);
    let user = User::new(&sim.variables);
    let one = [&SIX[..2], &["3"], &SIX[3..5], &["--max-concurrent", "1"]].concat();
    let goes_on = user.run(&one);
    assert_eq!(goes_on.status, 10, "{goes_on:?}");
    let failed = ("c-2", "failed", "unavailable");
    assert_eq!(outcomes(&goes_on), told(&[("c-1", "done", ""), failed, ("c-3", "done", "")]));
    let stops = user.run(&[&one[..], &["--stop-on-error"]].concat());
    assert_eq!(outcomes(&stops), told(&[("c-1", "exists", ""), failed, ("c-3", "exists", "")]));
    // What an earlier run has made is not this one's to take back.
    let back = user.run(&[&one[..], &["--rollback"]].concat());
    assert_eq!(back.status, 10, "{back:?}");
    assert_eq!(there(&sim), "c-1\nc-3\n");
    sim.govc(&["object.destroy", "vm/c-1", "vm/c-3"]);
    let back = user.run(&[&one[..], &["--rollback"]].concat());
    let rows = [("c-1", "done", ""), ("c-1", "rolled_back", ""), failed, ("c-3", "skipped", "")];
    assert_eq!((back.status, outcomes(&back)), (10, told(&rows)));
    assert_eq!(there(&sim), "");
}
