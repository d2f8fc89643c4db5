//! What `hyper metrics` takes.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper_common::time::parse_duration;
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::{
    ContextFlags, MetricsOutputFlags, TalkFlags, TimeoutFlags, moment,
};
use jiff::Timestamp;

/// The arguments of `hyper metrics`.
///
/// Without a verb, or with summary, machines are counted by their state, with their processors and
/// memory, and so are templates and snapshots: for each context, and for all together. Contexts are
/// asked at the same time; one that cannot be read is told, and exit status 10 says that there was
/// one. What a platform does not have or does not tell is left empty. -o csv has the rows that
/// HyperSDK's metrics had, for all contexts together.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MetricsArgs {
    /// What to measure instead.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    pub summary: SummaryArgs,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Count what there is
    Summary(SummaryArgs),
    /// Show what machines use
    ///
    /// Without names, all machines that run. On vSphere the latest real-time sample of each, of 20
    /// seconds, or those of the last hour (--realtime), or what the server keeps of the past
    /// (--start). In clusters where metrics-server measures pods the latest values of the pod that a
    /// machine runs in, which are all that there are.
    Vm(UsageArgs),
    /// Show what hosts use, on vSphere
    ///
    /// As vm does; without names, all hosts.
    Host(UsageArgs),
    /// Show what clusters of hosts use, on vSphere
    ///
    /// As vm does; without names, all clusters. Servers measure clusters only in the past: real-time
    /// values are the sums of what their hosts used, and are marked as derived.
    Cluster(UsageArgs),
}

/// The arguments of `summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    pub save: SaveFlags,
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: MetricsOutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `vm`, `host` and `cluster`.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Only these: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Show all real-time samples of the last hour
    #[arg(long, conflicts_with_all = ["start", "follow"])]
    pub realtime: bool,

    /// Show what the server keeps since: a time ago (24h ago), a date, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "follow")]
    pub start: Option<Timestamp>,

    /// Show it until then, and not until now
    #[arg(long, value_name = "WHEN", value_parser = moment, requires = "start")]
    pub end: Option<Timestamp>,

    /// Show it in the server's finest samples that are at least so long, such as 30m
    #[arg(long, value_name = "TIME", value_parser = span, requires = "start")]
    pub interval: Option<Duration>,

    /// Go on with each new sample: a row for each, on a terminal a table with what was before
    #[arg(long)]
    pub follow: bool,

    /// Look for new samples so often, and not as often as the platform makes them
    #[arg(long, value_name = "TIME", value_parser = pause, requires = "follow")]
    pub every: Option<Duration>,

    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: MetricsOutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

impl MetricsArgs {
    /// What is named.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Some(Verb::Vm(args) | Verb::Host(args) | Verb::Cluster(args)) => args.names.clone(),
            Some(Verb::Summary(_)) | None => Vec::new(),
        }
    }
}

/// How long a sample is.
fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() { Err("a sample takes some time".to_owned()) } else { Ok(span) }
}

/// A pause between two looks.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause.is_zero() { Err("nobody can look all the time".to_owned()) } else { Ok(pause) }
}
