//! `hyper-clone` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::Value;

use self::vcsim::{Done, Vcsim, run};

const VM: &str = "DC0_H0_VM0";

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        Self { server: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let variables = self.server.variables();
        let args = [args, &["-o", "ndjson"]].concat();
        run(env!("CARGO_BIN_EXE_hyper-clone"), self.home.path(), &variables, &args)
    }

    /// The outcomes of a run, by the names of the clones, and how it ended.
    fn outcomes(&self, args: &[&str]) -> (i32, Vec<(String, String)>) {
        let done = self.run(args);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let outcome = |row: Value| (text(&row["target_name"]), text(&row["outcome"]));
        let mut all: Vec<_> = done.lines().into_iter().map(outcome).collect();
        all.sort();
        (done.status, all)
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    /// The paths of all machines that vcsim did not begin with.
    fn new_ones(&self) -> Vec<String> {
        let all = self.govc(&["find", "/", "-type", "m"]);
        let mut new: Vec<_> =
            all.lines().filter(|it| !it.contains("/DC0_")).map(str::to_owned).collect();
        new.sort();
        new
    }

    fn info(&self, vm: &str) -> Value {
        let info = self.server.govc_json(self.home.path(), &["vm.info", "-json", vm]);
        info["VirtualMachines"][0].clone()
    }

    /// A file of clones in the user's home.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn told(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
}

#[test]
fn flag_power_on_and_a_second_run() {
    let lab = Lab::new();
    let made = lab.run(&[VM, "copy", "--power-on"]);
    assert_eq!(made.status, 0, "{made:?}");
    let row = &made.lines()[0];
    assert_eq!((&row["schema"], &row["outcome"]), (&"hyper.clone/v1".into(), &"done".into()));
    let (copy, source) = (lab.info("copy"), lab.info(VM));
    assert_eq!(copy["Self"]["Value"], row["id"]);
    assert_eq!(copy["Runtime"]["PowerState"], "poweredOn");
    assert_ne!(copy["Config"]["InstanceUuid"], source["Config"]["InstanceUuid"]);
    let disks = |vm: &Value| -> Vec<Value> {
        let devices = vm["Config"]["Hardware"]["Device"].as_array().unwrap().iter();
        devices.map(|it| it["CapacityInKB"].clone()).filter(|it| !it.is_null()).collect()
    };
    assert_eq!(disks(&copy), disks(&source));
    lab.govc(&["vm.power", "-off", "copy"]);
    assert_eq!(lab.outcomes(&[VM, "copy"]), (0, told(&[("copy", "exists")])));
    assert_eq!(lab.info("copy")["Runtime"]["PowerState"], "poweredOff");
    assert_eq!(lab.outcomes(&[VM, "copy", "--power-on"]), (0, told(&[("copy", "exists")])));
    assert_eq!(lab.info("copy")["Runtime"]["PowerState"], "poweredOn");
    let taken = lab.run(&["DC0_H0_VM1", "copy"]);
    assert_eq!(taken.status, 6, "{taken:?}");
    assert!(taken.err.contains("the name is taken"), "{taken:?}");
    // A copy of the copy by another hand inherits its note, and is still none of ours.
    lab.govc(&[
        "vm.clone",
        "-vm",
        "copy",
        "-pool",
        "/DC0/host/DC0_H0/Resources",
        "-on=false",
        "c2",
    ]);
    assert_eq!(lab.run(&[VM, "c2"]).status, 6);
    assert_eq!(lab.new_ones(), ["/DC0/vm/c2", "/DC0/vm/copy"]);
    let missing = lab.run(&["nope", "x"]);
    assert!(
        missing.status == 5 && missing.err.contains("\"nope: there is no such machine"),
        "{missing:?}"
    );
}

#[test]
fn flag_name_and_flag_count_and_flag_dry_run() {
    let lab = Lab::new();
    let args = [VM, "--count", "3", "--name", "web-{n:02}"];
    let three = ["web-01", "web-02", "web-03"];
    let all = |outcome: &'static str| told(&three.map(|name| (name, outcome)));
    assert_eq!(lab.outcomes(&[&args[..], &["--dry-run"]].concat()), (0, all("planned")));
    assert_eq!(lab.new_ones(), [""; 0]);
    assert_eq!(lab.outcomes(&args), (0, all("done")));
    assert_eq!(lab.new_ones(), three.map(|name| format!("/DC0/vm/{name}")));
    assert_eq!(lab.outcomes(&args), (0, all("exists")));
    assert_eq!(lab.outcomes(&[VM, "--name", "{source}-x"]).1, told(&[("DC0_H0_VM0-x", "done")]));
    for wrong in [
        &[VM][..],
        &[VM, "--count", "2", "--name", "x"],
        &[VM, "--name", "{x}"],
        &[VM, "a", "--name", "b"],
    ] {
        assert_eq!(lab.run(wrong).status, 2, "{wrong:?}");
    }
}

