//! Runs that were stopped, and the runs after them: nothing under a final name, nothing lost that
//! can be gone on with, nothing spliced.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde_json::Value;

use crate::disks::{MIB, holds, noise, raw, soft, stream_vmdk};
use crate::user::User;

/// A disk of 3 MiB that takes some seconds.
const SLOWLY: [&str; 7] = ["disk.raw", "--to", "out", "--progress", "json", "--limit-rate", "600K"];

fn slow_disk(seed: u64) -> (User, Vec<u8>) {
    let user = User::new();
    let bytes = noise(3 * MIB, seed);
    raw(&user.at("disk.raw"), &bytes);
    (user, bytes)
}

/// The run's record of the same command without its brake.
#[track_caller]
fn completes(user: &User, flags: &[&str]) -> Value {
    let line = ["disk.raw", "--to", "out", "-o", "json"];
    user.run(&[&line[..], flags].concat()).ends(0).json()
}

pub fn latest_run(user: &User) -> Value {
    let list = user.tool("hyper-history", &["runs", "list", "-o", "json"]).ends(0).json();
    list["items"][0].clone()
}

#[test]
fn a_stopped_copy_is_gone_on_with() {
    for (number, signal) in ["INT", "TERM", "HUP"].into_iter().enumerate() {
        let (user, bytes) = slow_disk(number as u64 + 40);
        let mut run = user.start(&SLOWLY);
        run.wait_for_copy();
        run.signal(signal);
        let done = run.end().ends(130);
        assert!(done.err.contains("the same command again goes on"), "{}", done.err);
        assert!(user.names("out").is_empty(), "{:?}", user.names("out"));
        assert_eq!(latest_run(&user)["outcome"], "interrupted");
        let record = completes(&user, &[]);
        let reused = record["reused_bytes"].as_u64().unwrap();
        assert!(reused > 0 && reused < bytes.len() as u64, "{record}");
        holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
        assert_eq!(user.all_names("out").len(), 3, "{:?}", user.all_names("out"));
        let run = latest_run(&user);
        assert_eq!(run["counts"]["reused"], 1, "{run}");
        assert!(run["leftovers"].as_array().is_none_or(Vec::is_empty), "{run}");
    }
}

#[test]
fn a_stopped_copy_gives_the_bytes_of_one_that_ran_through() {
    for flags in [&["--checksum", "sha256"][..], &["--compress", "zstd"], &["-f", "vmdk"]] {
        let (user, _) = slow_disk(50);
        let mut run = user.start(&[&SLOWLY[..], flags].concat());
        run.wait_for_copy();
        run.signal("INT");
        run.end().ends(130);
        let record = completes(&user, flags);
        assert!(record["reused_bytes"].as_u64() > Some(0), "{record}");
        let line = ["disk.raw", "--to", "through"];
        user.run(&[&line[..], flags].concat()).ends(0);
        let name = user.names("out").into_iter().find(|name| name.contains("disk0")).unwrap();
        let read = |folder: &str| std::fs::read(user.at(folder).join(&name)).unwrap();
        assert!(read("out") == read("through"), "{flags:?}");
    }
}

#[test]
fn a_package_that_was_stopped_leaves_nothing() {
    let user = User::new();
    stream_vmdk(&user.at("disk.vmdk"), &noise(3 * MIB, 55));
    for flags in [&[][..], &["--recompress"], &["--package-compress", "zstd", "--recompress"]] {
        let line = ["disk.vmdk", "-f", "ova", "--to", "out", "--spool", "spool"];
        let slow = ["--progress", "json", "--limit-rate", "600K"];
        let mut run = user.start(&[&line[..], &slow[..], flags].concat());
        run.wait_for_copy();
        run.signal("INT");
        let done = run.end().ends(130);
        assert!(done.err.contains("begins anew"), "{}", done.err);
        assert!(user.all_names("out").is_empty(), "{:?}", user.all_names("out"));
        assert!(user.all_names("spool").is_empty(), "{:?}", user.all_names("spool"));
    }
}

