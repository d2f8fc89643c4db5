//! The names beside an artifact while it is made, the lock that keeps two runs apart, and the
//! commit that gives it its final name.
//!
//! Beside `disk.qcow2` stand `.disk.qcow2.hyper-partial` (its bytes so far),
//! `.disk.qcow2.hyper-state` (what a later run needs to go on) and, while a run works on it,
//! `.disk.qcow2.hyper-lock`. The names follow from the final one alone, so that the next run
//! finds them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::atomic::{parent_of, replace_by, sync_folder};
use super::name::MAX_NAME;
use crate::error::{Error, Result};

/// Ends the name of a partial file.
pub const PARTIAL_SUFFIX: &str = ".hyper-partial";
/// Ends the name of what a later run needs to go on with a partial file.
pub const STATE_SUFFIX: &str = ".hyper-state";
/// Ends the name of a state that is not yet whole. Left by a kill in the moment of storing.
const NEW_STATE_SUFFIX: &str = ".hyper-state-new";
/// Ends the name of the lock that a run holds on an artifact.
pub const LOCK_SUFFIX: &str = ".hyper-lock";

/// The final place of one artifact, and the names beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    name: OsString,
}

impl Target {
    /// The place `path`, whose folder need not exist before [`Target::claim`].
    ///
    /// # Errors
    /// `Usage` where `path` names no file (`..`, `/`, a trailing slash) or a name longer than
    /// [`MAX_NAME`] bytes.
    pub fn new(path: &Path) -> Result<Self> {
        let subject = || path.display().to_string();
        let folder = path.as_os_str().as_bytes().ends_with(b"/");
        let name = match path.file_name() {
            Some(name) if !folder => name.to_owned(),
            _ => return Err(Error::usage("this names no file to write").with_subject(subject())),
        };
        if name.len() > MAX_NAME {
            let words = format!("the file name is longer than {MAX_NAME} bytes");
            return Err(Error::usage(words).with_subject(subject()));
        }
        Ok(Self { path: path.to_owned(), name })
    }

    /// The target that a temporary name made by this type belongs to; `None` for any other name.
    pub fn of_temporary(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_bytes().strip_prefix(b".")?;
        let suffixes = [PARTIAL_SUFFIX, STATE_SUFFIX, NEW_STATE_SUFFIX, LOCK_SUFFIX];
        let name = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()))?;
        Self::new(&path.with_file_name(OsStr::from_bytes(name))).ok()
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bytes stand until the commit.
    pub fn partial_path(&self) -> PathBuf {
        self.beside(PARTIAL_SUFFIX)
    }

    /// Where the state of an interrupted run stands; written by [`Target::store_state`].
    pub fn state_path(&self) -> PathBuf {
        self.beside(STATE_SUFFIX)
    }

    /// Stores the state, whole or not at all. To be called under a [`Claim`].
    ///
    /// # Errors
    /// What the operating system said; the former state is then untouched.
    pub fn store_state(&self, bytes: &[u8]) -> Result<()> {
        let path = self.state_path();
        replace_by(&self.beside(NEW_STATE_SUFFIX), &path, bytes, 0o600)
            .map_err(|e| Error::io("store the state", e).with_subject(path.display().to_string()))
    }

    /// Everything that may stand beside the artifact.
    pub fn temporaries(&self) -> [PathBuf; 4] {
        [PARTIAL_SUFFIX, STATE_SUFFIX, NEW_STATE_SUFFIX, LOCK_SUFFIX]
            .map(|suffix| self.beside(suffix))
    }

    /// The lock file.
    pub fn lock_path(&self) -> PathBuf {
        self.beside(LOCK_SUFFIX)
    }

    /// Whether anything stands under the final name, a dangling link included.
    pub fn exists(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok()
    }

    /// Takes the artifact for this run until the claim is dropped; the kernel drops it too when
    /// the process dies.
    ///
    /// # Errors
    /// `Conflict` naming the other run's process where one works on it; `NotFound` where the
    /// folder does not exist; what the operating system said otherwise.
    pub fn claim(&self) -> Result<Claim> {
        let lock = self.lock().map_err(|e| e.with_subject(self.path.display().to_string()))?;
        Ok(Claim { target: self.clone(), _lock: lock })
    }

    fn remove_state(&self) -> io::Result<()> {
        remove(&self.beside(NEW_STATE_SUFFIX)).and(remove(&self.state_path()))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(suffix);
        self.path.with_file_name(name)
    }

    fn lock(&self) -> Result<File> {
        let path = self.lock_path();
        let failed = |e: io::Error| Error::io("lock the file to write", e);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
                .map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(held_by_another(&mut file)),
                Err(error) => return Err(failed(error.into())),
            }
            // The run that held it may have removed the name between our open and our lock.
            if names_this_file(&path, &file).map_err(failed)? {
                file.set_len(0).map_err(failed)?;
                file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
                return Ok(file);
            }
        }
    }
}

