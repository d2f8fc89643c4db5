//! The table in place, on a terminal, against a real API server whose objects kubectl changes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod kubernetes;

use std::process::{Command, Stdio};

use kubernetes::{Cluster, machine};

/// What a terminal shows in the end of what was written to it. It knows what the table needs: up,
/// and clearing all below.
fn screen(written: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut at = 0;
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => {}
            '\n' => {
                at += 1;
                if at == lines.len() {
                    lines.push(String::new());
                }
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (code, kind) = (&rest[1..end], &rest[end..=end]);
                match kind {
                    "A" => at -= code.parse::<usize>().unwrap(),
                    "J" => {
                        lines.truncate(at);
                        lines.push(String::new());
                    }
                    other => panic!("{other}"),
                }
                rest = &rest[end + 1..];
            }
            c => lines[at].push(c),
        }
    }
    lines
}

#[test]
fn a_terminal_shows_a_table_in_place_and_a_pipe_gets_lines() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    for name in ["one", "two"] {
        cluster.apply(&machine(&space, name, 2, 2, "Stopped"));
    }
    let kubectl = std::env::var("HYPER_TB_KUBECTL").unwrap_or("kubectl".into());
    let config = cluster.kubeconfig.display().to_string();
    let kubectl = format!("{kubectl} --kubeconfig {config} -n {space}");
    let patch = |name: &str, status: &str| {
        let patch = format!(r#"{{"status":{{"printableStatus":"{status}"}}}}"#);
        format!("{kubectl} patch virtualmachine {name} --type merge -p '{patch}'")
    };
    let python = std::env::var_os("HYPER_TB_PYTHON").unwrap_or("python3".into());
    let own = env!("CARGO_BIN_EXE_hyper-watch");
    let watch = ["-n", &space, "--until", "status=Running", "--timeout", "60"];
    let on_terminal = |deeds: &[&str], term: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", include_str!("live.py")]).args(deeds).args(["--", own]).args(watch);
        command.env_clear().env("HOME", cluster.kubeconfig.parent().unwrap());
        command
            .env("KUBECONFIG", &cluster.kubeconfig)
            .env("TERM", term)
            .env("PATH", "/usr/bin:/bin");
        let output = command.stdin(Stdio::null()).output().expect("run python");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (first, second) = (patch("one", "Running"), patch("two", "Running"));
    let extra = format!("{kubectl} delete virtualmachine three --wait=false; {second}");
    cluster.apply(&machine(&space, "three", 2, 2, "Stopped"));
    let deeds = ["3 there", &first, "Running", &extra, "2 there", ""];
    let written = on_terminal(&deeds, "xterm");
    let shown = screen(&written);
    let rows = |name: &str| shown.iter().filter(|line| line.contains(name)).collect::<Vec<_>>();
    for name in ["one", "two"] {
        assert_eq!(rows(name).len(), 1, "{shown:#?}");
        assert!(rows(name)[0].contains("MODIFIED") && rows(name)[0].contains("Running"));
    }
    assert!(rows("three")[0].contains("DELETED"), "{shown:#?}");
    assert!(shown[0].starts_with("TIME"), "{shown:#?}");
    assert_eq!(rows("2 there").len(), 1, "{shown:#?}");
    assert!(shown.iter().all(|line| line.chars().count() <= 100), "{shown:#?}");
    // A terminal that cannot move its cursor gets lines, as a pipe does.
    let lines = on_terminal(&[], "dumb");
    assert!(!lines.contains('\x1b') && lines.contains("ADDED"), "{lines}");
}
