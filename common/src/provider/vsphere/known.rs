//! What the update sets of a watch come to: machines and the names around them, as far as the
//! server has told of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::MACHINE;
use super::names::Names;
use super::property::{Object, Properties};
use super::record::{OF_DEVICES, record};
use super::soap::{MoRef, Value};
use crate::error::Result;
use crate::provider::facets::feed::Change;
use crate::vm::{Vm, VmId};

/// Types of devices that a record says something of; the others are not kept.
const DISK: &str = "VirtualDisk";

/// What a reconfiguration changes first of all. Servers may tell of no more than that.
const CONFIGURED: [&str; 2] = ["config.hardware.device", "config.changeVersion"];

/// What is known of the machines that are followed.
#[derive(Debug)]
pub(super) struct Known {
    context: String,
    names: Names,
    machines: BTreeMap<String, Object>,
    /// Whether the first set, which tells all, is not complete yet.
    listing: bool,
    /// Whether a name has changed since the last set was complete.
    renamed: bool,
    /// Machines whose place or host was not known yet when they were told of.
    waiting: Vec<String>,
    /// Machines that were reconfigured, to be read again.
    configured: BTreeSet<String>,
}

impl Known {
    /// Nothing but the top of the inventory; the context's name is for records.
    pub fn new(context: String, root: &MoRef) -> Self {
        Self {
            context,
            names: Names::below(root),
            machines: BTreeMap::new(),
            listing: true,
            renamed: false,
            waiting: Vec::new(),
            configured: BTreeSet::new(),
        }
    }

    /// Takes an `ObjectUpdate` in.
    ///
    /// # Errors
    /// The fault for which a property is missing, where that concerns more than the property.
    pub fn take(&mut self, update: Value) -> Result<Option<Change>> {
        let kind = update.str("kind").unwrap_or_default().to_owned();
        let object = read(update)?;
        if object.id.kind != MACHINE {
            match kind.as_str() {
                "leave" => self.names.forget(&object.id.value),
                _ => self.names.learn(&Object { properties: set(object.changes), id: object.id }),
            }
            self.renamed = true;
            return Ok(None);
        }
        let key = object.id.value.clone();
        match kind.as_str() {
            "leave" => {
                let known = self.machines.remove(&key).is_some();
                return Ok((known && !self.listing).then_some(Change::Gone(VmId(key))));
            }
            "enter" => {
                let properties = set(object.changes);
                self.machines.insert(key.clone(), Object { id: object.id, properties });
            }
            // One that was never told of comes by `enter`.
            _ => {
                let Some(known) = self.machines.get_mut(&key) else { return Ok(None) };
                let anew = object.changes.iter().any(|(name, _)| CONFIGURED.contains(&&**name));
                change(&mut known.properties, object.changes);
                if anew {
                    self.configured.insert(key);
                    return Ok(None);
                }
            }
        }
        Ok(self.told(key))
    }

    /// Takes out which machines are to be read again.
    pub fn take_configured(&mut self) -> Vec<MoRef> {
        let ids = std::mem::take(&mut self.configured);
        ids.into_iter().map(|id| MoRef::new(MACHINE, id)).collect()
    }

    /// Takes in what a machine says of itself when it is read again.
    pub fn reread(&mut self, id: MoRef, properties: Properties) -> Option<Change> {
        let key = id.value.clone();
        let slim = properties.0.into_iter().map(|(path, value)| (path, slim(value)));
        let properties = Properties(slim.collect());
        self.machines.get_mut(&key)?.properties = properties;
        self.told(key)
    }

    /// Takes in that a set is complete: what was put off until then.
    pub fn complete(&mut self) -> Vec<Change> {
        let waiting = std::mem::take(&mut self.waiting);
        let renamed = std::mem::take(&mut self.renamed);
        if self.listing {
            self.listing = false;
            let listed = self.machines.values().map(|it| Change::Listed(Box::new(self.record(it))));
            let all = std::iter::once(Change::Reset).chain(listed);
            return all.chain(std::iter::once(Change::Synced)).collect();
        }
        let applied = |object| Change::Applied(Box::new(self.record(object)));
        match renamed {
            // A folder or a host may be anybody's; who is not concerned is as before.
            true => self.machines.values().map(applied).collect(),
            false => waiting.iter().filter_map(|id| self.machines.get(id)).map(applied).collect(),
        }
    }

    /// The change of a machine, unless it is to wait.
    fn told(&mut self, key: String) -> Option<Change> {
        if self.listing {
            return None;
        }
        let object = self.machines.get(&key)?;
        let vm = self.record(object);
        let placed = vm.path.is_some();
        let hosted = vm.node.is_some() || object.properties.get("runtime.host").is_none();
        if placed && hosted {
            return Some(Change::Applied(Box::new(vm)));
        }
        self.waiting.push(key);
        None
    }

    fn record(&self, object: &Object) -> Vm {
        record(&self.context, &self.names, object)
    }
}

/// An object and what changed about it: the new value, or none.
struct Changed {
    id: MoRef,
    changes: Vec<(String, Option<Value>)>,
}

fn read(update: Value) -> Result<Changed> {
    let id = update.child("obj").and_then(Value::reference).unwrap_or(MoRef::new("", ""));
    let mut changes = Vec::new();
    for part in update.children {
        match part.name.as_str() {
            "changeSet" => changes.push(one(part)),
            "missingSet" => super::property::check_missing(&part, &id)?,
            _ => {}
        }
    }
    Ok(Changed { id, changes })
}

/// A `PropertyChange`.
fn one(change: Value) -> (String, Option<Value>) {
    let name = change.str("name").unwrap_or_default().to_owned();
    let removed = matches!(change.str("op"), Some("remove" | "indirectRemove"));
    let value = change.children.into_iter().find(|it| it.name == "val").filter(|_| !removed);
    (name, value.map(slim))
}

