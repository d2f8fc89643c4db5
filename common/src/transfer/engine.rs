//! What all disks of a process share: the pool, the memory budget, the rate limit, the wish to
//! stop.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::buffer::Stock;
use super::limit::RateLimit;
use super::pool::Pool;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Bytes that may be in flight over all disks, in KiB. With buffers kept for reuse, tables and the
/// program itself this stays well below 256 MiB of resident memory.
const BUDGET_KIB: u32 = 64 << 10;

/// What an engine is made from.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Bytes per second over all streams; `None` is as fast as it goes.
    pub limit_rate: Option<u64>,
    /// Threads for work on bytes; `None` is as many as the machine offers.
    pub threads: Option<usize>,
}

/// The machinery that moves disks. One per process.
#[derive(Debug)]
pub struct Engine {
    pub(super) pool: Pool,
    pub(super) budget: Arc<Semaphore>,
    pub(super) buffers: Stock,
    pub(super) limit: Option<RateLimit>,
    pub(super) cancel: Cancel,
}

impl Engine {
    /// Starts the pool.
    ///
    /// # Errors
    /// `Io` where the operating system gives no thread.
    pub fn new(options: &EngineOptions, cancel: Cancel) -> Result<Self> {
        let pool = match options.threads {
            Some(threads) => Pool::new(threads),
            None => Pool::of_machine(),
        };
        Ok(Self {
            pool: pool.map_err(|error| Error::io("start worker threads", error))?,
            budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)),
            buffers: Stock::default(),
            limit: options.limit_rate.map(RateLimit::new),
            cancel,
        })
    }

    /// The wish to stop that this engine obeys.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The share of the budget that a job of `bytes` takes, in its unit. Never more than a quarter,
    /// so that no job can wait for ever.
    pub(super) fn share(bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(BUDGET_KIB / 4)
    }
}
