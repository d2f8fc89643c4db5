//! What `hyper vm` takes.

use clap::{Args, Subcommand};
use hyper_common::tool::flags::{
    ContextFlags, FilterFlags, OutputFlags, ReferenceFlags, TalkFlags, TimeoutFlags,
};

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
    /// Switch machines on
    ///
    /// A machine that runs already is left as it is, and that is no failure.
    Start(StartArgs),
    /// Shut machines down
    ///
    /// The guest is asked to shut down, and it is waited until the machine is off. One that is off
    /// already is no failure.
    Stop(StopArgs),
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

/// The arguments of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Wait until the guest's agent (VMware Tools) runs
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub power: PowerArgs,
}

/// The arguments of `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Switch off as by pulling the plug, without asking the guest
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub power: PowerArgs,
}

/// What `start` and `stop` share.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM", required = true)]
    pub vms: Vec<String>,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
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
            Verb::Start(args) => args.power.vms.clone(),
            Verb::Stop(args) => args.power.vms.clone(),
        }
    }
}
