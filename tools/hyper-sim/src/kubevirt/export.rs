//! Exports: their state, and what their servers send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::coding::{decode, encode};
use super::control::Next;
use super::json::{deleting, list, name, namespace, owner, set, set_condition, text, uid, unset};
use super::kind::{Key, Kind};
use super::machine::is_final;
use super::machine_status::{claim_of, volumes};
use super::pod;
use super::sim::Sim;
use super::upstream::Fail;

/// How long an export lives when nobody says.
const LIFE: SignedDuration = SignedDuration::from_hours(2);

/// An export that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// What a client has to show.
    pub token: String,
    /// The name of each volume, and what its bytes are known by.
    pub volumes: Vec<(String, String)>,
    /// The object, for its manifests.
    pub object: Value,
}

/// All exports that are served.
#[derive(Debug, Default)]
pub struct Exports {
    served: Mutex<HashMap<(String, String), Served>>,
    gone: Mutex<HashMap<(String, String), Instant>>,
}

fn id(key: &Key) -> (String, String) {
    (key.namespace.clone(), key.name.clone())
}

impl Exports {
    /// An export, if its server runs.
    pub fn find(&self, key: &Key) -> Option<Served> {
        if self.is_gone(key) {
            return None;
        }
        self.served.lock().unwrap_or_else(PoisonError::into_inner).get(&id(key)).cloned()
    }

    fn is_served(&self, key: &Key) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id(key))
    }

    fn serve(&self, key: &Key, served: Served) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(id(key), served);
    }

    fn end(&self, key: &Key) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).remove(&id(key));
    }

    /// Ends the server of an export; another one runs after a while.
    pub fn lose(&self, key: &Key, until: Instant) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(id(key), until);
    }

    /// Whether the server of an export is gone for the moment.
    pub fn is_gone(&self, key: &Key) -> bool {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.get(&id(key)).is_some_and(|until| Instant::now() < *until)
    }
}

/// Why an export is not ready.
struct Why {
    reason: &'static str,
    message: String,
    /// There is nothing to export, and never will be.
    skipped: bool,
}

fn why(reason: &'static str, message: String) -> Why {
    Why { reason, message, skipped: false }
}

/// Looks at an export.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(export) = sim.control.get(key) else {
        sim.exports.end(key);
        dismiss(sim, key).await?;
        return Ok(Next::Done);
    };
    if deleting(&export) {
        sim.exports.end(key);
        if !list(&export, "/metadata/finalizers").is_empty() {
            sim.control.finalize(Kind::Export, &export, None).await?;
        }
        return Ok(Next::Done);
    }
    let mut export = (*export).clone();
    let ends = ends_at(&export);
    if ends <= Timestamp::now() {
        sim.exports.end(key);
        sim.control.delete(key).await?;
        return Ok(Next::Done);
    }
    let token = begin(&mut export, ends);
    if let Some(machine) = machine_of(sim, &export) {
        set(&mut export, &["status", "virtualMachineName"], machine.into());
    }
    // What the source is comes first: nothing is made for what cannot be exported.
    let found = match source(sim, &export) {
        Ok(found) => found,
        Err(why) => return wait(sim, key, &mut export, &why).await,
    };
    let Some(secret) = secret(sim, &export, &token).await? else {
        let words = format!("the secret {token} with a token is not there");
        return wait(sim, key, &mut export, &why("Initializing", words)).await;
    };
    if sim.exports.is_gone(key) || !sim.control.passed(key, "pod", sim.pace) {
        let why = why("PodPending", String::new());
        return wait(sim, key, &mut export, &why).await;
    }
    links(sim, &mut export, &found);
    set(&mut export, &["status", "phase"], "Ready".into());
    set_condition(&mut export, "Ready", true, "PodReady", "");
    set_condition(&mut export, "PVCReady", true, "PVCBound", "");
    if !sim.exports.is_served(key) {
        server(sim, &export).await?;
    }
    let served = Served { token: secret, volumes: found, object: export.clone() };
    sim.exports.serve(key, served);
    sim.control.put_status(Kind::Export, &export).await?;
    Ok(Next::Again(sim.pace * 2))
}

fn ends_at(export: &Value) -> Timestamp {
    let made = text(export, "/metadata/creationTimestamp").parse().unwrap_or(Timestamp::now());
    let life = span(text(export, "/spec/ttlDuration")).unwrap_or(LIFE);
    made.checked_add(life).unwrap_or(made)
}

/// A duration as Go writes it, such as `1h30m`.
fn span(text: &str) -> Option<SignedDuration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (factor, len) = match &rest[end..] {
            unit if unit.starts_with("ms") => (0.001, 2),
            unit if unit.starts_with('h') => (3600.0, 1),
            unit if unit.starts_with('m') => (60.0, 1),
            unit if unit.starts_with('s') => (1.0, 1),
            _ => return None,
        };
        seconds += number * factor;
        rest = &rest[end + len..];
    }
    (!text.is_empty()).then(|| SignedDuration::from_secs_f64(seconds))
}

