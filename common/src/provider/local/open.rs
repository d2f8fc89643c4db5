//! Opening the disks of a described machine.

use std::path::Path;
use std::sync::Arc;

use super::describe::{Described, Holder, describe};
use super::folder::OpenedFiles;
use super::identify::Kind;
use super::image::format_of;
use super::locate::Place;
use super::shown;
use crate::error::{Error, Result, one_line};
use crate::fs::FileBytes;
use crate::image::{Image, ImageFormat, ImageInfo, ReadAt, Sibling, Variant, registry};
use crate::package::{DiskData, DiskFile};
use crate::provider::{DiskInfo, ExportOptions, Seek, Whole, WholeBytes};
use crate::vm::{Machine, MachineDisk};

/// A machine with its disks open.
#[derive(Debug)]
pub(super) struct OpenMachine {
    pub machine: Machine,
    pub disks: Vec<OpenDisk>,
    pub nvram: Option<(String, Arc<dyn ReadAt>)>,
    pub notes: Vec<String>,
    /// The description or package.
    pub source: Arc<FileBytes>,
}

/// An open disk.
#[derive(Debug)]
pub(super) struct OpenDisk {
    pub info: DiskInfo,
    /// `None`: the disk is empty.
    pub image: Option<Arc<dyn Image>>,
    pub whole: Option<Whole>,
    pub opened: OpenedFiles,
}

/// Opens everything of the machine at `place`.
pub(super) fn open(place: &Place, options: &ExportOptions) -> Result<OpenMachine> {
    let Described { description, holder, manifest, source } = describe(place, options)?;
    let (mut machine, mut notes) = (description.machine, description.notes);
    let bare = matches!(place.kind, Kind::Image(_));
    let mut disks = Vec::with_capacity(description.disks.len());
    for (disk, file) in machine.disks.iter_mut().zip(&description.disks) {
        let open = match &file.data {
            DiskData::Blank => blank(disk, &source),
            DiskData::File(name) => {
                let opener = Opener { holder: &holder, source: &source, options, bare };
                let mut open = opener.open(disk, file, name).map_err(|error| {
                    let error = error.with_subject(shown(&place.path));
                    if bare { error } else { error.context(format!("open the disk {name:?}")) }
                })?;
                let entry = manifest.as_ref().and_then(|manifest| manifest.digest_of(name));
                if let (Some(whole), Some(entry)) = (&mut open.whole, entry) {
                    whole.expected = Some((entry.digest.name().to_owned(), entry.hex.clone()));
                }
                open
            }
        };
        let (told, real) = (disk.capacity_bytes, open.info.capacity);
        if told != 0 && told != real {
            let name = &open.info.name;
            notes.push(format!("{name} has {real} bytes, the description says {told}"));
        }
        disk.capacity_bytes = real;
        disks.push(open);
    }
    let nvram = machine.firmware.nvram_file.clone().and_then(|name| {
        open_nvram(&holder, &name, &mut notes).map(|file| (base_name(&name).to_owned(), file))
    });
    machine.firmware.nvram_file = nvram.as_ref().map(|(name, _)| name.clone());
    if place.kind == Kind::Piped {
        // A pipe cannot come again: nothing of it is ever reused.
        disks.iter_mut().for_each(|disk| disk.info.identity = None);
        notes.push("what came through the pipe was stored in the spool folder first".into());
    }
    Ok(OpenMachine { machine, disks, nvram, notes, source })
}

/// The last part of a path in a description.
pub(super) fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A missing variables file is no reason to fail: the firmware makes new ones.
fn open_nvram(holder: &Holder, name: &str, notes: &mut Vec<String>) -> Option<Arc<dyn ReadAt>> {
    let opened = OpenedFiles::default();
    let found = holder.files(&opened).and_then(|files| Ok(files.open(name)?));
    match found {
        Ok(sibling) => Some(sibling.file),
        Err(error) => {
            notes
                .push(format!("its firmware variables are not carried over: {}", one_line(&error)));
            None
        }
    }
}

