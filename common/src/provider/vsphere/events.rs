//! Events of a vCenter or a host (`EventManager` of the vSphere API), from the history that the
//! server keeps and, to follow it, from the latest page of a collector. What was told is known by
//! the events' keys; the history is read again wherever a page may not hold all that came.

use std::collections::BTreeMap;
use std::time::Duration;

use async_stream::try_stream;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::client::Client;
use super::collector::{Collector, Scope};
use super::event::{Item, Reader};
use super::fault::{fault_of, is_logged_out};
use super::{NAME, Vsphere};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Contact, Contacted};
use crate::provider::facets::events::{EventQuery, Events, Gap, GapReason, Pattern, Told};

/// How often the server is asked for what is new.
const LOOK: Duration = Duration::from_millis(700);

/// How many events the page holds that is looked at. Where more came between two looks, the history
/// is read.
const PAGE: usize = 32;

/// How far the history is read behind the last event that was told.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

/// First and longest wait before a lost server is asked again.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// How often in a row a login may be refused: it may be renewed meanwhile.
const REFUSALS: u32 = 3;

/// How many keys are remembered. Servers show events of several hosts slightly out of order.
const KEYS: usize = 4096;

#[async_trait]
impl Events for Vsphere {
    fn events(&self, query: EventQuery, stop: Cancel) -> BoxStream<'_, Result<Told>> {
        let client = self.client().clone();
        if query.follow { follow(client, query, stop) } else { list(client, query, stop) }
    }

    async fn unknown_types(&self, types: &[Pattern]) -> Result<Vec<String>> {
        Ok(Reader::new(self.client()).await?.unknown(types))
    }
}

/// An event that was told: no other server has one of this key and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    key: i64,
    time: Timestamp,
}

impl Mark {
    fn read(value: &Json) -> Option<Self> {
        let time = value.get("time")?.as_str()?.parse().ok()?;
        Some(Self { key: value.get("key")?.as_i64()?, time })
    }
}

