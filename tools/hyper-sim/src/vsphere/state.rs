//! Everything that changes while the simulator runs, and how objects and their properties are
//! found in it.

use std::collections::BTreeMap;

use super::history::History;
use super::inventory::Inventory;
use super::lease::Lease;
use super::schema::SCHEMA;
use super::session::{Session, View};
use super::task::Task;
use super::value::{Ref, Value};
use super::{alarm, customization, history, performance, service, session, view_place, view_vm};

/// What changes.
#[derive(Debug)]
pub struct State {
    /// The tree and the machines in it.
    pub tree: Inventory,
    /// Logins by key.
    pub sessions: BTreeMap<String, Session>,
    /// Tasks by id.
    pub tasks: BTreeMap<String, Task>,
    /// Leases by id.
    pub leases: BTreeMap<String, Lease>,
    /// What happened.
    pub history: History,
    /// The next number for whatever needs one.
    next: u64,
}

impl State {
    /// The state at the start.
    pub fn new(tree: Inventory) -> Self {
        Self {
            tree,
            sessions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            leases: BTreeMap::new(),
            history: History::default(),
            next: 1,
        }
    }

    /// A number that was not given out before.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Whether an object is there, for the holder of a session.
    pub fn exists(&self, session: Option<&str>, object: &Ref) -> bool {
        let own = session.and_then(|key| self.sessions.get(key));
        match object.kind.as_str() {
            "VirtualMachine" => self.tree.machine(object).is_some(),
            "VirtualMachineSnapshot" => self.tree.machine_of_snapshot(object).is_some(),
            "Task" => self.tasks.contains_key(&object.value),
            "HttpNfcLease" => self.leases.contains_key(&object.value),
            "Alarm" => !self.tree.esx && *object == alarm::definition(),
            "EventHistoryCollector" => {
                own.is_some_and(|own| own.events.contains_key(&object.value))
            }
            "ContainerView" => own.is_some_and(|own| own.views.contains_key(&object.value)),
            "PropertyFilter" => own.is_some_and(|own| own.filter(&object.value).is_some()),
            "PropertyCollector" => {
                *object == service::collector(self.tree.esx)
                    || own.is_some_and(|own| own.collectors.contains_key(&object.value))
            }
            _ => {
                service::is_manager(self.tree.esx, object)
                    || self.tree.entities.contains_key(object)
            }
        }
    }

    /// A property of an object by its name, as the holder of a session sees it.
    pub fn property(&self, session: Option<&str>, object: &Ref, name: &str) -> Option<Value> {
        if name == "triggeredAlarmState" {
            return self.tree.is_entity(object).then(|| alarm::triggered(&self.tree, object));
        }
        match object.kind.as_str() {
            "VirtualMachine" => view_vm::property(&self.tree, self.tree.machine(object)?, name),
            "VirtualMachineSnapshot" => {
                let machine = self.tree.machine_of_snapshot(object)?;
                view_vm::snapshot_property(&self.tree, machine, machine.snapshot(object)?, name)
            }
            "Task" => self.tasks.get(&object.value)?.property(name),
            "HttpNfcLease" => self.leases.get(&object.value)?.property(name),
            "Alarm" => alarm::property(&self.tree, name),
            "EventManager" => history::property(self, name),
            "PerformanceManager" => performance::property(self.tree.esx, name),
            "EventHistoryCollector" => history::collected(self, session, object, name),
            "CustomizationSpecManager" => customization::property(name),
            "SessionManager" => session::property(self, session, name),
            "ServiceInstance" => service::property(self.tree.esx, name),
            "ContainerView" => {
                let view = self.sessions.get(session?)?.views.get(&object.value)?;
                self.view_property(view, name)
            }
            _ => view_place::property(&self.tree, object, name),
        }
    }

    fn view_property(&self, view: &View, name: &str) -> Option<Value> {
        Some(match name {
            "container" => (&view.container).into(),
            "type" => view.kinds.clone().into(),
            "recursive" => view.recursive.into(),
            "view" => self.in_view(view).iter().map(Value::from).collect::<Vec<_>>().into(),
            _ => return None,
        })
    }

    /// What a container view shows.
    fn in_view(&self, view: &View) -> Vec<Ref> {
        let mut found = match view.recursive {
            true => self.tree.below(&view.container),
            false => self.tree.children(&view.container),
        };
        let wanted = |it: &Ref| {
            view.kinds.is_empty() || view.kinds.iter().any(|kind| SCHEMA.is_a(&it.kind, kind))
        };
        found.retain(wanted);
        found
    }
}
