//! Progress as bars on a terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::plain;
use super::show::Renderer;
use super::view::{News, View};
use crate::output::{printable, terminal_width};

/// Characters of a disk's id that are shown before its bar, at most.
const ID_WIDTH: usize = 24;
/// Cells of a bar, at most, and the fewest that still show something.
const BAR_WIDTH: usize = 20;
const LEAST_BAR: usize = 4;
/// Room for the longest usual words after a bar.
const WORDS_WIDTH: usize = 54;
/// The width of a terminal that does not tell.
const USUAL_WIDTH: u16 = 80;
/// Bars are drawn at most this often in a second.
const DRAWS: u8 = 10;

/// Draws one bar for each disk at work and, where there are several, one for all.
pub(super) struct Bars {
    multi: MultiProgress,
    /// For warnings and notes, written while the bars are out of the way.
    out: Box<dyn Write + Send>,
    /// Columns of the terminal, asked for each time: it may be resized.
    columns: fn() -> usize,
    /// One for each disk and each task, by its key.
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
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
        let columns = || terminal_width(&std::io::stderr()).unwrap_or(USUAL_WIDTH).into();
        Self::on(target, Box::new(std::io::stderr()), columns)
    }

    pub fn on(
        target: ProgressDrawTarget,
        out: Box<dyn Write + Send>,
        columns: fn() -> usize,
    ) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self { multi, out, columns, disks: BTreeMap::new(), total: None }
    }
}

impl Renderer for Bars {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }

    fn tick(&mut self, view: &View) {
        let heads = view.disks.iter().map(|disk| format!("{} {}", disk.phase, shortened(&disk.id)));
        let tasks = view.tasks.iter().map(|task| format!("{} {}", task.doing, shortened(&task.id)));
        let heads: Vec<String> = heads.chain(tasks).collect();
        let layout = Layout::new((self.columns)(), &heads);
        let disks = view
            .disks
            .iter()
            .map(|disk| (disk.key, Some(disk.amount.percent()), disk.amount.words()));
        let tasks =
            view.tasks.iter().map(|task| (task.key, task.percent.map(u64::from), task.text()));
        for ((key, percent, words), head) in disks.chain(tasks).zip(&heads) {
            let bar = self.disks.entry(key).or_insert_with(|| match &self.total {
                Some(total) => self.multi.insert_before(total, new_bar()),
                None => self.multi.add(new_bar()),
            });
            bar.set_message(layout.line(head, percent, &words));
        }
        let several = view.disks.len() as u64 + view.ended > 1
            || view.disks.first().is_some_and(|disk| disk.amount.capacity < view.total.capacity);
        if several {
            let bar = self.total.get_or_insert_with(|| self.multi.add(new_bar()));
            let (percent, words) = (view.total.percent(), view.total.words());
            bar.set_message(layout.line(&format!("all: {}", view.phase), Some(percent), &words));
        }
    }

    fn news(&mut self, news: News<'_>, view: &View) {
        let ended = match news {
            News::DiskEnded(disk, _) => Some(disk.key),
            News::TaskEnded(task, _) => Some(task.key),
            _ => None,
        };
        if let Some(bar) = ended.and_then(|key| self.disks.remove(&key)) {
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
    let template = ProgressStyle::with_template("{wide_msg}");
    ProgressBar::no_length().with_style(template.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How a line is shared between what is before a bar, the bar, and the words after it.
struct Layout {
    head: usize,
    bar: usize,
}

impl Layout {
    /// For a terminal of so many columns and these heads. On a narrow one bars get shorter, then
    /// vanish; heads stay whole and the end of the words is cut.
    fn new(columns: usize, heads: &[String]) -> Self {
        let longest = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0);
        let head = longest.max("all: package".len());
        let room = columns.saturating_sub(WORDS_WIDTH + head + " [>] ".len());
        let bar = if room < LEAST_BAR { 0 } else { room.min(BAR_WIDTH) };
        Self { head, bar }
    }

    /// Without a bar where nobody knows how much there is.
    fn line(&self, head: &str, percent: Option<u64>, words: &str) -> String {
        let (width, cells) = (self.head, self.bar);
        let Some(percent) = percent.filter(|_| cells > 0) else {
            return format!("{head:<width$} {words}");
        };
        let percent = usize::try_from(percent).unwrap_or(100).min(100);
        let filled = percent * cells / 100;
        let tip = if filled < cells && percent > 0 { ">" } else { "" };
        let bar = "=".repeat(filled) + tip;
        format!("{head:<width$} [{bar:<cells$}] {words}")
    }
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

#[cfg(test)]
mod tests {
    use super::super::view::Amount;
    use super::*;

    #[test]
    fn a_line_fits_its_terminal_while_there_is_room() {
        let amount = Amount {
            position: 1_288_490_188,
            capacity: 4 << 30,
            read: 1,
            written: 0,
            retries: 0,
            rates: Some(super::super::rate::Rates { position: 1e8, read: 3.2e8, written: 0.0 }),
            left: Some(Duration::from_secs(3_725)),
        };
        let heads = ["copy web01-disk0".to_owned(), "verify db".to_owned()];
        let bar_of = |columns| {
            let layout = Layout::new(columns, &heads);
            let line = layout.line(&heads[0], Some(amount.percent()), &amount.words());
            let length = line.chars().count();
            assert!(columns < 72 || length <= columns, "{columns}: {line}");
            line.split_once('[').map_or(0, |(_, rest)| rest.split_once(']').unwrap().0.len())
        };
        assert_eq!([bar_of(60), bar_of(80), bar_of(90), bar_of(200)], [0, 5, 15, 20]);
    }
}
