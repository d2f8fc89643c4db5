//! `--limit-rate`: one limit over all streams of a run.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Bytes a caller may ask for at once; larger asks are split.
const LARGEST: u64 = 4 << 20;

/// A limit on bytes per second. Counts in KiB: the interval between units is kept in whole
/// nanoseconds, which is too coarse for single bytes at hundreds of MB/s.
#[derive(Debug)]
pub struct RateLimit {
    limiter: DefaultDirectRateLimiter,
    burst: u32,
}

impl RateLimit {
    /// A limit of `bytes_per_second`, at least 1 KiB/s. Bursts of 20 ms worth are let through, and
    /// of 64 KiB at least.
    pub fn new(bytes_per_second: u64) -> Self {
        let per_second = u32::try_from(bytes_per_second / 1024).unwrap_or(u32::MAX);
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = (per_second.get() / 50).clamp(64, (LARGEST / 1024) as u32);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), burst: burst.get() }
    }

    /// Waits until `bytes` more may be taken.
    pub async fn take(&self, bytes: u64) {
        let mut left = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        while let Some(part) = NonZeroU32::new(left.min(self.burst)) {
            // Cannot fail: no part is larger than the burst.
            let _ = self.limiter.until_n_ready(part).await;
            left -= part.get();
        }
    }
}
