//! From a reference to the one machine that it names.

use std::path::{Path, PathBuf};

use super::identify::{Kind, identify};
use super::pipe::{STDIN, STDIN_PATH};
use super::{scan, shown};
use crate::error::{Error, Result};
use crate::vm::VmId;

/// Candidates that a message names at the most.
const MOST_HINTS: usize = 20;

/// Where a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file that describes it, absolute.
    pub path: PathBuf,
    /// Which of several virtual systems in it.
    pub system: Option<String>,
    /// What the file is.
    pub kind: Kind,
}

impl Place {
    /// The identifier that finds it again: `PATH` or `PATH#SYSTEM`.
    pub(super) fn id(&self) -> Result<VmId> {
        let path = self.path.to_str().ok_or_else(|| {
            Error::unsupported("its path is not UTF-8").with_subject(shown(&self.path))
        })?;
        Ok(VmId(match &self.system {
            Some(system) => format!("{path}#{system}"),
            None => path.to_owned(),
        }))
    }

    /// The file's name without its suffixes.
    pub(super) fn stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let plain = |name: &str, suffix: &str| {
            let cut = name.len().checked_sub(suffix.len())?;
            let tail = name.get(cut..)?;
            tail.eq_ignore_ascii_case(suffix).then(|| name[..cut].to_owned())
        };
        let packed = [".ova.gz", ".ova.zst"].into_iter().find_map(|suffix| plain(&name, suffix));
        packed.unwrap_or_else(|| match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
            _ => name.into_owned(),
        })
    }
}

/// The machine that an identifier names.
pub(super) fn of_id(id: &VmId) -> Result<Place> {
    at_path(Path::new("/"), &id.0)?
        .ok_or_else(|| Error::not_found("there is no such file").with_subject(&id.0))
}

/// The machine that a reference names: a path from `root` on (a folder stands for the one machine
/// in it) or `-` for standard input, with `#NAME` for one of several in a package; else the name of a machine in `root`.
pub(super) fn resolve(root: &Path, reference: &str) -> Result<Place> {
    let reference = reference.strip_prefix('@').unwrap_or(reference);
    if let Some(place) = at_path(root, reference)? {
        return Ok(place);
    }
    let missing = || {
        Error::not_found("there is no such machine")
            .with_subject(shown(&root.join(reference)))
            .with_hint("`hyper vm list local:FOLDER` shows the machines of a folder")
    };
    if reference.contains('/') || !root.is_dir() {
        return Err(missing());
    }
    let named = |place: &Place| {
        place.stem() == reference
            || super::list::summary(place).is_ok_and(|found| found.machine.name == reference)
    };
    let places = scan::machines(root, true).filter_map(Result::ok).filter(named).collect();
    only(places, &shown(root))?.ok_or_else(missing)
}

fn at_path(root: &Path, reference: &str) -> Result<Option<Place>> {
    let whole = join(root, reference);
    let (path, system) = match reference.rsplit_once('#') {
        Some((file, system)) if !whole.exists() => (join(root, file), Some(system.to_owned())),
        _ => (whole, None),
    };
    if path.is_dir() {
        let places = scan::machines(&path, false).collect::<Result<Vec<_>>>()?;
        let found = only(places, &shown(&path))?.map(|place| Place { system, ..place });
        let empty = || Error::not_found("no machine is in this folder").with_subject(shown(&path));
        return found.ok_or_else(empty).map(Some);
    }
    match path.try_exists() {
        Ok(true) => Ok(Some(Place { kind: identify(&path)?, system, path })),
        Ok(false) => Ok(None),
        Err(e) => Err(Error::io("look for the machine", e).with_subject(shown(&path))),
    }
}

/// The path that a reference means; `-` is standard input.
fn join(root: &Path, reference: &str) -> PathBuf {
    if reference == STDIN { PathBuf::from(STDIN_PATH) } else { root.join(reference) }
}

/// The only one of several candidates.
fn only(mut places: Vec<Place>, folder: &str) -> Result<Option<Place>> {
    if places.len() < 2 {
        return Ok(places.pop());
    }
    let count = places.len();
    let mut error =
        Error::conflict(format!("{count} machines could be meant")).with_subject(folder);
    for place in places.iter().take(MOST_HINTS) {
        error = error.with_hint(format!("local:{}", place.path.display()));
    }
    Err(error)
}
