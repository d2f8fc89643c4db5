//! The value of `--progress`.

use std::str::FromStr;

/// How the progress of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressMode {
    /// Bars on a terminal. Elsewhere nothing for ten seconds, then a line every thirty, so that
    /// a short run in a script stays silent and a long one in a log shows that it lives. Nothing
    /// in a quiet run.
    #[default]
    Auto,
    /// Bars, one for each disk and one for all; lines where standard error is no terminal.
    Bar,
    /// A line at each change of phase and every five seconds for each disk.
    Lines,
    /// One JSON object to a line (`hyper.progress/v1`), every second and at each event.
    Json,
    /// Warnings and notes only.
    None,
}

impl ProgressMode {
    /// Every mode, in the order of the help text.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Bar, Self::Lines, Self::Json, Self::None];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bar => "bar",
            Self::Lines => "lines",
            Self::Json => "json",
            Self::None => "none",
        }
    }
}

impl std::fmt::Display for ProgressMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ProgressMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("not one of auto, bar, lines, json, none: {text:?}"))
    }
}
