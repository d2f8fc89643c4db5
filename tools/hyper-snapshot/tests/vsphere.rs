//! `hyper-snapshot` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

const VM: &str = "DC0_H0_VM0";

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { server: Vcsim::start(&[]), home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let variables = self.server.variables();
        run(env!("CARGO_BIN_EXE_hyper-snapshot"), self.home.path(), &variables, args)
    }

    /// Runs what must succeed.
    fn ok(&self, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done
    }

    /// Takes snapshots, each on top of the one before.
    fn chain(&self, names: &[&str]) {
        for name in names {
            self.ok(&["create", VM, "--name", name]);
        }
    }

    /// govc's picture of the tree.
    fn tree(&self) -> String {
        self.server.govc(self.home.path(), &["snapshot.tree", "-vm", VM])
    }

    /// What the server says of the snapshots.
    fn info(&self) -> Value {
        let path = format!("/DC0/vm/{VM}");
        let args = ["object.collect", "-json", &path, "snapshot"];
        self.server.govc_json(self.home.path(), &args)[0]["Val"].clone()
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        let done = self.ok(&[&["list", "-o", "ndjson"], args].concat());
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        done.lines().iter().map(name).collect()
    }
}

#[test]
fn flag_name_and_flag_description_and_flag_quiesce() {
    let lab = Lab::new();
    let args = ["create", VM, "--name", "a", "--description", "before <it>", "--quiesce"];
    let made = lab.ok(&[&args[..], &["-o", "json"]].concat()).json();
    assert_eq!(made["schema"], "hyper.snapshot_action/v1");
    assert_eq!((&made["action"], &made["outcome"]), (&json!("create"), &json!("done")));
    let info = lab.info();
    let root = &info["RootSnapshotList"][0];
    assert_eq!(root["Name"], "a");
    assert_eq!(root["Description"], "before <it>");
    assert_eq!(root["Quiesced"], true);
    assert_eq!(root["Snapshot"]["Value"], made["snapshot_id"]);
    let plain = lab.ok(&["create", VM, "-o", "json"]).json();
    let name = plain["snapshot"].as_str().unwrap();
    assert!(name.starts_with("snapshot-2") && name.len() == 28, "{name}");
    let child = &lab.info()["RootSnapshotList"][0]["ChildSnapshotList"][0];
    assert_eq!((&child["Quiesced"], &child["Name"]), (&json!(false), &plain["snapshot"]));
    let taken = lab.run(&["create", VM, "--name", "a"]);
    assert_eq!(taken.status, 6, "{taken:?}");
    assert_eq!(lab.names(&[VM]).len(), 2);
    assert_eq!(lab.run(&["create", "nope", "--name", "a"]).status, 5);
    assert_eq!(lab.run(&["create", VM, "--name", ""]).status, 2);
}

