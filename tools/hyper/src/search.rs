//! Where tools are looked for: beside `hyper` itself, in the folders of `HYPER_EXEC_PATH`, in
//! those of `PATH`. Entries that are empty or relative are skipped, so that nothing is ever
//! started from the current directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper_common::error::{Error, Result};

/// What tools' file names start with.
const PREFIX: &str = "hyper-";

/// The folders to look in, in order.
#[derive(Debug, Default)]
pub struct Search {
    folders: Vec<PathBuf>,
    own: Option<PathBuf>,
}

/// A tool that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name behind `hyper`, such as `export`.
    pub name: String,
    /// The program.
    pub path: PathBuf,
}

impl Search {
    /// The folders that this program's own place and the environment name.
    pub fn from_environment() -> Self {
        let own = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
        let path = |name| std::env::var_os(name).unwrap_or_default();
        Self::new(own, &path("HYPER_EXEC_PATH"), &path("PATH"))
    }

    /// The folders, in the order in which they are looked through.
    pub fn new(own: Option<PathBuf>, exec_path: &OsStr, path: &OsStr) -> Self {
        let split = |list| std::env::split_paths(list).collect::<Vec<_>>();
        let named = split(exec_path).into_iter().chain(split(path));
        let folders = own.iter().cloned().chain(named).filter(|folder| folder.is_absolute());
        Self { folders: folders.collect(), own }
    }

    /// The folder that `hyper` itself is in.
    ///
    /// # Errors
    /// `NotFound` where the system does not tell.
    pub fn own_folder(&self) -> Result<&Path> {
        self.own.as_deref().ok_or_else(|| Error::not_found("cannot tell where hyper itself is"))
    }

    /// The program of the tool `name`. A name that is not plain (`../x`) finds nothing.
    pub fn find(&self, name: &OsStr) -> Option<PathBuf> {
        let name = name.to_str().filter(|name| is_plain(name))?;
        self.program(&format!("{PREFIX}{name}"))
    }

    /// Any program by its file name.
    pub fn program(&self, file: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(file)).find(|path| is_program(path))
    }

    /// All tools by name; where two have one name, the one that would be run.
    pub fn tools(&self) -> Vec<Found> {
        let mut tools = BTreeMap::new();
        for folder in &self.folders {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let file = entry.file_name();
                let name = file.to_str().and_then(|file| file.strip_prefix(PREFIX));
                let Some(name) = name.filter(|name| is_plain(name)) else { continue };
                if !tools.contains_key(name) && is_program(&entry.path()) {
                    tools.insert(name.to_owned(), entry.path());
                }
            }
        }
        tools.into_iter().map(|(name, path)| Found { name, path }).collect()
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn own_folder_then_exec_path_then_path_and_nothing_relative() {
        let root = tempfile::tempdir().unwrap();
        let folders = ["own", "exec", "path"].map(|name| root.path().join(name));
        folders.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let [own, exec, path] = &folders;
        let in_path = program(path, "hyper-b", 0o755);
        program(path, "hyper-c", 0o644);
        let list = std::env::join_paths([Path::new(""), Path::new("."), path]).unwrap();
        let search = Search::new(Some(own.clone()), exec.as_os_str(), &list);
        assert_eq!(search.folders, folders);
        assert_eq!(search.find(OsStr::new("b")), Some(in_path));
        assert_eq!(search.find(OsStr::new("c")), None, "not executable");
        let in_exec = program(exec, "hyper-b", 0o755);
        assert_eq!(search.find(OsStr::new("b")), Some(in_exec));
        let in_own = program(own, "hyper-b", 0o755);
        assert_eq!(search.find(OsStr::new("b")), Some(in_own.clone()));
        assert_eq!(search.tools(), [Found { name: "b".to_owned(), path: in_own }]);
    }

    #[test]
    fn names_with_more_than_letters_find_nothing() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("hyper-x")).unwrap();
        program(root.path(), "evil", 0o755);
        let search = Search::new(Some(root.path().to_owned()), OsStr::new(""), OsStr::new(""));
        for name in ["x/../evil", "", "-x", "x", "a b"] {
            assert_eq!(search.find(OsStr::new(name)), None, "{name}");
        }
    }
}
