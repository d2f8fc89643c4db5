//! The names of what is around the machines: folders, hosts, networks.

use std::collections::HashMap;

use super::client::{Client, ServiceContent};
use super::property::{Object, Properties, property_spec};
use super::soap::{Body, MoRef, Value};
use super::stream::page_options;
use crate::error::Result;

/// The types whose names are read, and what leads up from each in the inventory.
const KINDS: [(&str, &[&str]); 12] = [
    ("Folder", &["name", "parent"]),
    ("StoragePod", &["name", "parent"]),
    ("Datacenter", &["name", "parent"]),
    ("VirtualApp", &["name", "parent", "parentFolder"]),
    ("ResourcePool", &["name", "parent"]),
    ("ComputeResource", &["name", "parent"]),
    ("ClusterComputeResource", &["name", "parent"]),
    ("Datastore", &["name", "parent"]),
    ("HostSystem", &["name", "parent"]),
    ("Network", &["name", "parent"]),
    ("DistributedVirtualPortgroup", &["name", "parent"]),
    ("OpaqueNetwork", &["name", "parent"]),
];

/// Highest number of folders in each other; more would be a circle.
const DEEPEST: usize = 200;

/// Names and parents by identifier.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, Named>);

#[derive(Debug)]
struct Named {
    kind: String,
    name: String,
    parent: Option<String>,
}

impl Names {
    /// Reads them all.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn read(client: &Client) -> Result<Self> {
        let content = client.content().await?;
        let mut names = Self::below(&content.root_folder);
        for object in Self::read_objects(client, &content).await? {
            names.learn(&object);
        }
        Ok(names)
    }

    fn put_root(&mut self, root: &MoRef) {
        let named = Named { kind: root.kind.clone(), name: String::new(), parent: None };
        self.0.insert(root.value.clone(), named);
    }

    /// Nothing but the top of the inventory.
    pub(super) fn below(root: &MoRef) -> Self {
        let mut names = Self::default();
        names.put_root(root);
        names
    }

    /// Takes in what an object, which may be known, says about itself now.
    pub(super) fn learn(&mut self, object: &Object) {
        let fresh = || Named { kind: object.id.kind.clone(), name: String::new(), parent: None };
        let named = self.0.entry(object.id.value.clone()).or_insert_with(fresh);
        let properties = &object.properties;
        if let Some(name) = properties.str("name") {
            name.clone_into(&mut named.name);
        }
        let parent =
            properties.reference("parentFolder").or_else(|| properties.reference("parent"));
        if let Some(parent) = parent {
            named.parent = Some(parent.value);
        }
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Adds that names and parents of what has them are wanted.
    pub(super) fn wanted(body: Body) -> Body {
        KINDS.into_iter().fold(body, |body, (kind, paths)| property_spec(body, kind, paths))
    }

    /// The types whose names are read.
    pub(super) fn kinds() -> [&'static str; KINDS.len()] {
        KINDS.map(|it| it.0)
    }

    async fn read_objects(client: &Client, content: &ServiceContent) -> Result<Vec<Object>> {
        let mut turns = client.turns();
        loop {
            let view = View::new(client, &content.root_folder, &Self::kinds()).await?;
            let body = Self::wanted(Body::new().open("specSet", None));
            let body = page_options(view.select(body).close("specSet"));
            let cookie = turns.cookie().await?;
            let found = client.read_pages(&cookie, &content.property_collector, &body).await;
            view.destroy().await;
            match found {
                Err(error) => turns.look_again(cookie, error)?,
                found => return found,
            }
        }
    }

    /// The name of an object.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|named| named.name.as_str())
    }

    /// The inventory path of an object.
    pub fn path_to(&self, id: &str) -> Option<String> {
        let named = self.0.get(id)?;
        self.path(named.parent.as_deref()?, &named.name)
    }

    /// The nearest of a type that an object is in, or that it is: its name.
    pub fn around(&self, id: &str, kind: &str) -> Option<&str> {
        self.name(self.above(id, kind)?)
    }

    /// The same: its identifier.
    pub fn above<'n>(&'n self, id: &'n str, kind: &str) -> Option<&'n str> {
        let mut next = Some(id);
        for _ in 0..DEEPEST {
            let id = next?;
            let named = self.0.get(id)?;
            if named.kind == kind {
                return Some(id);
            }
            next = named.parent.as_deref();
        }
        None
    }

    /// How many there are of these types, in all or in the datacenter of this identifier.
    pub fn count(&self, kinds: &[&str], datacenter: Option<&str>) -> u32 {
        let fitting = self.0.iter().filter(|(id, named)| {
            kinds.contains(&named.kind.as_str())
                && datacenter.is_none_or(|it| self.above(id, "Datacenter") == Some(it))
        });
        u32::try_from(fitting.count()).unwrap_or(u32::MAX)
    }

    /// Everything of these types that has a place in the inventory: what it is, its name, its path.
    pub fn of_types<'n>(
        &'n self,
        types: &'n [&str],
    ) -> impl Iterator<Item = (MoRef, &'n str, String)> {
        let fitting = self.0.iter().filter(|(_, named)| types.contains(&named.kind.as_str()));
        fitting.filter_map(|(id, named)| {
            let path = self.path(named.parent.as_deref()?, &named.name)?;
            Some((MoRef::new(&named.kind, id), named.name.as_str(), path))
        })
    }

    /// The identifiers of the hosts called `name`.
    pub fn hosts(&self, name: &str) -> Vec<&str> {
        let is = |named: &Named| named.kind == "HostSystem" && named.name == name;
        self.0.iter().filter(|(_, named)| is(named)).map(|(id, _)| id.as_str()).collect()
    }

    /// The datacenter that something is in.
    pub fn datacenter_of(&self, id: &str) -> Option<MoRef> {
        let mut next = Some(id);
        for _ in 0..DEEPEST {
            let id = next?;
            let named = self.0.get(id)?;
            if named.kind == "Datacenter" {
                return Some(MoRef::new(&named.kind, id));
            }
            next = named.parent.as_deref();
        }
        None
    }

    /// The datacenters' names, in order.
    pub fn datacenters(&self) -> Vec<&str> {
        let all = self.0.values().filter(|named| named.kind == "Datacenter");
        let mut names: Vec<&str> = all.map(|named| named.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The inventory path of a machine called `name` whose parent is `parent`: `/DC0/vm/web01`.
    pub fn path(&self, parent: &str, name: &str) -> Option<String> {
        let mut parts = vec![name];
        let mut next = Some(parent);
        while let Some(id) = next.filter(|_| parts.len() < DEEPEST) {
            let named = self.0.get(id)?;
            if named.parent.is_some() {
                parts.push(&named.name);
            }
            next = named.parent.as_deref();
        }
        parts.reverse();
        Some(format!("/{}", parts.join("/")))
    }

    /// The path of the machine with these properties.
    pub fn path_of(&self, properties: &Properties) -> Option<String> {
        let parent =
            properties.reference("parent").or_else(|| properties.reference("parentVApp"))?;
        self.path(&parent.value, properties.str("name")?)
    }
}

/// A list of objects that the server keeps up to date, until destroyed.
pub(super) struct View<'c> {
    client: &'c Client,
    id: MoRef,
}

