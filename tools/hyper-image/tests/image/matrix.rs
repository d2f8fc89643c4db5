//! Every format and variant that `qemu-img` writes, to every one that `hyper-image` writes. Each
//! image is compared by content with `qemu-img compare`, and by `hyper-image` itself.

use crate::place::{Place, mixed, noise};

/// A source: its name, qemu's format, and the options that it is made with.
type Source = (&'static str, &'static str, &'static [&'static str]);

const QCOW2: [Source; 8] = [
    ("v2.qcow2", "qcow2", &["-o", "compat=0.10"]),
    ("v3.qcow2", "qcow2", &[]),
    ("small.qcow2", "qcow2", &["-o", "cluster_size=4096"]),
    ("large.qcow2", "qcow2", &["-o", "cluster_size=2M"]),
    ("sub.qcow2", "qcow2", &["-o", "extended_l2=on"]),
    ("full.qcow2", "qcow2", &["-o", "preallocation=falloc"]),
    ("zlib.qcow2", "qcow2", &["-c"]),
    ("zstd.qcow2", "qcow2", &["-c", "-o", "compression_type=zstd"]),
];

const VMDK: [Source; 5] = [
    ("sparse.vmdk", "vmdk", &[]),
    ("flat.vmdk", "vmdk", &["-o", "subformat=monolithicFlat"]),
    ("split.vmdk", "vmdk", &["-o", "subformat=twoGbMaxExtentSparse"]),
    ("splitflat.vmdk", "vmdk", &["-o", "subformat=twoGbMaxExtentFlat"]),
    ("stream.vmdk", "vmdk", &["-o", "subformat=streamOptimized"]),
];

const OTHERS: [Source; 10] = [
    ("plain.raw", "raw", &[]),
    ("dynamic.vhd", "vpc", &[]),
    ("exact.vhd", "vpc", &["-o", "force_size=on"]),
    ("fixed.vhd", "vpc", &["-o", "subformat=fixed"]),
    ("exactfixed.vhd", "vpc", &["-o", "subformat=fixed,force_size=on"]),
    ("dynamic.vhdx", "vhdx", &[]),
    ("fixed.vhdx", "vhdx", &["-o", "subformat=fixed"]),
    ("large.vhdx", "vhdx", &["-o", "block_size=16M"]),
    ("dynamic.vdi", "vdi", &[]),
    ("static.vdi", "vdi", &["-o", "static=on"]),
];

/// A target: its name, qemu's format, and the flags that it is written with.
type Target = (&'static str, &'static str, &'static [&'static str]);

const TARGETS: [Target; 12] = [
    ("t.raw", "raw", &[]),
    ("t.qcow2", "qcow2", &[]),
    ("tz.qcow2", "qcow2", &["--compress", "zlib"]),
    ("ts.qcow2", "qcow2", &["--compress", "zstd"]),
    ("t.vmdk", "vmdk", &["--subformat", "streamOptimized"]),
    ("tt.vmdk", "vmdk", &["--subformat", "streamOptimizedTablesFirst"]),
    ("ts.vmdk", "vmdk", &["--subformat", "monolithicSparse"]),
    ("tf.vmdk", "vmdk", &["--subformat", "monolithicFlat"]),
    ("t.vhd", "vpc", &["--subformat", "dynamic"]),
    ("tf.vhd", "vpc", &["--subformat", "fixed"]),
    ("t.vhdx", "vhdx", &[]),
    ("t.vdi", "vdi", &[]),
];

/// The disks: an odd number of sectors with data in the last one, a tail that is not a whole
/// cluster, all noise, all zero.
fn disk(which: usize) -> Vec<u8> {
    match which {
        0 => mixed((3 << 20) + 512 * 7),
        1 => mixed((1 << 20) + (33 << 10)),
        2 => noise(11, (1 << 20) + 512),
        _ => vec![0; 2 << 20],
    }
}

impl Place {
    /// Writes `disk` as `source` with qemu-img.
    fn source(&self, disk: &[u8], (name, format, options): Source) {
        self.write("disk", disk);
        self.qemu(&[&["convert", "-f", "raw", "-O", format], options, &["disk", name]].concat());
    }

    /// Converts `name` to `target`, and has the result judged by all.
    fn judge(&self, name: &str, format: &str, (target, kind, flags): Target) {
        let shown = format!("{name} to {target}");
        let args = [&["convert", name, target, "--verify", "--overwrite"], flags].concat();
        let done = self.json(&args);
        assert_eq!(done.status, 0, "{shown}: {}", done.err);
        assert_eq!(done.json()["verified"], true, "{shown}");
        self.same([format, kind], [name, target]);
        let checked = self.json(&["verify", target]);
        assert_eq!((checked.status, &checked.json()["status"]), (0, &"ok".into()), "{shown}");
    }

    /// Every target from one source for the first disk, and one target for the others.
    fn all(&self, sources: &[Source]) {
        for (index, source) in sources.iter().enumerate() {
            let (name, format, _) = *source;
            self.source(&disk(0), *source);
            for target in TARGETS {
                self.judge(name, format, target);
            }
            let last = TARGETS[index % TARGETS.len()].0;
            self.run(&["compare", name, last]).ends(0);
            for which in 1..4 {
                self.source(&disk(which), *source);
                self.judge(name, format, TARGETS[(3 * index + which) % TARGETS.len()]);
            }
        }
    }
}

