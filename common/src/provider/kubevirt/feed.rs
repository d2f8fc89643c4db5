//! Machines as they change: two watches, of machines and of their running instances, put together.

use std::collections::{BTreeMap, BTreeSet};

use async_stream::try_stream;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::Kubevirt;
use super::discovery::KUBEVIRT;
use super::inventory::{INSTANCES, Kinds, MACHINES, namespace, one_name, selector};
use super::record::{Known, id};
use super::watch::{Step, Watched, watch};
use super::wire::{Instance, Meta, VirtualMachine};
use crate::error::Result;
use crate::provider::facets::feed::{Change, Feed};
use crate::vm::{ObjectKind, Vm, VmFilter, VmObject};

/// Namespace and name.
type Key = (String, String);

/// A step of either watch.
enum Either {
    Machine(Step<Box<VirtualMachine>>),
    Instance(Step<Box<Instance>>),
}

#[async_trait]
impl Feed for Kubevirt {
    fn changes(&self, filter: VmFilter) -> BoxStream<'_, Result<Change>> {
        try_stream! {
            let client = self.client();
            let namespace = namespace(self, &filter);
            let machines = Watched {
                resource: client.resource(KUBEVIRT, MACHINES).await?,
                namespace: namespace.clone(),
                query: selector(&filter),
            };
            let instances = Watched {
                resource: client.resource(KUBEVIRT, INSTANCES).await?,
                namespace,
                query: one_name(&filter).unwrap_or_default(),
            };
            let mut steps = futures::stream::select(
                watch(client.clone(), machines).map_ok(Either::Machine),
                watch(client.clone(), instances).map_ok(Either::Instance),
            );
            let mut seen = Seen::default();
            let mut kinds = Kinds::new(self);
            while let Some(step) = steps.try_next().await? {
                match seen.take(step) {
                    Told::Nothing => {}
                    Told::All => {
                        yield Change::Reset;
                        let keys: Vec<Key> = seen.machines.keys().cloned().collect();
                        for key in keys {
                            if let Some(vm) = self.joined(&seen, &key, &mut kinds).await? {
                                yield Change::Listed(Box::new(vm));
                            }
                        }
                        yield Change::Synced;
                    }
                    Told::One(key) => {
                        if let Some(vm) = self.joined(&seen, &key, &mut kinds).await? {
                            yield Change::Applied(Box::new(vm));
                        }
                    }
                    Told::Gone((namespace, name)) => yield Change::Gone(id(&namespace, &name)),
                }
            }
        }
        .boxed()
    }

    fn objects(
        &self,
        kind: ObjectKind,
        filter: VmFilter,
    ) -> Option<BoxStream<'_, Result<Change<VmObject>>>> {
        super::objects::follow(self, kind, filter)
    }

    async fn end(&self) {
        // A watch is a connection, and ends with it.
    }
}

impl Kubevirt {
    async fn joined(&self, seen: &Seen, key: &Key, kinds: &mut Kinds<'_>) -> Result<Option<Vm>> {
        let Some(vm) = seen.machines.get(key) else { return Ok(None) };
        let instance = seen.instances.get(key).map(|it| &**it);
        let kind = match instance {
            Some(_) => None,
            None => kinds.of(vm).await?,
        };
        let known = Known { vm, instance, instancetype: kind.as_deref() };
        Ok(Some(known.record(&self.context)))
    }
}

/// What both watches have told so far.
#[derive(Default)]
struct Seen {
    machines: BTreeMap<Key, Box<VirtualMachine>>,
    instances: BTreeMap<Key, Box<Instance>>,
    /// The keys of a list that is under way; `None` where none is.
    listing_machines: Option<BTreeSet<Key>>,
    listing_instances: Option<BTreeSet<Key>>,
    /// Whether the first list of each is complete.
    ready: (bool, bool),
}

/// What a step comes to.
#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    /// A list is complete.
    All,
    One(Key),
    Gone(Key),
}

fn key(meta: &Meta) -> Key {
    (meta.namespace.clone(), meta.name.clone())
}

