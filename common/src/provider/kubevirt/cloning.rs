//! Clones of machines (clone.kubevirt.io), in the namespace of their source; `crossing.rs` has those
//! in another one. The cluster takes a
//! snapshot and restores it under another name; a `VirtualMachineClone` tells how far it is.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Place;
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, both, optional};
use super::power::look;
use super::record::{id, parts};
use super::vmexport::remove;
use super::wire::{Condition, Meta, VirtualMachine};
use super::{Kubevirt, NAME, snapshots};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::{
    CloneJob, Cloning, Customize, Ledgers, NewClone, Planned, Step, mark,
};
use crate::provider::facets::snapshots::{SnapshotStatus, Snapshots, find as find_snapshot};
use crate::vm::VmId;

/// `VirtualMachineClone`.
pub const CLONES: (&str, &str) = ("clone.kubevirt.io", "virtualmachineclones");

/// The word for the objects of clones in the journal.
pub(super) const CLONE: &str = "clone object";

/// The annotation of a clone that says what it was made of.
pub(super) const MARK: &str = "hyper/cloned-from";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct VmClone {
    metadata: Meta,
    spec: CloneSpec,
    status: CloneStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CloneSpec {
    source: End,
    target: End,
}

/// What a clone is made of, and as what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct End {
    kind: String,
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CloneStatus {
    phase: String,
    target_name: Option<String>,
    conditions: Vec<Condition>,
}

#[async_trait]
impl Cloning for Kubevirt {
    async fn plan(&self, wanted: &[NewClone]) -> Result<Vec<Result<Planned>>> {
        let mut planned = Vec::new();
        for one in wanted {
            planned.push(self.plan_one(one).await);
        }
        Ok(planned)
    }
}

impl Kubevirt {
    async fn plan_one(&self, wanted: &NewClone) -> Result<Planned> {
        wanted.place.nowhere(NAME)?;
        Customize::nowhere(wanted.customize.as_ref(), NAME)?;
        if wanted.instant {
            return Err(Error::unsupported(format!("{NAME} makes no instant clones"))
                .with_hint("leave --instant away"));
        }
        if wanted.linked {
            return Err(Error::unsupported("a cluster decides by itself what clones share")
                .with_hint("leave --linked away"));
        }
        let (namespace, name) = parts(&wanted.source);
        let source = both(self, &wanted.source).await?.0.metadata.uid;
        if let Some((other, target)) = wanted.name.split_once('/')
            && other != namespace
        {
            let snapshot = match &wanted.snapshot {
                Some(snapshot) => Some(self.ready_snapshot(&wanted.source, snapshot).await?.name),
                None => None,
            };
            return self.plan_crossing(wanted, &source, (other, target), snapshot.as_deref()).await;
        }
        let target = wanted.name.rsplit_once('/').map_or(&*wanted.name, |(_, target)| target);
        let from = match &wanted.snapshot {
            Some(snapshot) => self.ready_snapshot(&wanted.source, snapshot).await?,
            None => End { kind: "VirtualMachine".to_owned(), name: name.to_owned() },
        };
        let job = Job {
            kubevirt: self.clone(),
            namespace: namespace.to_owned(),
            name: target.to_owned(),
            mark: mark(&source, target),
            from,
        };
        let resource = self.client().resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        let there = self.client().get::<VirtualMachine>(place, target).await;
        let Some(there) = optional(there)? else { return Ok(Planned::Ready(Box::new(job))) };
        if there.metadata.annotations.get(MARK) == Some(&job.mark) {
            return Ok(Planned::There(id(namespace, target)));
        }
        // A run that was killed may have left it to the cluster.
        match job.begun().await? {
            Some(begun) if begun.status.phase != "Failed" => Ok(Planned::Ready(Box::new(job))),
            _ => Err(Error::conflict("the name is taken")
                .with_hint("by a machine that was not made of this source")),
        }
    }

    /// Removes the object of a clone; the cluster calls off with it what is not done. Whether it
    /// was there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn remove_clone_object(
        &self,
        namespace: &str,
        name: &str,
        dry_run: bool,
    ) -> Result<bool> {
        let resource = self.client().resource(CLONES.0, CLONES.1).await?;
        match dry_run {
            true => self.exists(resource, Some(namespace), name).await,
            false => {
                remove(self.client(), Place { resource, namespace: Some(namespace) }, name).await
            }
        }
    }

    async fn ready_snapshot(&self, vm: &VmId, name: &str) -> Result<End> {
        let all = self.all(vm).await?;
        let snapshot = find_snapshot(&all, name)?;
        if snapshot.status != SnapshotStatus::Ready {
            let words = format!("the snapshot {name:?} is not ready ({})", snapshot.status.name());
            return Err(Error::conflict(words));
        }
        Ok(End { kind: "VirtualMachineSnapshot".to_owned(), name: snapshot.id.clone() })
    }
}

#[derive(Debug)]
struct Job {
    kubevirt: Kubevirt,
    namespace: String,
    name: String,
    mark: String,
    from: End,
}

