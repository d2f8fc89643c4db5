//! In debug builds only: `HYPER_NEUTRALISE=--flag` makes the frame act as if that flag did not
//! exist, whether it was typed or comes from the environment or the configuration.
//!
//! Every flag has a test that must fail when the flag does nothing. This is how that is checked:
//! the test is run with the flag neutralised, and has to fail. Release builds do not have it.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// The variable that names the flag, with its dashes.
pub const VARIABLE: &str = "HYPER_NEUTRALISE";

/// The flag to take out of `argv`, by all its spellings.
struct Target {
    long: String,
    short: Option<char>,
    takes_value: bool,
    equals_only: bool,
    /// Short flags that take no value, which may stand in front of it in a cluster.
    switches: BTreeSet<char>,
}

/// `argv` without the flag `name` (such as `--format`) and its values.
pub fn without(argv: Vec<OsString>, command: &Command, name: &str) -> Vec<OsString> {
    let Some(target) = find(command, name.trim_start_matches('-')) else { return argv };
    let mut kept = Vec::with_capacity(argv.len());
    let mut words = argv.into_iter();
    kept.extend(words.next());
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word);
            kept.extend(words);
            break;
        }
        match target.strip(&word) {
            Strip::Keep => kept.push(word),
            Strip::Word(rest) => kept.extend(rest),
            Strip::WordAndNext(rest) => {
                kept.extend(rest);
                words.next();
            }
        }
    }
    kept
}

enum Strip {
    Keep,
    /// Drop the word; what is left of a cluster stays.
    Word(Option<OsString>),
    /// Drop the word and the value in the word after it.
    WordAndNext(Option<OsString>),
}

impl Target {
    fn strip(&self, word: &OsString) -> Strip {
        let Some(text) = word.to_str() else { return Strip::Keep };
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, false), |(name, _)| (name, true));
            return match name == self.long {
                false => Strip::Keep,
                true if self.takes_value && !value && !self.equals_only => Strip::WordAndNext(None),
                true => Strip::Word(None),
            };
        }
        match (text.strip_prefix('-'), self.short) {
            (Some(cluster), Some(short)) if !cluster.is_empty() => {
                self.strip_cluster(cluster, short)
            }
            _ => Strip::Keep,
        }
    }

    fn strip_cluster(&self, cluster: &str, short: char) -> Strip {
        let mut rest = "-".to_owned();
        let mut found = false;
        let mut letters = cluster.chars();
        while let Some(letter) = letters.next() {
            if letter == short {
                found = true;
                if self.takes_value {
                    let kept = (rest.len() > 1).then(|| rest.into());
                    let alone = letters.as_str().is_empty();
                    return if alone { Strip::WordAndNext(kept) } else { Strip::Word(kept) };
                }
                continue;
            }
            rest.push(letter);
            if !self.switches.contains(&letter) {
                rest.push_str(letters.as_str());
                break;
            }
        }
        match found {
            false => Strip::Keep,
            true => Strip::Word((rest.len() > 1).then(|| rest.into())),
        }
    }
}

/// Looks for the flag in the command and its verbs.
fn find(command: &Command, long: &str) -> Option<Target> {
    let mut args = Vec::new();
    collect(command, &mut args);
    let switches = args
        .iter()
        .filter(|arg| !takes_value(arg))
        .filter_map(|arg| arg.get_short())
        .chain(['h', 'V'])
        .collect();
    let arg = args.iter().find(|arg| arg.get_long() == Some(long))?;
    Some(Target {
        long: long.to_owned(),
        short: arg.get_short(),
        takes_value: takes_value(arg),
        equals_only: arg.is_require_equals_set(),
        switches,
    })
}

fn collect<'c>(command: &'c Command, args: &mut Vec<&'c Arg>) {
    args.extend(command.get_arguments());
    command.get_subcommands().for_each(|verb| collect(verb, args));
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}