#[test]
fn flag_folder_and_flag_pool_and_flag_datastore_and_flag_host() {
    let lab = Lab::with(&["-pool", "1", "-ds", "2"]);
    lab.govc(&["folder.create", "/DC0/vm/web"]);
    let put = ["--folder", "web", "--pool", "DC0_C0_RP1", "--datastore", "LocalDS_1"];
    let made = lab.run(&[&["DC0_C0_RP0_VM0", "a"][..], &put].concat());
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(lab.new_ones(), ["/DC0/vm/web/a"]);
    let pool = |vm: &str| {
        let pool = lab.info(vm)["ResourcePool"]["Value"].as_str().unwrap().to_owned();
        lab.govc(&["ls", "-L", &format!("ResourcePool:{pool}")]).trim().to_owned()
    };
    assert_eq!(pool("web/a"), "/DC0/host/DC0_C0/Resources/DC0_C0_RP1");
    let a = lab.info("web/a");
    let path = a["Config"]["Files"]["VmPathName"].as_str().unwrap();
    assert!(path.starts_with("[LocalDS_1]"), "{path}");
    // vcsim leaves a clone on its source's host, but in the pool that goes with the one asked for.
    let made = lab.run(&["DC0_C0_RP0_VM0", "b", "--host", "DC0_H0"]);
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(pool("b"), "/DC0/host/DC0_H0/Resources");
    let by_path =
        lab.run(&[VM, "c", "--pool", "/DC0/host/DC0_H0/Resources", "--folder", "/DC0/vm"]);
    assert_eq!(by_path.status, 0, "{by_path:?}");
    let before = lab.new_ones();
    for (flag, part) in [
        ("--folder", "there are: /DC0/vm, /DC0/vm/web"),
        ("--pool", "/DC0/host/DC0_C0/Resources/DC0_C0_RP1"),
        ("--datastore", "/DC0/datastore/LocalDS_0, /DC0/datastore/LocalDS_1"),
        ("--host", "no such host"),
    ] {
        let missing = lab.run(&[VM, "x", flag, "nope"]);
        assert_eq!(missing.status, 5, "{flag}: {missing:?}");
        assert!(missing.err.contains(part), "{flag}: {missing:?}");
    }
    let several = lab.run(&[VM, "x", "--pool", "Resources"]);
    assert_eq!(several.status, 6, "{several:?}");
    assert!(several.err.contains("/DC0/host/DC0_C0/Resources"), "{several:?}");
    assert_eq!(lab.new_ones(), before);
}

#[test]
fn flag_linked_and_flag_snapshot_and_flag_make_snapshot() {
    let lab = Lab::new();
    let tree = || lab.govc(&["snapshot.tree", "-vm", VM]);
    let none = lab.run(&[VM, "a", "--linked"]);
    assert_eq!(none.status, 6, "{none:?}");
    assert!(none.err.contains("--make-snapshot"), "{none:?}");
    lab.govc(&["snapshot.create", "-vm", VM, "clean"]);
    assert_eq!(lab.run(&[VM, "a", "--snapshot", "nope"]).status, 5);
    assert_eq!(lab.outcomes(&[VM, "a", "--snapshot", "clean"]).1, told(&[("a", "done")]));
    // vcsim copies whatever it is asked: that must not pass for a linked clone.
    let full = lab.run(&[VM, "b", "--linked", "--snapshot", "clean"]);
    assert_eq!(full.status, 7, "{full:?}");
    assert!(full.err.contains("full copy"), "{full:?}");
    assert_eq!(lab.new_ones(), ["/DC0/vm/a"]);
    assert_eq!(tree(), "clean\n.\n");
    let taken = lab.run(&[VM, "b", "--linked", "--make-snapshot", "--rollback"]);
    assert_eq!((taken.status, tree().as_str()), (7, "clean\n.\n"), "{taken:?}");
    let taken = lab.run(&[VM, "b", "--linked", "--make-snapshot"]);
    assert_eq!(taken.status, 7, "{taken:?}");
    assert!(tree().contains("hyper-clone-2"), "{}", tree());
}

