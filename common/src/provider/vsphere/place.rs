//! Places of the inventory by the names and paths that people give them: folders, datastores,
//! pools, hosts.

use super::client::Client;
use super::inventory::absolute;
use super::names::{Names, find_by_path};
use super::soap::{Body, MoRef, Value};
use crate::error::{Error, Result};

/// Most places that an error names.
const SHOWN: usize = 10;

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder of machines.
    Folder,
    /// A datastore.
    Datastore,
    /// A resource pool, or a cluster or host whose own is meant.
    Pool,
    /// A host.
    Host,
    /// A cluster of hosts.
    Cluster,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Datastore => "datastore",
            Self::Pool => "resource pool",
            Self::Host => "host",
            Self::Cluster => "cluster",
        }
    }

    /// Its types in the API.
    pub fn types(self) -> &'static [&'static str] {
        match self {
            Self::Folder => &["Folder"],
            Self::Datastore => &["Datastore"],
            Self::Pool => {
                &["ResourcePool", "VirtualApp", "ComputeResource", "ClusterComputeResource"]
            }
            Self::Host => &["HostSystem"],
            Self::Cluster => &["ClusterComputeResource"],
        }
    }

    /// Whether something at a path can be meant: folders hold networks and datastores, too.
    fn is_at(self, path: &str) -> bool {
        self != Self::Folder || path.ends_with("/vm") || path.contains("/vm/")
    }
}

/// The one place of a kind that a name or a path means.
///
/// # Errors
/// `NotFound` with those that there are; `Conflict` with the paths of several.
pub(super) async fn find(
    client: &Client,
    names: &Names,
    kind: Kind,
    wanted: &str,
) -> Result<MoRef> {
    if wanted.contains('/') {
        for path in absolute(client, names, wanted) {
            let found = find_by_path(client, &path).await?;
            if let Some(found) = found.filter(|it| kind.types().contains(&it.kind.as_str())) {
                return Ok(found);
            }
        }
    }
    let all = names.of_types(kind.types());
    let all = all.filter(|(_, _, path)| kind.is_at(path)).collect::<Vec<_>>();
    let mut fitting: Vec<_> = all.iter().filter(|(_, name, _)| *name == wanted).collect();
    fitting.sort_by(|a, b| a.2.cmp(&b.2));
    match fitting.as_slice() {
        [(id, ..)] => Ok(id.clone()),
        [] => {
            let mut known: Vec<_> = all.iter().map(|(_, _, path)| path.as_str()).collect();
            known.sort_unstable();
            let shown = known.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            let more = known.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(Error::not_found(format!("there is no such {}", kind.word()))
                .with_subject(wanted)
                .with_hint(format!("there are: {shown}{more}")))
        }
        several => {
            let words = format!("{} {}s have this name", several.len(), kind.word());
            let error = Error::conflict(words).with_subject(wanted);
            Err(several.iter().take(SHOWN).fold(error, |error, (_, _, path)| error.with_hint(path)))
        }
    }
}

/// The host of this name.
///
/// # Errors
/// `NotFound`; `Conflict` where several have it.
pub(super) fn host(names: &Names, wanted: &str) -> Result<MoRef> {
    match names.hosts(wanted).as_slice() {
        [host] => Ok(MoRef::new("HostSystem", *host)),
        [] => Err(Error::not_found("there is no such host").with_subject(wanted)),
        several => {
            Err(Error::conflict(format!("{} hosts have this name", several.len()))
                .with_subject(wanted))
        }
    }
}

/// The pool of this name, or the own one of the cluster of this name.
///
/// # Errors
/// As [`find`].
pub(super) async fn pool(client: &Client, names: &Names, wanted: &str) -> Result<MoRef> {
    let found = find(client, names, Kind::Pool, wanted).await?;
    if matches!(found.kind.as_str(), "ResourcePool" | "VirtualApp") {
        return Ok(found);
    }
    let own = client.properties(&found, &["resourcePool"]).await?.reference("resourcePool");
    own.ok_or_else(|| Error::not_found("it has no resource pool").with_subject(wanted))
}

/// The pool that a machine in `now` goes to with a host, where that belongs to another cluster or
/// to none.
///
/// # Errors
/// Those of a call.
pub(super) async fn pool_of(
    client: &Client,
    host: &MoRef,
    now: Option<&MoRef>,
) -> Result<Option<MoRef>> {
    let parent = client.properties(host, &["parent"]).await?.reference("parent");
    let Some(parent) = parent else { return Ok(None) };
    if let Some(now) = now {
        let owner = client.properties(now, &["owner"]).await?.reference("owner");
        if owner.as_ref() == Some(&parent) {
            return Ok(None);
        }
    }
    Ok(client.properties(&parent, &["resourcePool"]).await?.reference("resourcePool"))
}

/// What is called so in a folder.
///
/// # Errors
/// Those of a call.
pub(super) async fn child(client: &Client, folder: &MoRef, name: &str) -> Result<Option<MoRef>> {
    let index = client.content().await?.manager("searchIndex")?;
    let body = Body::new().reference("entity", folder).text("name", name);
    Ok(client.call("FindChild", &index, body).await?.value().and_then(Value::reference))
}
