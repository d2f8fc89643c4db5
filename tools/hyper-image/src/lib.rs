//! `hyper image`: disk images as files and pipes. Each verb has a file; what they share is opening
//! ([`open`]) and the records they print ([`record`]).

mod args;
mod compare;
mod convert;
mod inspect;
mod open;
mod record;
mod verify;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};
use serde::Serialize;

pub use crate::args::ImageArgs;
use crate::args::Verb;

/// The tool.
#[derive(Debug)]
pub struct ImageTool;

/// What it was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Write an image as another.
    Convert(Box<convert::Request>),
    /// Say what an image is.
    Inspect(inspect::Request),
    /// Check an image.
    Verify(verify::Request),
    /// Compare two images by content.
    Compare(compare::Request),
}

impl Tool for ImageTool {
    const NAME: &'static str = "hyper-image";
    const EXAMPLES: &'static [Example] = &[
        Example { what: "Convert a disk", line: "hyper image convert disk.vmdk disk.qcow2" },
        Example {
            what: "Convert to compressed clusters and read them back",
            line: "hyper image convert disk.raw disk.qcow2 --compress zstd --verify",
        },
        Example {
            what: "Convert what a server sends",
            line: "curl -s https://example.com/a.vmdk | hyper image convert --from-format vmdk - a.raw",
        },
        Example { what: "Check a disk", line: "hyper image verify disk.qcow2" },
        Example {
            what: "See whether two disks hold the same",
            line: "hyper image compare disk.vmdk disk.qcow2",
        },
    ];
    type Args = ImageArgs;
    type Request = Request;

    fn references(_: &Self::Args) -> Vec<String> {
        Vec::new()
    }

    fn request(args: Self::Args, _: &Config) -> Result<Self::Request> {
        Ok(match args.verb {
            Verb::Convert(args) => Request::Convert(Box::new(convert::Request::new(*args)?)),
            Verb::Inspect(args) => Request::Inspect(args.into()),
            Verb::Verify(args) => Request::Verify(args.into()),
            Verb::Compare(args) => Request::Compare(args.into()),
        })
    }

    async fn run(request: Self::Request, cx: &mut Context) -> Result<()> {
        match request {
            Request::Convert(request) => convert::run(*request, cx).await,
            Request::Inspect(request) => inspect::run(request, cx).await,
            Request::Verify(request) => verify::run(request, cx).await,
            Request::Compare(request) => compare::run(request, cx).await,
        }
    }
}

/// The tool's command line, for man pages and completions.
pub fn command() -> clap::Command {
    hyper_common::tool::command::<ImageTool>()
}
