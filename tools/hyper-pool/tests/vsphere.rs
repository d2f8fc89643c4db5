//! `hyper-pool` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

const CLUSTER: &str = "/DC0/host/DC0_C0";
const ROOT: &str = "/DC0/host/DC0_C0/Resources";

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new(more: &[&str]) -> Self {
        Self { server: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let variables = self.server.variables();
        run(env!("CARGO_BIN_EXE_hyper-pool"), self.home.path(), &variables, args)
    }

    /// Runs what must succeed.
    fn ok(&self, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    /// What govc reads of an object.
    fn properties(&self, path: &str) -> BTreeMap<String, Value> {
        self.server.properties(self.home.path(), path)
    }

    /// The paths of all pools, as govc finds them.
    fn paths(&self) -> Vec<String> {
        let found = self.govc(&["find", "/", "-type", "p"]);
        let mut paths: Vec<_> = found.lines().map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// What govc finds right in the own pool of the cluster: vcsim's pools do not notice that they
    /// were moved, which govc's search does not come to an end with.
    fn at_root(&self) -> Vec<Value> {
        let args = ["object.collect", "-json", ROOT, "resourcePool"];
        let found = self.server.govc_json(self.home.path(), &args);
        found[0]["Val"]["ManagedObjectReference"].as_array().cloned().unwrap_or_default()
    }

    fn list(&self, args: &[&str]) -> Vec<Value> {
        self.ok(&[&["list", "-o", "ndjson"], args].concat()).lines()
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        self.list(args).iter().map(name).collect()
    }
}

/// The settings of a pool as govc has them.
fn settings(properties: &BTreeMap<String, Value>) -> Value {
    let part = |name: &str| {
        let info = &properties["config"][name];
        let shares = &info["Shares"];
        json!([info["Reservation"], info["Limit"], info["ExpandableReservation"], shares])
    };
    json!([part("CpuAllocation"), part("MemoryAllocation"), properties["name"]])
}

fn count(properties: &BTreeMap<String, Value>, name: &str) -> usize {
    properties[name]["ManagedObjectReference"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_list_has_field_by_field_what_govc_reads() {
    let lab = Lab::new(&["-pool", "2", "-app", "1"]);
    let inner = format!("{ROOT}/DC0_C0_RP1/inner");
    lab.govc(&["pool.create", "-cpu.limit=900", "-mem.reservation=64", "-mem.shares=77", &inner]);
    let rows = lab.list(&[]);
    let mut paths: Vec<_> =
        rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
    let place = paths.iter().position(|it| *it == inner).unwrap();
    assert_eq!(paths[place - 1], format!("{ROOT}/DC0_C0_RP1"), "behind what it is in");
    assert_eq!(rows[place]["depth"], 2);
    paths.sort();
    assert_eq!(paths, lab.paths());
    for row in &rows {
        let path = row["path"].as_str().unwrap();
        let real = lab.properties(path);
        let (parent_path, name) = path.rsplit_once('/').unwrap();
        let (config, runtime) = (&real["config"], &real["runtime"]);
        let (cpu, memory) = (&config["CpuAllocation"], &config["MemoryAllocation"]);
        let root = real["parent"]["Type"] != "ResourcePool";
        let kind = if root {
            "root"
        } else if path.contains("APP") {
            "vapp"
        } else {
            "pool"
        };
        let parent = if root { Value::Null } else { real["parent"]["Value"].clone() };
        let most = runtime["Memory"]["MaxUsage"].as_u64().unwrap() >> 20;
        let expected = json!({
            "schema": "hyper.pool/v1",
            "name": name,
            "path": path,
            "context": "govc",
            "id": row["id"],
            "kind": kind,
            "parent_path": parent_path,
            "parent": parent,
            "depth": path.matches('/').count() - 4,
            "cluster": path.split('/').nth(3).unwrap(),
            "datacenter": "DC0",
            "status": real["overallStatus"],
            "cpu_allocation_mhz": runtime["Cpu"]["MaxUsage"],
            "cpu_reservation_mhz": cpu["Reservation"],
            "cpu_limit_mhz": cpu["Limit"],
            "cpu_expandable": cpu["ExpandableReservation"],
            "cpu_shares": cpu["Shares"]["Level"],
            "cpu_shares_level": cpu["Shares"]["Shares"],
            "cpu_usage_mhz": runtime["Cpu"]["OverallUsage"],
            "cpu_reservation_used_mhz": runtime["Cpu"]["ReservationUsed"],
            "cpu_unreserved_mhz": runtime["Cpu"]["UnreservedForPool"],
            "memory_allocation_mb": most,
            "memory_reservation_mb": memory["Reservation"],
            "memory_limit_mb": memory["Limit"],
            "memory_expandable": memory["ExpandableReservation"],
            "memory_shares": memory["Shares"]["Level"],
            "memory_shares_level": memory["Shares"]["Shares"],
            "memory_usage_bytes": runtime["Memory"]["OverallUsage"],
            "memory_reservation_used_bytes": runtime["Memory"]["ReservationUsed"],
            "memory_unreserved_bytes": runtime["Memory"]["UnreservedForPool"],
            "num_vms": count(&real, "vm"),
            "num_sub_pools": count(&real, "resourcePool"),
        });
        assert_eq!(*row, expected);
        let got = lab.ok(&["get", path, "-o", "json"]).json();
        assert_eq!(got, expected);
        let named = lab.ok(&["get", path, "-o", "name"]).out;
        assert_eq!(lab.ok(&["get", named.trim(), "-o", "json"]).json(), expected);
    }
    let table = lab.ok(&["list"]).out;
    let line = table.lines().find(|line| line.contains("inner")).unwrap();
    assert!(line.starts_with("  └ inner"), "{table}");
    assert!(line.contains("64 MiB") && line.contains("unlimited") && line.contains("0 (0%)"));
    assert!(table.contains("DC0_C0/Resources"), "{table}");
    let facts = lab.ok(&["get", "inner"]).out;
    assert!(facts.contains("cpu limit mhz") && facts.contains("900"), "{facts}");
    assert!(lab.ok(&["list", "-o", "wide"]).out.contains(&inner));
}

#[test]
fn flag_parent_and_flag_cpu_reservation_and_flag_cpu_limit_and_flag_cpu_shares_and_flag_cpu_expandable()
 {
    let lab = Lab::new(&[]);
    let sizes = ["--cpu-reservation", "500", "--cpu-limit", "2GHz", "--cpu-shares", "high"];
    let args = [&["create", "web", "--parent", "DC0_C0", "-o", "json"], &sizes[..]].concat();
    let made = lab.ok(&[&args[..], &["--cpu-expandable", "false"]].concat()).json();
    assert_eq!(
        (&made["schema"], &made["outcome"]),
        (&json!("hyper.pool_action/v1"), &json!("done"))
    );
    let real = lab.properties(&format!("{ROOT}/web"));
    let cpu = &real["config"]["CpuAllocation"];
    assert_eq!((&cpu["Reservation"], &cpu["Limit"]), (&json!(500), &json!(2000)));
    assert_eq!(cpu["Shares"]["Level"], "high");
    assert_eq!(cpu["ExpandableReservation"], false);
    let memory = &real["config"]["MemoryAllocation"];
    assert_eq!((&memory["Reservation"], &memory["Limit"]), (&json!(0), &json!(-1)));
    assert_eq!(memory["ExpandableReservation"], true);
    lab.ok(&["create", "inner", "--parent", "web", "--cpu-shares", "1234"]);
    let inner = lab.properties(&format!("{ROOT}/web/inner"));
    let shares = &inner["config"]["CpuAllocation"]["Shares"];
    assert_eq!(*shares, json!({"Level": "custom", "Shares": 1234}));
    lab.ok(&["update", "inner", "--cpu-shares", "low"]);
    let inner = lab.properties(&format!("{ROOT}/web/inner"));
    assert_eq!(inner["config"]["CpuAllocation"]["Shares"]["Level"], "low");
    // vcsim answers that all is well, and does not store this one.
    let kept = lab.run(&["update", "web", "--cpu-expandable", "true", "-o", "json"]);
    assert_eq!((kept.status, &kept.json()["outcome"]), (1, &json!("failed")));
    assert!(
        kept.err.contains("the server took the change, but cpu_expandable is false"),
        "{kept:?}"
    );
    let which = lab.run(&["create", "loose"]);
    assert_eq!(which.status, 2, "two clusters: {which:?}");
    assert!(which.err.contains("--parent /DC0/host/DC0_C0"), "{which:?}");
}

#[test]
fn flag_memory_reservation_and_flag_memory_limit_and_flag_memory_shares_and_flag_memory_expandable()
{
    let lab = Lab::new(&[]);
    let sizes =
        ["--memory-reservation", "1Gi", "--memory-limit", "2048Mi", "--memory-shares", "low"];
    let args = [&["create", "web", "--parent", CLUSTER], &sizes[..]].concat();
    lab.ok(&[&args[..], &["--memory-expandable", "false"]].concat());
    let real = lab.properties(&format!("{ROOT}/web"));
    let memory = &real["config"]["MemoryAllocation"];
    assert_eq!((&memory["Reservation"], &memory["Limit"]), (&json!(1024), &json!(2048)));
    assert_eq!(memory["Shares"]["Level"], "low");
    assert_eq!(memory["ExpandableReservation"], false);
    lab.ok(&["update", "web", "--memory-limit", "unlimited"]);
    let after = lab.properties(&format!("{ROOT}/web"));
    assert_eq!(after["config"]["MemoryAllocation"]["Limit"], -1);
    assert_eq!(after["config"]["CpuAllocation"], real["config"]["CpuAllocation"]);
}

#[test]
fn flag_name_and_flag_dry_run_change_what_is_named_and_nothing_else() {
    let lab = Lab::new(&[]);
    let path = format!("{ROOT}/theirs");
    let theirs =
        ["-cpu.limit=900", "-cpu.reservation=100", "-cpu.shares=55", "-cpu.expandable=false"];
    lab.govc(
        &[&["pool.create", "-mem.limit=700", "-mem.shares=high"], &theirs[..], &[&path]].concat(),
    );
    let before = lab.properties(&path);
    let args = ["update", "theirs", "--cpu-limit", "800", "--memory-reservation", "64Mi"];
    let plan = lab.ok(&[&args[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!(settings(&lab.properties(&path)), settings(&before), "only shown");
    assert_eq!(plan["outcome"], "planned");
    let changes = json!([
        {"field": "cpu_limit_mhz", "before": 900, "after": 800},
        {"field": "memory_reservation_mb", "before": 0, "after": 64},
    ]);
    assert_eq!(plan["changes"], changes);
    let shown = lab.ok(&[&args[..], &["--dry-run"]].concat()).out;
    assert!(shown.contains("cpu_limit_mhz: 900 -> 800"), "{shown}");
    let done = lab.ok(&[&args[..], &["-o", "json"]].concat()).json();
    assert_eq!((&done["outcome"], &done["changes"]), (&json!("done"), &changes));
    let mut expected = settings(&before);
    expected[0][1] = json!(800);
    expected[1][0] = json!(64);
    assert_eq!(settings(&lab.properties(&path)), expected);
    let again = lab.ok(&[&args[..], &["-o", "json"]].concat()).json();
    assert_eq!((&again["outcome"], &again["changes"]), (&json!("already"), &json!([])));
    lab.ok(&["update", "theirs", "--name", "ours"]);
    expected[2] = json!("ours");
    assert_eq!(settings(&lab.properties(&format!("{ROOT}/ours"))), expected);
    let planned = lab.ok(&["create", "x", "--parent", "ours", "--dry-run", "-o", "json"]).json();
    assert_eq!(planned["path"], format!("{ROOT}/ours/x"));
    assert_eq!(planned["changes"][0], json!({"field": "name", "before": null, "after": "x"}));
    assert!(!lab.paths().contains(&format!("{ROOT}/ours/x")));
}

#[test]
fn bad_input_is_one_clear_line_and_changes_nothing() {
    let lab = Lab::new(&[]);
    for path in [format!("{ROOT}/a"), format!("{ROOT}/b"), "/DC0/host/DC0_H0/Resources/b".into()] {
        lab.govc(&["pool.create", "-cpu.limit=100", &path]);
    }
    let before = lab.list(&[]);
    let cases: [(&[&str], i32, &str); 20] = [
        (&["get", "nope"], 5, "there is no such resource pool"),
        (&["get", "b"], 6, "2 resource pools are called so"),
        (&["update", "b", "--cpu-limit", "5"], 6, "/DC0/host/DC0_H0/Resources/b"),
        (&["update", "nope", "--cpu-limit", "5"], 5, "there are: /DC0/host"),
        (&["update", "a", "--cpu-limit", "-5"], 2, "not negative"),
        (&["update", "a", "--cpu-limit", "-1"], 2, "unlimited"),
        (&["update", "a", "--memory-limit", "-1"], 2, "not negative"),
        (&["update", "a", "--memory-limit", "100"], 2, "whole MiB"),
        (&["update", "a", "--cpu-shares", "-3"], 2, "shares are low, normal, high or a number"),
        (&["update", "a", "--cpu-shares", "custom"], 2, "shares are low, normal, high or a number"),
        (&["update", "a", "--cpu-reservation", "101"], 2, "above the limit of 100 MHz"),
        (&["update", "a", "--name", "b"], 6, "there is such a pool already"),
        (&["update", "a", "--name", ""], 2, "is not empty"),
        (&["update", "a"], 2, "what of the pool is to be changed?"),
        (&["update", CLUSTER, "--cpu-limit", "5"], 7, "the own pool of a cluster or host"),
        (&["create", "a", "--parent", "DC0_C0"], 6, "there is such a pool already"),
        (&["create", "x/y", "--parent", "DC0_C0"], 2, "has no /"),
        (&["create", "x", "--parent", "nope"], 5, "there is no such resource pool"),
        (
            &[
                "create",
                "x",
                "--parent",
                "a",
                "--memory-reservation",
                "2Gi",
                "--memory-limit",
                "1Gi",
            ],
            2,
            "the memory reservation of 2048 MiB is above the limit of 1024 MiB",
        ),
        (&["delete", "a", "nope", "--yes"], 5, "there is no such resource pool"),
    ];
    for (args, status, words) in cases {
        let done = lab.run(args);
        assert_eq!(done.status, status, "{args:?}: {done:?}");
        assert!(done.err.contains(words), "{args:?}: {done:?}");
        assert_eq!(done.out, "", "{args:?}");
    }
    assert_eq!(lab.list(&[]), before);
}

#[test]
fn flag_yes_and_what_becomes_of_what_is_in_a_removed_pool() {
    let lab = Lab::new(&["-app", "1"]);
    let (outer, inner) = (format!("{ROOT}/outer"), format!("{ROOT}/outer/inner"));
    lab.ok(&["create", "outer", "--parent", "DC0_C0"]);
    lab.ok(&["create", "inner", "--parent", "outer"]);
    lab.govc(&["vm.clone", "-vm", "DC0_H0_VM0", "-pool", &outer, "-on=false", "moved"]);
    let asked = lab.run(&["delete", "outer"]);
    assert_eq!(asked.status, 2, "nobody to ask: {asked:?}");
    assert!(asked.err.contains("(1 pools and 1 machines are in it)?"), "{asked:?}");
    let plan = lab.ok(&["delete", "outer", "--dry-run", "-o", "json"]).json();
    assert_eq!(plan["outcome"], "planned");
    assert!(lab.paths().contains(&inner));
    let ids = |name: &str| lab.list(&["--match", name])[0]["id"].clone();
    let (outer_id, inner_id) = (ids("outer"), ids("inner"));
    let done = lab.ok(&["delete", "outer", "--yes", "-o", "json"]).json();
    assert_eq!(done["note"], format!("1 pools and 1 machines are now in {ROOT}"));
    let at_root: Vec<_> = lab.at_root().iter().map(|it| it["Value"].clone()).collect();
    assert!(!at_root.contains(&outer_id) && at_root.contains(&inner_id), "{at_root:?}");
    let parent = ["create", "p", "--parent", "DC0_C0"];
    lab.ok(&parent);
    lab.ok(&["create", "deep", "--parent", "p"]);
    let both = lab.ok(&["delete", "p", "deep", "Resources/p", "--yes", "-o", "ndjson"]).lines();
    let rows: Vec<_> = both.iter().map(|row| (&row["pool"], &row["outcome"])).collect();
    let done = json!("done");
    assert_eq!(rows, [(&json!("deep"), &done), (&json!("p"), &done)], "the innermost first");
    assert_eq!(lab.names(&["--match", "{p,deep,outer}"]).len(), 0);
    assert_eq!(lab.run(&["delete", CLUSTER, "--yes"]).status, 7);
    let vapp = lab.run(&["delete", "DC0_C0_APP0", "--yes"]);
    assert_eq!(vapp.status, 7);
    assert!(vapp.err.contains("would take its machines with it"), "{vapp:?}");
    let journal = lab.home.path().join(".local/state/hyper/history");
    let files = std::fs::read_dir(journal).unwrap().map(|it| it.unwrap().path());
    let text: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    assert_eq!(text.matches("\"record\":\"begin\"").count(), 6, "changes only: {text}");
    assert!(!text.contains(vcsim::PASSWORD));
}

#[test]
fn flag_match_and_flag_output() {
    let lab = Lab::new(&[]);
    lab.ok(&["create", "web", "--parent", "DC0_C0", "--cpu-limit", "70"]);
    assert_eq!(lab.names(&["--match", "we*"]), ["web"]);
    assert_eq!(lab.names(&["--match", "cpu_limit_mhz=70", "--match", "path~/DC0_C0/"]), ["web"]);
    assert_eq!(lab.names(&["--match", "kind=root"]), ["Resources", "Resources"]);
    assert_eq!(lab.names(&["--match", "web", "--match", "kind=root"]).len(), 0);
    let unknown = lab.run(&["list", "--match", "cpu_limt=1"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.err.contains("did you mean cpu_limit_mhz?"), "{unknown:?}");
    let csv = lab.ok(&["list", "-o", "csv", "--match", "web"]).out;
    assert!(csv.starts_with("name,cpu_reservation_mhz,cpu_limit_mhz,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("web,0,70,0,normal,0,-1,0,"), "{csv}");
    let yaml = lab.ok(&["list", "-o", "yaml", "--match", "web"]).out;
    assert!(yaml.contains("- schema: hyper.pool/v1"), "{yaml}");
    let path = lab.ok(&["list", "-o", "jsonpath={.items[*].path}", "--match", "web"]).out;
    assert_eq!(path.trim(), format!("{ROOT}/web"));
}

#[test]
fn flag_context_and_flag_all_contexts_and_flag_quiet_and_flag_verbose() {
    let lab = Lab::new(&[]);
    let files = lab.run(&["list", "-c", "local"]);
    assert_eq!(files.status, 7, "files have none: {files:?}");
    assert!(files.err.contains("local has no resource pools"), "{files:?}");
    assert_eq!(lab.run(&["get", "DC0_C0", "-c", "local"]).status, 7);
    assert_eq!(lab.run(&["create", "local:x"]).status, 7);
    assert_eq!(lab.run(&["list", "-c", "local,govc"]).status, 10, "part of it");
    assert_eq!(lab.run(&["list", "--all-contexts", "-c", "govc"]).status, 2, "one or all");
    assert_eq!(lab.run(&["list", "-c", "nowhere"]).status, 5);
    assert_eq!(lab.names(&["--all-contexts"]).len(), 2, "local is left out");
    assert_eq!(lab.names(&["-c", "govc"]).len(), 2);
    let none = ["list", "--match", "zzz"];
    assert_eq!(lab.ok(&none).err, "no resource pool here passes\n");
    assert_eq!(lab.ok(&[&none[..], &["-q"]].concat()).err, "");
    assert!(lab.ok(&["list", "-v"]).err.contains("configuration:"));
}

#[test]
fn flag_timeout() {
    let lab = Lab::new(&["-delay", "700"]);
    let late = lab.run(&["create", "web", "--parent", "DC0_C0", "--timeout", "500ms"]);
    assert_eq!(late.status, 11, "{late:?}");
}
