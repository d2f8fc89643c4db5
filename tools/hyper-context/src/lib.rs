//! `hyper context`: the contexts of the configuration file, and whether they answer.

mod args;
mod password;
mod record;
mod request;
mod run;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct ContextTool;

impl Tool for ContextTool {
    const NAME: &'static str = "hyper-context";
    const EXAMPLES: &'static [Example] = &[
        Example { what: "Show all contexts", line: "hyper context list" },
        Example {
            what: "Give a folder of machines a name and make it the default",
            line: "hyper context add lab --provider local --path /srv/machines --use",
        },
        Example {
            what: "Add a vCenter, its password from a file that is not looked at again",
            line: "hyper context add prod --provider vsphere --url https://vc.example.com/sdk \
                   --user svc --password-fd 3 3<secret",
        },
        Example { what: "Go back to plain files", line: "hyper context use local" },
        Example {
            what: "See whether all contexts answer",
            line: "hyper context test --all-contexts",
        },
        Example { what: "Forget a context", line: "hyper context remove lab" },
    ];
    type Args = args::ContextArgs;
    type Request = request::Request;

    fn references(_: &Self::Args) -> Vec<String> {
        Vec::new()
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
    hyper_common::tool::command::<ContextTool>()
}
