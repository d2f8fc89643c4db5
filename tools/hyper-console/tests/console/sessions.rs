//! `sessions`, with consoles that run, end and are killed.

use std::process::Stdio;

use serde_json::Value;

use crate::cluster::wait_for;
use crate::lab::{Lab, Serving, hello, text};

/// The open sessions.
fn open(lab: &Lab) -> Vec<Value> {
    let output = lab.bare(&["sessions", "-o", "ndjson"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn files(lab: &Lab) -> usize {
    let folder = lab.at(".local/state/hyper/consoles");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn what_is_open_is_listed_and_what_was_killed_is_not() {
    let lab = Lab::new();
    assert!(open(&lab).is_empty());
    let (viewer, address) = lab.viewer(&["--share"]);
    let rows = open(&lab);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(row["schema"], "hyper.console_session/v1");
    assert_eq!((&row["vm"], &row["context"]), (&"web01".into(), &"hyper-sim".into()));
    assert_eq!((&row["kind"], &row["address"]), (&"vnc".into(), &address.as_str().into()));
    assert_eq!((&row["viewers"], &row["state"]), (&0.into(), &"waiting".into()));
    assert_eq!(row["pid"], viewer.0.id());
    assert!(row["since"].as_str().unwrap().ends_with('Z'), "{row}");

    let talk = ["serial", "web01", "--send", r"\r", "--expect", "never", "--timeout", "60s"];
    let mut talk = lab.start(&talk);
    let mut talk = Serving(talk.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let first = hello(&address);
    let second = hello(&address);
    wait_for("both to be listed", || {
        let rows = open(&lab);
        let seen = |kind: &str| rows.iter().find(|row| row["kind"] == kind).cloned();
        seen("vnc").is_some_and(|row| row["viewers"] == 2 && row["state"] == "connected")
            && seen("serial").is_some_and(|row| row["viewers"] == 1 && row["address"].is_null())
    });
    drop((first, second));
    wait_for("the viewers to be gone", || open(&lab)[0]["viewers"] == 0);

    // Neither says good-bye.
    talk.0.kill().unwrap();
    talk.0.wait().unwrap();
    assert_eq!(open(&lab).len(), 1);
    drop(viewer);
    assert!(open(&lab).is_empty());
    assert_eq!(files(&lab), 0, "nothing of the killed is left");
    let output = lab.bare(&["sessions"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    // One that ends in order leaves nothing by itself.
    lab.status(&["web01", "--send", r"\r"]);
    assert_eq!(files(&lab), 0);
}
