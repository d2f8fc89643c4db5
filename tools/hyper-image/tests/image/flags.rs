//! A test for each flag, which fails when the flag does nothing.

use std::time::Instant;

use serde_json::Value;

use crate::place::{Place, mixed, noise, words};
use crate::streams::farthest;

/// A place with the raw disk `a.raw`.
fn place() -> Place {
    let place = Place::new();
    place.write("a.raw", &mixed(1 << 20));
    place
}

#[test]
fn flag_format() {
    let place = place();
    place.run(&["convert", "a.raw", "b.img", "--format", "qcow2"]).ends(0);
    assert_eq!(place.info("b.img")["format"], "qcow2");
    place.run(&["convert", "a.raw", "c.raw", "-f", "vhdx"]).ends(0);
    assert_eq!(place.info("c.raw")["format"], "vhdx");
    let done = place.run(&["convert", "a.raw", "d.none"]).ends(2);
    assert!(done.err.contains("--format"), "{}", done.err);
}

#[test]
fn flag_size() {
    let place = place();
    let bytes = place.read("a.raw");
    let convert = |size: &str, target: &str| {
        let args = ["convert", "--from-format", "raw", "--size", size, "-", target];
        place.fed(&args, bytes.clone()).status.code().unwrap()
    };
    assert_eq!(convert("1Mi", "b.qcow2"), 0);
    place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
    assert_eq!(convert("2Mi", "long.qcow2"), 9, "the pipe ends early");
    assert_eq!(convert("512Ki", "short.qcow2"), 9, "the pipe goes on");
    assert_eq!(place.files(), ["a.raw", "b.qcow2"]);
    place.run(&["convert", "--size", "1Mi", "a.raw", "c.qcow2"]).ends(2);
}

#[test]
fn flag_compress() {
    let place = Place::new();
    let lines = (0..120_000_u64).map(|line| format!("line {line} says {}\n", line * line % 977));
    let text = lines.collect::<String>().into_bytes();
    place.write("a.raw", &text[..text.len() / 512 * 512]);
    let convert = |how: &str, name: &str| {
        let record = place.json(&["convert", "a.raw", name, "--compress", how]).ends(0).json();
        place.same(["raw", "qcow2"], ["a.raw", name]);
        record["size_bytes"].as_u64().unwrap()
    };
    let plain = convert("none", "none.qcow2");
    let zlib = convert("zlib", "zlib.qcow2");
    assert!(zlib < plain * 3 / 4, "{zlib} of {plain}");
    assert!(convert("zlib:12", "zlib12.qcow2") < convert("zlib:1", "zlib1.qcow2"));
    assert!(convert("zstd", "zstd.qcow2") < plain * 3 / 4);
    let method =
        |name: &str| place.info(name)["format-specific"]["data"]["compression-type"].clone();
    assert_eq!((method("zlib.qcow2"), method("zstd.qcow2")), ("zlib".into(), "zstd".into()));
    place.run(&["convert", "a.raw", "b.vdi", "--compress", "zlib"]).ends(7);
    place.run(&["convert", "a.raw", "b.qcow2", "--compress", "lzma"]).ends(2);
}

#[test]
fn flag_subformat() {
    let place = place();
    for (name, word, kind) in [
        ("a.vmdk", "streamOptimized", "vmdk"),
        ("b.vmdk", "monolithicSparse", "vmdk"),
        ("c.vmdk", "monolithicFlat", "vmdk"),
        ("d.vhd", "fixed", "vpc"),
        ("e.vhd", "dynamic", "vpc"),
    ] {
        place.run(&["convert", "a.raw", name, "--subformat", word]).ends(0);
        place.same(["raw", kind], ["a.raw", name]);
        let info = place.json(&["inspect", name]).ends(0).json();
        assert_eq!(info["variant"], word, "{name}");
    }
    place.run(&["convert", "a.raw", "f.vmdk", "--subformat", "streamOptimizedTablesFirst"]).ends(0);
    place.same(["raw", "vmdk"], ["a.raw", "f.vmdk"]);
    let directory = |name: &str| {
        let bytes = std::fs::read(place.at(name)).unwrap();
        u64::from_le_bytes(bytes[56..64].try_into().unwrap())
    };
    assert_eq!(directory("a.vmdk"), u64::MAX);
    assert_eq!(directory("f.vmdk"), 21);
    let to_pipe = ["convert", "a.raw", "-", "--format", "vmdk"];
    let variant = ["--subformat", "streamOptimizedTablesFirst"];
    place.run(&[&to_pipe[..], &variant[..]].concat()).ends(7);
    let create = |name: &str| place.info(name)["format-specific"]["data"]["create-type"].clone();
    assert_eq!(create("a.vmdk"), "streamOptimized");
    assert_eq!(create("b.vmdk"), "monolithicSparse");
    place.run(&["convert", "a.raw", "x.qcow2", "--subformat", "fixed"]).ends(2);
}

