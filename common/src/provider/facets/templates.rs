//! What VMs are made from again and again.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde::Serialize;

use super::cloning::{CloneJob, Customize, Place, Planned};
use super::resize::Size;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The templates facet.
#[async_trait]
pub trait Templates: Send + Sync {
    /// All that is of these kinds, sorted by kind and place. A platform that has nothing of a kind
    /// leaves it out.
    ///
    /// # Errors
    /// Those of looking: what cannot be read must not look like nothing.
    async fn all_templates(&self, kinds: &[TemplateKind]) -> Result<Vec<Template>>;

    /// The one of these kinds that a reference (without its context part) names.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is ambiguous, with the candidates as hints.
    async fn template(&self, reference: &str, kinds: &[TemplateKind]) -> Result<Template>;

    /// Looks at a template that is wanted, and makes nothing. The job's answer is what the platform
    /// calls it.
    ///
    /// # Errors
    /// `NotFound` for what it is to be made of; `Conflict` for a name that is taken, and for a VM
    /// that is not in a state for it; `Unsupported` for what the platform cannot do.
    async fn plan_template(&self, wanted: &NewTemplate) -> Result<Box<dyn CloneJob>>;

    /// Looks at a VM that is wanted of a template, and makes nothing.
    ///
    /// # Errors
    /// As [`Templates::plan_template`].
    async fn plan_deployment(&self, template: &Template, wanted: &Deployment) -> Result<Planned>;

    /// Removes a template and the disks that belong to it alone.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one that would be made again by itself; `Interrupted` or
    /// `TimedOut` when asked to stop waiting.
    async fn delete_template(&self, template: &Template, cancel: &Cancel) -> Result<()>;
}

/// What a template is to its platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemplateKind {
    /// A golden image of a cluster, with the size and the devices that go with it.
    DataSource,
    /// A machine that is kept to be copied.
    Machine,
    /// An item of a content library.
    LibraryItem,
    /// A size of machines.
    Instancetype,
    /// A set of devices that suit a guest.
    Preference,
}

impl TemplateKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::DataSource, Self::Machine, Self::LibraryItem, Self::Instancetype, Self::Preference];

    /// Those that machines are made from.
    pub const WHOLE: [Self; 3] = [Self::DataSource, Self::Machine, Self::LibraryItem];

    /// Its name in flags and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::DataSource => "data-source",
            Self::Machine => "machine",
            Self::LibraryItem => "library-item",
            Self::Instancetype => "instancetype",
            Self::Preference => "preference",
        }
    }
}

/// A template, as far as its platform tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Template {
    /// What the platform calls it.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// The namespace that it is in, on a platform that has them; what all of a cluster shares has
    /// none.
    pub namespace: Option<String>,
    /// What it is.
    pub kind: TemplateKind,
    /// Whether machines can be made from it now.
    pub ready: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
    /// The capacity of its disks in bytes.
    pub size_bytes: Option<u64>,
    /// Processors of a machine made from it.
    pub cpus: Option<u32>,
    /// Bytes of memory of a machine made from it.
    pub memory_bytes: Option<u64>,
    /// The size that goes with it, by the platform's name.
    pub instancetype: Option<String>,
    /// The devices that go with it, by the platform's name.
    pub preference: Option<String>,
    /// Its guest's system, in the platform's words.
    pub guest_os_name: Option<String>,
    /// Where its disk is, or the library that has it.
    pub source: Option<String>,
    /// Where it is in the platform's inventory.
    pub path: Option<String>,
    /// What a person wrote about it.
    pub description: Option<String>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Template {
    /// One of which nothing else is known yet.
    pub fn new(id: impl Into<String>, name: impl Into<String>, kind: TemplateKind) -> Self {
        Self {
            id: VmId(id.into()),
            name: name.into(),
            namespace: None,
            kind,
            ready: None,
            reason: None,
            size_bytes: None,
            cpus: None,
            memory_bytes: None,
            instancetype: None,
            preference: None,
            guest_os_name: None,
            source: None,
            path: None,
            description: None,
            created: None,
            labels: BTreeMap::new(),
        }
    }
}

/// A template to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTemplate {
    /// Its reference without a context.
    pub name: String,
    /// What it is made of.
    pub from: Origin,
    /// Where it is put.
    pub place: Place,
    /// The size that machines made from it get, by the platform's name.
    pub instancetype: Option<String>,
    /// The devices that machines made from it get, by the platform's name.
    pub preference: Option<String>,
}

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A copy of a VM.
    Copy {
        /// Which.
        vm: VmId,
        /// As it was at this snapshot: its name, or `@` and its id.
        snapshot: Option<String>,
    },
    /// The VM itself, which is no machine any more then.
    Converted(VmId),
    /// A volume that is there, which stays what it is; the platform's name.
    Volume(String),
}

/// A VM to be made from a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// Its reference without a context.
    pub name: String,
    /// Where it is put.
    pub place: Place,
    /// Another size than the template's, by the platform's name.
    pub instancetype: Option<String>,
    /// Other devices than the template's, by the platform's name.
    pub preference: Option<String>,
    /// Another size than the template's.
    pub size: Size,
    /// What makes its guest one of its own.
    pub customize: Option<Customize>,
    /// Whether it is switched on.
    pub power_on: bool,
    /// Whether to wait for the guest's agent then.
    pub ready: bool,
}
