//! The resources of KubeVirt and of its importer, CDI, as definitions of our own: names, versions,
//! columns and subresources as real ones, schemas that say little and keep all fields.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

/// A release of KubeVirt, as far as its API differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
pub enum Release {
    /// 1.0: the oldest that is simulated.
    #[value(name = "1.0")]
    V1_0,
    /// 1.5.
    #[value(name = "1.5")]
    V1_5,
    /// 1.9.
    #[value(name = "1.9")]
    V1_9,
}

impl Release {
    /// As the cluster itself says it.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_0 => "v1.0.1",
            Self::V1_5 => "v1.5.2",
            Self::V1_9 => "v1.9.0",
        }
    }
}

/// The versions of a resource, the stored one last, each from a release on.
type Versions = &'static [(&'static str, Release)];
/// A column: name, type and path.
type Columns = &'static [(&'static str, &'static str, &'static str)];

/// A resource.
struct Resource {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    cluster: bool,
    /// Whether its status is a subresource.
    status: bool,
    versions: Versions,
    columns: Columns,
}

use Release::{V1_0, V1_5, V1_9};

const CORE: Versions = &[("v1alpha3", V1_0), ("v1", V1_0)];
const BETA: Versions = &[("v1alpha1", V1_0), ("v1beta1", V1_5)];
const READY: (&str, &str, &str) =
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status");
const AGE: (&str, &str, &str) = ("Age", "date", ".metadata.creationTimestamp");
const PHASE: (&str, &str, &str) = ("Phase", "string", ".status.phase");
const SOURCE_KIND: (&str, &str, &str) = ("SourceKind", "string", ".spec.source.kind");
const SOURCE_NAME: (&str, &str, &str) = ("SourceName", "string", ".spec.source.name");
const CREATION: (&str, &str, &str) = ("CreationTime", "date", ".status.creationTime");
const ERROR: (&str, &str, &str) = ("Error", "string", ".status.error.message");

const PLAIN: Resource = Resource {
    group: "kubevirt.io",
    kind: "",
    plural: "",
    short: &[],
    cluster: false,
    status: true,
    versions: CORE,
    columns: &[AGE],
};