#[test]
fn a_list_is_the_tree_that_govc_shows() {
    let lab = Lab::new();
    lab.chain(&["a", "b"]);
    lab.ok(&["revert", VM, "a", "--yes"]);
    lab.chain(&["c"]);
    let listed = lab.ok(&["list", VM, "-o", "ndjson"]).lines();
    let info = lab.info();
    let root = &info["RootSnapshotList"][0];
    let nodes = [root, &root["ChildSnapshotList"][0], &root["ChildSnapshotList"][1]];
    let parents =
        [Value::Null, root["Snapshot"]["Value"].clone(), root["Snapshot"]["Value"].clone()];
    assert_eq!(listed.len(), 3);
    for ((row, node), parent) in listed.iter().zip(nodes).zip(parents) {
        let made: jiff::Timestamp = row["created"].as_str().unwrap().parse().unwrap();
        assert_eq!(made, node["CreateTime"].as_str().unwrap().parse().unwrap());
        let expected = json!({
            "schema": "hyper.snapshot/v1",
            "vm": VM,
            "context": "govc",
            "vm_id": node["Vm"]["Value"],
            "id": node["Snapshot"]["Value"],
            "name": node["Name"],
            "description": null,
            "created": row["created"],
            "parent": parent,
            "depth": u32::from(!parent.is_null()),
            "current": node["Snapshot"] == info["CurrentSnapshot"],
            "status": "ready",
            "memory": false,
            "quiesced": false,
            "indications": [],
            "size_bytes": 0,
            "capacity_bytes": null,
            "error": null,
        });
        assert_eq!(*row, expected);
    }
    let table = lab.ok(&["list", VM]).out;
    let column = |line: &str| line[VM.len() + 3..].split("   ").next().unwrap().to_owned();
    let shown: Vec<_> = table.lines().skip(1).map(column).collect();
    assert_eq!(shown, ["a", "└ b", "└ c"], "{table}");
    assert_eq!(lab.tree(), "a\n  b\n  c\n  .\n");
    let names = lab.ok(&["list", VM, "-o", "name"]).out;
    let first = names.lines().next().unwrap();
    lab.ok(&["delete", VM, first, "--yes"]);
    assert_eq!(lab.names(&[VM]), ["b", "c"], "a name is taken back as an argument");
    assert_eq!(lab.run(&["list", "nope"]).status, 5);
}

#[test]
fn flag_yes_returns_to_a_snapshot() {
    let lab = Lab::new();
    lab.chain(&["a", "b"]);
    let current = || lab.info()["CurrentSnapshot"]["Value"].clone();
    let last = current();
    let asked = lab.run(&["revert", VM, "a"]);
    assert_eq!(asked.status, 2, "nobody to ask: {asked:?}");
    assert!(asked.err.contains("make govc:DC0_H0_VM0 again what it was at \"a\"?"), "{asked:?}");
    assert_eq!(current(), last);
    let done = lab.ok(&["restore", VM, "a", "-y", "-o", "json"]).json();
    assert_eq!((&done["snapshot_id"], &done["action"]), (&current(), &json!("revert")));
    assert_ne!(current(), last);
    let missing = lab.run(&["revert", VM, "nope", "--yes"]);
    assert_eq!(missing.status, 5);
    assert!(missing.err.contains("its snapshots: a, b"), "{missing:?}");
}

#[test]
fn flag_children() {
    let lab = Lab::new();
    lab.chain(&["a", "b", "c"]);
    let partly = lab.run(&["delete", VM, "a", "nope", "--yes"]);
    assert_eq!((partly.status, lab.names(&[VM]).len()), (5, 3), "{partly:?}");
    let asked = lab.run(&["delete", VM, "a", "b"]);
    assert_eq!((asked.status, lab.names(&[VM]).len()), (2, 3), "{asked:?}");
    lab.ok(&["delete", VM, "a", "--yes"]);
    assert_eq!(lab.tree(), "b\n  c\n  .\n");
    let both =
        lab.ok(&["delete", VM, "b", "c", "b", "--children", "--yes", "-o", "ndjson"]).lines();
    let outcome = |row: &Value| (row["snapshot"].clone(), row["outcome"].clone());
    let outcomes: Vec<_> = both.iter().map(outcome).collect();
    assert_eq!(outcomes, [(json!("b"), json!("done")), (json!("c"), json!("already"))]);
    assert_eq!(lab.tree(), "");
}

