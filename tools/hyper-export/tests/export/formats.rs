//! Every kind of source into every kind of target, judged by qemu-img, tar and the digest programs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::disks::{MIB, content, digest, holds, image, machine, ova, ovf, raw, untar, vmx};
use crate::user::{User, finish};

/// Formats of `--format`, the flags with them, and qemu's name.
const IMAGES: [(&str, &[&str], &str); 10] = [
    ("qcow2", &[], "qcow2"),
    ("qcow2", &["--compress", "zlib"], "qcow2"),
    ("qcow2", &["--compress", "zstd"], "qcow2"),
    ("raw", &[], "raw"),
    ("vmdk", &[], "vmdk"),
    ("vmdk", &["--subformat", "monolithicSparse"], "vmdk"),
    ("vhd", &[], "vpc"),
    ("vhd", &["--subformat", "fixed"], "vpc"),
    ("vhdx", &[], "vhdx"),
    ("vdi", &[], "vdi"),
];

#[test]
fn a_machine_of_two_disks_becomes_every_format() {
    let user = User::new();
    let disks = machine(&user.at("vm"), "two", &[2 * MIB, MIB + 4096]);
    for (number, (format, flags, judged)) in IMAGES.iter().enumerate() {
        let to = format!("out{number}");
        let line = ["vm", "--verify", "-f", format, "--to", &to, "-o", "json"];
        let record = user.run(&[&line[..], flags].concat()).ends(0).json();
        assert_eq!(record["verified"], true);
        for (disk, bytes) in disks.iter().enumerate() {
            let path = user.at(&format!("{to}/two-disk{disk}.{format}"));
            holds(&path, judged, bytes);
            let size = std::fs::metadata(&path).unwrap().len();
            assert_eq!(record["artifacts"][disk]["size_bytes"], size, "{record}");
        }
        let left: Vec<_> = user.all_names(&to);
        assert_eq!(left.len(), 4, "{left:?}");
    }
}

/// The files of a package are whole: descriptor first, checksums right, disks equal.
#[track_caller]
fn package_holds(folder: &Path, name: &str, disks: &[Vec<u8>]) {
    for (number, bytes) in disks.iter().enumerate() {
        holds(&folder.join(format!("{name}-disk{number}.vmdk")), "vmdk", bytes);
    }
    let sums = std::fs::read_to_string(folder.join(format!("{name}.mf"))).unwrap();
    assert_eq!(sums.lines().count(), disks.len() + 1, "{sums}");
    for line in sums.lines() {
        let (file, sum) = line.strip_prefix("SHA256(").unwrap().split_once(")= ").unwrap();
        assert_eq!(sum, digest("sha256sum", &folder.join(file)), "{file}");
    }
    let text = std::fs::read_to_string(folder.join(format!("{name}.ovf"))).unwrap();
    for number in 0..disks.len() {
        let size = std::fs::metadata(folder.join(format!("{name}-disk{number}.vmdk"))).unwrap();
        assert!(text.contains(&format!("ovf:size=\"{}\"", size.len())), "{text}");
    }
}

#[test]
fn a_machine_becomes_packages_and_comes_back() {
    let user = User::new();
    let disks = machine(&user.at("vm"), "pack", &[2 * MIB, MIB]);
    user.run(&["vm", "-f", "ovf", "--to", "ovf", "--verify"]).ends(0);
    package_holds(&user.at("ovf"), "pack", &disks);
    let line = ["vm", "-f", "ova", "--to", "out/my.ova", "--verify", "-o", "json"];
    let record = user.run(&line).ends(0).json();
    let path = user.at("out/my.ova");
    assert_eq!(record["written_bytes"], std::fs::metadata(&path).unwrap().len());
    let list = Command::new("tar").arg("-tf").arg(&path).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert_eq!(
        list.lines().collect::<Vec<_>>(),
        ["my.ovf", "my-disk0.vmdk", "my-disk1.vmdk", "my.mf"]
    );
    package_holds(untar(&path).path(), "my", &disks);
    for source in ["ovf", "out/my.ova"] {
        let to = format!("back-{}", source.len());
        user.run(&[source, "--to", &to]).ends(0);
        for (number, bytes) in disks.iter().enumerate() {
            holds(&user.at(&format!("{to}/pack-disk{number}.qcow2")), "qcow2", bytes);
        }
    }
}

