//! What `hyper context` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper_common::config::PROVIDERS;
use hyper_common::tool::flags::{OutputFlags, TalkFlags};

/// The arguments of `hyper context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show all contexts
    List(ListArgs),
    /// Add a context to the configuration
    Add(AddArgs),
    /// Make a context the current one
    Use(NameArgs),
    /// Remove a context from the configuration
    Remove(NameArgs),
    /// Check that contexts answer
    Test(TestArgs),
    /// Show what the platform of a context can do
    Capabilities(CapabilitiesArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub output: OutputFlags,
}

/// The arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Name of the new context
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Platform that the context is on
    #[arg(long, value_name = "PROVIDER", required = true, value_parser = PROVIDERS.to_vec())]
    pub provider: String,

    /// Folder that holds the machines; without it, the current directory of each run
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,

    /// Describe the context in lists
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,

    /// Make it the current context
    #[arg(long = "use")]
    pub make_current: bool,

    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of a verb on one context.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Name of the context
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Names of contexts; without any, the current one
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Check all contexts
    #[arg(long, conflicts_with = "names")]
    pub all_contexts: bool,

    #[command(flatten)]
    pub output: OutputFlags,
}

/// The arguments of `capabilities`.
#[derive(Debug, Args)]
pub struct CapabilitiesArgs {
    /// Name of the context; without it, the current one
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    pub output: OutputFlags,
}
