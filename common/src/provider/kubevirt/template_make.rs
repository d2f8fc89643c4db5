//! Making golden images of machines, snapshots and volumes, and removing them. A copy is a
//! DataVolume that its DataSource owns, so that both go together.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::Place;
use super::create::{CDI, reason, text};
use super::describe::{DEFAULTS, checked_name, matcher};
use super::discovery::Resource;
use super::inventory::{both, optional};
use super::power::look;
use super::record::{id, parts};
use super::snapshots::CONTENTS;
use super::template::SOURCES;
use super::template_remove::remove_unfilled;
use super::upload::{UNFINISHED, half_made};
use super::wire::{self, VirtualMachine, VmiSpec};
use super::{Kubevirt, NAME, snapshots};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::net::secret_word;
use crate::provider::facets::cloning::{CloneJob, Ledgers, Step};
use crate::provider::facets::snapshots::{SnapshotStatus, Snapshots, find as find_snapshot};
use crate::provider::facets::templates::{NewTemplate, Origin};
use crate::vm::VmId;

/// The word for templates that are being filled in the journal.
pub(super) const TEMPLATE: &str = "half-made template";

pub(super) const VOLUMES: &str = "datavolumes";

/// What lets CDI fill a volume before a machine uses it.
const AT_ONCE: &str = "cdi.kubevirt.io/storage.bind.immediate.requested";

/// Looks at a golden image that is wanted.
///
/// # Errors
/// Those of [`Templates::plan_template`](crate::provider::Templates::plan_template).
pub async fn plan(kubevirt: &Kubevirt, wanted: &NewTemplate) -> Result<Box<dyn CloneJob>> {
    wanted.place.nowhere(NAME)?;
    let (namespace, name) =
        wanted.name.split_once('/').unwrap_or((&kubevirt.namespace, &wanted.name));
    checked_name(name, "a template")?;
    checked_name(namespace, "a namespace")?;
    let mut remarks = Vec::new();
    let mut machine = None;
    let copy = match &wanted.from {
        Origin::Converted(_) => {
            return Err(Error::unsupported("a machine of a cluster is no template by itself")
                .with_hint("without --convert a copy of its disk becomes one"));
        }
        Origin::Copy { vm, snapshot: None } => {
            let (found, instance) = both(kubevirt, vm).await?;
            if instance.is_some_and(|it| !matches!(&*it.status.phase, "Succeeded" | "Failed")) {
                return Err(Error::conflict(
                    "the machine runs: the disk of one that is off is copied",
                )
                .with_hint(
                    "`hyper vm stop` shuts it down; --snapshot copies one of its snapshots",
                ));
            }
            let copy = of_machine(vm, &found, &mut remarks)?;
            machine = Some(found);
            Some(copy)
        }
        Origin::Copy { vm, snapshot: Some(snapshot) } => {
            let (found, copy) = of_snapshot(kubevirt, vm, snapshot, &mut remarks).await?;
            machine = Some(found);
            Some(copy)
        }
        Origin::Volume(_) => None,
    };
    let source = match &wanted.from {
        Origin::Volume(claim) => {
            let claims = Resource::core("persistentvolumeclaims");
            if !kubevirt.exists(claims, Some(namespace), claim).await? {
                let words = format!("there is no claim {claim:?} in the namespace {namespace}");
                return Err(Error::not_found(words));
            }
            claim.clone()
        }
        _ => name.to_owned(),
    };
    let job = Job {
        kubevirt: kubevirt.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
        labels: labels(kubevirt, namespace, wanted, machine.as_ref()).await?,
        copy,
        remarks,
    };
    job.check_free().await?;
    Ok(Box::new(job))
}

