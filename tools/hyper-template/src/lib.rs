//! `hyper template`: what virtual machines are made from again and again.

mod args;
mod make;
mod record;
mod request;
mod run;
mod show;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Template;

impl Tool for Template {
    const NAME: &'static str = "hyper-template";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Show the templates of a namespace, or of the whole cluster",
            line: "hyper template list -n images",
        },
        Example {
            what: "Show the sizes that a cluster offers",
            line: "hyper template list --kind instancetype",
        },
        Example {
            what: "Make a template of a machine that is off",
            line: "hyper template create debian --from prod:golden",
        },
        Example {
            what: "Make a machine from it, switch it on and wait for its guest",
            line: "hyper template deploy debian web01 --power-on --wait",
        },
        Example {
            what: "Make two with another size",
            line: "hyper template deploy images/debian web02 web03 -n shop --instancetype u1.large",
        },
        Example {
            what: "Turn a vSphere machine itself into a template, and deploy it into a pool",
            line: "hyper template create golden --from prod:web01 --convert",
        },
        Example {
            what: "Show what would be removed",
            line: "hyper template delete debian --dry-run",
        },
    ];
    type Args = args::TemplateArgs;
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
    hyper_common::tool::command::<Template>()
}
