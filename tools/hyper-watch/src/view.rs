//! What is seen of what is followed: from the steps of a feed to what happened. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hyper_common::provider::Change;
use hyper_common::vm::{VmFilter, VmId};

use crate::item::Item;
use crate::record::Event;

/// What of one feed passes the filters.
#[derive(Debug, Default)]
pub struct View {
    items: BTreeMap<VmId, Item>,
    /// What a list that is under way has named.
    listing: Option<BTreeSet<VmId>>,
    /// Whether a list was complete once.
    pub synced: bool,
}

/// What happened, and the item as it is or last was.
pub type Happened = (Event, Option<Item>);

impl View {
    /// All that pass, by id.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &Item> {
        self.items.values()
    }

    /// Takes a step in. A full list tells only what differs from what was known.
    pub fn take(&mut self, change: Change<Item>, filter: &VmFilter) -> Vec<Happened> {
        match change {
            Change::Reset => {
                self.listing = Some(BTreeSet::new());
                if self.synced { vec![(Event::Relisted, None)] } else { Vec::new() }
            }
            Change::Listed(item) => {
                self.listing.get_or_insert_default().insert(item.id().clone());
                self.put(*item, filter).into_iter().collect()
            }
            Change::Synced => {
                self.synced = true;
                let listed = self.listing.take().unwrap_or_default();
                let gone: Vec<VmId> =
                    self.items.keys().filter(|id| !listed.contains(*id)).cloned().collect();
                gone.iter().filter_map(|id| self.drop(id, Event::Deleted)).collect()
            }
            Change::Applied(item) => self.put(*item, filter).into_iter().collect(),
            Change::Gone(id) => self.drop(&id, Event::Deleted).into_iter().collect(),
        }
    }

    fn put(&mut self, item: Item, filter: &VmFilter) -> Option<Happened> {
        if !item.passes(filter) {
            self.items.remove(item.id())?;
            return Some((Event::Left, Some(item)));
        }
        match self.items.insert(item.id().clone(), item.clone()) {
            None => Some((Event::Added, Some(item))),
            Some(before) if before != item => Some((Event::Modified, Some(item))),
            Some(_) => None,
        }
    }

    fn drop(&mut self, id: &VmId, event: Event) -> Option<Happened> {
        Some((event, Some(self.items.remove(id)?)))
    }
}

#[cfg(test)]
mod tests {
    use hyper_common::vm::{Machine, Vm, VmStatus};

    use super::*;

    fn vm(id: &str, status: VmStatus) -> Box<Item> {
        let vm = Vm { status, ..Vm::of_machine(VmId(id.into()), "c", "p", &Machine::default()) };
        Box::new(Item::Vm(Box::new(vm)))
    }

    fn events(happened: Vec<Happened>) -> Vec<(Event, String)> {
        let id = |item: Option<Item>| item.map(|item| item.id().0.clone()).unwrap_or_default();
        happened.into_iter().map(|(event, item)| (event, id(item))).collect()
    }

    #[test]
    fn a_relist_tells_only_what_changed_meanwhile() {
        let filter = VmFilter::default();
        let mut view = View::default();
        let mut take = |change| events(view.take(change, &filter));
        let running = |id: &str| vm(id, VmStatus::Running);
        assert!(take(Change::Reset).is_empty());
        assert_eq!(take(Change::Listed(running("a"))), [(Event::Added, "a".into())]);
        assert_eq!(take(Change::Listed(running("b"))), [(Event::Added, "b".into())]);
        assert!(take(Change::Synced).is_empty());
        assert!(take(Change::Applied(running("a"))).is_empty(), "nothing is told twice");
        let stopped = vm("a", VmStatus::Stopped);
        assert_eq!(take(Change::Applied(stopped.clone())), [(Event::Modified, "a".into())]);
        assert_eq!(take(Change::Reset), [(Event::Relisted, String::new())]);
        assert!(take(Change::Listed(stopped)).is_empty());
        assert_eq!(take(Change::Listed(running("c"))), [(Event::Added, "c".into())]);
        assert_eq!(take(Change::Synced), [(Event::Deleted, "b".into())]);
        assert_eq!(take(Change::Gone(VmId("a".into()))), [(Event::Deleted, "a".into())]);
        assert!(take(Change::Gone(VmId("x".into()))).is_empty());
    }

    #[test]
    fn who_passes_no_more_has_left_and_may_come_back() {
        let filter = VmFilter { status: vec![VmStatus::Running.into()], ..VmFilter::default() };
        let mut view = View::default();
        let mut take = |status| events(view.take(Change::Applied(vm("a", status)), &filter));
        assert!(take(VmStatus::Stopped).is_empty());
        assert_eq!(take(VmStatus::Running)[0].0, Event::Added);
        assert_eq!(take(VmStatus::Stopped)[0].0, Event::Left);
        assert_eq!(take(VmStatus::Running)[0].0, Event::Added);
    }
}
