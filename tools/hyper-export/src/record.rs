//! What `hyper export` prints: one record for each machine, as it ends.

use hyper_common::error::ErrorRecord;
use hyper_common::history::Outcome;
use hyper_common::output::{Cell, Column, Record};
use serde::Serialize;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Where it stands; `-` is standard output.
    pub path: String,
    /// What it is: `disk`, `package`, `ovf`, `mf`, `nvram`, `machine`, `domain`, `manifest`.
    pub role: &'static str,
    /// Image or package format, where it is one.
    pub format: Option<String>,
    /// The disk that it holds, where it is one.
    pub disk: Option<String>,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Checksum as `sha256:HEX`, where one was made.
    pub checksum: Option<String>,
    /// Whether it was read back and compared with its source.
    pub verified: bool,
}

/// What became of one machine.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// The machine's name, or what named it where it could not be opened.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// `succeeded`, `failed` or `interrupted`.
    pub outcome: Outcome,
    /// The format that was asked for.
    pub format: &'static str,
    /// Guest bytes of all disks.
    pub capacity_bytes: u64,
    /// Guest bytes that are neither holes nor zeros.
    pub data_bytes: u64,
    /// Bytes of all files.
    pub written_bytes: u64,
    /// Guest bytes that an earlier, interrupted run had done.
    pub reused_bytes: u64,
    /// Whether all disks were read back and compared.
    pub verified: bool,
    /// How long it took.
    pub seconds: f64,
    /// The files.
    pub artifacts: Vec<Artifact>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub error: Option<ErrorText>,
}

/// An error within a record.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ErrorText(pub serde_json::Value);

impl ErrorText {
    /// The record of an error.
    pub fn new(error: &hyper_common::error::Error) -> Self {
        Self(serde_json::to_value(ErrorRecord::new(error)).unwrap_or_default())
    }
}

impl Record for Exported {
    const SCHEMA: &'static str = "hyper.export/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("outcome", "OUTCOME").width(11),
        Column::text("format", "FORMAT").width(6),
        Column::number("capacity_bytes", "CAPACITY").width(10),
        Column::number("written_bytes", "WRITTEN").width(10),
        Column::text("verified", "VERIFIED").width(8),
        Column::text("context", "CONTEXT").wide(),
        Column::number("reused_bytes", "REUSED").wide(),
        Column::text("files", "FILES").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let files: Vec<_> = self.artifacts.iter().map(|file| file.path.as_str()).collect();
        vec![
            Cell::text(&self.vm),
            Cell::text(self.outcome.name()),
            Cell::text(self.format),
            Cell::Bytes(self.capacity_bytes),
            Cell::Bytes(self.written_bytes),
            Cell::Bool(self.verified),
            Cell::text(&self.context),
            Cell::Bytes(self.reused_bytes),
            Cell::text(files.join(" ")),
        ]
    }

    fn name(&self) -> String {
        self.vm.clone()
    }
}

/// What `--dry-run` prints: one record for each file that would be written.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedFile {
    /// The machine.
    pub vm: String,
    /// The disk, for a disk's file.
    pub disk: Option<String>,
    /// What would be read.
    pub source: String,
    /// What would be written.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Guest bytes.
    pub capacity_bytes: u64,
    /// How its bytes get there: `convert`, or `copy` where they pass through unchanged.
    pub method: &'static str,
}

impl Record for PlannedFile {
    const SCHEMA: &'static str = "hyper.export.plan/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM"),
        Column::text("disk", "DISK"),
        Column::text("path", "PATH"),
        Column::text("format", "FORMAT"),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::text("method", "METHOD"),
        Column::text("source", "SOURCE").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.vm),
            self.disk.clone().into(),
            Cell::text(&self.path),
            Cell::text(&self.format),
            Cell::Bytes(self.capacity_bytes),
            Cell::text(self.method),
            Cell::text(&self.source),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}
