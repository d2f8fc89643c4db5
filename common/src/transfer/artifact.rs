//! One image file as a whole: what it is made of, how, where, and what it came to.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keep::{Keep, Recipe, named_before};
use super::{Content, FileSum, State, SumKind};
use crate::error::{Error, Result};
use crate::fs::Target as Place;
use crate::image::{ImageFormat, Layout, Variant, WriteOptions, registry, vmdk};
use crate::provider::ExtentStream;
use crate::sink::Sink;

/// A disk that can be read from any multiple of its block size on.
pub struct ImageSource<'a> {
    /// How messages call it.
    pub name: String,
    /// Guest bytes; need not be a multiple of 512.
    pub capacity: u64,
    /// See [`crate::provider::DiskInfo::block_size`].
    pub block_size: u32,
    /// Changes whenever the content may have changed; `None` where nothing proves that a later
    /// run reads the same.
    pub identity: Option<String>,
    /// Its extents over a range.
    pub read: Box<dyn Fn(Range<u64>) -> ExtentStream + Send + Sync + 'a>,
}

impl std::fmt::Debug for ImageSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImageSource({}, {} bytes)", self.name, self.capacity)
    }
}

/// How an image is written.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePlan {
    /// The format.
    pub format: ImageFormat,
    /// The format's options; the capacity is the padded one of [`registry::check_capacity`].
    pub options: WriteOptions,
    /// The file checksum to make.
    pub sum: Option<SumKind>,
    /// Whether the image is read back and compared with what was read from the source.
    pub verify: bool,
    /// Whether the content checksum is wanted for its own sake.
    pub content: bool,
    /// See [`DiskTask::trust_source`].
    pub trust_source: bool,
    /// See [`DiskTask::recompress`].
    pub recompress: bool,
    /// Whether a file under the final name is replaced.
    pub overwrite: bool,
    /// Whether the image waits for others before it is named, and a later run may reuse it whole.
    pub hold: bool,
}

/// Where an image is written.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A local file; can be gone on with.
    File(PathBuf),
    /// A member of a package file; can be gone on with.
    Member(Box<Member>),
    /// A pipe, or a member of a package that goes into one.
    Sink(Arc<dyn Sink>),
}

/// A member of a package file, into which an image is written.
#[derive(Debug, Clone)]
pub struct Member {
    /// Takes its bytes.
    pub sink: Arc<dyn Sink>,
    /// Keeps how far it is.
    pub keep: Arc<dyn Keep>,
    /// How far an earlier run was, whose bytes are all there.
    pub state: Option<State>,
}

/// An image that is complete but, if it is a file, not yet named.
#[derive(Debug)]
pub struct WrittenImage {
    /// Where it is.
    pub sink: Arc<dyn Sink>,
    /// Length of the file in bytes.
    pub size: u64,
    /// The file checksum, where asked for.
    pub sum: Option<FileSum>,
    /// What it holds, where asked for.
    pub content: Option<Content>,
    /// Guest bytes that were neither hole nor zero.
    pub data_bytes: u64,
    /// Whether it was read back and found equal.
    pub verified: bool,
    /// Guest bytes that an earlier run had done.
    pub reused_bytes: u64,
    /// What the check of its structure found that does no harm.
    pub findings: Vec<String>,
    /// A file that belongs to it: the descriptor of a flat VMDK.
    pub beside: Option<BesideFile>,
}

/// A small file that belongs to an image and is written after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideFile {
    /// Its name, in the image's folder.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl ImagePlan {
    /// For a flat VMDK: the plan of its data, which is raw, and its descriptor.
    pub(super) fn flat(&self) -> Option<(Self, BesideFile)> {
        if self.options.variant != Some(Variant::MonolithicFlat) {
            return None;
        }
        let name = self.data_file(Path::new(&self.options.file_name));
        let name = name.to_string_lossy();
        let bytes = vmdk::flat_descriptor(&self.options, &name).into_bytes();
        let options = WriteOptions { variant: None, ..self.options.clone() };
        let raw = Self { format: ImageFormat::Raw, options, ..self.clone() };
        Some((raw, BesideFile { name: self.options.file_name.clone(), bytes }))
    }

    /// The file that holds the data of the image `path`: the image itself, or `X-flat.vmdk` for a
    /// flat VMDK.
    pub fn data_file(&self, path: &Path) -> PathBuf {
        if self.options.variant != Some(Variant::MonolithicFlat) {
            return path.to_path_buf();
        }
        let mut name = path.file_stem().unwrap_or_default().to_os_string();
        name.push("-flat.vmdk");
        path.with_file_name(name)
    }

    /// Whether the image at `path` was written by the same plan from the same source, and named by
    /// a run that was ended before it had named all that belongs to it.
    /// `copied`: its file is the source's own.
    pub fn was_named(&self, source: &ImageSource<'_>, path: &Path, copied: bool) -> bool {
        let (plan, path) = match self.flat() {
            Some((raw, _)) => (raw, self.data_file(path)),
            None => (self.clone(), path.to_path_buf()),
        };
        let recipe = Recipe::new(source, &plan, copied);
        Place::new(&path).is_ok_and(|place| named_before(&place, &recipe).is_some())
    }

    /// Whether `state` speaks of an image that the same plan made of the same source.
    pub fn fits(&self, source: &ImageSource<'_>, state: &State, copied: bool) -> bool {
        Recipe::new(source, self, copied).fits(state)
    }

    /// Whether the content checksum is made.
    pub(super) fn wants_content(&self) -> bool {
        self.content || self.verify
    }

    /// Length of the image's file, where that does not depend on its content.
    pub(super) fn file_len(&self) -> Option<u64> {
        match (self.format, self.options.variant) {
            (ImageFormat::Raw, _) => Some(self.options.capacity),
            (ImageFormat::Vhd, Some(Variant::Fixed)) => self.options.capacity.checked_add(512),
            _ => None,
        }
    }

    /// Whether the image can go into a pipe.
    ///
    /// # Errors
    /// `Unsupported` where its tables are only known after its data.
    pub fn check_pipe(&self) -> Result<()> {
        let two_files = self.options.variant == Some(Variant::MonolithicFlat);
        if !two_files && registry::create(self.format, &self.options)?.layout() == Layout::Append {
            return Ok(());
        }
        let text =
            format!("{} cannot be written to a pipe: its tables come before its data", self.format);
        Err(Error::unsupported(text)
            .with_hint("raw, streamOptimized VMDK and fixed VHD can; or write to a file"))
    }
}

impl WrittenImage {
    /// Removes it instead of naming it. Answers with what could not be removed.
    pub fn discard(&self) -> Option<String> {
        self.sink.abort()
    }

    /// Gives the image its final name.
    ///
    /// # Errors
    /// `Conflict` where the name was taken meanwhile; `Io`.
    pub fn commit(&self) -> Result<()> {
        self.sink.commit()
    }

    /// All that belongs together has its name: see [`Sink::settle`].
    pub fn settle(&self) {
        self.sink.settle();
    }
}
