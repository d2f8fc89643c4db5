//! `hyper vm`: the virtual machines of a platform, or those in files.

mod action;
mod args;
mod change;
mod create;
mod list;
mod record;
mod request;
mod run;
mod upload;
mod wizard;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Vm;

impl Tool for Vm {
    const NAME: &'static str = "hyper-vm";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Show the machines in the current folder: packages, VMX files, disk images",
            line: "hyper vm list local:",
        },
        Example {
            what: "Show those in another folder that have at least 4 processors and 8 GiB",
            line: "hyper vm list local:/srv/images --min-cpus 4 --min-memory 8Gi",
        },
        Example {
            what: "Show Linux machines whose name starts with web, for a program",
            line: "hyper vm list local: --match 'web*' --match guest_os=linux -o json",
        },
        Example {
            what: "Go on and tell what changes",
            line: "hyper vm list -c prod --status running --watch",
        },
        Example { what: "Show all about one machine", line: "hyper vm get local:appliance.ova" },
        Example {
            what: "Make a machine with 2 processors and 4 GiB from a container image, and start it",
            line: "hyper vm create web01 --cpus 2 --memory 4Gi --container-disk quay.io/containerdisks/fedora --start",
        },
        Example {
            what: "See whether a cluster would take what a manifest describes",
            line: "hyper vm create -n shop -f web01.yaml --dry-run",
        },
        Example {
            what: "Let two machines shut down, within five minutes",
            line: "hyper vm stop --timeout 5m prod:web01 prod:/DC0/vm/db01",
        },
        Example {
            what: "Restart the machines of a namespace that have a label",
            line: "hyper vm restart -n shop -l app=web",
        },
        Example {
            what: "Give a machine 4 processors and 8 GiB",
            line: "hyper vm resize prod:web01 --cpus 4 --memory 8Gi",
        },
        Example {
            what: "Move a machine to another host",
            line: "hyper vm migrate prod:web01 --to-node esx2.example.com",
        },
    ];
    type Args = args::VmArgs;
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
    hyper_common::tool::command::<Vm>()
}