#[async_trait]
impl CloneJob for Job {
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        ledgers: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let client = self.kubevirt.client();
        let place = self.place().await?;
        let ledger = ledgers(&id(&self.namespace, &self.name));
        ledger.making(CLONE, &self.object_name())?;
        let clone = match self.begun().await? {
            Some(clone) if clone.status.phase != "Failed" => clone,
            failed => {
                if failed.is_some() {
                    self.remove(place, cancel).await?;
                }
                client.create(place, &self.object(place), false).await?
            }
        };
        let clone = clone.metadata.name;
        let left = cancel.leftover(format!("the clone object {clone} in {}", self.namespace));
        let made = self.follow(place, &clone, tell, cancel).await;
        let noted = match &made {
            Ok(target) => self.note(target).await,
            Err(_) => Ok(()),
        };
        // It has done its work; or this is how it is called off, with all that it has begun.
        let removed = client.delete(place, &clone, &json!({})).await;
        drop(left);
        if removed.is_ok() {
            ledger.removed(CLONE, &self.object_name())?;
        }
        let target = made?;
        noted.and(removed)?;
        Ok(id(&self.namespace, &target))
    }
}

impl Job {
    async fn place(&self) -> Result<Place<'_>> {
        let resource = self.kubevirt.client().resource(CLONES.0, CLONES.1).await?;
        Ok(Place { resource, namespace: Some(&self.namespace) })
    }

    /// What the object is called; the next run finds it by that.
    fn object_name(&self) -> String {
        format!("hyper-{}", self.name)
    }

    fn object(&self, place: Place<'_>) -> Value {
        let End { kind, name } = &self.from;
        let group = if kind == "VirtualMachine" { KUBEVIRT } else { snapshots::GROUP };
        json!({
            "apiVersion": place.resource.api_version(),
            "kind": "VirtualMachineClone",
            "metadata": { "name": self.object_name(), "namespace": self.namespace },
            "spec": {
                "source": { "apiGroup": group, "kind": kind, "name": name },
                "target": { "apiGroup": KUBEVIRT, "kind": "VirtualMachine", "name": self.name },
            },
        })
    }

    /// Removes the object of an earlier run.
    async fn remove(&self, place: Place<'_>, cancel: &Cancel) -> Result<()> {
        let (client, name) = (self.kubevirt.client(), self.object_name());
        optional(client.delete(place, &name, &json!({})).await)?;
        look(cancel, || async {
            let there = optional(client.get::<VmClone>(place, &name).await)?;
            Ok(there.is_none().then_some(()))
        })
        .await
    }

    /// The object that an earlier run made for the same.
    async fn begun(&self) -> Result<Option<VmClone>> {
        let (client, place) = (self.kubevirt.client(), self.place().await?);
        let there = client.get::<VmClone>(place, &self.object_name()).await;
        let Some(there) = optional(there)? else { return Ok(None) };
        let target = End { kind: "VirtualMachine".to_owned(), name: self.name.clone() };
        if there.spec.source != self.from || there.spec.target != target {
            let words = format!("{} is there, and clones something else", there.metadata.name);
            return Err(Error::conflict(words).with_hint("`kubectl delete vmclone` removes it"));
        }
        Ok(Some(there))
    }

    /// Waits until the clone is whole; its name.
    async fn follow(
        &self,
        place: Place<'_>,
        clone: &str,
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<String> {
        let said = std::sync::Mutex::new(String::new());
        look(cancel, || async {
            let now: VmClone = self.kubevirt.client().get(place, clone).await?;
            let CloneStatus { phase, target_name, conditions } = now.status;
            let mut last = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !phase.is_empty() && *last != phase {
                tell(Step::Phase(phase.clone()));
                last.clone_from(&phase);
            }
            match phase.as_str() {
                "Succeeded" => Ok(Some(target_name.unwrap_or_else(|| self.name.clone()))),
                "Failed" => Err(failed(&conditions)),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Notes in a clone what it was made of.
    async fn note(&self, target: &str) -> Result<()> {
        let client = self.kubevirt.client();
        let resource = client.resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(&self.namespace) };
        let patch = json!({ "metadata": { "annotations": { MARK: self.mark } } });
        client.merge::<Value>(place, target, &patch, false).await.map(drop)
    }
}

fn failed(conditions: &[Condition]) -> Error {
    let words = conditions.iter().flat_map(|it| [&it.message, &it.reason]);
    let words = words.map(String::as_str).find(|it| !it.is_empty() && *it != "Failed");
    Error::new(ErrorKind::Protocol, "the clone failed")
        .with_source(words.unwrap_or("no reason is given").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_first_words_that_say_more() {
        let condition = |reason: &str, message: &str| Condition {
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Condition::default()
        };
        let all = [condition("Failed", ""), condition("Failed", "no space")];
        assert!(crate::error::one_line(&failed(&all)).ends_with(": no space"));
        assert!(crate::error::one_line(&failed(&[])).ends_with("no reason is given"));
    }
}
