//! The wish to stop, seen by async code and by blocking threads alike, and the list of what would
//! remain if the program left at once.
//!
//! The run loop in `tool` raises it on the first signal or when `--timeout` has passed; every long
//! loop below looks at it and cleans up. Who creates something that a sudden end would leave
//! behind holds a [`Leftover`] for as long.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};

/// Why a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A signal: INT, TERM or HUP.
    Signal,
    /// The time that the caller allowed has passed.
    Timeout,
}

/// A shared wish to stop. Cheap to clone; every clone sees the same wish.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    notify: Notify,
    gate: Mutex<()>,
    bell: Condvar,
    next: AtomicU64,
    leftovers: Mutex<BTreeMap<u64, String>>,
}

const RUNNING: u8 = 0;
const SIGNALLED: u8 = 1;
const TIMED_OUT: u8 = 2;

impl Cancel {
    /// A wish that nobody has had yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to stop. The first reason stays.
    pub fn cancel(&self, reason: Reason) {
        let state = match reason {
            Reason::Signal => SIGNALLED,
            Reason::Timeout => TIMED_OUT,
        };
        // Under the gate, so that no thread can fall asleep between looking and waiting.
        let gate = lock(&self.0.gate);
        let _ = self.0.state.compare_exchange(RUNNING, state, Ordering::AcqRel, Ordering::Acquire);
        drop(gate);
        self.0.bell.notify_all();
        self.0.notify.notify_waiters();
    }

    /// Whether to stop. One atomic load: fit for inner loops.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why to stop, once someone asked.
    pub fn reason(&self) -> Option<Reason> {
        match self.0.state.load(Ordering::Acquire) {
            SIGNALLED => Some(Reason::Signal),
            TIMED_OUT => Some(Reason::Timeout),
            _ => None,
        }
    }

    /// For `?` in loops.
    ///
    /// # Errors
    /// `Interrupted` after a signal, `TimedOut` after the time allowed has passed.
    pub fn check(&self) -> Result<()> {
        self.reason().map_or(Ok(()), |reason| Err(stopped(reason)))
    }

    /// Waits for `work`, which is dropped when the run is told to stop.
    ///
    /// # Errors
    /// Those of `work` and of [`Cancel::check`].
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.cancelled() => Err(stopped(self.reason().unwrap_or(Reason::Signal))),
        }
    }

    /// Waits until asked to stop; for `tokio::select!`.
    pub async fn cancelled(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.notify.notified());
            // Registered before the look, so that a wish between both is not missed.
            notified.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Sleeps in a blocking thread for `time`, or until asked to stop; true when asked.
    pub fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now().checked_add(time);
        let mut gate = lock(&self.0.gate);
        while !self.is_cancelled() {
            let left = end.map_or(time, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            gate = self.0.bell.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Notes something that a sudden end would leave behind (a temporary file, a lease), in
    /// words for a person. Drop the answer once it is gone or has become a result.
    #[must_use = "the note ends when this is dropped"]
    pub fn leftover(&self, name: impl Into<String>) -> Leftover {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.leftovers).insert(key, name.into());
        Leftover { cancel: self.clone(), key }
    }

    /// What would remain if the program left now, in the order of creation.
    pub fn leftovers(&self) -> Vec<String> {
        lock(&self.0.leftovers).values().cloned().collect()
    }
}

/// A note about something that a sudden end would leave behind.
#[derive(Debug)]
pub struct Leftover {
    cancel: Cancel,
    key: u64,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        lock(&self.cancel.0.leftovers).remove(&self.key);
    }
}

/// A panic elsewhere leaves these plain values whole, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(reason: Reason) -> Error {
    match reason {
        Reason::Signal => Error::new(ErrorKind::Interrupted, "interrupted"),
        Reason::Timeout => {
            Error::new(ErrorKind::TimedOut, "the time given with --timeout has passed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_thread_and_a_task_wake_up() {
        let cancel = Cancel::new();
        let sleeper = std::thread::spawn({
            let cancel = cancel.clone();
            move || cancel.sleep(Duration::from_secs(60))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let waiting = tokio::spawn({
                let cancel = cancel.clone();
                async move { cancel.cancelled().await }
            });
            tokio::task::yield_now().await;
            cancel.cancel(Reason::Signal);
            waiting.await.unwrap();
            cancel.cancelled().await;
        });
        assert!(sleeper.join().unwrap());
        assert_eq!(cancel.check().unwrap_err().kind(), ErrorKind::Interrupted);
    }

    #[test]
    fn the_first_reason_stays() {
        let cancel = Cancel::new();
        assert!(cancel.check().is_ok());
        assert!(!cancel.sleep(Duration::from_millis(1)));
        cancel.cancel(Reason::Timeout);
        cancel.cancel(Reason::Signal);
        assert_eq!(cancel.check().unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_leftover_is_listed_until_dropped() {
        let cancel = Cancel::new();
        let first = cancel.leftover("out/.a.part");
        let _second = cancel.leftover("out/.b.part");
        assert_eq!(cancel.leftovers(), ["out/.a.part", "out/.b.part"]);
        drop(first);
        assert_eq!(cancel.leftovers(), ["out/.b.part"]);
    }
}
