//! Bad input: one clear line and the right status, nothing named, bounded memory.

use std::time::Duration;

use crate::place::{Done, Place, mixed, noise};

/// An image of each format, as qemu-img writes it.
fn images(place: &Place) -> Vec<String> {
    place.write("a.raw", &mixed(1 << 20));
    let kinds = [
        ("a.qcow2", "qcow2", ""),
        ("c.qcow2", "qcow2", "-c"),
        ("a.vmdk", "vmdk", "-osubformat=monolithicSparse"),
        ("s.vmdk", "vmdk", "-osubformat=streamOptimized"),
        ("a.vhd", "vpc", ""),
        ("f.vhd", "vpc", "-osubformat=fixed"),
        ("a.vhdx", "vhdx", ""),
        ("a.vdi", "vdi", ""),
    ];
    for (name, format, option) in kinds {
        let mut args = vec!["convert", "-O", format, "a.raw", name];
        args.extend(Some(option).filter(|option| !option.is_empty()));
        place.qemu(&args);
    }
    kinds.iter().map(|(name, ..)| (*name).to_owned()).collect()
}

/// Asserts one line of error, besides hints.
fn one_line(done: &Done, shown: &str) {
    let told: Vec<_> = done.err.lines().filter(|line| !line.starts_with("hint: ")).collect();
    assert_eq!(told.len(), 1, "{shown}: {}", done.err);
    assert!(told[0].starts_with("hyper-image: "), "{shown}: {}", done.err);
}

#[test]
fn a_truncated_image_of_any_format_is_refused() {
    let place = Place::new();
    for name in images(&place) {
        let whole = place.read(&name);
        let cut = format!("cut.{}", name.rsplit_once('.').unwrap().1);
        for len in [0, 1, 511, 4096, 66_000, whole.len() / 2, whole.len() * 3 / 4] {
            place.write(&cut, &whole[..len]);
            let done = place.run(&["convert", &cut, "out.raw", "-q"]);
            let shown = format!("{name} cut to {len}");
            if done.status == 0 {
                // Nothing was cut off but padding and what stands twice.
                assert!(place.read("out.raw").starts_with(&place.read("a.raw")), "{shown}");
                assert!(["a.vhd", "a.vhdx"].contains(&&*name) && len > whole.len() / 2, "{shown}");
                std::fs::remove_file(place.at("out.raw")).unwrap();
                continue;
            }
            assert_eq!(done.status, 9, "{shown}: {}", done.err);
            one_line(&done, &shown);
            assert!(!place.at("out.raw").exists(), "{shown}");
        }
    }
}

#[test]
fn flipped_bytes_end_with_a_word_and_never_with_a_crash() {
    let place = Place::new();
    for (seed, name) in images(&place).iter().enumerate() {
        let whole = place.read(name);
        let bad = format!("bad.{}", name.rsplit_once('.').unwrap().1);
        let dice = noise(seed as u64 + 77, 24 * 8);
        for throw in dice.chunks(8) {
            let number = u64::from_le_bytes(throw.try_into().unwrap()) as usize;
            let mut bytes = whole.clone();
            // Headers and tables lie at the front, a VHD's footer at the end.
            let front = [512, 2048, 70_000, 330_000][number % 4].min(bytes.len());
            let at = (number >> 8) % front;
            let at = if number & 0x80 == 0 { at } else { bytes.len() - 1 - at % 1024 };
            bytes[at] ^= (number >> 40) as u8 | 1;
            place.write(&bad, &bytes);
            let done = place.run(&["verify", &bad, "-q"]);
            let shown = format!("{name}, byte {at}");
            assert!(
                [0, 4, 5, 7, 9].contains(&done.status),
                "{shown}: {} {}",
                done.status,
                done.err
            );
            if done.status != 0 {
                one_line(&done, &shown);
            }
        }
    }
}

