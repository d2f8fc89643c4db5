//! The journal of runs: what moved or changed something, when, from where to where, and how it
//! ended.
//!
//! The journal is a folder of append-only files, one for each month, one JSON object to a line.
//! [`Journal`] writes it, from many processes at once; [`Runs`] reads it, newest run first, in
//! bounded memory; [`clean`] removes what killed and interrupted runs left behind. While a run
//! lives it holds a lock, so that a killed one is known as [`Outcome::Lost`] without guessing.
//!
//! No secrets: requests are stored as the tools give them, so a tool's request type must not
//! hold any. Not in: metrics, logs, the state of partial files.

mod backward;
mod clean;
mod entry;
mod filter;
mod journal;
mod query;
mod record;
mod run;
mod segment;

pub use self::clean::{Fate, Leftover, clean, in_work};
pub use self::entry::{ArtifactEntry, Counts, Failure, Outcome, Thing};
pub use self::filter::{RunFilter, RunMatch};
pub use self::journal::{Begin, Journal};
pub use self::query::{Runs, find_run};
pub use self::record::RunRecord;
pub use self::run::{End, Run};

#[cfg(test)]
mod tests;
