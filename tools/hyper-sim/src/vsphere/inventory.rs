//! What there is: folders, a data centre, hosts, a datastore, networks, and the machines in them.

use std::collections::{BTreeMap, HashMap};

use super::alarm::Alarm;
use super::machine::Machine;
use super::value::Ref;

/// Anything that has a place in the tree but a machine.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub parent: Option<Ref>,
    /// What is in it, in order.
    pub children: Vec<Ref>,
}

/// The tree.
#[derive(Debug)]
pub struct Inventory {
    /// Whether this is a single host rather than a vCenter.
    pub esx: bool,
    /// All but the machines.
    pub entities: HashMap<Ref, Entity>,
    /// The machines by id.
    pub machines: BTreeMap<String, Machine>,
    /// Ids of machines by the folder that they are in, in order.
    order: HashMap<Ref, Vec<String>>,
    /// The references that the rest hangs on.
    pub places: Places,
    /// The alarms that are triggered.
    pub alarms: Vec<Alarm>,
    next: u32,
}

/// The references that the rest hangs on.
#[derive(Debug, Clone)]
pub struct Places {
    /// The root folder.
    pub root: Ref,
    /// The data centre.
    pub datacenter: Ref,
    /// The folder of machines.
    pub vms: Ref,
    /// The folder of hosts.
    pub hosts: Ref,
    /// The folder of datastores.
    pub datastores: Ref,
    /// The folder of networks.
    pub networks: Ref,
    /// The cluster, or what a single host has in its place.
    pub cluster: Ref,
    /// The host.
    pub host: Ref,
    /// The resource pool.
    pub pool: Ref,
    /// The datastore.
    pub datastore: Ref,
    /// The networks.
    pub network: [Ref; 2],
}

impl Places {
    /// The root folder.
    pub fn root(esx: bool) -> Ref {
        Ref::new("Folder", if esx { "ha-folder-root" } else { "group-d1" })
    }

    fn of(esx: bool) -> Self {
        let pick = |kind, host: &str, centre: &str| Ref::new(kind, if esx { host } else { centre });
        let compute = if esx { "ComputeResource" } else { "ClusterComputeResource" };
        Self {
            root: Self::root(esx),
            datacenter: pick("Datacenter", "ha-datacenter", "datacenter-2"),
            vms: pick("Folder", "ha-folder-vm", "group-v3"),
            hosts: pick("Folder", "ha-folder-host", "group-h4"),
            datastores: pick("Folder", "ha-folder-datastore", "group-s5"),
            networks: pick("Folder", "ha-folder-network", "group-n6"),
            cluster: pick(compute, "ha-compute-res", "domain-c7"),
            host: pick("HostSystem", "ha-host", "host-9"),
            pool: pick("ResourcePool", "ha-root-pool", "resgroup-8"),
            datastore: pick("Datastore", "5f000000-00000000-0000-000000000001", "datastore-10"),
            network: [
                pick("Network", "HaNetwork-VM Network", "network-11"),
                pick("Network", "HaNetwork-lab", "network-12"),
            ],
        }
    }
}

/// The name of the datastore.
pub const DATASTORE: &str = "datastore1";

/// The name of the host.
pub const HOST: &str = "esx1.example.com";

impl Inventory {
    /// A tree without machines: of a vCenter, or of a single host.
    pub fn new(esx: bool) -> Self {
        let places = Places::of(esx);
        let mut tree = Self {
            esx,
            entities: HashMap::new(),
            machines: BTreeMap::new(),
            order: HashMap::new(),
            places: places.clone(),
            alarms: Vec::new(),
            next: if esx { 1 } else { 1001 },
        };
        let (dc, cluster) = match esx {
            true => ("ha-datacenter", "localhost.example.com"),
            false => ("DC0", "DC0_C0"),
        };
        let root_name = if esx { "ha-folder-root" } else { "Datacenters" };
        tree.add(&places.root, root_name, None);
        tree.add(&places.datacenter, dc, Some(&places.root));
        tree.add(&places.vms, "vm", Some(&places.datacenter));
        tree.add(&places.hosts, "host", Some(&places.datacenter));
        tree.add(&places.datastores, "datastore", Some(&places.datacenter));
        tree.add(&places.networks, "network", Some(&places.datacenter));
        tree.add(&places.cluster, cluster, Some(&places.hosts));
        tree.add(&places.host, HOST, Some(&places.cluster));
        tree.add(&places.pool, "Resources", Some(&places.cluster));
        tree.add(&places.datastore, DATASTORE, Some(&places.datastores));
        tree.add(&places.network[0], "VM Network", Some(&places.networks));
        tree.add(&places.network[1], "lab", Some(&places.networks));
        tree
    }

