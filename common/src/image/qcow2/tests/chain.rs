use super::*;
use crate::image::testing::{Random, read_all, run_qemu_img, scattered};

fn random_writes(random: &mut Random, capacity_mib: u64, zeros: bool) -> Vec<String> {
    (0..30)
        .map(|_| {
            let at = random.below(capacity_mib * 128 - 32) * 8192;
            let len = (random.below(20) + 1) * 8192;
            match random.below(4) {
                0 if zeros => format!("write -z {at} {len}"),
                _ => format!("write -P {} {at} {len}", random.below(255) + 1),
            }
        })
        .collect()
}

fn judged(scratch: &Scratch, top: &str) {
    run_qemu_img(&["convert", "-O", "raw", &scratch.text(top), &scratch.text("chain.raw")]);
    let image = scratch.open(top).unwrap();
    assert!(read_all(&*image) == std::fs::read(scratch.path("chain.raw")).unwrap(), "{top}");
    assert_eq!(image.check().unwrap(), Vec::<String>::new(), "{top}");
}

/// Creates `name` on top of `below`.
fn overlay(scratch: &Scratch, name: &str, below: &str, format: &str, options: &str, size: &str) {
    let (path, base) = (scratch.text(name), scratch.text(below));
    let mut call = vec!["create", "-q", "-f", "qcow2", "-b", &base, "-F", format];
    if !options.is_empty() {
        call.extend(["-o", options]);
    }
    call.extend([path.as_str(), size]);
    run_qemu_img(&call);
}

#[test]
fn chains_read_through_whatever_the_cluster_sizes() {
    let scratch = Scratch::new();
    let mut random = Random(17);
    let (_, bytes) = scattered(31, 6 << 20);
    scratch.write("base.raw", &bytes);
    for (lower, upper) in [
        ("cluster_size=2M", "cluster_size=4k"),
        ("cluster_size=4k", "cluster_size=2M"),
        ("cluster_size=64k", "extended_l2=on"),
        ("compat=0.10", "compat=1.1"),
    ] {
        // The base is shorter than the middle, the middle than the top.
        overlay(&scratch, "middle.qcow2", "base.raw", "raw", lower, "8M");
        qemu_io(&scratch.text("middle.qcow2"), &random_writes(&mut random, 8, lower.len() > 12));
        overlay(&scratch, "top.qcow2", "middle.qcow2", "qcow2", upper, "10M");
        qemu_io(&scratch.text("top.qcow2"), &random_writes(&mut random, 10, true));
        judged(&scratch, "middle.qcow2");
        judged(&scratch, "top.qcow2");
        // The same over a compressed base, and with a top that is shorter.
        let (from, to) = (scratch.text("middle.qcow2"), scratch.text("packed.qcow2"));
        run_qemu_img(&["convert", "-c", "-O", "qcow2", "-o", lower, &from, &to]);
        overlay(&scratch, "short.qcow2", "packed.qcow2", "qcow2", upper, "5M");
        qemu_io(&scratch.text("short.qcow2"), &random_writes(&mut random, 5, true));
        judged(&scratch, "short.qcow2");
    }
    let image = scratch.open("top.qcow2").unwrap();
    assert_eq!(image.info().backing, Some(scratch.text("middle.qcow2")));
}

#[test]
fn a_raw_backing_file_has_to_be_stated() {
    let scratch = Scratch::new();
    let (_, bytes) = scattered(32, 1 << 20);
    scratch.write("base.raw", &bytes);
    overlay(&scratch, "stated.qcow2", "base.raw", "raw", "", "1M");
    assert!(read_all(&*scratch.open("stated.qcow2").unwrap()) == bytes);
    // Without a stated format nothing but the content speaks, and it does not say raw.
    let mut silent = std::fs::read(scratch.path("stated.qcow2")).unwrap();
    let mark = silent.windows(4).position(|w| w == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
    silent[mark] = 0x11;
    scratch.write("silent.qcow2", &silent);
    let error = scratch.open("silent.qcow2").unwrap_err();
    assert!(matches!(&error, ImageError::Unsupported(text) if text.contains("raw")), "{error}");
    // A certain format needs no statement.
    run_qemu_img(&[
        "convert",
        "-O",
        "qcow2",
        &scratch.text("base.raw"),
        &scratch.text("base.qcow2"),
    ]);
    std::fs::rename(scratch.path("base.qcow2"), scratch.path("base.raw")).unwrap();
    assert!(read_all(&*scratch.open("silent.qcow2").unwrap()) == bytes);
}

#[test]
fn loops_missing_files_and_strange_names_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.text("a.qcow2");
    run_qemu_img(&["create", "-q", "-f", "qcow2", &path, "1M"]);
    for (name, format, wanted) in [
        ("a.qcow2", "qcow2", "loops"),
        ("gone.qcow2", "qcow2", "not there"),
        ("json:{\"driver\":\"null-co\"}", "raw", "description"),
        ("a.qcow2", "luks", "luks"),
    ] {
        run_qemu_img(&["rebase", "-u", "-b", "", &path]);
        let mut bytes = std::fs::read(&path).unwrap();
        // Name and format as another program may write them.
        let at = 120 + 8 + format.len().next_multiple_of(8);
        bytes[8..16].copy_from_slice(&(at as u64 + 8).to_be_bytes());
        bytes[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
        bytes[112..116].copy_from_slice(&0xe279_2acau32.to_be_bytes());
        bytes[116..120].copy_from_slice(&(format.len() as u32).to_be_bytes());
        bytes[120..at + 8].fill(0);
        bytes[120..120 + format.len()].copy_from_slice(format.as_bytes());
        bytes[at + 8..at + 8 + name.len()].copy_from_slice(name.as_bytes());
        scratch.write("a.qcow2", &bytes);
        let error = scratch.open("a.qcow2").unwrap_err().to_string();
        assert!(error.contains(wanted), "{name}: {error}");
        assert!(error.len() < 200, "{error}");
        std::fs::remove_file(&path).unwrap();
        run_qemu_img(&["create", "-q", "-f", "qcow2", &path, "1M"]);
    }
}