/// The sole right to write one artifact. Dropped, it gives the right back and leaves the partial
/// file and the state for a later run.
#[derive(Debug)]
pub struct Claim {
    target: Target,
    _lock: File,
}

impl Claim {
    /// The place that is claimed.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A new, empty partial file, open for reading and writing; a former one and its state are
    /// removed.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn create(&self) -> Result<File> {
        let path = self.target.partial_path();
        let create = || {
            self.target.remove_state()?;
            remove(&path)?;
            OpenOptions::new().read(true).write(true).create_new(true).open(&path)
        };
        create().map_err(|e| Error::io("make the file", e).with_subject(path.display().to_string()))
    }

    /// The partial file that an earlier run left, open for reading and writing, its position at
    /// the start. `None` where there is none, or something that is no plain file of one name.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn resume(&self) -> Result<Option<File>> {
        let path = self.target.partial_path();
        let subject = path.display().to_string();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags.bits().cast_signed());
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.nlink() == 1 => {}
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("look at the partial file", e).with_subject(subject)),
        }
        let opened = options.open(&path);
        opened.map(Some).map_err(|e| Error::io("open the partial file", e).with_subject(subject))
    }

    /// Gives the partial file `file` its final name: syncs it, renames it (replacing what stands
    /// there only with `overwrite`), syncs the folder, removes the state. The claim is still held
    /// afterwards, so that what could not be named can be discarded.
    ///
    /// # Errors
    /// `Conflict` where something stands under the final name and may not be replaced;
    /// `Unsupported` where the file system cannot rename without replacing; what the operating
    /// system said otherwise. Until the rename nothing is lost: partial file and state stay.
    pub fn commit(&self, file: &File, overwrite: bool) -> Result<()> {
        self.name(file, overwrite)?;
        self.forget();
        Ok(())
    }

    /// [`Claim::commit`] without the last step: the state stays, as a sign that the file was named
    /// by a run that is not over.
    ///
    /// # Errors
    /// Those of [`Claim::commit`].
    pub fn name(&self, file: &File, overwrite: bool) -> Result<()> {
        let target = &self.target;
        let partial = target.partial_path();
        let subject = || target.path.display().to_string();
        file.sync_all().map_err(|e| Error::io("sync", e).with_subject(subject()))?;
        let renamed = if overwrite {
            std::fs::rename(&partial, &target.path)
                .map_err(|e| Error::io("rename to the final name", e))
        } else {
            rename_without_replacing(&partial, &target.path)
        };
        renamed.map_err(|e| e.with_subject(subject()))?;
        sync_folder(parent_of(&target.path))
    }

    /// Removes the state. A stale one beside a named file does no harm: it is bound to what the
    /// file was.
    pub fn forget(&self) {
        let _ = self.target.remove_state();
    }

    /// Removes the partial file and the state. Answers with what could not be removed.
    pub fn discard(self) -> Option<String> {
        let target = &self.target;
        let all = [target.partial_path(), target.state_path(), target.beside(NEW_STATE_SUFFIX)];
        let left: Vec<String> = all
            .iter()
            .filter(|path| remove(path).is_err())
            .map(|path| path.display().to_string())
            .collect();
        (!left.is_empty()).then(|| left.join(", "))
    }
}

/// Writes a small file whole: under its temporary name first, then under `path`, which is replaced
/// only with `overwrite`.
///
/// # Errors
/// `Conflict` where the name is taken and may not be replaced, or another run writes it; what the
/// operating system said otherwise.
pub fn write_small(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let claim = Target::new(path)?.claim()?;
    let mut file = claim.create()?;
    let written = file.write_all(bytes);
    if let Err(error) = written {
        claim.discard();
        return Err(Error::io("write", error).with_subject(path.display().to_string()));
    }
    claim.commit(&file, overwrite).inspect_err(|_| drop(claim.discard()))
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is still held, so that nobody else's lock file is removed.
        let _ = remove(&self.target.lock_path());
    }
}

/// Removes a file; one that is not there is as good as removed.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn names_this_file(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn held_by_another(file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.take(20).read_to_string(&mut text));
    let who = match text.trim().parse::<u32>() {
        Ok(pid) => format!("another run (process {pid}) is writing it"),
        Err(_) => "another run is writing it".into(),
    };
    Error::conflict(who).with_hint("wait for that run to end, or choose another name")
}

fn rename_without_replacing(from: &Path, to: &Path) -> Result<()> {
    let exists = || {
        Error::conflict("a file of this name exists")
            .with_hint("use --overwrite to replace it, or choose another name")
    };
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => return Err(exists()),
        // Older kernels, and file systems that do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(Error::io("rename to the final name", error.into())),
    }
    link_and_unlink(from, to).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
            Error::unsupported("this file system cannot rename a file without replacing another")
                .with_source(e)
                .with_hint("use --overwrite if nothing of this name has to be kept")
        }
        _ => Error::io("rename to the final name", e),
    })
}

/// A hard link is never made over an existing name, so this is a rename that never replaces.
fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

#[cfg(test)]
mod tests;
