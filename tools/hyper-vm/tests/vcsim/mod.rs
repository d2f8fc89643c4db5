//! vcsim, the simulator of govmomi, on a free port, and govc to hold hyper against.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The password that vcsim wants: what a shell, XML and a URL would each like to change.
pub const PASSWORD: &str = "p&<s>\"'%41:@/ \u{e4}";

/// A vCenter; ends with the test.
pub struct Vcsim {
    child: Child,
    /// Its datastores; it leaves them behind when it is killed.
    folder: tempfile::TempDir,
    /// `127.0.0.1:PORT`.
    pub place: String,
}

impl Vcsim {
    /// A vCenter with two machines on a host of its own and two in a cluster; `more` are further
    /// arguments of vcsim.
    pub fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(named("HYPER_TB_VCSIM", "vcsim"));
        command.env("TMPDIR", folder.path());
        command.args(["-l", "127.0.0.1:0", "-vm", "2", "-username", "user", "-password"]);
        let mut child =
            command.arg(PASSWORD).args(more).stdout(Stdio::piped()).spawn().expect("start vcsim");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once('@').expect("vcsim tells its address");
        // The password holds an @ as well, escaped or not.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let place = rest.split('/').next().unwrap().to_owned();
        Self { child, folder, place }
    }

    pub fn url(&self) -> String {
        format!("https://{}/sdk", self.place)
    }

    /// Runs govc and gives what it prints.
    pub fn govc(&self, home: &Path, args: &[&str]) -> String {
        let output = Command::new(named("HYPER_TB_GOVC", "govc"))
            .args(args)
            .env_clear()
            .env("HOME", home)
            .envs(self.variables())
            .output()
            .expect("run govc");
        assert!(output.status.success(), "govc {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn govc_json(&self, home: &Path, args: &[&str]) -> Value {
        serde_json::from_str(&self.govc(home, args)).unwrap()
    }

    /// What govc reads of an object.
    pub fn properties(&self, home: &Path, of: &str) -> BTreeMap<String, Value> {
        let all = self.govc_json(home, &["object.collect", "-json", of]);
        let one = |it: &Value| (it["Name"].as_str().unwrap().to_owned(), it["Val"].clone());
        all.as_array().unwrap().iter().map(one).collect()
    }

    /// The keys of the logins that hyper holds there.
    pub fn logins(&self, home: &Path) -> Vec<String> {
        let list = self.govc(home, &["session.ls"]);
        let ours = list.lines().filter(|line| line.contains("hyper/"));
        ours.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }

    /// govc's variables for this server.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GOVC_URL", self.url()),
            ("GOVC_USERNAME", "user".to_owned()),
            ("GOVC_PASSWORD", PASSWORD.to_owned()),
            ("GOVC_INSECURE", "true".to_owned()),
        ]
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn named(variable: &str, program: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| program.into(), PathBuf::from)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a program did.
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
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Runs a program with a home of its own and these variables only. One that has not ended
/// after half a minute is killed: its status is then -1.
pub fn run(program: &str, home: &Path, variables: &[(&str, String)], args: &[&str]) -> Done {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", home).current_dir(home);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    // How each test named after a flag is proved to notice that the flag does nothing.
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap().into()
}