/// Fills in what an export has from its start; the name of the secret with the token.
fn begin(export: &mut Value, ends: Timestamp) -> String {
    let token = match text(export, "/spec/tokenSecretRef") {
        "" => format!("export-token-{}", name(export)),
        token => token.to_owned(),
    };
    set(export, &["status", "tokenSecretRef"], token.as_str().into());
    let ends = Timestamp::from_second(ends.as_second()).unwrap_or(ends).to_string();
    set(export, &["status", "ttlExpirationTime"], ends.into());
    let service = format!("virt-export-{}", name(export));
    set(export, &["status", "serviceName"], service.into());
    token
}

/// The machine that is exported, as it is or as it was.
fn machine_of(sim: &Sim, export: &Value) -> Option<String> {
    let from = text(export, "/spec/source/name");
    match text(export, "/spec/source/kind") {
        "VirtualMachine" => Some(from.to_owned()),
        "VirtualMachineSnapshot" => {
            let snapshot = sim.control.get(&Key::new(Kind::Snapshot, namespace(export), from))?;
            Some(text(&snapshot, "/spec/source/name").to_owned())
        }
        _ => None,
    }
}

async fn wait(sim: &Sim, key: &Key, export: &mut Value, why: &Why) -> Result<Next, Fail> {
    if sim.exports.is_served(key) {
        sim.exports.end(key);
        dismiss(sim, key).await?;
    }
    unset(export, &["status", "links"]);
    let phase = if why.skipped { "Skipped" } else { "Pending" };
    set(export, &["status", "phase"], phase.into());
    set_condition(export, "Ready", false, why.reason, &why.message);
    sim.control.put_status(Kind::Export, export).await?;
    Ok(Next::Again(sim.pace))
}

/// The volumes of what is exported: their names, and what their bytes are known by.
fn source(sim: &Sim, export: &Value) -> Result<Vec<(String, String)>, Why> {
    let (space, from) = (namespace(export), text(export, "/spec/source/name"));
    match text(export, "/spec/source/kind") {
        "VirtualMachine" => of_machine(sim, space, from),
        "VirtualMachineSnapshot" => of_snapshot(sim, space, from),
        "PersistentVolumeClaim" => {
            let found = sim.control.get(&Key::new(Kind::Claim, space, from));
            let found =
                found.ok_or_else(|| why("PVCNotFound", format!("pvc {space}/{from} not found")))?;
            let uses = |it: &Value| {
                !is_final(it) && volumes(it).iter().any(|volume| claim_of(volume) == Some(from))
            };
            if !sim.control.all(Kind::Instance, space, uses).is_empty() {
                return Err(why("InUse", format!("pvc {space}/{from} is in use")));
            }
            Ok(vec![(from.to_owned(), uid(&found).to_owned())])
        }
        kind => Err(why("Unknown", format!("there is no source of kind {kind:?}"))),
    }
}

fn of_machine(sim: &Sim, space: &str, from: &str) -> Result<Vec<(String, String)>, Why> {
    let machine = sim.control.get(&Key::new(Kind::Machine, space, from));
    let machine = machine
        .ok_or_else(|| why("VMNotFound", format!("Virtual Machine {space}/{from} not found")))?;
    let mut found = Vec::new();
    for claim in volumes(&machine).iter().filter_map(claim_of) {
        let key = Key::new(Kind::Claim, space, claim);
        let source = sim.control.get(&key.other(Kind::Volume));
        let filled = source.is_none_or(|it| text(&it, "/status/phase") == "Succeeded");
        match sim.control.get(&key).filter(|_| filled) {
            Some(there) => found.push((claim.to_owned(), uid(&there).to_owned())),
            None => {
                let words =
                    format!("Not all volumes in the Virtual Machine {space}/{from} are populated");
                return Err(why("VolumesNotPopulated", words));
            }
        }
    }
    if found.is_empty() {
        let message = format!("Virtual Machine {space}/{from} has no volumes");
        return Err(Why { reason: "VMNoVolumes", message, skipped: true });
    }
    let instance = sim.control.get(&Key::new(Kind::Instance, space, from));
    if instance.is_some_and(|it| !is_final(&it)) {
        return Err(why("InUse", format!("Virtual Machine {space}/{from} is running")));
    }
    Ok(found)
}