/// What opening a disk needs to know.
struct Opener<'a> {
    holder: &'a Holder,
    source: &'a Arc<FileBytes>,
    options: &'a ExportOptions,
    bare: bool,
}

impl Opener<'_> {
    fn open(&self, disk: &MachineDisk, file: &DiskFile, name: &str) -> Result<OpenDisk> {
        let opened = OpenedFiles::default();
        let sibling = self.find(&opened, name)?;
        let format = self.format(&sibling, file)?;
        let Sibling { file: bytes, folder, name: shown } = sibling;
        let image = registry::open(format, bytes.clone(), folder)?;
        let info = image.info();
        let disk_info = DiskInfo {
            id: disk.id.clone(),
            name: shown,
            capacity: image.capacity(),
            settled: true,
            block_size: image.block_size(),
            seek: Seek::Ranges,
            format: Some(format),
            identity: Some(self.identity(&opened, name)),
            refusal: None,
            modified_seconds: opened.modified_seconds(),
        };
        let alone = info.backing.is_none() && info.extent_files.is_empty();
        let whole = alone.then(|| Whole {
            format,
            variant: variant(&info),
            bytes: WholeBytes::File(bytes),
            expected: None,
        });
        Ok(OpenDisk { info: disk_info, image: Some(image.into()), whole, opened })
    }

    /// The disk's file. Names in an envelope are URIs: one with `%20` may mean a space.
    fn find(&self, opened: &OpenedFiles, name: &str) -> Result<Sibling> {
        let files = self.holder.files(opened)?;
        files.open(name).or_else(|error| {
            let plain = decode_percent(name).filter(|plain| plain != name);
            let again = plain.and_then(|plain| files.open(&plain).ok());
            Ok(again.ok_or(error)?)
        })
    }

    /// The image format. A description that says raw is believed: a guest can write anything into
    /// its disk, also the mark of another format. Else the content decides.
    fn format(&self, sibling: &Sibling, file: &DiskFile) -> Result<ImageFormat> {
        if let Some(format) = self.options.from_format.filter(|_| self.bare) {
            return Ok(format);
        }
        if file.format == Some(ImageFormat::Raw) {
            return Ok(ImageFormat::Raw);
        }
        if self.bare && !sibling.name.starts_with("/dev/") {
            return format_of(Path::new(&sibling.name), &*sibling.file);
        }
        let found = registry::detect(&*sibling.file)?;
        let plain = self.bare.then_some(ImageFormat::Raw).or(self.options.from_format);
        found.or(plain).ok_or_else(|| {
            Error::integrity("its content is that of no known image format")
                .with_hint("--from-format raw reads it as it is")
        })
    }

    /// Changes whenever one of the disk's files does, or stands elsewhere in its package.
    fn identity(&self, opened: &OpenedFiles, name: &str) -> String {
        match self.holder {
            Holder::Folder { .. } => opened.identity(),
            Holder::Package(files) => {
                let place = files.member(name).map_or(0, |(member, _)| member.range.start);
                format!("{}#{name}@{place}", self.source.identity())
            }
        }
    }
}

/// A disk without a file.
fn blank(disk: &MachineDisk, source: &FileBytes) -> OpenDisk {
    let info = DiskInfo {
        id: disk.id.clone(),
        name: disk.label.clone().unwrap_or_else(|| disk.id.clone()),
        capacity: disk.capacity_bytes,
        settled: true,
        block_size: 512,
        seek: Seek::Ranges,
        format: None,
        identity: Some(format!("{}#{}", source.identity(), disk.id)),
        refusal: None,
        modified_seconds: source.identity().modified_seconds,
    };
    OpenDisk { info, image: None, whole: None, opened: OpenedFiles::default() }
}

/// The variant of an image, where a writer knows it too.
fn variant(info: &ImageInfo) -> Option<Variant> {
    serde_json::from_value(serde_json::Value::String(info.variant.clone())).ok()
}

/// `%41` as the byte 0x41; `None` where the result is no text or leads elsewhere.
pub(super) fn decode_percent(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Bytes that a file takes up on its disk.
pub(super) fn allocated(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::metadata(path).ok()?.blocks().saturating_mul(512))
}
