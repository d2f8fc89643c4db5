//! Which runs a list shows.

use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};

use super::entry::Outcome;
use super::record::RunRecord;
use crate::error::{Error, Result};

/// Conditions on runs, all of which must hold. The default holds for every run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunFilter {
    /// Begun at or after this moment.
    pub since: Option<Timestamp>,
    /// Begun before this moment.
    pub until: Option<Timestamp>,
    /// Of one of these tools, where any are given; `export` means `hyper-export` too.
    pub tools: Vec<String>,
    /// With one of these outcomes, where any are given.
    pub outcomes: Vec<Outcome>,
    /// Matching all of these.
    pub matches: Vec<RunMatch>,
}

impl RunFilter {
    /// Whether `run` passes.
    pub fn accepts(&self, run: &RunRecord) -> bool {
        self.since.is_none_or(|since| run.started >= since)
            && self.until.is_none_or(|until| run.started < until)
            && (self.tools.is_empty() || self.tools.iter().any(|tool| is_tool(&run.tool, tool)))
            && (self.outcomes.is_empty() || self.outcomes.contains(&run.outcome))
            && self.matches.iter().all(|pattern| pattern.accepts(run))
    }
}

fn is_tool(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_prefix("hyper-") == Some(wanted)
}

/// One `--match`, on sources, targets and artifacts: `GLOB` covers a whole one or the part of it
/// after the last `/` or `:`, `/REGEX/` may match anywhere. Neither looks at upper and lower case.
#[derive(Debug, Clone)]
pub struct RunMatch {
    text: String,
    pattern: Pattern,
}

#[derive(Debug, Clone)]
enum Pattern {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl RunMatch {
    /// Parses one `--match` value.
    ///
    /// # Errors
    /// `Usage` for a broken pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let pattern = match inner {
            Some(regex) => RegexBuilder::new(regex)
                .case_insensitive(true)
                .build()
                .map(Pattern::Regex)
                .map_err(|e| broken(text, &e.to_string()))?,
            None => GlobBuilder::new(text)
                .case_insensitive(true)
                .build()
                .map(|glob| Pattern::Glob(glob.compile_matcher()))
                .map_err(|e| broken(text, &e.kind().to_string()))?,
        };
        Ok(Self { text: text.to_owned(), pattern })
    }

    fn accepts(&self, run: &RunRecord) -> bool {
        let artifacts = run.artifacts.iter().map(|artifact| &artifact.path);
        run.sources.iter().chain(&run.targets).chain(artifacts).any(|text| match &self.pattern {
            Pattern::Glob(glob) => glob.is_match(text) || glob.is_match(last_part(text)),
            Pattern::Regex(regex) => regex.is_match(text),
        })
    }
}

/// As it was written.
impl Serialize for RunMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl std::str::FromStr for RunMatch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn last_part(text: &str) -> &str {
    text.rsplit(['/', ':']).next().unwrap_or(text)
}

fn broken(text: &str, why: &str) -> Error {
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Error::usage(format!("the pattern {text:?} is broken: {why}"))
}