impl<'c> View<'c> {
    /// All objects of these types anywhere below `container`.
    pub async fn new(client: &'c Client, container: &MoRef, kinds: &[&str]) -> Result<Self> {
        let manager = client.content().await?.manager("viewManager")?;
        let body = Self::of(container, kinds);
        let id = client.call("CreateContainerView", &manager, body).await?.reference()?;
        Ok(Self { client, id })
    }

    /// What makes one: all objects of these types anywhere below `container`.
    pub fn of(container: &MoRef, kinds: &[&str]) -> Body {
        let body = Body::new().reference("container", container);
        let body = kinds.iter().fold(body, |body, kind| body.text("type", kind));
        body.text("recursive", true)
    }

    /// Adds that the objects in the view are meant.
    pub fn select(&self, body: Body) -> Body {
        Self::select_in(&self.id, body)
    }

    /// Adds that the objects in the view `id` are meant.
    pub fn select_in(id: &MoRef, body: Body) -> Body {
        body.open("objectSet", None)
            .reference("obj", id)
            .text("skip", true)
            .open("selectSet", Some("TraversalSpec"))
            .text("type", "ContainerView")
            .text("path", "view")
            .text("skip", false)
            .close("selectSet")
            .close("objectSet")
    }

    /// Frees it. That it cannot be freed is no failure: it ends with the login.
    pub async fn destroy(self) {
        if let Err(error) = self.client.call("DestroyView", &self.id, Body::new()).await {
            tracing::debug!("free the view {}: {error}", self.id);
        }
    }
}

/// What a path of the inventory leads to, where it leads anywhere.
pub(super) async fn find_by_path(client: &Client, path: &str) -> Result<Option<MoRef>> {
    let index = client.content().await?.manager("searchIndex")?;
    let body = Body::new().text("inventoryPath", path.trim_matches('/'));
    let reply = client.call("FindByInventoryPath", &index, body).await?;
    Ok(reply.value().and_then(Value::reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[(&str, &str, Option<&str>)]) -> Names {
        let one = |(id, name, parent): &(&str, &str, Option<&str>)| {
            let kind = "Folder".to_owned();
            ((*id).to_owned(), Named { kind, name: (*name).into(), parent: parent.map(Into::into) })
        };
        Names(all.iter().map(one).collect())
    }

    #[test]
    fn paths_lead_up_to_the_root_and_never_in_circles() {
        let tree =
            names(&[("root", "", None), ("dc", "DC0", Some("root")), ("f", "vm", Some("dc"))]);
        assert_eq!(tree.path("f", "web01").unwrap(), "/DC0/vm/web01");
        assert_eq!(tree.path("gone", "web01"), None);
        let circle = names(&[("a", "x", Some("b")), ("b", "y", Some("a"))]);
        assert!(circle.path("a", "web01").unwrap().len() < 1000);
        assert_eq!(tree.path_to("f").unwrap(), "/DC0/vm");
        assert_eq!((tree.path_to("root"), tree.around("f", "Datacenter")), (None, None));
        assert_eq!(tree.around("f", "Folder"), Some("vm"));
        assert_eq!(circle.around("a", "Datacenter"), None);
    }
}
