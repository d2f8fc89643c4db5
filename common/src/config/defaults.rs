//! Defaults for flags: which may be set, and how they stack.

use std::collections::BTreeMap;

use serde_json::Value;

use super::file::{Flags, Mistake, meant};

/// Flags that destroy or weaken something. They have no environment form and no default in the
/// configuration: they must be typed.
pub const DESTRUCTIVE: [&str; 6] =
    ["overwrite", "force", "yes", "power-off", "allow-cold", "insecure"];

/// The long names of all flags of all tools, without the dashes, one to a line; written by
/// `xtask gen` from the tools' commands.
const KNOWN: &str = include_str!("flags.txt");

/// The long names of all flags that some tool has, without the dashes.
pub fn known_flags() -> impl Iterator<Item = &'static str> + Clone {
    KNOWN.lines().filter(|line| !line.is_empty())
}

/// Values for flags by name, each with the place in the file that it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagDefaults(BTreeMap<String, (Vec<String>, String)>);

impl FlagDefaults {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values for a flag (several for one that may be repeated), and where they stand, such
    /// as `contexts.lab.defaults.format`.
    pub fn get(&self, flag: &str) -> Option<(&[String], &str)> {
        self.0.get(flag).map(|(values, place)| (values.as_slice(), place.as_str()))
    }

    /// The same without one flag.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.0.remove(flag);
        self
    }

    /// Puts a section of the file above what is there.
    pub(super) fn add(&mut self, section: &str, flags: &Flags) {
        for (flag, value) in flags {
            if let Some(values) = words(&value.value) {
                self.0.insert(flag.clone(), (values, format!("{section}.{flag}")));
            }
        }
    }
}

/// Checks the names and the types of one section.
pub(super) fn check(flags: &Flags) -> Result<(), Mistake> {
    for (flag, value) in flags {
        let fail = |message, hint| Err(Mistake::at(value.referenced, message, hint));
        if DESTRUCTIVE.contains(&flag.as_str()) {
            return fail(format!("--{flag} cannot have a default: it must be typed"), None);
        }
        if !known_flags().any(|known| known == flag) {
            let hint = meant(flag, known_flags());
            return fail(format!("defaults: no tool has a flag --{flag}"), Some(hint));
        }
        if words(&value.value).is_none() {
            let message = format!("the default of --{flag} is no word, number, true or false");
            return fail(message, None);
        }
    }
    Ok(())
}

/// A scalar as one word, a list of scalars as several; nothing else is a flag's value.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(word).collect(),
        scalar => word(scalar).map(|word| vec![word]),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
