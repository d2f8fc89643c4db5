//! A run as it is printed: `hyper.run/v1`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::entry::{ArtifactEntry, Counts, Failure, Outcome, Thing};
use crate::config::Login;
use crate::output::{Cell, Column, Record};

/// One run, put together from its lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// The id.
    pub id: String,
    /// The tool: `hyper-export`.
    pub tool: String,
    /// The version of the tool.
    pub version: String,
    /// How it ended, or that it is still running, or that it was lost.
    pub outcome: Outcome,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; nothing where it did not.
    pub ended: Option<Timestamp>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// The process.
    pub pid: u32,
    /// The machine that it ran on.
    pub host: String,
    /// What it read.
    pub sources: Vec<String>,
    /// Where it wrote.
    pub targets: Vec<String>,
    /// The typed request.
    pub request: Value,
    /// What it finished, in the order in which it did.
    pub artifacts: Vec<ArtifactEntry>,
    /// How it got into servers, in order.
    pub logins: Vec<Login>,
    /// What became of the machines or files it was about; nothing where it did not end.
    pub counts: Option<Counts>,
    /// Bytes that were read from sources.
    pub read_bytes: Option<u64>,
    /// Bytes that were written to targets.
    pub written_bytes: Option<u64>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// What it made and neither removed nor finished, so far as the journal knows.
    pub leftovers: Vec<Thing>,
}

impl Record for RunRecord {
    const SCHEMA: &'static str = "hyper.run/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("id", "ID").width(24),
        Column::text("tool", "TOOL"),
        Column::text("outcome", "OUTCOME"),
        Column::text("started", "STARTED").width(19),
        Column::number("seconds", "TIME"),
        Column::number("written_bytes", "WRITTEN"),
        Column::text("sources", "SOURCES").width(24),
        Column::text("targets", "TARGETS").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.id),
            Cell::text(&self.tool),
            Cell::text(self.outcome.name()),
            self.started.into(),
            self.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).into(),
            self.written_bytes.map(Cell::Bytes).into(),
            Cell::text(self.sources.join(", ")),
            Cell::text(self.targets.join(", ")),
            self.error.as_ref().map(|error| error.message.clone()).into(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}
