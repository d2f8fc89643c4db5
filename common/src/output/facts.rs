//! One record as a person reads it by itself: a line for each thing that it tells.

use serde::Serialize;

use super::format::OutputFormat;
use super::printer::Printer;
use super::record::{Cell, Column, Record};
use crate::error::Result;

/// One line of a record's table.
#[derive(Debug, Serialize)]
struct Fact {
    name: String,
    value: String,
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
        let fact = |(column, cell): (&Column, Cell)| Fact {
            name: column.name.replace('_', " "),
            value: cell.human(),
        };
        self.all(&told.map(fact).collect::<Vec<_>>())
    }
}