#[test]
fn a_killed_copy_is_known_and_gone_on_with_or_removed() {
    let (user, bytes) = slow_disk(60);
    let mut run = user.start(&[&SLOWLY[..6], &["400K"]].concat());
    // After the first checkpoint.
    let stored = user.at("out/.disk-disk0.qcow2.hyper-state");
    assert!(run.wait_for(|_| stored.exists()), "no checkpoint was taken");
    run.signal("KILL");
    assert_eq!(run.end().status, None);
    assert!(user.names("out").is_empty());
    let lost = latest_run(&user);
    assert_eq!(lost["outcome"], "lost");
    let id = lost["id"].as_str().unwrap();
    let shown = user.tool("hyper-history", &["runs", "show", id]).ends(0);
    assert!(shown.text().contains(".disk-disk0.qcow2.hyper-partial"), "{}", shown.text());
    let record = completes(&user, &["--verify"]);
    // Another recipe (the content checksum of --verify) begins anew rather than guess.
    assert_eq!(record["reused_bytes"], 0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    std::fs::remove_dir_all(user.at("out")).unwrap();

    let mut run = user.start(&SLOWLY);
    run.wait_for_copy();
    run.signal("KILL");
    run.end();
    assert!(!user.all_names("out").is_empty());
    user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
    assert!(user.all_names("out").is_empty(), "{:?}", user.all_names("out"));
    assert_eq!(completes(&user, &[])["reused_bytes"], 0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
}

#[test]
fn a_killed_copy_goes_on_from_its_checkpoint() {
    let (user, bytes) = slow_disk(61);
    let mut run = user.start(&[&SLOWLY[..6], &["400K"]].concat());
    let stored = user.at("out/.disk-disk0.qcow2.hyper-state");
    assert!(run.wait_for(|_| stored.exists()), "no checkpoint was taken");
    run.signal("KILL");
    run.end();
    let record = completes(&user, &[]);
    assert!(record["reused_bytes"].as_u64() > Some(0), "{record}");
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    assert_eq!(user.all_names("out").len(), 3);
}

/// Runs `line` and sends `signal` in the phase, anew where the run was faster than the signal.
#[track_caller]
fn stop_in(user: &User, line: &[&str], phase: &str, signal: &str, status: Option<i32>) {
    for _ in 0..10 {
        let mut run = user.start(line);
        let there = run.wait_for(|line| {
            line["disk"]["phase"] == phase || (line["event"] == "phase" && line["phase"] == phase)
        });
        assert!(there, "no phase {phase}");
        run.signal(signal);
        let done = run.end();
        if done.status == status {
            return;
        }
        assert_eq!(done.status, Some(0), "{}", done.err);
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
    panic!("ten runs were over before {signal} in {phase}");
}

#[test]
fn a_stopped_verification_leaves_the_whole_image_for_the_next_run() {
    let user = User::new();
    let bytes = soft(24 * MIB, 70);
    raw(&user.at("disk.raw"), &bytes);
    let flags = ["--verify", "--compress", "zlib:1"];
    let line = ["disk.raw", "--to", "out", "--progress", "json"];
    let stops = ["INT", "TERM", "HUP"].map(|signal| (signal, Some(130)));
    for (signal, status) in stops.into_iter().chain([("KILL", None)]) {
        stop_in(&user, &[&line[..], &flags[..]].concat(), "verify", signal, status);
        assert!(user.names("out").is_empty(), "{:?}", user.names("out"));
        let record = completes(&user, &flags);
        assert_eq!(record["reused_bytes"], bytes.len(), "{record}");
        assert_eq!(record["verified"], true);
        holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_source_that_changed_since_is_never_spliced() {
    let (user, mut bytes) = slow_disk(80);
    let mut run = user.start(&SLOWLY);
    run.wait_for_copy();
    run.signal("INT");
    run.end().ends(130);
    bytes[10] ^= 0xFF;
    // Of the same length, its first byte too early for the part that was not copied yet.
    std::fs::write(user.at("disk.raw"), &bytes).unwrap();
    assert_eq!(completes(&user, &[])["reused_bytes"], 0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    assert_eq!(user.all_names("out").len(), 3);
}

#[test]
fn a_source_that_changes_meanwhile_is_a_conflict() {
    for flags in [&[][..], &["-f", "ova"], &["-f", "ovf"], &["-f", "raw", "--verify"]] {
        let (user, _) = slow_disk(85);
        let mut run = user.start(&[&SLOWLY[..6], &["1500K"], flags].concat());
        run.wait_for_copy();
        let file = std::fs::OpenOptions::new().write(true).open(user.at("disk.raw")).unwrap();
        file.write_all_at(b"changed", 5000).unwrap();
        let done = run.end().ends(6);
        assert!(done.err.contains("disk.raw"), "{}", done.err);
        assert!(user.all_names("out").is_empty(), "{flags:?}: {:?}", user.all_names("out"));
    }
}

#[test]
fn two_runs_do_not_write_one_file() {
    let (user, bytes) = slow_disk(90);
    let mut run = user.start(&SLOWLY);
    run.wait_for_copy();
    let second = user.run(&["disk.raw", "--to", "out"]).ends(6);
    assert!(second.err.contains(&format!("process {}", run.id())), "{}", second.err);
    let cleaned = user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
    run.end().ends(0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    assert!(!cleaned.text().contains("removed"), "{}", cleaned.text());
}

#[test]
fn a_name_that_is_taken_meanwhile_is_kept() {
    let (user, bytes) = slow_disk(92);
    for (format, name) in [("qcow2", "disk-disk0.qcow2"), ("ova", "disk.ova")] {
        let mut run = user.start(&[&SLOWLY[..6], &["1500K", "-f", format]].concat());
        run.wait_for_copy();
        std::fs::write(user.at("out").join(name), "mine").unwrap();
        let done = run.end().ends(6);
        assert!(done.err.contains(name), "{}", done.err);
        assert_eq!(std::fs::read(user.at("out").join(name)).unwrap(), b"mine");
        assert_eq!(user.names("out"), [name]);
        std::fs::remove_file(user.at("out").join(name)).unwrap();
        let left = user.all_names("out");
        assert_eq!(left.is_empty(), format == "ova", "{left:?}");
        let reused = if format == "ova" { 0 } else { bytes.len() };
        assert_eq!(completes(&user, &["-f", format])["reused_bytes"], reused);
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(3 * MIB, 95));
    let mut run = user.start(&SLOWLY);
    run.wait_for_copy();
    run.signal("INT");
    std::thread::sleep(Duration::from_millis(5));
    run.signal("INT");
    let done = run.end().ends(130);
    assert!(done.err.contains("interrupted"), "{}", done.err);
    assert!(user.names("out").is_empty());
    assert!(completes(&user, &[])["reused_bytes"].is_u64());
}
