//! Signals, limits and closed pipes in mid-run.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Done, Place, noise};

/// A conversion under way that takes some seconds.
fn slow(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(&[args, &["--limit-rate", "4Mi"]].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end_by(child: Child, signal: Signal, after: Duration) -> Done {
    std::thread::sleep(after);
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn the_next_run_goes_on_after_a_signal_and_after_a_kill() {
    let place = Place::new();
    place.write("a.raw", &noise(6, 40 << 20));
    for (target, signal, after, status) in [
        ("int.qcow2", Signal::INT, 2000, 130),
        ("term.vmdk", Signal::TERM, 2000, 130),
        // Points to go on from are stored each five seconds.
        ("kill.vhdx", Signal::KILL, 7500, -1),
    ] {
        let child = slow(&place, &["convert", "a.raw", target, "--verify"]);
        let done = end_by(child, signal, Duration::from_millis(after)).ends(status);
        assert!(!place.at(target).exists(), "{target} is not complete");
        assert_eq!(done.err.contains("interrupted"), status == 130, "{}", done.err);
        let again = place.json(&["convert", "a.raw", target, "--verify"]).ends(0).json();
        let reused = again["reused_bytes"].as_u64().unwrap();
        assert!((1..40 << 20).contains(&reused), "{target}: {reused}");
        let kind = place.info(target)["format"].as_str().unwrap().to_owned();
        place.same(["raw", &kind], ["a.raw", target]);
    }
    let hidden = std::fs::read_dir(place.root()).unwrap();
    let hidden = hidden
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".hyper-"));
    assert_eq!(hidden.count(), 0, "no partial file is left");
}

#[test]
fn a_source_that_changed_is_read_anew() {
    let place = Place::new();
    place.write("a.raw", &noise(6, 16 << 20));
    let child = slow(&place, &["convert", "a.raw", "a.qcow2"]);
    end_by(child, Signal::INT, Duration::from_millis(1500)).ends(130);
    place.write("a.raw", &noise(8, 16 << 20));
    let again = place.json(&["convert", "a.raw", "a.qcow2"]).ends(0).json();
    assert_eq!(again["reused_bytes"], 0);
    place.same(["raw", "qcow2"], ["a.raw", "a.qcow2"]);
}

#[test]
fn a_file_that_cannot_grow_is_not_named() {
    let place = Place::new();
    place.write("a.raw", &noise(6, 4 << 20));
    for target in ["a.qcow2", "b.vmdk", "c.raw"] {
        let line = "ulimit -f 1000; exec \"$0\" convert a.raw \"$1\"";
        let mut command = std::process::Command::new("bash");
        command.args(["-c", line, env!("CARGO_BIN_EXE_hyper-image"), target]);
        command.env_clear().env("HOME", place.root()).current_dir(place.root());
        let done = Done::from(command.output().unwrap()).ends(1);
        assert!(done.err.contains(target) && done.err.contains("too large"), "{}", done.err);
        assert!(!place.at(target).exists());
        place.run(&["convert", "a.raw", target]).ends(0);
        place.run(&["compare", "a.raw", target]).ends(0);
    }
}

#[test]
fn a_closed_pipe_fails_data_and_not_records() {
    let place = Place::new();
    place.write("a.raw", &noise(6, 4 << 20));
    let mut child = slow(&place, &["convert", "a.raw", "-", "--format", "raw"]);
    drop(child.stdout.take());
    let done = Done::from(child.wait_with_output().unwrap()).ends(1);
    assert!(done.err.contains("closed the pipe"), "{}", done.err);
    let mut command = place.command(&["inspect", "a.raw", "-o", "json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = Done::from(command.stdout(writer).output().unwrap()).ends(0);
    assert_eq!(done.err, "");
}

#[test]
fn a_pipe_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let args = ["convert", "--from-format", "raw", "--size", "1Mi", "-", "a.qcow2"];
    let mut child = slow(&place, &args);
    // Nothing comes: it waits for bytes, also when it is told to stop.
    let stdin = child.stdin.take();
    let done = end_by(child, Signal::TERM, Duration::from_millis(500)).ends(130);
    drop(stdin);
    assert!(done.err.contains("interrupted"), "{}", done.err);
    assert!(place.files().is_empty());
}

#[test]
fn a_file_that_the_file_system_cannot_hold_is_refused_before_a_byte_is_written() {
    let place = Place::new();
    let len = 62_u64 << 40;
    place.qemu(&["create", "-q", "-f", "qcow2", "huge.qcow2", "62T"]);
    let probe = std::fs::File::create(place.at("probe")).unwrap();
    let holds = probe.set_len(len).is_ok();
    std::fs::remove_file(place.at("probe")).unwrap();
    let done = place.run(&["convert", "huge.qcow2", "huge.raw"]);
    if holds {
        // tmpfs and xfs, among others.
        done.ends(0);
        assert_eq!(std::fs::metadata(place.at("huge.raw")).unwrap().len(), len);
        return;
    }
    let done = done.ends(7);
    assert!(done.err.contains(&format!("cannot hold a file of {len} bytes")), "{}", done.err);
    assert_eq!(place.files(), ["huge.qcow2"]);
}
