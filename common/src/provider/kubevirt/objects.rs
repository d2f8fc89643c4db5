//! What a cluster has beside its machines, as it changes: instances, migrations, clones, snapshots,
//! restores, exports and volumes. Each kind is one watch; its objects are read as they are, field by
//! field, whatever version of KubeVirt has written them.

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::client::Client;
use super::cloning::CLONES;
use super::create::CDI;
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::{namespace, selector};
use super::record::id;
use super::snapshots::{GROUP, RESTORES, SNAPSHOTS};
use super::watch::{Step, Watched, watch};
use super::{Kubevirt, NAME};
use crate::error::{Error, Result};
use crate::provider::facets::feed::Change;
use crate::vm::{ObjectKind, VmFilter, VmObject};

/// Group and plural of a kind; `None` for machines, which are followed otherwise.
fn place(kind: ObjectKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ObjectKind::Vm => return None,
        ObjectKind::Instance => (KUBEVIRT, "virtualmachineinstances"),
        ObjectKind::Migration => (KUBEVIRT, "virtualmachineinstancemigrations"),
        ObjectKind::Clone => CLONES,
        ObjectKind::Snapshot => (GROUP, SNAPSHOTS),
        ObjectKind::Restore => (GROUP, RESTORES),
        ObjectKind::Export => ("export.kubevirt.io", "virtualmachineexports"),
        ObjectKind::DataVolume => (CDI, "datavolumes"),
    })
}

/// The objects of a kind, and each change of one.
pub fn follow(
    kubevirt: &Kubevirt,
    kind: ObjectKind,
    filter: VmFilter,
) -> Option<BoxStream<'_, Result<Change<VmObject>>>> {
    let (group, plural) = place(kind)?;
    let steps = try_stream! {
        let client = kubevirt.client();
        let resource = served(client, group, plural).await?;
        let namespace = namespace(kubevirt, &filter);
        // Names are those of machines here, and not those of the objects.
        let query = selector(&VmFilter { ids: Vec::new(), ..filter });
        let mut steps = watch::<Value>(client.clone(), Watched { resource, namespace, query });
        while let Some(step) = steps.try_next().await? {
            let record = |object: Value| Box::new(record(&kubevirt.context, kind, &object));
            yield match step {
                Step::Reset => Change::Reset,
                Step::Listed(object) => Change::Listed(record(object)),
                Step::Synced => Change::Synced,
                Step::Applied(object) => Change::Applied(record(object)),
                Step::Gone(object) => Change::Gone(record(object).id),
            };
        }
    };
    Some(steps.boxed())
}

/// The kind in a version that both sides speak.
async fn served(client: &Client, group: &'static str, plural: &'static str) -> Result<Resource> {
    let resource = client.resource(group, plural).await?;
    if client.has(resource).await? {
        return Ok(resource);
    }
    Err(Error::unsupported(format!("this cluster has no {plural} ({})", resource.api_version()))
        .with_subject(client.url().await?.to_owned())
        .with_hint("`kubectl api-resources` shows what it has"))
}

