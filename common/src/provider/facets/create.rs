//! Making VMs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::Value;

use super::cloning::{Ledgers, Place};
use super::export::Transport;
use super::migrate::Destination;
use super::power::Stop;
use super::resize::Size;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The create facet. What is wanted is first described in the platform's own terms, which can be
/// shown or tried without changing anything, and then made.
#[async_trait]
pub trait Create: Send + Sync {
    /// What a VM comes to in the platform's own terms.
    ///
    /// # Errors
    /// `Usage` for a wish that no VM can have; `NotFound` for a volume, a network or a size that it
    /// is to have; `Unsupported` for devices that no host offers.
    async fn describe(&self, vm: &NewVm) -> Result<Described>;

    /// What the descriptions in a manifest come to, in their order.
    ///
    /// # Errors
    /// `Usage` for a text that is no such manifest; `Unsupported` for one that asks for what the
    /// platform does not have.
    fn read(&self, manifest: &str) -> Result<Vec<Described>>;

    /// Makes what `wanted` describes. Where a part of it is refused, nothing of it stays.
    ///
    /// # Errors
    /// `Conflict` where one of its name is there; `Usage` for what the platform refuses; what came
    /// to nothing while it was waited for; `Interrupted` or `TimedOut` when asked to stop waiting:
    /// it is there then.
    async fn make(&self, wanted: &Making<'_>, cancel: &Cancel) -> Result<Made>;

    /// Checks one answer of a person who is asked for a VM bit by bit.
    ///
    /// # Errors
    /// What is wrong with it, by kind.
    async fn check(&self, answer: &Answer<'_>) -> Result<()>;

    /// Where the disk of a VM may come from, in the order in which it is offered to a person.
    fn disks(&self) -> &'static [DiskKind];

    /// Whether VMs are in namespaces.
    fn has_namespaces(&self) -> bool;

    /// The namespaces there are; none on a platform that has none.
    ///
    /// # Errors
    /// Those of looking: not everybody may see them all.
    async fn namespaces(&self) -> Result<Vec<String>>;

    /// What a person who is asked for a VM may choose from; nothing where that is not asked. `vm` has
    /// what was answered before.
    ///
    /// # Errors
    /// Those of looking.
    async fn choices(&self, question: Question, vm: &NewVm) -> Result<Vec<String>>;
}

/// Where the disk of a VM comes from, as it is offered to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// [`NewDisk::Image`].
    Image,
    /// [`NewDisk::Source`].
    Source,
    /// [`NewDisk::Volume`].
    Volume,
    /// [`NewDisk::Blank`].
    Blank,
}

/// What a person is asked for beside names, sizes and disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The pool that the VM is in.
    Pool,
    /// The datastore that its disks are on.
    Datastore,
    /// The network that its first card is on.
    Network,
}

/// A VM to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewVm {
    /// Its reference without a context.
    pub name: String,
    /// Processors as the guest counts them.
    pub cpus: Option<u32>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Its disk.
    pub disk: Option<NewDisk>,
    /// The platform's name for where a new disk is kept.
    pub storage_class: Option<String>,
    /// The platform's name for a size.
    pub instancetype: Option<String>,
    /// The platform's name for a set of preferred devices.
    pub preference: Option<String>,
    /// What cloud-init gets as user data. May hold secrets: it is not stored.
    #[serde(skip)]
    pub user_data: Option<String>,
    /// Public keys that may log in.
    pub ssh_keys: Vec<String>,
    /// The platform's names of networks, a card for each; none is the usual one.
    pub networks: Vec<String>,
    /// The platform's names of GPUs.
    pub gpus: Vec<String>,
    /// The platform's names of other devices of hosts.
    pub host_devices: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The platform's name for the guest's system.
    pub guest_id: Option<String>,
    /// Where it is put.
    pub place: Place,
}

/// Where the disk of a new VM comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NewDisk {
    /// A container image; what the guest writes is lost when it stops.
    Image(String),
    /// A volume that is there.
    Volume(String),
    /// A copy of what a source of images holds.
    Source(String),
    /// The same, with the size and the devices that go with it.
    Template(String),
    /// A new one without content, of so many bytes.
    Blank(u64),
    /// A new one of so many bytes that is filled from here: see [`Making::upload`].
    Upload(u64),
}

/// A disk image that is sent to a platform.
pub trait Content: Debug + Send + Sync {
    /// Begins to read it, from its start each time.
    ///
    /// # Errors
    /// Those of reading.
    fn read(&self) -> Result<Sending>;
}

/// An image on its way.
pub struct Sending {
    /// How many bytes it comes to, where that is known beforehand.
    pub len: Option<u64>,
    /// Its bytes in order; ends after the first error.
    pub parts: BoxStream<'static, Result<Bytes>>,
}

impl Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Who takes images for a platform, and whether to believe them; what is not said is as the
/// platform says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UploadProxy {
    /// Its URL.
    pub url: Option<String>,
    /// The way to it, where no URL is given.
    pub transport: Transport,
    /// A file with the authorities that vouch for it, in PEM form.
    pub authorities: Option<PathBuf>,
    /// Whether anyone is believed.
    pub insecure: bool,
}

/// What fills the disk of a VM from here.
#[derive(Clone, Copy)]
pub struct Upload<'u> {
    /// The image.
    pub content: &'u dyn Content,
    /// Who takes it.
    pub proxy: &'u UploadProxy,
    /// Where is noted what a killed run would leave of a VM.
    pub ledger: Ledgers<'u>,
}

impl Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Upload");
        shown.field("content", &self.content).field("proxy", self.proxy).finish_non_exhaustive()
    }
}

/// One thing that is wanted of the platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The VM that it is about, as records show it.
    pub vm: String,
    /// The reference of that VM, without its context.
    pub reference: String,
    /// What is to be done.
    pub deed: Deed,
    /// What a person should know before it is done: what of a description has no counterpart.
    pub remarks: Vec<String>,
    /// Whether what comes after it needs it to be complete.
    pub awaited: bool,
    /// Whether its VM is one that something before it makes.
    pub follows: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Make these objects of the platform, one after another.
    Make {
        /// The verb in records: `create`, `clone`.
        verb: &'static str,
        /// The objects.
        objects: Vec<Value>,
    },
    /// Switch the VM on.
    Start,
    /// Switch it off.
    Stop(Stop),
    /// Restart it.
    Restart {
        /// Whether without asking the guest.
        hard: bool,
    },
    /// Change its size.
    Resize(Size),
    /// Move it.
    Migrate(Destination),
}

/// What is made, and how.
#[derive(Debug, Clone, Copy)]
pub struct Making<'m> {
    /// The objects of the platform.
    pub objects: &'m [Value],
    /// Whether the platform is only to say that it would.
    pub dry_run: bool,
    /// Whether a VM is to be switched on, whatever its description says.
    pub start: bool,
    /// Whether to wait until all is complete: disks filled, a VM that is switched on running.
    pub wait: bool,
    /// What fills the disk of [`NewDisk::Upload`]; nothing of the VM stays where that fails.
    pub upload: Option<Upload<'m>>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The VM, where one was made.
    pub vm: Option<VmId>,
    /// What else there is to know.
    pub note: Option<String>,
}

/// An answer to one question about a VM to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The VM's name.
    Name(&'a str),
    /// The namespace, and the name it is to have there.
    Namespace(&'a str, &'a str),
    /// A disk, in a namespace.
    Disk(&'a str, &'a NewDisk),
}
