//! What `hyper watch` takes.

use clap::Args;
use hyper_common::tool::flags::{ContextFlags, FilterFlags, OutputFlags, TalkFlags, TimeoutFlags};

use crate::request::Condition;

/// The arguments of `hyper watch`.
///
/// What is there is told first, as ADDED, then each change as it happens: ADDED, MODIFIED and
/// DELETED, and LEFT for a machine that no longer passes the filters. RELISTED says that the
/// platform was asked for everything again, because it had forgotten what happened meanwhile; what
/// follows is what has changed since.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Follow only these machines: NAME, CONTEXT:NAME, CONTEXT:NAMESPACE/NAME or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    /// End once every machine that is followed is so: FIELD=GLOB, FIELD=/REGEX/, or deleted
    #[arg(long, value_name = "CONDITION")]
    pub until: Vec<Condition>,

    /// Run this shell command at each change, with HYPER_EVENT, HYPER_VM, HYPER_CONTEXT,
    /// HYPER_NAMESPACE and HYPER_STATUS, and with the record on standard input
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    #[command(flatten)]
    pub filter: FilterFlags,
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}