/// Whether the server still has an event, in its history from a moment on.
async fn is_kept(client: &Client, event: Mark, begin: Option<Timestamp>) -> Result<bool> {
    let collector = Collector::new(client, &Scope::default(), begin).await?;
    let found = loop {
        match collector.next().await {
            Ok(items) if items.iter().any(|it| it.key == event.key && it.time == event.time) => {
                break Ok(true);
            }
            Ok(items) if items.is_empty() || items.iter().any(|it| it.time > late(event)) => {
                break Ok(false);
            }
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    collector.destroy().await;
    found
}

/// Servers tell nothing that is later than this before an event.
fn late(event: Mark) -> Timestamp {
    event.time.saturating_add(OVERLAP).unwrap_or(event.time)
}

/// What was told already.
#[derive(Debug)]
struct Seen {
    /// Keys up to this one are not told any more.
    floor: i64,
    /// Those above that were told.
    keys: BTreeMap<i64, ()>,
    /// The last of them.
    last: Option<Mark>,
    /// Whether that may not be among what the server is asked for: a cursor's is the last of what was
    /// asked for then.
    foreign: bool,
    /// Nothing that is older is told.
    since: Option<Timestamp>,
}

impl Seen {
    fn new(query: &EventQuery) -> Self {
        let last = query.place.as_ref().and_then(Mark::read);
        let since = query.since.filter(|_| last.is_none());
        let filter = &query.filter;
        let all = query.subjects.is_empty() && filter.types.is_empty() && filter.users.is_empty();
        let floor = last.map_or(i64::MIN, |it| it.key);
        Self { floor, keys: BTreeMap::new(), last, foreign: last.is_some() && !all, since }
    }

    /// From when the history is read.
    fn begin(&self) -> Option<Timestamp> {
        let last = self.last.map(|it| it.time.saturating_sub(OVERLAP).unwrap_or(it.time));
        last.or(self.since)
    }

    /// Looks for the last event that was told.
    fn search(&self) -> Search {
        Search { last: self.last, held: Vec::new() }
    }

    /// The same, in a history in which it need not be: then all that happened is read for it.
    async fn search_on(&self, client: &Client) -> Result<Search> {
        match self.last.filter(|_| self.foreign) {
            Some(last) if is_kept(client, last, self.begin()).await? => {
                Ok(Search { last: None, held: Vec::new() })
            }
            _ => Ok(self.search()),
        }
    }

    fn is_new(&self, item: &Item) -> bool {
        item.key > self.floor
            && !self.keys.contains_key(&item.key)
            && self.since.is_none_or(|since| item.time >= since)
    }

    /// What of some events is new, in the order of their keys; it is told from now on.
    fn take(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        items.sort_by_key(|item| item.key);
        items.retain(|item| self.is_new(item));
        for Item { key, time, .. } in &items {
            self.keys.insert(*key, ());
            if self.last.is_none_or(|last| last.key < *key) {
                self.last = Some(Mark { key: *key, time: *time });
                self.foreign = false;
            }
        }
        while self.keys.len() > KEYS {
            self.floor = self.keys.pop_first().map_or(self.floor, |(key, ())| key);
        }
        items
    }

    /// Takes events for told, and all before them.
    fn pass(&mut self, items: Vec<Item>) {
        self.take(items);
        self.floor = self.last.map_or(self.floor, |last| last.key);
    }

    /// Takes a part of a history that is read from before the last event that was told; an empty
    /// one is its end. What is new in it waits until it is known whether anything is missing in
    /// front of it, which can take several parts where much happens.
    fn read(&mut self, search: &mut Search, items: Vec<Item>) -> (Option<Gap>, Vec<Item>) {
        let Some(last) = search.last else { return (None, self.take(items)) };
        let end = items.is_empty();
        search.held.extend(items);
        let held = &search.held;
        let found = held.iter().any(|it| it.key == last.key && it.time == last.time);
        let first = held.iter().map(|item| item.key).min();
        let past = end || held.iter().any(|it| it.time > late(last));
        let after = first.filter(|first| *first > last.key);
        if !found && after.is_none() && !past {
            return (None, Vec::new());
        }
        let gap = (!found).then(|| self.gap(last, first)).flatten();
        search.last = None;
        (gap, self.take(std::mem::take(&mut search.held)))
    }

    /// What is missing behind the last event that was told, where a history that begins with the key
    /// `first` does not have it any more.
    fn gap(&mut self, last: Mark, first: Option<i64>) -> Option<Gap> {
        let after = Some(last.key.to_string());
        match first.filter(|first| *first > last.key) {
            Some(first) if first == last.key + 1 => None,
            Some(first) => {
                let before = Some(first.to_string());
                Some(Gap { reason: GapReason::Forgotten, after, before })
            }
            None => {
                // Its keys begin anew; only their times tell which come behind what was told.
                self.floor = i64::MIN;
                self.keys.clear();
                self.since = Some(last.time);
                self.last = None;
                let reason = match first {
                    Some(_) => GapReason::Renumbered,
                    None => GapReason::Forgotten,
                };
                Some(Gap { reason, after, before: None })
            }
        }
    }
}

/// A history in which the last event that was told is looked for.
#[derive(Debug)]
struct Search {
    /// That event, until it is found or known to be gone.
    last: Option<Mark>,
    /// What was read so far.
    held: Vec<Item>,
}

/// Puts a word in front of each event: the record, and its place.
struct Teller {
    reader: Reader,
    scope: Scope,
    context: String,
}

impl Teller {
    async fn new(client: &Client, query: &EventQuery) -> Result<Self> {
        let reader = Reader::new(client).await?;
        let scope = Scope::new(client, query, &reader).await?;
        Ok(Self { reader, scope, context: client.endpoint().context.clone() })
    }

    /// The records of events, the place of each being that of the last key so far.
    fn tell(&self, items: Vec<Item>, place: &mut Option<Mark>) -> Vec<Told> {
        let mut told = Vec::with_capacity(items.len());
        for item in items {
            if place.is_none_or(|it| it.key < item.key) {
                *place = Some(Mark { key: item.key, time: item.time });
            }
            if self.scope.wants(&item) {
                let place = place.map(|it| json!({"key": it.key, "time": it.time}));
                told.push(Told { event: self.reader.record(&self.context, &item), place });
            }
        }
        told
    }

    fn tell_gap(&self, gap: Gap) -> Told {
        Told { event: gap.record(&self.context, NAME), place: None }
    }
}

/// Whether an error says that the collector is gone, because the login that had made it has ended.
fn is_lost(error: &Error) -> bool {
    let gone = fault_of(error).is_some_and(|fault| fault.kind == "ManagedObjectNotFound");
    gone || is_logged_out(error)
}

fn list(client: Client, query: EventQuery, stop: Cancel) -> BoxStream<'static, Result<Told>> {
    try_stream! {
        let teller = Teller::new(&client, &query).await?;
        let mut seen = Seen::new(&query);
        let mut place = seen.last;
        let mut left = REFUSALS;
        loop {
            let mut search = seen.search_on(&client).await?;
            let collector = Collector::new(&client, &teller.scope, seen.begin()).await?;
            let ended = loop {
                if stop.is_cancelled() {
                    break Ok(());
                }
                let items = match collector.next().await {
                    Ok(items) => items,
                    Err(error) => break Err(error),
                };
                let end = items.is_empty();
                let (gap, items) = seen.read(&mut search, items);
                if let Some(gap) = gap {
                    place = None;
                    yield teller.tell_gap(gap);
                }
                for told in teller.tell(items, &mut place) {
                    yield told;
                }
                if end {
                    break Ok(());
                }
            };
            collector.destroy().await;
            match ended {
                Ok(()) => break,
                Err(error) if is_lost(&error) && left > 0 => left -= 1,
                Err(error) => Err(error)?,
            }
        }
    }
    .boxed()
}

fn follow(client: Client, query: EventQuery, stop: Cancel) -> BoxStream<'static, Result<Told>> {
    try_stream! {
        let teller = Teller::new(&client, &query).await?;
        let mut seen = Seen::new(&query);
        let mut place = seen.last;
        let mut patience = Patience::new(client.contact());
        let mut begun = false;
        while !stop.is_cancelled() {
            let tail = match Collector::latest(&client, &teller.scope, PAGE).await {
                Ok(tail) => tail,
                Err(error) => {
                    patience.bear(error, begun, &stop).await?;
                    continue;
                }
            };
            // What came before it stood is in the history.
            let mut behind = begun || seen.begin().is_some();
            let ended = loop {
                let page = match tail.page().await {
                    Ok(page) => page,
                    Err(error) => break Err(error),
                };
                if !behind && !begun {
                    // From now on: what is there already counts as told.
                    seen.pass(page);
                    place = seen.last;
                } else if behind || page.len() >= PAGE && page.iter().all(|it| seen.is_new(it)) {
                    let mut search = match seen.search_on(&client).await {
                        Ok(search) => search,
                        Err(error) => break Err(error),
                    };
                    let history = match Collector::new(&client, &teller.scope, seen.begin()).await {
                        Ok(history) => history,
                        Err(error) => break Err(error),
                    };
                    let read = loop {
                        let items = match history.next().await {
                            Ok(items) => items,
                            Err(error) => break Err(error),
                        };
                        let last = items.is_empty();
                        let (gap, items) = seen.read(&mut search, items);
                        if let Some(gap) = gap {
                            place = seen.last;
                            yield teller.tell_gap(gap);
                        }
                        for told in teller.tell(items, &mut place) {
                            yield told;
                        }
                        if last || stop.is_cancelled() {
                            break Ok(());
                        }
                    };
                    history.destroy().await;
                    if let Err(error) = read {
                        break Err(error);
                    }
                } else {
                    for told in teller.tell(seen.take(page), &mut place) {
                        yield told;
                    }
                }
                (begun, behind) = (true, false);
                patience.rest();
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => break Ok(()),
                }
            };
            match ended {
                Ok(()) => tail.destroy().await,
                Err(error) => {
                    if !is_lost(&error) && error.kind() != ErrorKind::Unavailable {
                        tail.destroy().await;
                    }
                    patience.bear(error, begun, &stop).await?;
                }
            }
        }
    }
    .boxed()
}