fn of_snapshot(sim: &Sim, space: &str, from: &str) -> Result<Vec<(String, String)>, Why> {
    let snapshot = sim.control.get(&Key::new(Kind::Snapshot, space, from));
    let ready = snapshot.filter(|it| super::json::is_true(it, "/status/readyToUse"));
    let missing =
        || why("VMSnapshotNotReady", format!("VirtualMachineSnapshot {space}/{from} is not ready"));
    let ready = ready.ok_or_else(missing)?;
    let content = text(&ready, "/status/virtualMachineSnapshotContentName");
    let content = sim.control.get(&Key::new(Kind::Content, space, content)).ok_or_else(missing)?;
    let backups = list(&content, "/spec/volumeBackups").iter();
    let pair = |it: &Value| {
        let claim = text(it, "/persistentVolumeClaim/metadata/name").to_owned();
        (claim, text(it, "/volumeSnapshotName").to_owned())
    };
    let found: Vec<_> = backups.map(pair).collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(Why {
            reason: "NoVolumeSnapshot",
            message: format!("VirtualMachineSnapshot {space}/{from} contains no volumes"),
            skipped: true,
        }),
    }
}

/// The token in the secret; one is made where the client named none.
async fn secret(sim: &Sim, export: &Value, token: &str) -> Result<Option<String>, Fail> {
    let space = namespace(export);
    let path = format!("/api/v1/namespaces/{space}/secrets");
    let found = sim.control.api.find(&format!("{path}/{token}")).await?;
    if let Some(found) = found {
        let data = decode(text(&found, "/data/token"));
        return Ok(data.and_then(|it| String::from_utf8(it).ok()).filter(|it| !it.is_empty()));
    }
    if !text(export, "/spec/tokenSecretRef").is_empty() {
        return Ok(None);
    }
    let made = super::json::uuid(&format!("{}/token", uid(export))).replace('-', "");
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": token, "namespace": space, "ownerReferences": [owner(export)] },
        "data": { "token": encode(made.as_bytes()) },
    });
    sim.control.api.call(Method::POST, &path, Some(&object)).await?;
    Ok(Some(made))
}

/// The service and the pod of an export, for those who look for them.
async fn server(sim: &Sim, export: &Value) -> Result<(), Fail> {
    let space = namespace(export);
    let id = format!("virt-export-{}", name(export));
    let labels = json!({ "kubevirt.io.virt-export-service": name(export) });
    let metadata = json!({
        "name": id,
        "namespace": space,
        "labels": labels,
        "ownerReferences": [owner(export)],
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": labels,
            "ports": [{ "name": "export", "port": 443, "targetPort": 8443, "protocol": "TCP" }],
        },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": { "restartPolicy": "Always", "containers": [{
            "name": "exporter",
            "image": "quay.io/kubevirt/virt-exportserver",
            "ports": [{ "name": "export", "containerPort": 8443 }],
        }] },
    });
    pod::serve(sim, space, &id, &[("services", service), ("pods", pod)]).await
}

/// Deletes them, where they are.
async fn dismiss(sim: &Sim, key: &Key) -> Result<(), Fail> {
    for plural in ["services", "pods"] {
        let path = format!(
            "/api/v1/namespaces/{}/{plural}/virt-export-{}?gracePeriodSeconds=0",
            key.namespace, key.name
        );
        match sim.control.api.call(Method::DELETE, &path, None).await {
            Ok(_) | Err(Fail { status: 404, .. }) => {}
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

/// Where the volumes and the manifests are.
fn links(sim: &Sim, export: &mut Value, found: &[(String, String)]) {
    let (space, id) = (namespace(export).to_owned(), name(export).to_owned());
    let version = sim.control.groups.version(Kind::Export);
    let outside = format!(
        "https://{}/api/{version}/namespaces/{space}/virtualmachineexports/{id}",
        sim.ingress
    );
    let inside = format!("https://virt-export-{id}.{space}.svc");
    let only = sim.rules.meet("links", &Key::of(Kind::Export, export).to_string()).fault;
    for (place, base) in [("internal", inside), ("external", outside)] {
        let volume = |(name, _): &(String, String)| {
            let form = |(form, file): &(&str, &str)| json!({ "format": form, "url": format!("{base}/volumes/{name}/{file}") });
            let forms = [("raw", "disk.img"), ("gzip", "disk.img.gz")];
            let offered = |(form, _): &&(&str, &str)| only.as_deref().is_none_or(|it| it == *form);
            let formats: Vec<_> = forms.iter().filter(offered).map(form).collect();
            json!({ "name": name, "formats": formats })
        };
        let parts = format!("{base}/{place}/manifests");
        let link = json!({
            "cert": sim.authority.pem(),
            "volumes": found.iter().map(volume).collect::<Vec<_>>(),
            "manifests": [
                { "type": "all", "url": format!("{parts}/all") },
                { "type": "auth-header-secret", "url": format!("{parts}/secret") },
            ],
        });
        set(export, &["status", "links", place], link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(span("1h30m0s"), Some(SignedDuration::from_secs(5400)));
        assert_eq!(span("1500ms"), Some(SignedDuration::from_millis(1500)));
        assert_eq!(span("soon"), None);
        assert_eq!(span(""), None);
    }
}