const RESOURCES: &[Resource] = &[
    Resource {
        kind: "VirtualMachine",
        plural: "virtualmachines",
        short: &["vm", "vms"],
        columns: &[AGE, ("Status", "string", ".status.printableStatus"), READY],
        ..PLAIN
    },
    Resource {
        kind: "VirtualMachineInstance",
        plural: "virtualmachineinstances",
        short: &["vmi", "vmis"],
        status: false,
        columns: &[
            AGE,
            PHASE,
            ("IP", "string", ".status.interfaces[0].ipAddress"),
            ("NodeName", "string", ".status.nodeName"),
            READY,
        ],
        ..PLAIN
    },
    Resource {
        kind: "VirtualMachineInstanceMigration",
        plural: "virtualmachineinstancemigrations",
        short: &["vmim", "vmims"],
        columns: &[PHASE, ("VMI", "string", ".spec.vmiName")],
        ..PLAIN
    },
    Resource {
        kind: "VirtualMachineInstanceReplicaSet",
        plural: "virtualmachineinstancereplicasets",
        short: &["vmirs", "vmirss"],
        ..PLAIN
    },
    Resource {
        kind: "KubeVirt",
        plural: "kubevirts",
        short: &["kv", "kvs"],
        columns: &[AGE, PHASE],
        ..PLAIN
    },
    Resource {
        group: "snapshot.kubevirt.io",
        kind: "VirtualMachineSnapshot",
        plural: "virtualmachinesnapshots",
        short: &["vmsnapshot", "vmsnapshots"],
        versions: BETA,
        columns: &[
            SOURCE_KIND,
            SOURCE_NAME,
            PHASE,
            ("ReadyToUse", "boolean", ".status.readyToUse"),
            CREATION,
            ERROR,
        ],
        ..PLAIN
    },
    Resource {
        group: "snapshot.kubevirt.io",
        kind: "VirtualMachineSnapshotContent",
        plural: "virtualmachinesnapshotcontents",
        short: &["vmsnapshotcontent", "vmsnapshotcontents"],
        versions: BETA,
        columns: &[("ReadyToUse", "boolean", ".status.readyToUse"), CREATION, ERROR],
        ..PLAIN
    },
    Resource {
        group: "snapshot.kubevirt.io",
        kind: "VirtualMachineRestore",
        plural: "virtualmachinerestores",
        short: &["vmrestore", "vmrestores"],
        versions: BETA,
        columns: &[
            ("TargetKind", "string", ".spec.target.kind"),
            ("TargetName", "string", ".spec.target.name"),
            ("Complete", "boolean", ".status.complete"),
            ("RestoreTime", "date", ".status.restoreTime"),
            ERROR,
        ],
        ..PLAIN
    },
    Resource {
        group: "clone.kubevirt.io",
        kind: "VirtualMachineClone",
        plural: "virtualmachineclones",
        short: &["vmclone", "vmclones"],
        versions: BETA,
        columns: &[
            PHASE,
            ("SourceVirtualMachine", "string", ".spec.source.name"),
            ("TargetVirtualMachine", "string", ".spec.target.name"),
        ],
        ..PLAIN
    },
    Resource {
        group: "export.kubevirt.io",
        kind: "VirtualMachineExport",
        plural: "virtualmachineexports",
        short: &["vmexport", "vmexports"],
        versions: &[("v1alpha1", V1_0), ("v1beta1", V1_5), ("v1", V1_9)],
        columns: &[SOURCE_KIND, SOURCE_NAME, PHASE],
        ..PLAIN
    },
    Resource {
        group: "instancetype.kubevirt.io",
        kind: "VirtualMachineInstancetype",
        plural: "virtualmachineinstancetypes",
        short: &["vminstancetype", "vminstancetypes", "vmf", "vmfs"],
        status: false,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "instancetype.kubevirt.io",
        kind: "VirtualMachineClusterInstancetype",
        plural: "virtualmachineclusterinstancetypes",
        short: &["vmclusterinstancetype", "vmclusterinstancetypes", "vmcf", "vmcfs"],
        cluster: true,
        status: false,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "instancetype.kubevirt.io",
        kind: "VirtualMachinePreference",
        plural: "virtualmachinepreferences",
        short: &["vmpref", "vmprefs", "vmp", "vmps"],
        status: false,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "instancetype.kubevirt.io",
        kind: "VirtualMachineClusterPreference",
        plural: "virtualmachineclusterpreferences",
        short: &["vmcp", "vmcps"],
        cluster: true,
        status: false,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "pool.kubevirt.io",
        kind: "VirtualMachinePool",
        plural: "virtualmachinepools",
        short: &["vmpool", "vmpools"],
        versions: &[("v1alpha1", V1_0), ("v1beta1", V1_9)],
        columns: &[
            ("Desired", "integer", ".spec.replicas"),
            ("Current", "integer", ".status.replicas"),
            ("Ready", "integer", ".status.readyReplicas"),
            AGE,
        ],
        ..PLAIN
    },
    Resource {
        group: "migrations.kubevirt.io",
        kind: "MigrationPolicy",
        plural: "migrationpolicies",
        cluster: true,
        versions: &[("v1alpha1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "DataVolume",
        plural: "datavolumes",
        short: &["dv", "dvs"],
        versions: &[("v1beta1", V1_0)],
        columns: &[
            PHASE,
            ("Progress", "string", ".status.progress"),
            ("Restarts", "integer", ".status.restartCount"),
            AGE,
        ],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "DataSource",
        plural: "datasources",
        short: &["das"],
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "DataImportCron",
        plural: "dataimportcrons",
        short: &["dic", "dics"],
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "StorageProfile",
        plural: "storageprofiles",
        cluster: true,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "CDI",
        plural: "cdis",
        short: &["cdi", "cdis"],
        cluster: true,
        versions: &[("v1beta1", V1_0)],
        columns: &[AGE, PHASE],
        ..PLAIN
    },
    Resource {
        group: "cdi.kubevirt.io",
        kind: "CDIConfig",
        plural: "cdiconfigs",
        cluster: true,
        versions: &[("v1beta1", V1_0)],
        ..PLAIN
    },
];

/// For an API server that has no storage classes of its own, as a testbed's.
const STORAGE_CLASS: Resource = Resource {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    short: &["sc"],
    cluster: true,
    status: false,
    versions: &[("v1", V1_0)],
    ..PLAIN
};

/// The definitions of all that a release has.
pub fn definitions(release: Release) -> Vec<Value> {
    RESOURCES.iter().map(|resource| resource.definition(release)).collect()
}

/// The definition of storage classes.
pub fn storage_class() -> Value {
    let mut definition = STORAGE_CLASS.definition(V1_0);
    // The group is Kubernetes' own, which has to be said.
    definition["metadata"]["annotations"] =
        json!({ "api-approved.kubernetes.io": "unapproved, for a simulated cluster" });
    definition
}

impl Resource {
    fn definition(&self, release: Release) -> Value {
        let served: Vec<_> = self.versions.iter().filter(|(_, since)| *since <= release).collect();
        let stored = served.last().map(|(name, _)| *name);
        let version = |(name, _): &&(&str, Release)| self.version(name, stored == Some(*name));
        let singular = self.kind.to_ascii_lowercase();
        // Real definitions name a short form that is the plural or the singular as well.
        let short: Vec<_> =
            self.short.iter().filter(|it| **it != self.plural && **it != singular).collect();
        let mut names = json!({
            "kind": self.kind,
            "listKind": format!("{}List", self.kind),
            "plural": self.plural,
            "singular": singular,
            "shortNames": short,
        });
        if !self.cluster {
            names["categories"] = json!(["all"]);
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{}.{}", self.plural, self.group) },
            "spec": {
                "group": self.group,
                "names": names,
                "scope": if self.cluster { "Cluster" } else { "Namespaced" },
                "versions": served.iter().map(version).collect::<Vec<_>>(),
            },
        })
    }

    fn version(&self, name: &str, stored: bool) -> Value {
        let column = |(name, kind, path): &(&str, &str, &str)| json!({ "name": name, "type": kind, "jsonPath": path });
        let mut subresources = json!({});
        if self.status {
            subresources["status"] = json!({});
        }
        if self.kind == "VirtualMachinePool" {
            subresources["scale"] = json!({
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.labelSelector",
            });
        }
        json!({
            "name": name,
            "served": true,
            "storage": stored,
            "subresources": subresources,
            "additionalPrinterColumns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "schema": { "openAPIV3Schema": self.schema() },
        })
    }

    fn schema(&self) -> Value {
        let any = || json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let mut spec = any();
        if self.kind == "VirtualMachine" {
            spec = machine_schema(any);
        }
        json!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "type": "object" },
                "spec": spec,
                "status": any(),
            },
        })
    }
}

/// What a real schema refuses first in a machine: numbers and quantities that are none.
fn machine_schema(any: impl Fn() -> Value) -> Value {
    let with = |properties: Value| {
        let mut object = any();
        object["properties"] = properties;
        object
    };
    let quantity = json!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "x-kubernetes-int-or-string": true,
        "pattern": "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|\
                    ([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
    });
    let count = json!({ "type": "integer", "format": "int32" });
    let cpu = with(json!({ "cores": count, "sockets": count, "threads": count }));
    let memory = with(json!({ "guest": quantity }));
    let domain = with(json!({ "cpu": cpu, "memory": memory }));
    let template = with(json!({ "spec": with(json!({ "domain": domain })) }));
    let mut spec = with(json!({
        "runStrategy": { "type": "string" },
        "running": { "type": "boolean" },
        "template": template,
    }));
    spec["required"] = json!(["template"]);
    spec
}