#[test]
fn flag_keep_and_flag_older_than_and_flag_dry_run() {
    let lab = Lab::new();
    lab.chain(&["a", "b", "hyper-export-1", "c"]);
    let plan = lab.ok(&["prune", VM, "--keep", "1", "--dry-run", "-o", "ndjson"]).lines();
    let planned: Vec<_> = plan.iter().map(|row| (&row["snapshot"], &row["outcome"])).collect();
    assert_eq!(planned, [(&json!("a"), &json!("planned")), (&json!("b"), &json!("planned"))]);
    assert_eq!(lab.names(&[VM]).len(), 4);
    let none = lab.ok(&["prune", VM, "--older-than", "1h", "--yes"]);
    assert!(none.err.contains("nothing to remove"), "{none:?}");
    assert_eq!(lab.run(&["prune", VM, "--yes"]).status, 2, "which?");
    let asked = lab.run(&["prune", VM, "--keep", "2"]);
    assert_eq!(asked.status, 2, "{asked:?}");
    assert!(asked.err.contains("delete govc:DC0_H0_VM0 a?"), "{asked:?}");
    assert_eq!(lab.names(&[VM]).len(), 4);
    // Not only since an hour, and not the newest two, of which an export has one.
    lab.ok(&["prune", VM, "--older-than", "2999-01-01", "--keep", "2", "--yes"]);
    assert_eq!(lab.names(&[VM]), ["b", "hyper-export-1", "c"]);
    lab.ok(&["prune", VM, "--older-than", "0s", "--yes"]);
    assert_eq!(lab.tree(), "hyper-export-1\n.\n");
}

#[test]
fn flag_match_and_flag_selector() {
    let lab = Lab::new();
    let all = "DC0_H0_*";
    let made = lab.ok(&["create", "--match", all, "--name", "{vm}-x", "-o", "ndjson"]).lines();
    let mut names: Vec<_> = made.iter().map(|row| row["snapshot"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["DC0_H0_VM0-x", "DC0_H0_VM1-x"]);
    assert_eq!(lab.names(&["--match", all]).len(), 2);
    let part = lab.run(&["create", VM, "nope", "--name", "y"]);
    assert_eq!(part.status, 10, "{part:?}");
    assert_eq!(lab.run(&["list"]).status, 2, "of which machines?");
    assert_eq!(lab.run(&["list", "--selector", "app=web"]).status, 7, "there are no labels");
    assert_eq!(lab.ok(&["list", "--match", "zzz"]).err, "no machine here passes\n");
    let plan = lab.ok(&["prune", "--match", all, "--keep", "0", "--dry-run", "-o", "ndjson"]);
    assert_eq!(plan.lines().len(), 3);
}

#[test]
fn flag_context_and_flag_output_and_flag_quiet_and_flag_verbose() {
    let lab = Lab::new();
    lab.chain(&["a"]);
    let files = lab.run(&["list", "web01", "-c", "local"]);
    assert_eq!(files.status, 7, "files have none: {files:?}");
    assert_eq!(lab.run(&["list", VM, "-c", "nowhere"]).status, 5);
    assert_eq!(lab.names(&[VM, "-c", "govc"]), ["a"]);
    let csv = lab.ok(&["list", VM, "-o", "csv"]).out;
    assert!(csv.starts_with("vm,name,created,size_bytes,"), "{csv}");
    let list = lab.ok(&["list", VM, "-o", "json"]).json();
    assert_eq!(list["items"][0]["name"], "a");
    let quiet = lab.ok(&["list", "--match", "zzz", "-q"]);
    assert_eq!(quiet.err, "");
    assert!(lab.ok(&["list", VM, "-v"]).err.contains("configuration:"));
}

#[test]
fn changes_are_in_the_journal_and_what_vcsim_cannot_is_refused() {
    let lab = Lab::new();
    lab.chain(&["a"]);
    let loose = lab.run(&["consolidate", VM]);
    assert_eq!(loose.status, 7, "vcsim cannot: {loose:?}");
    lab.ok(&["list", VM]);
    lab.ok(&["delete", VM, "a", "--yes"]);
    let journal = lab.home.path().join(".local/state/hyper/history");
    let files = std::fs::read_dir(journal).unwrap().map(|it| it.unwrap().path());
    let text: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    assert_eq!(text.matches("\"record\":\"begin\"").count(), 3, "a list is not: {text}");
    assert_eq!(text.matches("\"record\":\"end\"").count(), 3);
    assert!(!text.contains(vcsim::PASSWORD));
}
