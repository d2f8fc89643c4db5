//! Work that is not a disk: a machine that is being started, moved, copied by its platform.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::output::human_span;

/// Hundredths between two steps that are told.
const TENTH: u8 = 10;

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

    /// Takes what the platform says; whether that is worth a line of its own: other words, or
    /// another ten hundredths.
    pub fn step(&self, words: Option<&str>, percent: Option<u8>) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.clone();
        said.percent = percent.map(|percent| percent.min(100)).or(said.percent);
        said.words = words.map(str::to_owned).or_else(|| said.words.take());
        let tens = |said: &Said| said.percent.map(|percent| percent / TENTH);
        said.words != before.words || tens(&said) != tens(&before)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let task = Task::new(0, "web01", "start", Duration::ZERO);
        assert!(task.step(Some("Scheduling"), None));
        assert!(!task.step(Some("Scheduling"), None));
        assert!(task.step(None, Some(4)), "a first number");
        assert!(!task.step(None, Some(9)));
        assert!(task.step(None, Some(250)));
        let view = task.view(Duration::from_secs(12));
        assert_eq!(
            (view.head(), view.text()),
            ("start web01".into(), "100% Scheduling, 12s".into())
        );
        assert!(task.end() && !task.end());
    }
}
