//! Exports from a simulated vCenter: both ways, every format, the moments of a running machine,
//! what goes wrong on the wire, and what a sudden end leaves.

use std::time::Duration;

use crate::disks::{digest, holds, untar};
use crate::sim::{Lab, SIZES};
use crate::user::Done;

/// Fails unless the message is one line that has `words`, with hints at the most.
#[track_caller]
fn says(done: &Done, words: &str) {
    let mut lines =
        done.err.lines().filter(|line| !line.contains("warning") && !line.contains("note: "));
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("hyper-export: ") && first.contains(words), "{}", done.err);
    assert!(lines.all(|line| line.starts_with("hint: ")), "{}", done.err);
}

impl Lab {
    #[track_caller]
    fn export(&self, flags: &[&str], status: i32) -> Done {
        let done = self.user.run(&Self::args(flags)).ends(status);
        if status != 0 {
            assert!(self.user.names("out").is_empty(), "{:?}", self.user.names("out"));
        }
        self.sim.is_clean();
        done
    }

    /// Fails unless both disks are in `out` in the format, with the right bytes; empties `out`.
    #[track_caller]
    fn has(&self, format: &str) {
        for (number, bytes) in self.disks.iter().enumerate() {
            holds(&self.user.at(&format!("out/web01-disk{number}.{format}")), format, bytes);
        }
        std::fs::remove_dir_all(self.user.at("out")).unwrap();
    }
}

#[test]
fn streams_become_every_format_in_one_pass() {
    let lab = Lab::new(&[]);
    for (flags, format) in [
        (&["-f", "qcow2", "--verify"][..], "qcow2"),
        (&["-f", "qcow2", "--compress", "zlib"], "qcow2"),
        (&["-f", "qcow2", "--compress", "zlib", "--trust-source"], "qcow2"),
        (&["-f", "raw"], "raw"),
        (&["-f", "vmdk"], "vmdk"),
        (&["-f", "vmdk", "--recompress", "--verify"], "vmdk"),
        (&["-f", "ovf", "--verify"], "vmdk"),
    ] {
        let before = lab.sim.count("GET /nfc");
        lab.export(flags, 0);
        assert_eq!(lab.sim.count("GET /nfc") - before, 2, "{flags:?}: each disk comes once");
        lab.has(format);
    }
    assert_eq!(lab.sim.count(" 206"), 0);
}

