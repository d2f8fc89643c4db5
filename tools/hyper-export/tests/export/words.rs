//! What a new user is told: one line with what, where and why, and hints that help.

use crate::disks::{MIB, content, machine, raw};
use crate::user::User;

/// A working folder with a disk, a folder of two machines, and a file that is no machine.
fn desk() -> User {
    let user = User::new();
    let bytes = content(MIB, 1);
    raw(&user.at("disk.raw"), &bytes);
    raw(&user.at("many/x.raw"), &bytes);
    raw(&user.at("many/y.raw"), &bytes);
    std::fs::write(user.at("note.txt"), "hello").unwrap();
    user
}

#[test]
fn mistakes_are_told_in_one_line_with_a_hint() {
    let user = desk();
    let cases: [(&[&str], i32, &str, &str); 16] = [
        (&[], 2, "no machine was named", "local:appliance.ova"),
        (&["--foramt", "raw", "disk.raw"], 2, "'--foramt'", "'--format'"),
        (&["nosuch"], 5, "nosuch: there is no such machine", "hyper vm list"),
        (&["many"], 6, "many: 2 machines could be meant", "many/y.raw"),
        (&["note.txt"], 7, "note.txt: its format cannot be told", "--from-format raw"),
        (&["disk.raw", "--format", "foo"], 2, "none of qcow2, raw, vmdk", ""),
        (&["disk.raw", "--to", "disk.raw"], 2, "ends in .qcow2", "--to NAME.qcow2"),
        (&["disk.raw", "--to", "new.vmdk"], 2, "new.vmdk: a file of --format qcow2", "--format"),
        (&["disk.raw", "-f", "ovf", "--to", "x.ovf"], 2, "is a folder", "--format ova"),
        (&["disk.raw", "--disk", "3"], 5, "3: there is no such disk", "disk0"),
        (&["disk.raw", "--exclude-disk", "0"], 5, "all of its disks are left out", ""),
        (&["disk.raw", "many/x.raw", "--to", "a.qcow2"], 2, "need a folder", "--to FOLDER"),
        (&["disk.raw", "many/x.raw", "--to", "-"], 2, "only one machine", ""),
        (&["disk.raw", "--compress", "gzip"], 2, "none of zlib, zstd", ""),
        (&["disk.raw", "--from-format", "vmdk"], 9, "disk.raw: neither a VMDK", ""),
        (&["disk.raw", "--package-compress", "gzip"], 2, "OVA", "--format ova"),
    ];
    let before = user.all_names("");
    for (line, status, what, hint) in cases {
        let done = user.run(line).ends(status);
        let mut lines = done.err.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("hyper-export: ") && first.contains(what), "{line:?} {first}");
        let rest: Vec<_> = lines.collect();
        assert!(rest.iter().all(|line| line.starts_with("hint: ")), "{line:?}: {}", done.err);
        assert!(rest.concat().contains(hint), "{line:?}: {}", done.err);
        assert!(done.out.is_empty(), "{line:?}");
    }
    let after = user.all_names("").into_iter().filter(|name| name != ".local");
    assert_eq!(after.collect::<Vec<_>>(), before, "nothing was written");
}

#[test]
fn a_program_gets_its_error_as_one_object() {
    let user = desk();
    let done = user.run(&["nosuch", "-o", "json"]).ends(5);
    let error: serde_json::Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!((&error["schema"], &error["exit_status"]), (&"hyper.error/v1".into(), &5.into()));
    assert!(error["subject"].as_str().unwrap().ends_with("nosuch"), "{error}");
}

#[test]
fn several_disks_need_a_folder_or_a_choice() {
    let user = User::new();
    machine(&user.at("vm"), "two", &[MIB, MIB]);
    for to in ["one.qcow2", "-"] {
        let done = user.run(&["vm", "-f", "qcow2", "--to", to]).ends(2);
        assert!(done.err.contains("--disk: disk0, disk1"), "{}", done.err);
    }
    user.run(&["vm", "-f", "raw", "--to", "one.img", "--disk", "disk1"]).ends(0);
    assert_eq!(user.names(""), ["one.img", "one.machine.json", "one.xml", "vm"]);
}