#[test]
fn flag_checksum() {
    let place = place();
    for (kind, program, target) in [
        ("sha256", "sha256sum", "a.qcow2"),
        ("sha1", "sha1sum", "a.vmdk"),
        ("sha256", "sha256sum", "b.raw"),
    ] {
        let done = place.json(&["convert", "a.raw", target, "--checksum", kind]).ends(0);
        let sum = std::process::Command::new(program).arg(place.at(target)).output().unwrap();
        let hex = String::from_utf8(sum.stdout).unwrap();
        let hex = hex.split_whitespace().next().unwrap();
        assert_eq!(done.json()["checksum"], format!("{kind}:{hex}"));
    }
    assert_eq!(place.json(&["convert", "a.raw", "c.raw"]).ends(0).json()["checksum"], Value::Null);
}

#[test]
fn flag_verify() {
    let place = place();
    let done = place.json(&["convert", "a.raw", "a.vhdx", "--verify"]).ends(0);
    assert_eq!(done.json()["verified"], true);
    let done = place.json(&["convert", "a.raw", "b.vhdx"]).ends(0);
    assert_eq!(done.json()["verified"], false);
    place.run(&["convert", "a.raw", "-", "-f", "raw", "--verify"]).ends(2);
}

#[test]
fn flag_trust_source() {
    let place = Place::new();
    place.write("a.raw", &words(3, 256 << 10));
    place.run(&["convert", "a.raw", "a.vmdk"]).ends(0);
    // The sum at the end of the first grain's stream, which no copy in qcow2 has.
    let mut bytes = place.read("a.vmdk");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let marker = number(64) as usize * 512;
    let len = u32::from_le_bytes(bytes[marker + 8..marker + 12].try_into().unwrap()) as usize;
    bytes[marker + 12 + len - 1] ^= 1;
    place.write("b.vmdk", &bytes);
    let args = ["convert", "b.vmdk", "b.qcow2", "--compress", "zlib"];
    let checked = place.run(&args).ends(9);
    assert!(checked.err.contains("b.vmdk"), "{}", checked.err);
    assert_eq!(place.files(), ["a.raw", "a.vmdk", "b.vmdk"]);
    place.run(&[&args[..], &["--trust-source"]].concat()).ends(0);
    place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
    place.run(&[&args[..], &["--trust-source", "--verify"]].concat()).ends(2);
}

#[test]
fn flag_recompress() {
    let place = Place::new();
    place.write("a.raw", &words(5, 1 << 20));
    place.run(&["convert", "a.raw", "a.vmdk"]).ends(0);
    let convert = |name: &str, more: &[&str]| {
        let args = [&["convert", "a.vmdk", name, "--compress", "zlib"], more].concat();
        place.run(&args).ends(0);
        place.same(["raw", "qcow2"], ["a.raw", name]);
        place.read(name)
    };
    assert!(farthest(&convert("moved.qcow2", &[])) > 4096);
    assert!(farthest(&convert("anew.qcow2", &["--recompress"])) <= 4096);
    let both = ["convert", "a.vmdk", "x.qcow2", "--recompress", "--trust-source"];
    place.run(&both).ends(2);
}

#[test]
fn flag_overwrite() {
    let place = place();
    place.write("b.qcow2", b"mine");
    let done = place.run(&["convert", "a.raw", "b.qcow2"]).ends(6);
    assert!(done.err.contains("--overwrite"), "{}", done.err);
    assert_eq!(place.read("b.qcow2"), b"mine");
    place.run(&["convert", "a.raw", "b.qcow2", "--overwrite"]).ends(0);
    place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
}

#[test]
fn flag_limit_rate() {
    let place = Place::new();
    place.write("a.raw", &noise(1, 6 << 20));
    let began = Instant::now();
    place.run(&["convert", "a.raw", "b.qcow2", "--limit-rate", "2Mi"]).ends(0);
    let seconds = began.elapsed().as_secs_f64();
    assert!((1.5..20.0).contains(&seconds), "{seconds}");
    place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
}

#[test]
fn flag_allow_path() {
    let place = Place::new();
    for folder in ["base", "top"] {
        std::fs::create_dir(place.at(folder)).unwrap();
    }
    place.write("base/a.raw", &mixed(1 << 20));
    let base = place.at("base").display().to_string();
    let backing = format!("{base}/a.raw");
    place.qemu(&["create", "-f", "qcow2", "-F", "raw", "-b", &backing, "top/b.qcow2"]);
    for args in [
        &["convert", "top/b.qcow2", "c.raw"][..],
        &["inspect", "top/b.qcow2"],
        &["verify", "top/b.qcow2"],
        &["compare", "top/b.qcow2", "base/a.raw"],
    ] {
        let done = place.run(args).ends(4);
        assert!(done.err.contains("--allow-path"), "{}", done.err);
        place.run(&[args, &["--allow-path", &base]].concat()).ends(0);
    }
    assert_eq!(place.read("c.raw"), place.read("base/a.raw"));
}

