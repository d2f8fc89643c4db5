//! How changes are shown: a line for each, or, on a terminal, a table of how everything is now.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper_common::error::{Error, Result, one_line};
use hyper_common::output::{Live, Printer};
use hyper_common::tool::Context;
use hyper_common::vm::VmId;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::item::Item;
use crate::record::{ChangeRow, Event, ObjectRow};

/// The shortest time between two drawings.
const PACE: Duration = Duration::from_millis(100);

/// How long what is gone is still shown.
const FAREWELL: Duration = Duration::from_secs(10);

/// One change, as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What happened.
    pub event: Event,
    /// When.
    pub time: Timestamp,
    /// In which context.
    pub context: String,
    /// Whether machines alone are followed, and told whole.
    pub machines: bool,
    /// Of which kind.
    pub kind: &'static str,
    /// What it happened to; nothing where everything was listed again.
    pub item: Option<Item>,
}

/// The way to the reader.
#[derive(Debug)]
pub enum Screen {
    /// A line for each change.
    Log,
    /// A table in place.
    Table(Box<Board>),
}

/// A table of how everything is now.
#[derive(Debug, Default)]
pub struct Board {
    live: Live,
    rows: BTreeMap<Key, (Seen, Instant)>,
    changes: u64,
    relists: u64,
    /// When it was drawn last, and whether something has changed since.
    drawn: Option<Instant>,
    stale: bool,
}

/// Context, kind and id.
type Key = (String, &'static str, VmId);

impl Seen {
    /// Prints it as the record that it is.
    fn print(&self, printer: &mut Printer) -> Result<()> {
        match self.machines {
            true => printer.next(&self.vm_row()),
            false => printer.next(&self.object_row()),
        }
    }

    /// The record of a machine.
    pub fn vm_row(&self) -> ChangeRow<'_> {
        let vm = match &self.item {
            Some(Item::Vm(vm)) => Some(&**vm),
            _ => None,
        };
        let Self { event, time, context, .. } = self;
        ChangeRow { event: *event, time: *time, context, vm }
    }

    /// The record of an object.
    pub fn object_row(&self) -> ObjectRow<'_> {
        let object = match &self.item {
            Some(Item::Object(object)) => Some(&**object),
            _ => None,
        };
        let Self { event, time, context, kind, .. } = self;
        ObjectRow { event: *event, time: *time, context, kind, object }
    }
}

impl Screen {
    /// A table where the terminal can show one and nothing else writes to it, lines otherwise.
    pub fn new(cx: &Context, others_write: bool) -> Self {
        match Live::on(&cx.printer) {
            Some(live) if !others_write => {
                Self::Table(Box::new(Board { live, ..Board::default() }))
            }
            _ => Self::Log,
        }
    }

    /// Shows a change: a line at once, a table soon.
    pub fn show(&mut self, seen: &Seen, cx: &mut Context) -> Result<()> {
        match self {
            Self::Log => seen.print(&mut cx.printer),
            Self::Table(board) => {
                board.take(seen);
                Ok(())
            }
        }
    }

    /// Says something on standard error, which may be the same terminal.
    pub fn warn(&mut self, error: &Error, cx: &mut Context) -> Result<()> {
        if let Self::Table(board) = self {
            board.live.erase(&mut cx.printer)?;
            board.stale = true;
        }
        cx.remarks.warn(&one_line(error));
        Ok(())
    }

    /// When there is something to draw; never for lines.
    pub fn due(&self) -> Option<Instant> {
        let Self::Table(board) = self else { return None };
        let paced = board.drawn.map_or_else(Instant::now, |drawn| drawn + PACE);
        let leaving = board.rows.values().filter(|(seen, _)| seen.is_gone());
        let next = leaving.map(|(_, at)| *at + FAREWELL).min();
        if board.stale { Some(paced) } else { next.map(|next| next.max(paced)) }
    }

    /// Draws the table anew, where there is one.
    pub fn draw(&mut self, cx: &mut Context) -> Result<()> {
        match self {
            Self::Log => Ok(()),
            Self::Table(board) => board.draw(&mut cx.printer),
        }
    }
}

impl Seen {
    fn is_gone(&self) -> bool {
        matches!(self.event, Event::Deleted | Event::Left)
    }
}

impl Board {
    fn take(&mut self, seen: &Seen) {
        self.stale = true;
        match &seen.item {
            Some(item) => {
                self.changes += 1;
                let key = (seen.context.clone(), seen.kind, item.id().clone());
                self.rows.insert(key, (seen.clone(), Instant::now()));
            }
            None => self.relists += 1,
        }
    }

    fn draw(&mut self, printer: &mut Printer) -> Result<()> {
        let now = Instant::now();
        self.rows.retain(|_, (seen, at)| !seen.is_gone() || now < *at + FAREWELL);
        self.drawn = Some(now);
        self.stale = false;
        let foot = self.foot();
        let rows: Vec<_> = self.rows.values().map(|(seen, _)| seen).collect();
        if rows.iter().all(|seen| seen.machines) {
            let rows: Vec<_> = rows.iter().map(|seen| seen.vm_row()).collect();
            return self.live.draw(printer, &rows, &foot);
        }
        let rows: Vec<_> = rows.iter().map(|seen| seen.object_row()).collect();
        self.live.draw(printer, &rows, &foot)
    }

    /// What stands below the table.
    fn foot(&self) -> String {
        let there = self.rows.values().filter(|(seen, _)| !seen.is_gone()).count();
        let relists = match self.relists {
            0 => String::new(),
            count => format!(", listed again {count} times"),
        };
        format!("{there} there, {} changes{relists}; Ctrl-C ends", self.changes)
    }
}
