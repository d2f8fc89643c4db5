//! How an error reaches a person (one line and hints) or a program (one JSON object).

use serde::Serialize;

use super::{Error, ErrorKind};

/// The whole chain in one line: each level's own words, joined by `: `, a source that only
/// repeats the level above left out.
pub fn one_line(error: &Error) -> String {
    let mut line = error.to_string();
    let mut last = line.clone();
    let mut source = std::error::Error::source(error);
    while let Some(level) = source {
        let words = level.to_string();
        if !words.is_empty() && !last.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        last = words;
        source = level.source();
    }
    line.replace(['\n', '\r'], " ")
}

/// The final error as a machine reads it from stderr.
#[derive(Debug, Serialize)]
pub struct ErrorRecord<'a> {
    schema: &'static str,
    kind: ErrorKind,
    exit_status: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    hints: &'a [String],
}

impl<'a> ErrorRecord<'a> {
    /// The record of `error`.
    pub fn new(error: &'a Error) -> Self {
        Self {
            schema: "hyper.error/v1",
            kind: error.kind(),
            exit_status: error.kind().exit_status(),
            message: one_line(error),
            subject: error.subject(),
            hints: error.hints(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_says_its_own_words_once() {
        let io = std::io::Error::from_raw_os_error(28);
        let error = Error::io("write block 7", io).with_subject("a.qcow2").context("export web01");
        assert_eq!(
            one_line(&error),
            "export web01: a.qcow2: write block 7: No space left on device (os error 28)"
        );
        assert_eq!(error.kind().exit_status(), 1);
    }
}
