//! Small files that are seen either as they were or as they will be, never half written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes `bytes` as the whole file `path` with exactly the permissions `mode` (`0o600`): into a
/// new file beside it, synced, then renamed over it. A symbolic link at `path` is followed, so
/// that a file kept elsewhere is replaced there and the link stays.
///
/// # Errors
/// What the operating system said, with the path; the old file is then untouched and nothing is
/// left beside it.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        let path = resolve_link(path)?;
        replace_by(&temporary_beside(&path)?, &path, bytes, mode)
    };
    write().map_err(|e| Error::io("write the file", e).with_subject(path.display().to_string()))
}

/// The same by way of `temporary`, a name in the same folder that nobody else uses.
pub(super) fn replace_by(temporary: &Path, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let done = write_synced(temporary, bytes, mode).and_then(|()| std::fs::rename(temporary, path));
    if done.is_err() {
        let _ = std::fs::remove_file(temporary);
        return done;
    }
    sync_folder_io(parent_of(path))
}

/// Makes the names in `folder` durable, after a file was made, renamed or removed there.
///
/// # Errors
/// What the operating system said; a file system that cannot sync folders is not an error.
pub fn sync_folder(folder: &Path) -> Result<()> {
    sync_folder_io(folder)
        .map_err(|e| Error::io("sync the folder", e).with_subject(folder.display().to_string()))
}

/// The folder that a path lies in, `.` for a bare name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder_io(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems have no fsync for folders.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

fn resolve_link(path: &Path) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => std::fs::canonicalize(path),
        _ => Ok(path.to_owned()),
    }
}

/// A name beside `path` that no other process and no other call of this one takes.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{call}.hyper-tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match open() {
        // Left by a killed process that had this process's number.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    // The umask may have taken bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        write_atomic(&path, b"first version", 0o644).unwrap();
        write_atomic(&path, b"second", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        std::fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, b"new", 0o600).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dir");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("kept"), b"").unwrap();
        let error = write_atomic(&path, b"x", 0o600).unwrap_err();
        assert!(error.to_string().contains("dir"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = write_atomic(&folder.path().join("no/file"), b"x", 0o600).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
