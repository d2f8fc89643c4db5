//! `hyper` as a plugin of a real kubectl.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;
mod lab;
mod vcsim;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::cluster::program;
use self::lab::Lab;

/// A folder in which kubectl finds its plugin.
fn plugins(lab: &Lab) -> PathBuf {
    let folder = lab.home.path().join("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    let hyper = Path::new(env!("CARGO_BIN_EXE_hyper-vm")).with_file_name("hyper");
    assert!(hyper.is_file(), "hyper itself is not built: build the workspace");
    for name in ["kubectl-hyper", "kubectl_complete-hyper"] {
        symlink(&hyper, folder.join(name)).unwrap();
    }
    folder
}

/// What kubectl prints, and how it ends.
fn run(lab: &Lab, kubectl: &Path, args: &[&str]) -> (i32, String, String) {
    let path = lab.home.path().join("plugins");
    let output = Command::new(kubectl)
        .args(args)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
        .env("HOME", lab.home.path())
        .env("KUBECONFIG", lab.cluster.kubeconfig())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn kubectl_runs_it_with_the_flags_of_kubectl() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    plugins(&lab);
    let kubectl = program("HYPER_TB_KUBECTL", "kubectl");
    let list = ["hyper", "vm", "list", "-n", &lab.space, "--context", "hyper-sim", "-o", "name"];
    let (status, out, err) = run(&lab, &kubectl, &list);
    assert_eq!((status, out), (0, "hyper-sim:@".to_owned() + &lab.space + "/web01\n"), "{err}");
    let config = lab.cluster.kubeconfig();
    let get = ["hyper", "vm", "get", "web01", "-n", &lab.space, "--kubeconfig", config];
    assert_eq!(run(&lab, &kubectl, &get).0, 0, "the kubeconfig's context is the current one");
    let (status, out, _) = run(&lab, &kubectl, &["hyper", "vm", "stop", "--help"]);
    assert!(status == 0 && out.contains("Usage: kubectl hyper vm stop"), "{out}");
    let (status, _, err) = run(&lab, &kubectl, &["hyper", "vm", "get", "none", "-n", &lab.space]);
    assert_eq!(status, 5, "the status is hyper's own: {err}");
}

#[test]
fn kubectl_completes_its_words() {
    let lab = Lab::new();
    lab.make("web01", "Halted");
    lab.make("db01", "Halted");
    let plugins = plugins(&lab);
    let space = lab.space.as_str();
    let wanted: [(&[&str], &str); 4] = [
        (&["hyper", "contex"], "context\t"),
        (&["hyper", "vm", "unp"], "unpause\t"),
        (&["hyper", "vm", "get", "-n", space, "w"], "web01\tstopped\n:4\n"),
        (&["hyper", "vm", "list", "--context", "hyper-sim-v"], "hyper-sim-viewer\t"),
    ];
    // What kubectl would do, for kubectls that cannot yet (before 1.26).
    for (words, start) in wanted {
        let (_, out, err) = run(&lab, &plugins.join("kubectl_complete-hyper"), &words[1..]);
        assert!(out.starts_with(start) && out.ends_with(":4\n"), "{words:?}: {out}{err}");
    }
    let Some(kubectl) = std::env::var_os("HYPER_TB_NEW_KUBECTL").map(PathBuf::from) else {
        return;
    };
    for (words, start) in wanted {
        let (_, out, err) = run(&lab, &kubectl, &[&["__complete"], words].concat());
        assert!(out.starts_with(start), "{words:?}: {out}{err}");
    }
}
