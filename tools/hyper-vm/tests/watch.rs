//! `hyper vm list --watch` and `hyper vm get --watch`, which are `hyper watch`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod lab;
mod vcsim;
#[path = "../../hyper-watch/tests/watching/mod.rs"]
mod watching;

use std::process::{Command, Stdio};

use lab::Lab;
use watching::Watching;

fn watch(lab: &Lab, args: &[&str]) -> Watching {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-vm"));
    command.args(args).args(["-c", "hyper-sim", "-n", &lab.space]);
    command.env_clear().env("HOME", lab.home.path()).env("KUBECONFIG", lab.cluster.kubeconfig());
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    command.stdin(Stdio::null());
    Watching::endless(command)
}

#[test]
fn flag_watch_goes_on_with_what_changes() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        lab.make(name, "Halted");
    }
    let mut list = watch(&lab, &["list", "--match", "a", "--watch"]);
    let mut get = watch(&lab, &["get", "b", "-w"]);
    list.expect("ADDED", "a", "Stopped");
    get.expect("ADDED", "b", "Stopped");
    for name in ["a", "b"] {
        lab.cluster.kubectl(&["delete", "-n", &lab.space, "vm", name]);
    }
    for (watch, name) in [(&mut list, "a"), (&mut get, "b")] {
        let gone = std::iter::repeat_with(|| watch.change().0).find(|told| told.0 == "DELETED");
        assert_eq!(gone.unwrap().1, name);
    }
    let refused = lab.vm(&["list", "--watch", "--count"]);
    assert_eq!(refused.status, 2, "{refused:?}");
}