#[test]
fn flag_from_format() {
    let place = place();
    place.run(&["convert", "a.raw", "a.qcow2"]).ends(0);
    std::fs::rename(place.at("a.raw"), place.at("unnamed")).unwrap();
    place.run(&["convert", "unnamed", "b.qcow2"]).ends(7);
    place.run(&["convert", "unnamed", "b.qcow2", "--from-format", "raw"]).ends(0);
    place.run(&["convert", "a.qcow2", "c.raw", "--from-format", "raw"]).ends(0);
    assert_eq!(place.read("c.raw")[..4], *b"QFI\xfb");
    let info = place.json(&["inspect", "--from-format", "raw", "a.qcow2"]).ends(0).json();
    assert_eq!(info["format"], "raw");
    place.run(&["verify", "--from-format", "vhdx", "a.qcow2"]).ends(9);
}

#[test]
fn flag_dry_run() {
    let place = place();
    let plan = place.json(&["convert", "a.raw", "b.qcow2", "--dry-run"]).ends(0).json();
    assert_eq!(plan["schema"], "hyper.image.plan/v1");
    assert_eq!((&plan["format"], &plan["capacity_bytes"]), (&"qcow2".into(), &(1 << 20).into()));
    assert_eq!(place.files(), ["a.raw"]);
    assert!(!place.at(".local").exists(), "a plan is no run");
}

#[test]
fn flag_output() {
    let place = place();
    let done = place.run(&["convert", "a.raw", "b.qcow2", "-o", "json"]).ends(0);
    assert_eq!(done.json()["schema"], "hyper.image.converted/v1");
    let two = place.run(&["inspect", "a.raw", "b.qcow2", "-o", "ndjson"]).ends(0);
    assert_eq!(two.out.lines().count(), 2);
    let name = place.run(&["verify", "b.qcow2", "--output", "name"]).ends(0);
    assert_eq!(name.out, "b.qcow2\n");
    let csv = place.run(&["compare", "a.raw", "b.qcow2", "-o", "csv"]).ends(0);
    assert!(csv.out.starts_with("left,right,equal,"), "{}", csv.out);
    let failed = place.run(&["inspect", "none", "-o", "json"]).ends(5);
    let error: Value = serde_json::from_str(&failed.err).unwrap();
    assert_eq!((&error["kind"], &error["exit_status"]), (&"not_found".into(), &5.into()));
}

#[test]
fn flag_progress() {
    let place = place();
    let args = ["convert", "a.raw", "b.qcow2", "--verify", "--progress", "json"];
    let done = place.run(&args).ends(0);
    let news: Vec<Value> =
        done.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!news.is_empty());
    assert!(done.err.contains("\"verify\"") && done.err.contains("a.raw"), "{}", done.err);
    let none = place.run(&["verify", "b.qcow2", "--progress", "none"]).ends(0);
    assert_eq!(none.err, "");
}

#[test]
fn flag_quiet() {
    let place = Place::new();
    place.write("a.raw", &noise(1, 1000));
    let loud = place.run(&["convert", "a.raw", "a.qcow2"]).ends(0);
    assert!(loud.err.contains("24 zeros are added"), "{}", loud.err);
    assert_eq!(place.run(&["convert", "a.raw", "b.qcow2", "--quiet"]).ends(0).err, "");
}

#[test]
fn flag_verbose() {
    let place = place();
    let plain = place.run(&["convert", "a.raw", "a.qcow2", "--verify"]).ends(0);
    assert!(!plain.err.contains("guest bytes"), "{}", plain.err);
    let args = ["convert", "a.raw", "b.qcow2", "--verify", "--compress", "zstd", "--verbose"];
    let told = place.run(&args).ends(0).err;
    for words in ["opened a.raw as raw", "format=qcow2", "Zstd", "written a.raw", "verified a.raw"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn flag_timeout() {
    let place = Place::new();
    place.write("a.raw", &noise(1, 8 << 20));
    let slow = ["convert", "a.raw", "b.qcow2", "--timeout", "1s"];
    let done = place.command(&slow).env("HYPER_LIMIT_RATE", "2Mi").output().unwrap();
    assert_eq!(done.status.code(), Some(11));
    assert_eq!(place.files(), ["a.raw"]);
    place.run(&["convert", "a.raw", "b.qcow2"]).ends(0);
    place.same(["raw", "qcow2"], ["a.raw", "b.qcow2"]);
}
