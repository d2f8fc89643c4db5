//! What goes wrong with files and folders: one clear line, nothing under a final name.

use std::io::Write;
use std::process::Command;

use crate::disks::{MIB, content, holds, image, machine, noise, raw, soft, stream_vmdk, vmx};
use crate::flags::damage_grain;
use crate::user::{Done, User, finish};

/// Fails unless the message is one line, with hints at the most, and names `what`.
#[track_caller]
fn says(done: &Done, what: &str) {
    let mut lines = done.err.lines().filter(|line| !line.starts_with("hyper-export: warning"));
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("hyper-export: ") && first.contains(what), "{}", done.err);
    assert!(lines.all(|line| line.starts_with("hint: ")), "{}", done.err);
}

#[test]
fn a_damaged_source_leaves_nothing() {
    let user = User::new();
    let path = stream_vmdk(&user.at("disk.vmdk"), &soft(2 * MIB, 1));
    damage_grain(&path);
    let targets: [&[&str]; 6] = [
        &["-f", "raw"],
        &["-f", "qcow2", "--compress", "zlib"],
        &["-f", "vmdk", "--recompress"],
        &["-f", "ova", "--recompress"],
        &["-f", "ovf", "--recompress"],
        &["-f", "vmdk", "--verify"],
    ];
    for flags in targets {
        let done = user.run(&[&["disk.vmdk", "--to", "out"], flags].concat()).ends(9);
        says(&done, "disk.vmdk");
        assert!(user.all_names("out").is_empty(), "{flags:?}: {:?}", user.all_names("out"));
        let run = user.tool("hyper-history", &["runs", "list", "-o", "json"]).ends(0).json();
        let run = &run["items"][0];
        assert_eq!(run["outcome"], "failed");
        assert!(run["leftovers"].as_array().is_none_or(Vec::is_empty), "{run}");
    }
    let cut = std::fs::read(&path).unwrap();
    std::fs::write(&path, &cut[..cut.len() / 2]).unwrap();
    says(&user.run(&["disk.vmdk", "--to", "out"]).ends(9), "disk.vmdk");
    assert!(user.all_names("out").is_empty());
}

#[test]
fn the_good_disk_of_a_damaged_machine_waits_and_is_not_named() {
    let user = User::new();
    let good = content(2 * MIB, 2);
    std::fs::create_dir(user.at("vm")).unwrap();
    image(&user.at("vm/good.vmdk"), "vmdk", "", &good);
    let bytes = soft(MIB, 3);
    let bad = stream_vmdk(&user.at("vm/bad.vmdk"), &bytes);
    let whole = std::fs::read(&bad).unwrap();
    damage_grain(&bad);
    vmx(&user.at("vm"), "mixed", &["good.vmdk", "bad.vmdk"]);
    says(&user.run(&["vm", "--to", "out"]).ends(9), "bad.vmdk");
    assert!(user.names("out").is_empty(), "{:?}", user.names("out"));
    std::fs::write(&bad, whole).unwrap();
    let record = user.run(&["vm", "--to", "out", "-o", "json"]).ends(0).json();
    assert_eq!(record["reused_bytes"], good.len());
    holds(&user.at("out/mixed-disk0.qcow2"), "qcow2", &good);
    holds(&user.at("out/mixed-disk1.qcow2"), "qcow2", &bytes);
    assert_eq!(user.all_names("out").len(), 4);
}

#[test]
fn a_file_that_may_not_grow_is_an_error_not_a_death() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(3 * MIB, 4));
    for format in ["qcow2", "raw", "vmdk", "ova", "vhdx"] {
        let mut command = Command::new("bash");
        let program = env!("CARGO_BIN_EXE_hyper-export");
        let line = format!("ulimit -f 1024; exec {program} disk.raw -f {format} --to out");
        command.args(["-c", &line]).env_clear().env("HOME", user.at("")).env("PATH", "/usr/bin");
        let done = finish(command.current_dir(user.at(""))).ends(1);
        says(&done, "out/");
        assert!(done.err.contains("ulimit -f"), "{}", done.err);
        assert!(user.all_names("out").is_empty(), "{format}: {:?}", user.all_names("out"));
    }
}

