//! News of a transfer on standard error: how far each disk is, how fast, what is wrong.
//!
//! The data path tells a [`Reporter`] and its [`DiskProgress`]es, from any thread, as often as it
//! likes; what is shown follows from the [`ProgressMode`]. Warnings and notes go the same way, so
//! that they never land in the middle of a bar. Records on standard output are printed within
//! [`Reporter::suspend`] for the same reason. Not in: results, which are records.

mod bar;
mod board;
mod json;
mod lines;
mod mode;
mod rate;
mod show;
mod task;
mod view;

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;

pub use self::mode::ProgressMode;
pub use self::show::Progress;

/// What a run, or a disk of it, is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking at sources and targets; nothing moves.
    Plan,
    /// Reading, encoding and writing a disk.
    Copy,
    /// Reading back what was written.
    Verify,
    /// Putting a package together.
    Package,
    /// Making durable, renaming, writing what stands beside the disks.
    Finish,
}

/// How the work on a disk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskEnd {
    /// All of it is done.
    Done,
    /// It was there already, from an earlier run.
    Reused,
    /// It failed or was stopped; the error says why elsewhere.
    Failed,
}

/// Takes the news of a run. Cheap and callable from any thread; never fails, never waits for
/// anything but other news being printed.
pub trait Reporter: Debug + Send + Sync {
    /// Announces work: `bytes` of disk that passes over disks will come to, beyond what was
    /// announced before. Said once the plan is known (a disk that is copied and then verified
    /// counts twice), it keeps the overall share honest from the start; disks that come without
    /// having been announced are added as they come.
    fn expect(&self, bytes: u64);

    /// The run as a whole enters a phase.
    fn phase(&self, phase: Phase);

    /// Work on a disk starts, with [`Phase::Copy`]. `id` tells it from the other disks of the
    /// run and is shown to people; `capacity` is what the guest sees, in bytes.
    fn disk(&self, id: &str, capacity: u64) -> Arc<dyn DiskProgress>;

    /// Work starts that is not a disk: `doing` is the verb (`start`), `id` what it is done to. How
    /// long it takes only the platform knows.
    fn task(&self, id: &str, doing: &str) -> Arc<dyn TaskProgress>;

    /// Something a person should know about and that does not end the run. Also shown when the
    /// run is asked to be quiet.
    fn warn(&self, text: &str);

    /// A remark: what is reused, what was chosen.
    fn note(&self, text: &str);

    /// Runs `print`, which writes to the terminal by itself, with the bars out of the way.
    /// `print` must not report anything itself: it would wait for its own end.
    fn suspend(&self, print: &mut dyn FnMut());
}

/// Takes the news of one disk; as [`Reporter`]. Dropping it without [`DiskProgress::finish`] ends
/// the disk as [`DiskEnd::Failed`].
pub trait DiskProgress: Debug + Send + Sync {
    /// The disk enters a phase. [`Phase::Copy`] and [`Phase::Verify`] are passes over the disk:
    /// entering one after any advance starts again at position 0, and the overall work grows by
    /// the capacity. The others keep the position.
    fn phase(&self, phase: Phase);

    /// The current pass has come to `position` bytes of the disk, holes included; a position
    /// below an earlier one is ignored, one beyond the capacity is the capacity. `read` and
    /// `written` are the bytes of files or network that were read and written since the last
    /// call; they only count for rates and sums.
    fn advance(&self, position: u64, read: u64, written: u64);

    /// Something is tried again; `why` is a clause.
    fn retry(&self, why: &str);

    /// The work on the disk ended; later calls do nothing.
    fn finish(&self, end: DiskEnd);
}

/// Takes the news of a task; as [`Reporter`]. Dropping it without [`TaskProgress::finish`] ends the
/// task as one that failed.
pub trait TaskProgress: Debug + Send + Sync {
    /// How far it is, as its platform says: its word for what is done now, and hundredths. What is
    /// not said stays as it was.
    fn step(&self, words: Option<&str>, percent: Option<u8>);

    /// It ended; later calls do nothing.
    fn finish(&self, done: bool);
}

/// Tells nobody: for work that is no pass of its own.
#[derive(Debug)]
pub struct NoProgress;

impl DiskProgress for NoProgress {
    fn phase(&self, _phase: Phase) {}
    fn advance(&self, _position: u64, _read: u64, _written: u64) {}
    fn retry(&self, _why: &str) {}
    fn finish(&self, _end: DiskEnd) {}
}

impl Phase {
    /// The word for people, as in the serialised form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Copy => "copy",
            Self::Verify => "verify",
            Self::Package => "package",
            Self::Finish => "finish",
        }
    }

    /// Whether it walks a disk from its start to its end.
    fn is_pass(self) -> bool {
        matches!(self, Self::Copy | Self::Verify)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests;
