//! The machines in a folder. A file that belongs to another machine there (a disk of an OVF, an
//! extent or the parent of an image) is not a machine of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::describe;
use super::identify::{Kind, identify};
use super::image::open_image;
use super::locate::Place;
use super::open::decode_percent;
use super::shown;
use crate::error::{Error, Result};
use crate::image::ImageFormat;
use crate::package::DiskData;

/// Suffixes of machine descriptions and packages; others must be images.
const DESCRIPTIONS: [&str; 6] = [".ovf", ".ova", ".ova.gz", ".ova.zst", ".vmx", ".xml"];

/// The machines in `folder`, by name, then those of its subfolders where `below`. A file that
/// should be one and cannot be read is an error in its place; other files are passed over.
pub(super) fn machines(folder: &Path, below: bool) -> impl Iterator<Item = Result<Place>> + use<> {
    let (first, folders) = match read_folder(folder) {
        Ok((files, folders)) => (places(&files), folders),
        Err(error) => (vec![Err(error)], Vec::new()),
    };
    let folders = if below { folders } else { Vec::new() };
    let rest = folders.into_iter().flat_map(|folder| match read_folder(&folder) {
        Ok((files, _)) => places(&files),
        Err(error) => vec![Err(error)],
    });
    first.into_iter().chain(rest)
}

/// The files and the folders of a folder, by name; hidden ones are left alone.
fn read_folder(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let failed = |e| Error::io("read the folder", e).with_subject(shown(folder));
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        match std::fs::metadata(&path) {
            Ok(found) if !hidden && found.is_file() => files.push(path),
            Ok(found) if !hidden && found.is_dir() => folders.push(path),
            _ => {}
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

/// The machines among the files of one folder.
fn places(files: &[PathBuf]) -> Vec<Result<Place>> {
    let mut claimed = BTreeSet::new();
    let mut found = Vec::new();
    for path in files {
        let Some(suffixed) = of_suffix(path) else { continue };
        let place = identify(path).and_then(|kind| check(path, kind, suffixed));
        let Some(place) = place.transpose() else { continue };
        if let Ok(place) = &place {
            claim(place, &mut claimed);
        }
        found.push((path, place));
    }
    let free = |path: &Path| std::fs::canonicalize(path).is_ok_and(|real| !claimed.contains(&real));
    found.into_iter().filter(|(path, _)| free(path)).map(|(_, place)| place).collect()
}

/// What a file's name says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffixed {
    Xml,
    Description,
    Image(ImageFormat),
}

fn of_suffix(path: &Path) -> Option<Suffixed> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    if name.ends_with(".xml") {
        return Some(Suffixed::Xml);
    }
    if DESCRIPTIONS.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Suffixed::Description);
    }
    ImageFormat::of_suffix(&name).map(Suffixed::Image)
}

/// Holds content against name: XML that is no domain is not ours, a `.vmdk` without any mark of
/// an image is damaged or an extent that another file claims.
fn check(path: &Path, kind: Kind, suffixed: Suffixed) -> Result<Option<Place>> {
    let place = Place { path: path.to_owned(), system: None, kind };
    let not = |what: &str| {
        Err(Error::integrity(format!("it is not {what}, as its name says"))
            .with_subject(shown(path)))
    };
    match (suffixed, kind) {
        (Suffixed::Xml, Kind::Domain | Kind::Ovf) => Ok(Some(place)),
        (Suffixed::Xml, _) => Ok(None),
        (Suffixed::Image(ImageFormat::Raw), _) => Ok(Some(place)),
        (Suffixed::Description, Kind::Image(_)) => not("a machine description"),
        (Suffixed::Image(format), Kind::Image(None)) => not(&format!("a {format} image")),
        _ => Ok(Some(place)),
    }
}

/// Adds the files that belong to `place`, other than its own. What cannot be read claims nothing;
/// opening it says why.
fn claim(place: &Place, claimed: &mut BTreeSet<PathBuf>) {
    let Some(folder) = place.path.parent() else { return };
    let mut add = |name: &str| {
        if let Ok(real) = std::fs::canonicalize(folder.join(name)) {
            claimed.insert(real);
        }
    };
    match place.kind {
        Kind::Image(Some(format)) => {
            let Ok(open) = open_image(&place.path, Some(format), &[]) else { return };
            let info = open.image.info();
            info.backing.iter().chain(&info.extent_files).for_each(|name| add(name));
        }
        Kind::Ovf | Kind::Vmx | Kind::Domain => {
            let Ok(description) = describe::read_file(place) else { return };
            for disk in &description.disks {
                if let DiskData::File(name) = &disk.data {
                    add(name);
                    decode_percent(name).iter().for_each(|plain| add(plain));
                }
            }
        }
        Kind::Ova | Kind::PackedOva(_) | Kind::Piped | Kind::Image(None) => {}
    }
}
