//! `hyper sim vsphere` on a free port, and govc to hold hyper against.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::vcsim::run;

/// A simulated vCenter; ends with the test.
pub struct Sim {
    child: Child,
    /// govc's variables for it.
    pub variables: Vec<(&'static str, String)>,
    /// A user's home.
    pub home: tempfile::TempDir,
}

impl Sim {
    /// Starts it with further flags.
    pub fn start(flags: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("hyper-sim");
        assert!(program.exists(), "{} is not built: run cargo test --workspace", program.display());
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(["vsphere", "-o", "json"])
            .args(flags)
            .env_clear()
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        let access: serde_json::Value = loop {
            text.push_str(&lines.next().unwrap().unwrap());
            if let Ok(value) = serde_json::from_str(&text) {
                break value;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let word = |name: &str| access[name].as_str().unwrap().to_owned();
        let variables = vec![
            ("GOVC_URL", word("url")),
            ("GOVC_USERNAME", word("username")),
            ("GOVC_PASSWORD", word("password")),
            ("GOVC_TLS_CA_CERTS", word("ca_file")),
        ];
        Self { child, variables, home }
    }

    /// Ends the logins of hyper, as govc sees them; how many there were.
    pub fn end_logins(&self) -> usize {
        let list = self.govc(&["session.ls"]);
        let ours = list.lines().filter(|line| line.contains("hyper/"));
        let keys: Vec<_> = ours.filter_map(|line| line.split_whitespace().next()).collect();
        keys.iter().for_each(|key| drop(self.govc(&["session.rm", key])));
        keys.len()
    }

    /// Runs govc, which has to succeed, and gives what it prints.
    pub fn govc(&self, args: &[&str]) -> String {
        let program = std::env::var_os("HYPER_TB_GOVC").unwrap_or_else(|| "govc".into());
        let done = run(program.to_str().unwrap(), self.home.path(), &self.variables, args);
        assert_eq!(done.status, 0, "govc {args:?}: {done:?}");
        done.out
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