    fn add(&mut self, reference: &Ref, name: &str, parent: Option<&Ref>) {
        let entity =
            Entity { name: name.to_owned(), parent: parent.cloned(), children: Vec::new() };
        self.entities.insert(reference.clone(), entity);
        if let Some(parent) = parent.and_then(|parent| self.entities.get_mut(parent)) {
            parent.children.push(reference.clone());
        }
    }

    /// The id that the next new object gets.
    pub fn next_number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The reference for a new machine.
    pub fn next_machine(&mut self) -> Ref {
        let number = self.next_number();
        let id = if self.esx { number.to_string() } else { format!("vm-{number}") };
        Ref::new("VirtualMachine", id)
    }

    /// The folder of that path below the folder of machines; made where it is missing.
    pub fn folder(&mut self, path: &[&str]) -> Ref {
        let mut at = self.places.vms.clone();
        for name in path {
            at = match self.child(&at, name) {
                Some(found) => found,
                None => {
                    let folder = Ref::new("Folder", format!("group-v{}", self.next_number()));
                    self.add(&folder, name, Some(&at));
                    folder
                }
            };
        }
        at
    }

    /// Puts a machine in its folder.
    pub fn insert(&mut self, machine: Machine) {
        let id = machine.reference.value.clone();
        self.order.entry(machine.folder.clone()).or_default().push(id.clone());
        self.machines.insert(id, machine);
    }

    /// Takes a machine away.
    pub fn remove(&mut self, machine: &Ref) {
        self.alarms.retain(|alarm| alarm.machine != *machine);
        self.machines.remove(&machine.value);
        self.order.values_mut().for_each(|all| all.retain(|id| *id != machine.value));
    }

    /// The machine of a reference.
    pub fn machine(&self, reference: &Ref) -> Option<&Machine> {
        (reference.kind == "VirtualMachine").then(|| self.machines.get(&reference.value)).flatten()
    }

    /// Whether something is a machine or a place.
    pub fn is_entity(&self, object: &Ref) -> bool {
        self.entities.contains_key(object) || self.machine(object).is_some()
    }

    /// The machine that a snapshot belongs to.
    pub fn machine_of_snapshot(&self, snapshot: &Ref) -> Option<&Machine> {
        self.machines.values().find(|machine| machine.snapshot(snapshot).is_some())
    }

    /// What is directly in something.
    pub fn children(&self, parent: &Ref) -> Vec<Ref> {
        let mut children =
            self.entities.get(parent).map(|it| it.children.clone()).unwrap_or_default();
        let machines = self.order.get(parent).map(Vec::as_slice).unwrap_or_default();
        children.extend(machines.iter().map(|id| Ref::new("VirtualMachine", id.as_str())));
        children
    }

    /// All machines, in the order of their ids.
    pub fn all_machines(&self) -> Vec<Ref> {
        self.machines.values().map(|machine| machine.reference.clone()).collect()
    }

    /// The name of something.
    pub fn name(&self, reference: &Ref) -> Option<&str> {
        match self.machine(reference) {
            Some(machine) => Some(&machine.name),
            None => self.entities.get(reference).map(|entity| entity.name.as_str()),
        }
    }

    /// The child of that name.
    pub fn child(&self, parent: &Ref, name: &str) -> Option<Ref> {
        self.children(parent).into_iter().find(|child| self.name(child) == Some(name))
    }

    /// What a path of names below the root leads to, such as `DC0/vm/web01`.
    pub fn at_path(&self, path: &str) -> Option<Ref> {
        let mut steps = path.split('/').filter(|step| !step.is_empty());
        steps.try_fold(self.places.root.clone(), |at, step| self.child(&at, step))
    }

    /// Everything below something, nearest first.
    pub fn below(&self, parent: &Ref) -> Vec<Ref> {
        let mut found = self.children(parent);
        let mut next = 0;
        while let Some(at) = found.get(next).cloned() {
            found.extend(self.children(&at));
            next += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_the_tree() {
        let mut tree = Inventory::new(false);
        let folder = tree.folder(&["prod", "web"]);
        assert_eq!(tree.folder(&["prod", "web"]), folder);
        assert_eq!(tree.at_path("/DC0/vm/prod/web"), Some(folder.clone()));
        assert_eq!(tree.at_path("DC0/host/DC0_C0/Resources"), Some(tree.places.pool.clone()));
        assert_eq!(tree.at_path("DC0/vm/nothing"), None);
        assert!(tree.below(&tree.places.root).contains(&folder));
    }
}
