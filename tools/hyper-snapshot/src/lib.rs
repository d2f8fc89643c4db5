//! `hyper snapshot`: moments of virtual machines that are kept, and returned to.

mod args;
mod list;
mod prune;
mod record;
mod request;
mod run;
mod work;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Snapshot;

impl Tool for Snapshot {
    const NAME: &'static str = "hyper-snapshot";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Take a snapshot with the guest's file systems at rest",
            line: "hyper snapshot create prod:web01 --name before-update --quiesce",
        },
        Example {
            what: "Take one of each machine that has a label",
            line: "hyper snapshot create -n shop -l app=web --name '{vm}-before-update'",
        },
        Example {
            what: "Show the snapshots of a machine, each below the one that it was made from",
            line: "hyper snapshot list prod:web01",
        },
        Example {
            what: "Make a machine again what it was",
            line: "hyper snapshot revert prod:web01 before-update",
        },
        Example {
            what: "Show what would be removed so that the three newest stay",
            line: "hyper snapshot prune -c prod --match 'web*' --keep 3 --dry-run",
        },
        Example {
            what: "Remove what is older than two weeks, without asking",
            line: "hyper snapshot prune prod:web01 --older-than 2w --yes",
        },
    ];
    type Args = args::SnapshotArgs;
    type Request = request::Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.references()
    }

    fn request(args: Self::Args, config: &Config) -> Result<Self::Request> {
        request::Request::new(args, config)
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        run::run(request, cx).await
    }
}

/// The command, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<Snapshot>()
}
