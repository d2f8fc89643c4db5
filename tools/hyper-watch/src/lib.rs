//! `hyper watch`: virtual machines, and what has to do with them, as they change. `hyper vm list
//! --watch` and `hyper vm get --watch` are the same.

mod args;
mod execute;
mod item;
mod record;
mod request;
mod run;
mod screen;
mod view;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

pub use self::request::{Condition, Request, Target};
pub use self::run::follow;

/// The tool.
#[derive(Debug)]
pub struct Watch;

impl Tool for Watch {
    const NAME: &'static str = "hyper-watch";
    const EXAMPLES: &'static [Example] = &[
        Example { what: "Follow the machines of a namespace", line: "hyper watch -n prod" },
        Example {
            what: "Wait until all web servers run, for five minutes at most",
            line: "hyper watch -n prod -l app=web --until status=running --timeout 5m",
        },
        Example {
            what: "Wait until a machine is gone",
            line: "hyper watch -n prod web01 --until deleted --timeout 90",
        },
        Example {
            what: "Follow the large machines of two clusters, for a program",
            line: "hyper watch --context east,west -A --min-cpus 8 -o ndjson",
        },
        Example {
            what: "See how migrations and volumes get on, on a cluster",
            line: "hyper watch -n prod --kind migration,datavolume",
        },
        Example {
            what: "Wait until all snapshots of a machine are taken",
            line: "hyper watch -n prod web01 --kind snapshot --until status=Succeeded",
        },
        Example {
            what: "Follow the machines of a vCenter and of a cluster in one table",
            line: "hyper watch --context vcenter,east",
        },
        Example {
            what: "Run a command at each change; HYPER_VM and HYPER_EVENT say which",
            line: "hyper watch -n prod --exec 'logger \"$HYPER_EVENT $HYPER_VM $HYPER_STATUS\"'",
        },
    ];
    type Args = args::WatchArgs;
    type Request = Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.vms.clone()
    }

    fn request(args: Self::Args, config: &Config) -> Result<Self::Request> {
        Request::new(args, config)
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        follow(request, cx).await
    }
}

/// The command, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<Watch>()
}
