use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::entry::{Line, LineBody};
use super::*;
use crate::error::{Error, ErrorKind};
use crate::fs::Target;
use crate::provider::Reclaimed;

/// Where the child processes of these tests find the journal.
const CHILD: &str = "HYPER_TEST_JOURNAL";

fn begin(source: &str) -> Begin {
    Begin {
        tool: "hyper-export".into(),
        request: json!({"format": "qcow2"}),
        sources: vec![source.into()],
        targets: vec!["out/".into()],
    }
}

fn end(outcome: Outcome) -> End {
    let counts = Counts { total: 1, succeeded: 1, ..Counts::default() };
    End { outcome, error: None, counts, read_bytes: 10, written_bytes: 5 }
}

fn all(dir: &Path) -> Vec<RunRecord> {
    Runs::open(dir, RunFilter::default()).unwrap().map(Result::unwrap).collect()
}

fn segment(dir: &Path) -> PathBuf {
    dir.join(segment::names(dir).unwrap().pop().unwrap())
}

/// Starts this test binary once more, as one of the `child_` functions below.
fn child(name: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("history::tests::{name}"), "--ignored", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_dir() -> PathBuf {
    PathBuf::from(std::env::var_os(CHILD).expect("run by another test only"))
}

#[test]
fn a_run_is_told_from_begin_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("deep/history");
    let journal = Journal::open(&dir).unwrap();
    assert!(all(&dir).is_empty());
    let run = journal.begin(begin("local:web01.ova")).unwrap();
    let seen = all(&dir).remove(0);
    assert_eq!((seen.outcome, seen.ended), (Outcome::Running, None));

    let target = Target::new(&folder.path().join("disk.qcow2")).unwrap();
    let file = Thing::File { path: target.partial_path() };
    let snapshot = Thing::Remote {
        context: "lab".into(),
        vm: "vm-1".into(),
        what: "snapshot".into(),
        id: "s-1".into(),
    };
    run.making(&file).unwrap();
    run.making(&snapshot).unwrap();
    assert_eq!(all(&dir)[0].leftovers.len(), 2);
    run.committed(&file).unwrap();
    let artifact = ArtifactEntry {
        path: target.path().display().to_string(),
        source: Some("local:web01.ova".into()),
        format: Some("qcow2".into()),
        size_bytes: 5,
        checksums: [("sha256".to_owned(), "00".to_owned())].into(),
        verified: true,
    };
    run.artifact(&artifact).unwrap();
    let error = Error::integrity("the checksum differs").with_hint("fetch it again");
    let end = End { error: Some(Failure::from(&error)), ..end(Outcome::Failed) };
    run.end(end).unwrap();
    run.end(super::tests::end(Outcome::Succeeded)).unwrap();

    let seen = all(&dir).remove(0);
    assert_eq!(seen.outcome, Outcome::Failed, "the first end counts");
    assert_eq!(seen.leftovers, [snapshot]);
    assert_eq!(seen.artifacts, [artifact]);
    assert_eq!(seen.error.as_ref().unwrap().kind, ErrorKind::Integrity);
    assert_eq!(seen.error.as_ref().unwrap().hints, ["fetch it again"]);
    assert_eq!((seen.read_bytes, seen.written_bytes), (Some(10), Some(5)));
    assert_eq!(seen.request, json!({"format": "qcow2"}));
    assert!(seen.ended.unwrap() >= seen.started && seen.seconds.is_some());
    assert_eq!(std::fs::read_dir(dir.join("runs")).unwrap().count(), 0, "no lock remains");
}

#[test]
fn a_dropped_run_is_lost_and_no_run_may_end_so() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.begin(begin("a")).unwrap();
    assert_eq!(run.end(end(Outcome::Lost)).unwrap_err().kind(), ErrorKind::Internal);
    drop(run);
    assert_eq!(all(folder.path())[0].outcome, Outcome::Lost);
}

