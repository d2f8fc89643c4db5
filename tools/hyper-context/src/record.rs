//! What `hyper context` prints.

use std::path::PathBuf;

use hyper_common::config::{Config, ContextConfig};
use hyper_common::output::{Cell, Column, Record};
use serde::Serialize;

/// A context.
#[derive(Debug, Serialize)]
pub struct ContextRow {
    name: String,
    provider: String,
    current: bool,
    configured: bool,
    path: Option<PathBuf>,
    title: Option<String>,
    namespace: Option<String>,
}

impl ContextRow {
    /// The row of `context`; `config` tells whether it is the current one.
    pub fn new(context: ContextConfig, config: &Config) -> Self {
        let ContextConfig { name, provider, path, title, namespace, configured } = context;
        let current = config.current_context() == name;
        Self { name, provider, current, configured, path, title, namespace }
    }
}

impl Record for ContextRow {
    const SCHEMA: &'static str = "hyper.context/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME"),
        Column::text("provider", "PROVIDER"),
        Column::text("current", "CURRENT"),
        Column::text("path", "PATH"),
        Column::text("title", "TITLE"),
        Column::text("namespace", "NAMESPACE").wide(),
        Column::text("configured", "CONFIGURED").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.provider),
            self.current.into(),
            self.path.as_ref().map(|path| path.display().to_string()).into(),
            self.title.clone().into(),
            self.namespace.clone().into(),
            self.configured.into(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
