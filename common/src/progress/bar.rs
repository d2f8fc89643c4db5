//! Progress as bars on a terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::plain;
use super::show::Renderer;
use super::view::{Amount, News, View};
use crate::output::printable;

/// Bytes of a disk's id that are shown before its bar.
const ID_WIDTH: usize = 24;
/// Room for the longest name of a phase and a space.
const PHASE_WIDTH: usize = 8;
/// Cells of a bar.
const BAR_WIDTH: usize = 20;
/// Bars are drawn at most this often in a second.
const DRAWS: u8 = 10;

/// Draws one bar for each disk at work and, where there are several, one for all.
pub(super) struct Bars {
    multi: MultiProgress,
    /// For warnings and notes, written while the bars are out of the way.
    out: Box<dyn Write + Send>,
    disks: BTreeMap<u64, ProgressBar>,
    total: Option<ProgressBar>,
}

impl std::fmt::Debug for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bars").field("disks", &self.disks.len()).finish_non_exhaustive()
    }
}

impl Bars {
    pub fn on_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(DRAWS), Box::new(std::io::stderr()))
    }

    pub fn on(target: ProgressDrawTarget, out: Box<dyn Write + Send>) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self { multi, out, disks: BTreeMap::new(), total: None }
    }

    fn update_total(&mut self, view: &View) {
        let several = view.disks.len() as u64 + view.ended > 1
            || view.disks.first().is_some_and(|disk| disk.amount.capacity < view.total.capacity);
        if !several {
            return;
        }
        let bar = self.total.get_or_insert_with(|| self.multi.add(new_bar()));
        bar.set_message(text(&format!("all: {}", view.phase), &view.total));
    }
}

impl Renderer for Bars {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }

    fn tick(&mut self, view: &View) {
        for disk in &view.disks {
            let bar = self.disks.entry(disk.key).or_insert_with(|| match &self.total {
                Some(total) => self.multi.insert_before(total, new_bar()),
                None => self.multi.add(new_bar()),
            });
            let prefix = format!("{} {}", disk.phase, shortened(&disk.id));
            bar.set_message(text(&prefix, &disk.amount));
        }
        self.update_total(view);
    }

    fn news(&mut self, news: News<'_>, view: &View) {
        if let News::DiskEnded(disk, _) = news
            && let Some(bar) = self.disks.remove(&disk.key)
        {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        let Some(text) = plain(news) else { return self.tick(view) };
        let line = format!("{}\n", printable(&text));
        let out = &mut self.out;
        // Nobody can be told that the terminal is gone.
        self.multi.suspend(|| drop(out.write_all(line.as_bytes()).and_then(|()| out.flush())));
    }

    fn suspend(&mut self, print: &mut dyn FnMut()) {
        self.multi.suspend(print);
    }

    fn close(&mut self, _: &View) {
        for bar in self.disks.values().chain(self.total.as_ref()) {
            bar.finish_and_clear();
        }
        let _ = self.multi.clear();
    }
}

/// A line of its own in the display. The text is composed here and set at once: setting length,
/// position, prefix and message one by one would draw the states in between.
fn new_bar() -> ProgressBar {
    let template = ProgressStyle::with_template("{msg}");
    ProgressBar::no_length().with_style(template.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn text(prefix: &str, amount: &Amount) -> String {
    let percent = usize::try_from(amount.percent()).unwrap_or(100).min(100);
    let filled = percent * BAR_WIDTH / 100;
    let done = "=".repeat(filled);
    let head = if filled < BAR_WIDTH && percent > 0 { ">" } else { "" };
    let width = ID_WIDTH + PHASE_WIDTH;
    format!("{prefix:<width$} [{:<BAR_WIDTH$}] {}", done + head, amount.words())
}

/// The end of a long id is what tells disks apart.
fn shortened(id: &str) -> String {
    let id = printable(id);
    let count = id.chars().count();
    if count <= ID_WIDTH {
        return id;
    }
    let end: String = id.chars().skip(count - (ID_WIDTH - 1)).collect();
    format!("…{end}")
}
