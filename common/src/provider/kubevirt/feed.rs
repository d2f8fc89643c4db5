//! Machines as they change: two watches, of machines and of their running instances, put together.
//! Of each object only what its record needs is kept, for there may be tens of thousands.

use std::collections::{BTreeMap, BTreeSet};

use async_stream::try_stream;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::Kubevirt;
use super::discovery::KUBEVIRT;
use super::inventory::{INSTANCES, Kinds, MACHINES, namespace, one_name, selector};
use super::record::{Known, Running, id};
use super::watch::{Step, Watched, watch};
use super::wire::{Instance, Meta, VirtualMachine};
use crate::error::Result;
use crate::provider::facets::feed::{Change, Feed};
use crate::vm::{ObjectKind, Vm, VmFilter, VmId, VmObject};

/// A step of either watch: a machine's record as if it did not run, and what a running instance
/// adds to it.
enum Either {
    Machine(Step<Box<Vm>>),
    Instance(Step<(VmId, Box<Running>)>),
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
            let mut within = machines.namespace.clone();
            let mut steps = futures::stream::select(
                watch(client.clone(), machines).map_ok(Found::Machine),
                watch(client.clone(), instances).map_ok(Found::Instance),
            );
            let mut seen = Seen::default();
            let mut kinds = Kinds::new(self);
            while let Some(found) = steps.try_next().await? {
                match seen.take(self.read(found, &mut kinds).await?) {
                    Told::Nothing => {}
                    Told::All => {
                        // To a server one that is not there is as good as an empty one.
                        if let Some(space) = within.take().filter(|_| seen.machines.is_empty()) {
                            self.check_namespace(&space).await?;
                        }
                        yield Change::Reset;
                        for id in seen.machines.keys() {
                            if let Some(vm) = seen.joined(id) {
                                yield Change::Listed(Box::new(vm));
                            }
                        }
                        yield Change::Synced;
                    }
                    Told::One(id) => {
                        if let Some(vm) = seen.joined(&id) {
                            yield Change::Applied(Box::new(vm));
                        }
                    }
                    Told::Gone(id) => yield Change::Gone(id),
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

/// A step of either watch as it comes.
enum Found {
    Machine(Step<Box<VirtualMachine>>),
    Instance(Step<Box<Instance>>),
}

impl Kubevirt {
    /// Takes out of an object what its record needs.
    async fn read(&self, found: Found, kinds: &mut Kinds<'_>) -> Result<Either> {
        Ok(match found {
            Found::Machine(step) => {
                let kind = match step.object() {
                    Some(vm) => kinds.of(vm).await?,
                    None => None,
                };
                Either::Machine(step.map(|vm| {
                    let known = Known { vm: &vm, instance: None, instancetype: kind.as_deref() };
                    Box::new(known.record(&self.context))
                }))
            }
            Found::Instance(step) => Either::Instance(step.map(|instance| {
                let Meta { namespace, name, .. } = &instance.metadata;
                (id(namespace, name), Box::new(Running::new(&instance, None)))
            })),
        })
    }
}

/// What both watches have told so far.
#[derive(Default)]
struct Seen {
    machines: BTreeMap<VmId, Box<Vm>>,
    instances: BTreeMap<VmId, Box<Running>>,
    /// What a list that is under way has named; `None` where none is.
    listing_machines: Option<BTreeSet<VmId>>,
    listing_instances: Option<BTreeSet<VmId>>,
    /// Whether the first list of each is complete.
    ready: (bool, bool),
}

/// What a step comes to.
#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    /// A list is complete.
    All,
    One(VmId),
    Gone(VmId),
}

impl Seen {
    /// The record of a machine.
    fn joined(&self, id: &VmId) -> Option<Vm> {
        let machine = Vm::clone(self.machines.get(id)?);
        Some(match self.instances.get(id) {
            Some(instance) => Running::clone(instance).of(machine),
            None => machine,
        })
    }

    fn take(&mut self, step: Either) -> Told {
        match step {
            Either::Machine(step) => {
                let step = step.map(|vm| (vm.id.clone(), vm));
                let told = apply(&mut self.machines, &mut self.listing_machines, step);
                self.ready.0 |= matches!(told, Told::All);
                self.unless_listing(told)
            }
            Either::Instance(step) => {
                let told = apply(&mut self.instances, &mut self.listing_instances, step);
                self.ready.1 |= matches!(told, Told::All);
                // An instance that comes or goes is a change of its machine.
                let told = match told {
                    Told::One(id) | Told::Gone(id) if self.machines.contains_key(&id) => {
                        Told::One(id)
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
    known: &mut BTreeMap<VmId, T>,
    listing: &mut Option<BTreeSet<VmId>>,
    step: Step<(VmId, T)>,
) -> Told {
    match step {
        Step::Reset => {
            *listing = Some(BTreeSet::new());
            Told::Nothing
        }
        Step::Listed((id, object)) => {
            listing.get_or_insert_default().insert(id.clone());
            known.insert(id, object);
            Told::Nothing
        }
        Step::Synced => {
            let listed = listing.take().unwrap_or_default();
            known.retain(|id, _| listed.contains(id));
            Told::All
        }
        Step::Applied((id, object)) => {
            known.insert(id.clone(), object);
            Told::One(id)
        }
        Step::Gone((id, _)) => {
            known.remove(&id);
            Told::Gone(id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> Box<Vm> {
        let metadata = Meta { name: name.into(), namespace: "n".into(), ..Meta::default() };
        let vm = VirtualMachine { metadata, ..VirtualMachine::default() };
        Box::new(Known { vm: &vm, instance: None, instancetype: None }.record("c"))
    }

    fn instance(name: &str) -> (VmId, Box<Running>) {
        (id("n", name), Box::new(Running::new(&Instance::default(), None)))
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
        let applied = seen.take(Either::Instance(Step::Applied(instance("a"))));
        assert_eq!(applied, Told::One(id("n", "a")));
        assert_eq!(seen.take(Either::Instance(Step::Applied(instance("x")))), Told::Nothing);
        assert_eq!(seen.take(machine(Step::Gone(vm("b")))), Told::Gone(id("n", "b")));
    }

    #[test]
    fn a_new_list_forgets_what_is_not_in_it() {
        let mut seen = Seen { ready: (true, true), ..Seen::default() };
        seen.take(Either::Machine(Step::Applied(vm("a"))));
        seen.take(Either::Machine(Step::Reset));
        seen.take(Either::Machine(Step::Listed(vm("b"))));
        assert_eq!(seen.take(Either::Machine(Step::Synced)), Told::All);
        assert_eq!(seen.machines.keys().collect::<Vec<_>>(), [&id("n", "b")]);
    }
}