#[test]
fn named_files_are_refused_outside_and_missed_inside() {
    let place = Place::new();
    std::fs::create_dir(place.at("vm")).unwrap();
    place.write("secret.raw", &mixed(1 << 20));
    let absolute = place.at("secret.raw").display().to_string();
    for (backing, status) in [("../secret.raw", 4), (&absolute, 4), ("none.raw", 5)] {
        let args = ["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing];
        place.qemu(&[&args[..], &["vm/a.qcow2", "1M"]].concat());
        for args in [&["convert", "vm/a.qcow2", "out.raw"][..], &["inspect", "vm/a.qcow2"]] {
            let done = place.run(args).ends(status);
            one_line(&done, backing);
            assert!(done.err.contains(backing), "{}", done.err);
        }
    }
    let flat = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
                createType=\"monolithicFlat\"\nRW 2048 FLAT \"FILE\" 0\n";
    for (file, status) in [("../secret.raw", 4), (&*absolute, 4), ("none-flat.vmdk", 5)] {
        place.write("vm/b.vmdk", flat.replace("FILE", file).as_bytes());
        let done = place.run(&["convert", "vm/b.vmdk", "out.raw"]).ends(status);
        one_line(&done, file);
    }
    assert!(!place.at("out.raw").exists());
}

/// The checksum that VHDX uses.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

/// Puts the checksum of the 4 KiB at `at` into its fifth byte and on.
fn seal(bytes: &mut [u8], at: usize) {
    bytes[at + 4..at + 8].fill(0);
    let sum = crc32c(&bytes[at..at + 4096]);
    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn encrypted_images_and_dirty_logs_say_what_they_are() {
    let place = Place::new();
    let secret = ["--object", "secret,id=s,data=12345678"];
    for (format, name) in [("luks", "luks.qcow2"), ("aes", "aes.qcow2")] {
        let options = format!("encrypt.format={format},encrypt.key-secret=s");
        let create = [&["create", "-q"], &secret[..], &["-f", "qcow2", "-o", &options]].concat();
        place.qemu(&[&create[..], &[name, "1M"]].concat());
        let done = place.run(&["convert", name, "out.raw"]).ends(7);
        assert!(done.err.contains("encrypted"), "{}", done.err);
    }
    place.qemu(&["create", "-q", "-f", "vhdx", "log.vhdx", "4M"]);
    let mut bytes = place.read("log.vhdx");
    // MS-VHDX 2.2.2 and 2.3.1: both headers name a log, whose first entry holds changes.
    for header in [64 << 10, 128 << 10] {
        bytes[header + 48..header + 64].fill(0x11);
        seal(&mut bytes, header);
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let entry = number((64 << 10) + 72);
    bytes[entry..entry + 4096].fill(0);
    bytes[entry..entry + 4].copy_from_slice(b"loge");
    bytes[entry + 8..entry + 12].copy_from_slice(&4096_u32.to_le_bytes());
    bytes[entry + 16] = 1;
    bytes[entry + 24] = 1;
    bytes[entry + 32..entry + 48].fill(0x11);
    seal(&mut bytes, entry);
    place.write("log.vhdx", &bytes);
    let done = place.run(&["convert", "log.vhdx", "out.raw"]).ends(7);
    assert!(done.err.contains("log"), "{}", done.err);
    assert!(!place.at("out.raw").exists());
}

/// Runs it to a good end; its largest resident memory in MiB.
fn peak_mib(place: &Place, args: &[&str]) -> u64 {
    let mut child = place.command(args).stdout(std::process::Stdio::null()).spawn().unwrap();
    let file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{args:?}");
            assert!(peak > 0, "it was never seen");
            return peak / 1024;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn memory_is_bounded_for_huge_and_for_fragmented_disks() {
    let place = Place::new();
    place.qemu(&["create", "-q", "-f", "qcow2", "big.qcow2", "62T"]);
    for target in ["b.qcow2", "b.vhdx", "b.vdi"] {
        let peak = peak_mib(&place, &["convert", "big.qcow2", target, "--verify", "-q"]);
        assert!(peak < 256, "{target}: {peak} MiB");
        std::fs::remove_file(place.at(target)).unwrap();
    }
    // Every other 4 KiB of 128 MiB is there, in clusters of 4 KiB.
    let piece = noise(5, 4096);
    let mut disk = vec![0; 128 << 20];
    for (index, place) in disk.chunks_mut(8192).enumerate() {
        place[..4096].copy_from_slice(&piece);
        place[..8].copy_from_slice(&index.to_le_bytes());
    }
    place.write("f.raw", &disk);
    let small = ["-o", "cluster_size=4096", "f.raw", "f.qcow2"];
    place.qemu(&[&["convert", "-W", "-f", "raw", "-O", "qcow2"], &small[..]].concat());
    for (target, flags) in [("f2.qcow2", &[][..]), ("f.vmdk", &[]), ("f.vdi", &["--verify"])] {
        let peak = peak_mib(&place, &[&["convert", "f.qcow2", target, "-q"], flags].concat());
        assert!(peak < 256, "{target}: {peak} MiB");
        place.run(&["compare", "f.raw", target]).ends(0);
        std::fs::remove_file(place.at(target)).unwrap();
    }
}
