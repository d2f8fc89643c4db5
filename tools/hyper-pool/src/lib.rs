//! `hyper pool`: resource pools, which share out what clusters and hosts have.

mod args;
mod change;
mod record;
mod request;
mod run;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct PoolTool;

impl Tool for PoolTool {
    const NAME: &'static str = "hyper-pool";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Show the pools, each below the one that it is in, and what they use",
            line: "hyper pool list",
        },
        Example {
            what: "Show all there is to know of one",
            line: "hyper pool get prod:/DC0/host/cluster1/Resources/web",
        },
        Example {
            what: "Keep 2 GHz and 4 GiB for the machines of a new pool",
            line: "hyper pool create prod:web --parent cluster1 --cpu-reservation 2GHz --memory-reservation 4Gi",
        },
        Example {
            what: "Show what a change would come to",
            line: "hyper pool update prod:web --memory-limit 16Gi --cpu-shares high --dry-run",
        },
        Example {
            what: "Lift a limit",
            line: "hyper pool update prod:web --memory-limit unlimited",
        },
        Example {
            what: "Remove a pool without asking; what is in it goes to the pool around it",
            line: "hyper pool delete prod:web --yes",
        },
    ];
    type Args = args::PoolArgs;
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
    hyper_common::tool::command::<PoolTool>()
}