#[test]
fn packages_of_others_and_their_streams_are_read_and_passed_on() {
    let user = User::new();
    let (one, two) = (content(2 * MIB, 11), content(MIB, 12));
    ovf(&user.at("folder"), "other", &[&one, &two]);
    ova(&user.at("other.ova"), "other", &[&one, &two]);
    for (number, source) in ["folder", "folder/other.ovf", "other.ova"].iter().enumerate() {
        let to = format!("out{number}");
        user.run(&[source, "--compress", "zlib", "--to", &to, "--verify"]).ends(0);
        holds(&user.at(&format!("{to}/other-disk0.qcow2")), "qcow2", &one);
        holds(&user.at(&format!("{to}/other-disk1.qcow2")), "qcow2", &two);
    }
    let plan = user.run(&["other.ova", "-f", "ova", "--dry-run", "-o", "ndjson"]).ends(0);
    assert!(plan.records().iter().all(|file| file["method"] == "copy"), "{}", plan.text());
    user.run(&["other.ova", "-f", "ova", "--to", "again", "--verify"]).ends(0);
    let folder = untar(&user.at("again/other.ova"));
    package_holds(folder.path(), "other", &[one, two]);
    let was = digest("sha256sum", &untar(&user.at("other.ova")).path().join("other-0.vmdk"));
    assert_eq!(was, digest("sha256sum", &folder.path().join("other-disk0.vmdk")), "moved whole");
}

#[test]
fn bare_images_and_domains_are_machines_too() {
    let user = User::new();
    let bytes = content(2 * MIB, 21);
    for (format, suffix) in [("qcow2", "qcow2"), ("vpc", "vhd"), ("vhdx", "vhdx"), ("vdi", "vdi")] {
        let name = format!("bare.{suffix}");
        image(&user.at(&name), format, "", &bytes);
        user.run(&[&name, "-f", "raw", "--to", suffix]).ends(0);
        let written = std::fs::read(user.at(&format!("{suffix}/bare-disk0.raw"))).unwrap();
        assert!(written[..bytes.len()] == bytes && written[bytes.len()..].iter().all(|b| *b == 0));
    }
    let disk = user.at("bare.qcow2");
    let xml = format!(
        "<domain type='kvm'><name>dom</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>\
         <os><type arch='x86_64'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
        disk.display()
    );
    std::fs::write(user.at("dom.xml"), xml).unwrap();
    user.run(&["dom.xml", "--to", "dom"]).ends(0);
    holds(&user.at("dom/dom-disk0.qcow2"), "qcow2", &bytes);
    // What was written is a machine again.
    user.run(&["dom/dom.xml", "-f", "vdi", "--to", "again"]).ends(0);
    holds(&user.at("again/dom-disk0.vdi"), "vdi", &bytes);
}

#[test]
fn firmware_variables_are_carried_over() {
    let user = User::new();
    machine(&user.at("vm"), "uefi", &[MIB]);
    let mut text = std::fs::read_to_string(user.at("vm/machine.vmx")).unwrap();
    text.push_str("firmware = \"efi\"\nnvram = \"vars.nvram\"\n");
    std::fs::write(user.at("vm/machine.vmx"), text).unwrap();
    std::fs::write(user.at("vm/vars.nvram"), b"the variables").unwrap();
    user.run(&["vm", "--to", "disks"]).ends(0);
    assert_eq!(std::fs::read(user.at("disks/uefi.nvram")).unwrap(), b"the variables");
    let text = std::fs::read(user.at("disks/uefi.machine.json")).unwrap();
    let described: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(described["firmware"]["nvram_file"], "uefi.nvram", "{described}");
    user.run(&["vm", "-f", "ova", "--to", "ova"]).ends(0);
    user.run(&["ova/uefi.ova", "-f", "ovf", "--to", "ovf"]).ends(0);
    assert_eq!(std::fs::read(user.at("ovf/uefi.nvram")).unwrap(), b"the variables");
}

