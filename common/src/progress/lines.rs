//! Progress as plain lines, and the plain form of warnings and notes.

use std::io::Write;
use std::time::Duration;

use super::show::Renderer;
use super::view::{News, View};
use crate::output::printable;

/// When lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Nothing but warnings and notes before this much of the run has passed.
    pub silent: Duration,
    /// The time between two reports.
    pub every: Duration,
}

impl Pace {
    /// The pace of `--progress lines`.
    pub const ASKED: Self = Self { silent: Duration::ZERO, every: Duration::from_secs(5) };
    /// The pace of `auto` away from a terminal.
    pub const UNASKED: Self =
        Self { silent: Duration::from_secs(10), every: Duration::from_secs(30) };
    /// No reports at all.
    pub const NEVER: Self = Self { silent: Duration::MAX, every: Duration::MAX };
}

/// Writes lines to `out`.
pub(super) struct Lines {
    out: Box<dyn Write + Send>,
    pace: Pace,
    last: Option<Duration>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Lines {
    pub fn new(out: Box<dyn Write + Send>, pace: Pace) -> Self {
        Self { out, pace, last: None }
    }

    fn line(&mut self, text: &str) {
        // One write for a line, so that lines of several processes do not mix. Nobody can be
        // told that standard error is gone.
        let _ = self.out.write_all(format!("{}\n", printable(text)).as_bytes());
        let _ = self.out.flush();
    }

    fn report(&mut self, view: &View) {
        self.last = Some(view.elapsed);
        for disk in &view.disks {
            self.line(&format!("{} {}: {}", disk.phase, disk.id, disk.amount.words().trim_start()));
        }
        for task in &view.tasks {
            self.line(&format!("{}: {}", task.head(), task.text().trim_start()));
        }
        if view.disks.len() > 1 || view.ended > 0 && !view.disks.is_empty() {
            self.line(&format!("all: {}", view.total.words().trim_start()));
        }
    }
}

impl Renderer for Lines {
    fn interval(&self) -> Option<Duration> {
        (self.pace.silent != Duration::MAX).then_some(Duration::from_secs(1))
    }

    fn tick(&mut self, view: &View) {
        let from = self.last.unwrap_or(Duration::ZERO);
        let due = view.elapsed.saturating_sub(from) >= self.pace.every
            || self.last.is_none() && !self.pace.silent.is_zero();
        if view.elapsed >= self.pace.silent && due {
            self.report(view);
        }
    }

    fn news(&mut self, news: News<'_>, view: &View) {
        if let Some(text) = plain(news) {
            return self.line(&text);
        }
        if view.elapsed < self.pace.silent {
            return;
        }
        match news {
            News::Phase => self.line(&format!("phase: {}", view.phase)),
            News::DiskStarted(disk) | News::DiskPhase(disk) => {
                let size = crate::output::human_bytes(disk.amount.capacity);
                self.line(&format!("{} {}: {size}", disk.phase, disk.id));
            }
            News::DiskEnded(disk, end) => {
                self.line(&format!("{}: {}", disk.id, disk.summary(end)));
            }
            News::TaskStarted(task) => self.line(&task.head()),
            News::TaskStep(task) => {
                self.line(&format!("{}: {}", task.head(), task.text().trim_start()));
            }
            News::TaskEnded(task, done) => {
                let how = if done { "done in" } else { "failed after" };
                let span = crate::output::human_span(task.elapsed);
                self.line(&format!("{}: {how} {span}", task.head()));
            }
            News::Retry(..) | News::Warning(_) | News::Note(_) => {}
        }
    }

    fn suspend(&mut self, print: &mut dyn FnMut()) {
        print();
    }

    fn close(&mut self, _: &View) {}
}

/// The line for what is said in every mode that people read; `None` for mere progress.
pub(super) fn plain(news: News<'_>) -> Option<String> {
    match news {
        News::Warning(text) => Some(format!("warning: {text}")),
        News::Note(text) => Some(format!("note: {text}")),
        News::Retry(disk, why) => Some(format!("retry: {}: {why}", disk.id)),
        _ => None,
    }
}
