//! The lines that the documentation promises, as a person types them into a shell. They need the
//! other tools beside `hyper`, where a build of the whole workspace puts them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A home with machines in it: `appliance.ova`, `disk.vmdk`, and the contexts `lab` and `prod`.
struct Home {
    root: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { root: tempfile::tempdir().unwrap() };
        let mut disk = vec![0; 3 << 20];
        for (index, byte) in disk[..1 << 20].iter_mut().enumerate() {
            *byte = ((index * index) >> 7) as u8;
        }
        std::fs::create_dir(home.at("lab")).unwrap();
        std::fs::write(home.at("lab/web01.raw"), &disk).unwrap();
        home.good("hyper context add lab --provider local --path lab");
        home.good("hyper context add prod --provider local --path lab");
        home.good("hyper image convert lab/web01.raw disk.vmdk");
        home.good("hyper export lab:web01.raw --format ova --to made/");
        home.good("mv made/*.ova appliance.ova && rm -r made");
        home
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Runs a line in a shell.
    fn sh(&self, line: &str) -> Output {
        let tools = Path::new(env!("CARGO_BIN_EXE_hyper")).parent().unwrap();
        let there = tools.join("hyper-export").exists() && tools.join("hyper-image").exists();
        assert!(there, "the other tools are not built: cargo build --workspace --bins");
        let path = format!("{}:/usr/bin:/bin", tools.display());
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", line]).env_clear().env("PATH", path);
        command.env("HOME", self.root.path()).current_dir(self.root.path()).output().unwrap()
    }

    /// Runs a line that must succeed; what it prints.
    #[track_caller]
    fn good(&self, line: &str) -> String {
        let output = self.sh(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn images_are_converted_verified_and_piped() {
    let home = Home::new();
    home.good("hyper image convert disk.vmdk disk.qcow2 && hyper image verify disk.qcow2");
    home.good("hyper image compare disk.qcow2 lab/web01.raw");
    home.good("cat disk.vmdk | hyper image convert --from-format vmdk - a.raw");
    home.good("cmp a.raw lab/web01.raw");
}

#[test]
fn machines_are_exported_to_folders_and_through_pipes() {
    let home = Home::new();
    home.good("hyper export local:appliance.ova --format qcow2 --to out/");
    home.good("hyper image compare out/*-disk0.qcow2 lab/web01.raw");
    home.good("hyper export lab:web01.raw --format raw --to - | dd of=copy.raw status=none");
    home.good("cmp copy.raw lab/web01.raw");
    let line = "hyper vm list --context prod -o ndjson | grep web01 \
                | hyper export - --format qcow2 --to many/";
    home.good(line);
    home.good("hyper image compare many/*-disk0.qcow2 lab/web01.raw");
    let none = home.good("hyper vm list --context prod --min-cpus 4 -o ndjson");
    assert_eq!(none, "", "an image says nothing of processors");
}

#[test]
fn failed_runs_stand_in_the_history() {
    let home = Home::new();
    std::fs::write(home.at("bad.vmdk"), &std::fs::read(home.at("disk.vmdk")).unwrap()[..70_000])
        .unwrap();
    let bad = home.sh("cat bad.vmdk | hyper image convert --from-format vmdk - bad.raw");
    assert_eq!(bad.status.code(), Some(9));
    let listed = home.good("hyper history runs list --since 1d --outcome failed -o json");
    assert!(listed.contains("bad.raw") && listed.contains("integrity"), "{listed}");
    assert!(!listed.contains("appliance"), "{listed}");
}
