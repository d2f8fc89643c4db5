//! Aliases of the configuration: a word that stands for a tool and its first arguments.

use std::ffi::{OsStr, OsString};

use hyper_common::config::Config;
use hyper_common::error::{Error, ErrorKind, Result};

/// The words that `name` stands for, the tool's name first; `None` when it is no alias. Tools
/// are looked for before aliases are, so an alias never hides one.
///
/// # Errors
/// `Config` for an alias without words or with a quote that is not closed.
pub fn expand(config: &Config, name: &OsStr) -> Result<Option<Vec<OsString>>> {
    let Some((alias, text)) = config.aliases().find(|(alias, _)| *alias == name) else {
        return Ok(None);
    };
    let wrong = |message: &str| {
        Error::new(ErrorKind::Config, message.to_owned())
            .with_subject(format!("{}: aliases.{alias}", config.path().display()))
    };
    let words = split(text).ok_or_else(|| wrong("a quote is not closed"))?;
    if words.is_empty() {
        return Err(wrong("it stands for no words"));
    }
    Ok(Some(words.into_iter().map(OsString::from).collect()))
}

/// Splits at blanks; quotes of both kinds hold words together and have no other meaning. No
/// shell is ever asked.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_quotes() {
        assert_eq!(split("vm list").unwrap(), ["vm", "list"]);
        assert_eq!(
            split(" vm  list --match 'a b' x\"\"y \"\" ").unwrap(),
            ["vm", "list", "--match", "a b", "xy", ""]
        );
        assert_eq!(split("vm 'list"), None);
    }
}
