//! The one way to standard output.

use std::io::{BufWriter, ErrorKind, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::format::OutputFormat;
use super::list::List;
use super::prometheus::Exposition;
use super::record::{Cell, Record};
use super::{table, terminal};
use crate::error::{Error, Result};

/// Between two looks whether anybody reads.
const LOOK: Duration = Duration::from_millis(500);

/// The stream that records go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error, while standard output carries disk data.
    Stderr,
}

/// Prints records in one format to one stream.
pub struct Printer {
    format: OutputFormat,
    out: Box<dyn Write + Send>,
    limit: Option<u16>,
    /// Whether it is standard output, and that a terminal that can move its cursor.
    redraws: bool,
    closed: bool,
    /// The schema whose header the running table or CSV has, and whether a document was printed.
    running: Option<&'static str>,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer to one of the standard streams.
    pub fn new(format: OutputFormat, target: Target) -> Self {
        match target {
            Target::Stdout => {
                let stream = std::io::stdout();
                let (limit, redraws) = (terminal::width(&stream), terminal::can_redraw(&stream));
                let out = BufWriter::with_capacity(64 << 10, stream);
                Self { redraws, ..Self::to(format, out, limit) }
            }
            Target::Stderr => {
                let stream = std::io::stderr();
                let limit = terminal::width(&stream);
                Self::to(format, BufWriter::with_capacity(64 << 10, stream), limit)
            }
        }
    }

    /// A printer to any writer; tables are cut to `limit` terminal columns where one is given.
    pub fn to(format: OutputFormat, out: impl Write + Send + 'static, limit: Option<u16>) -> Self {
        let out = Box::new(out);
        Self { format, out, limit, redraws: false, closed: false, running: None }
    }

    /// Sends all further records to standard error, because standard output carries disk data.
    pub fn yield_stdout(&mut self) {
        *self = Self::new(self.format.clone(), Target::Stderr);
    }

    /// Whether what was printed can be drawn anew in its place.
    pub(super) fn can_redraw(&self) -> bool {
        self.redraws
    }

    /// The format in use.
    pub fn format(&self) -> &OutputFormat {
        &self.format
    }

    /// Whether the reader has gone away. A tool that only prints may stop; one that does more
    /// goes on without being heard.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prints one record that was asked for by itself.
    ///
    /// # Errors
    /// `Io` when the stream cannot be written; not when its reader has gone away.
    pub fn one<R: Record>(&mut self, record: &R) -> Result<()> {
        match &self.format {
            OutputFormat::Json => {
                let mut text = to_json_pretty(record)?;
                text.push('\n');
                self.write(&text)?;
                self.flush()
            }
            OutputFormat::Table | OutputFormat::Wide => self.all([record]),
            _ => {
                self.next(record)?;
                self.running = None;
                Ok(())
            }
        }
    }

