//! `hyper-context` as a process, with a home of its own and nothing of the caller's environment.

#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Home {
    root: tempfile::TempDir,
}

#[derive(Debug)]
struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Home {
    fn new() -> Self {
        let home = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(home.at("machines")).unwrap();
        home
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn file(&self) -> PathBuf {
        self.at(".config/hyper/config.yaml")
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, &[])
    }

    /// Runs in the home folder. `HYPER_NEUTRALISE` is passed on: it is how each test here is
    /// shown to fail when its flag does nothing.
    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-context"));
        command.env_clear().env("HOME", self.root.path()).current_dir(self.root.path());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        let output = command.envs(environment.iter().copied()).args(args).output().unwrap();
        Done {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn listed(&self) -> Value {
        // The environment form, so that these rows can be read whichever flag is neutralised.
        self.run_with(&["list"], &[("HYPER_OUTPUT", "json")]).json()["items"].clone()
    }
}

const ADD: [&str; 6] = ["add", "lab", "--provider", "local", "--path", "machines"];

#[test]
fn local_is_always_there() {
    let home = Home::new();
    let done = home.run(&["list"]);
    assert_eq!(done.status, 0);
    assert_eq!(
        done.out,
        "NAME    PROVIDER   CURRENT   PATH   URL   TITLE\nlocal   local      yes       -      -     -\n"
    );
    assert!(!home.file().exists(), "a list writes nothing");
}

#[test]
fn flag_output_and_flag_provider_and_flag_path() {
    let home = Home::new();
    let done = home.run(&[&ADD[..], &["-o", "json"]].concat());
    assert_eq!(done.status, 0, "{}", done.err);
    let machines = home.at("machines").canonicalize().unwrap();
    let row = done.json();
    assert_eq!(row["schema"], "hyper.context/v1");
    assert_eq!((&row["name"], &row["provider"]), (&"lab".into(), &"local".into()));
    assert_eq!(row["path"].as_str().map(Path::new), Some(machines.as_path()));
    assert_eq!((&row["current"], &row["configured"]), (&false.into(), &true.into()));
    assert_eq!(home.listed()[1], row);
    let again = home.run(&ADD);
    assert_eq!(again.status, 6, "{}", again.err);
}

#[test]
fn flag_use_and_flag_title() {
    let home = Home::new();
    assert_eq!(home.run(&[&ADD[..], &["--use", "--title", "My lab"]].concat()).status, 0);
    let rows = home.listed();
    assert_eq!((&rows[1]["current"], &rows[1]["title"]), (&true.into(), &"My lab".into()));
}

#[test]
fn flag_quiet_and_flag_verbose() {
    let home = Home::new();
    let loud = home.run(&ADD);
    assert!(loud.err.starts_with("added to /"), "{}", loud.err);
    let quiet = home.run(&["remove", "lab", "-q"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
    let verbose = home.run(&[&ADD[..], &["-v"]].concat());
    assert!(verbose.err.contains("configuration: /"), "{}", verbose.err);
}

#[test]
fn use_and_remove() {
    let home = Home::new();
    home.run(&ADD);
    std::fs::write(home.file(), std::fs::read_to_string(home.file()).unwrap() + "# mine\n")
        .unwrap();
    assert_eq!(home.run(&["use", "lab"]).status, 0);
    assert_eq!(home.listed()[1]["current"], true);
    let removed = home.run_with(&["remove", "lab"], &[("HYPER_OUTPUT", "name")]);
    assert_eq!((removed.status, removed.out.as_str()), (0, "lab\n"));
    let rows = home.listed();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["current"], true);
    assert!(std::fs::read_to_string(home.file()).unwrap().contains("# mine\n"));
}

#[test]
fn what_is_not_there_ends_with_five() {
    let home = Home::new();
    home.run(&ADD);
    let done = home.run(&["use", "labb"]);
    assert_eq!((done.status, done.out.as_str()), (5, ""));
    assert_eq!(
        done.err,
        "hyper-context: there is no context \"labb\"\nhint: did you mean \"lab\"?\n"
    );
    assert_eq!(home.run(&["remove", "nope"]).status, 5);
    assert_eq!(home.run(&["remove", "local"]).status, 6);
    let done = home.run(&["add", "x", "--provider", "local", "--path", "nowhere"]);
    assert_eq!(done.status, 5);
    assert!(done.err.contains("nowhere: look for the folder"), "{}", done.err);
    std::fs::write(home.at("file"), "").unwrap();
    assert_eq!(home.run(&["add", "x", "--provider", "local", "--path", "file"]).status, 2);
    assert_eq!(home.run(&["add", "x", "--provider", "vspher"]).status, 2);
    assert_eq!(home.run(&["add", "a b", "--provider", "local"]).status, 2);
}

#[test]
fn flag_probe() {
    let home = Home::new();
    home.run(&ADD);
    let probed = || {
        let done = home.run(&["list", "--probe", "-o", "json"]);
        assert_eq!(done.status, 0, "{}", done.err);
        done.json()["items"].clone()
    };
    let rows = probed();
    assert_eq!((&rows[1]["name"], &rows[1]["reachable"]), (&"lab".into(), &true.into()));
    assert_eq!(rows[1]["product"], "local files");
    std::fs::remove_dir(home.at("machines")).unwrap();
    let rows = probed();
    assert_eq!((&rows[0]["reachable"], &rows[1]["reachable"]), (&true.into(), &false.into()));
    assert_eq!(rows[1]["error_kind"], "not_found");
    let table = home.run(&["list", "--probe"]).out;
    assert!(table.contains("REACHABLE") && table.contains("local files"), "{table}");
}

#[test]
fn flag_all_contexts_tests_them_all() {
    let home = Home::new();
    home.run(&ADD);
    let environment = [("HYPER_OUTPUT", "name")];
    let done = home.run_with(&["test", "--all-contexts"], &environment);
    assert_eq!((done.status, done.out.as_str()), (0, "local\nlab\n"));
    std::fs::remove_dir(home.at("machines")).unwrap();
    let done = home.run_with(&["test", "--all-contexts"], &environment);
    assert_eq!((done.status, done.out.as_str()), (10, "local\nlab\n"));
    let done = home.run(&["test", "lab", "-o", "json"]);
    assert_eq!(done.status, 5);
    let row = done.json();
    assert_eq!((&row["ok"], &row["error_kind"]), (&false.into(), &"not_found".into()));
    let error: Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!((&error["kind"], &error["exit_status"]), (&"not_found".into(), &5.into()));
    let done = home.run(&["test"]);
    assert!(done.status == 0 && done.out.contains("local files"), "{}", done.out);
}

#[test]
fn capabilities_are_the_providers() {
    let home = Home::new();
    let done = home.run(&["capabilities"]);
    assert_eq!(done.status, 0);
    let facets: Vec<(&str, &str)> = done
        .out
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let names = [
        "export",
        "feed",
        "events",
        "alarms",
        "power",
        "console",
        "create",
        "lifecycle",
        "resize",
        "migrate",
        "pools",
        "infrastructure",
        "rearrange",
        "snapshots",
        "cloning",
        "templates",
        "metrics",
        "reclaim",
    ];
    let has = |name: &'static str| (name, if name == "export" { "yes" } else { "no" });
    let local: Vec<_> = [("FACET", "AVAILABLE")].into_iter().chain(names.map(has)).collect();
    assert_eq!(facets, local, "{}", done.out);
    let vsphere = [("GOVC_URL", "https://127.0.0.1:1")];
    let done = home.run_with(&["capabilities", "govc"], &vsphere);
    for name in names {
        let line = done.out.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some("yes"), "{line}");
    }
    assert_eq!(home.run(&["capabilities", "nope"]).status, 5);
}

#[test]
fn flag_kube_context_and_flag_kubeconfig_and_flag_namespace() {
    let home = Home::new();
    let text = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}, \
         {name: b, context: {cluster: c, user: u, namespace: web}}]\n";
    std::fs::write(home.at("clusters"), text).unwrap();
    let listed = home.run_with(&["list", "-o", "json"], &[("KUBECONFIG", "clusters")]).json();
    let names = |listed: &Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["local", "a", "b"]);
    assert_eq!(listed["items"][2]["namespace"], "web");
    let args = ["add", "prod", "--provider", "kubevirt", "--kubeconfig", "clusters"];
    let more = ["--kube-context", "b", "--namespace", "shop", "-o", "json"];
    let added = home.run(&[&args[..], &more].concat());
    assert_eq!(added.status, 0, "{}", added.err);
    let row = added.json();
    assert_eq!((&row["kube_context"], &row["namespace"]), (&"b".into(), &"shop".into()));
    assert!(row["kubeconfig"].as_str().unwrap().ends_with("/clusters"), "{row}");
    let file = std::fs::read_to_string(home.file()).unwrap();
    assert!(file.contains("kube_context: b") && file.contains("namespace: shop"), "{file}");
    let wrong = home.run(&["add", "x", "--provider", "kubevirt", "--url", "https://h"]);
    assert_eq!(wrong.status, 2, "{}", wrong.err);
    let wrong = home.run(&["add", "x", "--provider", "local", "--kube-context", "b"]);
    assert_eq!(wrong.status, 2, "{}", wrong.err);
}

