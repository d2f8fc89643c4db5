//! One record as a person reads it by itself: a line for each thing that it tells.

use serde::Serialize;

use super::format::OutputFormat;
use super::printer::Printer;
use super::record::{Cell, Column, Record};
use crate::error::Result;

/// One line of a record's table; other formats print the record itself.
#[derive(Debug, Serialize)]
pub struct Fact {
    name: String,
    value: String,
}

impl Fact {
    /// A line.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// The lines of what is known; what nobody knows is left away.
    pub fn known<'n>(all: impl IntoIterator<Item = (&'n str, Option<String>)>) -> Vec<Self> {
        all.into_iter().filter_map(|(name, value)| Some(Self::new(name, value?))).collect()
    }
}

impl Record for Fact {
    const SCHEMA: &'static str = "hyper.fact/v1";
    const COLUMNS: &'static [Column] =
        &[Column::text("name", "FACT"), Column::text("value", "VALUE")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.name), Cell::text(&self.value)]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Printer {
    /// Prints a record that was asked for by itself: as a table line by line, without what nobody
    /// knows; in any other format as [`Printer::one`].
    ///
    /// # Errors
    /// As [`Printer::one`].
    pub fn facts<R: Record>(&mut self, record: &R) -> Result<()> {
        if !matches!(self.format(), OutputFormat::Table) {
            return self.one(record);
        }
        let told = R::COLUMNS.iter().zip(record.cells());
        let told = told.filter(|(_, cell)| match cell {
            Cell::Empty => false,
            Cell::Text(text) => !text.is_empty(),
            _ => true,
        });
        let fact = |(column, cell): (&Column, Cell)| {
            Fact::new(column.name.replace('_', " "), cell.human())
        };
        self.all(&told.map(fact).collect::<Vec<_>>())
    }
}