/// The labels that name the size and the devices: those that are wanted, else the machine's.
async fn labels(
    kubevirt: &Kubevirt,
    namespace: &str,
    wanted: &NewTemplate,
    machine: Option<&VirtualMachine>,
) -> Result<Value> {
    let mut labels = json!({});
    for (field, label) in DEFAULTS {
        let (named, own) = match field {
            "instancetype" => {
                (&wanted.instancetype, machine.and_then(|it| it.spec.instancetype.as_ref()))
            }
            _ => (&wanted.preference, machine.and_then(|it| it.spec.preference.as_ref())),
        };
        let (name, kind) = match (named, own) {
            (Some(named), _) => {
                let found = matcher(kubevirt, namespace, field, named).await?;
                (named.clone(), text(&found, "/kind").to_owned())
            }
            (None, Some(own)) => (own.name.clone(), own.kind.clone()),
            (None, None) => continue,
        };
        labels[label] = name.into();
        // One of the whole cluster is what is meant where nothing is said.
        let is_shared = kind.is_empty() || kind.to_ascii_lowercase().contains("cluster");
        if !is_shared {
            labels[format!("{label}-kind")] = kind.into();
        }
    }
    Ok(labels)
}

/// What the volume of a copy is filled from, and how large it is to be where CDI does not know.
#[derive(Debug, Clone)]
struct Copy {
    source: Value,
    size: Option<String>,
}

/// The disk that a machine starts from.
fn of_machine(vm: &VmId, machine: &VirtualMachine, remarks: &mut Vec<String>) -> Result<Copy> {
    let (_, claim) = boot(&machine.spec.template.spec, remarks)?;
    let source = json!({ "pvc": { "namespace": parts(vm).0, "name": claim } });
    Ok(Copy { source, size: None })
}

/// The volume that a machine starts from and its claim; others are told of.
fn boot<'s>(spec: &'s VmiSpec, remarks: &mut Vec<String>) -> Result<(&'s str, &'s str)> {
    let order = |name: &str| {
        let disk = spec.domain.devices.disks.iter().find(|disk| disk.name == name);
        disk.and_then(|disk| disk.boot_order).unwrap_or(u32::MAX)
    };
    let mut kept: Vec<_> =
        spec.volumes.iter().filter_map(|it| Some((it.name.as_str(), it.claim()?))).collect();
    kept.sort_by_key(|(name, _)| order(name));
    match kept.as_slice() {
        [] => Err(Error::unsupported("the machine has no disk that a cluster keeps").with_hint(
            "a container image is a template by itself: `hyper vm create --container-disk`",
        )),
        [first, others @ ..] => {
            if !others.is_empty() {
                let names: Vec<_> = others.iter().map(|(name, _)| *name).collect();
                remarks.push(format!(
                    "a template has one disk, {}; not part of it: {}",
                    first.0,
                    names.join(", ")
                ));
            }
            Ok(*first)
        }
    }
}

/// The disk that a machine started from when a snapshot was taken, and the machine as it was.
async fn of_snapshot(
    kubevirt: &Kubevirt,
    vm: &VmId,
    name: &str,
    remarks: &mut Vec<String>,
) -> Result<(VirtualMachine, Copy)> {
    let all = kubevirt.all(vm).await?;
    let snapshot = find_snapshot(&all, name)?;
    if snapshot.status != SnapshotStatus::Ready {
        let words = format!("the snapshot {name:?} is not ready ({})", snapshot.status.name());
        return Err(Error::conflict(words));
    }
    let (namespace, _) = parts(vm);
    let place = kubevirt.snapshots_of(namespace).await?;
    let object: snapshots::VmSnapshot = kubevirt.client().get(place, &snapshot.id).await?;
    let incomplete = || Error::new(ErrorKind::Protocol, "the snapshot does not tell what it holds");
    let content = object.status.virtual_machine_snapshot_content_name.ok_or_else(incomplete)?;
    let resource = kubevirt.client().resource(snapshots::GROUP, CONTENTS).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let content: Value = kubevirt.client().get(place, &content).await?;
    let machine = content.pointer("/spec/source/virtualMachine").cloned().unwrap_or_default();
    let machine: VirtualMachine = wire::read_value(machine).map_err(|_| incomplete())?;
    let (volume, _) = boot(&machine.spec.template.spec, remarks)?;
    let backups = content.pointer("/spec/volumeBackups").and_then(Value::as_array);
    let backup = backups.into_iter().flatten().find(|it| text(it, "/volumeName") == volume);
    let taken = backup.map(|it| text(it, "/volumeSnapshotName")).filter(|it| !it.is_empty());
    let (Some(backup), Some(taken)) = (backup, taken) else {
        return Err(Error::unsupported(format!("the snapshot has no copy of the disk {volume}")));
    };
    let source = json!({ "snapshot": { "namespace": namespace, "name": taken } });
    let size = text(backup, "/persistentVolumeClaim/spec/resources/requests/storage");
    let size = Some(size.to_owned()).filter(|it| !it.is_empty());
    Ok((machine, Copy { source, size }))
}

