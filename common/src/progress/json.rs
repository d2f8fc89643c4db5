//! Progress as JSON, one object to a line: `hyper.progress/v1`.
//!
//! Every object has `schema`, `time` (RFC 3339), `event` and `elapsed_seconds`. Events `progress`,
//! `phase` and `end` carry `phase`, `disks` (those at work) and `total`, and `tasks` where there are
//! some; `disk_started`, `disk_phase`, `disk_ended` and `retry` carry `disk`; `task_started`,
//! `task_step` and `task_ended` carry `task`; `warning`, `note` and `retry` carry
//! `message`. Rates are bytes per second over the last ten seconds.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::show::Renderer;
use super::task::TaskView;
use super::view::{Amount, DiskView, News, View};
use super::{DiskEnd, Phase};

/// Writes one JSON object a line to `out`.
pub(super) struct Json {
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Json")
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    time: Timestamp,
    event: &'static str,
    elapsed_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disks: Option<Vec<DiskJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<TaskJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<AmountJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct DiskJson<'a> {
    id: &'a str,
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<DiskEnd>,
    elapsed_seconds: f64,
    #[serde(flatten)]
    amount: AmountJson,
}

#[derive(Serialize)]
struct TaskJson<'a> {
    id: &'a str,
    doing: &'a str,
    words: Option<&'a str>,
    percent: Option<u8>,
    /// Whether it was done, once it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    elapsed_seconds: f64,
}

#[derive(Serialize)]
struct AmountJson {
    position_bytes: u64,
    capacity_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
    retries: u64,
    position_rate: Option<u64>,
    read_rate: Option<u64>,
    write_rate: Option<u64>,
    left_seconds: Option<f64>,
}

impl Json {
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }

    fn write(&mut self, line: &Line<'_>) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        // Nobody can be told that standard error is gone.
        let _ = self.out.write_all(&text).and_then(|()| self.out.flush());
    }

    fn overall(&mut self, event: &'static str, view: &View) {
        let disks = view.disks.iter().map(|disk| disk_json(disk, None)).collect();
        let mut line = line(event, view);
        line.phase = Some(view.phase);
        line.disks = Some(disks);
        line.tasks = view.tasks.iter().map(|task| task_json(task, None)).collect();
        line.total = Some(amount_json(&view.total));
        self.write(&line);
    }
}

impl Renderer for Json {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, view: &View) {
        self.overall("progress", view);
    }

    fn news(&mut self, news: News<'_>, view: &View) {
        let task = match news {
            News::TaskStarted(task) | News::TaskStep(task) => Some(task_json(task, None)),
            News::TaskEnded(task, done) => Some(task_json(task, Some(done))),
            _ => None,
        };
        let (event, disk, message) = match news {
            News::Phase => return self.overall("phase", view),
            News::DiskStarted(disk) => ("disk_started", Some(disk_json(disk, None)), None),
            News::DiskPhase(disk) => ("disk_phase", Some(disk_json(disk, None)), None),
            News::DiskEnded(disk, end) => ("disk_ended", Some(disk_json(disk, Some(end))), None),
            News::Retry(disk, why) => ("retry", Some(disk_json(disk, None)), Some(why)),
            News::TaskStarted(_) => ("task_started", None, None),
            News::TaskStep(_) => ("task_step", None, None),
            News::TaskEnded(..) => ("task_ended", None, None),
            News::Warning(text) => ("warning", None, Some(text)),
            News::Note(text) => ("note", None, Some(text)),
        };
        let mut line = line(event, view);
        (line.disk, line.task, line.message) = (disk, task, message);
        self.write(&line);
    }

    fn suspend(&mut self, print: &mut dyn FnMut()) {
        print();
    }

    fn close(&mut self, view: &View) {
        self.overall("end", view);
    }
}

fn line<'a>(event: &'static str, view: &View) -> Line<'a> {
    Line {
        schema: "hyper.progress/v1",
        time: Timestamp::now(),
        event,
        elapsed_seconds: seconds(view.elapsed),
        phase: None,
        disks: None,
        tasks: Vec::new(),
        disk: None,
        task: None,
        total: None,
        message: None,
    }
}

fn disk_json(disk: &DiskView, end: Option<DiskEnd>) -> DiskJson<'_> {
    DiskJson {
        id: &disk.id,
        phase: disk.phase,
        end,
        elapsed_seconds: seconds(disk.elapsed),
        amount: amount_json(&disk.amount),
    }
}

fn task_json(task: &TaskView, done: Option<bool>) -> TaskJson<'_> {
    let (words, percent) = (task.words.as_deref(), task.percent);
    let elapsed_seconds = seconds(task.elapsed);
    TaskJson { id: &task.id, doing: &task.doing, words, percent, done, elapsed_seconds }
}

fn amount_json(amount: &Amount) -> AmountJson {
    AmountJson {
        position_bytes: amount.position,
        capacity_bytes: amount.capacity,
        read_bytes: amount.read,
        written_bytes: amount.written,
        retries: amount.retries,
        position_rate: amount.rates.map(|rates| rates.position as u64),
        read_rate: amount.rates.map(|rates| rates.read as u64),
        write_rate: amount.rates.map(|rates| rates.written as u64),
        left_seconds: amount.left.map(seconds),
    }
}

/// Milliseconds are all that is meant.
fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
}
