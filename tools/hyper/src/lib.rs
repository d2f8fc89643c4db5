//! `hyper`: finds the program `hyper-NAME` for `hyper NAME` and becomes it, so that exit status,
//! signals and streams are the tool's own. Also runs as the kubectl plugin `kubectl-hyper`.

mod alias;
mod candidates;
mod completion;
mod help;
mod list;
mod search;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use hyper_common::config::{Config, closest};
use hyper_common::error::{Error, Result};
use hyper_common::tool::complete::VARIABLE;
use hyper_common::tool::{ErrorForm, report};

pub use self::help::command;
use self::search::Search;

/// The words that `hyper` answers itself.
const BUILT_IN: [(&str, &str); 2] = [
    ("completion", "Print the completion script for bash, zsh or fish"),
    ("help", "Show the manual of a tool"),
];

/// The options of `hyper` itself.
const OPTIONS: [(&str, &str); 4] = [
    ("--exec-path", "Print the folder of the tools"),
    ("--help", "Print help"),
    ("--list", "Print all tools"),
    ("--version", "Print version"),
];

/// How the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Hyper,
    Kubectl,
}

/// The whole program.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(OsStr::as_encoded_bytes);
    let caller = match name {
        Some(name) if name.starts_with(b"kubectl-") => Caller::Kubectl,
        _ => Caller::Hyper,
    };
    let words: Vec<OsString> = words.collect();
    let done = match name {
        Some(b"kubectl_complete-hyper") => candidates::print(&words, Caller::Kubectl),
        _ if std::env::var_os(VARIABLE).is_some() => candidates::print(&words, caller),
        _ => dispatch(words, caller),
    };
    match done {
        Ok(status) => status,
        Err(error) => ExitCode::from(report("hyper", &error, ErrorForm::Human)),
    }
}

fn dispatch(words: Vec<OsString>, caller: Caller) -> Result<ExitCode> {
    let search = Search::from_environment();
    let Some((first, rest)) = words.split_first() else {
        return help::print_usage(caller);
    };
    let text = first.to_str().unwrap_or_default();
    match text {
        "-h" | "--help" => help::print(caller),
        "-V" | "--version" => print(&format!("hyper {}\n", env!("CARGO_PKG_VERSION"))),
        "--list" => list::print(&search),
        "--exec-path" => print(&format!("{}\n", search.own_folder()?.display())),
        "help" => help::show(rest, &search, caller),
        "completion" => completion::print_script(rest),
        option if option.starts_with('-') => Err(unknown_option(option)),
        _ => run(first, rest, &search, caller).map(|never| match never {}),
    }
}

/// Becomes the tool; comes back only with an error.
fn run(first: &OsStr, rest: &[OsString], search: &Search, caller: Caller) -> Result<Infallible> {
    if let Some(program) = search.find(first) {
        return become_tool(&program, first, rest, caller, &[]);
    }
    let config = Config::load(&Config::location(|name| std::env::var_os(name))?)?;
    if let Some(mut words) = alias::expand(&config, first)? {
        let tool = words.remove(0);
        words.extend(rest.iter().cloned());
        return match search.find(&tool) {
            Some(program) => become_tool(&program, &tool, &words, caller, &[]),
            None => Err(unknown_tool(&tool, search, &config)
                .context(format!("the alias {:?}", first.to_string_lossy()))),
        };
    }
    Err(unknown_tool(first, search, &config))
}

fn become_tool(
    program: &Path,
    name: &OsStr,
    words: &[OsString],
    caller: Caller,
    variables: &[(&str, &str)],
) -> Result<Infallible> {
    // The tool's help repeats how it was called; the name it is started under tells.
    let mut called = OsString::from(match caller {
        Caller::Hyper => "hyper-",
        Caller::Kubectl => "kubectl-hyper-",
    });
    called.push(name);
    let error =
        Command::new(program).arg0(called).args(words).envs(variables.iter().copied()).exec();
    Err(Error::io("start the tool", error).with_subject(program.display().to_string()))
}

fn unknown_tool(name: &OsStr, search: &Search, config: &Config) -> Error {
    let name = name.to_string_lossy();
    let tools = search.tools();
    let known = tools
        .iter()
        .map(|tool| tool.name.as_str())
        .chain(BUILT_IN.iter().map(|&(name, _)| name))
        .chain(config.aliases().map(|(name, _)| name));
    let error = Error::usage(format!("there is no tool {name:?}"));
    match closest(&name, known) {
        Some(close) => error.with_hint(format!("did you mean `hyper {close}`?")),
        None => error.with_hint("`hyper --list` shows all tools"),
    }
}

fn unknown_option(option: &str) -> Error {
    let error = Error::usage(format!("there is no option {option:?}"));
    match closest(option, OPTIONS.map(|(name, _)| name)) {
        Some(close) => error.with_hint(format!("did you mean {close}?")),
        None => error.with_hint("options of a tool stand behind its name: hyper NAME OPTION"),
    }
}

/// Prints to standard output; a reader that has gone away is no failure.
fn print(text: &str) -> Result<ExitCode> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("print", error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
