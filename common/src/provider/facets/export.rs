//! Getting a VM's disks and description out of a platform.

use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::image::{Extent, ImageFormat, ReadAt, Variant};
use crate::progress::Reporter;
use crate::transfer::{FileSum, SumKind};
use crate::vm::{Machine, VmId};

/// Extents of one disk over a range: ascending, disjoint, gap-free, in batches so that a disk of
/// many small blocks costs few wake-ups. Never holds more than a few thousand extents at once.
pub type ExtentStream = BoxStream<'static, Result<Vec<Extent>>>;

/// The export facet.
#[async_trait]
pub trait Export: Send + Sync {
    /// Looks at a VM and at what would be read. Makes nothing on the platform and changes
    /// nothing there: that is for [`ExportSource::begin`].
    ///
    /// # Errors
    /// `NotFound`, `Conflict` (running, locked), `Unsupported` (a disk that cannot be read, by
    /// name; a way or a moment that the platform does not have), `Integrity` (a damaged image or
    /// description).
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
    /// The way that bytes take.
    pub transport: Transport,
    /// Which moment of the VM is read.
    pub moment: Moment,
}

/// The way that a disk's bytes take out of a platform that has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// The one that suits the disks.
    #[default]
    Auto,
    /// The platform's own export: whole disks, compressed, in order.
    Nfc,
    /// The disks' files as they lie in the storage: any part, several at once.
    Datastore,
    /// The way that the platform offers to those outside of it.
    Ingress,
    /// A port inside of the platform, reached through its API.
    PortForward,
}

impl Transport {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::Nfc, Self::Datastore, Self::Ingress, Self::PortForward];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nfc => "nfc",
            Self::Datastore => "datastore",
            Self::Ingress => "ingress",
            Self::PortForward => "port-forward",
        }
    }

    /// Whether it leads out of `platform`, which has these ways.
    ///
    /// # Errors
    /// `Usage` where it does not.
    pub fn check(self, platform: &str, ways: &[Self]) -> Result<()> {
        if self == Self::Auto || ways.contains(&self) {
            return Ok(());
        }
        let names: Vec<_> = ways.iter().map(|way| way.name()).collect();
        let name = self.name();
        Err(Error::usage(format!("--transport {name} is no way out of {platform}"))
            .with_hint(format!("give {}, or auto", names.join(", "))))
    }
}

impl std::str::FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|way| way.name() == text);
        found.ok_or_else(|| format!("it is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Which moment of a VM is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// As it stands, which must be powered off.
    #[default]
    AsIs,
    /// A snapshot that is there.
    Snapshot(String),
    /// A snapshot that is made for the run and removed after it.
    TempSnapshot {
        /// Whether the guest's file systems are brought to rest for it.
        quiesce: bool,
    },
    /// As it stands once it has been shut down; it stays off.
    PowerOff,
}

/// What is told of a machine that runs where nobody said which moment of it is meant.
pub fn choose_moment(machine: &str) -> Error {
    Error::conflict("the machine is running; choose what is exported")
        .with_subject(machine)
        .with_hint("--snapshot NAME: as it was at a snapshot")
        .with_hint("--temp-snapshot: as it is now; a snapshot is made and removed again")
        .with_hint("--power-off: after the guest has shut down; it stays off")
}

/// What is told of a snapshot that a machine has not, which has those of these names.
pub fn no_such_snapshot(name: &str, names: &[&str]) -> Error {
    let error = Error::not_found("the machine has no such snapshot").with_subject(name);
    match names.is_empty() {
        true => error.with_hint("it has none; --temp-snapshot makes one for the run"),
        false => error.with_hint(format!("its snapshots: {}", names.join(", "))),
    }
}

/// Six characters, small letters and digits, that no other run finds.
pub fn mark() -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&std::process::id().to_le_bytes());
    hash.update(&jiff::Timestamp::now().as_nanosecond().to_le_bytes());
    hash.update(rustix::system::uname().nodename().to_bytes());
    hash.finalize().to_hex().chars().take(6).collect()
}

/// What a run gives to a source that makes things on its platform.
#[derive(Debug, Clone)]
pub struct Ties {
    /// The wish to stop.
    pub cancel: Cancel,
    /// Where things are noted before they are made.
    pub ledger: Arc<dyn Ledger>,
    /// Told what is done on the platform and may take long.
    pub reporter: Arc<dyn Reporter>,
    /// The numbers of the disks that will be read.
    pub disks: Vec<usize>,
    /// The file checksum that is made anyway: a platform that offers several is asked for this.
    pub sum: Option<SumKind>,
}

/// Notes what is made on a platform, so that it can be found and removed after a sudden end.
pub trait Ledger: Debug + Send + Sync {
    /// `what` (`snapshot`, `lease`) is about to be made and will be called `id`. On the medium
    /// when this returns.
    ///
    /// # Errors
    /// Those of the journal; the thing must not be made then.
    fn making(&self, what: &str, id: &str) -> Result<()>;

