//! The files of the journal: which there are, and how a line gets into one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::fs::sync_folder;

const PREFIX: &str = "runs-";
const SUFFIX: &str = ".jsonl";
/// Lines longer than this are neither written nor read.
pub(super) const LONGEST_LINE: usize = 16 << 20;
/// A writer holds the lock for one write; one that is stopped must not hang all others.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file for a line written at `now`: one for each month, UTC.
pub(super) fn name_at(now: Timestamp) -> String {
    format!("{PREFIX}{}{SUFFIX}", now.strftime("%Y-%m"))
}

/// The names of all files of the journal, oldest first. A folder that is not there has none.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Appends `line` (without its line feed) to the file `name`: all of it or nothing, never within
/// another process's line. A line that a crash tore is ended first. With `sync` it is on the
/// medium when this returns.
pub(super) fn append(dir: &Path, name: &str, line: &[u8], sync: bool) -> io::Result<()> {
    if line.len() > LONGEST_LINE || line.contains(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a line for the journal"));
    }
    let path = dir.join(name);
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    let (mut file, new) = match options.open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => (options.create(true).open(&path)?, true),
        other => (other?, false),
    };
    lock(&file)?;
    let written = write_line(&mut file, line);
    flock(&file, FlockOperation::Unlock)?;
    written?;
    if sync {
        file.sync_data()?;
        if new {
            sync_folder(dir).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn lock(file: &File) -> io::Result<()> {
    let since = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if since.elapsed() < PATIENCE => std::thread::sleep(pause),
            Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// One write for the whole line; on a full disk what got in is taken out again.
fn write_line(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(line.len() + 2);
    if before > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, before - 1)?;
        if last != *b"\n" {
            bytes.push(b'\n');
        }
    }
    bytes.extend_from_slice(line);
    bytes.push(b'\n');
    file.write_all(&bytes).inspect_err(|_| drop(file.set_len(before)))
}
