//! Opening the journal and beginning a run.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Access, FlockOperation, access, flock};
use rustix::io::Errno;
use serde_json::Value;

use super::entry::{Action, BeginLine, Line, LineBody, Thing};
use super::run::Run;
use super::segment;
use crate::error::{Error, Result};

/// The folder, within the journal's, of the locks that living runs hold.
const LOCKS: &str = "runs";

/// The journal, open for writing. Any number of processes may hold it open.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
}

/// What is known of a run when it begins.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The tool: `hyper-export`.
    pub tool: String,
    /// The typed request. Stored as it is, so it must not hold secrets.
    pub request: Value,
    /// What it reads, as references or paths.
    pub sources: Vec<String>,
    /// Where it writes, as paths or URLs without credentials.
    pub targets: Vec<String>,
}

impl Journal {
    /// Opens the journal in the folder `dir` ([`crate::fs::Folders::history`]) and makes that,
    /// for its user alone, where it is not there.
    ///
    /// # Errors
    /// What the operating system said where the folder cannot be made or written, with a hint
    /// naming `HYPER_STATE_DIR`.
    pub fn open(dir: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir.join(LOCKS))
            .and_then(|()| Ok(access(dir, Access::WRITE_OK | Access::EXEC_OK)?))
            .map_err(|e| unwritable(dir, e))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Begins a run: when this returns, the journal on the medium knows it, and until the [`Run`]
    /// is dropped or the process dies it counts as alive.
    ///
    /// # Errors
    /// What the operating system said where the journal cannot be written (a full disk), with a
    /// hint naming `HYPER_STATE_DIR`.
    pub fn begin(&self, begin: Begin) -> Result<Run> {
        let now = Timestamp::now();
        let (id, lock) = self.new_lock(now).map_err(|e| unwritable(&self.dir, e))?;
        let line = LineBody::Begin(BeginLine {
            tool: begin.tool,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            sources: begin.sources,
            targets: begin.targets,
            request: begin.request,
        });
        let name = segment::name_at(now);
        let written = self.write(&name, &Line { run: id.clone(), time: now, body: line }, true);
        if let Err(error) = written {
            let _ = std::fs::remove_file(lock_path(&self.dir, &id));
            return Err(error);
        }
        Ok(Run::new(self.clone(), id, name, lock))
    }

    /// Says of another, dead run's thing that it is gone.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn note_removed(&self, run: &str, thing: &Thing) -> Result<()> {
        let now = Timestamp::now();
        let body = LineBody::Note { action: Action::Removed, thing: thing.clone() };
        let line = Line { run: run.to_owned(), time: now, body };
        self.write(&segment::name_at(now), &line, false)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn write(&self, name: &str, line: &Line, sync: bool) -> Result<()> {
        let bytes = serde_json::to_vec(line).map_err(|e| {
            Error::new(crate::error::ErrorKind::Internal, "write a record").with_source(e)
        })?;
        segment::append(&self.dir, name, &bytes, sync).map_err(|e| unwritable(&self.dir, e))
    }

    /// A new id and the lock that goes with it, which no other run can have.
    fn new_lock(&self, now: Timestamp) -> io::Result<(String, File)> {
        for attempt in 0..1000u32 {
            let id = new_id(now, attempt);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = match options.open(lock_path(&self.dir, &id)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(std::process::id().to_string().as_bytes())?;
            return Ok((id, file));
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether the run `id` holds its lock.
pub(super) fn is_alive(dir: &Path, id: &str) -> io::Result<bool> {
    let file = match File::open(lock_path(dir, id)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    // Shared, so that two lookers do not take each other for the run.
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn lock_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(LOCKS).join(format!("{id}.lock"))
}

/// Sorts by time, down to the millisecond: `20261120T113002123Z-4f9a`.
fn new_id(now: Timestamp, attempt: u32) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&std::process::id().to_le_bytes());
    hash.update(&now.as_nanosecond().to_le_bytes());
    hash.update(&attempt.to_le_bytes());
    hash.update(rustix::system::uname().nodename().to_bytes());
    let hash = hash.finalize().to_hex();
    let millis = now.subsec_millisecond();
    format!("{}{millis:03}Z-{}", now.strftime("%Y%m%dT%H%M%S"), hash.get(..4).unwrap_or("0000"))
}

fn unwritable(dir: &Path, error: io::Error) -> Error {
    Error::io("write the history of runs", error)
        .with_subject(dir.display().to_string())
        .with_hint("set HYPER_STATE_DIR to a folder that can be written")
}
