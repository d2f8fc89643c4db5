//! What `hyper snapshot` prints.

use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Outcome, Record};
use hyper_common::provider::Snapshot;
use hyper_common::vm::VmId;
use serde::Serialize;

/// A snapshot of a machine.
#[derive(Debug, Serialize)]
pub struct SnapshotRow {
    /// The machine's name.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// What its provider calls it.
    pub vm_id: VmId,
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl SnapshotRow {
    /// The cells; `name` is how the snapshot is called in them.
    fn cells_called(&self, name: String) -> Vec<Cell> {
        let Snapshot { status, current, memory, quiesced, .. } = &self.snapshot;
        let it = &self.snapshot;
        vec![
            Cell::text(&self.vm),
            Cell::text(name),
            it.created.into(),
            it.size_bytes.map_or(Cell::Empty, Cell::Bytes),
            status.name().into(),
            (*current).into(),
            (*quiesced).into(),
            it.description.clone().into(),
            (*memory).into(),
            it.capacity_bytes.map_or(Cell::Empty, Cell::Bytes),
            it.indications.join(", ").into(),
            Cell::text(&self.context),
            Cell::text(&it.id),
            it.parent.clone().into(),
            it.error.clone().into(),
        ]
    }
}

const SNAPSHOT_COLUMNS: &[Column] = &[
    Column::text("vm", "VM"),
    Column::text("name", "SNAPSHOT"),
    Column::text("created", "CREATED"),
    Column::number("size_bytes", "SIZE"),
    Column::text("status", "STATUS"),
    Column::text("current", "CURRENT"),
    Column::text("quiesced", "QUIESCED"),
    Column::text("description", "DESCRIPTION"),
    Column::text("memory", "MEMORY").wide(),
    Column::number("capacity_bytes", "CAPACITY").wide(),
    Column::text("indications", "INDICATIONS").wide(),
    Column::text("context", "CONTEXT").wide(),
    Column::text("id", "ID").wide(),
    Column::text("parent", "PARENT").wide(),
    Column::text("error", "ERROR").wide(),
];

impl Record for SnapshotRow {
    const SCHEMA: &'static str = "hyper.snapshot/v1";
    const COLUMNS: &'static [Column] = SNAPSHOT_COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        self.cells_called(self.snapshot.name.clone())
    }

    fn name(&self) -> String {
        format!("@{}", self.snapshot.id)
    }
}

/// The same in a table for people, set in by what it was made from.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct TreeRow(pub SnapshotRow);

impl Record for TreeRow {
    const SCHEMA: &'static str = SnapshotRow::SCHEMA;
    const COLUMNS: &'static [Column] = SNAPSHOT_COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        let Snapshot { name, depth, .. } = &self.0.snapshot;
        // A chain of thousands must not make a table of millions of blanks.
        let set_in = match (*depth).min(30) {
            0 => String::new(),
            depth => format!("{}└ ", "  ".repeat(depth as usize - 1)),
        };
        self.0.cells_called(format!("{set_in}{name}"))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

/// What came of a change of a machine or of one of its snapshots.
#[derive(Debug, Serialize)]
pub struct ActionRow {
    /// The machine's name.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// What its provider calls it, where it was found.
    pub vm_id: Option<VmId>,
    /// The verb.
    pub action: &'static str,
    /// The snapshot's name, where the change is about one.
    pub snapshot: Option<String>,
    /// What its provider calls it.
    pub snapshot_id: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// What else there is to know.
    pub note: Option<String>,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The same in words.
    pub error: Option<String>,
}

impl ActionRow {
    /// Puts in what failed.
    #[must_use]
    pub fn failed(self, error: &Error) -> Self {
        let words = Some(one_line(error));
        Self { outcome: Outcome::Failed, error_kind: Some(error.kind()), error: words, ..self }
    }
}

impl Record for ActionRow {
    const SCHEMA: &'static str = "hyper.snapshot_action/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("action", "ACTION").width(11),
        Column::text("snapshot", "SNAPSHOT").width(24),
        Column::text("outcome", "OUTCOME").width(8),
        Column::text("context", "CONTEXT").width(12),
        Column::text("note", "NOTE").width(40),
        Column::text("vm_id", "VM ID").wide(),
        Column::text("snapshot_id", "SNAPSHOT ID").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.vm),
            self.action.into(),
            self.snapshot.clone().into(),
            self.outcome.name().into(),
            Cell::text(&self.context),
            self.note.clone().into(),
            self.vm_id.as_ref().map(ToString::to_string).into(),
            self.snapshot_id.clone().into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        match (&self.snapshot_id, &self.vm_id) {
            (Some(id), _) => format!("@{id}"),
            (None, Some(id)) => format!("{}:@{id}", self.context),
            (None, None) => format!("{}:{}", self.context, self.vm),
        }
    }
}
