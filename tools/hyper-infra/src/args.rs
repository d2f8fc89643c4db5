//! What `hyper infra` takes.

use clap::{Args, Subcommand};
use hyper_common::tool::flags::{
    OutputFlags, PlatformFlags, PlatformsFlags, TalkFlags, TimeoutFlags,
};

/// The arguments of `hyper infra`.
#[derive(Debug, Args)]
pub struct InfraArgs {
    /// What to look at.
    #[command(subcommand)]
    pub noun: Noun,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Hosts: their state, version, processors, memory and what is used of them
    Host(VerbArgs),
    /// Clusters: their sizes, and whether DRS and HA are on
    ///
    /// What is effective is what machines can have: without hosts that are in maintenance or not
    /// reached.
    Cluster(VerbArgs),
    /// Datacenters, and how much is in each
    Datacenter(VerbArgs),
    /// Datastores: their kind, capacity, free space and state
    Datastore(VerbArgs),
    /// Networks: standard and opaque ones, and distributed port groups with their VLAN
    Network(VerbArgs),
    /// The server itself: its version, build and identity, and how much it manages
    Vcenter(ServerArgs),
    /// Show what the server does now and did lately, oldest first
    ///
    /// A vCenter keeps what ended for some minutes.
    Tasks(ListArgs),
}

/// What to do.
#[derive(Debug, Args)]
pub struct VerbArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show all, or those that match
    List(ListArgs),
    /// Show single ones
    Get(GetArgs),
}

/// What to do with servers.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ServerVerb,
}

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum ServerVerb {
    /// Show the servers of contexts
    List(ListArgs),
    /// Show the server of a context
    Get(ServerGetArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only what matches: GLOB or /REGEX/ on the name, FIELD=GLOB, FIELD=/REGEX/
    #[arg(long = "match", value_name = "PATTERN")]
    pub matches: Vec<String>,

    #[command(flatten)]
    pub contexts: PlatformsFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Which: NAME, PATH or its end, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    #[command(flatten)]
    pub context: PlatformFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `vcenter get`.
#[derive(Debug, Args)]
pub struct ServerGetArgs {
    /// The context; without it, the current one
    #[arg(value_name = "CONTEXT")]
    pub name: Option<String>,

    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

impl InfraArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.noun {
            Noun::Host(VerbArgs { verb })
            | Noun::Cluster(VerbArgs { verb })
            | Noun::Datacenter(VerbArgs { verb })
            | Noun::Datastore(VerbArgs { verb })
            | Noun::Network(VerbArgs { verb }) => match verb {
                Verb::Get(args) => args.names.clone(),
                Verb::List(_) => Vec::new(),
            },
            Noun::Vcenter(_) | Noun::Tasks(_) => Vec::new(),
        }
    }
}
