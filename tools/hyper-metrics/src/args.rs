//! What `hyper metrics` takes.

use clap::{Args, Subcommand};
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::{ContextFlags, MetricsOutputFlags, TalkFlags, TimeoutFlags};

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
    /// In clusters where metrics-server measures pods: processors and memory of the pod that a
    /// machine runs in, the latest values. Without names, all machines that run.
    Vm(UsageArgs),
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

/// The arguments of `vm`.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Only these: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

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
            Some(Verb::Vm(args)) => args.names.clone(),
            Some(Verb::Summary(_)) | None => Vec::new(),
        }
    }
}
