//! From a place to the machine's description and the files that hold it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, OpenedFiles};
use super::identify::Kind;
use super::locate::Place;
use super::package::PackageFiles;
use super::piped::HINT;
use super::{pipe, shown, spool};
use crate::error::{Error, Result, ResultExt};
use crate::fs::FileBytes;
use crate::image::{ReadAt, Siblings};
use crate::package::manifest::{LARGEST_MANIFEST, Manifest};
use crate::package::ova::find_members;
use crate::package::ovf::read_ovf;
use crate::package::vmx::read_vmx;
use crate::package::{Description, DiskData, DiskFile, LARGEST_DESCRIPTION, domain_xml};
use crate::provider::ExportOptions;
use crate::vm::{Machine, MachineDisk};

/// A machine's description and where its files are.
#[derive(Debug)]
pub(super) struct Described {
    pub description: Description,
    pub holder: Holder,
    /// The manifest of its package, where there is one.
    pub manifest: Option<Manifest>,
    /// The file that was described: the description or the package.
    pub source: Arc<FileBytes>,
}

/// What holds a machine's files.
#[derive(Debug)]
pub(super) enum Holder {
    /// A folder.
    Folder {
        /// The description, without symbolic links in its path.
        path: PathBuf,
        /// Further folders in which its files may lie.
        allow: Vec<PathBuf>,
    },
    /// A package.
    Package(PackageFiles),
}

impl Holder {
    /// The machine's files; those opened are added to `opened`.
    pub(super) fn files(&self, opened: &OpenedFiles) -> Result<Arc<dyn Siblings>> {
        match self {
            Self::Folder { path, allow } => {
                Ok(Arc::new(Folder::of_file(path, allow, opened.clone())?))
            }
            Self::Package(files) => Ok(Arc::new(files.clone())),
        }
    }
}

/// Reads the description at `place`. A compressed package is unpacked into the spool
/// folder, one that comes through a pipe is stored there.
pub(super) fn describe(place: &Place, options: &ExportOptions) -> Result<Described> {
    match place.kind {
        Kind::Ova => {
            let file = Arc::new(FileBytes::open(&place.path)?);
            in_package(place, file.clone(), file)
        }
        Kind::PackedOva(compression) => {
            let source = Arc::new(FileBytes::open(&place.path)?);
            let folder = options.spool.as_deref().ok_or_else(|| {
                let how = compression.name();
                Error::unsupported(format!("a package inside {how} cannot be read in place"))
                    .with_subject(shown(&place.path))
                    .with_hint("--spool FOLDER unpacks it there first; nothing stays behind")
            })?;
            let plain = spool::unpack(&source, compression, folder)?;
            in_package(place, source, Arc::new(plain))
        }
        Kind::Piped => {
            let folder = options.spool.as_deref().ok_or_else(|| {
                Error::unsupported("a pipe can only be read in order")
                    .with_subject(shown(&place.path))
                    .with_hint(HINT)
            })?;
            let plain = spool::store(pipe::open(&place.path)?, &place.path, folder)?;
            let plain = Arc::new(plain);
            in_package(place, plain.clone(), plain)
        }
        Kind::Ovf | Kind::Vmx | Kind::Domain | Kind::Image(_) => in_folder(place, options),
    }
}

fn in_folder(place: &Place, options: &ExportOptions) -> Result<Described> {
    let failed = |e| Error::io("look for the machine", e).with_subject(shown(&place.path));
    let real = std::fs::canonicalize(&place.path).map_err(failed)?;
    let source = Arc::new(FileBytes::open(&real)?);
    let description = match place.kind {
        Kind::Image(_) => of_image(place, &real)?,
        _ => read_file(place)?,
    };
    let manifest = match place.kind {
        Kind::Ovf => read_manifest(&real.with_extension("mf"))?,
        _ => None,
    };
    let holder = Holder::Folder { path: real, allow: options.allow_path.clone() };
    Ok(Described { description, holder, manifest, source })
}

/// The description in a file of its own.
pub(super) fn read_file(place: &Place) -> Result<Description> {
    let file = FileBytes::open(&place.path)?;
    let read = || -> Result<Description> {
        let bytes = read_whole(&file, LARGEST_DESCRIPTION, "a machine description")?;
        match place.kind {
            Kind::Vmx => read_vmx(&bytes, &place.stem()),
            Kind::Domain => domain_xml::read_domain(&bytes),
            _ => Ok(read_ovf(&bytes, place.system.as_deref())?.description),
        }
    };
    read().subject(|| shown(&place.path))
}

/// A bare image as a machine: a name and a disk.
fn of_image(place: &Place, real: &Path) -> Result<Description> {
    let name = real.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::unsupported("its name is not UTF-8").with_subject(shown(&place.path))
    })?;
    let disk = MachineDisk {
        id: "disk0".to_owned(),
        label: None,
        capacity_bytes: 0,
        controller: None,
        unit: None,
        file: Some(name.to_owned()),
    };
    let machine = Machine { name: place.stem(), disks: vec![disk], ..Machine::default() };
    let file = DiskFile { data: DiskData::File(name.to_owned()), format: None, size: None };
    Ok(Description { machine, disks: vec![file], notes: Vec::new() })
}

/// The description in a package: the first member that is an envelope.
fn in_package(place: &Place, source: Arc<FileBytes>, plain: Arc<FileBytes>) -> Result<Described> {
    let read = || -> Result<Described> {
        let members = find_members(&*plain)?;
        let envelope =
            members.iter().find(|member| member.name.to_ascii_lowercase().ends_with(".ovf"));
        let envelope = envelope
            .ok_or_else(|| Error::integrity("the package holds no OVF envelope"))?
            .name
            .clone();
        let at = envelope.rfind('/').map_or("", |slash| &envelope[..=slash]).to_owned();
        let files = PackageFiles { file: plain.clone(), members: members.into(), at };
        let base = envelope.strip_prefix(&files.at).unwrap_or(&envelope);
        let text = |name: &str, most, what: &str| {
            files.member(name).map(|(_, window)| read_whole(&window, most, what)).transpose()
        };
        let bytes = text(base, LARGEST_DESCRIPTION, "an OVF envelope")?.unwrap_or_default();
        let description = read_ovf(&bytes, place.system.as_deref())?.description;
        let stem = base.get(..base.len().saturating_sub(4)).unwrap_or_default();
        let manifest = text(&format!("{stem}.mf"), LARGEST_MANIFEST, "a manifest")?;
        let manifest = manifest.map(|bytes| parse_manifest(&bytes)).transpose()?;
        Ok(Described {
            description,
            holder: Holder::Package(files),
            manifest,
            source: source.clone(),
        })
    };
    read().subject(|| shown(&place.path))
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>> {
    if !path.is_file() {
        return Ok(None);
    }
    let file = FileBytes::open(path)?;
    let bytes = read_whole(&file, LARGEST_MANIFEST, "a manifest");
    bytes.and_then(|bytes| parse_manifest(&bytes)).map(Some).subject(|| shown(path))
}

pub(super) fn parse_manifest(bytes: &[u8]) -> Result<Manifest> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::integrity("the manifest is not UTF-8 text"))?;
    Manifest::parse(text)
}

/// All bytes of a small file.
pub(super) fn read_whole(file: &dyn ReadAt, most: u64, what: &str) -> Result<Vec<u8>> {
    if file.len() > most {
        return Err(Error::integrity(format!("it is too large to be {what}")));
    }
    let mut bytes = vec![0; file.len() as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| Error::io("read", e))?;
    Ok(bytes)
}
