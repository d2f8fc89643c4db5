//! What `hyper watch` prints.

use hyper_common::output::{Cell, Column, Record};
use hyper_common::vm::{Vm, VmObject};
use jiff::Timestamp;
use serde::Serialize;

/// What happened to a machine or an object.
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

/// One change of a machine, as it was seen.
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
            of(|vm| Cell::text(vm.state.as_deref().unwrap_or(vm.status.name()))),
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

/// One change of an object of any kind, as it was seen.
#[derive(Debug, Serialize)]
pub struct ObjectRow<'v> {
    /// What happened.
    pub event: Event,
    /// When it was seen here.
    pub time: Timestamp,
    /// Where.
    pub context: &'v str,
    /// Of which kind.
    pub kind: &'v str,
    /// The object as it is, or as it last was; none where everything was listed again.
    pub object: Option<&'v VmObject>,
}

impl Record for ObjectRow<'_> {
    const SCHEMA: &'static str = "hyper.object_change/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("time", "TIME").width(19),
        Column::text("event", "EVENT").width(8),
        Column::text("kind", "KIND").width(10),
        Column::text("name", "NAME").width(24),
        Column::text("namespace", "NAMESPACE").width(12),
        Column::text("status", "STATUS").width(18),
        Column::number("progress_percent", "PERCENT").width(7),
        Column::text("vm", "VM").width(16),
        Column::text("context", "CONTEXT").width(10),
        Column::text("source", "SOURCE").width(24).wide(),
        Column::text("target", "TARGET").width(24).wide(),
        Column::text("node", "NODE").width(16).wide(),
        Column::text("ready", "READY").width(5).wide(),
        Column::text("id", "ID").width(24).wide(),
        Column::text("message", "MESSAGE").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let of = |field: fn(&VmObject) -> Cell| self.object.map_or(Cell::Empty, field);
        let progress = |object: &VmObject| match object.progress_percent {
            Some(percent) => Cell::text(percent.to_string()),
            None => Cell::Empty,
        };
        vec![
            self.time.into(),
            self.event.word().into(),
            self.kind.into(),
            of(|object| Cell::text(&object.name)),
            of(|object| object.namespace.clone().into()),
            of(|object| object.status.clone().into()),
            of(progress),
            of(|object| object.vm.clone().into()),
            Cell::text(self.context),
            of(|object| object.source.clone().into()),
            of(|object| object.target.clone().into()),
            of(|object| object.node.clone().into()),
            of(|object| object.ready.into()),
            of(|object| Cell::text(&object.id.0)),
            of(|object| object.message.clone().into()),
        ]
    }

    /// As kubectl writes it: `snapshot/NAME`.
    fn name(&self) -> String {
        match self.object {
            Some(object) => format!("{}/{}", self.kind, object.name),
            None => format!("{}/", self.kind),
        }
    }
}
