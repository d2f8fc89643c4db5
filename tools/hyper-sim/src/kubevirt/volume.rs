//! Data volumes: claims that are filled.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::Next;
use super::import;
use super::json::{
    deleting, has, is_owned, list, name, namespace, owner, set, set_condition, text, uid, unset,
};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upstream::Fail;

/// What an import is said to have done, in tenths of a percent, one step after another.
const STEPS: [u32; 4] = [0, 250, 600, 900];

/// Where the bytes of a volume come from.
fn source(volume: &Value) -> &'static str {
    const KNOWN: [&str; 10] =
        ["http", "s3", "gcs", "registry", "imageio", "vddk", "blank", "upload", "pvc", "snapshot"];
    let found = KNOWN.into_iter().find(|kind| has(volume, &format!("/spec/source/{kind}")));
    found.unwrap_or("blank")
}

/// Looks at a data volume.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(volume) = sim.control.get(key) else { return gone(sim, key).await };
    let claim = sim.control.get(&key.other(Kind::Claim));
    let claim = claim.as_deref();
    if deleting(&volume) {
        sim.control.finalize(Kind::Volume, &volume, None).await?;
        return Ok(Next::Done);
    }
    let mut volume = (*volume).clone();
    let Some(claim) = claim else {
        let phase = text(&volume, "/status/phase");
        if phase == "Succeeded" || phase == "Failed" {
            return Ok(Next::Done);
        }
        let resolved = resolve(sim, &mut volume).await?;
        if let Err(why) = resolved {
            return fail(sim, &mut volume, "Pending", &why).await;
        }
        make_claim(sim, &volume).await?;
        set(&mut volume, &["status", "claimName"], key.name.as_str().into());
        set(&mut volume, &["status", "phase"], "Pending".into());
        sim.control.put_status(Kind::Volume, &volume).await?;
        return Ok(Next::Again(sim.pace));
    };
    if !is_owned(claim, uid(&volume)) {
        // A claim that was there before, filled or not, is not touched.
        let owned_by_other = !list(claim, "/metadata/ownerReferences").is_empty();
        if !owned_by_other && text(&volume, "/status/phase").is_empty() {
            return finish(sim, &mut volume, claim).await;
        }
    }
    advance(sim, key, &mut volume, claim).await
}

/// A volume that is gone takes its claim along: no collector of garbage runs here.
async fn gone(sim: &Sim, key: &Key) -> Result<Next, Fail> {
    let Some(claim) = sim.control.get(&key.other(Kind::Claim)) else { return Ok(Next::Done) };
    let owners = list(&claim, "/metadata/ownerReferences");
    let owner = owners.iter().find(|it| text(it, "/kind") == "DataVolume");
    let Some(owner) = owner.filter(|_| !deleting(&claim)) else { return Ok(Next::Done) };
    let there = sim.control.api.find(&sim.control.groups.object(key)).await?;
    if there.is_none_or(|it| uid(&it) != text(owner, "/uid")) {
        sim.control.delete(&key.other(Kind::Claim)).await?;
    }
    Ok(Next::Done)
}

async fn fail(sim: &Sim, volume: &mut Value, phase: &str, why: &str) -> Result<Next, Fail> {
    set(volume, &["status", "phase"], phase.into());
    set_condition(volume, "Running", false, "Error", why);
    set_condition(volume, "Ready", false, "Error", why);
    sim.control.put_status(Kind::Volume, volume).await?;
    Ok(Next::Again(sim.pace * 10))
}

/// Turns a reference to a data source into what it points at, and looks whether the source is
/// there.
async fn resolve(sim: &Sim, volume: &mut Value) -> Result<Result<(), String>, Fail> {
    let wanted = text(volume, "/spec/sourceRef/name").to_owned();
    if !wanted.is_empty() {
        let place = match text(volume, "/spec/sourceRef/namespace") {
            "" => namespace(volume),
            place => place,
        };
        let path = format!("/apis/cdi.kubevirt.io/v1beta1/namespaces/{place}/datasources/{wanted}");
        let Some(found) = sim.control.api.find(&path).await? else {
            return Ok(Err(format!("DataSource {place}/{wanted} not found")));
        };
        set(volume, &["spec", "source"], found["spec"]["source"].clone());
    }
    let from = text(volume, "/spec/source/pvc/name");
    if !from.is_empty() {
        let place = match text(volume, "/spec/source/pvc/namespace") {
            "" => namespace(volume),
            place => place,
        };
        if sim.control.get(&Key::new(Kind::Claim, place, from)).is_none() {
            return Ok(Err(format!("The source pvc {from} doesn't exist in namespace {place}")));
        }
    }
    Ok(Ok(()))
}