    /// It is gone.
    ///
    /// # Errors
    /// Those of the journal.
    fn removed(&self, what: &str, id: &str) -> Result<()>;
}

/// An opened VM: its description and the guest bytes of its disks.
#[async_trait]
pub trait ExportSource: Send + Sync {
    /// The machine; `disks` in boot order, matching [`ExportSource::disks`] by index.
    fn machine(&self) -> &Machine;

    /// All disks, in boot order. Where the platform tells their sizes only to those who have begun
    /// to read ([`DiskInfo::settled`]), [`ExportSource::begin`] changes them.
    fn disks(&self) -> &[DiskInfo];

    /// What people should know, a clause each: what the machine has but cannot be carried over
    /// (CD-ROM drives, a TPM's state), what was done to it. Disks are never among them. More may
    /// be known once the disks were read.
    fn notes(&self) -> Vec<String>;

    /// Makes what reading needs: a snapshot, a lease, a machine that is off. Called once, before
    /// the first read. Whatever it made is released by [`ExportSource::close`], also where it
    /// failed half way.
    ///
    /// # Errors
    /// Those of the platform; `Interrupted` when cancelled.
    async fn begin(&self, ties: &Ties) -> Result<()>;

    /// The machine's firmware variables file, where there is one: its name and bytes. The name is
    /// known after [`ExportSource::begin`], the bytes after [`ExportSource::still_same`].
    fn nvram(&self) -> Option<(String, Arc<dyn ReadAt>)>;

    /// Guest bytes of disk number `disk`: `range` starts at a multiple of the disk's
    /// `block_size`. Callable concurrently.
    fn read(&self, disk: usize, range: Range<u64>) -> ExtentStream;

    /// The disk's image file as it is, where it can be had whole: for pass-through. Bytes may be
    /// read after [`ExportSource::begin`].
    fn whole(&self, disk: usize) -> Option<Whole>;

    /// Whether the source is still what it was when opened, and what came of it is what it says.
    /// Called once, after all disks were read.
    ///
    /// # Errors
    /// `Conflict` naming what changed; `Integrity` for what is not what it should be.
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
    /// Whether the capacity and how it can be read are known; else they are what the platform
    /// plans with, until [`ExportSource::begin`] has asked.
    pub settled: bool,
    /// Largest run that one packed block covers; see [`crate::image::Image::block_size`].
    pub block_size: u32,
    /// How it can be read.
    pub seek: Seek,
    /// The source's image format, where the disk is an image file.
    pub format: Option<ImageFormat>,
    /// Changes whenever the disk's content may have changed: binds partial files to it. `None`
    /// where nothing proves that a later run reads the same.
    pub identity: Option<String>,
    /// Why it cannot be read, as a clause; it can be left out.
    pub refusal: Option<String>,
    /// When the disk was last changed, in seconds since 1970; 0 where the platform does not say.
    pub modified_seconds: i64,
}

/// How a disk can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Only from the start to the end, once; a resumed run reads past what it has.
    Stream,
    /// As [`Seek::Stream`], and only after the disks whose turn is lower.
    Turn(usize),
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
    pub bytes: WholeBytes,
    /// The checksum that the source's own manifest gives for the file: algorithm (`sha256`,
    /// `sha1`) and lower-case hex.
    pub expected: Option<(String, String)>,
}

impl Whole {
    /// A streamOptimized VMDK that a server sends from its front to its end.
    pub fn streamed(wire: impl Wire + 'static) -> Self {
        Self {
            format: ImageFormat::Vmdk,
            variant: Some(Variant::StreamOptimized),
            bytes: WholeBytes::Wire(Arc::new(wire)),
            expected: None,
        }
    }
}

/// Where the bytes of an image file are.
#[derive(Debug, Clone)]
pub enum WholeBytes {
    /// In a file that can be read at any place.
    File(Arc<dyn ReadAt>),
    /// On the wire: they come once, in order, and how many is not known beforehand.
    Wire(Arc<dyn Wire>),
}

impl WholeBytes {
    /// How many they are, where that is known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(file.len()),
            Self::Wire(_) => None,
        }
    }

    /// Whether they are known to be none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// The bytes of a file as they arrive. An end without an error is the end of the transfer, which
/// need not be the end of the file.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// An image file that comes from its front to its end.
#[async_trait]
pub trait Wire: Debug + Send + Sync {
    /// Asks for it, from its first byte on.
    ///
    /// # Errors
    /// Those of the platform; who sends the bytes is named.
    async fn open(&self) -> Result<ByteStream>;

    /// Whether asking again may help: not once the right to read is lost.
    fn alive(&self) -> bool;

    /// The checksum to make of all bytes for [`Wire::check`]; `None` where none is offered.
    fn sum_kind(&self) -> Option<SumKind>;

    /// Says how far on the disk the bytes have come.
    fn reached(&self, position: u64);

    /// Holds what came, `size` bytes with the checksum `sum`, against what the server says that
    /// it sent.
    ///
    /// # Errors
    /// `Integrity` where they differ.
    async fn check(&self, size: u64, sum: Option<&FileSum>) -> Result<()>;
}
