//! A table on a terminal that is drawn over itself, with a line of bars for what was before.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use hyper_common::error::{Error, Result};
use hyper_common::output::{Cell, Column, OutputFormat, Printer, Record, terminal_width};
use serde::Serialize;

use crate::record::UsageRow;

/// Values that a line of bars shows.
const BARS: usize = 24;

/// The eighths of a line's height.
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The table.
#[derive(Debug, Default)]
pub struct Live {
    rows: BTreeMap<(String, String), LiveRow>,
    /// Lines that stand on the terminal.
    lines: usize,
}

#[derive(Debug, Serialize)]
struct LiveRow {
    latest: UsageRow,
    cpu: VecDeque<f64>,
    memory: VecDeque<f64>,
}

impl Live {
    /// Takes a value; those of a thing come in order.
    pub fn take(&mut self, latest: UsageRow) {
        let key = (latest.context().to_owned(), latest.id().to_owned());
        let (cpu, memory) = latest.percents();
        let before = self.rows.remove(&key);
        let (mut cpus, mut memories) = before.map(|row| (row.cpu, row.memory)).unwrap_or_default();
        for (all, value) in [(&mut cpus, cpu), (&mut memories, memory)] {
            all.extend(value);
            while all.len() > BARS {
                all.pop_front();
            }
        }
        self.rows.insert(key, LiveRow { latest, cpu: cpus, memory: memories });
    }

    /// Draws it over what was drawn before.
    ///
    /// # Errors
    /// `Io` when the terminal cannot be written.
    pub fn draw(&mut self) -> Result<()> {
        let text = self.text(terminal_width(&std::io::stdout()))?;
        let up = if self.lines > 0 { format!("\x1b[{}A", self.lines) } else { String::new() };
        self.lines = text.lines().count();
        let mut stdout = std::io::stdout().lock();
        let written = write!(stdout, "{up}\x1b[J{text}").and_then(|()| stdout.flush());
        written.map_err(|error| Error::io("draw the table", error))
    }

    fn text(&self, limit: Option<u16>) -> Result<String> {
        let shared = Shared::default();
        let mut printer = Printer::to(OutputFormat::Table, shared.clone(), limit);
        printer.all(self.rows.values())?;
        Ok(shared.text())
    }
}

/// Text that a printer leaves behind.
#[derive(Debug, Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Record for LiveRow {
    const SCHEMA: &'static str = "hyper.metrics_live/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME"),
        Column::number("cpu_percent", "CPU%"),
        Column::text("cpu", "CPU"),
        Column::number("memory_percent", "MEM%"),
        Column::text("memory", "MEMORY"),
        Column::number("disk_mbps", "DISK MB/S"),
        Column::number("net_mbps", "NET MB/S"),
        Column::text("timestamp", "TIME"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let (cpu, memory) = self.latest.percents();
        let (disk, net) = self.latest.rates();
        let number = |it: Option<f64>| it.map_or(Cell::Empty, Cell::Decimal);
        vec![
            Cell::text(self.latest.thing()),
            number(cpu),
            bars(&self.cpu).into(),
            number(memory),
            bars(&self.memory).into(),
            number(disk),
            number(net),
            self.latest.timestamp().into(),
        ]
    }

    fn name(&self) -> String {
        self.latest.name()
    }
}

/// A bar for each value, of a hundred; what is more stands as high as that.
fn bars(values: &VecDeque<f64>) -> String {
    let bar = |value: &f64| {
        let eighth = (value.clamp(0.0, 99.9) / 12.5) as usize;
        EIGHTHS.get(eighth).copied().unwrap_or(' ')
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_common::provider::{Entity, EntityKind, Usage};

    #[test]
    fn what_was_before_is_a_line_of_bars() {
        let mut live = Live::default();
        let entity = Entity { kind: EntityKind::Vm, id: "vm-1".into(), name: "web01".into() };
        for percent in [0.0, 12.5, 50.0, 99.0, 250.0] {
            let usage = Usage { id: "vm-1".into(), cpu_percent: Some(percent), ..Usage::default() };
            live.take(UsageRow::new("lab", &entity, usage));
        }
        let text = live.text(None).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("web01   250.00   ▁▂▅██"), "{text}");
        for _ in 0..40 {
            let usage = Usage { id: "vm-1".into(), cpu_percent: Some(1.0), ..Usage::default() };
            live.take(UsageRow::new("lab", &entity, usage));
        }
        assert!(live.text(None).unwrap().contains(&format!(" {} ", "▁".repeat(BARS))));
    }
}