#[test]
fn flag_bulk_and_flag_keep_going() {
    let lab = Lab::new();
    let yaml = lab.file("clones.yaml", "clones:\n- source_vm: DC0_H0_VM0\n  target_name: a\n  \
        power_on: true\n  resource_pool: /DC0/host/DC0_H0/Resources\n- {source_vm: DC0_H0_VM1, target_name: b}\n");
    assert_eq!(lab.outcomes(&["--bulk", &yaml]), (0, told(&[("a", "done"), ("b", "done")])));
    assert_eq!(lab.info("a")["Runtime"]["PowerState"], "poweredOn");
    assert_eq!(lab.info("b")["Runtime"]["PowerState"], "poweredOff");
    let csv = lab.file(
        "clones.csv",
        "source_vm,target_name,resource_pool\nDC0_H0_VM0,c,nope\nDC0_H0_VM0,d,\n",
    );
    let stays = lab.outcomes(&["--bulk", &csv]);
    assert_eq!(stays, (10, told(&[("c", "failed"), ("d", "skipped")])));
    assert_eq!(lab.new_ones().len(), 2, "nothing is made where not all can be");
    let goes = lab.outcomes(&["--bulk", &csv, "--keep-going"]);
    assert_eq!(goes, (10, told(&[("c", "failed"), ("d", "done")])));
    let twice = lab.file(
        "twice.json",
        r#"[{"source_vm":"DC0_H0_VM0","target_name":"e"},
        {"source_vm":"DC0_H0_VM1","target_name":"e"}]"#,
    );
    assert_eq!(lab.run(&["--bulk", &twice]).status, 2);
    assert_eq!(lab.run(&["--bulk", "/nonexistent.yaml"]).status, 5);
    assert_eq!(lab.run(&["--bulk", &csv, VM]).status, 2);
}

/// Three clones, of which vcsim makes the first well and the others not as they are wanted.
fn three(lab: &Lab) -> String {
    lab.govc(&["snapshot.create", "-vm", VM, "clean"]);
    lab.file(
        "three.yaml",
        "clones:\n- {source_vm: DC0_H0_VM0, target_name: a}\n\
        - {source_vm: DC0_H0_VM0, target_name: b, linked_clone: true, snapshot: clean}\n\
        - {source_vm: DC0_H0_VM0, target_name: c, linked_clone: true, snapshot: clean}\n",
    )
}

#[test]
fn flag_stop_on_error_and_flag_max_concurrent() {
    let lab = Lab::new();
    let file = three(&lab);
    let one = ["--bulk", &file, "--max-concurrent", "1"];
    let stopped = lab.outcomes(&[&one[..], &["--stop-on-error"]].concat());
    assert_eq!(stopped, (10, told(&[("a", "done"), ("b", "failed"), ("c", "skipped")])));
    // Those that are begun together are not stopped by each other.
    let begun = lab.outcomes(&["--bulk", &file, "--stop-on-error"]);
    assert_eq!(begun, (10, told(&[("a", "exists"), ("b", "failed"), ("c", "failed")])));
}

#[test]
fn flag_rollback_removes_what_was_made() {
    let lab = Lab::new();
    let file = three(&lab);
    let args = ["--bulk", &file, "--max-concurrent", "1", "--power-on", "--rollback"];
    let (status, all) = lab.outcomes(&args);
    assert_eq!(status, 10);
    let wanted = [("a", "done"), ("a", "rolled_back"), ("b", "failed"), ("c", "skipped")];
    assert_eq!(all, told(&wanted));
    assert_eq!(lab.new_ones(), [""; 0]);
}

#[test]
fn flag_wait_and_flag_timeout() {
    let lab = Lab::new();
    // vcsim's guests have no VMware Tools, so that the wait only ends with the time.
    let late = lab.run(&[VM, "copy", "--power-on", "--wait", "--timeout", "2s"]);
    assert_eq!(late.status, 11, "{late:?}");
    assert_eq!(lab.new_ones(), ["/DC0/vm/copy"]);
    assert_eq!(lab.run(&[VM, "x", "--wait"]).status, 2, "for what?");
}

#[test]
fn flag_context_and_flag_output_and_flag_quiet_and_flag_verbose() {
    let lab = Lab::new();
    let run = |args: &[&str]| {
        run(env!("CARGO_BIN_EXE_hyper-clone"), lab.home.path(), &lab.server.variables(), args)
    };
    assert_eq!(run(&["a.vmx", "b", "-c", "local"]).status, 7, "files are not cloned");
    assert_eq!(run(&[VM, "a", "-c", "nowhere"]).status, 5);
    let name = run(&[VM, "a", "-c", "govc", "-o", "name"]);
    assert_eq!(
        name.out.trim(),
        format!("govc:@{}", lab.info("a")["Self"]["Value"].as_str().unwrap())
    );
    let told = run(&[VM, "a", "-v"]);
    assert!(told.err.contains("configuration:") && told.out.contains("exists"), "{told:?}");
    let linked = ["b", "--linked", "--make-snapshot"];
    let told = run(&[&[VM], &linked[..]].concat());
    assert!(told.err.contains("was taken for its clones"), "{told:?}");
    let quiet = run(&[&["DC0_H0_VM1"], &linked[..], &["-q"]].concat());
    assert!(quiet.status == 7 && !quiet.err.contains("was taken"), "{quiet:?}");
}
