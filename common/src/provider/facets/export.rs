//! Getting a VM's disks and description out of a platform.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::image::{Extent, ImageFormat, ReadAt, Variant};
use crate::vm::{Machine, VmId};

/// Extents of one disk over a range: ascending, disjoint, gap-free, in batches so that a disk of
/// many small blocks costs few wake-ups. Never holds more than a few thousand extents at once.
pub type ExtentStream = BoxStream<'static, Result<Vec<Extent>>>;

/// The export facet.
#[async_trait]
pub trait Export: Send + Sync {
    /// Opens a VM for reading. Whatever this makes on the platform (lease, snapshot) is released
    /// by [`ExportSource::close`].
    ///
    /// # Errors
    /// `NotFound`, `Conflict` (running, locked), `Unsupported` (a disk that cannot be read, by
    /// name), `Integrity` (a damaged image or description).
    async fn open(&self, vm: &VmId, options: &ExportOptions) -> Result<Box<dyn ExportSource>>;
}

/// How a VM is opened for export.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Folders outside the machine's own in which files named by an image may be opened.
    pub allow_path: Vec<PathBuf>,
    /// The format of a bare image whose content does not tell (raw).
    pub from_format: Option<ImageFormat>,
    /// A folder in which a source that can only be read in order (a compressed package) may be
    /// unpacked; nothing stays there.
    pub spool: Option<PathBuf>,
}

/// An opened VM: its description and the guest bytes of its disks.
#[async_trait]
pub trait ExportSource: Send + Sync {
    /// The machine; `disks` in boot order, matching [`ExportSource::disks`] by index.
    fn machine(&self) -> &Machine;

    /// All disks, in boot order.
    fn disks(&self) -> &[DiskInfo];

    /// What the machine has but cannot be carried over, a clause each, for people: CD-ROM
    /// drives, a TPM's state. Disks are never among them.
    fn notes(&self) -> &[String];

    /// The machine's firmware variables file, where there is one: its name and bytes.
    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)>;

    /// Guest bytes of disk number `disk`: `range` starts at a multiple of the disk's
    /// `block_size`. Callable concurrently.
    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream;

    /// The disk's image file as it is, where it can be had whole: for pass-through.
    fn whole(&self, disk: usize) -> Option<Whole>;

    /// Whether the source is still what it was when opened.
    ///
    /// # Errors
    /// `Conflict` naming what changed.
    async fn still_same(&self) -> Result<()>;

    /// Releases what opening made. Called on every path the engine lives to see.
    ///
    /// # Errors
    /// Those of the platform; what remains is named.
    async fn close(self: Box<Self>, end: End) -> Result<()>;
}

/// How an export ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All bytes were taken.
    Completed,
    /// It failed or was cancelled.
    Aborted,
}

/// One disk of an opened VM.
#[derive(Debug, Clone)]
pub struct DiskInfo {
    /// Identifier as in the machine description: `disk0` …
    pub id: String,
    /// How messages call it: its file or its label on the platform.
    pub name: String,
    /// Bytes that the guest sees, as the source has it (may not be a multiple of 512).
    pub capacity: u64,
    /// Largest run that one packed block covers; see [`crate::image::Image::block_size`].
    pub block_size: u32,
    /// How it can be read.
    pub seek: Seek,
    /// The source's image format, where the disk is an image file.
    pub format: Option<ImageFormat>,
    /// Changes whenever the disk's content may have changed: binds partial files to it.
    pub identity: String,
    /// When the disk was last changed, in seconds since 1970; 0 where the platform does not say.
    pub modified_seconds: i64,
}

/// How a disk can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Only from the start to the end, once; a resumed run reads past what it has.
    Stream,
    /// Any range.
    Ranges,
}

/// A disk's image file as it is.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Its format.
    pub format: ImageFormat,
    /// Its variant.
    pub variant: Option<Variant>,
    /// The bytes.
    pub file: Arc<dyn ReadAt>,
    /// The checksum that the source's own manifest gives for the file: algorithm (`sha256`,
    /// `sha1`) and lower-case hex.
    pub expected: Option<(String, String)>,
}
