//! Switching VMs on and off.

use async_trait::async_trait;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The power facet. What is wanted already is no failure.
#[async_trait]
pub trait Power: Send + Sync {
    /// Switches a VM on, or lets a suspended one go on. With `ready` it is waited until the
    /// guest's agent runs.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a VM that cannot be started now; `Interrupted` or `TimedOut`
    /// when asked to stop waiting.
    async fn start(&self, vm: &VmId, ready: bool, cancel: &Cancel) -> Result<Switched>;

    /// Switches a VM off and waits until it is.
    ///
    /// # Errors
    /// As [`Power::start`]; `Conflict` where a graceful stop finds no agent in the guest.
    async fn stop(&self, vm: &VmId, how: Stop, cancel: &Cancel) -> Result<Switched>;
}

/// How a VM is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The guest is asked to shut down; nothing is lost.
    Graceful,
    /// As by pulling the plug.
    Hard,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// It was done.
    Done,
    /// It was so already.
    Already,
}
