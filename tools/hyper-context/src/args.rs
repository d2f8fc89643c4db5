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
    ///
    /// A password never stands in the configuration or on the command line: it is read from a
    /// file descriptor and kept in a file that only its owner may read, or it comes from a file or
    /// a command each time it is needed. Without one, HYPER_NAME_PASSWORD or the terminal is asked.
    Add(Box<AddArgs>),
    /// Make a context the current one
    Use(NameArgs),
    /// Remove a context from the configuration
    ///
    /// Its login is ended and its kept password removed.
    Remove(NameArgs),
    /// Check that contexts answer
    Test(TestArgs),
    /// End the login that is kept for a context
    ///
    /// The password stays where it is; the next run logs in again.
    Logout(NameArgs),
    /// Show what the platform of a context can do
    Capabilities(CapabilitiesArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Ask each whether it answers, and for its version; those that do not are no failure
    #[arg(long)]
    pub probe: bool,

    #[command(flatten)]
    pub output: OutputFlags,
}

/// The arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Name of the new context
    #[arg(value_name = "NAME", value_hint = clap::ValueHint::Other)]
    pub name: String,

    /// Platform that the context is on
    #[arg(long, value_name = "PROVIDER", required = true, value_parser = PROVIDERS.to_vec())]
    pub provider: String,

    /// Folder that holds the machines; without it, the current directory of each run
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,

    /// Context of the kubeconfig that holds the cluster; without it, its current one
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,

    /// Kubeconfig that the cluster is in, instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the cluster that is looked at where none is given
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    #[command(flatten)]
    pub server: ServerArgs,

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

/// How a server is reached and logged in to.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Address of the server, such as https://vc.example.com/sdk
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Who logs in, such as svc@vsphere.local
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Datacenter that lists are confined to and that relative paths start at
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<String>,

    /// PEM file of authorities to believe instead of the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,

    /// Believe only the certificate with this SHA-256 or SHA-1
    #[arg(long, value_name = "HEX")]
    pub thumbprint: Option<String>,

    /// Believe any certificate
    #[arg(long)]
    pub insecure: bool,

    /// Read the password from this file descriptor and keep it in a file of its own
    #[arg(long, value_name = "N", conflicts_with_all = ["password_file", "password_command"])]
    pub password_fd: Option<u32>,

    /// Read the password from this file at each login; only its owner may read it
    #[arg(long, value_name = "FILE", conflicts_with = "password_command")]
    pub password_file: Option<PathBuf>,

    /// Run this shell command at each login; it prints the password
    #[arg(long, value_name = "COMMAND")]
    pub password_command: Option<String>,
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
