//! Logs of guests, and what refuses a console; the consoles themselves are tried by Python's
//! libraries.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::cluster::{Cluster, machine, wait_for};

#[test]
fn the_log_of_a_pod_is_what_the_guest_wrote() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Always"));
    cluster.machine_is(&space, "web01", "Running");
    let pod = cluster.kubectl(&["get", "pods", "-n", &space, "-o", "name"]);
    let pod = pod.trim();
    let log = ["logs", "-n", &space, pod, "-c", "guest-console-log"];
    let text = cluster.kubectl(&log);
    assert!(text.contains("Debian GNU/Linux 12 web01 ttyS0"), "{text}");
    let last = cluster.kubectl(&[&log[..], &["--tail=1", "--timestamps"]].concat());
    assert_eq!(last.lines().count(), 1);
    assert!(last.starts_with("20") && last.contains('T'), "{last}");
    let mut child = cluster
        .command(&[&log[..], &["-f", "--tail=0"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    wait_for("a reboot", || {
        cluster.put(&space, "virtualmachineinstances/web01/softreboot", "{}").is_ok()
    });
    assert!(lines.any(|line| line.contains("Run /init")));
    cluster.put(&space, "virtualmachines/web01/stop", "{}").unwrap();
    assert!(lines.any(|line| line.contains("poweroff.target")));
    assert!(child.wait().unwrap().success(), "the log ends with the pod");
}

#[test]
fn a_guest_that_does_not_run_has_no_console() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &machine("web01", "Halted"));
    let get = |what: &str| {
        let path = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{space}/virtualmachineinstances/web01/{what}"
        );
        let output = cluster.try_kubectl(&["get", "--raw", &path], None);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(get("console").contains("not found"));
    let mut bare = machine("bare", "Always");
    bare["spec"]["template"]["spec"]["domain"]["devices"]["autoattachGraphicsDevice"] =
        false.into();
    cluster.apply(&space, &bare);
    cluster.machine_is(&space, "bare", "Running");
    let path = format!(
        "/apis/subresources.kubevirt.io/v1/namespaces/{space}/virtualmachineinstances/bare/vnc/screenshot"
    );
    let output = cluster.try_kubectl(&["get", "--raw", &path], None);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("No graphics devices are present"), "{words}");
}
