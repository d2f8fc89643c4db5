//! Removing VMs for good.

use async_trait::async_trait;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The lifecycle facet.
#[async_trait]
pub trait Lifecycle: Send + Sync {
    /// Removes a VM and the disks that belong to it alone. With `wait` it is waited until it is
    /// gone, where the platform does not do that anyway.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a VM that must be off first; `Interrupted` or `TimedOut` when
    /// asked to stop waiting: it is being removed then.
    async fn delete(&self, vm: &VmId, wait: bool, cancel: &Cancel) -> Result<()>;
}
