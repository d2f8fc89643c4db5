//! Flags that were not typed: their values from the environment and from the configuration.
//!
//! Both become defaults of the clap command, so a typed flag wins and they never conflict with
//! one. They are checked here, before clap sees them, so that a wrong one is reported by the
//! place it comes from.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::config::{DESTRUCTIVE, FlagDefaults};
use crate::error::{Error, ErrorKind, Result};

/// Looks up an environment variable.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// `HYPER_` and the flag in capitals: `--min-cpus` is `HYPER_MIN_CPUS`.
pub fn variable_of(flag: &str) -> String {
    format!("HYPER_{}", flag.replace('-', "_").to_ascii_uppercase())
}

/// Whether a flag may take its value from anywhere but the command line.
pub fn may_default(flag: &str) -> bool {
    !DESTRUCTIVE.contains(&flag) && !matches!(flag, "help" | "version")
}

/// Whether an argument may: beside its name, where it stands in the help counts.
fn may_take(arg: &Arg) -> bool {
    arg.get_help_heading() != Some(super::flags::CHOICE)
}

/// The command with values from the environment and from `defaults` as its defaults; the
/// environment wins.
///
/// # Errors
/// `Config`, naming the variable or the place in the file, for a value that the flag refuses.
pub fn apply(command: Command, variable: Variable<'_>, defaults: &FlagDefaults) -> Result<Command> {
    let mut failure = None;
    let command = walk(command, &mut |arg| match value_of(&arg, variable, defaults) {
        Ok(Some(values)) => arg.default_values(values).required(false),
        Ok(None) => arg,
        Err(error) => {
            failure.get_or_insert(error);
            arg
        }
    });
    failure.map_or(Ok(command), Err)
}

/// Every argument of the command and of its verbs.
pub fn walk(command: Command, change: &mut dyn FnMut(Arg) -> Arg) -> Command {
    let verbs: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut command = command.mut_args(&mut *change);
    for verb in verbs {
        command = command.mut_subcommand(verb, |verb| walk(verb, change));
    }
    command
}

/// The values for a flag from the environment or the configuration, checked.
fn value_of(
    arg: &Arg,
    variable: Variable<'_>,
    defaults: &FlagDefaults,
) -> Result<Option<Vec<String>>> {
    let flag = arg.get_long().filter(|flag| may_default(flag) && may_take(arg));
    let Some(flag) = flag else { return Ok(None) };
    let name = variable_of(flag);
    let (values, place) = match variable(&name).filter(|value| !value.is_empty()) {
        Some(value) => {
            let value = value.into_string().map_err(|_| {
                Error::new(ErrorKind::Config, "not valid UTF-8").with_subject(name.clone())
            })?;
            (vec![value], name)
        }
        None => match defaults.get(flag) {
            Some((values, place)) => (values.to_vec(), place.to_owned()),
            None => return Ok(None),
        },
    };
    let values = split(arg, values);
    let values = normal(arg, values);
    check(arg, flag, &values)
        .map_err(|reason| Error::new(ErrorKind::Config, reason).with_subject(place))?;
    Ok(Some(values))
}

fn split(arg: &Arg, values: Vec<String>) -> Vec<String> {
    match arg.get_value_delimiter() {
        Some(delimiter) => values
            .iter()
            .flat_map(|value| value.split(delimiter).map(|part| part.trim().to_owned()))
            .collect(),
        None => values,
    }
}

/// A switch takes the usual words for on and off.
fn normal(arg: &Arg, values: Vec<String>) -> Vec<String> {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return values;
    }
    let word = |value: String| match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "on" | "true" => "true".to_owned(),
        "0" | "no" | "off" | "false" => "false".to_owned(),
        _ => value,
    };
    values.into_iter().map(word).collect()
}

/// Lets the flag's own parser look at the values, in a command that has nothing else.
fn check(arg: &Arg, flag: &str, values: &[String]) -> std::result::Result<(), String> {
    let several = matches!(arg.get_action(), ArgAction::Append);
    if values.len() > 1 && !several {
        return Err(format!("--{flag} takes one value"));
    }
    if matches!(arg.get_action(), ArgAction::Count | ArgAction::SetTrue) {
        let fits = match arg.get_action() {
            ArgAction::Count => values.iter().all(|value| value.parse::<u8>().is_ok()),
            _ => values.iter().all(|value| matches!(value.as_str(), "true" | "false")),
        };
        let wanted =
            if matches!(arg.get_action(), ArgAction::Count) { "a number" } else { "true or false" };
        return if fits { Ok(()) } else { Err(format!("--{flag} takes {wanted} here")) };
    }
    let probe = Arg::new("probe")
        .long(flag.to_owned())
        .value_name(
            arg.get_value_names().and_then(|names| names.first()).cloned().unwrap_or_default(),
        )
        .value_parser(arg.get_value_parser().clone())
        .action(ArgAction::Append);
    let words = values.iter().map(|value| format!("--{flag}={value}"));
    let command = Command::new("probe").no_binary_name(true).arg(probe);
    command
        .try_get_matches_from(words)
        .map(drop)
        .map_err(|error| super::arguments::mistake(&error).message().to_owned())
}
