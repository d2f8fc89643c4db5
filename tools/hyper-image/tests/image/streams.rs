//! Streams that move from VMDK to qcow2, and what goes through pipes.

use crate::inflate::reach;
use crate::place::{Place, mixed, noise, words};

/// Clusters of 64 KiB.
const CLUSTER: usize = 64 << 10;

fn be(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The compressed clusters of a qcow2 image, each to the end of its last sector, by the tables
/// that the qcow2 specification gives.
fn compressed_clusters(image: &[u8]) -> Vec<&[u8]> {
    let l1_len = u32::from_be_bytes(image[36..40].try_into().unwrap()) as usize;
    let l1_at = be(image, 40) as usize;
    let mut found = Vec::new();
    for index in 0..l1_len {
        let l2_at = (be(image, l1_at + 8 * index) & 0x00ff_ffff_ffff_fe00) as usize;
        for entry in 0..if l2_at == 0 { 0 } else { CLUSTER / 8 } {
            let entry = be(image, l2_at + 8 * entry);
            if entry & (1 << 62) != 0 {
                let at = (entry & ((1 << 54) - 1)) as usize;
                let sectors = ((entry >> 54) & 0xff) as usize + 1;
                let end = (at / 512 + sectors) * 512;
                found.push(&image[at..end.min(image.len())]);
            }
        }
    }
    found
}

/// The farthest that any compressed cluster looks back: a reader with a window of 4 KiB, which
/// is what the format promises, cannot read one that looks farther.
pub fn farthest(image: &[u8]) -> usize {
    let clusters = compressed_clusters(image);
    assert!(!clusters.is_empty(), "nothing is compressed");
    let reaches = clusters.iter().map(|stream| {
        let (len, farthest) = reach(stream);
        assert_eq!(len, CLUSTER);
        farthest
    });
    reaches.max().unwrap()
}

#[test]
fn grains_of_every_kind_move_checked_trusted_and_anew() {
    let place = Place::new();
    // Text, noise whose streams are longer than a cluster, zeros, and a short last grain.
    let mut disk = words(2, 5 * CLUSTER);
    disk.extend(noise(3, 3 * CLUSTER));
    disk.extend(vec![0; 2 * CLUSTER]);
    disk.extend(words(4, 10 * 512));
    place.write("a.raw", &disk);
    place.run(&["convert", "a.raw", "ours.vmdk"]).ends(0);
    let options = ["-O", "vmdk", "-o", "subformat=streamOptimized", "a.raw", "theirs.vmdk"];
    place.qemu(&[&["convert", "-f", "raw"], &options[..]].concat());
    for source in ["ours.vmdk", "theirs.vmdk"] {
        for (name, flags) in [
            ("checked.qcow2", &["--verify"][..]),
            ("trusted.qcow2", &["--trust-source"]),
            ("anew.qcow2", &["--recompress", "--verify"]),
        ] {
            let args = ["convert", source, name, "--compress", "zlib", "--overwrite"];
            place.run(&[&args, flags].concat()).ends(0);
            place.same(["raw", "qcow2"], ["a.raw", name]);
            place.qemu(&["check", "-q", name]);
            place.run(&["compare", source, name]).ends(0);
        }
        // The first grain's stream lies in the copies as it is.
        let vmdk = place.read(source);
        let first = compressed_clusters(&place.read("checked.qcow2"))[0][..600].to_vec();
        assert!(vmdk.windows(600).any(|window| window == first), "{source}: it was not moved");
        assert_eq!(place.read("checked.qcow2"), place.read("trusted.qcow2"), "{source}");
    }
}

#[test]
fn what_comes_through_a_pipe_is_what_was_in_the_file() {
    let place = Place::new();
    let disk = mixed((2 << 20) + 512 * 3);
    place.write("a.raw", &disk);
    place.run(&["convert", "a.raw", "a.vmdk"]).ends(0);
    place.run(&["convert", "a.raw", "a.vhd", "--subformat", "fixed"]).ends(0);
    let size = |name: &str| place.read(name).len().to_string();
    for (name, format) in [("a.raw", "raw"), ("a.vmdk", "vmdk"), ("a.vhd", "vhd")] {
        let mut args = vec!["convert", "-", "b.qcow2", "--overwrite", "--from-format", format];
        let size = size(name);
        if format != "vmdk" {
            args.extend(["--size", &size]);
        }
        let output = place.fed(&args, place.read(name));
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
        // A file on standard input tells how long it is.
        let mut command = place.command(&args[..6]);
        command.stdout(std::process::Stdio::null());
        command.stdin(std::fs::File::open(place.at(name)).unwrap());
        assert_eq!(command.status().unwrap().code(), Some(0), "{name}");
        place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
    }
    for (format, kind, flags) in
        [("raw", "raw", &[][..]), ("vmdk", "vmdk", &[]), ("vhd", "vpc", &["--subformat", "fixed"])]
    {
        let args = [&["convert", "a.raw", "-", "--format", format], flags].concat();
        let output = place.fed(&args, Vec::new());
        assert_eq!(output.status.code(), Some(0), "{format}");
        place.write("piped", &output.stdout);
        place.same(["raw", kind], ["a.raw", "piped"]);
        let record: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(record["schema"], "hyper.image.converted/v1", "the record goes to stderr");
    }
    for format in ["qcow2", "vhdx", "vdi"] {
        let done = place.run(&["convert", "a.raw", "-", "--format", format]).ends(7);
        assert!(done.err.contains("pipe") && done.out.is_empty(), "{}", done.err);
        let args = ["convert", "--from-format", format, "-", "x.raw"];
        let output = place.fed(&args, disk.clone());
        assert_eq!(output.status.code(), Some(7), "{format}: {output:?}");
    }
    assert!(!place.at("x.raw").exists());
}

#[test]
fn a_stream_that_breaks_off_is_named_nowhere() {
    let place = Place::new();
    place.write("a.raw", &mixed(1 << 20));
    place.run(&["convert", "a.raw", "a.vmdk"]).ends(0);
    place.run(&["convert", "a.raw", "a.vhd", "--subformat", "fixed"]).ends(0);
    let (vmdk, vhd) = (place.read("a.vmdk"), place.read("a.vhd"));
    for len in [0, 511, 512, 70_000, vmdk.len() / 2, vmdk.len() - 2000, vmdk.len() - 1] {
        for target in ["b.raw", "b.qcow2"] {
            let args = ["convert", "--from-format", "vmdk", "-", target];
            let output = place.fed(&args, vmdk[..len].to_vec());
            assert_eq!(output.status.code(), Some(9), "{len}: {output:?}");
        }
    }
    let size = vhd.len().to_string();
    let args = ["convert", "--from-format", "vhd", "--size", &size, "-", "b.raw"];
    let output = place.fed(&args, vhd[..vhd.len() / 2].to_vec());
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let named = std::fs::read_dir(place.root()).unwrap().count();
    assert_eq!(place.files(), ["a.raw", "a.vhd", "a.vmdk"]);
    assert_eq!(named, 4, "the images and the history, no partial file");
}
