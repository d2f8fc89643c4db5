//! Platforms that run or hold virtual machines. Each has a folder here and implements
//! [`Provider`]; each optional ability is a facet with a trait of its own under `facets`, and a
//! provider answers `Some` for those it has, so that its `mod.rs` reads as a capability table.
//! Tools see these traits alone and never name a platform.

pub mod facets;
pub mod kubevirt;
pub mod local;
pub mod registry;
pub mod vsphere;

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::facets::alarms::{Alarm, Alarms};
pub use self::facets::cloning::{
    CloneJob, Cloning, Customize, Ledgers, NewClone, Place, Planned, Step,
};
pub use self::facets::console::{Console, LogFrom};
pub use self::facets::create::{
    Answer, Content, Create, Deed, Described, DiskKind, Made, Making, NewDisk, NewVm, Question,
    Sending, Upload, UploadProxy,
};
pub use self::facets::events::{
    EventFilter, EventQuery, Events, Gap, GapReason, Pattern, Severity, Told, VmEvent,
};
pub use self::facets::export::{
    ByteStream, DiskInfo, End, Export, ExportOptions, ExportSource, ExtentStream, Ledger, Moment,
    Seek, Ties, Transport, Whole, WholeBytes, Wire,
};
pub use self::facets::feed::{Change, Feed};
pub use self::facets::infrastructure::{
    Cluster, Datacenter, Datastore, Host, Infrastructure, Network, Server, Task,
};
pub use self::facets::lifecycle::Lifecycle;
pub use self::facets::metrics::{Entity, EntityKind, Metrics, Summary, Usage, Window};
pub use self::facets::migrate::{Destination, How, Migrate, Moved};
pub use self::facets::named::{Named, find as find_named};
pub use self::facets::pools::{
    Allocation, AllocationChange, Left, NewPool, Pool, PoolChange, PoolKind, PoolUsage, Pools,
    Shares, UNLIMITED,
};
pub use self::facets::power::{Power, Stop, Switched};
pub use self::facets::rearrange::{Link, Rearrange};
pub use self::facets::reclaim::{Reclaim, Reclaimed};
pub use self::facets::resize::{Resize, Resized, Size};
pub use self::facets::snapshots::{
    NewSnapshot, Snapshot, SnapshotStatus, Snapshots, find as find_snapshot,
};
pub use self::facets::templates::{
    Deployment, NewTemplate, Origin, Template, TemplateKind, Templates,
};
use crate::error::Result;
use crate::vm::{Vm, VmFilter, VmId};

/// One platform endpoint, opened from a context.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// The provider's name as in `--provider` and in records: `local`.
    fn name(&self) -> &'static str;

    /// Reachability, version and identity of the endpoint.
    ///
    /// # Errors
    /// `Unavailable`, `Auth` or `NotFound` as the endpoint answers.
    async fn probe(&self) -> Result<ServerInfo>;

    /// The one VM that a reference (without its context part) names.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is ambiguous, with the candidates as hints.
    async fn resolve(&self, reference: &str) -> Result<VmId>;

    /// All VMs that pass the filter, as they are found.
    fn list(&self, filter: VmFilter) -> BoxStream<'_, Result<Vm>>;

    /// One VM in full.
    ///
    /// # Errors
    /// `NotFound` where it is gone.
    async fn get(&self, vm: &VmId) -> Result<Vm>;

    /// Getting disks and the machine description out.
    fn export(&self) -> Option<&dyn Export>;

    /// Following VMs as they change.
    fn feed(&self) -> Option<&dyn Feed>;

    /// Telling what happened.
    fn events(&self) -> Option<&dyn Events>;

    /// Telling what the alarm is raised about.
    fn alarms(&self) -> Option<&dyn Alarms>;

    /// Switching VMs on and off, restarting and pausing them.
    fn power(&self) -> Option<&dyn Power>;

    /// Reaching the serial line and the screen of VMs.
    fn console(&self) -> Option<&dyn Console>;

    /// Making VMs.
    fn create(&self) -> Option<&dyn Create>;

    /// Removing VMs for good.
    fn lifecycle(&self) -> Option<&dyn Lifecycle>;

    /// Changing how many processors and how much memory VMs have.
    fn resize(&self) -> Option<&dyn Resize>;

    /// Moving VMs from host to host.
    fn migrate(&self) -> Option<&dyn Migrate>;

    /// Sharing out what hosts have.
    fn pools(&self) -> Option<&dyn Pools>;

    /// What machines run on: hosts, clusters, datastores, networks.
    fn infrastructure(&self) -> Option<&dyn Infrastructure>;

    /// Putting VMs elsewhere in the inventory and on other networks.
    fn rearrange(&self) -> Option<&dyn Rearrange>;

    /// Keeping moments of VMs, and returning to them.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Making VMs of VMs.
    fn cloning(&self) -> Option<&dyn Cloning>;

    /// Keeping templates, and making VMs from them.
    fn templates(&self) -> Option<&dyn Templates>;

    /// How much there is and how much of it is used.
    fn metrics(&self) -> Option<&dyn Metrics>;

    /// Removing what killed runs left.
    fn reclaim(&self) -> Option<&dyn Reclaim>;

    /// Ends what is kept of the endpoint between runs, a login above all; whether there was any.
    ///
    /// # Errors
    /// Those of reaching the endpoint.
    async fn log_out(&self) -> Result<bool>;
}

/// What [`Provider::probe`] learns.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerInfo {
    /// What answers there, in its own words.
    pub product: String,
    /// Its version, where it tells.
    pub version: Option<String>,
    /// Where it is: a URL or a path, without credentials.
    pub endpoint: String,
}
