//! What could stand at the place of the last word behind `hyper`, as shells ask for it
//! (`HYPER_COMPLETE`), and kubectl (1.26 and later), which runs `kubectl_complete-hyper` with the
//! words behind `kubectl hyper`: that is `hyper` under another name.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::catalogue;
use hyper_common::tool::complete::{self, Candidate};

use super::completion::SHELLS;
use super::search::Search;
use super::{BUILT_IN, Caller, OPTIONS, alias, become_tool};

/// Prints what could stand at the place of the last word, or becomes the tool that knows.
///
/// # Errors
/// Those of starting the tool, and of a configuration that cannot be read where an alias is asked
/// for.
pub fn print(words: &[OsString], caller: Caller) -> Result<ExitCode> {
    let search = Search::from_environment();
    let config = || Config::load(&Config::location(|name| std::env::var_os(name))?);
    let Some((first, rest)) = words.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        let start = words.first().cloned().unwrap_or_default();
        if start.to_string_lossy().starts_with('-') {
            let own = OPTIONS.map(|(name, help)| (name.to_owned(), Some(help.to_owned())));
            return show(own.into(), &start);
        }
        return show(tools(&search, config().ok().as_ref()), &start);
    };
    let last = rest.last().cloned().unwrap_or_default();
    match first.to_str() {
        Some("help") if rest.len() == 1 => return show(tools(&search, None), &last),
        Some("completion") => {
            let shells = SHELLS.map(|shell| (shell.to_owned(), None));
            return show(shells.into(), if rest.len() == 1 { &last } else { OsStr::new("-") });
        }
        _ => {}
    }
    if let Some(program) = search.find(first) {
        return ask(&program, first, rest, caller);
    }
    let Some(mut words) = alias::expand(&config()?, first)? else {
        return show(Vec::new(), &last);
    };
    let tool = words.remove(0);
    words.extend(rest.iter().cloned());
    match search.find(&tool) {
        Some(program) => ask(&program, &tool, &words, caller),
        None => show(Vec::new(), &last),
    }
}

/// Becomes the tool, which is to complete and nothing else.
fn ask(program: &Path, tool: &OsStr, words: &[OsString], caller: Caller) -> Result<ExitCode> {
    let asked = [(complete::VARIABLE, "1")];
    become_tool(program, tool, words, caller, &asked).map(|never| match never {})
}

/// The words that can stand behind `hyper`.
fn tools(search: &Search, config: Option<&Config>) -> Vec<Candidate> {
    let own = BUILT_IN.iter().map(|&(name, summary)| (name.to_owned(), Some(summary.to_owned())));
    let found = search.tools().into_iter().map(|tool| {
        let summary = catalogue::summary(&format!("hyper-{}", tool.name));
        (tool.name, summary.map(str::to_owned))
    });
    let aliases = config.into_iter().flat_map(Config::aliases);
    let aliases = aliases.map(|(name, text)| (name.to_owned(), Some(format!("hyper {text}"))));
    let mut all: Vec<_> = own.chain(found).chain(aliases).collect();
    all.sort();
    all
}

/// Prints those that start with `start`.
fn show(mut candidates: Vec<Candidate>, start: &OsStr) -> Result<ExitCode> {
    let start = start.to_string_lossy();
    candidates.retain(|(value, _)| value.starts_with(&*start));
    super::print(&complete::lines(&candidates))
}
