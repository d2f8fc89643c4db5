//! What `hyper events` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper_common::provider::{Pattern, Severity};
use hyper_common::time::parse_duration;
use hyper_common::tool::flags::{ContextFlags, OutputFlags, TalkFlags, TimeoutFlags, moment};
use jiff::Timestamp;

/// The arguments of `hyper events`.
///
/// Events are shown the oldest first. Those of several contexts are put in the order of their times.
/// A record whose type is Gap says that events are missing there, and why. A machine that is called
/// alarms is named with its context, or after two dashes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EventsArgs {
    /// What to show instead.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    pub events: ListArgs,
}

/// What else to show.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show which alarms are triggered now
    Alarms(AlarmsArgs),
}

/// Which events, and how.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only events about these: NAME, CONTEXT:NAME, CONTEXT:NAMESPACE/NAME or CONTEXT:@ID of a
    /// machine, or the inventory path of a host, a cluster, a datacenter
    #[arg(value_name = "VM")]
    pub subjects: Vec<String>,

    /// Show events since: a time ago (1h, 7d), a date, or RFC 3339; without it of the last hour, and
    /// with --follow only those that come
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Timestamp>,

    /// Show only events of these types, such as VmPowered* or FailedScheduling
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub types: Vec<Pattern>,

    /// Show only events that are so bad: info, user, warning or error
    #[arg(long, value_name = "SEVERITY", value_delimiter = ',')]
    pub severity: Vec<Severity>,

    /// Show only what these users did, on a platform that knows
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub user: Vec<Pattern>,

    /// Go on with what happens from now on
    #[arg(long)]
    pub follow: bool,

    /// Hold events back for so long to put those of several contexts in order
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration, requires = "follow")]
    pub delay: Duration,

    /// Begin behind the last event that --save-cursor noted in this file
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub cursor: Option<PathBuf>,

    /// Note the last event that was shown in this file, again and again
    #[arg(long, value_name = "FILE")]
    pub save_cursor: Option<PathBuf>,

    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `alarms`.
#[derive(Debug, Args)]
pub struct AlarmsArgs {
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}
