//! Snapshots of machines (snapshot.kubevirt.io): objects beside the machine in its namespace.
//! KubeVirt keeps disks, never memory, and brings a guest to rest wherever its agent runs.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kubevirt;
use super::client::Place;
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::{both, optional};
use super::power::{has, look};
use super::record::{parts, quantity_of};
use super::wire::{Condition, Instance, Meta};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::power::Switched;
use crate::provider::facets::snapshots::{NewSnapshot, Snapshot, SnapshotStatus, Snapshots};
use crate::vm::VmId;

/// The group of snapshots, and `VirtualMachineSnapshot` in it.
pub const GROUP: &str = "snapshot.kubevirt.io";
pub const SNAPSHOTS: &str = "virtualmachinesnapshots";
pub const CONTENTS: &str = "virtualmachinesnapshotcontents";
pub const RESTORES: &str = "virtualmachinerestores";

/// The annotation that keeps a description; consoles of clusters use it, too.
const DESCRIPTION: &str = "description";

/// Contents that are asked for at the same time.
const AT_ONCE: usize = 8;

/// `VirtualMachineSnapshot`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VmSnapshot {
    pub metadata: Meta,
    spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    source: Source,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Source {
    name: String,
    kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    phase: String,
    ready_to_use: bool,
    pub creation_time: Option<jiff::Timestamp>,
    indications: Vec<String>,
    /// From release 1.9 on.
    source_indications: Vec<Indication>,
    error: Option<Failure>,
    pub virtual_machine_snapshot_content_name: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Indication {
    indication: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Failure {
    message: Option<String>,
}

/// `VirtualMachineRestore`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Restore {
    metadata: Meta,
    status: RestoreStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RestoreStatus {
    complete: bool,
    conditions: Vec<Condition>,
}

#[async_trait]
impl Snapshots for Kubevirt {
    async fn create(&self, vm: &VmId, wanted: &NewSnapshot, cancel: &Cancel) -> Result<Snapshot> {
        if wanted.memory {
            return Err(Error::unsupported("KubeVirt keeps no memory in snapshots")
                .with_hint("leave --memory away"));
        }
        let (namespace, name) = parts(vm);
        let (machine, instance) = both(self, vm).await?;
        if wanted.quiesce {
            can_rest(instance.as_ref())?;
        }
        let place = self.snapshots_of(namespace).await?;
        let mut object = json!({
            "apiVersion": place.resource.api_version(),
            "kind": "VirtualMachineSnapshot",
            "metadata": { "name": wanted.name_or_time(name), "namespace": namespace },
            "spec": { "source": { "apiGroup": KUBEVIRT, "kind": "VirtualMachine", "name": name } },
        });
        if let Some(text) = &wanted.description {
            object["metadata"]["annotations"] = json!({ DESCRIPTION: text });
        }
        let made: VmSnapshot = self.client().create(place, &object, false).await?;
        let made = made.metadata.name;
        let left = cancel.leftover(format!("the snapshot {made} in {namespace}"));
        let ready = self.taken(place, &made, wanted.quiesce, cancel).await;
        if ready.is_err() {
            // What nobody can return to is no snapshot.
            self.client().delete(place, &made, &json!({})).await?;
        }
        drop(left);
        tracing::debug!("{} has the snapshot {made}", machine.metadata.uid);
        self.record(namespace, ready?).await
    }

    async fn all(&self, vm: &VmId) -> Result<Vec<Snapshot>> {
        let (namespace, name) = parts(vm);
        both(self, vm).await?;
        let place = self.snapshots_of(namespace).await?;
        let all = self.client().list::<VmSnapshot>(place.resource, Some(namespace), String::new());
        let own = |it: &VmSnapshot| std::future::ready(it.is_of(name));
        let own: Vec<_> = all.try_filter(own).try_collect().await?;
        let records = own.into_iter().map(|it| self.record(namespace, it));
        let records = futures::stream::iter(records).buffered(AT_ONCE);
        let mut records: Vec<Snapshot> = records.try_collect().await?;
        records.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(records)
    }

    async fn revert(&self, vm: &VmId, to: &Snapshot, cancel: &Cancel) -> Result<()> {
        let (namespace, name) = parts(vm);
        must_be_off(both(self, vm).await?.1.as_ref())?;
        if to.status != SnapshotStatus::Ready {
            let error =
                Error::conflict(format!("the snapshot is not ready ({})", to.status.name()));
            return Err(match &to.error {
                Some(why) => error.with_source(why.clone()),
                None => error,
            });
        }
        let resource = self.client().resource(GROUP, RESTORES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        let object = json!({
            "apiVersion": resource.api_version(),
            "kind": "VirtualMachineRestore",
            "metadata": { "generateName": format!("{name}-"), "namespace": namespace },
            "spec": {
                "target": { "apiGroup": KUBEVIRT, "kind": "VirtualMachine", "name": name },
                "virtualMachineSnapshotName": to.id,
                // Somebody may start it meanwhile. Releases before 1.3 do not know this field.
                "targetReadinessPolicy": "FailImmediate",
            },
        });
        let made: Restore = self.client().create(place, &object, false).await?;
        let made = made.metadata.name;
        let left = cancel.leftover(format!("the restore {made} in {namespace}"));
        let restored = self.restored(place, &made, cancel).await;
        // Once it is over, it is of no use; before, this is how it is called off.
        let removed = self.client().delete(place, &made, &json!({})).await;
        drop(left);
        restored.and(removed)
    }

    async fn delete(
        &self,
        vm: &VmId,
        snapshot: &Snapshot,
        children: bool,
        cancel: &Cancel,
    ) -> Result<()> {
        if children {
            return Err(Error::unsupported("KubeVirt's snapshots have no children")
                .with_hint("leave --children away"));
        }
        let (namespace, _) = parts(vm);
        let place = self.snapshots_of(namespace).await?;
        let found: VmSnapshot = self.client().get(place, &snapshot.id).await?;
        let uid = found.metadata.uid;
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": { "uid": uid },
        });
        self.client().delete(place, &snapshot.id, &options).await?;
        look(cancel, || async {
            let there = self.client().get::<VmSnapshot>(place, &snapshot.id).await;
            let gone = optional(there)?.is_none_or(|there| there.metadata.uid != uid);
            Ok(gone.then_some(()))
        })
        .await
    }

    async fn consolidate(&self, _vm: &VmId, _cancel: &Cancel) -> Result<Switched> {
        Err(Error::unsupported("KubeVirt leaves nothing to consolidate"))
    }
}

/// That a guest that runs can be brought to rest: its agent does that.
fn can_rest(instance: Option<&Instance>) -> Result<()> {
    match instance {
        Some(instance) if !has(instance, "AgentConnected") => Err(Error::conflict(
            "the guest's agent does not run, so that its file systems cannot be brought to rest",
        )
        .with_hint("without --quiesce the snapshot is what the disks hold at that moment")),
        _ => Ok(()),
    }
}

fn must_be_off(instance: Option<&Instance>) -> Result<()> {
    match instance {
        Some(instance) if !matches!(&*instance.status.phase, "Succeeded" | "Failed") => {
            Err(Error::conflict("the machine runs: only one that is off returns to a snapshot")
                .with_hint("`hyper vm stop` shuts it down"))
        }
        _ => Ok(()),
    }
}

impl Kubevirt {
    /// Where a namespace's snapshots are.
    ///
    /// # Errors
    /// `Unsupported` where the cluster has none; the server's.
    pub async fn snapshots_of<'n>(&self, namespace: &'n str) -> Result<Place<'n>> {
        let resource: Resource = self.client().resource(GROUP, SNAPSHOTS).await?;
        Ok(Place { resource, namespace: Some(namespace) })
    }

    /// Waits until a snapshot can be returned to.
    async fn taken(
        &self,
        place: Place<'_>,
        name: &str,
        quiesce: bool,
        cancel: &Cancel,
    ) -> Result<VmSnapshot> {
        look(cancel, || async {
            let now: VmSnapshot = self.client().get(place, name).await?;
            match now.state() {
                SnapshotStatus::Failed => {
                    Err(Error::new(ErrorKind::Protocol, "the snapshot failed")
                        .with_source(now.reason().unwrap_or_else(|| "no reason is given".into())))
                }
                SnapshotStatus::Ready if quiesce && now.quiesced() == Some(false) => {
                    let words = now.indications().join(", ");
                    let words = format!("the guest did not come to rest for it ({words})");
                    Err(Error::conflict(words)
                        .with_hint("without --quiesce it is kept all the same"))
                }
                SnapshotStatus::Ready => Ok(Some(now)),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Waits until a restore is complete.
    async fn restored(&self, place: Place<'_>, name: &str, cancel: &Cancel) -> Result<()> {
        look(cancel, || async {
            let now: Restore = self.client().get(place, name).await?;
            let failure = now.status.conditions.iter().find(|it| it.kind == "Failure");
            if let Some(failure) = failure.filter(|it| it.status == "True") {
                let words = Some(failure.words()).filter(|it| !it.is_empty());
                return Err(Error::new(ErrorKind::Protocol, "the restore failed")
                    .with_source(words.unwrap_or("no reason is given").to_owned()));
            }
            Ok(now.status.complete.then_some(()))
        })
        .await
    }

    /// The neutral record; what it holds is told by its content.
    async fn record(&self, namespace: &str, snapshot: VmSnapshot) -> Result<Snapshot> {
        let content = match &snapshot.status.virtual_machine_snapshot_content_name {
            Some(content) => {
                let resource = self.client().resource(GROUP, CONTENTS).await?;
                let place = Place { resource, namespace: Some(namespace) };
                match optional(self.client().get::<Value>(place, content).await) {
                    // Who may see a snapshot may not always see what is in it.
                    Err(error) if error.kind() == ErrorKind::Auth => None,
                    other => other?,
                }
            }
            None => None,
        };
        let Meta { name, annotations, creation_timestamp, .. } = &snapshot.metadata;
        Ok(Snapshot {
            id: name.clone(),
            name: name.clone(),
            description: described(annotations),
            created: snapshot.status.creation_time.or(*creation_timestamp),
            status: snapshot.state(),
            memory: Some(false),
            quiesced: snapshot.quiesced(),
            indications: snapshot.indications(),
            capacity_bytes: content.as_ref().and_then(capacity),
            error: snapshot.reason(),
            ..Snapshot::default()
        })
    }
}

fn described(annotations: &BTreeMap<String, String>) -> Option<String> {
    annotations.get(DESCRIPTION).cloned().filter(|text| !text.is_empty())
}

/// The sizes of all claims that a content has copies of, where each tells it.
fn capacity(content: &Value) -> Option<u64> {
    let backups = content.pointer("/spec/volumeBackups")?.as_array()?;
    let size = "/persistentVolumeClaim/spec/resources/requests/storage";
    let sizes = backups.iter().map(|it| it.pointer(size).and_then(quantity_of));
    sizes.sum()
}

impl VmSnapshot {
    /// Whether it is one of a machine.
    pub fn is_of(&self, machine: &str) -> bool {
        self.spec.source.name == machine && self.spec.source.kind == "VirtualMachine"
    }

    /// How far it is.
    pub fn state(&self) -> SnapshotStatus {
        match self.status.phase.as_str() {
            _ if self.metadata.deletion_timestamp.is_some() => SnapshotStatus::Deleting,
            "Deleting" => SnapshotStatus::Deleting,
            "Failed" => SnapshotStatus::Failed,
            "Succeeded" if self.status.ready_to_use => SnapshotStatus::Ready,
            _ => SnapshotStatus::InProgress,
        }
    }

    /// How the guest was, in KubeVirt's words.
    fn indications(&self) -> Vec<String> {
        let Status { indications, source_indications, .. } = &self.status;
        match source_indications.is_empty() {
            true => indications.clone(),
            false => source_indications.iter().map(|it| it.indication.clone()).collect(),
        }
    }

    /// Whether the guest came to rest; `None` for a machine that was off, or a snapshot that is not
    /// taken yet.
    fn quiesced(&self) -> Option<bool> {
        let all = self.indications();
        let has = |word: &str| all.iter().any(|it| it == word);
        match () {
            () if has("NoGuestAgent") || has("QuiesceTimeout") || has("QuiesceFailed") => {
                Some(false)
            }
            () if has("GuestAgent") => Some(true),
            () => None,
        }
    }

    /// Why it failed.
    pub fn reason(&self) -> Option<String> {
        let Status { error, conditions, .. } = &self.status;
        let said = error.as_ref().and_then(|it| it.message.clone());
        let failure = conditions.iter().find(|it| it.kind == "Failure" && it.status == "True");
        said.or_else(|| failure.map(|it| it.words().to_owned())).filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(status: &str) -> VmSnapshot {
        serde_json::from_str(&format!(r#"{{"status":{status}}}"#)).unwrap()
    }

    #[test]
    fn only_what_can_be_returned_to_is_ready() {
        let cases = [
            (r#"{"phase":"Succeeded","readyToUse":true}"#, SnapshotStatus::Ready),
            (r#"{"phase":"Succeeded","readyToUse":false}"#, SnapshotStatus::InProgress),
            (r#"{"phase":"InProgress"}"#, SnapshotStatus::InProgress),
            (r#"{"phase":"Failed","readyToUse":true}"#, SnapshotStatus::Failed),
            ("{}", SnapshotStatus::InProgress),
        ];
        for (status, wanted) in cases {
            assert_eq!(snapshot(status).state(), wanted, "{status}");
        }
    }

    #[test]
    fn indications_of_every_release_tell_whether_the_guest_rested() {
        let old = snapshot(r#"{"indications":["Online","GuestAgent"]}"#);
        assert_eq!(old.quiesced(), Some(true));
        let new = r#"{"sourceIndications":[{"indication":"Online","message":"x"},
            {"indication":"GuestAgent"},{"indication":"QuiesceTimeout"}],"indications":["Online"]}"#;
        assert_eq!(snapshot(new).quiesced(), Some(false));
        assert_eq!(snapshot(new).indications().len(), 3);
        assert_eq!(
            snapshot(r#"{"indications":["Online","NoGuestAgent"]}"#).quiesced(),
            Some(false)
        );
        assert_eq!(snapshot("{}").quiesced(), None);
    }

    #[test]
    fn a_guest_without_an_agent_does_not_rest() {
        let running = |conditions: &str| -> Instance {
            let text = format!(r#"{{"status":{{"phase":"Running","conditions":[{conditions}]}}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let agent = running(r#"{"type":"AgentConnected","status":"True"}"#);
        assert!(can_rest(None).is_ok() && can_rest(Some(&agent)).is_ok());
        assert_eq!(can_rest(Some(&running(""))).unwrap_err().kind().exit_status(), 6);
        assert!(must_be_off(Some(&agent)).is_err() && must_be_off(None).is_ok());
    }

    #[test]
    fn a_capacity_is_told_only_where_each_claim_tells_it() {
        let claim = |size: &str| {
            format!(
                r#"{{"persistentVolumeClaim":{{"spec":{{"resources":{{"requests":{{{size}}}}}}}}}}}"#
            )
        };
        let content = |backups: &[String]| -> Value {
            let text = format!(r#"{{"spec":{{"volumeBackups":[{}]}}}}"#, backups.join(","));
            serde_json::from_str(&text).unwrap()
        };
        let one = claim(r#""storage":"1Gi""#);
        assert_eq!(capacity(&content(&[one.clone(), one.clone()])), Some(2 << 30));
        assert_eq!(capacity(&content(&[one, claim("")])), None);
    }
}
