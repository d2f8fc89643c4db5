//! The value of `--progress`.

use std::str::FromStr;

use super::lines::Pace;

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

/// What a mode comes to in a given place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Bars,
    Lines(Pace),
    Json,
}

impl ProgressMode {
    /// What is shown in a run that is `quiet` or not, on a `terminal` or elsewhere.
    pub(super) fn shown(self, quiet: bool, terminal: bool) -> Shown {
        match self {
            Self::None => Shown::Lines(Pace::NEVER),
            Self::Auto if quiet => Shown::Lines(Pace::NEVER),
            Self::Auto | Self::Bar if terminal => Shown::Bars,
            Self::Auto => Shown::Lines(Pace::UNASKED),
            Self::Bar | Self::Lines => Shown::Lines(Pace::ASKED),
            Self::Json => Shown::Json,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_follows_from_mode_place_and_quiet() {
        use ProgressMode::{Auto, Bar, Json, Lines, None};
        let never = Shown::Lines(Pace::NEVER);
        let asked = Shown::Lines(Pace::ASKED);
        for (mode, loud, loud_elsewhere, quiet) in [
            (Auto, Shown::Bars, Shown::Lines(Pace::UNASKED), never),
            (Bar, Shown::Bars, asked, Shown::Bars),
            (Lines, asked, asked, asked),
            (Json, Shown::Json, Shown::Json, Shown::Json),
            (None, never, never, never),
        ] {
            assert_eq!(mode.shown(false, true), loud, "{mode}");
            assert_eq!(mode.shown(false, false), loud_elsewhere, "{mode}");
            assert_eq!(mode.shown(true, true), quiet, "{mode}");
            assert_eq!(mode.name().parse::<ProgressMode>().unwrap(), mode);
        }
        "fast".parse::<ProgressMode>().unwrap_err();
    }
}
