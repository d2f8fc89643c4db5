//! The data path: from a source's extents to a finished image, in one pass.
//!
//! A disk runs like this: its extents are cut into jobs ([`cutter`]), pool threads load, inflate,
//! scan, compress and digest them in any order ([`worker`]), the format places them in disk order
//! ([`order`]), and the result is written at once by the same thread where the target can seek, or
//! in order by one thread where it cannot or where the file's checksum is made on the way
//! ([`writer`]). What is in flight is bounded in bytes over all disks of the process.
//!
//! Nothing here knows a platform, a terminal or a flag.

mod ahead;
mod artifact;
mod buffer;
mod content;
mod copy;
mod cutter;
mod disk;
mod engine;
mod even;
mod keep;
mod limit;
mod order;
mod package;
mod pass;
mod pool;
mod ranges;
mod read;
mod refetch;
mod resume;
mod sum;
#[cfg(test)]
mod tests;
mod verify;
mod wire;
mod worker;
mod write;
mod writer;
mod zero;

pub use self::artifact::{BesideFile, Destination, ImagePlan, ImageSource, Member, WrittenImage};
pub use self::content::{Content, ContentSum};
pub use self::copy::{CopyDone, CopyTask};
pub use self::disk::{DiskDone, DiskTask, Target};
pub use self::engine::{Engine, EngineOptions};
pub use self::keep::{Keep, is_spoilt};
pub use self::package::{PackageKeeper, PackageState};
pub use self::ranges::ranged_extents;
pub use self::read::{image_extents, image_stream_extents};
pub use self::resume::{Checkpoint, Checkpointing, Complete, CopyPoint, Progress, State};
pub use self::sum::{FileSum, SumKind, Summer, hex, sum_file};
pub use self::verify::first_difference;
pub use self::wire::{WireDisk, wire_extents};
pub use self::zero::is_zero;
