//! `hyper console`: the serial line and the screen of virtual machines.

mod args;
mod cast;
mod frame;
mod keys;
mod onlooker;
mod png;
mod reach;
mod record;
mod request;
mod rfb;
mod run;
mod screen;
mod script;
mod serial;
mod sessions;
mod share;
mod socket;
mod tabs;
mod terminal;
mod viewer;
mod web;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::{Context, Example, Tool};

/// The tool.
#[derive(Debug)]
pub struct Console;

impl Tool for Console {
    const NAME: &'static str = "hyper-console";
    const EXAMPLES: &'static [Example] = &[
        Example {
            what: "Sit down at the serial line of a machine; Ctrl-] leaves",
            line: "hyper console -n prod web01",
        },
        Example {
            what: "Log in from a script, within a minute",
            line: r"hyper console web01 --send '\r' --expect login: --send 'root\r' --expect '# ' --timeout 1m",
        },
        Example {
            what: "See what a machine wrote since it started, without taking the line from anybody",
            line: "hyper console web01 --log",
        },
        Example {
            what: "Let a VNC viewer on this machine see the screen",
            line: "hyper console vnc web01 --listen 127.0.0.1:5901",
        },
        Example {
            what: "Show the screen and the serial line in a browser",
            line: "hyper console vnc web01 --browser",
        },
        Example { what: "Show which consoles are open", line: "hyper console sessions" },
        Example {
            what: "Take a picture of the screen",
            line: "hyper console screenshot web01 --to web01.png",
        },
        Example { what: "Press keys", line: "hyper console send-key web01 ctrl-alt-delete" },
    ];
    type Args = args::ConsoleArgs;
    type Request = request::Request;

    fn references(args: &Self::Args) -> Vec<String> {
        args.reference().iter().map(|it| (*it).to_owned()).collect()
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
    hyper_common::tool::command::<Console>()
}
