//! `hyper-history runs` as a process, in an environment of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyper_common::error::Error;
use hyper_common::fs::Target;
use hyper_common::history::{
    ArtifactEntry, Begin, Counts, End, Failure, Journal, Outcome, Run, Thing,
};
use serde_json::{Value, json};

/// A user with an own HOME and nothing in it.
struct User {
    home: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn history(&self) -> PathBuf {
        self.home.path().join(".local/state/hyper/history")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-history"));
        command.args(args).env_clear().env("HOME", self.home.path()).env("TZ", "UTC");
        // How each test named after a flag is proved to notice that the flag does nothing.
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.current_dir(self.home.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The items as JSON, after a run that must succeed. Asked for in the environment, so that
    /// they can be read whichever flag is neutralised.
    fn items(&self, args: &[&str]) -> Vec<Value> {
        let output = self.command(args).env("HYPER_OUTPUT", "json").output().unwrap();
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schema"], "hyper.list/v1");
        document["items"].as_array().unwrap().clone()
    }

    fn sources(&self, args: &[&str]) -> Vec<String> {
        let items = self.items(args);
        items.iter().map(|run| run["sources"][0].as_str().unwrap().to_owned()).collect()
    }

    fn begin(&self, tool: &str, source: &str) -> Run {
        let journal = Journal::open(&self.history()).unwrap();
        journal
            .begin(Begin {
                tool: tool.into(),
                request: json!({"format": "qcow2"}),
                sources: vec![source.into()],
                targets: vec!["out/".into()],
            })
            .unwrap()
    }

    fn past(&self, tool: &str, source: &str, error: Option<Error>) -> String {
        let run = self.begin(tool, source);
        run.end(End {
            outcome: Outcome::of(error.as_ref()),
            error: error.as_ref().map(Failure::from),
            counts: Counts { total: 1, ..Counts::default() },
            read_bytes: 3 << 30,
            written_bytes: 1 << 30,
        })
        .unwrap();
        run.id().to_owned()
    }

    /// A run that is over and left a partial file, whose path is given.
    fn lost(&self, name: &str) -> PathBuf {
        let folder = std::fs::canonicalize(self.home.path()).unwrap();
        let target = Target::new(&folder.join(name)).unwrap();
        let run = self.begin("hyper-export", name);
        run.making(&Thing::File { path: target.partial_path() }).unwrap();
        std::fs::write(target.partial_path(), b"half").unwrap();
        target.partial_path()
    }

    /// Puts all that is in the journal so far into the year 2020.
    fn make_old(&self) {
        let entries = std::fs::read_dir(self.history()).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            let lines = std::fs::read_to_string(&path).unwrap();
            let old: String = lines
                .lines()
                .map(|line| {
                    let mut line: Value = serde_json::from_str(line).unwrap();
                    line["time"] = json!("2020-01-01T00:00:00Z");
                    format!("{line}\n")
                })
                .collect();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(self.history().join("runs-2020-01.jsonl"), old).unwrap();
        }
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn flag_output_the_failed_runs_of_the_last_day_are_listed_as_json() {
    let user = User::new();
    user.past("hyper-export", "old", Some(Error::integrity("old")));
    user.make_old();
    user.past("hyper-export", "good", None);
    let id = user.past("hyper-export", "bad", Some(Error::integrity("the checksum differs")));
    let _running = user.begin("hyper-export", "running");
    let args = ["runs", "list", "--since", "1d", "--outcome", "failed", "-o", "json"];
    let output = user.run(&args);
    assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = document["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    let run = &items[0];
    assert_eq!(run["schema"], "hyper.run/v1");
    assert_eq!(run["id"], id.as_str());
    assert_eq!(run["outcome"], "failed");
    assert_eq!(run["error"]["message"], "the checksum differs");
    assert_eq!(run["error"]["kind"], "integrity");
    assert_eq!(run["written_bytes"], 1u64 << 30);
}

/// One run of 2020, and three of now: one good, one failed, one lost.
fn four() -> User {
    let user = User::new();
    user.past("hyper-export", "local:/srv/old01.ova", None);
    user.make_old();
    user.past("hyper-export", "local:/srv/web01.ova", None);
    user.past("hyper-image", "web02.vmdk", Some(Error::usage("no")));
    drop(user.begin("hyper-image", "db01.vmdk"));
    user
}

const ALL: [&str; 4] = ["db01.vmdk", "web02.vmdk", "local:/srv/web01.ova", "local:/srv/old01.ova"];

impl User {
    fn listed(&self, args: &[&str]) -> Vec<String> {
        self.sources(&[&["runs", "list"], args].concat())
    }
}

#[test]
fn flag_since_and_flag_until() {
    let user = four();
    assert_eq!(user.listed(&[]), ALL);
    assert_eq!(user.listed(&["--since", "2h30m"]), ALL[..3]);
    assert_eq!(user.listed(&["--since", "2019-12-31"]), ALL);
    assert_eq!(user.listed(&["--until", "2020-01-02T00:00:00Z"]), ALL[3..]);
}

#[test]
fn flag_outcome() {
    assert_eq!(four().listed(&["--outcome", "lost,failed"]), ALL[..2]);
}

#[test]
fn flag_tool() {
    assert_eq!(four().listed(&["--tool", "image"]), ALL[..2]);
}

#[test]
fn flag_match() {
    let user = four();
    assert_eq!(user.listed(&["--match", "web*"]), ALL[1..3]);
    assert_eq!(user.listed(&["--match", "/[0-9]\\.ova$/"]), ALL[2..]);
}

#[test]
fn flag_limit() {
    let user = four();
    assert_eq!(user.listed(&["--limit", "2"]), ALL[..2]);
    assert_eq!(user.listed(&["--limit", "0"]), [""; 0]);
}

#[test]
fn wrong_filters_are_usage_errors() {
    let user = User::new();
    for (args, words) in [
        (&["--since", "sometime"][..], "no moment"),
        (&["--since", "1h", "--until", "2h"], "is not after --since"),
        (&["--outcome", "bad"], "succeeded"),
        (&["--match", "/(/"], "broken"),
        (&["--limit", "few"], "--limit"),
    ] {
        let output = user.run(&[&["runs", "list"], args].concat());
        assert_eq!(status(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn flag_quiet_and_flag_verbose_an_empty_history_is_no_error_and_is_not_made() {
    let user = User::new();
    let output = user.run(&["runs", "list"]);
    assert_eq!(status(&output), 0);
    assert!(stderr(&output).contains("no such run"), "{}", stderr(&output));
    let quiet = user.run(&["runs", "list", "--quiet"]);
    assert_eq!((status(&quiet), stderr(&quiet).as_str()), (0, ""));
    let verbose = stderr(&user.run(&["runs", "list", "--verbose"]));
    assert!(verbose.contains(".local/state/hyper/history"), "{verbose}");
    assert!(user.items(&["runs", "list"]).is_empty());
    let clean = user.run(&["runs", "clean", "--dry-run"]);
    assert_eq!(status(&clean), 0);
    assert!(stderr(&clean).contains("no run left anything"), "{}", stderr(&clean));
    assert!(!user.history().exists());
}

#[test]
fn the_state_folder_follows_the_environment() {
    let user = User::new();
    user.past("hyper-export", "home", None);
    let state = user.home.path().join("state");
    let elsewhere = Journal::open(&state.join("hyper/history")).unwrap();
    let begin = |source: &str| Begin {
        tool: "hyper-export".into(),
        request: Value::Null,
        sources: vec![source.into()],
        targets: Vec::new(),
    };
    drop(elsewhere.begin(begin("xdg")).unwrap());
    let own = user.home.path().join("own");
    drop(Journal::open(&own.join("history")).unwrap().begin(begin("own")).unwrap());
    let first = |variables: &[(&str, &Path)]| {
        let mut command = user.command(&["runs", "list", "-o", "jsonpath={.items[*].sources[0]}"]);
        stdout(&command.envs(variables.iter().copied()).output().unwrap()).trim().to_owned()
    };
    assert_eq!(first(&[]), "home");
    assert_eq!(first(&[("XDG_STATE_HOME", &state)]), "xdg");
    assert_eq!(first(&[("XDG_STATE_HOME", Path::new("relative"))]), "home");
    assert_eq!(first(&[("XDG_STATE_HOME", &state), ("HYPER_STATE_DIR", &own)]), "own");
    assert_eq!(first(&[("HYPER_STATE_DIR", Path::new("own"))]), "own", "from where one is");

    let broken = user.command(&["runs", "list"]).env("HYPER_STATE_DIR", "/dev/null").output();
    let broken = broken.unwrap();
    assert_eq!(status(&broken), 1, "{}", stderr(&broken));
    assert!(stderr(&broken).contains("/dev/null"), "{}", stderr(&broken));
}

#[test]
fn a_run_is_shown_by_the_start_of_its_id() {
    let user = User::new();
    let id = user.past("hyper-export", "bad", Some(Error::integrity("the checksum differs")));
    let run = user.begin("hyper-image", "a.vmdk");
    run.artifact(&ArtifactEntry {
        path: "out/a.qcow2".into(),
        source: None,
        format: Some("qcow2".into()),
        size_bytes: 1 << 20,
        checksums: [("sha256".to_owned(), "c0ffee".to_owned())].into(),
        verified: true,
    })
    .unwrap();
    let shown = user.run(&["runs", "show", &id[..id.len() - 1], "-o", "json"]);
    let record: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (record["id"].as_str(), record["schema"].as_str()),
        (Some(&*id), Some("hyper.run/v1"))
    );

    let shown = stdout(&user.run(&["runs", "show", run.id()]));
    for words in ["running", "a.vmdk", "out/a.qcow2, 1 MiB, verified", "sha256 c0ffee", "qcow2"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("checksum differs"));
    let failed = stdout(&user.run(&["runs", "show", &id]));
    assert!(failed.contains("the checksum differs") && failed.contains("3 GiB"), "{failed}");

    let several = user.run(&["runs", "show", "20"]);
    assert_eq!(status(&several), 6);
    assert!(stderr(&several).contains(&format!("hint: one is {id}")), "{}", stderr(&several));
    assert_eq!(status(&user.run(&["runs", "show", "none"])), 5);
}

#[test]
fn flag_yes_and_flag_dry_run_what_remains_is_shown_asked_about_and_removed() {
    let user = User::new();
    let (first, second) = (user.lost("a.qcow2"), user.lost("b.qcow2"));
    let busy = user.lost("busy.qcow2");
    let target = Target::of_temporary(&busy).unwrap();
    let claim = target.claim().unwrap();

    let would = user.items(&["runs", "clean", "--dry-run"]);
    assert_eq!(would.len(), 3);
    assert!(would.iter().all(|item| item["fate"] == "would_remove" && item["outcome"] == "lost"));
    let asked = user.run(&["runs", "clean"]);
    assert_eq!(status(&asked), 2, "nobody can be asked");
    assert!(stderr(&asked).contains("--yes"), "{}", stderr(&asked));
    assert!(first.exists() && second.exists(), "neither removes");
    assert_eq!(user.items(&["runs", "list"]).len(), 3, "nor is either a run of its own");

    let did = user.items(&["runs", "clean", "--yes"]);
    let fates: Vec<&str> = did.iter().map(|item| item["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["kept", "removed", "removed"]);
    assert!(did[0]["reason"].as_str().unwrap().contains("another run"), "{did:?}");
    assert!(!first.exists() && !second.exists() && busy.exists());
    let run = &user.items(&["runs", "list", "--limit", "1"])[0];
    assert_eq!((&run["tool"], &run["outcome"]), (&json!("hyper-history"), &json!("succeeded")));
    assert_eq!(run["counts"]["succeeded"], 2);
    drop(claim);

    let last = user.run(&["runs", "clean", "-y", "-o", "name"]);
    assert_eq!(stdout(&last).trim(), busy.display().to_string());
    let nothing = user.run(&["runs", "clean", "--yes"]);
    assert_eq!(status(&nothing), 0);
    assert!(stderr(&nothing).contains("no run left anything"), "{}", stderr(&nothing));
}

#[test]
fn a_file_that_cannot_be_removed_is_told_by_the_exit_status() {
    let user = User::new();
    let good = user.lost("a.qcow2");
    let stuck = user.lost("b.qcow2");
    // Its state is a folder, which no unlink removes, whoever runs this.
    let state = Target::of_temporary(&stuck).unwrap().state_path();
    std::fs::create_dir(&state).unwrap();
    let output = user.run(&["runs", "clean", "--yes", "-o", "csv"]);
    assert_eq!(status(&output), 10, "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 2 could not be removed"), "{}", stderr(&output));
    assert!(stdout(&output).contains("failed,"), "{}", stdout(&output));
    assert!(!good.exists() && state.exists());
    let run = &user.items(&["runs", "list", "--tool", "history"])[0];
    assert_eq!((&run["outcome"], &run["counts"]["failed"]), (&json!("partial"), &json!(1)));
}

#[test]
fn the_table_is_for_people() {
    let user = User::new();
    let id = user.past("hyper-export", "web01", None);
    let output = user.run(&["runs", "list"]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(header, ["ID", "TOOL", "OUTCOME", "STARTED", "TIME", "WRITTEN", "SOURCES"]);
    for words in [id.as_str(), "hyper-export", "succeeded", "1 GiB", "web01"] {
        assert!(lines[1].contains(words), "{words}: {text}");
    }
    assert_eq!(stdout(&user.run(&["runs", "list", "-o", "name"])), format!("{id}\n"));
}
