//! `hyper export`: machines out of where they are, into images and packages.
//!
//! [`request`] says what is wanted; [`run`] takes the machines one after another or several at
//! once; [`machine`] exports one; [`package`] writes OVF and OVA; [`beside`] writes what stands
//! beside the disks; [`record`] is what is printed; [`taken`] tells of names that are not free.

mod args;
mod beside;
mod disks;
mod machine;
mod ova_file;
mod package;
mod plan;
mod record;
mod reference;
mod request;
mod run;
mod taken;
mod tar;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

pub use crate::args::ExportArgs;
pub use crate::request::Request;

/// The tool.
#[derive(Debug)]
pub struct ExportTool;

impl Tool for ExportTool {
    const NAME: &'static str = "hyper-export";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Export an appliance to disks that start under KVM",
            line: "hyper export local:appliance.ova --to out/",
        },
        Example {
            what: "Make an OVA of a machine and read it back",
            line: "hyper export local:web01.vmx --format ova --to out/ --verify",
        },
        Example {
            what: "Send one disk through a pipe",
            line: "hyper export local:web01.ova --format raw --to - | ssh kvm1 'dd of=/dev/vg/web01'",
        },
        Example {
            what: "Take an OVA as it is downloaded",
            line: "curl -s https://example.com/web01.ova | hyper export local:- --to out/",
        },
        Example {
            what: "Export a machine of a cluster while it runs",
            line: "hyper export -n prod web01 --temp-snapshot --to out/",
        },
        Example {
            what: "Export all machines of a folder, four at once",
            line: "hyper vm list local:machines -o ndjson | hyper export - --jobs 4 --to out/",
        },
    ];
    type Args = ExportArgs;
    type Request = Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.machines.iter().filter(|reference| *reference != "-").cloned().collect()
    }

    fn request(args: Self::Args, config: &Config) -> Result<Self::Request> {
        Request::new(args, config)
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        run::run(request, cx).await
    }
}

/// The tool's command line, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<ExportTool>()
}
