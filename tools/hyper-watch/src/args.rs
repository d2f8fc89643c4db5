//! What `hyper watch` takes.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use hyper_common::tool::flags::{ContextFlags, FilterFlags, OutputFlags, TalkFlags, TimeoutFlags};
use hyper_common::vm::ObjectKind;

use crate::request::Condition;

/// The arguments of `hyper watch`.
///
/// What is there is told first, as ADDED, then each change as it happens: ADDED, MODIFIED and
/// DELETED, and LEFT for a machine that no longer passes the filters. RELISTED says that the
/// platform was asked for everything again, because it had forgotten what happened meanwhile; what
/// follows is what has changed since. On a terminal a table shows how everything is now, with its
/// last change; lines are written where standard output is no terminal, with --exec and with
/// --verbose.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Follow only these machines, or what is about them: NAME, CONTEXT:NAME,
    /// CONTEXT:NAMESPACE/NAME or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    /// Follow these kinds of objects instead of machines; repeat it or part names by commas for
    /// several
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        default_value = "vm",
        hide_default_value = true,
        value_parser = kind_parser(),
    )]
    pub kind: Vec<ObjectKind>,

    /// End once everything that is followed is so: FIELD=GLOB, FIELD=/REGEX/, or deleted
    #[arg(long, value_name = "CONDITION")]
    pub until: Vec<Condition>,

    /// Run this shell command at each change, with HYPER_EVENT, HYPER_KIND, HYPER_NAME, HYPER_VM,
    /// HYPER_CONTEXT, HYPER_NAMESPACE and HYPER_STATUS, and with the record on standard input
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

/// The names of kinds, with kubectl's short ones as aliases.
fn kind_parser() -> impl TypedValueParser<Value = ObjectKind> {
    let names = ObjectKind::names().map(|(name, short)| PossibleValue::new(name).alias(short));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<ObjectKind>())
}