/// The claim that a volume is kept in.
async fn make_claim(sim: &Sim, volume: &Value) -> Result<(), Fail> {
    let asked = match has(volume, "/spec/storage") {
        true => &volume["spec"]["storage"],
        false => &volume["spec"]["pvc"],
    };
    let mut spec = asked.clone();
    if list(&spec, "/accessModes").is_empty() {
        spec["accessModes"] = json!(["ReadWriteMany"]);
    }
    if !has(&spec, "/volumeMode") {
        spec["volumeMode"] = "Filesystem".into();
    }
    if !has(&spec, "/resources/requests/storage") {
        let size = source_size(sim, volume).unwrap_or_else(|| "1Gi".to_owned());
        set(&mut spec, &["resources", "requests", "storage"], size.into());
    }
    if !has(&spec, "/storageClassName") {
        spec["storageClassName"] = super::world::STORAGE.into();
    }
    unset(&mut spec, &["dataSource"]);
    let id = name(volume);
    let claim = json!({
        "metadata": {
            "name": id,
            "namespace": namespace(volume),
            "labels": { "app": "containerized-data-importer" },
            "annotations": { "cdi.kubevirt.io/storage.contentType": "kubevirt" },
            "ownerReferences": [owner(volume)],
        },
        "spec": spec,
    });
    sim.control.create(Kind::Claim, claim).await.map(|_| ())
}

fn source_size(sim: &Sim, volume: &Value) -> Option<String> {
    let from = text(volume, "/spec/source/pvc/name");
    let place = match text(volume, "/spec/source/pvc/namespace") {
        "" => namespace(volume),
        place => place,
    };
    let claim = sim.control.get(&Key::new(Kind::Claim, place, from))?;
    Some(text(&claim, "/spec/resources/requests/storage").to_owned())
}

/// Says that a claim is bound: nobody else here would.
///
/// # Errors
/// Those of the API server.
pub async fn bind(sim: &Sim, claim: &Value) -> Result<(), Fail> {
    if text(claim, "/status/phase") == "Bound" {
        return Ok(());
    }
    let size = claim["spec"]["resources"]["requests"]["storage"].clone();
    let modes = claim["spec"]["accessModes"].clone();
    let status = json!({ "phase": "Bound", "accessModes": modes, "capacity": { "storage": size } });
    let mut bound = claim.clone();
    bound["status"] = status;
    sim.control.put_status(Kind::Claim, &bound).await
}

/// One step on the way to a filled volume.
async fn advance(
    sim: &Arc<Sim>,
    key: &Key,
    volume: &mut Value,
    claim: &Value,
) -> Result<Next, Fail> {
    let phase = text(volume, "/status/phase").to_owned();
    let kind = source(volume);
    if phase == "Succeeded" || phase == "Failed" {
        return Ok(Next::Done);
    }
    bind(sim, claim).await?;
    if let Some(words) = sim.rules.meet("datavolume", &key.to_string()).fault {
        return fail(sim, volume, "Failed", &words).await;
    }
    if kind == "upload" {
        return upload(sim, key, volume, claim).await;
    }
    let (scheduled, busy) = match kind {
        "pvc" | "snapshot" => ("CloneScheduled", "CloneInProgress"),
        _ => ("ImportScheduled", "ImportInProgress"),
    };
    if kind == "blank" {
        return finish(sim, volume, claim).await;
    }
    if phase != scheduled && phase != busy {
        step(sim, key, volume, scheduled, "N/A").await?;
        return Ok(Next::Again(sim.pace));
    }
    for (at, done) in STEPS.into_iter().enumerate() {
        let label = ["first", "second", "third", "fourth"][at];
        if !sim.control.passed(key, label, sim.pace) {
            if at > 0 || phase == busy {
                let words = format!("{}.{}%", done / 10, done % 10);
                step(sim, key, volume, busy, &words).await?;
            }
            return Ok(Next::Again(sim.pace));
        }
    }
    if import::is_near(volume)
        && let Err(why) = import::fetch(sim, volume, claim).await
    {
        // The importer tries again and again.
        let restarts = volume["status"]["restartCount"].as_u64().unwrap_or(0) + 1;
        set(volume, &["status", "restartCount"], restarts.into());
        set_condition(volume, "Running", false, "Error", &why);
        sim.control.put_status(Kind::Volume, volume).await?;
        return Ok(Next::Again(sim.pace * 10));
    }
    finish(sim, volume, claim).await
}

