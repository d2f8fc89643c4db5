//! Which consoles are open. Each run that holds one keeps a small file about it in the state
//! folder, and a lock beside it for as long as it lives: who was killed is known by its lock.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper_common::error::{Error, Result};
use hyper_common::fs::{Folders, write_atomic};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::record::{SessionRow, SessionState};
use crate::run::Machine;

/// The endings of the two files of a session.
const LOCK: &str = "lock";
const ROW: &str = "json";

/// A console that is open; not any more once this is dropped.
#[derive(Debug)]
pub struct Session {
    /// Where its files are, without ending; none where they cannot be written.
    place: Option<(PathBuf, File)>,
    row: Mutex<SessionRow>,
}

/// The folder of all sessions.
fn folder() -> Result<PathBuf> {
    Ok(Folders::from_environment()?.state.join("consoles"))
}

impl Session {
    /// Tells of a console of `machine`. Where that cannot be told the console is no worse.
    pub fn open(kind: &str, machine: &Machine, address: Option<String>) -> Self {
        let row = SessionRow {
            vm: machine.name.clone(),
            context: machine.context.clone(),
            kind: kind.to_owned(),
            pid: std::process::id(),
            since: Timestamp::now(),
            address,
            viewers: 0,
            state: SessionState::Waiting,
        };
        let place = match folder().and_then(|folder| claim(&folder, &row)) {
            Ok(place) => Some(place),
            Err(error) => {
                tracing::warn!("`hyper console sessions` will not know of this: {error}");
                None
            }
        };
        let session = Self { place, row: Mutex::new(row) };
        session.note(|_| {});
        session
    }

    /// Tells what has become of it.
    pub fn note(&self, change: impl FnOnce(&mut SessionRow)) {
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut row);
        let Some((place, _)) = &self.place else { return };
        let bytes = serde_json::to_vec(&*row).unwrap_or_default();
        if let Err(error) = write_atomic(&place.with_extension(ROW), &bytes, 0o600) {
            tracing::warn!("`hyper console sessions` does not know what this does now: {error}");
        }
    }

    /// A viewer more; one fewer once the answer is dropped.
    pub fn viewer(self: &Arc<Self>) -> Viewer {
        self.note(|row| {
            row.viewers += 1;
            row.state = SessionState::Connected;
        });
        Viewer(self.clone())
    }
}

/// A viewer that is connected.
#[derive(Debug)]
pub struct Viewer(Arc<Session>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.note(|row| {
            row.viewers = row.viewers.saturating_sub(1);
            if row.viewers == 0 {
                row.state = SessionState::Waiting;
            }
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((place, _)) = &self.place {
            remove(place);
        }
    }
}

fn remove(place: &Path) {
    // The lock last: as long as it is there somebody cleans up.
    let _ = std::fs::remove_file(place.with_extension(ROW));
    let _ = std::fs::remove_file(place.with_extension(LOCK));
}

/// A name for a session, and its lock.
fn claim(folder: &Path, row: &SessionRow) -> Result<(PathBuf, File)> {
    let failed = |error| {
        Error::io("write the file of the session", error)
            .with_subject(folder.display().to_string())
            .with_hint("set HYPER_STATE_DIR to a folder that can be written")
    };
    let make = || DirBuilder::new().recursive(true).mode(0o700).create(folder);
    make().map_err(failed)?;
    let place = folder.join(format!("{}-{}", row.since.as_millisecond(), row.pid));
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(place.with_extension(LOCK)).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        // Whoever lists may have taken it for a dead one's between both.
        if file.metadata().map_err(failed)?.nlink() > 0 {
            return Ok((place, file));
        }
    }
}

/// All consoles that are open now, oldest first. What the dead left is removed.
///
/// # Errors
/// Those of reading the folder; that there is none yet is no error.
pub fn list() -> Result<Vec<SessionRow>> {
    let folder = folder()?;
    let failed = |error| {
        Error::io("read the open sessions", error).with_subject(folder.display().to_string())
    };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut rows = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == LOCK) {
            rows.extend(look(&path.with_extension("")).map_err(failed)?);
        }
    }
    rows.sort_by_key(|row| row.since);
    Ok(rows)
}

/// A session, where it is alive.
fn look(place: &Path) -> io::Result<Option<SessionRow>> {
    let lock = match File::open(place.with_extension(LOCK)) {
        // It ended a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    // Shared, so that two lookers do not take each other for the session.
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            remove(place);
            Ok(None)
        }
        Err(Errno::WOULDBLOCK) => {
            let row = std::fs::read(place.with_extension(ROW));
            // One that begins or ends just now has no file.
            Ok(row.ok().and_then(|row| serde_json::from_slice(&row).ok()))
        }
        Err(error) => Err(error.into()),
    }
}
