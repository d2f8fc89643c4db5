//! A picture of a run at one moment, and the words for it.

use std::time::Duration;

use super::rate::Rates;
use super::task::TaskView;
use super::{DiskEnd, Phase};
use crate::output::{human_bytes, human_span};

/// How far something is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Amount {
    /// Bytes of disk that were passed, over all passes; at most `capacity`.
    pub position: u64,
    /// Bytes of disk to pass.
    pub capacity: u64,
    pub read: u64,
    pub written: u64,
    pub retries: u64,
    pub rates: Option<Rates>,
    pub left: Option<Duration>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskView {
    /// Tells disks apart even where two have the same id.
    pub key: u64,
    pub id: String,
    pub phase: Phase,
    /// Of the current pass.
    pub amount: Amount,
    /// Since the disk started.
    pub elapsed: Duration,
}

/// The run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub phase: Phase,
    /// Since the run started.
    pub elapsed: Duration,
    /// Disks at work now.
    pub disks: Vec<DiskView>,
    /// Disks that ended.
    pub ended: u64,
    /// Tasks at work now.
    pub tasks: Vec<TaskView>,
    pub total: Amount,
}

/// An event, shown at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum News<'a> {
    Phase,
    DiskStarted(&'a DiskView),
    DiskPhase(&'a DiskView),
    DiskEnded(&'a DiskView, DiskEnd),
    Retry(&'a DiskView, &'a str),
    TaskStarted(&'a TaskView),
    TaskStep(&'a TaskView),
    /// And whether it was done.
    TaskEnded(&'a TaskView, bool),
    Warning(&'a str),
    Note(&'a str),
}

impl Amount {
    /// The share that is done, in percent, rounded down: 100 means all of it.
    pub fn percent(&self) -> u64 {
        let share = u128::from(self.position) * 100 / u128::from(self.capacity.max(1));
        if self.capacity == 0 { 100 } else { u64::try_from(share).unwrap_or(100) }
    }

    /// `45% 1.8 of 4 GiB, read 310 MiB/s, 7s left`.
    pub fn words(&self) -> String {
        let mut words = format!(
            "{:>3}% {} of {}",
            self.percent(),
            human_bytes(self.position),
            human_bytes(self.capacity)
        );
        if let Some(rates) = self.rates {
            // Of two bytes moved for one of disk the reader's pace is the one people compare.
            let (what, rate) = if self.read > 0 || self.written == 0 {
                ("read", rates.read)
            } else {
                ("wrote", rates.written)
            };
            words.push_str(&format!(", {what} {}/s", human_bytes(rate as u64)));
        }
        match self.left {
            Some(left) if self.position < self.capacity => {
                words.push_str(&format!(", {} left", human_span(left.max(Duration::from_secs(1)))));
            }
            _ => {}
        }
        if self.retries > 0 {
            words.push_str(&format!(", {} retried", self.retries));
        }
        words
    }
}

impl DiskView {
    /// What a disk that ended is summed up with.
    pub fn summary(&self, end: DiskEnd) -> String {
        let Amount { capacity, read, written, position, .. } = &self.amount;
        match end {
            DiskEnd::Done => format!(
                "done, {} in {}, read {}, wrote {}",
                human_bytes(*capacity),
                human_span(self.elapsed),
                human_bytes(*read),
                human_bytes(*written)
            ),
            DiskEnd::Reused => format!("already there, {}", human_bytes(*capacity)),
            DiskEnd::Failed => {
                format!("stopped at {} of {}", human_bytes(*position), human_bytes(*capacity))
            }
        }
    }
}
