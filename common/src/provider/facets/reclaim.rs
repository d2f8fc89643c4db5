//! Removing from a platform what a run that was killed left there.

use async_trait::async_trait;

use crate::error::Result;
use crate::vm::VmId;

/// The reclaim facet: the counterpart of [`super::export::Ledger`].
#[async_trait]
pub trait Reclaim: Send + Sync {
    /// Removes what a run noted as `what` and `id` for the VM, unless it is gone. With `dry_run`
    /// it is only looked for.
    ///
    /// # Errors
    /// Those of the platform; it may then still be there.
    async fn reclaim(&self, vm: &VmId, what: &str, id: &str, dry_run: bool) -> Result<Reclaimed>;
}

/// What became of something that was left on a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaimed {
    /// It is not there any more.
    Gone,
    /// It is there and would be removed.
    Found,
    /// It was there and was removed.
    Removed,
    /// It stays, for this reason.
    Kept(String),
}
