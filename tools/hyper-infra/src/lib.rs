//! `hyper infra`: what machines run on and are stored in, and what the server is busy with.

mod args;
mod record;
mod request;
mod run;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Infra;

impl Tool for Infra {
    const NAME: &'static str = "hyper-infra";
    const EXAMPLES: &'static [Example] = &[
        Example { what: "Show the hosts of a vCenter", line: "hyper infra host list -c prod" },
        Example {
            what: "Show the hosts in maintenance, of all contexts",
            line: "hyper infra host list --all-contexts --match maintenance=true",
        },
        Example {
            what: "Show all there is to know of a cluster",
            line: "hyper infra cluster get prod:/DC0/host/cluster1",
        },
        Example {
            what: "Show datastores with their free bytes, for a program",
            line: "hyper infra datastore list -o jsonpath='{.items[*].free_bytes}'",
        },
        Example {
            what: "Show the port groups in a VLAN",
            line: "hyper infra network list --match type=distributed --match vlan=100",
        },
        Example { what: "Show what failed lately", line: "hyper infra tasks --match state=error" },
    ];
    type Args = args::InfraArgs;
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
    hyper_common::tool::command::<Infra>()
}
