//! Runs that were stopped, and the runs after them: nothing under a final name, nothing lost that
//! can be gone on with, nothing spliced.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde_json::Value;

use crate::disks::{MIB, digest, holds, noise, raw, soft, stream_vmdk, vmx};
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

/// Two streamOptimized disks of a machine; answers with their guest bytes.
fn two_streams(user: &User) -> [Vec<u8>; 2] {
    let disks = [noise(3 * MIB, 55), noise(3 * MIB, 56)];
    for (number, bytes) in disks.iter().enumerate() {
        stream_vmdk(&user.at(&format!("vm/{number}.vmdk")), bytes);
    }
    vmx(&user.at("vm"), "two", &["0.vmdk", "1.vmdk"]);
    disks
}

const TWO: [&str; 4] = ["vm/machine.vmx", "-o", "json", "--to"];

#[test]
fn a_package_that_was_stopped_goes_on_inside_its_disk() {
    for flags in [&[][..], &["--recompress"]] {
        let user = User::new();
        let disks = two_streams(&user);
        let whole = [&TWO[..], &["whole.ova", "-f", "ova"], flags].concat();
        user.run(&whole).ends(0);
        let line = [&TWO[..], &["out/whole.ova", "-f", "ova"], flags].concat();
        let slow = ["--progress", "json", "--limit-rate", "1M"];
        // In the first disk, then in the second.
        for (part, signal) in [(0, "INT"), (disks[0].len(), "TERM")] {
            let mut run = user.start(&[&line[..], &slow].concat());
            assert!(run.wait_for(|line| {
                line["event"] == "progress"
                    && line["total"]["position_bytes"].as_u64() > Some(part as u64)
            }));
            run.signal(signal);
            let done = run.end().ends(130);
            assert!(done.err.contains("the same command again goes on"), "{}", done.err);
            assert!(user.names("out").is_empty(), "{:?}", user.names("out"));
        }
        let done = user.run(&line).ends(0);
        assert!(done.err.contains("were there from an earlier run"), "{}", done.err);
        let record = done.json();
        let kept = record["reused_bytes"].as_u64().unwrap();
        assert!(kept > disks[0].len() as u64, "{record}");
        assert!(kept < 2 * disks[0].len() as u64, "{record}");
        let read = |name: &str| std::fs::read(user.at(name)).unwrap();
        assert!(read("out/whole.ova") == read("whole.ova"), "{flags:?}");
        assert_eq!(user.all_names("out"), ["whole.ova"]);
    }
}

#[test]
fn a_killed_package_goes_on_from_its_checkpoint_or_is_removed() {
    let user = User::new();
    let disks = two_streams(&user);
    user.run(&[&TWO[..], &["whole.ova", "-f", "ova"]].concat()).ends(0);
    let line = [&TWO[..], &["out/whole.ova", "-f", "ova"]].concat();
    let kill = |user: &User| {
        let mut run =
            user.start(&[&line[..], &["--progress", "json", "--limit-rate", "400K"]].concat());
        // After the first checkpoint inside the first disk.
        let stored = user.at("out/.whole.ova.hyper-state");
        assert!(run.wait_for(|_| stored.exists()), "no checkpoint was taken");
        run.signal("KILL");
        run.end();
        assert_eq!(latest_run(user)["outcome"], "lost");
    };
    kill(&user);
    // The content checksum of --verify is made up for.
    let done = user.run(&[&line[..], &["--verify"]].concat()).ends(0);
    let record = done.json();
    let kept = record["reused_bytes"].as_u64().unwrap();
    assert!(kept > 0 && kept < disks[0].len() as u64, "{record}");
    assert_eq!(record["verified"], true);
    let read = |name: &str| std::fs::read(user.at(name)).unwrap();
    assert!(read("out/whole.ova") == read("whole.ova"));
    std::fs::remove_dir_all(user.at("out")).unwrap();

    kill(&user);
    let (left, aside) = (user.at("out/.whole.ova.hyper-state"), user.at("state"));
    std::fs::copy(&left, &aside).unwrap();
    user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
    assert!(user.all_names("out").is_empty(), "{:?}", user.all_names("out"));
    // A disk that changed since is never spliced; nor is a state believed whose file is short.
    std::fs::copy(&aside, &left).unwrap();
    std::fs::write(user.at("out/.whole.ova.hyper-partial"), [7; 1 << 20]).unwrap();
    assert_eq!(user.run(&line).ends(0).json()["reused_bytes"], 0);
    assert!(read("out/whole.ova") == read("whole.ova"));
    std::fs::remove_file(user.at("out/whole.ova")).unwrap();
    std::fs::copy(&aside, &left).unwrap();
    std::fs::write(user.at("out/.whole.ova.hyper-partial"), vec![7; 8 * MIB]).unwrap();
    stream_vmdk(&user.at("vm/0.vmdk"), &noise(3 * MIB, 57));
    assert_eq!(user.run(&line).ends(0).json()["reused_bytes"], 0);
    user.run(&[&TWO[..], &["changed/whole.ova", "-f", "ova"]].concat()).ends(0);
    assert!(read("out/whole.ova") == read("changed/whole.ova"));
}

#[test]
fn a_copy_of_a_stream_goes_on_too() {
    let user = User::new();
    let bytes = noise(3 * MIB, 58);
    stream_vmdk(&user.at("disk.vmdk"), &bytes);
    let line = ["disk.vmdk", "-f", "vmdk", "-o", "json", "--to", "out"];
    for flags in [&[][..], &["--checksum", "sha256"], &["--verify"]] {
        let slow = ["--progress", "json", "--limit-rate", "900K"];
        let mut run = user.start(&[&line[..], &slow, flags].concat());
        run.wait_for_copy();
        run.signal("INT");
        run.end().ends(130);
        let record = user.run(&[&line[..], flags].concat()).ends(0).json();
        let kept = record["reused_bytes"].as_u64().unwrap();
        assert!(kept > 0 && kept < bytes.len() as u64, "{record}");
        let copy = user.at("out/disk-disk0.vmdk");
        assert!(std::fs::read(&copy).unwrap() == std::fs::read(user.at("disk.vmdk")).unwrap());
        if flags.contains(&"sha256") {
            let sum = format!("sha256:{}", digest("sha256sum", &copy));
            assert_eq!(record["artifacts"][0]["checksum"], sum);
        }
        assert_eq!(user.all_names("out").len(), 3, "{:?}", user.all_names("out"));
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_package_that_cannot_be_gone_on_with_leaves_nothing() {
    let user = User::new();
    stream_vmdk(&user.at("disk.vmdk"), &noise(3 * MIB, 55));
    for flags in
        [&["--package-compress", "zstd"][..], &["--package-compress", "zstd", "--recompress"]]
    {
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
    // The content checksum that --verify needs is made up for.
    assert!(record["reused_bytes"].as_u64() > Some(0), "{record}");
    assert_eq!(record["verified"], true);
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
        assert!(!user.all_names("out").is_empty());
        assert_eq!(completes(&user, &["-f", format])["reused_bytes"], bytes.len());
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
