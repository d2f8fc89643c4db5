//! The kinds of objects that the controllers follow.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{list, text};
use super::upstream::{Fail, Upstream};

/// A kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `VirtualMachine`.
    Machine,
    /// `VirtualMachineInstance`.
    Instance,
    /// `VirtualMachineInstanceMigration`.
    Migration,
    /// `DataVolume`.
    Volume,
    /// `DataSource`.
    Source,
    /// `PersistentVolumeClaim`.
    Claim,
    /// `VirtualMachineSnapshot`.
    Snapshot,
    /// `VirtualMachineSnapshotContent`.
    Content,
    /// `VirtualMachineRestore`.
    Restore,
    /// `VirtualMachineClone`.
    Clone,
    /// `VirtualMachineExport`.
    Export,
    /// `Namespace`.
    Namespace,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Machine,
        Self::Instance,
        Self::Migration,
        Self::Volume,
        Self::Source,
        Self::Claim,
        Self::Snapshot,
        Self::Content,
        Self::Restore,
        Self::Clone,
        Self::Export,
        Self::Namespace,
    ];

    /// Group, resource and name.
    pub fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Machine => ("kubevirt.io", "virtualmachines", "VirtualMachine"),
            Self::Instance => ("kubevirt.io", "virtualmachineinstances", "VirtualMachineInstance"),
            Self::Migration => (
                "kubevirt.io",
                "virtualmachineinstancemigrations",
                "VirtualMachineInstanceMigration",
            ),
            Self::Volume => ("cdi.kubevirt.io", "datavolumes", "DataVolume"),
            Self::Source => ("cdi.kubevirt.io", "datasources", "DataSource"),
            Self::Claim => ("", "persistentvolumeclaims", "PersistentVolumeClaim"),
            Self::Snapshot => {
                ("snapshot.kubevirt.io", "virtualmachinesnapshots", "VirtualMachineSnapshot")
            }
            Self::Content => (
                "snapshot.kubevirt.io",
                "virtualmachinesnapshotcontents",
                "VirtualMachineSnapshotContent",
            ),
            Self::Restore => {
                ("snapshot.kubevirt.io", "virtualmachinerestores", "VirtualMachineRestore")
            }
            Self::Clone => ("clone.kubevirt.io", "virtualmachineclones", "VirtualMachineClone"),
            Self::Export => ("export.kubevirt.io", "virtualmachineexports", "VirtualMachineExport"),
            Self::Namespace => ("", "namespaces", "Namespace"),
        }
    }

    /// Whether its status is written at a place of its own.
    pub fn has_status(self) -> bool {
        self != Self::Instance
    }
}

/// What an object is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a namespace itself.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of a name in a namespace.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Of an object.
    pub fn of(kind: Kind, object: &Value) -> Self {
        Self::new(kind, super::json::namespace(object), super::json::name(object))
    }

    /// The same name and namespace, another kind.
    pub fn other(&self, kind: Kind) -> Self {
        Self { kind, ..self.clone() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind.names().1, self.namespace, self.name)
    }
}

/// The version of each group that is spoken: the one the server prefers.
#[derive(Debug)]
pub struct Groups(BTreeMap<String, String>);

impl Groups {
    /// As the server says.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn discover(upstream: &Upstream) -> Result<Self, Fail> {
        let all = upstream.get("/apis").await?;
        let pair = |group: &Value| {
            let version = text(group, "/preferredVersion/version");
            (text(group, "/name").to_owned(), version.to_owned())
        };
        Ok(Self(list(&all, "/groups").iter().map(pair).collect()))
    }

    /// `GROUP/VERSION`.
    pub fn version(&self, kind: Kind) -> String {
        match kind.names().0 {
            "" => "v1".to_owned(),
            group => {
                let version = self.0.get(group).map(String::as_str).unwrap_or("v1");
                format!("{group}/{version}")
            }
        }
    }

    /// The path of all objects of a kind, or those of a namespace.
    pub fn path(&self, kind: Kind, namespace: &str) -> String {
        let root = match kind.names().0 {
            "" => "/api",
            _ => "/apis",
        };
        let (version, plural) = (self.version(kind), kind.names().1);
        match namespace {
            "" => format!("{root}/{version}/{plural}"),
            namespace => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        }
    }

    /// The path of an object.
    pub fn object(&self, key: &Key) -> String {
        format!("{}/{}", self.path(key.kind, &key.namespace), key.name)
    }
}
