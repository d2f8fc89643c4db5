//! `hyper events`: what happened to virtual machines and around them.

mod alarms;
mod args;
mod cursor;
mod follow;
mod list;
mod merge;
mod request;
mod run;
mod source;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Events;

impl Tool for Events {
    const NAME: &'static str = "hyper-events";
    const EXAMPLES: &'static [Example] = &[
        Example { what: "Show what happened in the last hour", line: "hyper events -n prod" },
        Example {
            what: "Show what went wrong with a machine since yesterday",
            line: "hyper events prod:web01 --since 1d --severity warning,error",
        },
        Example {
            what: "Follow who switches machines on and off in a cluster of hosts",
            line: "hyper events prod:/DC0/host/C0 --types 'VmPowered*' --follow",
        },
        Example {
            what: "Follow two clusters for a program, and go on where it stopped",
            line: "hyper events --context east,west -A --follow -o ndjson --cursor at.json --save-cursor at.json",
        },
        Example { what: "Show which alarms are triggered", line: "hyper events alarms -c prod" },
    ];
    type Args = args::EventsArgs;
    type Request = request::Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.events.subjects.clone()
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
    hyper_common::tool::command::<Events>()
}
