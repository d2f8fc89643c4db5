//! What joins the counters to a renderer: the reporter itself, and the thread that looks at the
//! counters from time to time.

use std::fmt::Debug;
use std::io::IsTerminal;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bar::Bars;
use super::board::{Board, Disk};
use super::json::Json;
use super::lines::{Lines, Pace};
use super::mode::Shown;
use super::task::Task;
use super::view::{News, View};
use super::{DiskEnd, DiskProgress, Phase, ProgressMode, Reporter, TaskProgress};

/// One way to show progress.
pub(super) trait Renderer: Debug + Send {
    /// The time between two ticks; `None`: it wants none.
    fn interval(&self) -> Option<Duration>;
    /// Time has passed.
    fn tick(&mut self, view: &View);
    /// Something happened.
    fn news(&mut self, news: News<'_>, view: &View);
    /// Someone else writes to the terminal.
    fn suspend(&mut self, print: &mut dyn FnMut());
    /// The run is over; afterwards the terminal is as if nothing had been drawn.
    fn close(&mut self, view: &View);
}

/// The progress display of one run, from its start until it is dropped.
#[derive(Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    quiet: bool,
    state: Mutex<State>,
    /// Rung at the end, for the ticker.
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    board: Board,
    renderer: Box<dyn Renderer>,
    closed: bool,
}

impl Progress {
    /// Starts the display on standard error. `quiet` leaves out notes, and all progress that was
    /// not asked for by name.
    pub fn start(mode: ProgressMode, quiet: bool) -> Self {
        let stderr = Box::new(std::io::stderr());
        let renderer: Box<dyn Renderer> = match mode.shown(quiet, stderr.is_terminal()) {
            Shown::Bars => Box::new(Bars::on_stderr()),
            Shown::Lines(pace) => Box::new(Lines::new(stderr, pace)),
            Shown::Json => Box::new(Json::new(stderr)),
        };
        Self::with(renderer, quiet)
    }

    pub(super) fn with(renderer: Box<dyn Renderer>, quiet: bool) -> Self {
        let interval = renderer.interval();
        let shared = Arc::new(Shared {
            started: Instant::now(),
            quiet,
            state: Mutex::new(State { board: Board::new(), renderer, closed: false }),
            bell: Condvar::new(),
        });
        // Without the thread there is no periodic news, which is no reason to fail a run.
        let ticker = interval.and_then(|interval| {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("hyper-progress".into());
            thread.spawn(move || shared.tick_until_closed(interval)).ok()
        });
        Self { shared, ticker }
    }

    /// What the data path reports to. May be kept longer than the display: warnings and notes
    /// then still come as plain lines.
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::new(Hub(self.shared.clone()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let view = state.board.view(self.shared.started.elapsed());
        state.renderer.close(&view);
        state.closed = true;
        state.renderer = Box::new(Lines::new(Box::new(std::io::stderr()), Pace::NEVER));
        drop(state);
        self.shared.bell.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // A panic of the ticker was reported by the panic hook.
            let _ = ticker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick_until_closed(&self, interval: Duration) {
        let mut state = self.lock();
        while !state.closed {
            let waited = self.bell.wait_timeout(state, interval);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && !state.closed {
                state.tick(self.started.elapsed());
            }
        }
    }

    fn news(&self, news: News<'_>) {
        self.lock().news(news, self.started.elapsed());
    }
}

impl State {
    fn tick(&mut self, now: Duration) {
        let view = self.board.view(now);
        self.renderer.tick(&view);
    }

    fn news(&mut self, news: News<'_>, now: Duration) {
        let view = self.board.view(now);
        self.renderer.news(news, &view);
    }
}

/// The side of the display that the data path sees.
#[derive(Debug)]
struct Hub(Arc<Shared>);

impl Reporter for Hub {
    fn expect(&self, bytes: u64) {
        self.0.lock().board.expect(bytes);
    }

    fn phase(&self, phase: Phase) {
        let mut state = self.0.lock();
        state.board.phase = phase;
        state.news(News::Phase, self.0.started.elapsed());
    }

    fn disk(&self, id: &str, capacity: u64) -> Arc<dyn DiskProgress> {
        let now = self.0.started.elapsed();
        let mut state = self.0.lock();
        let disk = state.board.add(id, capacity, now);
        state.news(News::DiskStarted(&disk.view(now)), now);
        drop(state);
        Arc::new(Handle { disk, shared: self.0.clone() })
    }

    fn task(&self, id: &str, doing: &str) -> Arc<dyn TaskProgress> {
        let now = self.0.started.elapsed();
        let mut state = self.0.lock();
        let task = state.board.add_task(id, doing, now);
        state.news(News::TaskStarted(&task.view(now)), now);
        drop(state);
        Arc::new(TaskHandle { task, shared: self.0.clone() })
    }

    fn warn(&self, text: &str) {
        self.0.news(News::Warning(text));
    }

    fn note(&self, text: &str) {
        if !self.0.quiet {
            self.0.news(News::Note(text));
        }
    }

    fn suspend(&self, print: &mut dyn FnMut()) {
        self.0.lock().renderer.suspend(print);
    }
}

/// One disk's side.
#[derive(Debug)]
struct Handle {
    disk: Arc<Disk>,
    shared: Arc<Shared>,
}

impl DiskProgress for Handle {
    fn phase(&self, phase: Phase) {
        let now = self.shared.started.elapsed();
        let mut state = self.shared.lock();
        self.disk.enter(phase);
        state.news(News::DiskPhase(&self.disk.view(now)), now);
    }

    fn advance(&self, position: u64, read: u64, written: u64) {
        self.disk.advance(position, read, written);
    }

    fn retry(&self, why: &str) {
        self.disk.retried();
        let view = self.disk.view(self.shared.started.elapsed());
        self.shared.news(News::Retry(&view, why));
    }

    fn finish(&self, end: DiskEnd) {
        let now = self.shared.started.elapsed();
        let mut state = self.shared.lock();
        if self.disk.end(end) {
            state.board.remove(&self.disk);
            state.news(News::DiskEnded(&self.disk.view(now), end), now);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.finish(DiskEnd::Failed);
    }
}

/// One task's side.
#[derive(Debug)]
struct TaskHandle {
    task: Arc<Task>,
    shared: Arc<Shared>,
}

impl TaskProgress for TaskHandle {
    fn step(&self, words: Option<&str>, percent: Option<u8>) {
        if self.task.step(words, percent) {
            let view = self.task.view(self.shared.started.elapsed());
            self.shared.news(News::TaskStep(&view));
        }
    }

    fn finish(&self, done: bool) {
        let now = self.shared.started.elapsed();
        let mut state = self.shared.lock();
        if self.task.end() {
            state.board.remove_task(&self.task);
            state.news(News::TaskEnded(&self.task.view(now), done), now);
        }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.finish(false);
    }
}