#[test]
fn odd_names_stay_names() {
    let user = User::new();
    let name = "../we b/01 Ää & <x> $(touch gone) 'q' %41";
    let disks = machine(&user.at("vm"), name, &[MIB]);
    user.run(&["vm", "--to", "out"]).ends(0);
    let names = user.all_names("out");
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(!user.at("we b").exists() && !user.at("gone").exists());
    let disk = names.iter().find(|name| name.ends_with("qcow2")).unwrap();
    holds(&user.at("out").join(disk), "qcow2", &disks[0]);
    for format in ["ova", "ovf"] {
        user.run(&["vm", "-f", format, "--to", format]).ends(0);
        let back = format!("back-{format}");
        let package = user.names(format).into_iter().find(|name| name.ends_with(format)).unwrap();
        user.run(&[&format!("{format}/{package}"), "--to", &back]).ends(0);
        let names = user.names(&back);
        let disk = names.iter().find(|name| name.ends_with("qcow2")).unwrap();
        holds(&user.at(&back).join(disk), "qcow2", &disks[0]);
        let described = names.iter().find(|name| name.ends_with(".machine.json")).unwrap();
        let text = std::fs::read(user.at(&back).join(described)).unwrap();
        let described: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(described["name"], name);
    }
    let xml = names.iter().find(|name| name.ends_with(".xml")).unwrap();
    user.run(&[&format!("out/{xml}"), "--to", "again"]).ends(0);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let user = User::new();
    machine(&user.at("vm"), "same", &[3 * MIB, MIB]);
    raw(&user.at("tmp/x"), b"");
    let packages: [(&str, &[&str], &str); 3] = [
        ("ova", &[], ""),
        ("ovf", &[], ""),
        ("ova", &["--package-compress", "zstd", "--spool", "tmp"], ""),
    ];
    for (format, flags, _) in IMAGES.iter().chain(&packages) {
        let line = ["vm", "-f", format, "--to", "out", "--manifest"];
        let line = [&line[..], flags].concat();
        let mut first = user.command(&line);
        finish(first.env("SOURCE_DATE_EPOCH", "1700000000").env("TMPDIR", "/var/tmp")).ends(0);
        std::fs::rename(user.at("out"), user.at("first")).unwrap();
        let mut again = Command::new("taskset");
        again.args(["-c", "0", env!("CARGO_BIN_EXE_hyper-export")]).args(&line).env_clear();
        again.env("HOME", user.at("other")).env("SOURCE_DATE_EPOCH", "1700000000");
        finish(again.env("TMPDIR", user.at("tmp")).current_dir(user.at(""))).ends(0);
        let names = user.all_names("first");
        assert_eq!(names, user.all_names("out"), "{line:?}");
        for name in names {
            let read = |folder: &str| std::fs::read(user.at(folder).join(&name)).unwrap();
            assert!(read("first") == read("out"), "{name} of {line:?} differs");
        }
        std::fs::remove_dir_all(user.at("first")).unwrap();
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_source_is_never_changed() {
    let user = User::new();
    machine(&user.at("vm"), "kept", &[MIB]);
    let before: Vec<_> = user.all_names("vm");
    let sum = digest("sha256sum", &user.at("vm/d0.vmdk"));
    vmx(&user.at("vm"), "kept", &["d0.vmdk"]);
    user.run(&["vm", "--to", "vm", "--verify"]).ends(0);
    assert_eq!(sum, digest("sha256sum", &user.at("vm/d0.vmdk")));
    assert!(before.iter().all(|name| user.at("vm").join(name).exists()));
    // Into its own place: refused, and whole afterwards.
    user.run(&["vm/d0.vmdk", "-f", "vmdk", "--to", "vm/d0.vmdk"]).ends(6);
    assert_eq!(sum, digest("sha256sum", &user.at("vm/d0.vmdk")));
}