impl Seen {
    fn take(&mut self, step: Either) -> Told {
        match step {
            Either::Machine(step) => {
                let told = apply(&mut self.machines, &mut self.listing_machines, step, |vm| {
                    key(&vm.metadata)
                });
                self.ready.0 |= matches!(told, Told::All);
                self.unless_listing(told)
            }
            Either::Instance(step) => {
                let told = apply(&mut self.instances, &mut self.listing_instances, step, |it| {
                    key(&it.metadata)
                });
                self.ready.1 |= matches!(told, Told::All);
                // An instance that comes or goes is a change of its machine.
                let told = match told {
                    Told::One(key) | Told::Gone(key) if self.machines.contains_key(&key) => {
                        Told::One(key)
                    }
                    Told::One(_) | Told::Gone(_) => Told::Nothing,
                    other => other,
                };
                self.unless_listing(told)
            }
        }
    }

    /// While a list is under way nothing is told: it tells all at its end.
    fn unless_listing(&self, told: Told) -> Told {
        let listing = self.listing_machines.is_some() || self.listing_instances.is_some();
        let ready = self.ready.0 && self.ready.1;
        if listing || !ready { Told::Nothing } else { told }
    }
}

fn apply<T>(
    known: &mut BTreeMap<Key, T>,
    listing: &mut Option<BTreeSet<Key>>,
    step: Step<T>,
    key: impl Fn(&T) -> Key,
) -> Told {
    match step {
        Step::Reset => {
            *listing = Some(BTreeSet::new());
            Told::Nothing
        }
        Step::Listed(object) => {
            let key = key(&object);
            listing.get_or_insert_default().insert(key.clone());
            known.insert(key, object);
            Told::Nothing
        }
        Step::Synced => {
            let listed = listing.take().unwrap_or_default();
            known.retain(|key, _| listed.contains(key));
            Told::All
        }
        Step::Applied(object) => {
            let key = key(&object);
            known.insert(key.clone(), object);
            Told::One(key)
        }
        Step::Gone(object) => {
            let key = key(&object);
            known.remove(&key);
            Told::Gone(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> Box<VirtualMachine> {
        let metadata = Meta { name: name.into(), namespace: "n".into(), ..Meta::default() };
        Box::new(VirtualMachine { metadata, ..VirtualMachine::default() })
    }

    fn instance(name: &str) -> Box<Instance> {
        Box::new(Instance { metadata: vm(name).metadata, ..Instance::default() })
    }

    #[test]
    fn nothing_is_told_before_both_lists_are_there_and_all_of_it_then() {
        let mut seen = Seen::default();
        let machine = |step| Either::Machine(step);
        assert_eq!(seen.take(machine(Step::Reset)), Told::Nothing);
        assert_eq!(seen.take(machine(Step::Listed(vm("a")))), Told::Nothing);
        assert_eq!(seen.take(machine(Step::Synced)), Told::Nothing);
        assert_eq!(seen.take(machine(Step::Applied(vm("b")))), Told::Nothing);
        assert_eq!(seen.take(Either::Instance(Step::Reset)), Told::Nothing);
        assert_eq!(seen.take(Either::Instance(Step::Synced)), Told::All);
        assert_eq!(seen.machines.len(), 2);
        let key = |name: &str| ("n".to_owned(), name.to_owned());
        let applied = seen.take(Either::Instance(Step::Applied(instance("a"))));
        assert_eq!(applied, Told::One(key("a")));
        assert_eq!(seen.take(Either::Instance(Step::Applied(instance("x")))), Told::Nothing);
        assert_eq!(seen.take(machine(Step::Gone(vm("b")))), Told::Gone(key("b")));
    }

    #[test]
    fn a_new_list_forgets_what_is_not_in_it() {
        let mut seen = Seen { ready: (true, true), ..Seen::default() };
        seen.take(Either::Machine(Step::Applied(vm("a"))));
        seen.take(Either::Machine(Step::Reset));
        seen.take(Either::Machine(Step::Listed(vm("b"))));
        assert_eq!(seen.take(Either::Machine(Step::Synced)), Told::All);
        assert!(seen.machines.keys().all(|(_, name)| name == "b"));
    }
}