fn text(object: &Value, pointer: &str) -> Option<String> {
    let text = object.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn time(object: &Value, pointer: &str) -> Option<jiff::Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// A reference in an object as `KIND/NAME`.
fn named(object: &Value, pointer: &str) -> Option<String> {
    let reference = object.pointer(pointer)?;
    Some(format!("{}/{}", text(reference, "/kind")?, text(reference, "/name")?))
}

/// The record of an object.
fn record(context: &str, kind: ObjectKind, object: &Value) -> VmObject {
    let name = text(object, "/metadata/name").unwrap_or_default();
    let space = text(object, "/metadata/namespace").unwrap_or_default();
    let vm = vm(kind, object, &name);
    let (source, target) = ends(kind, object);
    let status = status(kind, object);
    VmObject {
        kind,
        id: id(&space, &name),
        context: context.to_owned(),
        provider: NAME.to_owned(),
        vm_id: vm.as_ref().map(|vm| id(&space, vm)),
        vm,
        ready: ready(kind, object),
        progress_percent: progress(object),
        source,
        target,
        node: text(object, "/status/nodeName"),
        message: message(object, status.as_deref()),
        status,
        labels: labels(object),
        created: time(object, "/metadata/creationTimestamp"),
        ended: time(object, "/status/migrationState/endTimestamp")
            .or_else(|| time(object, "/status/restoreTime")),
        name,
        namespace: Some(space),
    }
}

/// The machine that an object is about.
fn vm(kind: ObjectKind, object: &Value, name: &str) -> Option<String> {
    let machine = |pointer: &str| {
        let reference = object.pointer(pointer)?;
        let is = reference.get("kind").is_some_and(|kind| kind == "VirtualMachine");
        text(reference, "/name").filter(|_| is)
    };
    match kind {
        ObjectKind::Vm | ObjectKind::Instance => Some(name.to_owned()),
        ObjectKind::Migration => text(object, "/spec/vmiName"),
        ObjectKind::Clone | ObjectKind::Snapshot => machine("/spec/source"),
        // That of a snapshot says whose it is.
        ObjectKind::Export => {
            machine("/spec/source").or_else(|| text(object, "/status/virtualMachineName"))
        }
        ObjectKind::Restore => machine("/spec/target"),
        ObjectKind::DataVolume => {
            let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
            let is = |owner: &&Value| owner.get("kind").is_some_and(|it| it == "VirtualMachine");
            text(owners.iter().find(is)?, "/name")
        }
    }
}

/// What an object is made from and what it leads to.
fn ends(kind: ObjectKind, object: &Value) -> (Option<String>, Option<String>) {
    match kind {
        ObjectKind::Migration => (
            text(object, "/status/migrationState/sourceNode"),
            text(object, "/status/migrationState/targetNode"),
        ),
        ObjectKind::Clone => {
            // A target without a name gets one while it is made.
            let made = text(object, "/status/targetName");
            let made = made.map(|name| format!("VirtualMachine/{name}"));
            (named(object, "/spec/source"), named(object, "/spec/target").or(made))
        }
        ObjectKind::Restore => {
            let snapshot = text(object, "/spec/virtualMachineSnapshotName");
            let snapshot = snapshot.map(|name| format!("VirtualMachineSnapshot/{name}"));
            (snapshot, named(object, "/spec/target"))
        }
        ObjectKind::DataVolume => (source_of_volume(object), None),
        _ => (named(object, "/spec/source"), None),
    }
}

/// Where the content of a volume comes from: the kind of source, or the object that it names.
fn source_of_volume(object: &Value) -> Option<String> {
    if let Some(named) = named(object, "/spec/sourceRef") {
        return Some(named);
    }
    let (kind, source) = object.pointer("/spec/source")?.as_object()?.iter().next()?;
    Some(match text(source, "/name") {
        Some(name) => format!("{kind}/{name}"),
        None => kind.clone(),
    })
}

/// How far an object is, in the platform's word. A restore has none: its conditions tell.
fn status(kind: ObjectKind, object: &Value) -> Option<String> {
    if kind != ObjectKind::Restore {
        return text(object, "/status/phase");
    }
    object.get("status")?;
    let complete = object.pointer("/status/complete").and_then(Value::as_bool) == Some(true);
    let word = match failure(object) {
        _ if complete => "Succeeded",
        Some(_) => "Failed",
        None => "InProgress",
    };
    Some(word.to_owned())
}

fn ready(kind: ObjectKind, object: &Value) -> Option<bool> {
    let flag = |pointer: &str| object.pointer(pointer).and_then(Value::as_bool);
    match kind {
        ObjectKind::Snapshot => flag("/status/readyToUse"),
        ObjectKind::Restore => flag("/status/complete"),
        _ => Some(condition(object, "Ready")?.get("status")? == "True"),
    }
}

/// `45.20%`, which CDI alone writes; `N/A` where it does not know.
fn progress(object: &Value) -> Option<f64> {
    let percent = text(object, "/status/progress")?.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|it| it.get("type").is_some_and(|own| own == kind))
}

