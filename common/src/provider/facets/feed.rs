//! Following VMs as they change.

use futures::stream::BoxStream;

use crate::error::Result;
use crate::vm::{Vm, VmFilter, VmId};

/// The feed facet.
pub trait Feed: Send + Sync {
    /// All VMs that a filter looks for, then each change of one, for ever. The filter's conditions
    /// are the caller's to apply: only its place and its labels are looked at here, so that a VM
    /// that no longer passes is seen to leave.
    ///
    /// A connection that is lost is made again, and what happened meanwhile is told. Ends after an
    /// error that will not pass by itself: `Auth`, `Unsupported`, `NotFound`, or a platform that
    /// could not be reached at the very start.
    fn changes(&self, filter: VmFilter) -> BoxStream<'_, Result<Change>>;
}

/// One step of a feed. It begins with a [`Change::Reset`].
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A full list begins: at the start, and again where changes may have been missed.
    Reset,
    /// A VM of the full list.
    Listed(Box<Vm>),
    /// The full list is complete: a VM that was not in it is gone.
    Synced,
    /// A VM is new or not as it was.
    Applied(Box<Vm>),
    /// A VM is gone, or has lost the labels that were looked for.
    Gone(VmId),
}
