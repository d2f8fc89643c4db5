//! From a machine to the instance that runs it.

use serde_json::{Value, json};

use super::crds::Release;
use super::json::{
    has, is_condition, name, namespace, owner, quantity, set, text, uid, unset, uuid,
};
use super::sim::Sim;
use super::upstream::Fail;

/// What an instance waits with until its guest has ended.
pub const HOLD: &str = "foregroundDeleteVirtualMachine";

/// The instance of a machine, as it is made.
///
/// # Errors
/// Those of reading an instance type.
pub async fn instance(sim: &Sim, machine: &Value, paused: bool) -> Result<Value, Fail> {
    let template = &machine["spec"]["template"];
    let mut spec = template["spec"].clone();
    sized(sim, machine, &mut spec).await?;
    if paused {
        set(&mut spec, &["startStrategy"], "Paused".into());
    }
    fill(machine, &mut spec);
    if sim.release >= Release::V1_5 {
        make_room(&mut spec);
    }
    let mut metadata = json!({
        "name": name(machine),
        "namespace": namespace(machine),
        "ownerReferences": [owner(machine)],
        "finalizers": [super::machine::HOLD, HOLD],
        "annotations": {
            "kubevirt.io/latest-observed-api-version": "v1",
            "kubevirt.io/storage-observed-api-version": "v1",
        },
    });
    if let Some(labels) = template.pointer("/metadata/labels") {
        metadata["labels"] = labels.clone();
    }
    if let Some(all) = template.pointer("/metadata/annotations").and_then(Value::as_object) {
        for (key, value) in all {
            metadata["annotations"][key] = value.clone();
        }
    }
    Ok(json!({ "metadata": metadata, "spec": spec }))
}

/// What a client left out and the cluster adds.
fn fill(machine: &Value, spec: &mut Value) {
    let id = uid(machine);
    if !has(spec, "/domain/firmware/uuid") {
        set(spec, &["domain", "firmware", "uuid"], uuid(id).into());
    }
    if !has(spec, "/domain/machine/type") {
        set(spec, &["domain", "machine", "type"], "q35".into());
    }
    if !has(spec, "/domain/devices") {
        set(spec, &["domain", "devices"], json!({}));
    }
    if !has(spec, "/terminationGracePeriodSeconds") {
        set(spec, &["terminationGracePeriodSeconds"], 30.into());
    }
    let attach = spec.pointer("/domain/devices/autoattachPodInterface") != Some(&json!(false));
    if !has(spec, "/networks") && attach {
        set(spec, &["networks"], json!([{ "name": "default", "pod": {} }]));
        let card = json!([{ "name": "default", "masquerade": {} }]);
        set(spec, &["domain", "devices", "interfaces"], card);
    }
}

/// Says how far a running guest can grow: four times, as clusters have it by default.
fn make_room(spec: &mut Value) {
    if let Some(sockets) = spec.pointer("/domain/cpu/sockets").and_then(Value::as_u64) {
        set(spec, &["domain", "cpu", "maxSockets"], (sockets * 4).into());
    }
    if has(spec, "/domain/memory/guest") {
        let most = quantity(&memory(spec)).unwrap_or(0) * 4 / (1 << 20);
        set(spec, &["domain", "memory", "maxGuest"], format!("{most}Mi").into());
    }
}

/// What of a change of the machine a running guest can take at once: the instance with it.
pub fn grown(sim: &Sim, machine: &Value, instance: &Value) -> Option<Value> {
    let runs = text(instance, "/status/phase") == "Running"
        && is_condition(instance, "LiveMigratable")
        && sim.release >= Release::V1_5
        && !has(machine, "/spec/instancetype");
    let wanted = &machine["spec"]["template"]["spec"];
    let mut grown = instance.clone();
    let sockets = wanted.pointer("/domain/cpu/sockets").and_then(Value::as_u64);
    let most = instance.pointer("/spec/domain/cpu/maxSockets").and_then(Value::as_u64);
    if let Some(sockets) = sockets.filter(|it| most.is_some_and(|most| *it <= most)) {
        set(&mut grown, &["spec", "domain", "cpu", "sockets"], sockets.into());
        set(&mut grown, &["status", "currentCPUTopology", "sockets"], sockets.into());
    }
    let (size, most) = (memory(wanted), text(instance, "/spec/domain/memory/maxGuest"));
    if has(wanted, "/domain/memory/guest") && quantity(&size) <= quantity(most) {
        for place in [
            &["spec", "domain", "memory", "guest"][..],
            &["status", "memory", "guestCurrent"],
            &["status", "memory", "guestRequested"],
        ] {
            set(&mut grown, place, size.as_str().into());
        }
    }
    (runs && grown != *instance && !differs(machine, &grown)).then_some(grown)
}

/// Takes CPUs and memory from the instance type, where there is one.
async fn sized(sim: &Sim, machine: &Value, spec: &mut Value) -> Result<(), Fail> {
    let wanted = text(machine, "/spec/instancetype/name");
    if wanted.is_empty() {
        return Ok(());
    }
    let root = "/apis/instancetype.kubevirt.io/v1beta1";
    let kind = text(machine, "/spec/instancetype/kind").to_ascii_lowercase();
    let path = match kind.trim_end_matches('s') {
        "virtualmachineinstancetype" => {
            format!("{root}/namespaces/{}/virtualmachineinstancetypes/{wanted}", namespace(machine))
        }
        _ => format!("{root}/virtualmachineclusterinstancetypes/{wanted}"),
    };
    let found = sim.control.api.get(&path).await?;
    let cpus = found.pointer("/spec/cpu/guest").cloned().unwrap_or(1.into());
    set(spec, &["domain", "cpu"], json!({ "sockets": cpus, "cores": 1, "threads": 1 }));
    if let Some(memory) = found.pointer("/spec/memory/guest") {
        set(spec, &["domain", "memory", "guest"], memory.clone());
    }
    Ok(())
}

/// CPUs as cores, sockets and threads.
pub fn topology(spec: &Value) -> [u64; 3] {
    ["/domain/cpu/cores", "/domain/cpu/sockets", "/domain/cpu/threads"]
        .map(|place| spec.pointer(place).and_then(Value::as_u64).unwrap_or(1).max(1))
}

/// The memory of the guest as it was asked for.
pub fn memory(spec: &Value) -> String {
    let places = ["/domain/memory/guest", "/domain/resources/requests/memory"];
    let found = places.iter().find_map(|place| spec.pointer(place));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(number) => number.to_string(),
        None => "1Gi".to_owned(),
    }
}

/// Whether the instance runs on something else than the machine's template says by now.
pub fn differs(machine: &Value, instance: &Value) -> bool {
    if has(machine, "/spec/instancetype") {
        return false;
    }
    let strip = |spec: &Value| {
        let mut domain = spec["domain"].clone();
        unset(&mut domain, &["firmware"]);
        unset(&mut domain, &["machine"]);
        unset(&mut domain, &["devices"]);
        unset(&mut domain, &["cpu", "maxSockets"]);
        unset(&mut domain, &["memory", "maxGuest"]);
        domain
    };
    strip(&machine["spec"]["template"]["spec"]) != strip(&instance["spec"])
}
