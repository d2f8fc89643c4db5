//! Which groups, versions and kinds the cluster has (`/apis` of the Kubernetes API).

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// KubeVirt's own group.
pub const KUBEVIRT: &str = "kubevirt.io";

/// The versions of each group that this program speaks, the best first.
const SPOKEN: &[(&str, &[&str])] = &[
    (KUBEVIRT, &["v1"]),
    ("subresources.kubevirt.io", &["v1"]),
    ("snapshot.kubevirt.io", &["v1", "v1beta1", "v1alpha1"]),
    ("clone.kubevirt.io", &["v1", "v1beta1", "v1alpha1"]),
    ("export.kubevirt.io", &["v1", "v1beta1", "v1alpha1"]),
    ("pool.kubevirt.io", &["v1beta1", "v1alpha1"]),
    ("instancetype.kubevirt.io", &["v1", "v1beta1"]),
    ("migrations.kubevirt.io", &["v1alpha1"]),
    ("backup.kubevirt.io", &["v1alpha1"]),
    ("cdi.kubevirt.io", &["v1beta1"]),
    ("upload.cdi.kubevirt.io", &["v1beta1"]),
    ("storage.k8s.io", &["v1"]),
    ("metrics.k8s.io", &["v1beta1"]),
    ("snapshot.storage.k8s.io", &["v1"]),
    ("k8s.cni.cncf.io", &["v1"]),
];

/// A kind of object in a version that the server and this program speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// The group; empty for Kubernetes' core.
    pub group: &'static str,
    /// The version: `v1`.
    pub version: &'static str,
    /// The name in paths: `virtualmachines`.
    pub plural: &'static str,
}

impl Resource {
    /// A kind of Kubernetes' core: pods, events, secrets.
    pub const fn core(plural: &'static str) -> Self {
        Self { group: "", version: "v1", plural }
    }

    /// The path of the group and version.
    pub fn root(self) -> String {
        match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// What a server serves.
#[derive(Debug)]
pub struct Groups {
    /// Versions by group.
    versions: BTreeMap<String, Vec<String>>,
    /// Names of kinds by group and version, once asked for.
    kinds: tokio::sync::Mutex<BTreeMap<String, std::sync::Arc<OnceCell<Vec<String>>>>>,
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct KindList {
    #[serde(default)]
    resources: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    name: String,
}

impl Groups {
    pub(super) async fn ask(client: &Client) -> Result<Self> {
        let list: GroupList = client.call(http::Method::GET, "/apis", None).await?;
        let versions = |group: Group| {
            let versions = group.versions.into_iter().map(|it| it.version).collect();
            (group.name, versions)
        };
        Ok(Self {
            versions: list.groups.into_iter().map(versions).collect(),
            kinds: <_>::default(),
        })
    }

    /// The versions of a group that the server has.
    pub fn versions(&self, group: &str) -> &[String] {
        self.versions.get(group).map_or(&[], Vec::as_slice)
    }

    /// The best version of a group that both sides speak.
    pub fn version(&self, group: &str) -> Option<&'static str> {
        let (_, spoken) = SPOKEN.iter().find(|(name, _)| *name == group)?;
        let served = self.versions(group);
        spoken.iter().find(|version| served.iter().any(|it| it == *version)).copied()
    }
}

impl Client {
    /// A kind of object in the best version that both sides speak.
    ///
    /// # Errors
    /// `Unsupported` where the cluster has no such group or only versions that are not known.
    pub async fn resource(&self, group: &'static str, plural: &'static str) -> Result<Resource> {
        let groups = self.groups().await?;
        if let Some(version) = groups.version(group) {
            return Ok(Resource { group, version, plural });
        }
        let error = match groups.versions(group) {
            [] => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    format!("this cluster has no {plural} ({group})"),
                );
                match group {
                    KUBEVIRT => error.with_hint("KubeVirt is not installed in it"),
                    _ => error.with_hint(format!("`kubectl api-resources` shows what it has; {group} is a part of KubeVirt or CDI that is missing or older")),
                }
            }
            versions => Error::new(
                ErrorKind::Unsupported,
                format!("this cluster has {group} only as {}", versions.join(", ")),
            ),
        };
        Err(error.with_subject(self.url().await.unwrap_or_default().to_owned()))
    }

    /// Whether the cluster has a kind of object; a group that is there need not have all of its
    /// kinds.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn has(&self, resource: Resource) -> Result<bool> {
        let groups = self.groups().await?;
        let cell = groups.kinds.lock().await.entry(resource.root()).or_default().clone();
        let ask = || async {
            let list: KindList = self.call(http::Method::GET, &resource.root(), None).await?;
            Ok::<_, Error>(list.resources.into_iter().map(|kind| kind.name).collect())
        };
        let kinds = cell.get_or_try_init(ask).await?;
        Ok(kinds.iter().any(|name| name == resource.plural))
    }
}