async fn step(
    sim: &Sim,
    _: &Key,
    volume: &mut Value,
    phase: &str,
    progress: &str,
) -> Result<(), Fail> {
    let claim_name = name(volume).into();
    set(volume, &["status", "claimName"], claim_name);
    set(volume, &["status", "phase"], phase.into());
    set(volume, &["status", "progress"], progress.into());
    set_condition(volume, "Bound", true, "Bound", "PVC is Bound");
    set_condition(volume, "Running", phase.ends_with("InProgress"), "Pod is running", "");
    set_condition(volume, "Ready", false, "", "");
    sim.control.put_status(Kind::Volume, volume).await
}

/// A volume that waits until a client has sent its bytes.
async fn upload(sim: &Sim, key: &Key, volume: &mut Value, claim: &Value) -> Result<Next, Fail> {
    if sim.disks.uploaded(uid(claim)) {
        return finish(sim, volume, claim).await;
    }
    let target = "cdi.kubevirt.io/storage.upload.target";
    if claim["metadata"]["annotations"].get(target).is_none() {
        let change = json!({ "metadata": { "annotations": { target: "" } } });
        let path = sim.control.groups.object(&key.other(Kind::Claim));
        sim.control.api.call(hyper::Method::PATCH, &path, Some(&change)).await?;
    }
    if !sim.control.passed(key, "first", sim.pace) {
        step(sim, key, volume, "UploadScheduled", "N/A").await?;
        return Ok(Next::Again(sim.pace));
    }
    let change = json!({ "metadata": { "annotations": {
        "cdi.kubevirt.io/storage.pod.phase": "Running",
        "cdi.kubevirt.io/storage.pod.ready": "true",
    } } });
    if text(volume, "/status/phase") != "UploadReady" {
        let path = sim.control.groups.object(&key.other(Kind::Claim));
        sim.control.api.call(hyper::Method::PATCH, &path, Some(&change)).await?;
    }
    step(sim, key, volume, "UploadReady", "N/A").await?;
    Ok(Next::Again(sim.pace))
}

/// A volume that is filled.
async fn finish(sim: &Sim, volume: &mut Value, claim: &Value) -> Result<Next, Fail> {
    bind(sim, claim).await?;
    fill_disk(sim, volume, claim).await;
    let claim_name = name(volume).into();
    set(volume, &["status", "claimName"], claim_name);
    set(volume, &["status", "phase"], "Succeeded".into());
    set(volume, &["status", "progress"], "100.0%".into());
    set_condition(volume, "Bound", true, "Bound", "PVC is Bound");
    set_condition(volume, "Running", false, "Completed", "Import Complete");
    set_condition(volume, "Ready", true, "", "");
    sim.control.put_status(Kind::Volume, volume).await?;
    Ok(Next::Done)
}

/// Gives the claim of a volume the bytes of its source.
async fn fill_disk(sim: &Sim, volume: &Value, claim: &Value) {
    match source(volume) {
        "pvc" => {
            let from = text(volume, "/spec/source/pvc/name");
            let place = match text(volume, "/spec/source/pvc/namespace") {
                "" => namespace(volume),
                place => place,
            };
            if let Some(from) = sim.control.get(&Key::new(Kind::Claim, place, from)) {
                sim.disks.copy(uid(&from), uid(claim));
            }
        }
        "snapshot" => sim.disks.copy(text(volume, "/spec/source/snapshot/name"), uid(claim)),
        "blank" => sim.disks.blank(uid(claim), super::disks::size(claim)),
        _ => {}
    }
}

/// A claim that a client made itself: it is bound at once.
///
/// # Errors
/// Those of the API server.
pub async fn claim(sim: &Sim, key: &Key) -> Result<Next, Fail> {
    if let Some(claim) = sim.control.get(key) {
        let finalizers = list(&claim, "/metadata/finalizers");
        if deleting(&claim) && !finalizers.is_empty() {
            sim.control.finalize(Kind::Claim, &claim, None).await?;
        } else if finalizers.is_empty() && !deleting(&claim) {
            bind(sim, &claim).await?;
        }
    }
    Ok(Next::Done)
}
