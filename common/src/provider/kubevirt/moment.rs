//! Snapshots as they are exported: one that is there, or one that is made for a run and removed
//! after it.

use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Kubevirt;
use super::client::Place;
use super::inventory::optional;
use super::marks::ClaimObject;
use super::record::parts;
use super::snapshots::{CONTENTS, VmSnapshot};
use super::vmexport::{refused, remove};
use crate::cancel::Leftover;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::export::{mark, no_such_snapshot};
use crate::provider::facets::snapshots::{NewSnapshot, SnapshotStatus, Snapshots, TEMPORARY};
use crate::provider::{Ledger, Ties};
use crate::vm::VmId;

/// The word for snapshots in the journal.
pub(super) const SNAPSHOT: &str = "snapshot";

/// `VirtualMachineSnapshotContent`, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    spec: ContentSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContentSpec {
    source: Value,
    volume_backups: Vec<Backup>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Backup {
    persistent_volume_claim: ClaimObject,
}

impl Content {
    /// The machine as it was.
    pub(super) fn machine(&self) -> Option<&Value> {
        self.spec.source.get("virtualMachine")
    }

    /// Bytes that the claim had room for.
    pub(super) fn size(&self, claim: &str) -> u64 {
        let mut all = self.spec.volume_backups.iter().map(|backup| &backup.persistent_volume_claim);
        all.find(|it| it.metadata.name == claim).map_or(0, ClaimObject::capacity)
    }
}

/// A name that no other run gives.
pub(super) fn temporary_name() -> String {
    format!("{TEMPORARY}{}-{}", Timestamp::now().strftime("%Y%m%d%H%M%S"), mark())
}

/// The snapshot `name` of a machine, which is ready, and what it holds.
///
/// # Errors
/// `NotFound` with the names that there are; `Conflict` where it is not ready; the server's.
pub(super) async fn find(
    kubevirt: &Kubevirt,
    vm: &VmId,
    name: &str,
) -> Result<(VmSnapshot, Content)> {
    let (namespace, machine) = parts(vm);
    let (client, place) = (kubevirt.client(), kubevirt.snapshots_of(namespace).await?);
    let found = optional(client.get::<VmSnapshot>(place, name).await)?;
    let Some(found) = found.filter(|it| it.is_of(machine)) else {
        let all = client.list::<VmSnapshot>(place.resource, Some(namespace), String::new());
        let all: Vec<VmSnapshot> = all.try_collect().await?;
        let own = all.iter().filter(|it| it.is_of(machine));
        let names: Vec<_> = own.map(|it| it.metadata.name.as_str()).collect();
        return Err(no_such_snapshot(name, &names));
    };
    let content = found.status.virtual_machine_snapshot_content_name.as_deref();
    let (SnapshotStatus::Ready, Some(content)) = (found.state(), content) else {
        let why = found.reason().map_or_else(String::new, |why| format!(": {why}"));
        return Err(Error::conflict(format!("the snapshot is not ready{why}")).with_subject(name));
    };
    let mut contents = place;
    contents.resource.plural = CONTENTS;
    let content = client.get(contents, content).await?;
    Ok((found, content))
}

/// Removes a snapshot of a namespace and waits until it is gone; whether it was there.
///
/// # Errors
/// The server's.
pub(super) async fn remove_snapshot(
    kubevirt: &Kubevirt,
    namespace: &str,
    name: &str,
) -> Result<bool> {
    let place: Place<'_> = kubevirt.snapshots_of(namespace).await?;
    remove(kubevirt.client(), place, name).await
}

/// A snapshot that is made for the run.
#[derive(Debug, Default)]
pub(super) struct TempSnapshot(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    name: String,
    /// Said to a person who does not wait for the end.
    _leftover: Leftover,
}

impl TempSnapshot {
    /// Takes the snapshot; its name. Whatever comes of it, [`TempSnapshot::remove`] is to be
    /// called.
    ///
    /// # Errors
    /// Those of [`Snapshots::create`] and of the journal.
    pub(super) async fn take(
        &self,
        kubevirt: &Kubevirt,
        vm: &VmId,
        quiesce: bool,
        ties: &Ties,
    ) -> Result<String> {
        let (name, namespace) = (temporary_name(), parts(vm).0);
        ties.ledger.making(SNAPSHOT, &name)?;
        let words = format!("the VirtualMachineSnapshot {name} in {namespace}");
        self.set(Some(Made { name: name.clone(), _leftover: ties.cancel.leftover(words) }));
        let wanted = NewSnapshot { name: Some(name.clone()), quiesce, ..NewSnapshot::default() };
        let taken = kubevirt.create(vm, &wanted, &ties.cancel).await;
        if taken.as_ref().is_err_and(|error| error.kind() == ErrorKind::Auth) {
            // Who may not make one may not remove it either, and there is none.
            self.set(None);
            ties.ledger.removed(SNAPSHOT, &name)?;
        }
        taken.map_err(|error| refused(error, "Snapshot").context("take a snapshot"))?;
        Ok(name)
    }

    /// Removes the snapshot, if one may have been made.
    ///
    /// # Errors
    /// The server's; the journal still names it then.
    pub(super) async fn remove(
        &self,
        kubevirt: &Kubevirt,
        vm: &VmId,
        ledger: Option<&dyn Ledger>,
    ) -> Result<()> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(made) = made else { return Ok(()) };
        remove_snapshot(kubevirt, parts(vm).0, &made.name).await.map_err(|error| {
            error
                .context(format!("remove the VirtualMachineSnapshot {}", made.name))
                .with_hint("hyper history runs clean removes it later")
        })?;
        ledger.map_or(Ok(()), |ledger| ledger.removed(SNAPSHOT, &made.name))
    }

    fn set(&self, made: Option<Made>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = made;
    }
}
