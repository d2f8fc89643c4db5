//! A table that is drawn in place, as often as something in it changes. On terminals alone.

use super::format::OutputFormat;
use super::printer::Printer;
use super::record::Record;
use super::{printable, table, terminal};
use crate::error::Result;

/// What is assumed of a terminal that does not tell its size: columns and lines.
const SIZE: (u16, u16) = (80, 24);

/// Lines beside the rows: the header, the foot, and the one that the cursor stands on.
const FRAME: usize = 3;

/// A table in place.
#[derive(Debug, Default)]
pub struct Live {
    /// How many lines stand above the cursor.
    lines: usize,
}

impl Live {
    /// A table that has not been drawn yet, where it can be: tables are wanted, and standard output
    /// is a terminal that can move its cursor.
    pub fn on(printer: &Printer) -> Option<Self> {
        let table = matches!(printer.format(), OutputFormat::Table | OutputFormat::Wide);
        (table && printer.can_redraw()).then(Self::default)
    }

    /// Draws the rows in the place of those before, as many as there is room for, and `foot` below
    /// them, which says how many there are.
    ///
    /// # Errors
    /// `Io` when the stream cannot be written; not when its reader has gone away.
    pub fn draw<R: Record>(&mut self, printer: &mut Printer, rows: &[R], foot: &str) -> Result<()> {
        let (columns, lines) = terminal::size(&std::io::stdout()).unwrap_or(SIZE);
        let room = usize::from(lines).saturating_sub(FRAME).max(1);
        let mut shown = table::visible(R::COLUMNS, matches!(printer.format(), OutputFormat::Wide));
        let mut texts: Vec<_> =
            rows.iter().take(room).map(|row| table::texts(&shown, &row.cells())).collect();
        table::leave_out(&mut shown, &mut texts);
        let mut text = self.cleared();
        let body = table::render(&shown, &texts, Some(columns));
        let more = rows.len().saturating_sub(texts.len());
        let more = if more > 0 { format!("and {more} more; ") } else { String::new() };
        let foot: String = printable(&(more + foot)).chars().take(usize::from(columns)).collect();
        self.lines = body.lines().count() + 1;
        text.push_str(&body);
        text.push_str(&foot);
        text.push('\n');
        printer.write(&text)?;
        printer.flush()
    }

    /// Takes the table away, so that something else can be said on the same terminal.
    ///
    /// # Errors
    /// As [`Live::draw`].
    pub fn erase(&mut self, printer: &mut Printer) -> Result<()> {
        let text = self.cleared();
        printer.write(&text)?;
        printer.flush()
    }

    /// What moves the cursor to where the table begins and clears all below.
    fn cleared(&mut self) -> String {
        match std::mem::take(&mut self.lines) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }
}
