//! A list of records that come one by one, printed in bounded memory.

use std::marker::PhantomData;

use serde_json::{Value, json};

use super::format::OutputFormat;
use super::printer::{self, Printer};
use super::prometheus::Exposition;
use super::record::{Cell, Column, Record};
use super::table;
use crate::error::Result;

/// The schema of the document around a list.
const SCHEMA: &str = "hyper.list/v1";

/// So many rows are measured before a table's widths are fixed.
const MEASURED_ROWS: usize = 1000;

/// A list being printed. Without [`List::finish`] the document stays open, so that a reader can
/// tell a list that failed half-way from a complete one.
#[must_use = "finish it"]
pub struct List<'p, R> {
    printer: &'p mut Printer,
    state: State,
    count: usize,
    record: PhantomData<fn(&R)>,
}

enum State {
    Table { shown: Vec<(usize, &'static Column)>, rows: Vec<Vec<String>>, widths: Vec<usize> },
    Json,
    Yaml,
    Lines,
    Csv,
    Name,
    Template(Vec<Value>),
    Prometheus(Exposition),
}

impl<'p, R: Record> List<'p, R> {
    pub(super) fn new(printer: &'p mut Printer) -> Self {
        let table = |wide| State::Table {
            shown: table::visible(R::COLUMNS, wide),
            rows: Vec::new(),
            widths: Vec::new(),
        };
        let state = match printer.format() {
            OutputFormat::Table => table(false),
            OutputFormat::Wide => table(true),
            OutputFormat::Json => State::Json,
            OutputFormat::Yaml => State::Yaml,
            OutputFormat::Ndjson => State::Lines,
            OutputFormat::Csv => State::Csv,
            OutputFormat::Name => State::Name,
            OutputFormat::JsonPath(_) => State::Template(Vec::new()),
            OutputFormat::Prometheus => State::Prometheus(Exposition::default()),
        };
        Self { printer, state, count: 0, record: PhantomData }
    }

    /// How many records were taken.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no record was taken.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// `Io` when the stream cannot be written; not when its reader has gone away.
    pub fn push(&mut self, record: &R) -> Result<()> {
        let first = self.count == 0;
        self.count += 1;
        let text = match &mut self.state {
            State::Table { shown, rows, widths } => {
                let row = table::texts(shown, &record.cells());
                if widths.is_empty() {
                    rows.push(row);
                    if rows.len() < MEASURED_ROWS {
                        return Ok(());
                    }
                    table::leave_out(shown, rows);
                    *widths = table::widths(shown, rows);
                    table::render(shown, &std::mem::take(rows), None)
                } else {
                    table::line(shown, widths, &row)
                }
            }
            State::Json => {
                let head = if first { open_json() } else { ",\n    ".to_owned() };
                head + &printer::to_json_pretty(record)?.replace('\n', "\n    ")
            }
            State::Yaml => {
                let head =
                    if first { format!("schema: {SCHEMA}\nitems:\n") } else { String::new() };
                head + &yaml_item(&printer::to_yaml(record)?)
            }
            State::Lines => printer::to_json(record)? + "\n",
            State::Csv => {
                let head = if first { printer::csv_header::<R>()? } else { String::new() };
                head + &printer::csv_line(record.csv_cells().iter().map(Cell::exact))?
            }
            State::Name => super::printable(&record.name()) + "\n",
            State::Template(items) => {
                items.push(printer::to_value(record)?);
                return Ok(());
            }
            State::Prometheus(values) => {
                values.extend(record.gauges());
                return Ok(());
            }
        };
        self.printer.write(&text)
    }

    /// Ends the list and sends it on its way. An empty list is an empty document, and the header
    /// alone in tables and CSV.
    ///
    /// # Errors
    /// As [`List::push`].
    pub fn finish(self) -> Result<()> {
        let empty = self.count == 0;
        let text = match self.state {
            State::Table { mut shown, mut rows, widths } if widths.is_empty() => {
                table::leave_out(&mut shown, &mut rows);
                table::render(&shown, &rows, self.printer.limit())
            }
            State::Json if empty => {
                format!("{{\n  \"schema\": \"{SCHEMA}\",\n  \"items\": []\n}}\n")
            }
            State::Json => "\n  ]\n}\n".to_owned(),
            State::Yaml if empty => format!("schema: {SCHEMA}\nitems: []\n"),
            State::Prometheus(values) => values.render(),
            State::Csv if empty => printer::csv_header::<R>()?,
            State::Template(items) => match self.printer.format() {
                OutputFormat::JsonPath(template) => {
                    template.render(&json!({"schema": SCHEMA, "items": items}))
                }
                _ => String::new(),
            },
            _ => String::new(),
        };
        self.printer.write(&text)?;
        self.printer.flush()
    }
}

fn open_json() -> String {
    format!("{{\n  \"schema\": \"{SCHEMA}\",\n  \"items\": [\n    ")
}

/// A YAML document as an item of a list: its lines set in by two, the first behind a dash.
fn yaml_item(document: &str) -> String {
    let mut item = String::with_capacity(document.len() + 64);
    for (at, line) in document.lines().enumerate() {
        if !line.is_empty() {
            item.push_str(if at == 0 { "- " } else { "  " });
        }
        item.push_str(line);
        item.push('\n');
    }
    item
}
