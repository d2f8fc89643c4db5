//! Following VMs as they change.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::vm::{ObjectKind, Vm, VmFilter, VmId, VmObject};

/// The feed facet.
#[async_trait]
pub trait Feed: Send + Sync {
    /// All VMs that a filter looks for, then each change of one, for ever. The filter's conditions
    /// are the caller's to apply: only its place, its ids and its labels are looked at here, so that
    /// a VM that no longer passes is seen to leave.
    ///
    /// A connection that is lost is made again, and what happened meanwhile is told. Ends after an
    /// error that will not pass by itself: `Auth`, `Unsupported`, `NotFound`, or a platform that
    /// could not be reached at the very start.
    fn changes(&self, filter: VmFilter) -> BoxStream<'_, Result<Change>>;

    /// The same for what the platform has beside machines; `None` where it has nothing of the kind
    /// that could be followed. A filter's ids are those of the machines that are meant.
    ///
    /// `Unsupported` where a platform that may have them does not.
    fn objects(
        &self,
        kind: ObjectKind,
        filter: VmFilter,
    ) -> Option<BoxStream<'_, Result<Change<VmObject>>>>;

    /// Frees what following has made on the platform, once the streams are dropped. That it cannot
    /// be freed is no failure: it ends by itself.
    async fn end(&self);
}

/// One step of a feed. It begins with a [`Change::Reset`].
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T = Vm> {
    /// A full list begins: at the start, and again where changes may have been missed.
    Reset,
    /// One of the full list.
    Listed(Box<T>),
    /// The full list is complete: what was not in it is gone.
    Synced,
    /// One is new or not as it was.
    Applied(Box<T>),
    /// One is gone, or has lost the labels that were looked for.
    Gone(VmId),
}

impl<T> Change<T> {
    /// The same step of what `to` makes of each.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Reset => Change::Reset,
            Self::Listed(it) => Change::Listed(Box::new(to(*it))),
            Self::Synced => Change::Synced,
            Self::Applied(it) => Change::Applied(Box::new(to(*it))),
            Self::Gone(id) => Change::Gone(id),
        }
    }
}
