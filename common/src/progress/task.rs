//! Work that is not a disk: a machine that is being started, moved, copied by its platform.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::output::human_span;

/// What is known of a task.
#[derive(Debug)]
pub(super) struct Task {
    pub key: u64,
    id: String,
    doing: String,
    started: Duration,
    said: Mutex<Said>,
    ended: AtomicBool,
}

/// What the platform said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    words: Option<String>,
    percent: Option<u8>,
}

/// A task at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskView {
    pub key: u64,
    /// What is worked on.
    pub id: String,
    /// What is done to it.
    pub doing: String,
    /// The platform's word for what is done now.
    pub words: Option<String>,
    /// Hundredths that are done, where the platform tells.
    pub percent: Option<u8>,
    /// Since it started.
    pub elapsed: Duration,
}

impl Task {
    pub fn new(key: u64, id: &str, doing: &str, started: Duration) -> Self {
        let (id, doing) = (id.to_owned(), doing.to_owned());
        Self { key, id, doing, started, said: Mutex::default(), ended: AtomicBool::new(false) }
    }

    /// Takes what the platform says; whether its words are others than before.
    pub fn step(&self, words: Option<&str>, percent: Option<u8>) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.percent = percent.map(|percent| percent.min(100)).or(said.percent);
        match words {
            Some(words) if said.words.as_deref() != Some(words) => {
                said.words = Some(words.to_owned());
                true
            }
            _ => false,
        }
    }

    /// Marks the end; whether this call was the one that did.
    pub fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub fn view(&self, now: Duration) -> TaskView {
        let Said { words, percent } =
            self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let elapsed = now.saturating_sub(self.started);
        TaskView {
            key: self.key,
            id: self.id.clone(),
            doing: self.doing.clone(),
            words,
            percent,
            elapsed,
        }
    }
}

impl TaskView {
    /// `start web01`.
    pub fn head(&self) -> String {
        format!("{} {}", self.doing, self.id)
    }

    /// `45% PreparingTarget, 12s`.
    pub fn text(&self) -> String {
        let percent = self.percent.map(|percent| format!("{percent:>3}% ")).unwrap_or_default();
        let words = self.words.as_ref().map(|words| format!("{words}, ")).unwrap_or_default();
        format!("{percent}{words}{}", human_span(self.elapsed))
    }
}
