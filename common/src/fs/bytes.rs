//! The bytes of a local file or block device, read at any place.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, OFlags, SeekFrom, fadvise, seek};
use rustix::io::Errno;

use super::SourceIdentity;
use crate::error::{Error, ErrorKind, Result};

/// A local file or block device, open for reading. Reads do not move a shared position, so any
/// number of threads may read at once. The length is the one at opening: a file that grows later
/// is read up to it, one that shrinks gives `UnexpectedEof`.
#[derive(Debug)]
pub struct FileBytes {
    file: File,
    path: PathBuf,
    len: u64,
    opened: SourceIdentity,
}

impl FileBytes {
    /// Opens `path` for reading and tells the kernel that it will mostly be read in order.
    ///
    /// # Errors
    /// `NotFound` and `Auth` as the operating system says; `Unsupported` for a folder, a FIFO, a
    /// socket or a character device, named as such. Never blocks on a FIFO without a writer.
    pub fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        // Opening a FIFO would wait for its writer; NONBLOCK has no effect on what is accepted.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(|e| refused_by_type(path).unwrap_or_else(|| Error::io("open", e)))
            .map_err(|error| error.with_subject(name()))?;
        let kind = file.metadata().map_err(|e| Error::io("look at", e).with_subject(name()))?;
        if let Some(what) = unreadable_type(kind.file_type()) {
            return Err(not_a_file(what).with_subject(name()));
        }
        let opened = SourceIdentity::of_file(&file).map_err(|e| e.with_subject(name()))?;
        // Advice only: a file system that knows none of it reads just as well.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Self { len: opened.size_bytes, file, path: path.to_owned(), opened })
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file was when it was opened.
    pub fn identity(&self) -> &SourceIdentity {
        &self.opened
    }

    /// Fails where the file was written to since it was opened.
    ///
    /// # Errors
    /// `Conflict` naming what changed; `Io` where the file cannot be looked at any more.
    pub fn check_unchanged(&self) -> Result<()> {
        let name = || self.path.display().to_string();
        let now = SourceIdentity::of_file(&self.file).map_err(|e| e.with_subject(name()))?;
        match now.changed_since(&self.opened) {
            None => Ok(()),
            Some(what) => {
                Err(Error::conflict(format!("the source changed while it was read: {what}"))
                    .with_subject(name())
                    .with_hint(
                        "stop what writes to it, or read from a snapshot, and run this again",
                    ))
            }
        }
    }

    /// Length in bytes at opening.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there was nothing to read at opening.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before, else what the operating system said.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    /// The first run at or after `from` that may hold data, clipped to the length; what lies
    /// before it is a hole of the file system. A file system that cannot tell (and any block
    /// device) gives all that is left. `None`: only holes follow.
    pub fn next_data(&self, from: u64) -> Option<Range<u64>> {
        next_data(&self.file, from, self.len)
    }
}

/// The first run of `file` at or after `from` that may hold data, clipped to `len`. A file system
/// that cannot tell gives all that is left.
pub fn next_data(file: &File, from: u64, len: u64) -> Option<Range<u64>> {
    if from >= len {
        return None;
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        Err(_) => return Some(from..len),
    };
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(len).min(len);
    (start < end).then_some(start..end)
}

/// What `file_type` is called where it cannot hold an image.
fn unreadable_type(file_type: std::fs::FileType) -> Option<&'static str> {
    match file_type {
        t if t.is_file() || t.is_block_device() => None,
        t if t.is_dir() => Some("a folder"),
        t if t.is_fifo() => Some("a FIFO"),
        t if t.is_socket() => Some("a socket"),
        _ => Some("a character device"),
    }
}

/// A socket cannot even be opened; its type says more than the kernel's "no such device".
fn refused_by_type(path: &Path) -> Option<Error> {
    let found = std::fs::metadata(path).ok()?;
    unreadable_type(found.file_type()).map(not_a_file)
}

fn not_a_file(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}, not a file or block device"))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom as StdSeekFrom, Write};

    use super::*;

    #[test]
    fn holes_are_passed_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse.img");
        let mut file = File::create(&path).unwrap();
        file.seek(StdSeekFrom::Start(1 << 20)).unwrap();
        file.write_all(&[7; 4096]).unwrap();
        file.set_len(3 << 20).unwrap();
        let bytes = FileBytes::open(&path).unwrap();
        assert_eq!(bytes.len(), 3 << 20);
        let first = bytes.next_data(0).unwrap();
        assert!(first.start <= 1 << 20 && first.end >= (1 << 20) + 4096, "{first:?}");
        // tmpfs and ext4 both know holes; the run must not be the whole file.
        assert!(first.end - first.start < 3 << 20, "{first:?}");
        assert_eq!(bytes.next_data(2 << 20), None);
        assert_eq!(bytes.next_data(3 << 20), None);
        let mut buf = [0; 2];
        bytes.read_exact_at(&mut buf, (1 << 20) - 1).unwrap();
        assert_eq!(buf, [0, 7]);
        let short = bytes.read_exact_at(&mut buf, (3 << 20) - 1).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, word) in [
            (folder.path(), "a folder"),
            (&fifo, "a FIFO"),
            (&socket, "a socket"),
            (Path::new("/dev/null"), "a character device"),
        ] {
            let error = FileBytes::open(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        let missing = FileBytes::open(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_write_in_mid_run_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.raw");
        std::fs::write(&path, b"one").unwrap();
        let bytes = FileBytes::open(&path).unwrap();
        bytes.check_unchanged().unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two").unwrap();
        let error = bytes.check_unchanged().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("from 3 to 6 bytes"), "{error}");
    }
}
