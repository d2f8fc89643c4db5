//! Switching VMs on and off, restarting them, holding them still.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

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

    /// Restarts a VM that runs: the guest is asked to, or with `hard` the machine is, as by its
    /// reset button.
    ///
    /// # Errors
    /// As [`Power::stop`]; `Conflict` for a VM that does not run.
    async fn restart(&self, vm: &VmId, hard: bool, cancel: &Cancel) -> Result<()>;

    /// Holds a VM that runs where it is, and waits until it stands still.
    ///
    /// # Errors
    /// As [`Power::start`]; `Conflict` for a VM that does not run.
    async fn pause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched>;

    /// Lets a VM go on that was held. One that runs is left as it is.
    ///
    /// # Errors
    /// As [`Power::start`]; `Conflict` for a VM that is off.
    async fn unpause(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched>;
}

/// How a VM is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The guest is asked to shut down; nothing is lost.
    Graceful {
        /// It has so long before it is switched off all the same; `None` is the platform's own
        /// measure.
        grace: Option<Duration>,
    },
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
