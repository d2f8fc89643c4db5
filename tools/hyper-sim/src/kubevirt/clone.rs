//! Clones: a snapshot, and a machine restored from it under another name.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::Next;
use super::json::{
    deleting, has, is_true, list, now, owner, set, set_condition, suffix, text, uid, uuid,
};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upstream::Fail;

/// Looks at a clone.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(clone) = sim.control.get(key) else { return Ok(Next::Done) };
    let mut clone = (*clone).clone();
    let over = matches!(text(&clone, "/status/phase"), "Succeeded" | "Failed");
    if deleting(&clone) {
        if !list(&clone, "/metadata/finalizers").is_empty() {
            sim.control.finalize(Kind::Clone, &clone, None).await?;
        }
        clean(sim, key, &clone).await?;
        return Ok(Next::Done);
    }
    if over {
        return Ok(Next::Done);
    }
    if let Some(words) = sim.rules.meet("clone", &key.to_string()).fault {
        return fail(sim, &mut clone, &words).await;
    }
    let target = target(&clone);
    let at_work = has(&clone, "/status/restoreName");
    let there = sim.control.get(&Key::new(Kind::Machine, &key.namespace, &target));
    if there.is_some() && !at_work {
        let words = format!("target VirtualMachine {}/{target} already exists", key.namespace);
        return fail(sim, &mut clone, &words).await;
    }
    let Some(snapshot) = snapshot(sim, key, &mut clone).await? else {
        return Ok(Next::Again(sim.pace));
    };
    restore(sim, key, &mut clone, &snapshot, &target).await
}

fn target(clone: &Value) -> String {
    match text(clone, "/spec/target/name") {
        "" => {
            let from = text(clone, "/spec/source/name");
            format!("clone-{from}-{}", suffix(uid(clone)))
        }
        name => name.to_owned(),
    }
}

async fn fail(sim: &Sim, clone: &mut Value, words: &str) -> Result<Next, Fail> {
    set(clone, &["status", "phase"], "Failed".into());
    set_condition(clone, "Progressing", false, "Failed", words);
    set_condition(clone, "Ready", false, "Failed", words);
    sim.control.put_status(Kind::Clone, clone).await?;
    sim.event(clone, "Failed", words).await;
    Ok(Next::Done)
}

async fn phase(sim: &Sim, clone: &mut Value, phase: &str) -> Result<(), Fail> {
    set(clone, &["status", "phase"], phase.into());
    set_condition(clone, "Progressing", true, "Progressing", "");
    set_condition(clone, "Ready", false, "Progressing", "");
    sim.control.put_status(Kind::Clone, clone).await
}

/// The name of the snapshot to restore from, once that is ready.
async fn snapshot(sim: &Sim, key: &Key, clone: &mut Value) -> Result<Option<String>, Fail> {
    let from = text(clone, "/spec/source/name").to_owned();
    let own = text(clone, "/spec/source/kind") != "VirtualMachineSnapshot";
    if !own {
        let ready = super::snapshot::ready(sim, &key.namespace, &from);
        if ready.is_none() {
            phase(sim, clone, "SnapshotInProgress").await?;
        }
        return Ok(ready.map(|_| from));
    }
    let made = format!("tmp-snapshot-{}", uid(clone));
    let there = sim.control.get(&Key::new(Kind::Snapshot, &key.namespace, &made));
    let Some(there) = there else {
        let source = sim.control.get(&Key::new(Kind::Machine, &key.namespace, &from));
        if source.is_none() {
            set_condition(
                clone,
                "Progressing",
                false,
                "SourceDoesNotExist",
                &format!("source VirtualMachine {}/{from} does not exist", key.namespace),
            );
            set_condition(clone, "Ready", false, "SourceDoesNotExist", "");
            sim.control.put_status(Kind::Clone, clone).await?;
            return Ok(None);
        }
        if has(clone, "/status/restoreName") {
            // It was needed once and has been cleaned up since.
            return Ok(Some(made));
        }
        let object = json!({
            "metadata": {
                "name": made,
                "namespace": key.namespace,
                "ownerReferences": [owner(clone)],
            },
            "spec": { "source": {
                "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": from,
            } },
        });
        sim.control.create(Kind::Snapshot, object).await?;
        set(clone, &["status", "snapshotName"], made.into());
        set(clone, &["status", "creationTime"], now().into());
        phase(sim, clone, "SnapshotInProgress").await?;
        return Ok(None);
    };
    if text(&there, "/status/phase") == "Failed" {
        let words = format!("the snapshot failed: {}", text(&there, "/status/error/message"));
        fail(sim, clone, &words).await?;
        return Ok(None);
    }
    Ok(is_true(&there, "/status/readyToUse").then_some(made))
}

