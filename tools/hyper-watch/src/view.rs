//! What is seen of the machines: from the steps of a feed to what happened. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hyper_common::provider::Change;
use hyper_common::vm::{Vm, VmFilter, VmId};

use crate::record::Event;

/// The machines of one context that pass the filters.
#[derive(Debug, Default)]
pub struct View {
    machines: BTreeMap<VmId, Vm>,
    /// What a list that is under way has named.
    listing: Option<BTreeSet<VmId>>,
    /// Whether a list was complete once.
    pub synced: bool,
}

/// What happened, and the machine as it is or last was.
pub type Happened = (Event, Option<Vm>);

impl View {
    /// The machines, by id.
    pub fn machines(&self) -> impl ExactSizeIterator<Item = &Vm> {
        self.machines.values()
    }

    /// Takes a step in. A full list tells only what differs from what was known.
    pub fn take(&mut self, change: Change, filter: &VmFilter) -> Vec<Happened> {
        match change {
            Change::Reset => {
                self.listing = Some(BTreeSet::new());
                if self.synced { vec![(Event::Relisted, None)] } else { Vec::new() }
            }
            Change::Listed(vm) => {
                self.listing.get_or_insert_default().insert(vm.id.clone());
                self.put(*vm, filter).into_iter().collect()
            }
            Change::Synced => {
                self.synced = true;
                let listed = self.listing.take().unwrap_or_default();
                let gone: Vec<VmId> =
                    self.machines.keys().filter(|id| !listed.contains(*id)).cloned().collect();
                gone.iter().filter_map(|id| self.drop(id, Event::Deleted)).collect()
            }
            Change::Applied(vm) => self.put(*vm, filter).into_iter().collect(),
            Change::Gone(id) => self.drop(&id, Event::Deleted).into_iter().collect(),
        }
    }

    fn put(&mut self, vm: Vm, filter: &VmFilter) -> Option<Happened> {
        if !filter.accepts(&vm) {
            self.machines.remove(&vm.id)?;
            return Some((Event::Left, Some(vm)));
        }
        match self.machines.insert(vm.id.clone(), vm.clone()) {
            None => Some((Event::Added, Some(vm))),
            Some(before) if before != vm => Some((Event::Modified, Some(vm))),
            Some(_) => None,
        }
    }

    fn drop(&mut self, id: &VmId, event: Event) -> Option<Happened> {
        Some((event, Some(self.machines.remove(id)?)))
    }
}

#[cfg(test)]
mod tests {
    use hyper_common::vm::{Machine, VmStatus};

    use super::*;

    fn vm(id: &str, status: VmStatus) -> Vm {
        Vm { status, ..Vm::of_machine(VmId(id.into()), "c", "p", &Machine::default()) }
    }

    fn events(happened: Vec<Happened>) -> Vec<(Event, String)> {
        let id = |vm: Option<Vm>| vm.map(|vm| vm.id.0).unwrap_or_default();
        happened.into_iter().map(|(event, vm)| (event, id(vm))).collect()
    }

    #[test]
    fn a_relist_tells_only_what_changed_meanwhile() {
        let filter = VmFilter::default();
        let mut view = View::default();
        let mut take = |change| events(view.take(change, &filter));
        let running = |id: &str| Box::new(vm(id, VmStatus::Running));
        assert!(take(Change::Reset).is_empty());
        assert_eq!(take(Change::Listed(running("a"))), [(Event::Added, "a".into())]);
        assert_eq!(take(Change::Listed(running("b"))), [(Event::Added, "b".into())]);
        assert!(take(Change::Synced).is_empty());
        assert!(take(Change::Applied(running("a"))).is_empty(), "nothing is told twice");
        let stopped = Box::new(vm("a", VmStatus::Stopped));
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
        let mut take =
            |status| events(view.take(Change::Applied(Box::new(vm("a", status))), &filter));
        assert!(take(VmStatus::Stopped).is_empty());
        assert_eq!(take(VmStatus::Running)[0].0, Event::Added);
        assert_eq!(take(VmStatus::Stopped)[0].0, Event::Left);
        assert_eq!(take(VmStatus::Running)[0].0, Event::Added);
    }
}