fn words(condition: &Value) -> Option<String> {
    text(condition, "/message").or_else(|| text(condition, "/reason"))
}

fn failure(object: &Value) -> Option<String> {
    let said = ["Failure", "Failed"].into_iter().filter_map(|kind| condition(object, kind));
    let so = |it: &Value| it.get("status").is_some_and(|status| status == "True");
    said.filter(|it| so(it)).find_map(words)
}

/// What is in the way, or went wrong.
fn message(object: &Value, status: Option<&str>) -> Option<String> {
    let not_ready = || {
        let ready = condition(object, "Ready")?;
        let so = ready.get("status").is_some_and(|status| status == "False");
        words(ready).filter(|_| so)
    };
    text(object, "/status/error/message")
        .or_else(|| text(object, "/status/migrationState/failureReason"))
        .or_else(|| failure(object))
        .or_else(|| not_ready().filter(|_| status != Some("Succeeded")))
}

fn labels(object: &Value) -> std::collections::BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let texts = labels.into_iter().flatten();
    texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_tells_what_its_object_has() {
        let meta = json!({"name": "m1", "namespace": "n", "labels": {"a": "b"},
            "creationTimestamp": "2026-01-02T03:04:05Z"});
        let of = |kind, spec: Value, status: Value| {
            record("c", kind, &json!({"metadata": meta, "spec": spec, "status": status}))
        };
        let migration = of(
            ObjectKind::Migration,
            json!({"vmiName": "web"}),
            json!({"phase": "Failed", "migrationState": {"sourceNode": "a", "targetNode": "b",
                "failureReason": "no room", "endTimestamp": "2026-01-02T03:05:05Z"}}),
        );
        assert_eq!((migration.vm.as_deref(), migration.id.0.as_str()), (Some("web"), "n/m1"));
        assert_eq!(migration.vm_id.unwrap().0, "n/web");
        assert_eq!(
            (migration.source.as_deref(), migration.target.as_deref()),
            (Some("a"), Some("b"))
        );
        assert_eq!(migration.message.as_deref(), Some("no room"));
        assert!(migration.ended > migration.created);
        let volume = of(
            ObjectKind::DataVolume,
            json!({"source": {"http": {"url": "https://x"}}}),
            json!({"phase": "ImportInProgress", "progress": "45.20%", "conditions":
                [{"type": "Ready", "status": "False", "reason": "TransferRunning"}]}),
        );
        assert_eq!((volume.progress_percent, volume.ready), (Some(45.2), Some(false)));
        assert_eq!((volume.source.as_deref(), volume.vm), (Some("http"), None));
        let clone = of(
            ObjectKind::Clone,
            json!({"source": {"kind": "VirtualMachine", "name": "web"}}),
            json!({"phase": "Succeeded", "targetName": "web-2"}),
        );
        assert_eq!(clone.target.as_deref(), Some("VirtualMachine/web-2"));
        assert_eq!(clone.source.as_deref(), Some("VirtualMachine/web"));
    }

    #[test]
    fn a_restore_is_as_its_conditions_say() {
        let of = |status: Value| {
            let object = json!({"metadata": {}, "status": status});
            record("c", ObjectKind::Restore, &object).status
        };
        assert_eq!(of(json!({"complete": true})).as_deref(), Some("Succeeded"));
        assert_eq!(of(json!({"complete": false})).as_deref(), Some("InProgress"));
        let failed = json!({"conditions": [{"type": "Failure", "status": "True", "message": "x"}]});
        assert_eq!(of(failed).as_deref(), Some("Failed"));
        assert_eq!(record("c", ObjectKind::Restore, &json!({"metadata": {}})).status, None);
    }

    #[test]
    fn progress_is_a_number_or_nothing() {
        let of = |text: &str| progress(&json!({"status": {"progress": text}}));
        assert_eq!((of("100.0%"), of("N/A"), of(""), of("-3%")), (Some(100.0), None, None, None));
    }
}
