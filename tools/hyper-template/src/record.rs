//! What `hyper template` prints.

use std::time::Duration;

use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Fact, Outcome, Record, human_bytes, human_time, seconds};
use hyper_common::provider::Template;
use hyper_common::vm::VmId;
use serde::Serialize;

/// A template and where it is.
#[derive(Debug, Serialize)]
pub struct TemplateRow {
    /// Its context.
    pub context: String,
    /// The template.
    #[serde(flatten)]
    pub template: Template,
}

impl Record for TemplateRow {
    const SCHEMA: &'static str = "hyper.template/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME"),
        Column::text("namespace", "NAMESPACE"),
        Column::text("kind", "KIND"),
        Column::text("ready", "READY"),
        Column::number("size_bytes", "SIZE"),
        Column::number("cpus", "CPUS"),
        Column::number("memory_bytes", "MEMORY"),
        Column::text("instancetype", "INSTANCETYPE"),
        Column::text("preference", "PREFERENCE"),
        Column::text("guest_os_name", "GUEST"),
        Column::text("context", "CONTEXT"),
        Column::text("created", "CREATED").wide(),
        Column::text("source", "SOURCE").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("description", "DESCRIPTION").wide(),
        Column::text("reason", "REASON").wide(),
        Column::text("id", "ID").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let it = &self.template;
        vec![
            Cell::text(&it.name),
            it.namespace.clone().into(),
            it.kind.name().into(),
            it.ready.into(),
            it.size_bytes.map_or(Cell::Empty, Cell::Bytes),
            it.cpus.into(),
            it.memory_bytes.map_or(Cell::Empty, Cell::Bytes),
            it.instancetype.clone().into(),
            it.preference.clone().into(),
            it.guest_os_name.clone().into(),
            Cell::text(&self.context),
            it.created.into(),
            it.source.clone().into(),
            it.path.clone().into(),
            it.description.clone().into(),
            it.reason.clone().into(),
            Cell::text(it.id.to_string()),
        ]
    }

    fn name(&self) -> String {
        format!("{}:@{}", self.context, self.template.id)
    }
}

/// What a table shows of a template, line by line; what nobody knows is left away.
pub fn facts(row: &TemplateRow) -> Vec<Fact> {
    let it = &row.template;
    let label = |(key, value): (&String, &String)| format!("{key}={value}");
    let labels = it.labels.iter().map(label).collect::<Vec<_>>().join(", ");
    let all = [
        ("name", Some(it.name.clone())),
        ("namespace", it.namespace.clone()),
        ("kind", Some(it.kind.name().to_owned())),
        ("context", Some(row.context.clone())),
        ("ready", it.ready.map(|ready| if ready { "yes" } else { "no" }.to_owned())),
        ("reason", it.reason.clone()),
        ("size", it.size_bytes.map(human_bytes)),
        ("cpus", it.cpus.map(|cpus| cpus.to_string())),
        ("memory", it.memory_bytes.map(human_bytes)),
        ("instancetype", it.instancetype.clone()),
        ("preference", it.preference.clone()),
        ("guest", it.guest_os_name.clone()),
        ("source", it.source.clone()),
        ("path", it.path.clone()),
        ("description", it.description.clone()),
        ("labels", Some(labels).filter(|it| !it.is_empty())),
        ("created", it.created.map(human_time)),
        ("id", Some(it.id.to_string())),
    ];
    Fact::known(all)
}

/// What came of making or removing something.
#[derive(Debug, Serialize)]
pub struct ActionRow {
    /// The template.
    pub template: String,
    /// The machine that is made from it, or that it is made of.
    pub vm: Option<String>,
    /// The context of both.
    pub context: String,
    /// What its provider calls what was made or removed, where it is known.
    pub id: Option<VmId>,
    /// The verb.
    pub action: &'static str,
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

impl ActionRow {
    /// A row to be filled in.
    pub fn new(action: &'static str, context: &str, template: &str, vm: Option<&str>) -> Self {
        Self {
            template: template.to_owned(),
            vm: vm.map(str::to_owned),
            context: context.to_owned(),
            id: None,
            action,
            outcome: Outcome::Planned,
            note: None,
            duration: None,
            error_kind: None,
            error: None,
        }
    }

    /// The row of something that failed.
    #[must_use]
    pub fn failed(self, error: &Error) -> Self {
        let words = Some(one_line(error));
        Self { outcome: Outcome::Failed, error_kind: Some(error.kind()), error: words, ..self }
    }
}

impl Record for ActionRow {
    const SCHEMA: &'static str = "hyper.template_action/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("template", "TEMPLATE").width(24),
        Column::text("vm", "VM").width(24),
        Column::text("action", "ACTION").width(8),
        Column::text("outcome", "OUTCOME").width(8),
        Column::text("seconds", "TIME").width(8),
        Column::text("context", "CONTEXT").width(12),
        Column::text("note", "NOTE").width(40),
        Column::text("id", "ID").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.template),
            self.vm.clone().into(),
            self.action.into(),
            self.outcome.name().into(),
            self.duration.into(),
            Cell::text(&self.context),
            self.note.clone().into(),
            self.id.as_ref().map(ToString::to_string).into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        match (&self.id, &self.vm) {
            (Some(id), _) => format!("{}:@{id}", self.context),
            (None, Some(vm)) => format!("{}:{vm}", self.context),
            (None, None) => format!("{}:{}", self.context, self.template),
        }
    }
}