#[derive(Debug)]
struct Job {
    kubevirt: Kubevirt,
    namespace: String,
    name: String,
    /// The claim that the DataSource names.
    source: String,
    labels: Value,
    copy: Option<Copy>,
    /// What of a machine is not part of it.
    remarks: Vec<String>,
}

#[async_trait]
impl CloneJob for Job {
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        ledgers: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let (ledger, mark) = (ledgers(&id(&self.namespace, &self.name)), secret_word(16)?);
        ledger.making(TEMPLATE, &mark)?;
        let left = cancel.leftover(format!("the template {}/{}", self.namespace, self.name));
        let place = self.place(SOURCES).await?;
        let client = self.kubevirt.client();
        let made: Result<Value> =
            client.create(place, &self.data_source(place, &mark), false).await;
        let filled = match &made {
            Ok(made) => self.fill(made, tell, cancel).await,
            Err(_) => Ok(()),
        };
        let vm = id(&self.namespace, &self.name);
        let whole = made.and(filled);
        let mut removed = Ok(false);
        if whole.is_err() {
            // What no machine can be made from is no template. A server that broke off may have
            // made it all the same.
            removed = remove_unfilled(&self.kubevirt, &vm, &mark, false).await;
        }
        drop(left);
        match removed {
            Ok(_) => ledger.removed(TEMPLATE, &mark)?,
            Err(left) => {
                let words = format!("not all of it is removed: {}", one_line(&left));
                let later = "`hyper history runs clean` removes it later";
                return whole.map(|()| vm).map_err(|it| it.with_hint(words).with_hint(later));
            }
        }
        whole.map(|()| vm)
    }
}

impl Job {
    async fn place(&self, plural: &'static str) -> Result<Place<'_>> {
        let resource = self.kubevirt.client().resource(CDI, plural).await?;
        Ok(Place { resource, namespace: Some(&self.namespace) })
    }

    /// That nothing of this name is in the way.
    async fn check_free(&self) -> Result<()> {
        let mut kinds = vec![("DataSource", self.place(SOURCES).await?.resource)];
        if self.copy.is_some() {
            kinds.push(("DataVolume", self.place(VOLUMES).await?.resource));
            kinds.push(("claim", Resource::core("persistentvolumeclaims")));
        }
        for (kind, resource) in kinds {
            let place = Place { resource, namespace: Some(&self.namespace) };
            let found = self.kubevirt.client().get::<Value>(place, &self.name).await;
            let Some(found) = optional(found)? else { continue };
            let taken = Error::conflict("the name is taken")
                .with_hint(format!("by a {kind} in the namespace {}", self.namespace));
            return Err(match found["metadata"]["annotations"].get(UNFINISHED) {
                Some(_) => half_made(taken, "the template"),
                None => taken,
            });
        }
        Ok(())
    }

    fn data_source(&self, place: Place<'_>, mark: &str) -> Value {
        json!({
            "apiVersion": place.resource.api_version(),
            "kind": "DataSource",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self.labels,
                "annotations": { UNFINISHED: mark },
            },
            "spec": { "source": { "pvc": { "namespace": self.namespace, "name": self.source } } },
        })
    }

