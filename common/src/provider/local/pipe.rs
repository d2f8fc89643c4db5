//! What comes through a pipe: opened, and recognised by its first bytes.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::shown;
use crate::error::{Error, Result, ResultExt};
use crate::package::ova::{PackageCompression, unpacker};

/// Standard input as a reference names it.
pub(super) const STDIN: &str = "-";

/// Standard input as a path.
pub(super) const STDIN_PATH: &str = "/dev/stdin";

/// Bytes at the front that tell what it is.
const HEAD: u64 = 512;

/// Whether `path` can only be read from front to back, once.
pub(super) fn is_pipe(path: &Path) -> bool {
    let of_type = |kind: std::fs::FileType| kind.is_fifo() || kind.is_socket();
    std::fs::metadata(path).is_ok_and(|found| of_type(found.file_type()))
}

/// The plain bytes of the package that comes through the pipe at `path`. Waits for its first
/// bytes.
///
/// # Errors
/// `Unsupported` for what is no package; those of opening and reading it.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let begin = || -> Result<Box<dyn Read + Send>> {
        let mut file = open_file(path)?;
        let mut head = Vec::new();
        let read = (&mut file).take(HEAD).read_to_end(&mut head);
        read.map_err(|error| Error::io("read", error))?;
        let compression = PackageCompression::detect(&head);
        let short = (head.len() as u64) < HEAD;
        let is_tar = head.get(257..262) == Some(b"ustar");
        let whole = std::io::Cursor::new(head).chain(file);
        match compression {
            Some(compression) => unpacker(compression, whole),
            None if is_tar => Ok(Box::new(whole)),
            None if short => Err(Error::integrity("the pipe ended before a package began")),
            None => Err(Error::unsupported("what comes through the pipe is no OVA package")
                .with_hint("a disk image: hyper image convert --from-format FORMAT - DST")
                .with_hint("anything else must be in a file")),
        }
    };
    begin().subject(|| shown(path))
}

fn open_file(path: &Path) -> Result<File> {
    if path != Path::new(STDIN_PATH) {
        return File::open(path).map_err(|error| Error::io("open", error));
    }
    // A socket has no path by which it could be opened.
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    input.map(File::from).map_err(|error| Error::io("open standard input", error))
}
