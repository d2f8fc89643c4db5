//! Several machines in one run: references on standard input, a record for each, the good ones
//! written although others fail.

use crate::disks::{MIB, content, holds, machine, noise, raw};
use crate::user::{User, feed};

/// A folder `lab` of three bare images.
fn lab() -> (User, Vec<Vec<u8>>) {
    let user = User::new();
    let all: Vec<_> = (0..3).map(|number| content(MIB, number)).collect();
    for (number, bytes) in all.iter().enumerate() {
        raw(&user.at(&format!("lab/m{number}.raw")), bytes);
    }
    (user, all)
}

#[track_caller]
fn all_written(user: &User, to: &str, all: &[Vec<u8>]) {
    for (number, bytes) in all.iter().enumerate() {
        holds(&user.at(&format!("{to}/m{number}-disk0.qcow2")), "qcow2", bytes);
    }
}

#[test]
fn references_come_from_standard_input_in_every_form() {
    let (user, all) = lab();
    let lines = "# machines\nlab/m0.raw\n\nlocal:lab/m1.raw\nm2\n";
    // A bare name is looked for in the context's own folder.
    let mut command = user.command(&["-", "--to", "lines", "-o", "ndjson"]);
    let mixed = lines.replace("m2\n", "local:lab/m2.raw\n");
    let done = feed(&mut command, mixed.as_bytes()).ends(0);
    assert_eq!(done.records().len(), 3);
    all_written(&user, "lines", &all);
    for form in ["ndjson", "json", "name"] {
        let list = user.tool("hyper-vm", &["list", "local:lab", "-o", form]).ends(0);
        let to = format!("from-{form}");
        let mut command = user.command(&["-", "--to", &to]);
        feed(&mut command, &list.out).ends(0);
        all_written(&user, &to, &all);
    }
    let none = feed(&mut user.command(&["-", "--to", "x"]), b"").ends(2);
    assert!(none.err.contains("no machine"), "{}", none.err);
    let wrong = feed(&mut user.command(&["-", "--to", "x"]), b"m0\n{\"id\": 1\n").ends(2);
    assert!(wrong.err.contains("line 2"), "{}", wrong.err);
    let wrong = feed(&mut user.command(&["-", "--to", "x"]), b"{\"a\": 1}").ends(2);
    assert!(wrong.err.contains("hyper vm list"), "{}", wrong.err);
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let (user, all) = lab();
    raw(&user.at("lab/bad.vmdk"), b"KDMV and then nothing");
    let line = ["lab/m0.raw", "lab/bad.vmdk", "lab/none.raw", "lab/m1.raw", "lab/m2.raw"];
    let flags = ["--jobs", "3", "--to", "out", "-o", "ndjson"];
    let done = user.run(&[&line[..], &flags[..]].concat()).ends(10);
    let records = done.records();
    assert_eq!(records.len(), 5);
    for record in &records {
        let vm = record["vm"].as_str().unwrap();
        let failed = vm.contains("bad") || vm.contains("none");
        assert_eq!(record["outcome"], if failed { "failed" } else { "succeeded" }, "{record}");
        assert_eq!(record["error"].is_object(), failed, "{record}");
    }
    all_written(&user, "out", &all);
    assert!(user.all_names("out").iter().all(|name| !name.contains("bad")));
    assert!(done.err.contains("2 of 5 machines failed"), "{}", done.err);
    let runs = user.tool("hyper-history", &["runs", "list", "-o", "json"]).ends(0).json();
    let run = &runs["items"][0];
    assert_eq!((&run["counts"]["succeeded"], &run["counts"]["failed"]), (&3.into(), &2.into()));
    assert_eq!(run["artifacts"].as_array().unwrap().len(), 9, "{run}");
    assert!(run["leftovers"].as_array().is_none_or(Vec::is_empty), "{run}");
}

#[test]
fn machines_of_one_name_do_not_overwrite_each_other() {
    let (user, all) = lab();
    raw(&user.at("more/m0.raw"), &all[1]);
    let line = ["lab/m0.raw", "more/m0.raw", "--to", "out", "--jobs", "1", "-o", "ndjson"];
    let done = user.run(&line).ends(10);
    assert!(done.err.contains("m0-disk0.qcow2"), "{}", done.err);
    holds(&user.at("out/m0-disk0.qcow2"), "qcow2", &all[0]);
    // A plan tells it as well.
    for format in ["qcow2", "ova"] {
        let line = ["lab/m0.raw", "more/m0.raw", "--to", "plan", "-f", format, "--dry-run"];
        let done = user.run(&[&line[..], &["-o", "ndjson"]].concat()).ends(10);
        assert!(done.err.contains("another machine of this run"), "{}", done.err);
        assert!(!user.at("plan").exists());
    }
    // At the same time, and also where files may be replaced.
    let line = ["lab/m0.raw", "more/m0.raw", "--to", "two", "--overwrite"];
    let done = user.run(&line).ends(10);
    assert!(done.err.contains("another machine of this run"), "{}", done.err);
    assert_eq!(user.names("two"), ["m0-disk0.qcow2", "m0.machine.json", "m0.xml"]);
    assert_eq!(user.all_names("two").len(), 3);
}

#[test]
fn what_a_bare_image_does_not_say_is_assumed_aloud() {
    let user = User::new();
    raw(&user.at("disk.raw"), &noise(MIB, 130));
    for (format, words) in [
        ("ovf", ["processors it needs: 1 was", "memory it needs: 1 GiB"]),
        ("qcow2", ["processors it needs: 2 were", "memory it needs: 2 GiB"]),
    ] {
        let line = ["disk.raw", "-f", format, "--to", format, "-o", "json"];
        let record = user.run(&line).ends(0).json();
        let warnings = record["warnings"].to_string();
        assert!(words.iter().all(|word| warnings.contains(word)), "{warnings}");
    }
}

#[test]
fn eight_disks_at_once_need_less_than_256_mib() {
    let user = User::new();
    for name in ["one", "two"] {
        machine(&user.at(name), name, &[20 * MIB; 4]);
    }
    let line = ["one", "two", "--jobs", "2", "--compress", "zstd", "--to", "out"];
    let mut run = user.start(&[&line[..], &["--progress", "json"]].concat());
    let status = format!("/proc/{}/status", run.id());
    let peak = std::cell::Cell::new(0);
    let look = |_: &serde_json::Value| {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = field.and_then(|field| field.trim().trim_end_matches(" kB").parse().ok());
        peak.set(kib.unwrap_or(0_u64).max(peak.get()));
        false
    };
    assert!(!run.wait_for(look));
    run.end().ends(0);
    assert!((10 << 10..256 << 10).contains(&peak.get()), "{} KiB", peak.get());
}
