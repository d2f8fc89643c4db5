//! Clients that others wrote: Python's own HTTP and TLS, the libraries `kubernetes` and
//! `websockets`.

use std::process::{Command, Stdio};

use crate::cluster::{Cluster, program};

#[test]
fn other_peoples_libraries_find_their_way() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubevirt/client.py");
    let output = Command::new(program("HYPER_TB_PYTHON", "python3"))
        .args([script, cluster.kubeconfig(), &space])
        .env_clear()
        .env("HOME", cluster.at("folder"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("run Python");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("all well"));
}
