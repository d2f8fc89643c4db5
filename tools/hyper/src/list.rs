//! `hyper --list`.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper_common::error::Result;
use hyper_common::output::{Cell, Column, OutputFormat, Printer, Record, Target};
use hyper_common::tool::catalogue;
use serde::Serialize;

use super::BUILT_IN;
use super::search::Search;

/// A word that can stand behind `hyper`.
#[derive(Debug, Serialize)]
struct ToolRow {
    name: String,
    summary: Option<&'static str>,
    path: Option<PathBuf>,
}

impl Record for ToolRow {
    const SCHEMA: &'static str = "hyper.tool/v1";
    const COLUMNS: &'static [Column] =
        &[Column::text("name", "NAME"), Column::text("summary", "SUMMARY")];

    fn cells(&self) -> Vec<Cell> {
        // A program that someone else put there is told by its place.
        let foreign = || self.path.as_ref().map(|path| path.display().to_string());
        let summary = self.summary.map(str::to_owned).or_else(foreign);
        vec![Cell::text(&self.name), summary.into()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Prints the built-in words and the tools that are there.
pub fn print(search: &Search) -> Result<ExitCode> {
    let own = BUILT_IN.iter().map(|&(name, summary)| ToolRow {
        name: name.to_owned(),
        summary: Some(summary),
        path: None,
    });
    let found = search.tools().into_iter().map(|tool| ToolRow {
        summary: catalogue::summary(&format!("hyper-{}", tool.name)),
        name: tool.name,
        path: Some(tool.path),
    });
    let mut rows: Vec<_> = own.chain(found).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Printer::new(OutputFormat::Table, Target::Stdout).all(&rows)?;
    Ok(ExitCode::SUCCESS)
}
