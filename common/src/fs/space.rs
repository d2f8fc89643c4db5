//! Free space.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Bytes that an unprivileged process may still write where `path` is or will be: `path` itself
/// or the nearest folder above it that exists.
///
/// # Errors
/// What the operating system said, with the path.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let mut at = absolute.as_path();
    loop {
        match rustix::fs::statvfs(at) {
            Ok(found) => return Ok(found.f_bavail.saturating_mul(found.f_frsize)),
            Err(Errno::NOENT | Errno::NOTDIR) if at.parent().is_some() => {
                at = at.parent().unwrap_or(Path::new("/"));
            }
            Err(error) => {
                return Err(Error::io("find the free space", error.into())
                    .with_subject(path.display().to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_counts_as_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let here = free_bytes(folder.path()).unwrap();
        assert!(here > 0);
        // Other processes write meanwhile: the same file system, not the same byte.
        let there = free_bytes(&folder.path().join("a/b/c.qcow2")).unwrap();
        assert!(there.abs_diff(here) < 4 << 30, "{here} {there}");
        let proc = free_bytes(Path::new("/proc/none")).unwrap();
        assert_eq!(proc, 0);
    }
}
