//! The completion script in a real bash on a terminal, with the real tools, a folder of machines and
//! a simulated cluster.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;

use std::path::Path;
use std::process::{Command, Stdio};

use cluster::{Cluster, machine, program};

/// A user with a shell.
struct User {
    cluster: &'static Cluster,
    space: String,
    home: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        let cluster = Cluster::shared();
        let user = Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() };
        for name in ["web01", "web02", "db01"] {
            cluster.apply(&user.space, &machine(name, "Halted"));
        }
        user
    }

    /// The words of the line after someone typed `text` and the key for completion, as the shell
    /// would hand them to a program.
    fn completed(&self, script: &str, text: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../completions").join(script);
        let mut command = Command::new(program("HYPER_TB_PYTHON", "python3"));
        command.args(["-c", include_str!("../../hyper-vm/tests/lab/typist.py")]);
        // What is typed is seen as well, and must not be taken for the prompt.
        let source = format!("source {}; PS1=rea''dy:\\n", script.display());
        // After the key to the start of the line, where a program that shows its words is put.
        let typed = format!("{text}\\t\\x01printf '<%s>' \\x05\\nexit\\n");
        command.args(["$ ", &source, "ready:", &typed]);
        command.args(["--", "/bin/bash", "--norc", "--noprofile", "-i"]);
        let built = Path::new(env!("CARGO_BIN_EXE_hyper")).parent().unwrap();
        command.env_clear().env("HOME", self.home.path()).env("TERM", "dumb");
        command.env("PATH", format!("{}:/usr/bin:/bin", built.display())).env("PS1", "$ ");
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env("COLUMNS", "400");
        let output = command.stdin(Stdio::null()).output().expect("run Python");
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = seen.lines().rev().find_map(|line| {
            let (words, _) = line.split_once("ready:")?;
            words.strip_prefix('<')?.strip_suffix('>')
        });
        let shown = shown.unwrap_or_else(|| panic!("{text}: {seen}"));
        shown.replace("><", " ")
    }
}

#[test]
fn a_real_bash_completes_words_that_only_platforms_know() {
    let user = User::new();
    let space = &user.space;
    let whole = |text: &str, expected: &str| {
        assert_eq!(user.completed("hyper.bash", text), expected, "{text}");
    };
    let get = format!("hyper vm get -c hyper-sim -n {space}");
    whole(&format!("{get} db"), &format!("{get} db01"));
    // Two of them begin so.
    whole(&format!("{get} we"), &format!("{get} web0"));
    whole(&format!("{get} nothing"), &format!("{get} nothing"));
    // bash parts words at colons and equals signs.
    let named = format!("hyper vm stop -n {space} web01 hyper-sim");
    whole(&format!("{named}:db"), &format!("{named}:db01"));
    whole(&format!("{get} -o nds"), &format!("{get} -o nds"));
    whole(&format!("{get} --output=nd"), &format!("{get} --output=ndjson"));
    let place = "hyper vm list -c hyper-sim --namespace=";
    whole(&format!("{place}kube-sy"), &format!("{place}kube-system"));
    whole("hyper vm list -c hyper-sim-v", "hyper vm list -c hyper-sim-viewer");
    whole("hyper vm list --all-n", "hyper vm list --all-namespaces");
    whole("hyper temp", "hyper template");
    whole("hyper --li", "hyper --list");
    std::fs::create_dir(user.home.path().join("pictures")).unwrap();
    let home = user.home.path().display();
    whole(
        &format!("hyper export x --to {home}/pi"),
        &format!("hyper export x --to {home}/pictures/"),
    );
    let tool = format!("hyper-vm get -c hyper-sim -n {space}");
    let done = user.completed("hyper-vm.bash", &format!("{tool} db"));
    assert_eq!(done, format!("{tool} db01"));
}

#[test]
fn templates_are_completed() {
    let user = User::new();
    let source = serde_json::json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": { "name": "debian" },
        "spec": { "source": { "pvc": { "namespace": user.space, "name": "nope" } } },
    });
    user.cluster.apply(&user.space, &source);
    let deploy = format!("hyper template deploy -c hyper-sim -n {}", user.space);
    let done = user.completed("hyper.bash", &format!("{deploy} deb"));
    assert_eq!(done, format!("{deploy} debian"));
}
