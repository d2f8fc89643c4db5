//! What tells one version of a source file from the next.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Device, inode, size and modification time of a file: partial results are bound to it, and a
/// source that changes in mid-run is noticed by it. For a block device the device is its own
/// number and the time is that of its node, which a write does not touch: there only another
/// device or another size is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// Device number of the file system, or of the block device itself.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Modification time, whole seconds since 1970.
    pub modified_seconds: i64,
    /// Modification time, the nanoseconds beyond the seconds.
    pub modified_nanos: u32,
}

impl SourceIdentity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn of_file(file: &File) -> Result<Self> {
        let found = file.metadata().map_err(|e| Error::io("look at the file", e))?;
        let mut identity = Self {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.len(),
            modified_seconds: found.mtime(),
            modified_nanos: u32::try_from(found.mtime_nsec()).unwrap_or_default(),
        };
        if found.file_type().is_block_device() {
            identity.device = found.rdev();
            identity.size_bytes = seek(file, SeekFrom::End(0))
                .map_err(|e| Error::io("find the size of the device", e.into()))?;
        }
        Ok(identity)
    }

    /// The identity of the file at `path`, opened for reading for a moment.
    ///
    /// # Errors
    /// As [`super::FileBytes::open`].
    pub fn of_path(path: &Path) -> Result<Self> {
        super::FileBytes::open(path).map(|bytes| bytes.identity().clone())
    }

    /// What differs from the `earlier` identity, as a clause; `None` where nothing does.
    pub fn changed_since(&self, earlier: &Self) -> Option<String> {
        if (self.device, self.inode) != (earlier.device, earlier.inode) {
            return Some("another file stands under its name".into());
        }
        if self.size_bytes != earlier.size_bytes {
            let (was, is) = (earlier.size_bytes, self.size_bytes);
            return Some(format!("its size went from {was} to {is} bytes"));
        }
        (self != earlier).then(|| "it was modified".into())
    }
}

/// The stable text form, for a state file that is bound to a source:
/// `DEVICE:INODE:SIZE:SECONDS.NANOS`, all decimal.
impl std::fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, inode, size_bytes, modified_seconds, modified_nanos } = self;
        write!(f, "{device}:{inode}:{size_bytes}:{modified_seconds}.{modified_nanos:09}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_a_resized_and_a_rewritten_file_differ() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"123").unwrap();
        let first = SourceIdentity::of_path(&path).unwrap();
        assert_eq!(SourceIdentity::of_path(&path).unwrap().changed_since(&first), None);

        let file = File::options().write(true).open(&path).unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        file.set_modified(later).unwrap();
        let touched = SourceIdentity::of_path(&path).unwrap();
        assert_eq!(touched.changed_since(&first).unwrap(), "it was modified");
        assert_ne!(touched.to_string(), first.to_string());

        file.set_len(9).unwrap();
        let resized = SourceIdentity::of_path(&path).unwrap();
        assert!(resized.changed_since(&first).unwrap().contains("from 3 to 9 bytes"));

        std::fs::write(folder.path().join("b"), b"123").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        let replaced = SourceIdentity::of_path(&path).unwrap();
        assert!(replaced.changed_since(&first).unwrap().contains("another file"));

        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<SourceIdentity>(&text).unwrap(), first);
    }
}
