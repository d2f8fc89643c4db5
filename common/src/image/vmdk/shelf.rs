//! The files of a disk in many pieces. A disk of 2 TiB in pieces of 2 GiB has more files than a
//! process may have open, so that only the last few used stay open.

use std::sync::{Arc, Mutex, PoisonError};

use crate::image::{ImageError, ReadAt, Siblings};

/// Files that stay open for each disk.
const OPEN_MAX: usize = 64;

/// The files that a descriptor names.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: Arc<dyn Siblings>,
    /// All of them may stay open.
    few: bool,
    /// Last used last.
    open: Mutex<Vec<(String, Arc<dyn ReadAt>)>>,
}

impl Shelf {
    /// A shelf of at most `count` files that `folder` opens.
    pub(super) fn new(folder: Arc<dyn Siblings>, count: usize) -> Arc<Self> {
        Arc::new(Self { folder, few: count <= OPEN_MAX, open: Mutex::default() })
    }

    /// The file `name`, opened now and, where it was closed for others meanwhile, again
    /// when it is read.
    pub(super) fn file(self: &Arc<Self>, name: &str) -> Result<Arc<dyn ReadAt>, ImageError> {
        let file = self.open(name)?;
        if self.few {
            return Ok(file);
        }
        let len = file.len();
        Ok(Arc::new(Shelved { shelf: self.clone(), name: name.to_owned(), len }))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>, ImageError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(known, _)| known == name) {
            let found = open.remove(at);
            let file = found.1.clone();
            open.push(found);
            return Ok(file);
        }
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        let file = self.folder.open(name)?.file;
        open.push((name.to_owned(), file.clone()));
        Ok(file)
    }
}

/// A file on the shelf.
#[derive(Debug)]
struct Shelved {
    shelf: Arc<Shelf>,
    name: String,
    len: u64,
}

impl Shelved {
    fn reopen(&self) -> std::io::Result<Arc<dyn ReadAt>> {
        let file = self.shelf.open(&self.name).map_err(|error| match error {
            ImageError::Io(io) => io,
            other => std::io::Error::other(other.to_string()),
        })?;
        if file.len() == self.len {
            return Ok(file);
        }
        Err(std::io::Error::other(format!("{} changed its length while it was read", self.name)))
    }
}

impl ReadAt for Shelved {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.reopen()?.read_exact_at(buf, offset)
    }

    fn next_data(&self, from: u64) -> Option<std::ops::Range<u64>> {
        match self.reopen() {
            Ok(file) => file.next_data(from),
            // The read that follows says what went wrong.
            Err(_) => (from < self.len).then_some(from..self.len),
        }
    }
}
