//! What `hyper watch` prints.

use hyper_common::output::{Cell, Column, Record};
use hyper_common::vm::Vm;
use jiff::Timestamp;
use serde::Serialize;

/// What happened to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Event {
    /// It is there, or it passes the filters now.
    Added,
    /// It is not as it was.
    Modified,
    /// It is gone.
    Deleted,
    /// It is there and does not pass the filters any more.
    Left,
    /// Everything was listed again.
    Relisted,
}

impl Event {
    /// The word in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Left => "LEFT",
            Self::Relisted => "RELISTED",
        }
    }
}

/// One change, as it was seen.
#[derive(Debug, Serialize)]
pub struct ChangeRow<'v> {
    /// What happened.
    pub event: Event,
    /// When it was seen here.
    pub time: Timestamp,
    /// Where.
    pub context: &'v str,
    /// The machine as it is, or as it last was; none where everything was listed again.
    pub vm: Option<&'v Vm>,
}

impl Record for ChangeRow<'_> {
    const SCHEMA: &'static str = "hyper.vm_change/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("time", "TIME").width(19),
        Column::text("event", "EVENT").width(8),
        Column::text("name", "NAME").width(24),
        Column::text("namespace", "NAMESPACE").width(12),
        Column::text("status", "STATUS").width(10),
        Column::number("cpus", "CPUS").width(5),
        Column::number("memory_bytes", "MEMORY").width(9),
        Column::text("node", "NODE").width(16),
        Column::text("context", "CONTEXT").width(10),
        Column::text("ip_addresses", "IPS").width(16).wide(),
        Column::text("id", "ID").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let of = |field: fn(&Vm) -> Cell| self.vm.map_or(Cell::Empty, field);
        vec![
            self.time.into(),
            self.event.word().into(),
            of(|vm| Cell::text(&vm.name)),
            of(|vm| vm.namespace.clone().into()),
            of(|vm| Cell::text(word(vm))),
            of(|vm| vm.cpus.into()),
            of(|vm| vm.memory_bytes.map_or(Cell::Empty, Cell::Bytes)),
            of(|vm| vm.node.clone().into()),
            Cell::text(self.context),
            of(|vm| Cell::text(vm.ip_addresses.join(","))),
            of(|vm| Cell::text(&vm.id.0)),
        ]
    }

    fn name(&self) -> String {
        match self.vm {
            Some(vm) => vm.name(),
            None => format!("{}:", self.context),
        }
    }
}

/// The platform's own word for the state, or the neutral one.
pub fn word(vm: &Vm) -> &str {
    vm.state.as_deref().unwrap_or(vm.status.name())
}