#[test]
fn runs_come_newest_first_and_pass_the_filter() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let journal = Journal::open(dir).unwrap();
    let long = journal.begin(begin("long")).unwrap();
    for (source, outcome) in [
        ("local:/srv/web01.ova", Outcome::Succeeded),
        ("lab:db01", Outcome::Failed),
        ("lab:web02", Outcome::Partial),
    ] {
        journal.begin(begin(source)).unwrap().end(end(outcome)).unwrap();
    }
    let convert = Begin { tool: "hyper-image".into(), ..begin("x.vmdk") };
    journal.begin(convert).unwrap().end(end(Outcome::Succeeded)).unwrap();
    long.end(end(Outcome::Interrupted)).unwrap();

    let sources = |filter: RunFilter| -> Vec<String> {
        let runs = Runs::open(dir, filter).unwrap();
        runs.map(|run| run.unwrap().sources.remove(0)).collect()
    };
    let everything = sources(RunFilter::default());
    assert_eq!(everything, ["x.vmdk", "lab:web02", "lab:db01", "local:/srv/web01.ova", "long"]);
    // Down to the millisecond; within one the order is the journal's.
    let times: Vec<String> = all(dir).into_iter().map(|run| run.id[..19].to_owned()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");

    let only = |outcomes: &[Outcome]| RunFilter { outcomes: outcomes.into(), ..Default::default() };
    assert_eq!(sources(only(&[Outcome::Failed, Outcome::Partial])), ["lab:web02", "lab:db01"]);
    let tool = RunFilter { tools: vec!["image".into()], ..Default::default() };
    assert_eq!(sources(tool), ["x.vmdk"]);
    let matching = |text: &str| RunFilter {
        matches: vec![RunMatch::parse(text).unwrap()],
        ..Default::default()
    };
    assert_eq!(sources(matching("WEB*")), ["lab:web02", "local:/srv/web01.ova"]);
    assert_eq!(sources(matching("lab:*")), ["lab:web02", "lab:db01"]);
    assert_eq!(sources(matching("/srv|db/")), ["lab:db01", "local:/srv/web01.ova"]);
    assert!(sources(matching("eb01.ova")).is_empty(), "a glob covers the whole");
    RunMatch::parse("/(/").unwrap_err();
    RunMatch::parse("[a").unwrap_err();

    let middle = all(dir)[2].started;
    let since = RunFilter { since: Some(middle), ..Default::default() };
    assert_eq!(sources(since), ["x.vmdk", "lab:web02", "lab:db01"]);
    let until = RunFilter { until: Some(middle), ..Default::default() };
    assert_eq!(sources(until), ["local:/srv/web01.ova", "long"]);
}

#[test]
fn a_run_over_the_turn_of_a_month_is_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let journal = Journal::open(dir).unwrap();
    let run = journal.begin(begin("a")).unwrap();
    // As if it had begun in the month before.
    let now = segment(dir);
    std::fs::rename(&now, dir.join("runs-2020-01.jsonl")).unwrap();
    run.making(&Thing::File { path: dir.join(".a.hyper-partial") }).unwrap();
    run.end(end(Outcome::Succeeded)).unwrap();
    assert_eq!(segment::names(dir).unwrap().len(), 2);
    let runs = all(dir);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].outcome, Outcome::Succeeded);
    assert_eq!(runs[0].leftovers.len(), 1);
}

#[test]
fn an_end_that_comes_while_the_journal_is_read_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.begin(begin("a")).unwrap();
    let mut runs = Runs::open(folder.path(), RunFilter::default()).unwrap();
    run.end(end(Outcome::Partial)).unwrap();
    assert_eq!(runs.next().unwrap().unwrap().outcome, Outcome::Partial, "not lost");
}

#[test]
fn a_torn_line_is_passed_over_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let journal = Journal::open(dir).unwrap();
    journal.begin(begin("first")).unwrap().end(end(Outcome::Succeeded)).unwrap();
    let path = segment(dir);
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"{\"run\":\"torn\",\"time\":\"2026-11").unwrap();
    assert_eq!(all(dir).len(), 1, "readers pass over it");
    file.write_all(b"\n\xff\xfe garbage\n{\"record\":\"from the future\",\"run\":\"x\"").unwrap();
    journal.begin(begin("second")).unwrap().end(end(Outcome::Succeeded)).unwrap();
    let sources: Vec<_> = all(dir).into_iter().map(|run| run.sources).collect();
    assert_eq!(sources, [["second"], ["first"]], "the next writer starts a new line");
}

