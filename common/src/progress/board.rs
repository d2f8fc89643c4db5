//! What is known of a run: counters that any thread moves, and the one place where they become a
//! picture.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::rate::{Counts, Window, time_left};
use super::task::Task;
use super::view::{Amount, DiskView, View};
use super::{DiskEnd, Phase};

/// The counters of one disk. Moving them takes no lock.
#[derive(Debug)]
pub(super) struct Disk {
    pub key: u64,
    pub id: String,
    pub capacity: u64,
    started: Duration,
    phase: AtomicU8,
    position: AtomicU64,
    /// Bytes of the passes that ended before the current one.
    passed: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
    retries: AtomicU64,
    ended: AtomicBool,
    window: Mutex<Window>,
}

const PHASES: [Phase; 5] = [Phase::Plan, Phase::Copy, Phase::Verify, Phase::Package, Phase::Finish];

impl Disk {
    pub fn new(key: u64, id: &str, capacity: u64, started: Duration) -> Self {
        Self {
            key,
            id: id.to_owned(),
            capacity,
            started,
            phase: AtomicU8::new(Phase::Copy as u8),
            position: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            window: Mutex::default(),
        }
    }

    pub fn advance(&self, position: u64, read: u64, written: u64) {
        self.position.fetch_max(position.min(self.capacity), Ordering::Relaxed);
        self.read.fetch_add(read, Ordering::Relaxed);
        self.written.fetch_add(written, Ordering::Relaxed);
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        if phase.is_pass() && self.position.swap(0, Ordering::Relaxed) > 0 {
            self.passed.fetch_add(self.capacity, Ordering::Relaxed);
            self.window().clear();
        }
    }

    /// Marks the end; whether this call was the one that did.
    pub fn end(&self, end: DiskEnd) -> bool {
        if self.ended.swap(true, Ordering::AcqRel) {
            return false;
        }
        if end != DiskEnd::Failed {
            self.position.store(self.capacity, Ordering::Relaxed);
        }
        true
    }

    pub fn view(&self, now: Duration) -> DiskView {
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        let counts = Counts {
            position: self.position.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        };
        let rates = self.window().sample(now, counts);
        DiskView {
            key: self.key,
            id: self.id.clone(),
            phase: PHASES.get(phase).copied().unwrap_or(Phase::Copy),
            amount: amount(counts, self.capacity, rates, self.retries.load(Ordering::Relaxed)),
            elapsed: now.saturating_sub(self.started),
        }
    }

    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes over all passes so far: passed, and to pass.
    fn work(&self) -> (u64, u64) {
        let passed = self.passed.load(Ordering::Relaxed);
        let position = self.position.load(Ordering::Relaxed);
        (passed.saturating_add(position), passed.saturating_add(self.capacity))
    }
}

/// The run: its phase, the disks at work, the sums of those that ended.
#[derive(Debug)]
pub(super) struct Board {
    pub phase: Phase,
    expected: u64,
    next_key: u64,
    running: Vec<Arc<Disk>>,
    tasks: Vec<Arc<Task>>,
    ended: u64,
    /// Of the disks that ended.
    sums: Counts,
    work: u64,
    retries: u64,
    window: Window,
}

impl Board {
    pub fn new() -> Self {
        Self {
            phase: Phase::Plan,
            expected: 0,
            next_key: 0,
            running: Vec::new(),
            tasks: Vec::new(),
            ended: 0,
            sums: Counts::default(),
            work: 0,
            retries: 0,
            window: Window::default(),
        }
    }

    pub fn expect(&mut self, bytes: u64) {
        self.expected = self.expected.saturating_add(bytes);
    }

    pub fn add(&mut self, id: &str, capacity: u64, now: Duration) -> Arc<Disk> {
        let disk = Arc::new(Disk::new(self.next_key, id, capacity, now));
        self.next_key += 1;
        self.running.push(disk.clone());
        disk
    }

    pub fn add_task(&mut self, id: &str, doing: &str, now: Duration) -> Arc<Task> {
        let task = Arc::new(Task::new(self.next_key, id, doing, now));
        self.next_key += 1;
        self.tasks.push(task.clone());
        task
    }

    pub fn remove_task(&mut self, task: &Task) {
        self.tasks.retain(|other| other.key != task.key);
    }

    /// Takes a disk that ended out of those at work, so that the memory for it is freed.
    pub fn remove(&mut self, disk: &Disk) {
        self.running.retain(|other| other.key != disk.key);
        let (position, work) = disk.work();
        self.ended += 1;
        self.work = self.work.saturating_add(work);
        self.sums.position = self.sums.position.saturating_add(position);
        self.sums.read += disk.read.load(Ordering::Relaxed);
        self.sums.written += disk.written.load(Ordering::Relaxed);
        self.retries += disk.retries.load(Ordering::Relaxed);
    }

    pub fn view(&mut self, now: Duration) -> View {
        let (mut sums, mut work, mut retries) = (self.sums, self.work, self.retries);
        for disk in &self.running {
            let (position, disk_work) = disk.work();
            sums.position = sums.position.saturating_add(position);
            work = work.saturating_add(disk_work);
            sums.read += disk.read.load(Ordering::Relaxed);
            sums.written += disk.written.load(Ordering::Relaxed);
            retries += disk.retries.load(Ordering::Relaxed);
        }
        let rates = self.window.sample(now, sums);
        View {
            phase: self.phase,
            elapsed: now,
            disks: self.running.iter().map(|disk| disk.view(now)).collect(),
            ended: self.ended,
            tasks: self.tasks.iter().map(|task| task.view(now)).collect(),
            total: amount(sums, work.max(self.expected), rates, retries),
        }
    }
}

fn amount(
    counts: Counts,
    capacity: u64,
    rates: Option<super::rate::Rates>,
    retries: u64,
) -> Amount {
    let left = capacity.saturating_sub(counts.position);
    Amount {
        position: counts.position,
        capacity,
        read: counts.read,
        written: counts.written,
        retries,
        rates,
        left: rates.and_then(|rates| time_left(left, rates.position)),
    }
}