    fn volume(&self, place: Place<'_>, copy: &Copy, owner: &Value) -> Value {
        let mut storage = json!({});
        if let Some(size) = &copy.size {
            storage["resources"] = json!({ "requests": { "storage": size } });
        }
        json!({
            "apiVersion": place.resource.api_version(),
            "kind": "DataVolume",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "annotations": { AT_ONCE: "true" },
                "ownerReferences": [{
                    "apiVersion": owner["apiVersion"],
                    "kind": "DataSource",
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                }],
            },
            "spec": { "source": copy.source, "storage": storage },
        })
    }

    /// Makes the copy, and waits until machines can be made from it.
    async fn fill(
        &self,
        source: &Value,
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<()> {
        if let Some(copy) = &self.copy {
            let place = self.place(VOLUMES).await?;
            let volume = self.volume(place, copy, source);
            self.kubevirt.client().create::<Value>(place, &volume, false).await?;
            follow(&self.kubevirt, place, (&self.name, FILLED), tell, cancel).await?;
        }
        let place = self.place(SOURCES).await?;
        look(cancel, || async {
            let now: Value = self.kubevirt.client().get(place, &self.name).await?;
            let conditions = now.pointer("/status/conditions").and_then(Value::as_array);
            let ready = conditions.into_iter().flatten().find(|it| text(it, "/type") == "Ready");
            Ok(ready.filter(|it| text(it, "/status") == "True").map(drop))
        })
        .await?;
        let patch = json!({ "metadata": { "annotations": { UNFINISHED: null } } });
        self.kubevirt.client().merge::<Value>(place, &self.name, &patch, false).await.map(drop)
    }
}

/// The phases of a volume that is filled, or would be by a machine that uses it.
pub const FILLED: &[&str] = &["Succeeded", "WaitForFirstConsumer", "PendingPopulation"];

/// Waits until a volume is in one of some phases, and says in which; tells how far it is.
///
/// # Errors
/// `Protocol` where it comes to nothing; `Interrupted` or `TimedOut` when asked to stop waiting.
pub async fn follow(
    kubevirt: &Kubevirt,
    place: Place<'_>,
    (name, until): (&str, &[&str]),
    tell: &(dyn Fn(Step) + Send + Sync),
    cancel: &Cancel,
) -> Result<String> {
    let said = std::sync::Mutex::new(String::new());
    look(cancel, || async {
        let now: Value = kubevirt.client().get(place, name).await?;
        let (phase, progress) = (text(&now, "/status/phase"), text(&now, "/status/progress"));
        let mut last = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !phase.is_empty() && *last != phase {
            tell(Step::Phase(phase.to_owned()));
            phase.clone_into(&mut last);
        }
        if let Some(percent) = percent(progress) {
            tell(Step::Percent(percent));
        }
        match phase {
            phase if until.contains(&phase) => Ok(Some(phase.to_owned())),
            "Failed" => {
                let why = Some(reason(&now)).filter(|it| !it.is_empty());
                Err(Error::new(ErrorKind::Protocol, "the disk could not be filled")
                    .with_source(why.unwrap_or_else(|| "no reason is given".to_owned()))
                    .with_subject(name))
            }
            _ => Ok(None),
        }
    })
    .await
}

/// How CDI writes it: `12.5%`, or `N/A`.
fn percent(progress: &str) -> Option<u8> {
    let number: f64 = progress.strip_suffix('%')?.parse().ok()?;
    // A float cast saturates.
    (0.0..=100.0).contains(&number).then_some(number as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cdi_says_is_progress() {
        assert_eq!(percent("12.5%"), Some(12));
        assert_eq!(percent("100.0%"), Some(100));
        for other in ["N/A", "", "-1%", "101%", "NaN%"] {
            assert_eq!(percent(other), None, "{other}");
        }
    }

    #[test]
    fn the_disk_that_boots_first_is_the_templates_and_others_are_told() {
        let spec = |disks: Value| -> VmiSpec {
            serde_json::from_value(json!({
                "domain": { "devices": { "disks": disks } },
                "volumes": [
                    { "name": "seed", "cloudInitNoCloud": {} },
                    { "name": "data", "dataVolume": { "name": "d" } },
                    { "name": "root", "persistentVolumeClaim": { "claimName": "r" } },
                ],
            }))
            .unwrap()
        };
        let mut told = Vec::new();
        assert_eq!(boot(&spec(json!([])), &mut told).unwrap(), ("data", "d"));
        let ordered = spec(json!([{ "name": "root", "bootOrder": 1 }, { "name": "data" }]));
        assert_eq!(boot(&ordered, &mut told).unwrap(), ("root", "r"));
        assert!(told[1].ends_with("not part of it: data"), "{told:?}");
        let none = VmiSpec::default();
        assert_eq!(boot(&none, &mut told).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
