//! A watch that is under way, and what it tells.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// How long the next change may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch that is under way; ends with the test.
pub struct Watching {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    /// Starts one that ends after two minutes at the latest.
    pub fn start(mut command: Command) -> Self {
        command.args(["--timeout", "120"]);
        Self::endless(command)
    }

    /// Starts one, whatever its end, for a program to read along.
    pub fn endless(mut command: Command) -> Self {
        command.args(["-o", "ndjson"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self { child, lines }
    }

    /// Whether a file for what is told to people has lines that say, in this order, that a
    /// connection was lost and came back, and no others of this kind.
    pub fn tells(errors: &Path, back: bool) -> bool {
        let words = std::fs::read_to_string(errors).unwrap();
        let mut lines = words.lines().filter(|line| line.contains("the connection is "));
        let lost = lines.next().is_some_and(|line| {
            line.contains(": the connection is lost (") && line.ends_with("); trying again")
        });
        let then = lines.next().is_some_and(|line| line.ends_with(": the connection is back"));
        assert_eq!(lines.next(), None, "{words}");
        lost && then == back
    }

    /// The next record, whatever it is.
    pub fn record(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("one more change");
        serde_json::from_str(&line).unwrap()
    }

    /// Event, name and state of the next change.
    pub fn next(&mut self) -> (String, String, String) {
        let record = self.record();
        let word = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        let (item, state) = match word("/schema") {
            Some("hyper.vm_change/v1") => ("/vm/name", ["/vm/state", "/vm/status"]),
            Some("hyper.object_change/v1") => ("/object/name", ["/object/status"; 2]),
            other => panic!("{other:?}"),
        };
        let text = |word: Option<&str>| word.unwrap_or_default().to_owned();
        let state = state.into_iter().find_map(word);
        (text(word("/event")), text(word(item)), text(state))
    }

    /// The next change but for lists that were made again, of which the number is told.
    pub fn change(&mut self) -> ((String, String, String), usize) {
        let mut relists = 0;
        loop {
            let told = self.next();
            if told.0 != "RELISTED" {
                return (told, relists);
            }
            relists += 1;
        }
    }

    /// The next change must be this. A list behind a watch may be made again.
    pub fn expect(&mut self, event: &str, name: &str, state: &str) {
        let told = self.change().0;
        assert_eq!(told, (event.to_owned(), name.to_owned(), state.to_owned()));
    }

    /// Nothing may be told for so long.
    pub fn silence(&mut self, time: Duration) {
        if let Ok(line) = self.lines.recv_timeout(time) {
            panic!("{line}");
        }
    }

    /// How it ends: its exit status.
    pub fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: &str) {
        let line = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &line]).status().unwrap().success());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the records of a watch leave behind.
#[derive(Default)]
pub struct Replay {
    /// Machines by id.
    pub machines: BTreeMap<String, Value>,
    /// How often all was listed again.
    pub relists: usize,
}

impl Replay {
    /// Takes a record in, which must be news.
    pub fn take(&mut self, record: &Value) {
        let id = record["vm"]["id"].as_str().unwrap_or_default().to_owned();
        let known = self.machines.get(&id);
        match record["event"].as_str().unwrap() {
            "RELISTED" => self.relists += 1,
            "ADDED" => assert!(known.is_none(), "told twice: {record}"),
            "MODIFIED" => assert!(known.unwrap() != &record["vm"], "no change: {record}"),
            "DELETED" => assert!(known.is_some(), "never there: {record}"),
            other => panic!("{other}"),
        }
        match record["event"].as_str().unwrap() {
            "RELISTED" => {}
            "DELETED" => drop(self.machines.remove(&id)),
            _ => drop(self.machines.insert(id, record["vm"].clone())),
        }
    }

    /// The names of the machines that are left, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.machines.values().map(|vm| vm["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }
}
