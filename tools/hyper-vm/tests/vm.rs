//! `hyper-vm` as a process, in an environment of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A user with an own HOME, and machines in a folder.
struct User {
    home: tempfile::TempDir,
}

/// A machine of a VMX file without disks: name, guest, processors, MiB.
fn vmx(folder: &Path, name: &str, guest: &str, cpus: u32, mib: u32) {
    let text = format!(
        "displayName = \"{name}\"\nguestOS = \"{guest}\"\nnumvcpus = \"{cpus}\"\n\
         memSize = \"{mib}\"\n"
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.vmx")), text).unwrap();
}

impl User {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let lab = home.path().join("lab");
        vmx(&lab, "web01", "debian12-64", 2, 2048);
        vmx(&lab.join("below"), "db01", "windows2019srv-64", 8, 16384);
        std::fs::write(lab.join("plain.raw"), vec![0; 4096]).unwrap();
        Self { home }
    }

    fn lab(&self) -> std::path::PathBuf {
        self.home.path().join("lab")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-vm"));
        command.args(args).env_clear().env("HOME", self.home.path()).env("TZ", "UTC");
        // How each test named after a flag is proved to notice that the flag does nothing.
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.current_dir(self.lab()).output().unwrap()
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        let mut all = vec!["list"];
        all.extend(args);
        all.extend(["-o", "json"]);
        let output = self.run(&all);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = document["items"].as_array().unwrap();
        items.iter().map(|vm| vm["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn where_nobody_chose_a_context_the_others_are_named() {
    let user = User::new();
    let hint = "hint: the current context is local; -c NAME or `hyper context use NAME` chooses";
    let kube = user.home.path().join(".kube/config");
    let missing = user.run(&["list", "-A"]);
    assert_eq!(status(&missing), 3);
    let words = stderr(&missing);
    let told = format!("hyper-vm: {}: there is no kubeconfig\n", kube.display());
    assert!(words.starts_with(&told), "{words}");
    let without = user.run(&["get", "web02"]);
    assert!(!stderr(&without).contains("the current context"), "{}", stderr(&without));
    std::fs::create_dir_all(kube.parent().unwrap()).unwrap();
    let contexts = ["a", "b", "c", "d"]
        .map(|name| format!("{{\"name\": \"{name}\", \"context\": {{}}}}"))
        .join(", ");
    let text = format!("{{\"kind\": \"Config\", \"contexts\": [{contexts}]}}");
    std::fs::write(&kube, text).unwrap();
    let create = ["create", "web02", "--memory", "1Gi", "--blank", "1Gi"];
    for (args, expected) in [(&["get", "web02"][..], 5), (&create, 7)] {
        let output = user.run(args);
        assert_eq!(status(&output), expected);
        let words = stderr(&output);
        assert!(words.contains(&format!("{hint} another: a, b, c, …\n")), "{words}");
    }
    for named in [&["get", "local:web02"][..], &["get", "-c", "local", "web02"]] {
        let output = user.run(named);
        assert_eq!(status(&output), 5);
        assert!(!stderr(&output).contains("the current context"), "{}", stderr(&output));
    }
    let none = user.run(&["list", "-A"]);
    assert!(stderr(&none).contains("the kubeconfig has no current context"), "{}", stderr(&none));
}

#[test]
fn a_disk_of_no_size_is_not_made() {
    let output = User::new().run(&["create", "web02", "--memory", "1Gi", "--blank", "0"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("a disk of 0 bytes holds nothing"), "{}", stderr(&output));
}

#[test]
fn machines_of_a_folder_are_listed() {
    let user = User::new();
    assert_eq!(user.names(&[]), ["plain", "web01", "db01"]);
    assert_eq!(user.names(&["local:"]), ["plain", "web01", "db01"]);
    assert_eq!(user.names(&["local:below"]), ["db01"]);
    assert_eq!(user.names(&["local:web01.vmx", "below"]), ["web01", "db01"]);
}

#[test]
fn flag_match() {
    let user = User::new();
    assert_eq!(user.names(&["--match", "web*"]), ["web01"]);
    assert_eq!(user.names(&["--match", "guest_os~win", "--match", "db*"]), ["db01"]);
    assert_eq!(status(&user.run(&["list", "--match", "nme=x"])), 2);
}

#[test]
fn flag_min_cpus() {
    assert_eq!(User::new().names(&["--min-cpus", "3"]), ["db01"]);
}

#[test]
fn flag_min_memory() {
    let user = User::new();
    assert_eq!(user.names(&["--min-memory", "2Gi"]), ["web01", "db01"]);
    assert_eq!(user.names(&["--min-memory", "2.1G"]), ["web01", "db01"]);
    assert_eq!(user.names(&["--min-memory", "2.5Gi"]), ["db01"]);
}

#[test]
fn flag_status() {
    let user = User::new();
    assert!(user.names(&["--status", "running"]).is_empty());
    assert_eq!(user.names(&["--status", "Unknown,paused"]).len(), 3);
}

#[test]
fn flag_quiet_and_flag_verbose() {
    let user = User::new();
    let said = user.run(&["list", "--match", "zzz", "local:below"]);
    assert!(stderr(&said).contains("no machine"), "{}", stderr(&said));
    let quiet = user.run(&["list", "--match", "zzz", "-q", "local:below"]);
    assert_eq!((status(&quiet), stderr(&quiet).as_str()), (0, ""));
    let verbose = user.run(&["list", "-v"]);
    assert!(stderr(&verbose).contains("configuration:"), "{}", stderr(&verbose));
}

#[test]
fn flag_output_records_say_what_is_known_and_find_their_machine_again() {
    let user = User::new();
    let output = user.run(&["get", "web01", "-o", "json"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let vm: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(vm["schema"], "hyper.vm/v1");
    assert_eq!(vm["memory_bytes"], 2_u64 << 30);
    assert_eq!((vm["guest_os"].as_str(), vm["firmware"].as_str()), (Some("linux"), Some("bios")));
    assert_eq!((vm["status"].as_str(), vm["format"].as_str()), (Some("unknown"), Some("vmx")));
    let id = user.lab().join("web01.vmx");
    assert_eq!(vm["id"].as_str(), id.to_str());
    let name = stdout(&user.run(&["get", "web01", "-o", "name"]));
    assert_eq!(name.trim(), format!("local:@{}", id.display()));
    let again = user.run(&["get", name.trim()]);
    assert_eq!(status(&again), 0, "{}", stderr(&again));
    let table = stdout(&again);
    assert!(table.contains("debian12-64") && table.contains("2 GiB"), "{table}");
    let two = user.run(&["get", "web01", "below", "-o", "ndjson"]);
    assert_eq!(stdout(&two).lines().count(), 2);
}

#[test]
fn flag_invert_match() {
    let user = User::new();
    assert_eq!(user.names(&["--match", "web*", "--invert-match"]), ["plain", "db01"]);
    let two = ["--match", "name=*01", "--match", "guest_os=windows", "--invert-match"];
    assert_eq!(user.names(&two), ["plain", "web01"], "not both");
    assert_eq!(status(&user.run(&["list", "--invert-match"])), 2, "there is nothing to invert");
}

#[test]
fn flag_count() {
    let user = User::new();
    let count = |args: &[&str]| {
        let output = user.run(&[&["list", "--count"], args].concat());
        (status(&output), stdout(&output))
    };
    assert_eq!(count(&["-o", "name"]), (0, "3\n".to_owned()));
    assert_eq!(count(&["--match", "*01", "-o", "name"]), (0, "2\n".to_owned()));
    assert_eq!(count(&["--match", "none", "-o", "name"]), (0, "0\n".to_owned()));
    let (_, rows) = count(&["local:", "local:below", "-o", "csv"]);
    assert_eq!(rows, "context,place,count\nlocal,,3\nlocal,below,1\n");
    std::fs::write(user.lab().join("broken.ovf"), "<Envelope").unwrap();
    assert_eq!(count(&["-o", "name"]), (9, String::new()), "a number that leaves one out");
    assert_eq!(count(&["local:", "local:below", "-o", "name"]), (10, "1\n".to_owned()));
}

#[test]
fn places_that_can_be_read_are_shown_without_those_that_cannot() {
    let user = User::new();
    let config = user.home.path().join(".config/hyper/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let gone = user.home.path().join("gone");
    let text = format!("contexts:\n  gone:\n    provider: local\n    path: {}\n", gone.display());
    std::fs::write(config, text).unwrap();
    let some = user.run(&["list", "--context", "gone,local", "-o", "name"]);
    assert_eq!((status(&some), stdout(&some).lines().count()), (10, 3), "{}", stderr(&some));
    assert!(stderr(&some).contains("context \"gone\""), "{}", stderr(&some));
    assert!(stderr(&some).contains("1 of 2 contexts could not be read"), "{}", stderr(&some));
    // A place that is empty has been read.
    let none = user.run(&["list", "--context", "gone,local", "--match", "zzz", "-o", "json"]);
    assert_eq!((status(&none), stdout(&none).as_str()), (10, ""));
    let alone = user.run(&["list", "--context", "gone"]);
    assert_eq!(status(&alone), 5, "{}", stderr(&alone));
}

#[test]
fn what_could_stand_at_the_end_of_a_line_is_told() {
    let user = User::new();
    let words = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-vm"));
        command.args(args).env_clear().env("HOME", user.home.path()).env("HYPER_COMPLETE", "1");
        let output = command.current_dir(user.lab()).output().unwrap();
        assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
        stdout(&output)
    };
    assert!(words(&["unp"]).starts_with("unpause\tLet machines go on"), "{}", words(&["unp"]));
    assert!(words(&["get", "--out"]).starts_with("--output\tPrint results"));
    assert!(words(&["get", "-o", "nd"]).starts_with("ndjson"), "{}", words(&["get", "-o", "nd"]));
    assert_eq!(words(&["get", "-c", "lo"]), "local\tlocal\n:4\n");
    assert_eq!(words(&["get", "w"]), "web01\tunknown\n:4\n");
    assert_eq!(words(&["get", "web01", "local:p"]), "local:plain\tunknown\n:4\n");
    assert_eq!(words(&["get", "lo"]), "local:\tlocal\n:6\n");
    // A configuration that cannot be read takes away the names alone.
    let config = user.home.path().join(".config/hyper/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(config, "contexts: [").unwrap();
    assert_eq!(words(&["get", "w"]), ":4\n");
    assert!(words(&["lis"]).starts_with("list\t"));
}

#[test]
fn flag_context_and_flag_all_contexts() {
    let user = User::new();
    let config = user.home.path().join(".config/hyper/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let below = user.lab().join("below");
    let text = format!("contexts:\n  deep:\n    provider: local\n    path: {}\n", below.display());
    std::fs::write(config, text).unwrap();
    assert_eq!(user.names(&["--context", "deep"]), ["db01"]);
    assert_eq!(user.names(&["deep:"]), ["db01"]);
    assert_eq!(user.names(&["--all-contexts"]).len(), 4);
    assert_eq!(status(&user.run(&["list", "-c", "nowhere"])), 5);
    let both = user.run(&["get", "-c", "deep,local", "db01"]);
    assert_eq!(status(&both), 2, "{}", stderr(&both));
}

#[test]
fn what_cannot_be_read_is_a_warning_and_says_so_in_the_end() {
    let user = User::new();
    std::fs::write(user.lab().join("broken.ovf"), "<Envelope").unwrap();
    let output = user.run(&["list"]);
    assert_eq!(status(&output), 10);
    assert!(stderr(&output).contains("warning") && stderr(&output).contains("broken.ovf"));
    assert!(stdout(&output).contains("web01") && stdout(&output).contains("db01"));
    let alone = user.run(&["list", "local:broken.ovf"]);
    assert_eq!(status(&alone), 9, "{}", stderr(&alone));
    assert!(alone.stdout.is_empty(), "a list that could not be had is not an empty one");
    assert!(!stderr(&alone).contains("warning"), "{}", stderr(&alone));
    assert_eq!(status(&user.run(&["list", "local:none"])), 5);
    assert_eq!(status(&user.run(&["get", "none"])), 5);
    assert_eq!(status(&user.run(&["get", "local:"])), 6, "several machines");
}