#[test]
fn a_run_is_found_by_the_start_of_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let journal = Journal::open(dir).unwrap();
    let first = journal.begin(begin("a")).unwrap();
    let _second = journal.begin(begin("b")).unwrap();
    assert_eq!(find_run(dir, first.id()).unwrap().id, first.id());
    let unique = &first.id()[..first.id().len() - 1];
    assert_eq!(find_run(dir, unique).unwrap().id, first.id());
    let several = find_run(dir, "20").unwrap_err();
    assert_eq!(several.kind(), ErrorKind::Conflict);
    assert_eq!(several.hints().len(), 2);
    assert_eq!(find_run(dir, "19").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(find_run(dir, "").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_before_work_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for dir in [file.join("history"), PathBuf::from("/proc/hyper/history")] {
        let error = Journal::open(&dir).unwrap_err();
        assert!(error.hints()[0].contains("HYPER_STATE_DIR"), "{error}");
    }
    // As a full disk: the file cannot take another byte.
    let journal = Journal::open(folder.path()).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join(segment_now())).unwrap();
    let error = journal.begin(begin("a")).unwrap_err();
    assert!(crate::error::one_line(&error).contains("No space left"), "{error}");
    assert!(error.hints()[0].contains("HYPER_STATE_DIR"));
    let locks = std::fs::read_dir(folder.path().join("runs")).unwrap().count();
    assert_eq!(locks, 0, "a run that did not begin leaves nothing");
}

fn segment_now() -> String {
    segment::name_at(jiff::Timestamp::now())
}

#[test]
fn twenty_processes_write_two_hundred_lines_each() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    Journal::open(dir).unwrap();
    let children: Vec<Child> = (0..20).map(|_| child("child_appends", dir)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut notes = std::collections::HashMap::new();
    for name in segment::names(dir).unwrap() {
        for line in std::fs::read_to_string(dir.join(name)).unwrap().lines() {
            let line: Line = serde_json::from_str(line).expect("no line is torn");
            if let LineBody::Artifact(artifact) = line.body {
                notes.entry(line.run).or_insert_with(Vec::new).push(artifact.size_bytes);
            }
        }
    }
    assert_eq!(notes.len(), 20);
    let expected: Vec<u64> = (0..198).collect();
    assert!(notes.values().all(|sizes| *sizes == expected), "all there, in order");
    let runs = all(dir);
    assert_eq!(runs.len(), 20);
    assert!(runs.iter().all(|run| run.outcome == Outcome::Succeeded && run.artifacts.len() == 198));
}

#[test]
#[ignore = "a child process of twenty_processes_write_two_hundred_lines_each"]
fn child_appends() {
    let journal = Journal::open(&child_dir()).unwrap();
    let run = journal.begin(begin(&"x".repeat(5000))).unwrap();
    for size_bytes in 0..198 {
        let path = "y".repeat(size_bytes as usize * 20);
        let checksums = Default::default();
        run.artifact(&ArtifactEntry {
            path,
            source: None,
            format: None,
            size_bytes,
            checksums,
            verified: false,
        })
        .unwrap();
    }
    run.end(end(Outcome::Succeeded)).unwrap();
}

#[test]
fn what_a_killed_run_left_is_known_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("history");
    let mut child = child("child_is_killed", &dir);
    let partial = std::fs::canonicalize(folder.path()).unwrap().join(".disk.raw.hyper-partial");
    let since = std::time::Instant::now();
    while !partial.exists() || all(&dir).is_empty() {
        assert!(since.elapsed().as_secs() < 60, "the child never came");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let collect = |dry_run| {
        let mut found = Vec::new();
        let mut remote = |_: &Thing, _| Ok(Reclaimed::Kept("its server is busy".into()));
        clean(&dir, dry_run, &mut remote, &mut |leftover| {
            found.push(leftover);
            Ok(())
        })
        .unwrap();
        found
    };
    assert_eq!(all(&dir)[0].outcome, Outcome::Running);
    assert!(collect(false).is_empty(), "a living run is not touched");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(all(&dir)[0].outcome, Outcome::Lost);

    let would = collect(true);
    assert_eq!(would.len(), 2, "{would:?}");
    assert_eq!(would[0].thing, Thing::File { path: partial.clone() }, "once for each artifact");
    assert_eq!(would[0].fate, Fate::WouldRemove);
    assert_eq!(would[1].fate, Fate::Kept, "a remote thing is its provider's");
    assert!(partial.exists());
    let did = collect(false);
    assert_eq!((did[0].fate, did[1].fate), (Fate::Removed, Fate::Kept));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(left.len(), 1, "only the history itself: {left:?}");
    let again = collect(false);
    assert_eq!(again.len(), 1, "what is gone is not told again");
    assert!(all(&dir)[0].leftovers.iter().all(|thing| matches!(thing, Thing::Remote { .. })));
}

