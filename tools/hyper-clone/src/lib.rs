//! `hyper clone`: virtual machines of virtual machines.

mod args;
mod bulk;
mod plan;
mod record;
mod request;
mod rollback;
mod run;
mod work;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Clone;

impl Tool for Clone {
    const NAME: &'static str = "hyper-clone";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Make a machine of a machine and switch it on",
            line: "hyper clone prod:web01 web02 --power-on",
        },
        Example {
            what: "Make ten, or those of them that are not there yet",
            line: "hyper clone prod:golden --count 10 --name 'web-{n:02}' --pool web",
        },
        Example {
            what: "Make linked ones of a snapshot, and remove them again if one fails",
            line: "hyper clone prod:golden --count 3 --name 'ci-{n:02}' --linked --snapshot clean --rollback",
        },
        Example {
            what: "Make three whose guests are given names by a specification of the vCenter",
            line: "hyper clone prod:golden --count 3 --name 'web-{n:02}' --customize linux --power-on",
        },
        Example {
            what: "Make eight that go on where a running machine is",
            line: "hyper clone prod:warm --count 8 --name 'worker-{n:02}' --instant",
        },
        Example {
            what: "Make one of a snapshot of a machine in a cluster, and wait for its guest",
            line: "hyper clone -n shop web01 web02 --snapshot before-update --power-on --wait",
        },
        Example {
            what: "Show what a file of clones would make",
            line: "hyper clone --bulk clones.yaml --dry-run",
        },
        Example {
            what: "Make a copy of each machine that another command names",
            line: "jq -nc '{source_vm: \"prod:web01\", target_name: \"copy\"}' | hyper clone --bulk -",
        },
    ];
    type Args = args::CloneArgs;
    type Request = request::Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.source.iter().cloned().collect()
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
    hyper_common::tool::command::<Clone>()
}