#[test]
fn a_full_disk_leaves_nothing_under_a_final_name() {
    // A small file system of its own, in a mount namespace; where the system allows no namespace,
    // the limit on files above stands for it.
    let own = Command::new("unshare").args(["-rm", "true"]).output();
    if !own.is_ok_and(|output| output.status.success()) {
        // Not by a macro: those are hidden for tests that pass.
        let note = "skipped: a full disk (unshare -rm is refused here)";
        writeln!(std::io::stderr(), "{note}").unwrap();
        return;
    }
    let user = User::new();
    let bytes = noise(3 * MIB, 5);
    raw(&user.at("disk.raw"), &bytes);
    std::fs::create_dir(user.at("small")).unwrap();
    for format in ["qcow2", "raw", "ova"] {
        let line = format!(
            "mount -t tmpfs -o size=2m none small && \
             {} disk.raw -f {format} --to small; s=$?; ls -A small; exit $s",
            env!("CARGO_BIN_EXE_hyper-export")
        );
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &line]).env_clear().env("HOME", user.at(""));
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let done = finish(command.current_dir(user.at(""))).ends(1);
        says(&done, "small/disk");
        assert!(done.err.contains("free some space"), "{}", done.err);
        assert_eq!(done.text(), "", "{format}");
    }
}

#[test]
fn files_that_a_machine_names_and_that_cannot_be_read_are_named() {
    let user = User::new();
    vmx(&user.at("vm"), "gone", &["none.vmdk"]);
    let done = user.run(&["vm", "--to", "out"]).ends(5);
    says(&done, "none.vmdk");
    std::fs::create_dir(user.at("vm/none.vmdk")).unwrap();
    let done = user.run(&["vm", "--to", "out"]);
    assert!(done.status.is_some_and(|status| status != 0 && status != 70), "{}", done.err);
    says(&done, "none.vmdk");
    std::fs::remove_dir(user.at("vm/none.vmdk")).unwrap();
    // A FIFO that nobody writes to must not be waited for.
    assert!(Command::new("mkfifo").arg(user.at("vm/none.vmdk")).status().unwrap().success());
    let done = user.run(&["vm", "--to", "out"]);
    assert!(done.status.is_some_and(|status| status != 0 && status != 70), "{}", done.err);
    says(&done, "none.vmdk");
    assert!(user.all_names("out").is_empty());
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let user = User::new();
    raw(&user.at("disk.raw"), &content(MIB, 6));
    // Not even root makes files here.
    let done = user.run(&["disk.raw", "--to", "/sys/kernel"]);
    assert!(matches!(done.status, Some(1 | 4)), "{:?} {}", done.status, done.err);
    says(&done, "/sys/kernel");
    let done = user.run(&["disk.raw", "--to", "disk.raw/below"]);
    assert!(done.status.is_some_and(|status| status != 0 && status != 70));
    says(&done, "disk.raw/below");
    let mut command = user.command(&["disk.raw", "--to", "out"]);
    let done = finish(command.env("HYPER_STATE_DIR", "/sys/kernel/hyper"));
    assert!(matches!(done.status, Some(1 | 4)), "{:?} {}", done.status, done.err);
    says(&done, "/sys/kernel/hyper");
    assert!(done.err.contains("HYPER_STATE_DIR"), "{}", done.err);
    assert!(!user.at("out").exists(), "nothing is begun that cannot be told of");
}

#[test]
fn one_name_that_is_taken_stops_the_run_before_a_byte_is_written() {
    let user = User::new();
    machine(&user.at("vm"), "taken", &[MIB, MIB]);
    for name in ["taken-disk1.qcow2", "taken.xml", "taken.machine.json"] {
        std::fs::create_dir_all(user.at("out")).unwrap();
        std::fs::write(user.at("out").join(name), "mine").unwrap();
        let done = user.run(&["vm", "--to", "out"]).ends(6);
        says(&done, name);
        assert_eq!(user.all_names("out"), [name]);
        assert_eq!(std::fs::read(user.at("out").join(name)).unwrap(), b"mine");
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
    // A link that leads nowhere is a name, too.
    std::fs::create_dir_all(user.at("out")).unwrap();
    std::os::unix::fs::symlink("/nowhere", user.at("out/taken-disk0.qcow2")).unwrap();
    says(&user.run(&["vm", "--to", "out"]).ends(6), "taken-disk0.qcow2");
}

#[test]
fn the_manifest_name_is_looked_at_beforehand_too() {
    let user = User::new();
    raw(&user.at("disk.raw"), &content(MIB, 7));
    std::fs::create_dir(user.at("out")).unwrap();
    std::fs::write(user.at("out/disk.artifact-manifest.json"), "mine").unwrap();
    let done = user.run(&["disk.raw", "--to", "out", "--manifest"]).ends(6);
    says(&done, "disk.artifact-manifest.json");
    assert_eq!(user.all_names("out"), ["disk.artifact-manifest.json"]);
}
