//! `hyper-vm` on `hyper sim vsphere`: what vcsim does not play.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod simulator;
mod vcsim;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use self::simulator::Sim;
use self::vcsim::{Done, run};

fn vm(sim: &Sim, args: &[&str]) -> Done {
    run(env!("CARGO_BIN_EXE_hyper-vm"), sim.home.path(), &sim.variables, args)
}

#[test]
fn flag_wait_waits_for_the_guest() {
    let sim = Sim::start(&[]);
    let waited = vm(&sim, &["start", "--wait", "web01", "-o", "json"]);
    assert_eq!(waited.status, 0, "{waited:?}");
    // A guest that is not up cannot be asked to shut down; one that was waited for can.
    let stopped = vm(&sim, &["stop", "web01"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    // Without waiting the guest is still starting.
    assert_eq!(vm(&sim, &["start", "web01"]).status, 0);
    let early = vm(&sim, &["stop", "web01"]);
    assert_eq!(early.status, 6, "{early:?}");
}

#[test]
fn addresses_are_those_that_the_guest_tells() {
    let sim = Sim::start(&["--running", "web01"]);
    let told = sim.govc(&["vm.info", "-json", "vm/web01"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let own = |name: &str| vm(&sim, &["get", name, "-o", "json"]).json()["ip_addresses"].clone();
    let cards = told["VirtualMachines"][0]["Guest"]["Net"].as_array().unwrap();
    assert_eq!(own("web01"), cards[0]["IpAddress"]);
    assert!(own("web01")[0].as_str().unwrap().starts_with("10."));
    assert_eq!(own("db01"), serde_json::json!([]));
    let found = vm(&sim, &["list", "--match", "ip_addresses=10.*", "-o", "name"]);
    assert_eq!(found.out.lines().count(), 1, "{found:?}");
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