#[test]
fn qcow2_of_all_kinds_to_everything() {
    Place::new().all(&QCOW2);
}

#[test]
fn vmdk_of_all_kinds_to_everything() {
    Place::new().all(&VMDK);
}

#[test]
fn vhd_vhdx_vdi_and_raw_of_all_kinds_to_everything() {
    Place::new().all(&OTHERS);
}

#[test]
fn every_disk_to_everything_and_back_again() {
    let place = Place::new();
    for which in 0..4 {
        place.write("disk.raw", &disk(which));
        for target in TARGETS {
            place.judge("disk.raw", "raw", target);
            let back = ["convert", target.0, "back.raw", "--overwrite"];
            place.run(&back).ends(0);
            let back = place.read("back.raw");
            assert!(back.starts_with(&disk(which)), "{which}: {}", target.0);
            assert!(back[disk(which).len()..].iter().all(|byte| *byte == 0), "{}", target.0);
        }
    }
}

#[test]
fn images_that_differ_are_told_apart() {
    let place = Place::new();
    let mut bytes = disk(0);
    place.write("a.raw", &bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    place.write("b.raw", &bytes);
    place.run(&["convert", "b.raw", "b.vhdx"]).ends(0);
    let told = place.json(&["compare", "a.raw", "b.vhdx"]).ends(9);
    assert_eq!(told.json()["first_difference"], last);
    assert_eq!(place.try_qemu(&["compare", "-f", "raw", "a.raw", "b.vhdx"]).status, 1);
}

/// Bytes of each piece of data on a huge disk.
const PIECE: u64 = 200 << 10;

/// Where the pieces lie on a disk of `size` bytes: at its start, in its middle, at its very end.
fn pieces(size: u64) -> [u64; 3] {
    [0, size / 2 / 512 * 512, size - PIECE]
}

/// A piece of an image as qemu's tools see a file.
fn window(name: &str, kind: &str, at: u64) -> String {
    let file = format!("file.driver={kind},file.file.driver=file,file.file.filename={name}");
    format!("driver=raw,offset={at},size={PIECE},{file}")
}

/// A qcow2 image of `size` with a little data.
fn huge(place: &Place, name: &str, size: u64) {
    place.write("piece", &mixed(PIECE as usize));
    place.qemu(&["create", "-q", "-f", "qcow2", name, &size.to_string()]);
    for at in pieces(size) {
        let target = window(name, "qcow2", at);
        place.qemu(&["convert", "-n", "-f", "raw", "piece", "--target-image-opts", &target]);
    }
}

impl Place {
    /// As [`Place::judge`]; qemu-img, which would look at each block of the disk by itself, only
    /// compares where data is.
    fn judge_huge(&self, name: &str, size: u64, (target, kind, flags): Target) {
        let args = [&["convert", name, target, "--verify"], flags].concat();
        let done = self.json(&args).ends(0).json();
        assert_eq!((&done["verified"], &done["capacity_bytes"]), (&true.into(), &size.into()));
        assert_eq!(done["data_bytes"].as_u64().unwrap() / (1 << 20), 0, "{target}");
        self.run(&["compare", name, target]).ends(0);
        assert_eq!(self.info(target)["virtual-size"], size, "{target}");
        for at in pieces(size) {
            let (piece, read) = (self.read("piece"), window(target, kind, at));
            self.qemu(&["convert", "--image-opts", &read, "-O", "raw", "read"]);
            assert!(self.read("read") == piece, "{target} at {at}");
        }
        std::fs::remove_file(self.at(target)).unwrap();
    }
}

#[test]
fn a_sparse_disk_of_62_tib_to_what_can_hold_it() {
    let place = Place::new();
    let size = 62 << 40;
    huge(&place, "big.qcow2", size);
    for target in TARGETS {
        let (name, _, flags) = target;
        match name {
            "t.qcow2" | "tz.qcow2" | "ts.qcow2" | "t.vhdx" | "t.vdi" => {
                place.judge_huge("big.qcow2", size, target);
            }
            "t.vhd" | "tf.vhd" => {
                let done = place.run(&[&["convert", "big.qcow2", name], flags].concat()).ends(7);
                assert!(done.err.contains("holds at most"), "{}", done.err);
            }
            _ => {}
        }
    }
    assert_eq!(place.files(), ["big.qcow2", "piece", "read"]);
}

#[test]
fn a_vhd_holds_2040_gib_and_not_a_sector_more() {
    let place = Place::new();
    let most = 2040 << 30;
    huge(&place, "most.qcow2", most);
    place.judge_huge("most.qcow2", most, ("t.vhd", "vpc", &["--subformat", "dynamic"]));
    huge(&place, "more.qcow2", most + 512);
    let done = place.run(&["convert", "more.qcow2", "more.vhd"]).ends(7);
    assert!(done.err.contains("holds at most"), "{}", done.err);
    place.run(&["convert", "more.qcow2", "more.vhd", "--dry-run"]).ends(7);
    assert!(!place.at("more.vhd").exists());
}
