//! The files that an image names: opened only in the image's own folder or where the user allows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Result, one_line};
use crate::fs::{FileBytes, SourceIdentity};
use crate::image::{ImageError, Sibling, Siblings};

/// Every file that was opened for one image, so that all of them can be watched for change.
#[derive(Debug, Clone, Default)]
pub struct OpenedFiles(Arc<Mutex<Vec<Arc<FileBytes>>>>);

impl OpenedFiles {
    /// Opens `path` and remembers it.
    ///
    /// # Errors
    /// As [`FileBytes::open`].
    pub fn open(&self, path: &Path) -> Result<Arc<FileBytes>> {
        let file = Arc::new(FileBytes::open(path)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(file.clone());
        Ok(file)
    }

    pub(super) fn all(&self) -> Vec<Arc<FileBytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A text that changes when any of the files does.
    pub fn identity(&self) -> String {
        let texts: Vec<_> = self.all().iter().map(|file| file.identity().to_string()).collect();
        texts.join(" ")
    }

    /// When the last changed of them was changed, in seconds since 1970.
    pub fn modified_seconds(&self) -> i64 {
        self.identities().iter().map(|identity| identity.modified_seconds).max().unwrap_or(0)
    }

    /// The identities, in the order of opening.
    pub fn identities(&self) -> Vec<SourceIdentity> {
        self.all().iter().map(|file| file.identity().clone()).collect()
    }

    /// Whether all files are still what they were when opened.
    ///
    /// # Errors
    /// `Conflict` naming the file that changed.
    pub fn check_unchanged(&self) -> Result<()> {
        self.all().iter().try_for_each(|file| file.check_unchanged())
    }
}

/// A folder in which names are looked up, and the folders that results may lie in.
#[derive(Debug, Clone)]
pub struct Folder {
    base: PathBuf,
    roots: Arc<Vec<PathBuf>>,
    files: OpenedFiles,
}

impl Folder {
    /// The folder of the file `path`; results may also lie below `allow`. Opened files are
    /// remembered in `files`.
    ///
    /// # Errors
    /// `NotFound` where one of the folders is not there.
    pub fn of_file(path: &Path, allow: &[PathBuf], files: OpenedFiles) -> Result<Self> {
        let canonical = |folder: &Path| {
            std::fs::canonicalize(folder).map_err(|error| {
                crate::error::Error::io("find the folder", error)
                    .with_subject(folder.display().to_string())
            })
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let base = canonical(parent.unwrap_or(Path::new(".")))?;
        let mut roots = vec![base.clone()];
        for folder in allow {
            roots.push(canonical(folder)?);
        }
        Ok(Self { base, roots: Arc::new(roots), files })
    }

    /// The path that `name` leads to, links resolved, if it may be opened.
    ///
    /// # Errors
    /// [`ImageError::Outside`] where it may not, or where nothing is there.
    pub fn locate(&self, name: &str) -> std::result::Result<PathBuf, ImageError> {
        let outside = |text: String| ImageError::Outside(text);
        let scheme = name.split_once(':').filter(|(scheme, _)| {
            scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let name = match scheme {
            Some(("file", rest)) => rest.trim_start_matches("//"),
            Some((scheme, _)) if !self.base.join(name).exists() => {
                return Err(outside(format!("it names {name:?}, and {scheme}: is not followed")));
            }
            _ => name,
        };
        // Windows writes paths with backslashes.
        let found = std::fs::canonicalize(self.base.join(name))
            .or_else(|_| std::fs::canonicalize(self.base.join(name.replace('\\', "/"))));
        let path = found.map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return ImageError::Missing(format!("it names {name:?}, which is not there"));
            }
            outside(format!("it names {name:?}, which cannot be opened: {error}"))
        })?;
        if self.roots.iter().any(|root| path.starts_with(root)) {
            return Ok(path);
        }
        Err(outside(format!(
            "it names {name:?}, which lies outside its folder (allow that with --allow-path {})",
            path.parent().unwrap_or(&path).display()
        )))
    }
}

impl Siblings for Folder {
    fn open(&self, name: &str) -> std::result::Result<Sibling, ImageError> {
        let path = self.locate(name)?;
        let file = self.files.open(&path).map_err(|error| {
            ImageError::Outside(format!("it names {name:?}: {}", one_line(&error)))
        })?;
        let base = path.parent().unwrap_or(&self.base).to_path_buf();
        Ok(Sibling {
            file,
            folder: Arc::new(Self { base, roots: self.roots.clone(), files: self.files.clone() }),
            name: path.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_opened_unless_allowed() {
        let top = tempfile::tempdir().unwrap();
        let (inside, outside) = (top.path().join("vm"), top.path().join("other"));
        std::fs::create_dir_all(inside.join("sub")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        for path in [inside.join("a"), inside.join("sub/b"), outside.join("c")] {
            std::fs::write(path, b"x").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("c"), inside.join("link")).unwrap();
        let open = |allow: &[PathBuf], name: &str| {
            let files = OpenedFiles::default();
            Folder::of_file(&inside.join("disk"), allow, files).unwrap().open(name).map(|_| ())
        };
        let absolute = outside.join("c").display().to_string();
        for name in ["a", "sub/b", "sub/../a", "file:a"] {
            assert!(open(&[], name).is_ok(), "{name}");
        }
        for name in ["../other/c", "link", &absolute, "nbd://host/x", "json:{}"] {
            assert!(matches!(open(&[], name), Err(ImageError::Outside(_))), "{name}");
        }
        assert!(matches!(open(&[], "missing"), Err(ImageError::Missing(_))));
        for name in ["../other/c", "link", &absolute] {
            assert!(open(std::slice::from_ref(&outside), name).is_ok(), "{name}");
        }
    }
}
