//! A user with an own HOME and a folder to work in, and the tools that the user runs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A user whose working folder is `home`.
pub struct User {
    home: tempfile::TempDir,
    /// Further variables of the environment.
    pub env: Vec<(String, String)>,
}

/// A tool that ended.
#[derive(Debug)]
pub struct Done {
    /// Exit status; none after a signal.
    pub status: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Done {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap()
    }

    /// Standard output as one JSON value a line.
    pub fn records(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails unless the tool ended with `status`.
    #[track_caller]
    pub fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.err);
        self
    }
}

impl User {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// A path in the working folder.
    pub fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// `hyper-export` with these arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_hyper-export")), args)
    }

    pub fn run(&self, args: &[&str]) -> Done {
        finish(&mut self.command(args))
    }

    /// Another tool of the workspace.
    pub fn tool(&self, name: &str, args: &[&str]) -> Done {
        let path = Path::new(env!("CARGO_BIN_EXE_hyper-export")).with_file_name(name);
        assert!(path.exists(), "{} is not built: run cargo test --workspace", path.display());
        finish(&mut self.program(&path, args))
    }

    /// The tool by way of `env`, so that INT and HUP act although the tests' own parent (a shell's
    /// background job, nohup) may have them ignored.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.program(Path::new("env"), &["--default-signal=INT,TERM,HUP"]);
        command.arg(env!("CARGO_BIN_EXE_hyper-export")).args(args);
        Running::new(&mut command)
    }

    fn program(&self, path: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(path);
        command.args(args).env_clear().env("HOME", self.home.path()).env("TZ", "UTC");
        command.env("PATH", "/usr/bin:/bin");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // How each test named after a flag is proved to notice that the flag does nothing.
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.current_dir(self.home.path());
        command
    }

    /// Names in a folder that a person sees, sorted; none where there is no folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        self.all_names(folder).into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    /// All names in a folder, sorted.
    pub fn all_names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.at(folder)) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn finish(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output().unwrap();
    done(&output)
}

/// Runs a tool with `input` on its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> Done {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tool that fails early does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    done(&child.wait_with_output().unwrap())
}

fn done(output: &std::process::Output) -> Done {
    Done {
        status: output.status.code(),
        out: output.stdout.clone(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// A tool at work, whose standard error is read line by line.
pub struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, seen: String::new() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a progress line that `fits`; false where the tool ended before.
    pub fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> bool {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return false;
            }
            self.seen.push_str(&line);
            if serde_json::from_str(&line).is_ok_and(|value: Value| fits(&value)) {
                return true;
            }
        }
    }

    /// Waits until bytes have been moved.
    #[track_caller]
    pub fn wait_for_copy(&mut self) {
        let moved = |line: &Value| {
            line["event"] == "progress" && line["total"]["position_bytes"].as_u64() > Some(0)
        };
        assert!(self.wait_for(moved), "{}", self.seen);
    }

    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh").args(["-c", &line]).status().unwrap();
        // A process that has ended but was not waited for can still be signalled.
        assert!(done.success());
    }

    pub fn end(mut self) -> Done {
        let mut out = Vec::new();
        self.lines.read_to_string(&mut self.seen).unwrap();
        self.child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        let status = self.child.wait().unwrap().code();
        Done { status, out, err: self.seen }
    }
}