/// How failures are borne: those that may pass are waited out.
struct Patience {
    failures: u32,
    refusals: u32,
    contact: Contacted,
}

impl Patience {
    fn new(contact: &Contact) -> Self {
        Self { failures: 0, refusals: 0, contact: contact.line() }
    }

    /// The server has answered as it should.
    fn rest(&mut self) {
        (self.failures, self.refusals) = (0, 0);
        self.contact.works();
    }

    async fn bear(&mut self, error: Error, begun: bool, stop: &Cancel) -> Result<()> {
        match error.kind() {
            ErrorKind::Unavailable if begun => self.contact.failed(&error),
            _ if (is_lost(&error) || error.kind() == ErrorKind::Auth)
                && self.refusals < REFUSALS =>
            {
                self.refusals += 1;
            }
            _ => return Err(error),
        }
        tracing::info!("{error}; asking for events again");
        let wait = WAITS.0.saturating_mul(1 << self.failures.min(10)).min(WAITS.1);
        self.failures += 1;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(keys: &[i64]) -> Vec<Item> {
        keys.iter()
            .map(|key| Item::at(*key, Timestamp::from_second(1000 + *key).unwrap()))
            .collect()
    }

    fn keys(items: &[Item]) -> Vec<i64> {
        items.iter().map(|it| it.key).collect()
    }

    fn seen(last: Option<i64>) -> Seen {
        let place = last
            .map(|key| json!({"key": key, "time": Timestamp::from_second(1000 + key).unwrap()}));
        Seen::new(&EventQuery { place, ..EventQuery::default() })
    }

    #[test]
    fn each_key_is_told_once_and_in_order() {
        let mut seen = seen(Some(3));
        assert_eq!(keys(&seen.take(items(&[6, 4, 3, 2]))), [4, 6]);
        assert_eq!(keys(&seen.take(items(&[7, 6, 5]))), [5, 7], "5 was shown late by the server");
        assert!(seen.take(items(&[4, 5, 6, 7])).is_empty());
        assert_eq!(seen.last.unwrap().key, 7);
        let many: Vec<i64> = (8..8 + 2 * KEYS as i64).collect();
        assert_eq!(seen.take(items(&many)).len(), many.len());
        assert!(seen.keys.len() <= KEYS && seen.take(items(&[9])).is_empty());
    }

    #[test]
    fn what_was_there_at_the_start_is_not_told_from_the_history() {
        let mut seen = seen(None);
        seen.pass(items(&[9, 2]));
        assert_eq!(keys(&seen.take(items(&[1, 2, 5, 9, 10]))), [10]);
    }

    #[test]
    fn what_is_missing_is_known_by_the_last_event() {
        let read = |seen: &mut Seen, items| {
            let (gap, items) = seen.read(&mut seen.search(), items);
            (gap.map(|gap| (gap.reason, gap.before)), keys(&items))
        };
        assert_eq!(read(&mut seen(None), items(&[7])), (None, vec![7]));
        let there = read(&mut seen(Some(5)), items(&[9, 5, 1]));
        assert_eq!(there, (None, vec![9]), "it is still there");
        assert_eq!(read(&mut seen(Some(5)), items(&[7, 6])).0, None, "the next follows it");
        let forgotten = Some((GapReason::Forgotten, Some("8".to_owned())));
        assert_eq!(read(&mut seen(Some(5)), items(&[9, 8])), (forgotten, vec![8, 9]));
        let mut again = items(&[5, 2]);
        again.iter_mut().for_each(|it| it.time = Timestamp::from_second(2000).unwrap());
        let renumbered = Some((GapReason::Renumbered, None));
        assert_eq!(read(&mut seen(Some(5)), again), (renumbered, vec![2, 5]));
        let nothing = Some((GapReason::Forgotten, None));
        assert_eq!(read(&mut seen(Some(5)), Vec::new()), (nothing, vec![]));
    }

    #[test]
    fn the_last_event_may_be_in_a_later_part() {
        let at = |key: i64| Item::at(key, Timestamp::from_second(1005).unwrap());
        let mut own = seen(Some(5));
        let mut search = own.search();
        let (gap, told) = own.read(&mut search, vec![at(3), at(4)]);
        assert_eq!((gap, told.len()), (None, 0), "it may be in the next");
        let (gap, told) = own.read(&mut search, vec![at(5), at(6)]);
        assert_eq!((gap, keys(&told)), (None, vec![6]));
        assert_eq!(keys(&own.read(&mut search, vec![at(7), at(6)]).1), [7]);
        let mut other = seen(Some(5));
        let mut search = other.search();
        assert_eq!(other.read(&mut search, vec![at(3)]).0, None);
        let (gap, told) = other.read(&mut search, Vec::new());
        assert_eq!(gap.unwrap().reason, GapReason::Renumbered, "it is in none");
        assert_eq!(keys(&told), [3]);
    }
}
