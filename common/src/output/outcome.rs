//! What came of something that was to be made, changed or removed, as records tell it.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was so already.
    Already,
    /// It was there, made of the same source.
    Exists,
    /// It would be done.
    Planned,
    /// It was not begun, because another failed or could not be.
    Skipped,
    /// It was made and has been removed, because another failed.
    RolledBack,
    /// It failed.
    Failed,
}

impl Outcome {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Already => "already",
            Self::Exists => "exists",
            Self::Planned => "planned",
            Self::Skipped => "skipped",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
        }
    }
}

/// A span as records tell it, for serde: in seconds, with fractions.
///
/// # Errors
/// Those of the serializer.
pub fn seconds<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    span.map(|span| span.as_secs_f64()).serialize(to)
}
