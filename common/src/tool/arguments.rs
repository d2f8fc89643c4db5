//! From the words on the command line to matches: help first, then the layers of values.

use std::ffi::OsString;

use clap::{ArgMatches, FromArgMatches};

use super::command::{Caller, command_for};
use super::{Tool, layers};
use crate::config::{Config, FlagDefaults, Scope};
use crate::error::{Error, Result};

/// What became of the arguments.
pub enum Parsed {
    /// They are understood; with the configuration that was read for them.
    Run(Box<(ArgMatches, Config)>),
    /// Help, version, or a mistake: clap's own words.
    Words(clap::Error),
}

/// Understands `argv`.
///
/// The configuration is read between two passes: the first one shows help whatever state the
/// configuration is in, and tells which context's defaults the second one takes.
pub fn parse<T: Tool>(argv: &[OsString]) -> Result<Parsed> {
    let caller = Caller::of(argv.first());
    let fresh = || command_for::<T>(caller);
    let sight = Sight::new();
    let argv = &sight.argv(argv, fresh);
    let layered = layers::apply(fresh(), &|name| sight.variable(name), &FlagDefaults::default());
    // Help must be had even where the environment is wrong.
    let (command, wrong) = layered.map_or_else(|error| (fresh(), Some(error)), |it| (it, None));
    let first = match command.try_get_matches_from(argv) {
        Err(error) if !error.use_stderr() => return Ok(Parsed::Words(error)),
        other => other,
    };
    wrong.map_or(Ok(()), Err)?;
    let variable = |name: &str| std::env::var_os(name);
    let config = Config::load(&Config::location(variable)?)?.with_environment(variable);
    let scope = first.as_ref().map(|matches| scope_of(matches, caller)).unwrap_or_default();
    let config = config.with_scope(scope);
    let context = first.as_ref().ok().and_then(|matches| context_of::<T>(matches, &config));
    let defaults = sight.defaults(config.flag_defaults(context.as_deref()));
    let matches = if defaults.is_empty() {
        first
    } else {
        let command = layers::apply(fresh(), &|name| sight.variable(name), &defaults)?;
        command.try_get_matches_from(argv)
    };
    Ok(match matches {
        Ok(matches) => {
            let scope = scope_of(&matches, caller);
            Parsed::Run(Box::new((matches, config.with_scope(scope))))
        }
        Err(error) => Parsed::Words(error),
    })
}

/// What of the arguments, the environment and the configuration is seen: all of it, except that
/// a debug build overlooks the flag that is neutralised.
struct Sight {
    #[cfg(debug_assertions)]
    neutral: Option<String>,
}

#[cfg(not(debug_assertions))]
impl Sight {
    fn new() -> Self {
        Self {}
    }

    fn argv(&self, argv: &[OsString], _: impl Fn() -> clap::Command) -> Vec<OsString> {
        argv.to_vec()
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn defaults(&self, defaults: FlagDefaults) -> FlagDefaults {
        defaults
    }
}

#[cfg(debug_assertions)]
impl Sight {
    fn new() -> Self {
        let flag = std::env::var(super::neutralise::VARIABLE).ok();
        Self { neutral: flag.map(|flag| flag.trim_start_matches('-').to_owned()) }
    }

    fn argv(&self, argv: &[OsString], command: impl Fn() -> clap::Command) -> Vec<OsString> {
        match &self.neutral {
            Some(flag) => super::neutralise::without(argv.to_vec(), &command(), flag),
            None => argv.to_vec(),
        }
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let overlooked =
            self.neutral.as_deref().is_some_and(|flag| layers::variable_of(flag) == name);
        if overlooked { None } else { std::env::var_os(name) }
    }

    fn defaults(&self, defaults: FlagDefaults) -> FlagDefaults {
        match &self.neutral {
            Some(flag) => defaults.without(flag),
            None => defaults,
        }
    }
}

/// Where the flags say to look in clusters.
pub fn scope_of(matches: &ArgMatches, caller: Caller) -> Scope {
    let leaf = leaf(matches);
    let one = |id: &str| leaf.try_get_one::<bool>(id).ok().flatten() == Some(&true);
    Scope {
        kubeconfig: leaf.try_get_one("kubeconfig").ok().flatten().cloned(),
        namespace: leaf.try_get_one("namespace").ok().flatten().cloned(),
        all_namespaces: one("all_namespaces"),
        plugin: caller == Caller::Kubectl,
    }
}

/// The one context that the arguments mean, if it is one. A tool without `--context` has none.
fn context_of<T: Tool>(matches: &ArgMatches, config: &Config) -> Option<String> {
    let leaf = leaf(matches);
    let named: Vec<String> =
        leaf.try_get_many("context").ok()?.unwrap_or_default().cloned().collect();
    if leaf.try_get_one::<bool>("all_contexts").ok().flatten() == Some(&true) && named.is_empty() {
        return None;
    }
    let args = T::Args::from_arg_matches(matches).ok()?;
    let mut bare = named.is_empty();
    let mut meant = named;
    let references = T::references(&args);
    for reference in &references {
        meant.extend(config.split_reference(reference).0.map(str::to_owned));
    }
    // The current context is meant by what names none: no reference at all, or a bare one.
    bare &=
        references.is_empty() || references.iter().any(|it| config.split_reference(it).0.is_none());
    if bare {
        meant.push(config.current_context().to_owned());
    }
    meant.sort();
    meant.dedup();
    (meant.len() == 1).then(|| meant.pop()).flatten()
}

/// Whether something of the arguments is about the current context, of a tool that takes others.
pub fn names_no_context<T: Tool>(matches: &ArgMatches, config: &Config) -> bool {
    let leaf = leaf(matches);
    let all = leaf.try_get_one::<bool>("all_contexts").ok().flatten() == Some(&true);
    if all || !matches!(leaf.try_get_many::<String>("context"), Ok(None)) {
        return false;
    }
    let Ok(args) = T::Args::from_arg_matches(matches) else { return false };
    let references = T::references(&args);
    references.is_empty() || references.iter().any(|it| config.split_reference(it).0.is_none())
}

/// The matches of the verb, or of the tool where it has none.
pub fn leaf(matches: &ArgMatches) -> &ArgMatches {
    let mut leaf = matches;
    while let Some((_, verb)) = leaf.subcommand() {
        leaf = verb;
    }
    leaf
}

/// A mistake in the arguments as an error: clap's first paragraph in one line, its tips and the
/// usage as hints.
pub fn mistake(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let mut paragraphs =
        text.split("\n\n").map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let mut mistake = Error::usage(first.trim_start_matches("error: "));
    for paragraph in paragraphs {
        if let Some(tip) = paragraph.strip_prefix("tip: ") {
            mistake = mistake.with_hint(tip);
        } else if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            mistake = mistake.with_hint(format!("usage: {usage}"));
        }
    }
    mistake
}
