//! `hyper metrics`: how many machines there are, and what they use.

mod args;
mod follow;
mod live;
mod record;
mod request;
mod run;
mod summary;
mod usage;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Metrics;

impl Tool for Metrics {
    const NAME: &'static str = "hyper-metrics";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Count machines, processors and memory of every cluster, and of all together",
            line: "hyper metrics --all-contexts -A",
        },
        Example {
            what: "Keep today's numbers of two clusters in a file",
            line: "hyper metrics --context east,west -A --save",
        },
        Example {
            what: "Show what the machines of a namespace use",
            line: "hyper metrics vm -n prod",
        },
        Example {
            what: "Follow two hosts of a vCenter",
            line: "hyper metrics host prod:esx1.example.com prod:esx2.example.com --follow",
        },
        Example {
            what: "Show what a machine used since yesterday, for a spreadsheet",
            line: "hyper metrics vm prod:web01 --start '24h ago' --interval 30m -o csv",
        },
    ];
    type Args = args::MetricsArgs;
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
    hyper_common::tool::command::<Metrics>()
}
