//! `hyper-events` as a process: to its end, or while it follows.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a follower may take to tell something.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home, and what is set there.
pub struct User {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a run did.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The lines of `-o ndjson`.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 0, "{self:?}");
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl User {
    pub fn new(variables: Vec<(&'static str, String)>) -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-events"));
        command.args(args).env_clear().env("HOME", self.home()).current_dir(self.home());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // How each test named after a flag is proved to notice that the flag does nothing.
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end; after some seconds it is killed, and its status is then -1.
    pub fn run(&self, args: &[&str]) -> Done {
        let mut child = self.command(args).spawn().unwrap();
        // Read while it writes: a pipe holds little.
        let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let end = Instant::now() + Duration::from_secs(9);
        while child.try_wait().unwrap().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let status = child.wait().unwrap().code().unwrap_or(-1);
        Done { status, out: out.join().unwrap(), err: err.join().unwrap() }
    }

    /// Starts it and reads what it tells, as ndjson.
    pub fn follow(&self, args: &[&str]) -> Following {
        let mut all = args.to_vec();
        all.extend(["-o", "ndjson"]);
        let mut child = self.command(&all).stderr(Stdio::piped()).spawn().unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let (told, into) = (BufReader::new(child.stderr.take().unwrap()).lines(), errors.clone());
        std::thread::spawn(move || {
            for line in told.map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, lines_of) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    break;
                }
            }
        });
        Following { child, lines: lines_of, errors }
    }
}

fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// One that follows.
pub struct Following {
    child: Child,
    lines: Receiver<Value>,
    errors: Arc<Mutex<String>>,
}

impl Following {
    /// Waits until people are told this, and gives all that they were told.
    pub fn until_people_hear(&self, words: &str) -> String {
        for _ in 0..600 {
            let told = self.errors.lock().unwrap().clone();
            if told.contains(words) {
                return told;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nobody was told {words:?}");
    }

    /// The next event.
    pub fn next(&mut self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("one more event")
    }

    /// A word of the next event.
    pub fn next_by(&mut self, pointer: &str) -> String {
        let row = self.next();
        row.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{row}")).to_owned()
    }

    /// The next event within a time.
    pub fn within(&mut self, time: Duration) -> Option<Value> {
        self.lines.recv_timeout(time).ok()
    }

    /// Makes things happen until one of them is told, and takes all of them that come.
    pub fn until_it_tells(&mut self, pointer: &str, mut happen: impl FnMut() -> String) {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "nothing is told");
            let word = self.still(&mut happen);
            let Some(mut row) = self.within(Duration::from_millis(700)) else { continue };
            while row.pointer(pointer).and_then(Value::as_str) != Some(&word) {
                row = self.next();
            }
            return;
        }
    }

    /// Lets something happen while it stands still: vcsim locks up where an event is posted while a
    /// collector is made or freed.
    pub fn still<T>(&self, happen: impl FnOnce() -> T) -> T {
        signal(&self.pid(), "STOP");
        std::thread::sleep(Duration::from_millis(100));
        let done = happen();
        signal(&self.pid(), "CONT");
        done
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Interrupts it and gives its exit status.
    pub fn stop(mut self) -> i32 {
        signal(&self.pid(), "INT");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Interrupts it and gives all that it has told and not been asked for.
    pub fn rest(mut self) -> Vec<Value> {
        signal(&self.pid(), "INT");
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// The processor time that it has taken, in ticks of the kernel, and its largest memory in KiB.
    pub fn cost(&self) -> (u64, u64) {
        let file = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
        };
        let stat = file("stat");
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|it| it.parse().unwrap())
            .collect();
        let status = file("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        (fields.iter().sum(), peak.trim().trim_end_matches(" kB").parse().unwrap())
    }
}

/// Sends a signal to a process.
pub fn signal(pid: &str, signal: &str) {
    let line = format!("kill -{signal} {pid}");
    assert!(Command::new("/bin/sh").args(["-c", &line]).status().unwrap().success());
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
