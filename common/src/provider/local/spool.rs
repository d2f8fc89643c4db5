//! Storing a package that cannot be read at any place, because it is compressed or comes through a
//! pipe, in a folder of the user's choice. The file has no name there from the start, so that
//! nothing is left behind however the program ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::shown;
use crate::error::{Error, Result};
use crate::fs::FileBytes;
use crate::package::ova::{PackageCompression, unpacker};

/// Bytes that are unpacked at a time; runs of zeros of this size become holes.
const PIECE: usize = 256 << 10;

/// The plain bytes of `package`, in a nameless file in `folder`.
///
/// # Errors
/// `Integrity` for a damaged package; `Io` where the folder is full or cannot hold nameless files.
pub(super) fn unpack(
    package: &FileBytes,
    compression: PackageCompression,
    folder: &Path,
) -> Result<FileBytes> {
    store(unpacker(compression, InOrder { file: package, at: 0 })?, package.path(), folder)
}

/// What `reader` gives, in a nameless file in `folder`; `path` is where it comes from.
///
/// # Errors
/// As [`unpack`].
pub(super) fn store(mut reader: impl Read, path: &Path, folder: &Path) -> Result<FileBytes> {
    let failed = |what: &'static str| move |e| Error::io(what, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::TMPFILE.bits().cast_signed())
        .open(folder)
        .map_err(|e| Error::io("make a file in the spool folder", e).with_subject(shown(folder)))?;
    let mut piece = vec![0; PIECE];
    let mut len = 0_u64;
    loop {
        let got = fill(&mut reader, &mut piece).map_err(|e| {
            Error::integrity("the package is damaged or ends too early")
                .with_source(e)
                .with_subject(shown(path))
        })?;
        let Some(bytes) = piece.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
        write_piece(&mut file, bytes).map_err(|e| {
            Error::io("store it in the spool folder", e)
                .with_subject(shown(folder))
                .with_hint("name a folder with more room: --spool FOLDER")
        })?;
        len += got as u64;
    }
    file.set_len(len).map_err(failed("finish the spool file"))?;
    // The file has no name; the kernel gives it one for as long as it is open here.
    FileBytes::open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

fn write_piece(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.iter().all(|byte| *byte == 0) {
        return file.seek(SeekFrom::Current(bytes.len() as i64)).map(|_| ());
    }
    file.write_all(bytes)
}

/// Reads until `buf` is full or the input ends.
fn fill(reader: &mut dyn Read, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(got) => len += got,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// A file from front to back.
pub(super) struct InOrder<'f> {
    pub file: &'f FileBytes,
    pub at: u64,
}

impl Read for InOrder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.file.len().saturating_sub(self.at);
        let len = left.min(buf.len() as u64) as usize;
        self.file.read_exact_at(&mut buf[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