#[test]
fn packages_hold_what_came_and_say_its_size() {
    let lab = Lab::new(&["--efi", "web01"]);
    lab.export(&["-f", "ovf"], 0);
    let text = std::fs::read_to_string(lab.user.at("out/web01.ovf")).unwrap();
    for number in 0..2 {
        let path = lab.user.at(&format!("out/web01-disk{number}.vmdk"));
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(text.contains(&format!("ovf:size=\"{size}\"")), "{text}");
        let manifest = std::fs::read_to_string(lab.user.at("out/web01.mf")).unwrap();
        assert!(manifest.contains(&digest("sha256sum", &path)), "{manifest}");
    }
    assert!(text.contains("efi") && lab.user.at("out/web01.nvram").exists());
    lab.has("vmdk");
    lab.export(&["-f", "ova"], 0);
    let inside = untar(&lab.user.at("out/web01.ova"));
    for (number, bytes) in lab.disks.iter().enumerate() {
        holds(&inside.path().join(format!("web01-disk{number}.vmdk")), "vmdk", bytes);
    }
    let machine = lab.user.run(&["govc:web01", "--to", "m", "--disk", "disk1"]).ends(0);
    assert!(machine.err.contains("1 of 2 disks were left out"), "{}", machine.err);
    let json = std::fs::read_to_string(lab.user.at("m/web01.machine.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["firmware"]["kind"], "uefi");
    assert_eq!(json["firmware"]["nvram_file"], "web01.nvram");
    assert!(json["nics"][0]["mac"].as_str().unwrap().starts_with("00:50:56"), "{json}");
    assert_eq!(json["disks"][0]["label"], "Hard disk 2");
}

#[test]
fn flag_transport() {
    let thin = Lab::new(&[]);
    thin.export(&["--transport", "datastore"], 0);
    thin.has("qcow2");
    assert!(thin.sim.count(" 206") >= (SIZES[0] + SIZES[1]) >> 20, "{}", thin.sim.requests());
    assert_eq!(thin.sim.count("ExportVm on"), 0);
    thin.export(&[], 0);
    thin.has("qcow2");
    assert_eq!(thin.sim.count("ExportVm on"), 1, "auto takes streams of thin disks");
    let thick = Lab::new(&["--thick"]);
    thick.export(&[], 0);
    thick.has("qcow2");
    assert_eq!(thick.sim.count("ExportVm on"), 0, "auto takes the files of thick disks");
    thick.export(&["--transport", "nfc"], 0);
    thick.has("qcow2");
    assert_eq!(thick.sim.count("ExportVm on"), 1);
    thick.user.run(&["govc:web01", "--transport", "pigeon"]).ends(2);
}

#[test]
fn flag_snapshot() {
    let lab = Lab::new(&["--running", "web01"]);
    let none = lab.export(&["--snapshot", "before"], 5);
    says(&none, "no such snapshot");
    lab.sim.snapshot("before");
    let done = lab.user.run(&Lab::args(&["--snapshot", "before"])).ends(0);
    assert!(!done.err.contains("snapshot"), "{}", done.err);
    lab.has("qcow2");
    assert_eq!(lab.sim.snapshots(), ["before"], "it stays");
    assert_eq!(lab.sim.count("ExportSnapshot on"), 1);
    lab.sim.snapshot("before");
    let two = lab.user.run(&Lab::args(&["--snapshot", "before"])).ends(6);
    says(&two, "several");
    assert!(two.err.contains("hint: --snapshot @snapshot-"), "{}", two.err);
}

#[test]
fn flag_temp_snapshot_and_flag_quiesce() {
    let lab = Lab::new(&["--running", "web01"]);
    let running = lab.export(&[], 6);
    for flag in ["--snapshot", "--temp-snapshot", "--power-off"] {
        assert!(running.err.contains(&format!("hint: {flag}")), "{}", running.err);
    }
    lab.export(&["--temp-snapshot", "--quiesce"], 0);
    lab.has("qcow2");
    lab.export(&["--temp-snapshot", "--transport", "datastore"], 0);
    lab.has("qcow2");
    assert_eq!(lab.sim.count("CreateSnapshot_Task"), 2);
    lab.export(&["--quiesce"], 2);
    lab.export(&["--temp-snapshot", "--snapshot", "a"], 2);
}

#[test]
fn flag_power_off() {
    let lab = Lab::new(&["--running", "web01"]);
    let done = lab.export(&["--power-off"], 0);
    assert!(done.err.contains("stays off"), "{}", done.err);
    lab.has("qcow2");
    assert_eq!(lab.sim.count("ShutdownGuest"), 1);
    let again = lab.export(&["--power-off"], 0);
    assert!(!again.err.contains("stays off"), "{}", again.err);
    lab.has("qcow2");
}

#[test]
fn files_know_no_moment_and_no_way() {
    let lab = Lab::new(&[]);
    for flags in
        [&["--snapshot", "a"][..], &["--temp-snapshot"], &["--power-off"], &["--transport", "nfc"]]
    {
        let done = lab.user.run(&[&["local:a.raw", "--to", "out"], flags].concat()).ends(7);
        assert!(done.err.contains(flags[0]), "{}", done.err);
    }
}

#[test]
fn a_dry_run_makes_nothing() {
    let lab = Lab::new(&["--running", "web01"]);
    for flags in [&["--temp-snapshot"][..], &["--power-off"], &["--temp-snapshot", "-f", "ova"]] {
        let done = lab.export(&[flags, &["--dry-run"]].concat(), 0);
        assert!(done.text().contains("disk1"), "{}", done.text());
    }
    for call in ["Export", "CreateSnapshot", "Shutdown", "GET"] {
        assert_eq!(lab.sim.count(call), 0, "{}", lab.sim.requests());
    }
    assert!(!lab.user.at("out").exists());
}

#[test]
fn disks_that_cannot_be_exported_are_named_before_anything_is_made() {
    for (kind, words) in [
        ("independent", "independent"),
        ("rdm", "raw device mapping"),
        ("shared", ""),
        ("encrypted", "encrypted"),
    ] {
        let lab = Lab::new(&["--odd", &format!("web01={kind}")]);
        let done = lab.export(&[], 7);
        says(&done, words);
        assert_eq!(lab.sim.count("ExportVm on"), 0);
    }
}

#[test]
fn what_breaks_on_the_wire_leaves_nothing() {
    for (fault, status, words) in [
        ("op=nfc,object=disk-1,status=206", 1, "a part of the disk"),
        ("op=nfc,object=disk-0,short=300000", 9, "Hard disk 1"),
        ("op=nfc,object=disk-1,corrupt=400000", 9, "Hard disk 2"),
        ("op=nfc,object=disk-1,status=404", 5, "Hard disk 2"),
        ("op=nfc,object=disk-0,status=503", 8, "Hard disk 1"),
        ("op=HttpNfcLeaseGetManifest,lose", 8, "lease"),
        ("op=ExportVm,fault=InvalidState", 6, "lease"),
    ] {
        let lab = Lab::new(&["--fault", fault]);
        for flags in [&["-f", "raw"][..], &["-f", "ovf"]] {
            let done = lab.user.run(&Lab::args(flags)).ends(status);
            assert!(done.err.contains(words), "{fault}: {}", done.err);
            assert!(lab.user.names("out").is_empty(), "{fault}: {:?}", lab.user.names("out"));
        }
        if !fault.starts_with("op=ExportVm") && !fault.contains("lose") {
            lab.sim.is_clean();
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_taken_up_where_it_broke() {
    let cut = "op=nfc,object=disk-0,max=1,cut=300000";
    for (faults, asked) in [
        (&[cut][..], 3),
        (&["op=nfc,object=disk-0,max=2,cut=300000"], 4),
        (&["op=nfc,object=disk-0,max=1,short=300000"], 3),
        (&[cut, "op=nfc,object=disk-0,skip=1,max=1,status=503,retry-after=1"], 4),
        (&[cut, "op=nfc,object=disk-0,skip=1,max=1,cut=200000"], 4),
    ] {
        for flags in [&["-f", "qcow2", "--compress", "zlib", "--trust-source"][..], &["-f", "ovf"]]
        {
            let rules: Vec<_> = faults.iter().flat_map(|rule| ["--fault", rule]).collect();
            let lab = Lab::new(&rules);
            let done = lab.export(flags, 0);
            assert!(!done.err.contains("anew"), "{faults:?}: {}", done.err);
            assert_eq!(lab.sim.count("GET /nfc"), asked, "{faults:?} {flags:?}");
            assert_eq!(lab.sim.count("ExportVm on"), 1);
            lab.has(if flags[1] == "ovf" { "vmdk" } else { "qcow2" });
        }
    }
}

#[test]
fn a_stream_that_is_another_one_the_second_time_is_begun_anew() {
    let cut = "op=nfc,object=disk-1,max=1,cut=300000";
    let other = "op=nfc,object=disk-1,skip=1,max=1,corrupt=1000";
    for flags in [&["-f", "raw"][..], &["-f", "ovf"]] {
        let lab = Lab::new(&["--fault", cut, "--fault", other]);
        let done = lab.export(flags, 0);
        assert!(done.err.contains("another one the second time; it is begun anew"), "{}", done.err);
        assert_eq!(lab.sim.count("GET /nfc"), 4);
        lab.has(if flags[1] == "ovf" { "vmdk" } else { "raw" });
        // Where nothing shows that the stream is short, only its tables tell at the end.
        let lab =
            Lab::with_tables_in_front(&["--fault", "op=nfc,object=disk-0,max=1,short=300000"]);
        let done = lab.export(flags, 0);
        assert!(done.err.contains("begun anew"), "{}", done.err);
        assert_eq!(lab.sim.count("GET /nfc"), 3);
        lab.has(if flags[1] == "ovf" { "vmdk" } else { "raw" });
    }
}

#[test]
fn a_stream_that_breaks_off_each_time_fails_the_run() {
    let lab = Lab::new(&["--fault", "op=nfc,object=disk-0,cut=300000"]);
    says(&lab.export(&["-q", "-f", "raw"], 8), "Hard disk 1");
    assert_eq!(lab.sim.count("disk-0.vmdk 200"), 6);
    let lost = Lab::new(&[
        "--fault",
        "op=nfc,object=disk-0,skip=1,lose",
        "--fault",
        "op=nfc,object=disk-0,max=1,cut=300000",
    ]);
    says(&lost.user.run(&Lab::args(&["-q"])).ends(8), "lease");
    assert!(lost.sim.count("GET /nfc") <= 4, "a lost lease is not asked: {}", lost.sim.requests());
}

#[test]
fn bytes_that_only_the_checksum_tells_from_the_right_ones_are_refused() {
    // In a package the grains pass unseen.
    let lab = Lab::new(&["--fault", "op=nfc,object=disk-1,corrupt=400000"]);
    says(&lab.export(&["-f", "ovf"], 9), "sha256");
    let silent = Lab::new(&["--no-manifest"]);
    let done = silent.export(&["-f", "ovf"], 0);
    assert!(done.err.contains("offers no checksum"), "{}", done.err);
    silent.has("vmdk");
}

#[test]
fn a_busy_host_is_asked_again() {
    let lab = Lab::new(&["--fault", "op=nfc,max=2,status=503,retry-after=1"]);
    lab.export(&[], 0);
    lab.has("qcow2");
    let one = Lab::new(&["--nfc-streams", "1"]);
    one.export(&[], 0);
    one.has("qcow2");
    let folder = Lab::new(&[
        "--thick",
        "--fault",
        "op=folder,object=flat,skip=4,max=1,status=503,retry-after=1",
        "--fault",
        "op=folder,object=flat,skip=6,max=1,cut=1000",
        "--fault",
        "op=folder,object=flat,skip=7,max=1,short=1000",
    ]);
    folder.export(&[], 0);
    folder.has("qcow2");
    assert_eq!(folder.sim.count("ExportVm on"), 0);
}

#[test]
fn a_server_that_ignores_ranges_is_no_source_of_files() {
    let lab = Lab::new(&["--thick", "--fault", "op=folder,object=flat,whole"]);
    says(&lab.export(&["--transport", "datastore"], 1), "all of the file");
    lab.export(&[], 0);
    lab.has("qcow2");
    assert_eq!(lab.sim.count("ExportVm on"), 1, "auto takes the stream then");
    let late = Lab::new(&["--thick", "--fault", "op=folder,object=flat,skip=3,whole"]);
    says(&late.export(&["--transport", "datastore"], 1), "all of the file");
}

#[test]
fn a_host_that_cannot_be_reached_is_named() {
    let lab = Lab::new(&["--nfc-host", "127.0.0.1:1"]);
    says(&lab.export(&[], 8), "127.0.0.1:1");
}

#[test]
fn fifty_exports_leave_one_login() {
    let lab = Lab::new(&[]);
    for number in 0..50 {
        let to = format!("out/{number}");
        let line = ["govc:web01", "-q", "-f", "raw", "--disk", "disk1", "--to", &to];
        lab.user.run(&line).ends(0);
    }
    assert_eq!(lab.sim.count("Login on"), 1, "{}", lab.sim.requests());
    lab.sim.is_clean();
    let last = lab.user.run(&Lab::args(&["-v", "-f", "raw"])).ends(0);
    assert!(last.err.contains("using an earlier login"), "{}", last.err);
    let runs = lab.user.tool("hyper-history", &["runs", "list", "-o", "ndjson"]).ends(0);
    assert_eq!(runs.text().matches("\"how\":\"made\"").count(), 1);
    lab.user.tool("hyper-context", &["logout", "govc"]).ends(0);
    assert_eq!(lab.sim.count("Logout on"), 1);
}

#[test]
fn who_names_govc_without_its_variables_is_told_of_them() {
    let user = crate::user::User::new();
    let done = user.run(&["govc:web01", "--to", "out"]).ends(5);
    assert!(done.err.contains("GOVC_URL"), "{}", done.err);
}

#[test]
fn a_server_that_says_nothing_holds_nobody_up() {
    let lab = Lab::new(&["--fault", "op=CreateContainerView,delay=1h"]);
    let run = lab.user.start(&Lab::args(&[]));
    lab.sim.wait_for("CreateContainerView waits", 1);
    run.signal("INT");
    run.end().ends(130);
}

#[test]
fn a_slow_copy_keeps_its_lease() {
    let lab = Lab::new(&["--lease-timeout", "2s"]);
    lab.export(&["-f", "raw", "--limit-rate", "900K"], 0);
    lab.has("raw");
    assert!(lab.sim.count("HttpNfcLeaseProgress") > 4, "{}", lab.sim.requests());
}

/// An export of the running machine that takes some seconds.
const SLOWLY: [&str; 5] = ["--temp-snapshot", "--progress", "json", "--limit-rate", "500K"];

#[test]
fn a_stopped_export_ends_lease_and_snapshot() {
    for signal in ["INT", "TERM", "HUP"] {
        let lab = Lab::new(&["--running", "web01"]);
        let mut run = lab.user.start(&Lab::args(&SLOWLY));
        run.wait_for_copy();
        run.signal(signal);
        run.end().ends(130);
        lab.sim.is_clean();
        assert!(lab.user.all_names("out").is_empty(), "{:?}", lab.user.all_names("out"));
        let left = lab.user.tool("hyper-history", &["runs", "clean", "--dry-run", "-o", "ndjson"]);
        assert_eq!(left.ends(0).text(), "");
        lab.export(&["--temp-snapshot"], 0);
        lab.has("qcow2");
    }
}

#[test]
fn a_killed_export_is_cleaned_up_after() {
    for by_hand in [true, false] {
        let lab = Lab::new(&["--running", "web01"]);
        let mut run = lab.user.start(&Lab::args(&SLOWLY));
        run.wait_for_copy();
        run.signal("KILL");
        assert_eq!(run.end().status, None);
        assert!(lab.user.names("out").is_empty());
        assert_eq!(lab.sim.snapshots().len(), 1);
        if by_hand {
            let show = lab.user.tool("hyper-history", &["runs", "clean", "--dry-run"]).ends(0);
            assert!(
                show.text().contains("snapshot") && show.text().contains("lease"),
                "{}",
                show.text()
            );
            assert_eq!(lab.sim.snapshots().len(), 1);
            lab.user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
            lab.sim.is_clean();
        }
        let next = lab.export(&["--temp-snapshot"], 0);
        assert_eq!(next.err.contains("was removed"), !by_hand, "{}", next.err);
        lab.has("qcow2");
    }
}

#[test]
fn a_stopped_export_goes_on_where_the_disk_is_the_same() {
    for flags in [&["--transport", "datastore"][..], &["--transport", "nfc"]] {
        let lab = Lab::new(&[]);
        let slow = ["-f", "raw", "--progress", "json", "--limit-rate", "500K"];
        let mut run = lab.user.start(&Lab::args(&[&slow[..], flags].concat()));
        run.wait_for_copy();
        std::thread::sleep(Duration::from_millis(600));
        run.signal("INT");
        run.end().ends(130);
        lab.sim.is_clean();
        let done = lab.export(&[&["-f", "raw", "-o", "json"][..], flags].concat(), 0);
        let reused = done.json()["reused_bytes"].as_u64().unwrap();
        assert!(reused > 0, "{flags:?} {}", done.text());
        lab.has("raw");
    }
}

#[test]
fn a_single_host_is_as_good() {
    let lab = Lab::new(&["--esx"]);
    for flags in [&["--transport", "nfc"][..], &["--transport", "datastore"]] {
        lab.export(flags, 0);
        lab.has("qcow2");
    }
}
