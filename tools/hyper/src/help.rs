//! Help: of `hyper` itself, and manuals of tools.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::tool::catalogue;

use super::search::Search;
use super::{BUILT_IN, Caller, become_tool, unknown_tool};

/// The command as help, man page and completions show it. Parsing is done by hand: what stands
/// behind a tool's name is the tool's alone.
pub fn command() -> Command {
    command_for(Caller::Hyper)
}

fn command_for(caller: Caller) -> Command {
    let name = match caller {
        Caller::Hyper => "hyper",
        Caller::Kubectl => "kubectl hyper",
    };
    let tools = catalogue::TOOLS.iter().map(|&(tool, summary)| {
        let short = tool.strip_prefix("hyper-").unwrap_or(tool);
        Command::new(short.to_owned()).about(summary)
    });
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
    };
    Command::new("hyper")
        .bin_name(name)
        .override_usage(format!("{name} NAME [ARGUMENTS]..."))
        .about(catalogue::HYPER)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommands(tools)
        .subcommands(BUILT_IN.iter().map(|&(name, summary)| built_in(name, summary)))
        .arg(flag("list", "Show the tools that are there"))
        .arg(flag("exec-path", "Print the folder that hyper itself is in"))
        .after_help(format!(
            "Examples:\n  Show what a tool can do:\n    {name} help export\n  \
             Show the machines below the current directory:\n    {name} vm list local:"
        ))
}

fn built_in(name: &'static str, summary: &'static str) -> Command {
    let command = Command::new(name).about(summary);
    match name {
        "completion" => command.arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(["bash", "zsh", "fish"])
                .help("Shell to print the script for"),
        ),
        _ => command.arg(
            Arg::new("words")
                .value_name("NAME")
                .num_args(0..)
                .help("Tool, and verb where it has them"),
        ),
    }
}

/// Prints the help that was asked for.
pub(super) fn print(caller: Caller) -> Result<ExitCode> {
    super::print(&command_for(caller).render_long_help().to_string())
}

/// Nothing was asked for: the help goes to standard error, as a mistake.
pub(super) fn print_usage(caller: Caller) -> Result<ExitCode> {
    use std::io::Write;
    let help = command_for(caller).render_help().to_string();
    // Nobody listening on standard error is no second failure.
    let _ = std::io::stderr().lock().write_all(help.as_bytes());
    Ok(ExitCode::from(hyper_common::error::ErrorKind::Usage.exit_status()))
}

/// `hyper help NAME [VERB]`: the man page where it is installed and there is a `man`, else the
/// tool's own help.
pub(super) fn show(words: &[OsString], search: &Search, caller: Caller) -> Result<ExitCode> {
    let Some((tool, verbs)) = words.split_first() else { return print(caller) };
    if BUILT_IN.iter().any(|(name, _)| tool == name) {
        return print(caller);
    }
    let Some(program) = search.find(tool) else {
        let config = Config::load(&Config::location(|name| std::env::var_os(name))?)?;
        return Err(unknown_tool(tool, search, &config));
    };
    if let (Some(page), Some(man)) = (page(tool, verbs, search), search.program("man")) {
        let error = std::process::Command::new(&man).arg(page).exec();
        return Err(Error::io("start man", error).with_subject(man.display().to_string()));
    }
    let mut rest = verbs.to_vec();
    rest.push("--help".into());
    become_tool(&program, tool, &rest, caller, &[]).map(|never| match never {})
}

/// The installed man page: in `share/man` beside the folder that `hyper` is in.
fn page(tool: &OsStr, verbs: &[OsString], search: &Search) -> Option<PathBuf> {
    let folder = search.own_folder().ok()?.parent()?.join("share/man/man1");
    let mut name = format!("hyper-{}", tool.to_str()?);
    for verb in verbs {
        name.push('-');
        name.push_str(verb.to_str()?);
    }
    Some(folder.join(format!("{name}.1"))).filter(|page| page.is_file())
}
