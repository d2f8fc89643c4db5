//! Events of several contexts in one order. Each is held back for a while, in which those of other
//! contexts that happened before it may come; the order within a context never changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper_common::provider::Told;
use jiff::Timestamp;
use tokio::time::Instant;

/// Where an event stands: by its time, never before one of its own context that came earlier, and
/// by when it came.
type Key = (Timestamp, u64);

/// The events that are held back.
#[derive(Debug)]
pub struct Merge {
    delay: Duration,
    held: BTreeMap<Key, (String, Told)>,
    /// When each came, in that order.
    came: VecDeque<(Instant, Key)>,
    /// The latest time of each context.
    latest: BTreeMap<String, Timestamp>,
    /// The latest time that was given out.
    given: Timestamp,
    number: u64,
}

impl Merge {
    /// Nothing is held yet; each event is for `delay`.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            held: BTreeMap::new(),
            came: VecDeque::new(),
            latest: BTreeMap::new(),
            given: Timestamp::MIN,
            number: 0,
        }
    }

    /// Takes an event that came at `now`.
    pub fn take(&mut self, context: &str, told: Told, now: Instant) {
        let latest = self.latest.entry(context.to_owned()).or_insert(Timestamp::MIN);
        *latest = told.event.created_time.max(*latest);
        self.number += 1;
        let key = (*latest, self.number);
        self.held.insert(key, (context.to_owned(), told));
        self.came.push_back((now, key));
    }

    /// When the next is due.
    pub fn due(&mut self) -> Option<Instant> {
        while self.came.front().is_some_and(|(_, key)| !self.held.contains_key(key)) {
            self.came.pop_front();
        }
        self.came.front().map(|(came, _)| *came + self.delay)
    }

    /// Gives out what is due at `now`, and what happened before that.
    pub fn give(&mut self, now: Instant) -> Vec<(String, Told)> {
        let mut last: Option<Key> = None;
        while let Some((came, key)) = self.came.front().copied() {
            if came + self.delay > now {
                break;
            }
            self.came.pop_front();
            if self.held.contains_key(&key) {
                last = last.max(Some(key));
            }
        }
        let Some(last) = last else { return Vec::new() };
        let later = self.held.split_off(&last);
        let mut due = std::mem::replace(&mut self.held, later);
        due.extend(self.held.remove(&last).map(|it| (last, it)));
        self.order(due)
    }

    /// Gives out all that is held.
    pub fn rest(&mut self) -> Vec<(String, Told)> {
        self.came.clear();
        let all = std::mem::take(&mut self.held);
        self.order(all)
    }

    fn order(&mut self, all: BTreeMap<Key, (String, Told)>) -> Vec<(String, Told)> {
        let several = self.latest.len() > 1;
        let mut given = Vec::with_capacity(all.len());
        for (context, mut told) in all.into_values() {
            told.event.late = several && told.event.created_time < self.given;
            self.given = self.given.max(told.event.created_time);
            given.push((context, told));
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use hyper_common::provider::{Gap, GapReason};

    use super::*;

    fn told(context: &str, second: i64) -> Told {
        let gap = Gap { reason: GapReason::Forgotten, after: None, before: None };
        let mut event = gap.record(context, "vsphere");
        event.created_time = Timestamp::from_second(second).unwrap();
        Told { event, place: None }
    }

    fn shown(given: Vec<(String, Told)>) -> Vec<(String, i64, bool)> {
        let one = |(context, told): (String, Told)| {
            (context, told.event.created_time.as_second(), told.event.late)
        };
        given.into_iter().map(one).collect()
    }

    #[test]
    fn what_comes_within_the_delay_is_put_in_order_and_the_rest_is_late() {
        let mut merge = Merge::new(Duration::from_secs(2));
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        assert!(merge.due().is_none());
        merge.take("a", told("a", 10), at(0));
        merge.take("b", told("b", 9), at(10));
        merge.take("b", told("b", 12), at(11));
        assert_eq!(merge.due(), Some(at(20)));
        assert!(merge.give(at(19)).is_empty());
        let first = shown(merge.give(at(20)));
        assert_eq!(first, [("b".into(), 9, false), ("a".into(), 10, false)]);
        assert_eq!(merge.due(), Some(at(31)), "what went out early is not waited for");
        merge.take("a", told("a", 8), at(25));
        merge.take("a", told("a", 11), at(25));
        let rest = shown(merge.rest());
        // The order of a stays: 8 came behind 10.
        assert_eq!(rest, [("a".into(), 8, true), ("a".into(), 11, false), ("b".into(), 12, false)]);
        assert!(merge.rest().is_empty());
    }

    #[test]
    fn one_context_keeps_its_order_and_nothing_is_late() {
        let mut merge = Merge::new(Duration::ZERO);
        let now = Instant::now();
        merge.take("a", told("a", 10), now);
        merge.take("a", told("a", 9), now);
        assert_eq!(shown(merge.give(now)), [("a".into(), 10, false), ("a".into(), 9, false)]);
    }
}
