//! What tests of `hyper-vm` on the simulated cluster share.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use serde_json::Value;

use crate::cluster::{Cluster, machine};
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
