//! What a tool prints: records with named columns and typed cells.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::human;
use super::prometheus::Gauge;

/// One thing that a tool prints. The serialised form (JSON, YAML) is an interface: `snake_case`
/// keys, RFC 3339 times, bytes as integers, fields only ever added. It must serialise as a map
/// and must not have a field `schema`, which the printer adds.
pub trait Record: Serialize {
    /// Name and version of the serialised form, such as `hyper.vm/v1`.
    const SCHEMA: &'static str;
    /// The columns of tables and, unless said otherwise, of CSV.
    const COLUMNS: &'static [Column];
    /// The columns of CSV.
    const CSV: &'static [Column] = Self::COLUMNS;
    /// One cell for each of [`Record::COLUMNS`], in their order.
    fn cells(&self) -> Vec<Cell>;
    /// One cell for each of [`Record::CSV`], in their order.
    fn csv_cells(&self) -> Vec<Cell> {
        self.cells()
    }
    /// Its values for Prometheus; none in most records.
    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }
    /// What `-o name` prints: something that the tools take back as an argument.
    fn name(&self) -> String;
}

/// Where the text of a cell stands within its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub(super) name: &'static str,
    pub(super) header: &'static str,
    pub(super) align: Align,
    pub(super) wide: bool,
    pub(super) varying: bool,
    pub(super) width: usize,
}

impl Column {
    /// A column of words: `name` heads it in CSV (`snake_case`), `header` in tables (capitals).
    pub const fn text(name: &'static str, header: &'static str) -> Self {
        Self { name, header, align: Align::Left, wide: false, varying: false, width: 12 }
    }

    /// A column of numbers, set to the right.
    pub const fn number(name: &'static str, header: &'static str) -> Self {
        Self { name, header, align: Align::Right, wide: false, varying: false, width: 8 }
    }

    /// Shown in `-o wide` and CSV only, not in the plain table.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Shown in tables only where the rows differ in it.
    #[must_use]
    pub const fn varying(mut self) -> Self {
        self.varying = true;
        self
    }

    /// The width in characters that it has while records are printed as they happen, when the
    /// widest value is not known yet. Longer values push the rest of their line to the right.
    #[must_use]
    pub const fn width(mut self, characters: usize) -> Self {
        self.width = characters;
        self
    }
}

/// A value in a table: a human form there, an exact one in CSV.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing is known: `-` in tables, empty in CSV.
    Empty,
    /// Words, from anywhere: control characters are escaped when printed.
    Text(String),
    /// A count.
    Number(i128),
    /// A number that need not be whole: two decimals in tables, all of it in CSV.
    Decimal(f64),
    /// An amount of bytes: `1.5 GiB` in tables, the integer in CSV.
    Bytes(u64),
    /// Bytes a second: `150 MiB/s` in tables, the integer in CSV.
    Rate(u64),
    /// A moment: local time in tables, RFC 3339 in CSV.
    Time(Timestamp),
    /// A time span: `1h2m` in tables, seconds in CSV.
    Span(Duration),
    /// `yes` or `no` in tables, `true` or `false` in CSV.
    Bool(bool),
}

impl Cell {
    /// Words, from anywhere.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The form for people.
    pub(super) fn human(&self) -> String {
        match self {
            Self::Empty => "-".to_owned(),
            Self::Text(text) if text.is_empty() => "-".to_owned(),
            Self::Text(text) => printable(text),
            Self::Number(number) => number.to_string(),
            Self::Decimal(number) => format!("{number:.2}"),
            Self::Bytes(bytes) => human::bytes(*bytes),
            Self::Rate(rate) => format!("{}/s", human::bytes(*rate)),
            Self::Time(time) => human::time(*time),
            Self::Span(span) => human::span(*span),
            Self::Bool(true) => "yes".to_owned(),
            Self::Bool(false) => "no".to_owned(),
        }
    }

    /// The form for programs.
    pub(super) fn exact(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => printable(text),
            Self::Number(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
            Self::Bytes(bytes) | Self::Rate(bytes) => bytes.to_string(),
            Self::Time(time) => time.to_string(),
            Self::Span(span) => format!("{}", span.as_secs_f64()),
            Self::Bool(value) => value.to_string(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Timestamp> for Cell {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<Duration> for Cell {
    fn from(span: Duration) -> Self {
        Self::Span(span)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// Text from outside as it may reach a terminal: characters that would move the cursor, change
/// colours, break the line or turn the writing direction are escaped.
pub fn printable(text: &str) -> String {
    let risky =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if risky(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        assert_eq!(printable("a\x1b[31mb\nc\u{9b}\u{202e}ö"), "a\\u{1b}[31mb\\nc\\u{9b}\\u{202e}ö");
    }

    #[test]
    fn people_and_programs_see_their_own_form() {
        let cells = [
            (Cell::Bytes(3 << 29), "1.5 GiB", "1610612736"),
            (Cell::Empty, "-", ""),
            (Cell::text(""), "-", ""),
            (Cell::Bool(true), "yes", "true"),
            (Cell::Span(Duration::from_millis(62_500)), "1m2s", "62.5"),
            (Cell::from(Some(4u32)), "4", "4"),
            (Cell::Decimal(0.125), "0.12", "0.125"),
            (Cell::Rate(1 << 20), "1 MiB/s", "1048576"),
        ];
        for (cell, human, exact) in cells {
            assert_eq!((cell.human().as_str(), cell.exact().as_str()), (human, exact));
        }
    }
}
