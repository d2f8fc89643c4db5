//! Giving VMs more or fewer processors and memory.

use async_trait::async_trait;
use serde::Serialize;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The resize facet.
#[async_trait]
pub trait Resize: Send + Sync {
    /// Changes what is named in `size`, and nothing else.
    ///
    /// # Errors
    /// `NotFound`; `Usage` for a size that this VM cannot have; `Unsupported` for a VM whose size
    /// is not its own; `Conflict` for one that must be off first.
    async fn resize(&self, vm: &VmId, size: Size, cancel: &Cancel) -> Result<Resized>;
}

/// The size wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Processors as the guest counts them.
    pub cpus: Option<u32>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resized {
    /// It is so large already.
    Already,
    /// The VM is off, and starts with the new size.
    Stored,
    /// The guest runs with the new size.
    Live,
    /// The guest runs with the old size until it is restarted, for this reason.
    AfterRestart(String),
}
