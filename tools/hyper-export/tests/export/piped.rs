//! Packages that come through a pipe, of several makers.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::disks::{MIB, content, digest, holds, info, noise, ova, ovf, qemu_img, raw, untar};
use crate::user::{Done, User, feed};

/// Runs `cat FILE | hyper export ARGS`.
fn cat(user: &User, file: &str, args: &[&str]) -> Done {
    feed(&mut user.command(args), &std::fs::read(user.at(file)).unwrap())
}

/// A tar file of these files of a folder, in this order.
fn tar(path: &Path, folder: &Path, names: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(["--format=ustar", "-cf"]).arg(path).arg("-C").arg(folder).args(names);
    assert!(tar.status().unwrap().success());
}

const TO: [&str; 5] = ["local:-", "--to", "out", "-o", "json"];

#[test]
fn a_package_becomes_images_in_one_pass() {
    let user = User::new();
    let disks = [content(3 * MIB, 121), noise(2 * MIB + 512, 122)];
    ova(&user.at("tar.ova"), "web", &[&disks[0], &disks[1]]);
    user.run(&["tar.ova", "-f", "ova", "--to", "web.ova", "--recompress"]).ends(0);
    for package in ["tar.ova", "web.ova"] {
        for flags in [&["--verify"][..], &["--compress", "zlib", "--trust-source"], &["-f", "raw"]]
        {
            let record = cat(&user, package, &[&TO[..], flags].concat()).ends(0).json();
            assert_eq!(record["vm"], "web");
            assert_eq!(record["verified"], flags == ["--verify"]);
            let format = record["format"].as_str().unwrap();
            for (number, bytes) in disks.iter().enumerate() {
                holds(&user.at(&format!("out/web-disk{number}.{format}")), format, bytes);
            }
            assert_eq!(user.all_names("out").len(), 4, "{:?}", user.all_names("out"));
            std::fs::remove_dir_all(user.at("out")).unwrap();
        }
        let record = user.tool("hyper-vm", &["get", &format!("local:{package}"), "-o", "json"]);
        let mut get = Command::new(env!("CARGO_BIN_EXE_hyper-export"));
        get = Command::new(Path::new(get.get_program()).with_file_name("hyper-vm"));
        get.args(["get", "local:-", "-o", "json"]).env_clear().env("HOME", user.at(""));
        let piped = feed(&mut get, &std::fs::read(user.at(package)).unwrap()).ends(0).json();
        let record = record.ends(0).json();
        for field in ["name", "cpus", "memory_bytes", "disks", "firmware"] {
            assert_eq!(piped[field], record[field], "{field}");
        }
    }
    // As they are into another package, whose sizes are known at the end alone.
    cat(&user, "web.ova", &["local:-", "-f", "ova", "--to", "again.ova", "--verify"]).ends(0);
    let (web, again) = (untar(&user.at("web.ova")), untar(&user.at("again.ova")));
    for number in 0..2 {
        let disk = |tar: &Path, stem: &str| tar.join(format!("{stem}-disk{number}.vmdk"));
        let (from, to) = (disk(web.path(), "web"), disk(again.path(), "again"));
        assert_eq!(digest("sha256sum", &from), digest("sha256sum", &to));
    }
    let check = Command::new("sh").args(["-c", CHECK]).current_dir(again.path()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    let one = cat(&user, "web.ova", &["local:-", "--disk", "1", "-f", "raw", "--to", "-"]).ends(0);
    assert!(one.out == disks[1], "the second disk, from a pipe to a pipe");
    let two = cat(&user, "web.ova", &["local:-", "--disk", "1", "--to", "one.qcow2"]).ends(0);
    assert!(two.err.contains("1 of 2 disks were left out"), "{}", two.err);
    holds(&user.at("one.qcow2"), "qcow2", &disks[1]);
}

#[test]
fn a_fifo_and_a_compressed_package_do_as_well() {
    let user = User::new();
    let bytes = content(2 * MIB, 123);
    ova(&user.at("a.ova"), "web", &[&bytes]);
    assert!(Command::new("mkfifo").arg(user.at("fifo")).status().unwrap().success());
    let mut cat = Command::new("sh");
    let mut cat = cat.args(["-c", "cat a.ova >fifo"]).current_dir(user.at("")).spawn().unwrap();
    user.run(&["fifo", "--to", "out"]).ends(0);
    assert!(cat.wait().unwrap().success());
    holds(&user.at("out/web-disk0.qcow2"), "qcow2", &bytes);
    for (flag, file) in [("gzip", "a.ova.gz"), ("zstd", "a.ova.zst")] {
        let line = ["a.ova", "-f", "ova", "--package-compress", flag, "--to", file];
        user.run(&line).ends(0);
        let packed = std::fs::read(user.at(file)).unwrap();
        feed(&mut user.command(&["local:-", "--to", flag]), &packed).ends(0);
        holds(&user.at(flag).join("web-disk0.qcow2"), "qcow2", &bytes);
        let mut cut = user.command(&["local:-", "--to", "cut"]);
        feed(&mut cut, &packed[..packed.len() / 2]).ends(9);
        assert!(user.all_names("cut").is_empty());
    }
}

#[test]
fn a_package_of_vmware_keeps_its_variables_and_empty_disks() {
    let user = User::new();
    let folder = user.at("shop");
    std::fs::create_dir(&folder).unwrap();
    let envelope = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/ovf/vmware-uefi.ovf");
    std::fs::copy(envelope, folder.join("shop.ovf")).unwrap();
    let text = content(MIB, 124);
    for (name, size, at) in [("shop-1", 16_u64 << 30, 9 << 30), ("shop-2", 100 << 20, 0)] {
        let file = std::fs::File::create(folder.join("disk.raw")).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(&text, at).unwrap();
        let (from, to) = (folder.join("disk.raw"), folder.join(format!("{name}.vmdk")));
        let options = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
        qemu_img(&[&options[..], &[from.to_str().unwrap(), to.to_str().unwrap()]].concat());
        std::fs::rename(from, folder.join(format!("{name}.raw"))).unwrap();
    }
    std::fs::File::create(folder.join("empty.raw")).unwrap().set_len(5 << 30).unwrap();
    std::fs::write(folder.join("installer.iso"), [7; 2048]).unwrap();
    let nvram = noise(270_840, 125);
    std::fs::write(folder.join("shop-4.nvram"), &nvram).unwrap();
    let disks = ["shop-1.vmdk", "shop-2.vmdk"];
    let sums: String = disks
        .iter()
        .map(|name| format!("SHA1({name})= {}\n", digest("sha1sum", &folder.join(name))))
        .collect();
    std::fs::write(folder.join("shop.mf"), sums).unwrap();
    let members = ["shop.ovf", "shop-1.vmdk", "shop-2.vmdk", "installer.iso", "shop-4.nvram"];
    tar(&user.at("shop.ova"), &folder, &[&members[..], &["shop.mf"]].concat());
    let record = cat(&user, "shop.ova", &TO).ends(0).json();
    let path = |at: usize| user.at(record["artifacts"][at]["path"].as_str().unwrap());
    let mut sizes = Vec::new();
    for written in (0..3).map(path) {
        let size = info(&written)["virtual-size"].as_u64().unwrap() >> 20;
        let raw = match size {
            100 => folder.join("shop-2.raw"),
            5120 => folder.join("empty.raw"),
            _ => folder.join("shop-1.raw"),
        };
        let (written, raw) = (written.to_str().unwrap(), raw.to_str().unwrap());
        qemu_img(&["compare", "-f", "qcow2", "-F", "raw", written, raw]);
        sizes.push(size);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [100, 5120, 16 << 10]);
    assert_eq!(record["artifacts"][3]["role"], "nvram");
    assert!(std::fs::read(path(3)).unwrap() == nvram);

    // The machine's first disk is the second of the package, but must be the first of the next.
    std::fs::create_dir(user.at("spool")).unwrap();
    let line = ["local:-", "-f", "ova", "--to", "again.ova", "--verify"];
    let done = cat(&user, "shop.ova", &line).ends(7);
    assert!(done.err.contains("--spool"), "{}", done.err);
    cat(&user, "shop.ova", &[&line[..], &["--spool", "spool"]].concat()).ends(0);
    let again = untar(&user.at("again.ova"));
    let copied = |folder: &Path, names: &[&str]| {
        let sums = names.iter().map(|name| digest("sha1sum", &folder.join(name)));
        sums.collect::<std::collections::BTreeSet<_>>()
    };
    let new = ["again-disk0.vmdk", "again-disk1.vmdk", "again-disk2.vmdk"];
    assert!(copied(again.path(), &new).is_superset(&copied(&folder, &disks)));
    assert!(std::fs::read(again.path().join("again.nvram")).unwrap() == nvram);
    let check = Command::new("sh").args(["-c", CHECK]).current_dir(again.path()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    let done = cat(&user, "shop.ova", &["local:-", "-f", "ova", "--to", "-"]).ends(7);
    assert!(done.out.is_empty() && done.err.contains("--spool"), "{}", done.err);
    let line = ["local:-", "-f", "ova", "--to", "-", "--spool", "spool"];
    let done = cat(&user, "shop.ova", &line).ends(0);
    assert!(done.err.contains("stored in the spool folder first"), "{}", done.err);
    std::fs::write(user.at("piped.ova"), &done.out).unwrap();
    untar(&user.at("piped.ova"));
    assert!(user.all_names("spool").is_empty());
}

/// Holds every line of a manifest against its file.
const CHECK: &str =
    "sed 's/^SHA256(\\(.*\\))= \\(.*\\)/\\2  \\1/' again.mf | sha256sum -c --strict";

#[test]
fn what_a_pipe_cannot_do_is_refused_and_spooled() {
    let user = User::new();
    let disks = [content(MIB, 126), content(MIB, 127)];
    let folder = user.at("web");
    ovf(&folder, "web", &[&disks[0], &disks[1]]);
    tar(&user.at("order.ova"), &folder, &["web.ovf", "web-1.vmdk", "web-0.vmdk"]);
    tar(&user.at("behind.ova"), &folder, &["web-0.vmdk", "web-1.vmdk", "web.ovf"]);
    raw(&folder.join("disk.raw"), &disks[0]);
    let flat = ["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "web-0.vmdk"];
    let mut flat = flat.map(str::to_owned);
    flat[5] = folder.join("disk.raw").display().to_string();
    flat[6] = folder.join("web-0.vmdk").display().to_string();
    qemu_img(&flat.each_ref().map(String::as_str));
    tar(&user.at("sparse.ova"), &folder, &["web.ovf", "web-0.vmdk", "web-1.vmdk"]);
    std::fs::create_dir(user.at("spool")).unwrap();
    for (package, word) in
        [("order.ova", "before"), ("behind.ova", "begins with"), ("sparse.ova", "streamOptimized")]
    {
        let done = cat(&user, package, &TO).ends(7);
        assert!(done.err.contains(word), "{}", done.err);
        assert!(user.all_names("out").is_empty(), "{:?}", user.all_names("out"));
        if word != "streamOptimized" {
            assert!(done.err.contains("--spool"), "{}", done.err);
        }
        cat(&user, package, &[&TO[..], &["--spool", "spool"]].concat()).ends(0);
        for (number, bytes) in disks.iter().enumerate() {
            holds(&user.at(&format!("out/web-disk{number}.qcow2")), "qcow2", bytes);
        }
        std::fs::remove_dir_all(user.at("out")).unwrap();
        assert!(user.all_names("spool").is_empty(), "{:?}", user.all_names("spool"));
    }
    // Left out, a disk may come whenever it likes.
    cat(&user, "order.ova", &[&TO[..], &["--exclude-disk", "disk1"]].concat()).ends(0);
    holds(&user.at("out/web-disk0.qcow2"), "qcow2", &disks[0]);
    let done = feed(&mut user.command(&["local:-", "--to", "none"]), &noise(MIB, 128)).ends(7);
    assert!(done.err.contains("no OVA package"), "{}", done.err);
    feed(&mut user.command(&["local:-", "--to", "none"]), b"").ends(9);
}

#[test]
fn a_package_that_breaks_off_or_is_another_is_named_nowhere() {
    let user = User::new();
    let bytes = content(MIB, 129);
    ova(&user.at("tar.ova"), "web", &[&bytes]);
    user.run(&["tar.ova", "-f", "ova", "--to", "web.ova"]).ends(0);
    let whole = std::fs::read(user.at("web.ova")).unwrap();
    let give = |bytes: &[u8]| {
        let done = feed(&mut user.command(&["local:-", "--to", "out"]), bytes).ends(9);
        let errors = done.err.lines().filter(|line| line.starts_with("hyper-export:")).count();
        assert_eq!(errors, 1, "{}", done.err);
        assert!(user.all_names("out").is_empty(), "{}: {:?}", done.err, user.all_names("out"));
        done.err
    };
    for len in [1, 511, 600, 5000, whole.len() / 2, whole.len() - 2000, whole.len() - 1024] {
        give(&whole[..len]);
    }
    // A byte of the descriptor inside the disk, which no table and no block vouches for.
    let mut other = whole.clone();
    let place = other
        .windows(8)
        .position(|bytes| bytes == b"ddb.uuid")
        .unwrap_or_else(|| other.windows(4).position(|bytes| bytes == b"ddb.").unwrap());
    other[place] = b'D';
    let said = give(&other);
    assert!(said.contains("manifest"), "{said}");
}

#[test]
fn a_silent_pipe_can_be_left() {
    let user = User::new();
    ova(&user.at("a.ova"), "web", &[&noise(2 * MIB, 130)]);
    let whole = std::fs::read(user.at("a.ova")).unwrap();
    for len in [0, 700, whole.len() / 2] {
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_hyper-export"));
        command.args(["local:-", "--to", "out", "--timeout", "300s"]).env_clear();
        command.env("HOME", user.at("")).env("PATH", "/usr/bin:/bin").current_dir(user.at(""));
        let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&whole[..len]).unwrap();
        // Until it listens to signals and waits for more.
        let stop = format!(
            "until [ -e .local/state/hyper/history ]; do sleep .05; done; sleep .2; kill -INT {}",
            child.id()
        );
        let mut sh = Command::new("sh");
        assert!(sh.args(["-c", &stop]).current_dir(user.at("")).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        drop(input);
        assert_eq!(output.status.code(), Some(130), "{len}: {output:?}");
        assert!(user.all_names("out").is_empty(), "{:?}", user.all_names("out"));
        std::fs::remove_dir_all(user.at(".local")).unwrap();
    }
}
