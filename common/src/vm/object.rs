//! What a platform has beside its machines and about them: instances, migrations, clones, snapshots
//! and the like, each as one neutral record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Vm, VmId};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A machine itself.
    Vm,
    /// A machine as it runs.
    Instance,
    /// The move of a machine to another host.
    Migration,
    /// The making of a machine out of another.
    Clone,
    /// A kept moment of a machine.
    Snapshot,
    /// The return of a machine to such a moment.
    Restore,
    /// The offering of a machine's disks for download.
    Export,
    /// A volume that is filled with something.
    DataVolume,
}

/// The kinds with the short names that kubectl knows them by.
const KINDS: [(ObjectKind, &str, &str); 8] = [
    (ObjectKind::Vm, "vm", "vms"),
    (ObjectKind::Instance, "instance", "vmi"),
    (ObjectKind::Migration, "migration", "vmim"),
    (ObjectKind::Clone, "clone", "vmclone"),
    (ObjectKind::Snapshot, "snapshot", "vmsnapshot"),
    (ObjectKind::Restore, "restore", "vmrestore"),
    (ObjectKind::Export, "export", "vmexport"),
    (ObjectKind::DataVolume, "datavolume", "dv"),
];

impl ObjectKind {
    /// Every kind with its name and the short name that kubectl has for it.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        KINDS.into_iter().map(|(_, name, short)| (name, short))
    }

    /// The word in records and in `--kind`.
    pub fn name(self) -> &'static str {
        KINDS.into_iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for ObjectKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |word: &str| word.eq_ignore_ascii_case(text);
        let found = KINDS.into_iter().find(|(_, name, short)| is(name) || is(short));
        found.map(|(kind, ..)| kind).ok_or_else(|| {
            let names: Vec<_> = KINDS.into_iter().map(|(_, name, _)| name).collect();
            format!("not one of {}: {text:?}", names.join(", "))
        })
    }
}

/// An object of a platform that has to do with a machine. What the platform does not tell is
/// `None`; nothing is made up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VmObject {
    /// What it is.
    pub kind: ObjectKind,
    /// What the provider calls it.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// The namespace that it is in.
    pub namespace: Option<String>,
    /// The context it was found in.
    pub context: String,
    /// The provider of that context.
    pub provider: String,
    /// The name of the machine that it is about.
    pub vm: Option<String>,
    /// That machine's id.
    pub vm_id: Option<VmId>,
    /// The platform's word for how far it is: its phase.
    pub status: Option<String>,
    /// Whether it is as it is meant to be.
    pub ready: Option<bool>,
    /// How far it is, of 100, as the platform says.
    pub progress_percent: Option<f64>,
    /// What it is made from: an object as `KIND/NAME`, or the host that a machine leaves.
    pub source: Option<String>,
    /// What it leads to: an object as `KIND/NAME`, or the host that a machine moves to.
    pub target: Option<String>,
    /// The host that it is on.
    pub node: Option<String>,
    /// What the platform says is in the way, or went wrong.
    pub message: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// When what it stands for was over.
    pub ended: Option<jiff::Timestamp>,
}

impl VmObject {
    /// A machine as one object among others.
    pub fn of_vm(vm: &Vm) -> Self {
        Self {
            kind: ObjectKind::Vm,
            id: vm.id.clone(),
            name: vm.name.clone(),
            namespace: vm.namespace.clone(),
            context: vm.context.clone(),
            provider: vm.provider.clone(),
            vm: Some(vm.name.clone()),
            vm_id: Some(vm.id.clone()),
            status: Some(vm.state.clone().unwrap_or_else(|| vm.status.name().to_owned())),
            ready: None,
            progress_percent: None,
            source: None,
            target: None,
            node: vm.node.clone(),
            message: None,
            labels: vm.labels.clone(),
            created: vm.created,
            ended: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_two_names() {
        assert_eq!("VMIM".parse(), Ok(ObjectKind::Migration));
        assert_eq!("datavolume".parse(), Ok(ObjectKind::DataVolume));
        assert!("pod".parse::<ObjectKind>().unwrap_err().contains("snapshot"));
        assert!(KINDS.into_iter().all(|(kind, name, _)| kind.name() == name));
    }
}
