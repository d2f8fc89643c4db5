//! `hyper sim`: servers that act like platforms, for trying hyper and for testing what speaks to
//! them.

mod args;
mod body;
mod guest;
mod kubevirt;
mod record;
mod request;
mod rule;
mod run;
mod serve;
mod tls;
mod vsphere;
mod world;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Sim;

impl Tool for Sim {
    const NAME: &'static str = "hyper-sim";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Simulate a vCenter with three small machines, and print how to reach it",
            line: "hyper sim vsphere",
        },
        Example {
            what: "Simulate an ESXi host whose machine web01 has two real disks",
            line: "hyper sim vsphere --esx --vm web01=system.qcow2,data.raw",
        },
        Example {
            what: "Simulate KubeVirt with a machine that runs and one with a real disk",
            line: "hyper sim kubevirt --vm web01 --running web01 --vm prod/db01=system.qcow2",
        },
        Example {
            what: "Break the first download of disk-0 after 1 MiB, and refuse the next one",
            line: "hyper sim vsphere --fault op=nfc,object=disk-0,max=1,cut=1048576 \
                   --fault op=nfc,object=disk-0,skip=1,max=1,status=503,retry-after=2",
        },
    ];
    type Args = args::SimArgs;
    type Request = request::Request;

    fn references(_: &Self::Args) -> Vec<String> {
        Vec::new()
    }

    fn request(args: Self::Args, _: &Config) -> Result<Self::Request> {
        request::Request::new(args)
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        run::run(request, cx).await
    }
}

/// The command, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<Sim>()
}
