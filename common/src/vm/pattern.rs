//! The patterns of `--match`: which field is meant, and what its value must look like. Pure. What
//! fields there are is the user's of this: VMs in `filter.rs`, other records in
//! `output/matching.rs`.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// What a value must look like. Globs cover the whole value, with `*`, `?`, `[a-z]` and `{a,b}`;
/// regular expressions may match anywhere in it. Neither looks at upper and lower case.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `web*`
    Glob(GlobMatcher),
    /// `/^web[0-9]/`
    Regex(Regex),
}

impl Pattern {
    /// Reads `GLOB` or `/REGEX/` (on no field), `FIELD=GLOB`, `FIELD=/REGEX/` or `FIELD~REGEX`.
    ///
    /// # Errors
    /// `Usage` for a broken pattern.
    pub fn parse(text: &str) -> Result<(Option<&str>, Self)> {
        let word = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let (word, rest) = text.split_at(word.count());
        match rest.as_bytes().first() {
            Some(b'=') => Ok((Some(word), glob_or_regex(&rest[1..])?)),
            Some(b'~') => Ok((Some(word), Self::Regex(regex(&rest[1..])?))),
            _ => Ok((None, glob_or_regex(text)?)),
        }
    }

    /// Whether a value looks so.
    pub fn is_match(&self, value: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// The error for a field that there is not, with the nearest of those that there are.
pub fn unknown_field(word: &str, known: &[&str]) -> Error {
    let near = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
    let mut error = Error::usage(format!("--match knows no field {word:?}"));
    if let Some(name) = near.filter(|name| strsim::jaro_winkler(name, word) > 0.7) {
        error = error.with_hint(format!("did you mean {name}?"));
    }
    error.with_hint(format!("fields: {}", known.join(", ")))
}

fn glob_or_regex(text: &str) -> Result<Pattern> {
    if let Some(inner) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        return Ok(Pattern::Regex(regex(inner)?));
    }
    let glob = GlobBuilder::new(text).case_insensitive(true).literal_separator(false).build();
    let glob = glob.map_err(|error| {
        Error::usage(format!("--match cannot read the pattern {text:?}"))
            .with_source(error.kind().to_string())
    })?;
    Ok(Pattern::Glob(glob.compile_matcher()))
}

fn regex(text: &str) -> Result<Regex> {
    RegexBuilder::new(text).case_insensitive(true).build().map_err(|error| {
        // The library draws the place of the fault over several lines; the last says what it is.
        let words = error.to_string();
        let last = words.lines().next_back().unwrap_or_default().trim();
        let last = last.strip_prefix("error: ").unwrap_or(last).to_owned();
        Error::usage(format!("--match cannot read the regular expression {text:?}"))
            .with_source(last)
    })
}
