//! What `hyper clone` prints.

use std::time::Duration;

use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Outcome, Record, seconds};
use hyper_common::vm::VmId;
use serde::Serialize;

/// What came of a clone.
#[derive(Debug, Clone, Serialize)]
pub struct CloneRow {
    /// What it is made of.
    pub source_vm: String,
    /// Its name.
    pub target_name: String,
    /// The context of both.
    pub context: String,
    /// What its provider calls it, where it is there.
    pub id: Option<VmId>,
    /// What came of it.
    pub outcome: Outcome,
    /// What else there is to know.
    pub note: Option<String>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Option<Duration>,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The same in words.
    pub error: Option<String>,
}

impl CloneRow {
    /// The row of something that failed.
    #[must_use]
    pub fn failed(self, error: &Error) -> Self {
        let words = Some(one_line(error));
        Self { outcome: Outcome::Failed, error_kind: Some(error.kind()), error: words, ..self }
    }
}

impl Record for CloneRow {
    const SCHEMA: &'static str = "hyper.clone/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("source_vm", "SOURCE").width(24),
        Column::text("target_name", "TARGET").width(24),
        Column::text("outcome", "OUTCOME").width(11),
        Column::text("seconds", "TIME").width(8),
        Column::text("context", "CONTEXT").width(12),
        Column::text("note", "NOTE").width(40),
        Column::text("id", "ID").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.source_vm),
            Cell::text(&self.target_name),
            self.outcome.name().into(),
            self.duration.into(),
            Cell::text(&self.context),
            self.note.clone().into(),
            self.id.as_ref().map(ToString::to_string).into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        match &self.id {
            Some(id) => format!("{}:@{id}", self.context),
            None => format!("{}:{}", self.context, self.target_name),
        }
    }
}
