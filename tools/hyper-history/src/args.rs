//! What `hyper history` takes.

use clap::{Args, Subcommand};
use hyper_common::history::{Outcome, RunMatch};
use hyper_common::tool::flags::{DryRunFlags, OutputFlags, TalkFlags, YesFlags, moment};
use jiff::Timestamp;

/// The arguments of `hyper history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Which part of the history.
    #[command(subcommand)]
    pub part: Part,
}

/// Which part of the history.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Look at runs that moved or changed something
    #[command(subcommand)]
    Runs(RunsVerb),
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub enum RunsVerb {
    /// Show runs, newest first
    List(ListArgs),
    /// Show all about one run
    Show(ShowArgs),
    /// Remove what killed, interrupted and failed runs left behind
    ///
    /// Only what a run noted in the history is removed: files whose names are those of hyper's
    /// temporary files and on which no living run works, and what a platform still has of what a
    /// run made for itself (snapshots, leases, exports) or did not bring to its end (machines that
    /// were never filled, clones, templates). A run that could have been continued starts anew
    /// afterwards.
    Clean(CleanArgs),
}

/// The arguments of `runs list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only runs begun after this: 1d or 2h30m ago, 2026-11-20, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,

    /// Show only runs begun before this
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,

    /// Show only runs that ended so: running, succeeded, failed, partial, interrupted or lost
    #[arg(long = "outcome", value_name = "OUTCOME", value_delimiter = ',')]
    pub outcomes: Vec<Outcome>,

    /// Show only runs of this tool, such as export
    #[arg(long = "tool", value_name = "TOOL", value_delimiter = ',')]
    pub tools: Vec<String>,

    /// Show only runs with a source, target or artifact that matches: GLOB or /REGEX/
    #[arg(long = "match", value_name = "PATTERN", value_parser = RunMatch::parse)]
    pub matches: Vec<RunMatch>,

    /// Show at most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,

    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `runs show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the run, or the start of it
    #[arg(value_name = "ID")]
    pub id: String,

    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `runs clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub yes: YesFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}
