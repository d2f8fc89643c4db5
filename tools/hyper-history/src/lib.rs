//! `hyper history`: what ran, how it ended, and what it left behind.

mod args;
mod record;
mod request;
mod run;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct History;

impl Tool for History {
    const NAME: &'static str = "hyper-history";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Show which runs of the last day failed, for a program",
            line: "hyper history runs list --since 1d --outcome failed -o json",
        },
        Example {
            what: "Show the last five exports of machines whose name starts with web",
            line: "hyper history runs list --tool export --match 'web*' --limit 5",
        },
        Example {
            what: "Show all about a run; the start of its id is enough",
            line: "hyper history runs show 20261120T1130",
        },
        Example {
            what: "Show what killed and interrupted runs left behind",
            line: "hyper history runs clean --dry-run",
        },
        Example { what: "Remove it without asking", line: "hyper history runs clean --yes" },
    ];
    type Args = args::HistoryArgs;
    type Request = request::Request;

    fn references(_: &Self::Args) -> Vec<String> {
        Vec::new()
    }

    fn request(args: Self::Args, _: &Config) -> Result<Self::Request> {
        request::Request::new(args)
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        run::run(&request, cx)
    }
}

/// The command, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<History>()
}
