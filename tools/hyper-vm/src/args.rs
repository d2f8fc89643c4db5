//! What `hyper vm` takes.

use clap::{Args, Subcommand};
use hyper_common::tool::flags::{ContextFlags, FilterFlags, OutputFlags, TalkFlags};

/// The arguments of `hyper vm`.
#[derive(Debug, Args)]
pub struct VmArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with machines.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show machines
    ///
    /// Machines in files are seen in the context's folder and the folders directly below it. A
    /// file that should hold one and cannot be read is a warning; exit status 10 says that there
    /// was one.
    List(ListArgs),
    /// Show all about some machines
    Get(GetArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only machines in this place: CONTEXT:, CONTEXT:FOLDER or FOLDER
    #[arg(value_name = "PLACE")]
    pub places: Vec<String>,

    #[command(flatten)]
    pub filter: FilterFlags,
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM", required = true)]
    pub vms: Vec<String>,

    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

impl VmArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Verb::List(args) => args.places.clone(),
            Verb::Get(args) => args.vms.clone(),
        }
    }
}