#[test]
#[ignore = "a child process of what_a_killed_run_left_is_known_and_removed"]
fn child_is_killed() {
    let dir = child_dir();
    let run = Journal::open(&dir).unwrap().begin(begin("a")).unwrap();
    let target = Target::new(&dir.parent().unwrap().join("disk.raw")).unwrap();
    let remote = Thing::Remote {
        context: "lab".into(),
        vm: "vm-1".into(),
        what: "lease".into(),
        id: "l".into(),
    };
    run.making(&Thing::File { path: target.partial_path() }).unwrap();
    run.making(&remote).unwrap();
    run.making(&Thing::File { path: target.state_path() }).unwrap();
    let claim = target.claim().unwrap();
    crate::fs::write_atomic(&target.state_path(), b"half", 0o600).unwrap();
    let _file = claim.create().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(120));
}

#[test]
fn only_what_is_ours_and_free_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(folder.path()).unwrap();
    let journal = Journal::open(&root.join("history")).unwrap();
    let run = journal.begin(begin("a")).unwrap();
    let make = |name: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"x").unwrap();
        run.making(&Thing::File { path: path.clone() }).unwrap();
        path
    };
    let foreign = make("precious.txt");
    let busy = make(".busy.raw.hyper-partial");
    let moved = make("was/.moved.raw.hyper-partial");
    let link = make(".link.raw.hyper-partial");
    let gone = make("gone/.gone.raw.hyper-partial");
    let ours = make(".ours.raw.hyper-state");
    run.end(end(Outcome::Interrupted)).unwrap();

    let _claim = Target::new(&root.join("busy.raw")).unwrap().claim().unwrap();
    std::fs::rename(root.join("was"), root.join("is")).unwrap();
    std::os::unix::fs::symlink(root.join("is"), root.join("was")).unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&foreign, &link).unwrap();
    std::fs::remove_dir_all(gone.parent().unwrap()).unwrap();

    let mut fates = std::collections::BTreeMap::new();
    let mut remote = |_: &Thing, _| panic!("there is nothing remote");
    clean(&root.join("history"), false, &mut remote, &mut |leftover| {
        if let Thing::File { path } = leftover.thing {
            fates.insert(path, (leftover.fate, leftover.reason.unwrap_or_default()));
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(fates[&ours].0, Fate::Removed);
    assert!(!ours.exists());
    for (path, word) in [
        (&foreign, "its name"),
        (&busy, "another run"),
        (&moved, "another folder"),
        (&link, "not a plain file"),
    ] {
        assert!(fates[path].0 == Fate::Kept && fates[path].1.contains(word), "{:?}", fates[path]);
        assert!(path.exists());
    }
    assert!(!fates.contains_key(&gone));
}

#[test]
fn a_name_that_is_no_text_comes_back_exactly() {
    use std::os::unix::ffi::OsStrExt;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/x/.\xff\xfe.hyper-partial"));
    let thing = Thing::File { path };
    let text = serde_json::to_string(&thing).unwrap();
    assert_eq!(serde_json::from_str::<Thing>(&text).unwrap(), thing);
}

#[test]
fn outcomes_follow_from_errors() {
    let of = |kind| Outcome::of(Some(&Error::new(kind, "x")));
    assert_eq!(Outcome::of(None), Outcome::Succeeded);
    assert_eq!(of(ErrorKind::Partial), Outcome::Partial);
    assert_eq!(of(ErrorKind::Interrupted), Outcome::Interrupted);
    assert_eq!(of(ErrorKind::Io), Outcome::Failed);
    for outcome in Outcome::ALL {
        assert_eq!(outcome.name().parse::<Outcome>().unwrap(), outcome);
    }
    "gone".parse::<Outcome>().unwrap_err();
}