#[test]
fn a_context_of_the_kubeconfig_whose_name_is_taken_has_another() {
    let home = Home::new();
    std::fs::write(home.at("clusters"), "contexts: [{name: local, context: {}}]\n").unwrap();
    let set = [("KUBECONFIG", "clusters")];
    let listed = home.run_with(&["list", "-o", "name"], &set);
    assert_eq!(listed.out, "local\nkube/local\n");
    let shown = home.run_with(&["capabilities", "kube/local", "-o", "json"], &set).json();
    assert_eq!(shown["items"][0]["provider"], "kubevirt");
}

#[test]
fn a_context_of_the_kubeconfig_is_used_and_may_be_gone_later() {
    let home = Home::new();
    let text = "contexts: [{name: a, context: {}}, {name: b, context: {}}]\n";
    std::fs::write(home.at("clusters"), text).unwrap();
    let set = [("KUBECONFIG", "clusters")];
    let current = || {
        let listed = home.run_with(&["list", "-o", "json"], &set).json();
        let items = listed["items"].as_array().unwrap().iter();
        let current = items.filter(|it| it["current"] == true);
        current.map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let used = home.run_with(&["use", "b"], &set);
    assert_eq!(used.status, 0, "{}", used.err);
    assert_eq!(std::fs::read_to_string(home.file()).unwrap(), "current_context: b\n");
    assert_eq!(current(), ["b"]);
    assert_eq!(home.run_with(&["use", "a"], &set).status, 0);
    home.run(&ADD);
    assert_eq!(home.run_with(&["use", "b"], &set).status, 0);
    assert_eq!(current(), ["b"]);
    let capable = home.run_with(&["capabilities", "-o", "json"], &set).json();
    assert_eq!(capable["items"][0]["context"], "b");
    // Where there is no such kubeconfig it is no context, which matters to nobody who names one.
    let gone = home.run(&["capabilities"]);
    assert_eq!((gone.status, gone.out.as_str()), (3, ""));
    let line = "config.yaml:1: current_context: there is no context \"b\"\n";
    assert!(gone.err.contains(line), "{}", gone.err);
    assert_eq!(home.run(&["capabilities", "lab"]).status, 0);
    assert_eq!(home.run(&["use", "lab"]).status, 0);
    assert_eq!(current(), ["lab"]);
}
