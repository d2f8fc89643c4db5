//! `hyper-vm` on `hyper sim vsphere`: what vcsim does not play.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod vcsim;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use self::vcsim::{Done, run};

struct Sim {
    child: Child,
    variables: Vec<(&'static str, String)>,
    home: tempfile::TempDir,
}

impl Sim {
    fn start(flags: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_hyper-vm")).with_file_name("hyper-sim");
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

    fn vm(&self, args: &[&str]) -> Done {
        run(env!("CARGO_BIN_EXE_hyper-vm"), self.home.path(), &self.variables, args)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn flag_wait_waits_for_the_guest() {
    let sim = Sim::start(&[]);
    let waited = sim.vm(&["start", "--wait", "web01", "-o", "json"]);
    assert_eq!(waited.status, 0, "{waited:?}");
    // A guest that is not up cannot be asked to shut down; one that was waited for can.
    let stopped = sim.vm(&["stop", "web01"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    // Without waiting the guest is still starting.
    assert_eq!(sim.vm(&["start", "web01"]).status, 0);
    let early = sim.vm(&["stop", "web01"]);
    assert_eq!(early.status, 6, "{early:?}");
}

#[test]
fn ten_thousand_machines_are_listed_in_bounded_memory() {
    let sim = Sim::start(&["--vms", "10000"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hyper-vm"))
        .args(["list", "-o", "ndjson"])
        .env_clear()
        .env("HOME", sim.home.path())
        .envs(sim.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut count, mut peak) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let vm: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(vm["schema"], "hyper.vm/v1");
        count += 1;
        // The last lines wait in the pipe: the program may have ended by then.
        if count % 500 == 0 && count < 10_000 {
            let status = std::fs::read_to_string(&status).unwrap();
            let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            peak = kib.map_or(peak, |kib| kib.trim_end_matches("kB").trim().parse().unwrap());
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(count, 10_000);
    assert!((1..96 << 10).contains(&peak), "{peak} KiB");
}
