//! Runs that are ended while they name their files: what has its name is kept, the next run names
//! the rest.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::disks::{MIB, holds, machine, noise, raw};
use crate::resume::latest_run;
use crate::user::User;

/// Starts `line`, sends `signal` once files get their names, and answers with the status.
#[track_caller]
fn signal_while_naming(user: &User, line: &[&str], signal: &str) -> Option<i32> {
    let mut run = user.start(line);
    assert!(run.wait_for(|line| line["event"] == "phase" && line["phase"] == "finish"));
    run.signal(signal);
    run.end().status
}

#[test]
fn the_run_after_a_killed_one_names_the_rest() {
    let user = User::new();
    let disks = machine(&user.at("vm"), "eight", &[MIB / 4; 8]);
    for format in ["qcow2", "ovf"] {
        let line = ["vm", "-f", format, "--to", "out", "--progress", "json", "--manifest"];
        user.run(&line).ends(0);
        let all = user.all_names("out");
        let mut in_between = false;
        for _ in 0..40 {
            std::fs::remove_dir_all(user.at("out")).unwrap();
            let status = signal_while_naming(&user, &line, "KILL");
            let named: BTreeSet<_> = user.names("out").into_iter().collect();
            for name in named.iter().filter(|name| name.ends_with("json")) {
                let text = std::fs::read(user.at("out").join(name)).unwrap();
                assert!(serde_json::from_slice::<Value>(&text).is_ok(), "{name} is cut");
            }
            if status.is_some() || named.len() == all.len() {
                continue;
            }
            assert_eq!(latest_run(&user)["outcome"], "lost");
            user.run(&line).ends(0);
            assert_eq!(user.all_names("out"), all, "{named:?} were named");
            if !named.is_empty() {
                in_between = true;
                break;
            }
        }
        assert!(in_between, "no kill came while files were named");
        for (number, bytes) in disks.iter().enumerate().filter(|_| format == "qcow2") {
            holds(&user.at(&format!("out/eight-disk{number}.qcow2")), "qcow2", bytes);
        }
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_signal_does_not_end_a_run_between_two_names() {
    let user = User::new();
    let disks = machine(&user.at("vm"), "eight", &[MIB / 4; 8]);
    let line = ["vm", "--to", "out", "--progress", "json", "--manifest"];
    for signal in ["INT", "TERM", "HUP"] {
        let status = signal_while_naming(&user, &line, signal);
        assert!(matches!(status, Some(0 | 130)), "{status:?}");
        if status == Some(130) {
            user.run(&line).ends(0);
        }
        assert_eq!(user.all_names("out").len(), disks.len() + 3);
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

/// A run that could not name everything, because somebody else took a name meanwhile.
fn half_named(seed: u64) -> (User, Vec<u8>) {
    let user = User::new();
    let bytes = noise(3 * MIB, seed);
    raw(&user.at("disk.raw"), &bytes);
    let line = ["disk.raw", "--to", "out", "--progress", "json", "--limit-rate", "1500K"];
    let mut run = user.start(&line);
    run.wait_for_copy();
    std::fs::write(user.at("out/disk.machine.json"), "mine").unwrap();
    let done = run.end().ends(6);
    assert!(done.err.contains("disk.machine.json"), "{}", done.err);
    assert_eq!(std::fs::read(user.at("out/disk.machine.json")).unwrap(), b"mine");
    assert_eq!(user.names("out"), ["disk-disk0.qcow2", "disk.machine.json"]);
    std::fs::remove_file(user.at("out/disk.machine.json")).unwrap();
    (user, bytes)
}

const AGAIN: [&str; 5] = ["disk.raw", "--to", "out", "-o", "json"];

#[test]
fn a_named_disk_is_kept_by_the_next_run() {
    let (user, bytes) = half_named(110);
    let before = std::fs::metadata(user.at("out/disk-disk0.qcow2")).unwrap().modified().unwrap();
    let record = user.run(&AGAIN).ends(0).json();
    assert_eq!(record["reused_bytes"], bytes.len());
    let after = std::fs::metadata(user.at("out/disk-disk0.qcow2")).unwrap().modified().unwrap();
    assert_eq!(before, after);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    assert_eq!(user.all_names("out").len(), 3, "{:?}", user.all_names("out"));
    // That run was over: its files are like any others now.
    assert!(user.run(&AGAIN).ends(6).err.contains("--overwrite"));
}

#[test]
fn a_named_package_is_kept_by_the_next_run() {
    let user = User::new();
    let bytes = noise(3 * MIB, 114);
    raw(&user.at("disk.raw"), &bytes);
    let line = ["disk.raw", "-f", "ova", "--to", "out", "--manifest"];
    let slow = ["--progress", "json", "--limit-rate", "1500K"];
    let mut run = user.start(&[&line[..], &slow].concat());
    run.wait_for_copy();
    std::fs::write(user.at("out/disk.artifact-manifest.json"), "mine").unwrap();
    run.end().ends(6);
    assert_eq!(user.names("out"), ["disk.artifact-manifest.json", "disk.ova"]);
    std::fs::remove_file(user.at("out/disk.artifact-manifest.json")).unwrap();
    let time = || std::fs::metadata(user.at("out/disk.ova")).unwrap().modified().unwrap();
    let before = time();
    let record = user.run(&[&line[..], &["-o", "json", "--verify"]].concat()).ends(0).json();
    assert_eq!(record["reused_bytes"], bytes.len());
    assert_eq!(record["verified"], true);
    assert_eq!(before, time());
    assert_eq!(user.all_names("out"), ["disk.artifact-manifest.json", "disk.ova"]);
    user.run(&["out/disk.ova", "--to", "back"]).ends(0);
    holds(&user.at("back/disk-disk0.qcow2"), "qcow2", &bytes);
    // That run was over: its file is like any other now.
    assert!(user.run(&line).ends(6).err.contains("--overwrite"));
}

#[test]
fn a_named_disk_that_changed_since_or_has_another_source_is_not_taken_for_ones_own() {
    let (user, _) = half_named(111);
    let disk = user.at("out/disk-disk0.qcow2");
    user.run(&["disk.raw", "--compress", "zlib", "--to", "out"]).ends(6);
    let file = std::fs::File::options().append(true).open(&disk).unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
    user.run(&AGAIN).ends(6);

    let (user, _) = half_named(112);
    raw(&user.at("disk.raw"), &noise(3 * MIB, 113));
    user.run(&AGAIN).ends(6);
    // Nothing is left to know it by once the history is cleaned; the disk itself stays.
    user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
    assert_eq!(user.all_names("out"), ["disk-disk0.qcow2"]);
}
