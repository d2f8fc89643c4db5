//! What tells one state of a machine's volumes from another: the versions of the machine and of the
//! claims. A machine cannot run without changing its own object, nor can a claim be made anew.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Place};
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::MACHINES;
use super::record::quantity_of;
use super::wire::{Meta, Storage, VirtualMachine};
use crate::error::{Error, Result, ResultExt};

/// A `PersistentVolumeClaim`, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimObject {
    pub metadata: Meta,
    pub spec: Storage,
    status: ClaimStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClaimStatus {
    capacity: BTreeMap<String, Value>,
}

impl ClaimObject {
    /// Bytes that it has room for, as far as it is known.
    pub(super) fn capacity(&self) -> u64 {
        let asked = self.spec.resources.requests.get("storage");
        let size = self.status.capacity.get("storage").or(asked);
        size.and_then(quantity_of).unwrap_or(0)
    }
}

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub client: Client,
    pub namespace: String,
    pub machine: String,
    pub claims: Vec<String>,
}

/// The version of an object: its id and how often it changed.
type Version = (String, String);

/// How it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    machine: Version,
    generation: i64,
    claims: BTreeMap<String, Version>,
    sizes: BTreeMap<String, u64>,
}

impl Watched {
    /// How it is now.
    ///
    /// # Errors
    /// The server's; `NotFound` for a claim that is not there.
    pub(super) async fn look(&self) -> Result<Marks> {
        let resource = self.client.resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(&self.namespace) };
        let vm: VirtualMachine = self.client.get(place, &self.machine).await?;
        let (mut claims, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        let resource = Resource::core("persistentvolumeclaims");
        let place = Place { resource, namespace: Some(&self.namespace) };
        for claim in &self.claims {
            let found: ClaimObject =
                self.client.get(place, claim).await.subject(|| claim.clone())?;
            sizes.insert(claim.clone(), found.capacity());
            claims.insert(claim.clone(), version(found.metadata));
        }
        let generation = vm.metadata.generation;
        Ok(Marks { machine: version(vm.metadata), generation, claims, sizes })
    }
}

fn version(meta: Meta) -> Version {
    (meta.uid, meta.resource_version)
}

impl Marks {
    /// What tells this state of a claim's content from others.
    pub(super) fn identity(&self, claim: &str) -> Option<String> {
        let (vm, version) = &self.machine;
        let (id, own) = self.claims.get(claim)?;
        Some(format!("vm {vm} {version} claim {id} {own}"))
    }

    /// Bytes that a claim has room for; the disk on it may be smaller.
    pub(super) fn size(&self, claim: &str) -> u64 {
        self.sizes.get(claim).copied().unwrap_or(0)
    }

    /// Whether `now` are the same. Nothing less will do where nobody watched in between.
    ///
    /// # Errors
    /// `Conflict`.
    pub(super) fn are_those_of(&self, now: &Self) -> Result<()> {
        match (self.machine == now.machine, self.claims == now.claims) {
            (true, true) => Ok(()),
            (false, _) => Err(Error::conflict("the machine changed while it was read")),
            (true, false) => Err(Error::conflict("its volumes changed while they were read")),
        }
    }

    /// Whether the volumes can have changed under a server that was there all the time: it holds
    /// them, so that others may change what the machine is called, but not start it.
    ///
    /// # Errors
    /// `Conflict`.
    pub(super) fn allow(&self, now: &Self) -> Result<()> {
        let id = |version: &Version| version.0.clone();
        let claims = |marks: &Self| marks.claims.values().map(id).collect::<Vec<_>>();
        let same = id(&self.machine) == id(&now.machine)
            && self.generation == now.generation
            && claims(self) == claims(now);
        match same {
            true => Ok(()),
            false => Err(Error::conflict("the machine changed while it was read")),
        }
    }
}
