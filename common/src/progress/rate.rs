//! Rates over a sliding window, and what is left.

use std::collections::VecDeque;
use std::time::Duration;

/// The span that rates look back over: long enough to be calm, short enough to follow a change.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples closer than this are not kept, which bounds the memory.
const SPACING: Duration = Duration::from_millis(200);
/// A rate over less than this would be noise.
const SHORTEST: Duration = Duration::from_millis(500);

/// Running sums at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Bytes of disk that were passed.
    pub position: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were written.
    pub written: u64,
}

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub position: f64,
    pub read: f64,
    pub written: f64,
}

/// The samples of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(Duration, Counts)>);

impl Window {
    /// Forgets all samples: a new pass begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the sums at `now` (time since the start) and gives the rates up to then; `None`
    /// while too little time was seen.
    pub fn sample(&mut self, now: Duration, counts: Counts) -> Option<Rates> {
        if self.0.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= SPACING) {
            self.0.push_back((now, counts));
        }
        // One sample from before the window stays, so that the window is always spanned.
        while self.0.get(1).is_some_and(|(next, _)| now.saturating_sub(*next) >= WINDOW) {
            self.0.pop_front();
        }
        let (first, from) = self.0.front()?;
        let span = now.checked_sub(*first).filter(|span| *span >= SHORTEST)?;
        let per_second = |to: u64, from: u64| to.saturating_sub(from) as f64 / span.as_secs_f64();
        Some(Rates {
            position: per_second(counts.position, from.position),
            read: per_second(counts.read, from.read),
            written: per_second(counts.written, from.written),
        })
    }
}

/// The time that `left` bytes take at `rate` bytes per second; `None` where nothing moves.
pub(super) fn time_left(left: u64, rate: f64) -> Option<Duration> {
    if left == 0 {
        return Some(Duration::ZERO);
    }
    // A year and more is no estimate.
    let seconds = left as f64 / rate;
    (rate > 0.0 && seconds < 365.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(position: u64) -> Counts {
        Counts { position, read: position / 2, written: 0 }
    }

    #[test]
    fn a_rate_follows_the_last_ten_seconds() {
        let mut window = Window::default();
        assert_eq!(window.sample(Duration::ZERO, counts(0)), None);
        let mut position = 0;
        let mut last = None;
        for second in 1..=60 {
            position += if second <= 30 { 1000 } else { 10 };
            last = window.sample(Duration::from_secs(second), counts(position));
        }
        let last = last.unwrap();
        assert!((last.position - 10.0).abs() < 0.01 && (last.read - 5.0).abs() < 0.2, "{last:?}");
        assert!(window.0.len() <= 12, "{}", window.0.len());
        for millis in 0..5000 {
            window.sample(Duration::from_millis(60_000 + millis), counts(position));
        }
        assert!(window.0.len() <= 52, "{}", window.0.len());
    }

    #[test]
    fn what_does_not_move_has_no_end() {
        assert_eq!(time_left(100, 0.0), None);
        assert_eq!(time_left(100, 1e-9), None);
        assert_eq!(time_left(0, 0.0), Some(Duration::ZERO));
        assert_eq!(time_left(100, 10.0), Some(Duration::from_secs(10)));
    }
}
