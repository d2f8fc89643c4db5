//! Standard output as the target, and targets that cannot be.

use std::io::Read;
use std::process::Stdio;

use crate::disks::{MIB, content, holds, machine, noise, ova, raw, untar};
use crate::user::User;

#[test]
fn disks_go_into_pipes() {
    let user = User::new();
    let bytes = content(2 * MIB, 31);
    raw(&user.at("disk.raw"), &bytes);
    for (format, flags, judged) in
        [("raw", &[][..], "raw"), ("vmdk", &[], "vmdk"), ("vhd", &["--subformat", "fixed"], "vpc")]
    {
        let line = ["disk.raw", "-f", format, "--to", "-", "-o", "json"];
        let done = user.run(&[&line[..], flags].concat()).ends(0);
        std::fs::write(user.at("piped"), &done.out).unwrap();
        holds(&user.at("piped"), judged, &bytes);
        let record: serde_json::Value = serde_json::from_str(&done.err).unwrap();
        assert_eq!(record["artifacts"][0]["size_bytes"], done.out.len());
    }
    for format in ["qcow2", "vhdx", "vdi"] {
        let done = user.run(&["disk.raw", "-f", format, "--to", "-"]).ends(7);
        assert!(done.out.is_empty() && done.err.contains("pipe"), "{}", done.err);
    }
    user.run(&["disk.raw", "-f", "raw", "--to", "-", "--verify"]).ends(2);
    assert_eq!(user.names(""), ["disk.raw", "piped"], "nothing else was written");
}

#[test]
fn packages_go_into_pipes_where_their_sizes_are_known() {
    let user = User::new();
    let bytes = content(2 * MIB, 32);
    ova(&user.at("known.ova"), "known", &[&bytes]);
    let done = user.run(&["known.ova", "-f", "ova", "--to", "-"]).ends(0);
    std::fs::write(user.at("piped.ova"), &done.out).unwrap();
    let folder = untar(&user.at("piped.ova"));
    holds(&folder.path().join("known-disk0.vmdk"), "vmdk", &bytes);
    let disks = machine(&user.at("vm"), "unknown", &[MIB]);
    let refused = user.run(&["vm", "-f", "ova", "--to", "-"]).ends(7);
    assert!(refused.out.is_empty() && refused.err.contains("--spool"), "{}", refused.err);
    let done = user.run(&["vm", "-f", "ova", "--to", "-", "--spool", "spool"]).ends(0);
    std::fs::write(user.at("piped.ova"), &done.out).unwrap();
    let folder = untar(&user.at("piped.ova"));
    holds(&folder.path().join("unknown-disk0.vmdk"), "vmdk", &disks[0]);
    assert!(user.all_names("spool").is_empty(), "{:?}", user.all_names("spool"));
}

#[test]
fn a_reader_that_leaves_early_is_a_failed_run() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(4 * MIB, 33));
    let mut command = user.command(&["disk.raw", "-f", "raw", "--to", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut start = vec![0; 1000];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut start).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{err}");
    assert!(err.contains("reader closed the pipe early"), "{err}");
    assert_eq!(err.lines().count(), 2, "one line and a hint: {err}");
    let runs = user.tool("hyper-history", &["runs", "list", "-o", "json"]).ends(0).json();
    assert_eq!(runs["items"][0]["outcome"], "failed");
}
