//! Data sources: whether what they name can be copied.

use std::sync::Arc;

use serde_json::Value;

use super::control::Next;
use super::json::{deleting, has, is_condition, namespace, set, set_condition, text};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upstream::Fail;

/// Looks at a data source.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(source) = sim.control.get(key) else { return Ok(Next::Done) };
    if deleting(&source) {
        return Ok(Next::Done);
    }
    let mut source = (*source).clone();
    if has(&source, "/spec/source") {
        let named = source["spec"]["source"].clone();
        set(&mut source, &["status", "source"], named);
    }
    let (ready, reason, message) = state(sim, &source);
    set_condition(&mut source, "Ready", ready, &reason, &message);
    sim.control.put_status(Kind::Source, &source).await?;
    // What it names may have another name than itself.
    Ok(if is_condition(&source, "Ready") { Next::Done } else { Next::Again(sim.pace * 4) })
}

/// Whether a data source is ready, with the words that CDI has for it.
fn state(sim: &Sim, source: &Value) -> (bool, String, String) {
    let told = |ready, reason: &str, message: &str| (ready, reason.to_owned(), message.to_owned());
    let ready = || told(true, "Ready", "DataSource is ready to be consumed");
    let name = text(source, "/spec/source/pvc/name");
    if name.is_empty() {
        return match has(source, "/spec/source/snapshot/name") {
            true => ready(),
            false => told(false, "NoSource", "No source PVC set"),
        };
    }
    let place = match text(source, "/spec/source/pvc/namespace") {
        "" => namespace(source),
        place => place,
    };
    let find = |kind| sim.control.get(&Key::new(kind, place, name));
    if let Some(volume) = find(Kind::Volume) {
        return match text(&volume, "/status/phase") {
            "Succeeded" => ready(),
            phase => told(false, phase, &format!("Import DataVolume phase {phase}")),
        };
    }
    match find(Kind::Claim) {
        Some(_) => ready(),
        None => told(false, "NotFound", "PVC not found"),
    }
}
