//! Moving VMs from host to host.

use async_trait::async_trait;
use serde::Serialize;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The migrate facet.
#[async_trait]
pub trait Migrate: Send + Sync {
    /// Moves a VM to another host, or its disks to another datastore, and makes sure that they are
    /// there.
    ///
    /// # Errors
    /// `NotFound` for the VM or the host; `Conflict` for a VM that cannot be moved as it is, with
    /// what stands in the way; `Interrupted` or `TimedOut` when asked to stop: the move is called
    /// off where the platform can do that.
    async fn migrate(&self, vm: &VmId, to: &Destination, cancel: &Cancel) -> Result<Moved>;
}

/// Where a VM is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The host; `None` leaves the choice to the platform, or the VM where it is when its disks move.
    pub node: Option<String>,
    /// The datastore that its disks go to, on a platform that has them; `None` leaves them.
    pub datastore: Option<String>,
    /// Whether the VM may be stopped, and started on the host, where it cannot move while it runs.
    pub allow_cold: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The host that the VM is on now.
    pub node: String,
    /// The datastore that its disks are on now, where they were to move.
    pub datastore: Option<String>,
    /// How it got there.
    pub how: How,
}

/// How a VM came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was there.
    Already,
    /// It moved as it was: running, or off.
    Moved,
    /// It was stopped and started anew.
    Restarted,
}
