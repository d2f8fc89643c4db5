//! Each flag does what it says: the test of `--x` fails where `--x` is not obeyed.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::disks::{MIB, content, digest, holds, image, info, machine, noise, ova};
use crate::disks::{qemu_img, raw, soft, stream_vmdk, vmx};
use crate::user::{Done, User};

/// A bare image `disk.raw` of 2 MiB.
fn one_disk() -> (User, Vec<u8>) {
    let user = User::new();
    let bytes = content(2 * MIB, 1);
    raw(&user.at("disk.raw"), &bytes);
    (user, bytes)
}

#[track_caller]
fn first_line(done: &Done) -> &str {
    done.err.lines().next().unwrap_or_default()
}

#[test]
fn flag_vm_file() {
    let (user, bytes) = one_disk();
    raw(&user.at("other.raw"), &bytes);
    std::fs::write(user.at("list"), "# two of them\n\ndisk.raw\n  local:other.raw \n").unwrap();
    user.run(&["--vm-file", "list", "--to", "out"]).ends(0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
    holds(&user.at("out/other-disk0.qcow2"), "qcow2", &bytes);
    assert!(user.run(&["--vm-file", "none", "--to", "out"]).ends(5).err.contains("none"));
}

#[test]
fn flag_format_and_flag_to() {
    let (user, bytes) = one_disk();
    user.run(&["disk.raw", "--format", "vhdx", "--to", "out"]).ends(0);
    holds(&user.at("out/disk-disk0.vhdx"), "vhdx", &bytes);
    user.run(&["disk.raw", "--format", "vdi", "--to", "deep/er/x.vdi"]).ends(0);
    holds(&user.at("deep/er/x.vdi"), "vdi", &bytes);
}

#[test]
fn flag_disk_and_flag_exclude_disk() {
    let user = User::new();
    let all = machine(&user.at("vm"), "three", &[MIB, MIB, 2 * MIB]);
    user.run(&["vm", "--disk", "disk1", "--to", "one"]).ends(0);
    assert_eq!(user.names("one"), ["three-disk0.qcow2", "three.machine.json", "three.xml"]);
    holds(&user.at("one/three-disk0.qcow2"), "qcow2", &all[1]);
    let done = user.run(&["vm", "--exclude-disk", "0,d1.vmdk", "--to", "two"]).ends(0);
    assert!(done.err.contains("2 of 3 disks were left out"), "{}", done.err);
    holds(&user.at("two/three-disk0.qcow2"), "qcow2", &all[2]);
    assert!(!user.at("two/three-disk1.qcow2").exists());
    let none = user.run(&["vm", "--disk", "disk7", "--to", "no"]).ends(5);
    assert!(none.err.contains("disk7") && none.err.contains("d2.vmdk"), "{}", none.err);
}

#[test]
fn flag_package_compress_and_flag_spool() {
    let user = User::new();
    let bytes = content(2 * MIB, 4);
    let all = machine(&user.at("vm"), "packed", &[2 * MIB]);
    let line = ["vm", "--format", "ova", "--package-compress", "gzip:9", "--to", "out"];
    let refused = user.run(&line).ends(7);
    assert!(refused.err.contains("--spool"), "{}", refused.err);
    user.run(&[&line[..], &["--spool", "spool"]].concat()).ends(0);
    assert_eq!(user.names("out"), ["packed.ova.gz"]);
    assert!(user.all_names("spool").is_empty(), "{:?}", user.all_names("spool"));
    let head = std::fs::read(user.at("out/packed.ova.gz")).unwrap();
    assert_eq!(head[..2], [0x1F, 0x8B]);
    user.run(&["out/packed.ova.gz", "--spool", ".", "--format", "ova", "--to", "back"]).ends(0);
    user.run(&["back/packed.ova", "--to", "disks"]).ends(0);
    holds(&user.at("disks/packed-disk0.qcow2"), "qcow2", &all[0]);
    user.run(&["out/packed.ova.gz", "--spool", ".", "--to", "at-once"]).ends(0);
    holds(&user.at("at-once/packed-disk0.qcow2"), "qcow2", &all[0]);
    // What passes through has known sizes: no spool.
    ova(&user.at("whole.ova"), "whole", &[&bytes]);
    user.run(&["whole.ova", "-f", "ova", "--package-compress", "zstd", "--to", "out"]).ends(0);
    let head = std::fs::read(user.at("out/whole.ova.zst")).unwrap();
    assert_eq!(head[..4], [0x28, 0xB5, 0x2F, 0xFD]);
}

#[test]
fn flag_manifest() {
    let (user, _) = one_disk();
    user.run(&["disk.raw", "--manifest", "--to", "out"]).ends(0);
    let text = std::fs::read(user.at("out/disk.artifact-manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let disk = &manifest["disks"][0];
    let sum = digest("sha256sum", &user.at("out/disk-disk0.qcow2"));
    assert!(disk["checksum"].as_str().unwrap().ends_with(&sum), "{manifest}");
}

/// The most disks that were at work at the same time.
fn most_at_once(done: &Done) -> usize {
    let lines = done.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some(line["disks"].as_array()?.len())).max().unwrap_or(0)
}

#[test]
fn flag_jobs() {
    let user = User::new();
    for number in 0..3 {
        raw(&user.at(&format!("d{number}.raw")), &noise(MIB, number));
    }
    let line = ["d0.raw", "d1.raw", "d2.raw", "--progress", "json", "--limit-rate", "1500K"];
    let three = user.run(&[&line[..], &["--jobs", "3", "--to", "a"]].concat()).ends(0);
    assert_eq!(most_at_once(&three), 3);
    let one = user.run(&[&line[..], &["--jobs", "1", "--to", "b"]].concat()).ends(0);
    assert_eq!(most_at_once(&one), 1);
}

#[test]
fn flag_compress() {
    let (user, bytes) = one_disk();
    for (method, kind) in [("zlib", "zlib"), ("zstd:9", "zstd")] {
        user.run(&["disk.raw", "--compress", method, "--to", kind]).ends(0);
        let path = user.at(&format!("{kind}/disk-disk0.qcow2"));
        holds(&path, "qcow2", &bytes);
        let found = qemu_img(&["check", "--output=json", path.to_str().unwrap()]);
        let found: Value = serde_json::from_str(&found).unwrap();
        assert!(found["compressed-clusters"].as_u64().unwrap() > 0, "{found}");
        assert_eq!(info(&path)["format-specific"]["data"]["compression-type"], kind);
    }
    let refused = user.run(&["disk.raw", "--compress", "zstd", "-f", "raw", "--to", "x"]);
    assert!(refused.ends(7).err.contains("raw has no clusters"));
}

#[test]
fn flag_subformat() {
    let (user, bytes) = one_disk();
    for kind in ["streamOptimized", "monolithicSparse", "monolithicFlat"] {
        user.run(&["disk.raw", "-f", "vmdk", "--subformat", kind, "--to", kind]).ends(0);
        let path = user.at(&format!("{kind}/disk-disk0.vmdk"));
        holds(&path, "vmdk", &bytes);
        assert_eq!(info(&path)["format-specific"]["data"]["create-type"], kind);
    }
    for (kind, most) in [("fixed", 3 * MIB), ("dynamic", 3 * MIB)] {
        user.run(&["disk.raw", "-f", "vhd", "--subformat", kind, "--to", kind]).ends(0);
        let path = user.at(&format!("{kind}/disk-disk0.vhd"));
        let len = std::fs::metadata(&path).unwrap().len() as usize;
        assert!(len > bytes.len() && len < most);
        let starts = std::fs::read(&path).unwrap().starts_with(b"conectix");
        assert_eq!(starts, kind == "dynamic");
    }
    user.run(&["disk.raw", "--subformat", "fixed", "--to", "x"]).ends(2);
}

#[test]
fn flag_checksum() {
    let (user, _) = one_disk();
    for kind in ["sha1", "sha256"] {
        let line = ["disk.raw", "--checksum", kind, "--to", kind, "-o", "json"];
        let record = user.run(&line).ends(0).json();
        let sum = digest(&format!("{kind}sum"), &user.at(&format!("{kind}/disk-disk0.qcow2")));
        assert_eq!(record["artifacts"][0]["checksum"], format!("{kind}:{sum}"));
    }
}

#[test]
fn flag_verify_and_flag_output() {
    let (user, bytes) = one_disk();
    let without = user.run(&["disk.raw", "--to", "a", "--output", "json"]).ends(0).json();
    assert_eq!(without["schema"], "hyper.export/v1");
    assert_eq!(without["verified"], false);
    let with = user.run(&["disk.raw", "--to", "b", "--verify", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&with["verified"], &with["artifacts"][0]["verified"]),
        (&true.into(), &true.into())
    );
    holds(&user.at("b/disk-disk0.qcow2"), "qcow2", &bytes);
}

#[test]
fn flag_trust_source_and_flag_recompress() {
    let user = User::new();
    let bytes = soft(2 * MIB, 7);
    let path = stream_vmdk(&user.at("disk.vmdk"), &bytes);
    user.run(&["disk.vmdk", "--compress", "zlib", "--to", "good", "--trust-source"]).ends(0);
    holds(&user.at("good/disk-disk0.qcow2"), "qcow2", &bytes);
    // The same stream, passed through and not.
    user.run(&["disk.vmdk", "-f", "vmdk", "--to", "same"]).ends(0);
    user.run(&["disk.vmdk", "-f", "vmdk", "--to", "anew", "--recompress"]).ends(0);
    let whole = std::fs::read(&path).unwrap();
    assert!(whole == std::fs::read(user.at("same/disk-disk0.vmdk")).unwrap());
    assert!(whole != std::fs::read(user.at("anew/disk-disk0.vmdk")).unwrap());
    holds(&user.at("anew/disk-disk0.vmdk"), "vmdk", &bytes);
    damage_grain(&path);
    let refused = user.run(&["disk.vmdk", "--compress", "zlib", "--to", "checked"]).ends(9);
    assert!(refused.err.contains("disk.vmdk"), "{}", refused.err);
    assert!(user.all_names("checked").is_empty(), "{:?}", user.all_names("checked"));
    user.run(&["disk.vmdk", "--compress", "zlib", "--to", "trusted", "--trust-source"]).ends(0);
    user.run(&["disk.vmdk", "--trust-source", "--recompress", "--to", "x"]).ends(2);
}

/// Flips a byte in the compressed data of the first grain, whose sector follows the header area.
pub fn damage_grain(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    // The grain marker: LBA 0, a size of tens of KiB; its data follows after 12 bytes.
    let overhead = u64::from_le_bytes(bytes[64..72].try_into().unwrap()) as usize * 512;
    bytes[overhead + 12 + 1000] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn flag_overwrite() {
    let (user, bytes) = one_disk();
    std::fs::create_dir(user.at("out")).unwrap();
    std::fs::write(user.at("out/disk-disk0.qcow2"), "mine").unwrap();
    let refused = user.run(&["disk.raw", "--to", "out"]).ends(6);
    assert!(first_line(&refused).contains("out/disk-disk0.qcow2"), "{}", refused.err);
    assert_eq!(std::fs::read(user.at("out/disk-disk0.qcow2")).unwrap(), b"mine");
    assert_eq!(user.all_names("out"), ["disk-disk0.qcow2"], "nothing beside it");
    user.run(&["disk.raw", "--to", "out", "--overwrite"]).ends(0);
    holds(&user.at("out/disk-disk0.qcow2"), "qcow2", &bytes);
}

#[test]
fn flag_limit_rate() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(3 * MIB, 9));
    let began = Instant::now();
    user.run(&["disk.raw", "--limit-rate", "2Mi", "--to", "out"]).ends(0);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1300), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn flag_allow_path() {
    let user = User::new();
    let bytes = content(MIB, 5);
    std::fs::create_dir(user.at("store")).unwrap();
    let disk = image(&user.at("store/d.vmdk"), "vmdk", "", &bytes);
    vmx(&user.at("vm"), "far", &[disk.to_str().unwrap()]);
    let refused = user.run(&["vm", "--to", "out"]);
    assert_ne!(refused.status, Some(0));
    assert!(refused.err.contains("--allow-path"), "{}", refused.err);
    assert!(user.all_names("out").is_empty());
    user.run(&["vm", "--to", "out", "--allow-path", "store"]).ends(0);
    holds(&user.at("out/far-disk0.qcow2"), "qcow2", &bytes);
}

#[test]
fn flag_from_format() {
    let user = User::new();
    image(&user.at("disk.img"), "qcow2", "", &content(MIB, 6));
    let bytes = std::fs::read(user.at("disk.img")).unwrap();
    user.run(&["disk.img", "--from-format", "raw", "-f", "raw", "--to", "out"]).ends(0);
    assert!(std::fs::read(user.at("out/disk-disk0.raw")).unwrap() == bytes, "byte for byte");
}

#[test]
fn flag_context() {
    let (user, bytes) = one_disk();
    let config = user.at(".config/hyper/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let lab = user.at("lab");
    raw(&lab.join("inner.raw"), &bytes);
    let text = format!("contexts:\n  deep:\n    provider: local\n    path: {}\n", lab.display());
    std::fs::write(config, text).unwrap();
    user.run(&["inner", "--context", "deep", "--to", "out"]).ends(0);
    holds(&user.at("out/inner-disk0.qcow2"), "qcow2", &bytes);
    let wrong = user.run(&["inner", "--context", "depe", "--to", "out"]).ends(5);
    assert!(wrong.err.contains("deep"), "{}", wrong.err);
}

#[test]
fn flag_dry_run() {
    let (user, _) = one_disk();
    let done = user.run(&["disk.raw", "--dry-run", "--to", "out", "-o", "ndjson"]).ends(0);
    let records = done.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["path"], "out/disk-disk0.qcow2");
    assert_eq!(records[0]["method"], "convert");
    assert!(!user.at("out").exists());
    assert!(!user.at(".local/state/hyper").exists(), "a dry run is not in the journal");
}

#[test]
fn flag_progress() {
    let (user, _) = one_disk();
    let done = user.run(&["disk.raw", "--progress", "json", "--verify", "--to", "out"]).ends(0);
    let lines: Vec<Value> =
        done.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    for event in ["disk_started", "disk_phase", "disk_ended", "end"] {
        assert!(events.contains(&event), "{event}: {events:?}");
    }
    let total = &lines.last().unwrap()["total"];
    assert_eq!(total["position_bytes"], total["capacity_bytes"], "{total}");
}

#[test]
fn flag_quiet_and_flag_verbose() {
    let user = User::new();
    machine(&user.at("vm"), "half", &[MIB]);
    let damaged = stream_vmdk(&user.at("vm/bad.vmdk"), &content(MIB, 2));
    damage_grain(&damaged);
    vmx(&user.at("vm"), "half", &["d0.vmdk", "bad.vmdk"]);
    let line = ["vm", "--to", "out"];
    user.run(&line).ends(9);
    let told = user.run(&line).ends(9);
    assert!(told.err.contains("from an earlier run"), "{}", told.err);
    let quiet = user.run(&[&line[..], &["--quiet"]].concat()).ends(9);
    assert!(!quiet.err.contains("from an earlier run"), "{}", quiet.err);
    let verbose = user.run(&[&line[..], &["--verbose"]].concat()).ends(9);
    assert!(verbose.err.contains("configuration:"), "{}", verbose.err);
}

#[test]
fn flag_timeout() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(4 * MIB, 3));
    let began = Instant::now();
    let line = ["disk.raw", "--timeout", "1s", "--limit-rate", "400K", "--to", "out"];
    let done = user.run(&line).ends(11);
    assert!(done.err.contains("--timeout"), "{}", done.err);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(user.names("out").is_empty());
}

#[test]
fn flag_namespace_and_flag_kubeconfig() {
    let (user, _) = one_disk();
    let cluster = "current-context: lab\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\n\
         contexts: [{name: lab, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n";
    std::fs::write(user.at("config"), cluster).unwrap();
    // Whoever names a kubeconfig or a namespace means a cluster, not a file.
    user.run(&["disk", "--kubeconfig", "config", "--to", "out"]).ends(8);
    std::fs::create_dir_all(user.at(".kube")).unwrap();
    std::fs::rename(user.at("config"), user.at(".kube/config")).unwrap();
    user.run(&["disk", "-n", "prod", "--to", "out"]).ends(8);
    user.run(&["disk", "--to", "out"]).ends(0);
}