async fn restore(
    sim: &Arc<Sim>,
    key: &Key,
    clone: &mut Value,
    snapshot: &str,
    target: &str,
) -> Result<Next, Fail> {
    let made = format!("tmp-restore-{}", uid(clone));
    let there = sim.control.get(&Key::new(Kind::Restore, &key.namespace, &made));
    let Some(there) = there else {
        if text(clone, "/status/phase") != "CreatingTargetVM" {
            phase(sim, clone, "CreatingTargetVM").await?;
            return Ok(Next::Again(sim.pace));
        }
        let object = json!({
            "metadata": {
                "name": made,
                "namespace": key.namespace,
                "ownerReferences": [owner(clone)],
            },
            "spec": {
                "target": {
                    "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": target,
                },
                "virtualMachineSnapshotName": snapshot,
                "patches": patches(sim, key, clone, snapshot),
            },
        });
        set(clone, &["status", "restoreName"], made.as_str().into());
        set(clone, &["status", "targetName"], target.into());
        phase(sim, clone, "RestoreInProgress").await?;
        sim.control.create(Kind::Restore, object).await?;
        return Ok(Next::Again(sim.pace));
    };
    if super::json::is_condition(&there, "Failure") {
        return fail(sim, clone, "the restore failed").await;
    }
    if !is_true(&there, "/status/complete") {
        return Ok(Next::Again(sim.pace));
    }
    set(clone, &["status", "phase"], "Succeeded".into());
    set_condition(clone, "Progressing", false, "Operation complete", "");
    set_condition(clone, "Ready", true, "Operation complete", "");
    sim.control.put_status(Kind::Clone, clone).await?;
    sim.event(clone, "PVCBound", "all PVC for clone are bound").await;
    clean(sim, key, clone).await?;
    Ok(Next::Done)
}

/// Removes what the clone was made with.
async fn clean(sim: &Sim, key: &Key, clone: &Value) -> Result<(), Fail> {
    let restore = format!("tmp-restore-{}", uid(clone));
    let snapshot = format!("tmp-snapshot-{}", uid(clone));
    sim.control.delete(&Key::new(Kind::Restore, &key.namespace, &restore)).await?;
    sim.control.delete(&Key::new(Kind::Snapshot, &key.namespace, &snapshot)).await
}

/// What is different in the new machine, as operations of JSON Patch.
fn patches(sim: &Sim, key: &Key, clone: &Value, snapshot: &str) -> Vec<String> {
    let Some((_, content)) = super::snapshot::ready(sim, &key.namespace, snapshot) else {
        return Vec::new();
    };
    let source = &content["spec"]["source"]["virtualMachine"];
    let mut all = Vec::new();
    for (filters, place) in [
        ("/spec/labelFilters", "/metadata/labels"),
        ("/spec/annotationFilters", "/metadata/annotations"),
        ("/spec/template/labelFilters", "/spec/template/metadata/labels"),
        ("/spec/template/annotationFilters", "/spec/template/metadata/annotations"),
    ] {
        let Some(there) = source.pointer(place).and_then(Value::as_object) else { continue };
        if clone.pointer(filters).is_none() {
            continue;
        }
        let dropped = there.keys().filter(|it| !passes(list(clone, filters), it));
        all.extend(dropped.map(|it| {
            let escaped = it.replace('~', "~0").replace('/', "~1");
            json!({ "op": "remove", "path": format!("{place}/{escaped}") })
        }));
    }
    let cards = "/spec/template/spec/domain/devices/interfaces";
    for (at, card) in list(source, cards).iter().enumerate() {
        let path = format!("{cards}/{at}/macAddress");
        let new = clone["spec"]["newMacAddresses"].get(text(card, "/name"));
        match new {
            Some(new) => all.push(json!({ "op": "add", "path": path, "value": new })),
            None if has(card, "/macAddress") => all.push(json!({ "op": "remove", "path": path })),
            None => {}
        }
    }
    let firmware = "/spec/template/spec/domain/firmware";
    if has(source, firmware) {
        let serial = text(clone, "/spec/newSMBiosSerial");
        let id = uuid(uid(clone));
        all.push(json!({ "op": "replace", "path": format!("{firmware}/uuid"), "value": id }));
        if !serial.is_empty() {
            let path = format!("{firmware}/serial");
            all.push(json!({ "op": "replace", "path": path, "value": serial }));
        }
    }
    let own = list(clone, "/spec/patches").iter().filter_map(Value::as_str).map(str::to_owned);
    all.iter().map(Value::to_string).chain(own).collect()
}

/// Whether a name passes filters such as `*` and `!key*`: the last one that fits decides.
fn passes(filters: &[Value], name: &str) -> bool {
    let mut passes = false;
    for filter in filters.iter().filter_map(Value::as_str) {
        let (wanted, pattern) = match filter.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, filter),
        };
        let fits = match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        };
        if fits {
            passes = wanted;
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_filter_that_fits_decides() {
        let filters = [json!("*"), json!("!some/*"), json!("some/key")];
        assert!(passes(&filters, "other"));
        assert!(!passes(&filters, "some/thing"));
        assert!(passes(&filters, "some/key"));
    }
}