    /// Starts a list whose records come one by one. Memory stays bounded however long it gets
    /// (a `jsonpath` template alone needs the whole document).
    pub fn list<R: Record>(&mut self) -> List<'_, R> {
        List::new(self)
    }

    /// Prints a list that is there already.
    ///
    /// # Errors
    /// As [`Printer::one`].
    pub fn all<'a, R: Record + 'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a R>,
    ) -> Result<()> {
        let mut list = self.list();
        for record in records {
            list.push(record)?;
        }
        list.finish()
    }

    /// Prints one of several records as it happens, at once: rows of fixed widths, one line or
    /// document for each.
    ///
    /// # Errors
    /// As [`Printer::one`].
    pub fn next<R: Record>(&mut self, record: &R) -> Result<()> {
        let first = self.running.replace(R::SCHEMA) != Some(R::SCHEMA);
        let text = match &self.format {
            OutputFormat::Table | OutputFormat::Wide => {
                let shown = table::visible(R::COLUMNS, matches!(self.format, OutputFormat::Wide));
                let widths: Vec<_> =
                    shown.iter().map(|(_, column)| column.width.max(column.header.len())).collect();
                let head = if first { table::header(&shown, &widths) } else { String::new() };
                head + &table::line(&shown, &widths, &table::texts(&shown, &record.cells()))
            }
            OutputFormat::Json | OutputFormat::Ndjson => to_json(record)? + "\n",
            OutputFormat::Yaml => {
                let parting = if first { "" } else { "---\n" };
                format!("{parting}{}", to_yaml(record)?)
            }
            OutputFormat::Csv => {
                let head = if first { csv_header::<R>()? } else { String::new() };
                head + &csv_line(record.csv_cells().iter().map(Cell::exact))?
            }
            OutputFormat::Prometheus => {
                let mut values = Exposition::default();
                values.extend(record.gauges());
                values.render()
            }
            OutputFormat::Name => super::printable(&record.name()) + "\n",
            OutputFormat::JsonPath(template) => template.render(&to_value(record)?),
        };
        self.write(&text)?;
        self.flush()
    }

    /// The widest a table may be.
    pub(super) fn limit(&self) -> Option<u16> {
        self.limit
    }

    /// Comes back once the reader of standard output has gone away, which only pipes and sockets
    /// tell: for tools that may have nothing to write for long.
    pub async fn reader_gone() {
        loop {
            let stdout = rustix::stdio::stdout();
            let mut looked = [PollFd::from_borrowed_fd(stdout, PollFlags::empty())];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut looked, Some(&at_once)).is_ok()
                && looked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes; a reader that has gone away ends the printing, not the program.
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        self.attempt(|out| out.write_all(text.as_bytes()))
    }

    /// Sends everything on its way.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.attempt(|out| out.flush())
    }

    fn attempt(&mut self, step: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        match step(&mut *self.out) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                // What is still buffered has nowhere to go; dropping the buffer would try again.
                self.out = Box::new(std::io::sink());
                Ok(())
            }
            other => other.map_err(|error| Error::io("print the result", error)),
        }
    }
}

/// A record with its schema in front.
#[derive(Serialize)]
struct Tagged<'a, R> {
    schema: &'static str,
    #[serde(flatten)]
    record: &'a R,
}

impl<'a, R: Record> Tagged<'a, R> {
    fn new(record: &'a R) -> Self {
        Self { schema: R::SCHEMA, record }
    }
}

fn unprintable(error: impl Into<crate::error::BoxError>) -> Error {
    Error::new(crate::error::ErrorKind::Internal, "cannot serialise the result").with_source(error)
}

/// One JSON object in one line.
pub(super) fn to_json<R: Record>(record: &R) -> Result<String> {
    serde_json::to_string(&Tagged::new(record)).map_err(unprintable)
}

/// One JSON object over several lines.
pub(super) fn to_json_pretty<R: Record>(record: &R) -> Result<String> {
    serde_json::to_string_pretty(&Tagged::new(record)).map_err(unprintable)
}

/// The JSON object as a value, for templates.
pub(super) fn to_value<R: Record>(record: &R) -> Result<serde_json::Value> {
    serde_json::to_value(Tagged::new(record)).map_err(unprintable)
}

/// One YAML document, ended by a line feed.
pub(super) fn to_yaml<R: Record>(record: &R) -> Result<String> {
    let mut text = serde_saphyr::to_string(&Tagged::new(record)).map_err(unprintable)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The header line of CSV.
pub(super) fn csv_header<R: Record>() -> Result<String> {
    csv_line(R::CSV.iter().map(|column| column.name.to_owned()))
}

/// One line of CSV.
pub(super) fn csv_line(cells: impl Iterator<Item = String>) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells.map(String::into_bytes)).map_err(unprintable)?;
    let bytes = writer.into_inner().map_err(|error| unprintable(error.into_error()))?;
    String::from_utf8(bytes).map_err(unprintable)
}