/// Whether a record is made of this part of a device.
fn of_device(name: &str) -> bool {
    OF_DEVICES.iter().any(|(kind, parts)| *kind == "VirtualDevice" && parts.contains(&name))
}

/// What of a value is kept: of devices, disks and network adapters alone.
fn slim(mut value: Value) -> Value {
    if value.is("ArrayOfVirtualDevice") {
        value.children.retain(|device| device.is(DISK) || device.child("macAddress").is_some());
        for device in &mut value.children {
            device.children.retain(|part| of_device(&part.name));
        }
        value.children.shrink_to_fit();
    }
    value
}

fn set(changes: Vec<(String, Option<Value>)>) -> Properties {
    let mut properties = Properties::default();
    change(&mut properties, changes);
    properties
}

fn change(properties: &mut Properties, changes: Vec<(String, Option<Value>)>) {
    for (name, value) in changes {
        match value {
            Some(value) => properties.0.insert(name, value),
            None => properties.0.remove(&name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(text: &str) -> Value {
        let message = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' \
             xmlns:x='http://www.w3.org/2001/XMLSchema-instance'><s:Body>\
             <objectSet>{text}</objectSet></s:Body></s:Envelope>"
        );
        super::super::soap::parse(message.as_bytes()).unwrap()
    }

    fn folder(id: &str, name: &str) -> Value {
        update(&format!(
            "<kind>enter</kind><obj type='Folder'>{id}</obj>\
             <changeSet><name>name</name><op>assign</op><val>{name}</val></changeSet>\
             <changeSet><name>parent</name><op>assign</op><val type='Folder'>root</val></changeSet>"
        ))
    }

    fn machine(kind: &str, changes: &[(&str, &str)]) -> Value {
        let one = |(name, val): &(&str, &str)| {
            format!("<changeSet><name>{name}</name><op>assign</op>{val}</changeSet>")
        };
        let changes: String = changes.iter().map(one).collect();
        update(&format!("<kind>{kind}</kind><obj type='VirtualMachine'>vm-1</obj>{changes}"))
    }

    const ENTERS: [(&str, &str); 3] = [
        ("name", "<val>web</val>"),
        ("parent", "<val type='Folder'>f</val>"),
        ("runtime.powerState", "<val>poweredOff</val>"),
    ];

    fn vm(change: &Change) -> &Vm {
        match change {
            Change::Listed(vm) | Change::Applied(vm) => vm,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_machine_is_told_whole_however_little_of_it_changes() {
        let mut known = Known::new("c".into(), &MoRef::new("Folder", "root"));
        assert!(
            known.take(machine("enter", &ENTERS)).unwrap().is_none(),
            "not before all is there"
        );
        assert!(known.take(folder("f", "prod")).unwrap().is_none());
        let all = known.complete();
        assert_eq!((all.len(), &all[0], &all[2]), (3, &Change::Reset, &Change::Synced));
        assert_eq!(vm(&all[1]).path.as_deref(), Some("/prod/web"));
        let on = [("runtime.powerState", "<val>poweredOn</val>")];
        let told = known.take(machine("modify", &on)).unwrap().unwrap();
        assert_eq!((vm(&told).name.as_str(), vm(&told).status.name()), ("web", "running"));
        assert!(known.complete().is_empty());
        known.take(folder("f", "test")).unwrap();
        assert_eq!(vm(&known.complete()[0]).path.as_deref(), Some("/test/web"));
        let gone = known.take(machine("leave", &[])).unwrap().unwrap();
        assert_eq!(gone, Change::Gone(VmId("vm-1".into())));
        assert!(known.take(machine("modify", &on)).unwrap().is_none());
    }

    #[test]
    fn a_machine_waits_for_the_folder_that_it_is_in() {
        let mut known = Known::new("c".into(), &MoRef::new("Folder", "root"));
        assert_eq!(known.complete(), [Change::Reset, Change::Synced]);
        assert!(known.take(machine("enter", &ENTERS)).unwrap().is_none());
        known.take(folder("f", "prod")).unwrap();
        let told = known.complete();
        assert_eq!((told.len(), vm(&told[0]).path.as_deref()), (1, Some("/prod/web")));
    }

    #[test]
    fn a_machine_that_is_reconfigured_is_read_again() {
        let mut known = Known::new("c".into(), &MoRef::new("Folder", "root"));
        known.take(folder("f", "prod")).unwrap();
        known.take(machine("enter", &ENTERS)).unwrap();
        known.complete();
        let configured = [("config.changeVersion", "<val>2026-01-02T03:04:05Z</val>")];
        assert!(known.take(machine("modify", &configured)).unwrap().is_none());
        let again = known.take_configured();
        assert_eq!(again, [MoRef::new(MACHINE, "vm-1")]);
        let now = read(machine("enter", &[ENTERS[0], ENTERS[1]])).unwrap();
        let told = known.reread(again[0].clone(), set(now.changes)).unwrap();
        assert_eq!(vm(&told).status.name(), "unknown", "what is not told any more is not known");
        assert!(known.reread(MoRef::new(MACHINE, "vm-2"), Properties::default()).is_none());
    }

    #[test]
    fn what_is_unset_is_not_known_any_more() {
        let mut known = Known::new("c".into(), &MoRef::new("Folder", "root"));
        known.take(folder("f", "prod")).unwrap();
        known.take(machine("enter", &ENTERS)).unwrap();
        known.complete();
        let told = known.take(machine("modify", &[("runtime.powerState", "")])).unwrap().unwrap();
        assert_eq!(vm(&told).status.name(), "unknown");
    }
}
