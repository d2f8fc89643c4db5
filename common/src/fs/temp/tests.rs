use super::*;
use crate::error::ErrorKind;

fn target(folder: &tempfile::TempDir) -> Target {
    Target::new(&folder.path().join("disk.qcow2")).unwrap()
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_final_name_appears_only_at_commit() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let claim = target.claim().unwrap();
    let mut file = claim.create().unwrap();
    file.write_all(b"bytes").unwrap();
    super::super::write_atomic(&target.state_path(), b"half", 0o644).unwrap();
    assert_eq!(
        names(&folder),
        [".disk.qcow2.hyper-lock", ".disk.qcow2.hyper-partial", ".disk.qcow2.hyper-state"]
    );
    claim.commit(&file, false).unwrap();
    drop(claim);
    assert_eq!(names(&folder), ["disk.qcow2"]);
    assert_eq!(std::fs::read(target.path()).unwrap(), b"bytes");
}

#[test]
fn a_file_that_appeared_meanwhile_is_kept_unless_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let claim = target.claim().unwrap();
    let file = claim.create().unwrap();
    std::fs::write(target.path(), b"theirs").unwrap();
    let error = claim.commit(&file, false).unwrap_err();
    drop(claim);
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hints()[0].contains("--overwrite"));
    assert_eq!(std::fs::read(target.path()).unwrap(), b"theirs");
    assert!(target.partial_path().exists(), "the work is not lost");

    let claim = target.claim().unwrap();
    let file = claim.resume().unwrap().unwrap();
    claim.commit(&file, true).unwrap();
    drop(claim);
    assert_eq!(names(&folder), ["disk.qcow2"]);
    assert_eq!(std::fs::read(target.path()).unwrap(), b"");
}

#[test]
fn the_way_without_renameat2_does_not_replace_either() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, b"new").unwrap();
    std::fs::write(&to, b"old").unwrap();
    let error = link_and_unlink(&from, &to).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
    std::fs::remove_file(&to).unwrap();
    link_and_unlink(&from, &to).unwrap();
    assert_eq!(names(&folder), ["to"]);
}

#[test]
fn two_runs_never_write_the_same_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let claim = target.claim().unwrap();
    let error = target.claim().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    drop(claim);
    target.claim().unwrap();
}

#[test]
fn a_claim_changes_hands_without_two_holders() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let inside = std::sync::atomic::AtomicUsize::new(0);
    let taken = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let order = std::sync::atomic::Ordering::SeqCst;
                for _ in 0..300 {
                    if let Ok(claim) = target.claim() {
                        assert_eq!(inside.fetch_add(1, order), 0, "two holders");
                        taken.fetch_add(1, order);
                        inside.fetch_sub(1, order);
                        drop(claim);
                    }
                }
            });
        }
    });
    assert!(taken.into_inner() > 0);
    assert!(names(&folder).is_empty());
}

#[test]
fn a_dropped_claim_leaves_its_work_and_a_discarded_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let claim = target.claim().unwrap();
    assert!(claim.resume().unwrap().is_none());
    claim.create().unwrap().write_all(b"half").unwrap();
    drop(claim);
    assert_eq!(names(&folder), [".disk.qcow2.hyper-partial"]);

    let claim = target.claim().unwrap();
    let mut text = String::new();
    claim.resume().unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "half");
    assert_eq!(claim.discard(), None);
    assert!(names(&folder).is_empty());
}

#[test]
fn a_planted_link_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    let victim = folder.path().join("victim");
    std::fs::write(&victim, b"kept").unwrap();
    std::os::unix::fs::symlink(&victim, target.partial_path()).unwrap();
    let claim = target.claim().unwrap();
    assert!(claim.resume().unwrap().is_none());
    claim.create().unwrap().write_all(b"x").unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
    drop(claim);
    std::os::unix::fs::symlink(&victim, target.lock_path()).unwrap();
    target.claim().unwrap_err();
    assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
}

#[test]
fn what_names_no_file_is_refused() {
    for bad in ["", "/", "..", "out/", "out/.."] {
        assert_eq!(Target::new(Path::new(bad)).unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
    }
    let long = "x".repeat(241);
    assert_eq!(Target::new(Path::new(&long)).unwrap_err().kind(), ErrorKind::Usage);
    let bare = Target::new(Path::new("a.raw")).unwrap();
    assert_eq!(bare.partial_path(), Path::new(".a.raw.hyper-partial"));
}

#[test]
fn temporary_names_lead_back_to_their_target() {
    let target = Target::new(Path::new("/x/a.raw")).unwrap();
    for path in [target.partial_path(), target.state_path(), target.lock_path()] {
        assert_eq!(Target::of_temporary(&path).unwrap(), target);
    }
    let odd = Path::new(OsStr::from_bytes(b"/x/\xff.raw"));
    let odd = Target::new(odd).unwrap();
    assert_eq!(Target::of_temporary(&odd.partial_path()).unwrap(), odd);
    for other in ["/x/a.raw", "/x/a.hyper-partial", "/x/.hyper-partial", "/x/..hyper-partial", "/"]
    {
        let found = Target::of_temporary(Path::new(other));
        assert!(found.is_none(), "{other}: {found:?}");
    }
}
