//! What tests of `hyper-vm` on the simulated cluster share.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, machine, program};
use crate::vcsim::{Done, run};

/// A namespace of the cluster, and a user of it.
pub struct Lab {
    pub cluster: &'static Cluster,
    pub space: String,
    pub home: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let cluster = Cluster::shared();
        Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() }
    }

    pub fn vm(&self, args: &[&str]) -> Done {
        self.anywhere(&[args, &["-n", &self.space]].concat())
    }

    pub fn anywhere(&self, args: &[&str]) -> Done {
        self.as_anyone(&[args, &["-c", "hyper-sim"]].concat())
    }

    /// The same in whatever context the arguments name.
    pub fn as_anyone(&self, args: &[&str]) -> Done {
        let variables = [("KUBECONFIG", self.cluster.kubeconfig().to_owned())];
        run(env!("CARGO_BIN_EXE_hyper-vm"), self.home.path(), &variables, args)
    }

    /// The same on a terminal, where somebody waits for each text and types the answer to it: how
    /// it ended, and all that was seen.
    pub fn typed(&self, args: &[&str], talk: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = Command::new(program("HYPER_TB_PYTHON", "python3"));
        command.args(["-c", include_str!("typist.py")]);
        command.args(talk.iter().flat_map(|(wait, text)| [wait, text]));
        command.args(["--", env!("CARGO_BIN_EXE_hyper-vm")]).args(args);
        command.args(["-c", "hyper-sim", "-n", &self.space]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
        command.env("HOME", self.home.path()).env("KUBECONFIG", self.cluster.kubeconfig());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        let output = command.stdin(Stdio::null()).output().expect("run Python");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
    }

    /// What came of an action on one machine: status, outcome, note.
    pub fn outcome(&self, args: &[&str]) -> (i32, String, String) {
        let done = self.vm(&[args, &["-o", "json"]].concat());
        let row = done.json();
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let told = if done.status == 0 { text("note") } else { text("error") };
        (done.status, text("outcome"), told)
    }

    pub fn make(&self, name: &str, strategy: &str) {
        self.make_so(&machine(name, strategy));
    }

    pub fn make_so(&self, object: &Value) {
        self.cluster.apply(&self.space, object);
        let runs = object["spec"]["runStrategy"] == "Always";
        let status = if runs { "Running" } else { "Stopped" };
        self.is(object["metadata"]["name"].as_str().unwrap(), status);
    }

    pub fn is(&self, name: &str, status: &str) {
        self.cluster.machine_is(&self.space, name, status);
    }

    pub fn machine(&self, name: &str) -> Value {
        self.cluster.get(&self.space, "vm", name)
    }

    pub fn instance(&self, name: &str) -> Value {
        self.cluster.get(&self.space, "vmi", name)
    }
}
