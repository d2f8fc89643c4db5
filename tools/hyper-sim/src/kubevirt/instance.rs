//! Instances: the way of a guest through its phases.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::Next;
use super::json::{
    deleting, has, hash, is_condition, list, name, namespace, now, quantity, set, set_condition,
    text, uid,
};
use super::kind::{Key, Kind};
use super::launch::{memory, topology};
use super::machine::is_final;
use super::machine_status::claim_of;
use super::pod;
use super::sim::Sim;
use super::upstream::Fail;

/// Looks at an instance.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Arc<Sim>, key: &Key) -> Result<Next, Fail> {
    let Some(instance) = sim.control.get(key) else {
        sim.remove_guest(key);
        return Ok(Next::Done);
    };
    let mut instance = (*instance).clone();
    if deleting(&instance) {
        return end(sim, key, instance).await;
    }
    let Some(step) = step_of(text(&instance, "/status/phase")) else {
        return running(sim, key, instance).await;
    };
    if !sim.control.passed(key, step, sim.pace) {
        return Ok(Next::Again(sim.pace));
    }
    match step {
        "pending" => move_to(&mut instance, "Pending"),
        "scheduling" => {
            pod::create(sim, &instance).await?;
            move_to(&mut instance, "Scheduling");
            set_condition(
                &mut instance,
                "Ready",
                false,
                "GuestNotRunning",
                "Guest VM is not reported as running",
            );
        }
        "scheduled" => match choose(sim, &instance).await? {
            Ok(node) => {
                set(&mut instance, &["status", "nodeName"], node.as_str().into());
                let pods = json!({ uid(&instance): node });
                set(&mut instance, &["status", "activePods"], pods);
                super::json::drop_condition(&mut instance, "PodScheduled");
                set_label(&mut instance, "kubevirt.io/nodeName", &node);
                move_to(&mut instance, "Scheduled");
            }
            Err(why) => {
                set_condition(&mut instance, "PodScheduled", false, "Unschedulable", &why);
                sim.control.put_status(Kind::Instance, &instance).await?;
                return Ok(Next::Again(sim.pace * 4));
            }
        },
        _ => {
            run(sim, &mut instance);
            pod::run(sim, &instance).await?;
        }
    }
    sim.control.put_status(Kind::Instance, &instance).await?;
    if text(&instance, "/status/phase") == "Running" {
        sim.guest(key).boot();
        sim.event(&instance, "Created", "VirtualMachineInstance defined.").await;
        sim.event(&instance, "Started", "VirtualMachineInstance started.").await;
    }
    Ok(Next::Again(sim.pace))
}

/// The step after a phase; none after the last.
fn step_of(phase: &str) -> Option<&'static str> {
    match phase {
        "" => Some("pending"),
        "Pending" => Some("scheduling"),
        "Scheduling" => Some("scheduled"),
        "Scheduled" => Some("running"),
        _ => None,
    }
}

fn set_label(instance: &mut Value, label: &str, value: &str) {
    set(instance, &["metadata", "labels", label], value.into());
}

/// Moves an instance to a phase, and notes when.
pub fn move_to(instance: &mut Value, phase: &str) {
    set(instance, &["status", "phase"], phase.into());
    let mut all = list(instance, "/status/phaseTransitionTimestamps").to_vec();
    all.push(json!({ "phase": phase, "phaseTransitionTimestamp": now() }));
    set(instance, &["status", "phaseTransitionTimestamps"], all.into());
}

/// A node that has what the instance wants, or why there is none.
pub async fn choose(sim: &Sim, instance: &Value) -> Result<Result<String, String>, Fail> {
    let key = Key::of(Kind::Instance, instance);
    if let Some(words) = sim.rules.meet("schedule", &key.to_string()).fault {
        return Ok(Err(words));
    }
    let nodes = sim.control.api.get("/api/v1/nodes").await?;
    let nodes = list(&nodes, "/items");
    let fits: Vec<&Value> = nodes.iter().filter(|node| suits(node, instance)).collect();
    if fits.is_empty() {
        let count = nodes.len();
        let words = format!(
            "0/{count} nodes are available: {count} node(s) didn't match Pod's node \
             affinity/selector or lack a resource that was asked for."
        );
        return Ok(Err(words));
    }
    let at = hash(uid(instance)) as usize % fits.len();
    Ok(Ok(name(fits[at]).to_owned()))
}

/// Whether a node has the labels and the devices that an instance asks for.
pub fn suits(node: &Value, instance: &Value) -> bool {
    if super::json::is_true(node, "/spec/unschedulable") {
        return false;
    }
    let wanted = instance.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let labels = &node["metadata"]["labels"];
    let selected =
        wanted.is_none_or(|all| all.iter().all(|(label, value)| labels.get(label) == Some(value)));
    let devices =
        ["gpus", "hostDevices"].map(|it| list(instance, &format!("/spec/domain/devices/{it}")));
    selected
        && devices.concat().iter().all(|device| {
            let resource = text(device, "/deviceName");
            let there = node["status"]["allocatable"].get(resource).and_then(Value::as_str);
            there.and_then(quantity).is_some_and(|count| count > 0)
        })
}

/// Fills in what a running guest has.
fn run(sim: &Sim, instance: &mut Value) {
    move_to(instance, "Running");
    set_condition(instance, "Ready", true, "", "");
    let shared = unshared(sim, instance);
    match &shared {
        None => {
            set_condition(instance, "LiveMigratable", true, "", "");
            set_condition(instance, "StorageLiveMigratable", true, "", "");
        }
        Some(claim) => {
            let words = format!(
                "cannot migrate VMI: PVC {claim} is not shared, live migration requires that all \
                 PVCs must be shared (using ReadWriteMany access mode)"
            );
            set_condition(instance, "LiveMigratable", false, "DisksNotLiveMigratable", &words);
            set_condition(instance, "StorageLiveMigratable", true, "", "");
        }
    }
    if text(instance, "/spec/startStrategy") == "Paused" {
        set_condition(instance, "Paused", true, "PausedByUser", "VMI was paused by user");
    }
    let method = if shared.is_some() { "BlockMigration" } else { "LiveMigration" };
    set(instance, &["status", "migrationMethod"], method.into());
    set(instance, &["status", "migrationTransport"], "Unix".into());
    set(instance, &["status", "qosClass"], "Burstable".into());
    set(instance, &["status", "runtimeUser"], 107.into());
    set(instance, &["status", "machine"], json!({ "type": "pc-q35-rhel9.4.0" }));
    let version = sim.release.version();
    set(instance, &["status", "launcherContainerImageVersion"], version.into());
    let [cores, sockets, threads] = topology(&instance["spec"]);
    let cpus = json!({ "cores": cores, "sockets": sockets, "threads": threads });
    set(instance, &["status", "currentCPUTopology"], cpus);
    let size = memory(&instance["spec"]);
    let sizes = json!({ "guestAtBoot": size, "guestCurrent": size, "guestRequested": size });
    set(instance, &["status", "memory"], sizes);
    let cards = interfaces(instance, "domain");
    set(instance, &["status", "interfaces"], cards);
    let disks = disks(sim, instance);
    set(instance, &["status", "volumeStatus"], disks);
    set(
        instance,
        &["status", "virtualMachineRevisionName"],
        format!("revision-start-vm-{}-1", uid(instance)).into(),
    );
}

/// The first claim that only one node can use at a time.
pub fn unshared(sim: &Sim, instance: &Value) -> Option<String> {
    let mut claims = list(instance, "/spec/volumes").iter().filter_map(claim_of);
    let shared = |claim: &&str| {
        let key = Key::new(Kind::Claim, namespace(instance), claim);
        sim.control.get(&key).is_some_and(|it| {
            list(&it, "/spec/accessModes").iter().any(|mode| mode == "ReadWriteMany")
        })
    };
    claims.find(|claim| !shared(claim)).map(str::to_owned)
}

/// The cards with their addresses; the guest agent knows more of them than the hypervisor.
fn interfaces(instance: &Value, source: &str) -> Value {
    let cards = list(instance, "/spec/domain/devices/interfaces").iter().enumerate();
    let card = |(at, card): (usize, &Value)| {
        let number = hash(&format!("{}/{at}", uid(instance)));
        let [a, b, c, ..] = number.to_be_bytes();
        let made = format!("02:00:00:{a:02x}:{b:02x}:{c:02x}");
        let mac = match text(card, "/macAddress") {
            "" => made,
            mac => mac.to_owned(),
        };
        let address = format!("10.244.{}.{}", a % 250, b % 250 + 2);
        json!({
            "name": card["name"],
            "mac": mac,
            "ipAddress": address,
            "ipAddresses": [address],
            "infoSource": source,
            "interfaceName": format!("eth{at}"),
            "queueCount": 1,
        })
    };
    Value::Array(cards.map(card).collect())
}

fn disks(sim: &Sim, instance: &Value) -> Value {
    let letters = 'a'..='z';
    let disk = |(letter, volume): (char, &Value)| {
        let mut status = json!({ "name": volume["name"], "target": format!("vd{letter}") });
        if let Some(claim) = claim_of(volume) {
            let key = Key::new(Kind::Claim, namespace(instance), claim);
            if let Some(claim) = sim.control.get(&key) {
                status["persistentVolumeClaimInfo"] = json!({
                    "claimName": name(&claim),
                    "accessModes": claim["spec"]["accessModes"],
                    "volumeMode": claim["spec"]["volumeMode"],
                    "requests": claim["spec"]["resources"]["requests"],
                    "capacity": claim["status"]["capacity"],
                    "filesystemOverhead": "0.055",
                });
            }
        }
        status
    };
    Value::Array(letters.zip(list(instance, "/spec/volumes")).map(disk).collect())
}

/// What the guest says it is.
pub fn guest_os() -> Value {
    json!({
        "id": "debian",
        "kernelRelease": "6.1.0-26-amd64",
        "kernelVersion": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.112-1 (2024-09-30)",
        "machine": "x86_64",
        "name": "Debian GNU/Linux",
        "prettyName": "Debian GNU/Linux 12 (bookworm)",
        "version": "12 (bookworm)",
        "versionId": "12",
    })
}

/// A guest that runs: its agent reports a moment later, and it may end by itself.
async fn running(sim: &Arc<Sim>, key: &Key, mut instance: Value) -> Result<Next, Fail> {
    if is_final(&instance) {
        return Ok(Next::Done);
    }
    if sim.guest(key).is_off() {
        move_to(&mut instance, "Succeeded");
        set_condition(&mut instance, "Ready", false, "PodTerminating", "");
        sim.control.put_status(Kind::Instance, &instance).await?;
        pod::delete(sim, &instance).await?;
        sim.event(&instance, "Stopped", "The VirtualMachineInstance was shut down.").await;
        return Ok(Next::Done);
    }
    if is_condition(&instance, "AgentConnected") || !sim.has_agent(&key.name) {
        return Ok(Next::Done);
    }
    if !sim.control.passed(key, "agent", sim.pace * 2) {
        return Ok(Next::Again(sim.pace));
    }
    set_condition(&mut instance, "AgentConnected", true, "", "");
    set(&mut instance, &["status", "guestOSInfo"], guest_os());
    let cards = interfaces(&instance, "domain, guest-agent");
    set(&mut instance, &["status", "interfaces"], cards);
    sim.control.put_status(Kind::Instance, &instance).await?;
    Ok(Next::Done)
}

/// An instance that is deleted: its guest is shut down, or ended at once without a grace period.
async fn end(sim: &Arc<Sim>, key: &Key, mut instance: Value) -> Result<Next, Fail> {
    let runs = text(&instance, "/status/phase") == "Running";
    if runs && !sim.control.passed(key, "told", std::time::Duration::ZERO) {
        return Ok(Next::Again(sim.pace));
    }
    let grace = instance.pointer("/spec/terminationGracePeriodSeconds") != Some(&json!(0));
    if runs && grace {
        if !sim.control.passed(key, "shutdown", sim.pace * 2) {
            return Ok(Next::Again(sim.pace));
        }
        sim.event(&instance, "ShuttingDown", "Signaled Graceful Shutdown").await;
    }
    sim.guest(key).power_off();
    if !is_final(&instance) && has(&instance, "/status/phase") {
        move_to(&mut instance, "Succeeded");
        set_condition(
            &mut instance,
            "Ready",
            false,
            "PodTerminating",
            "virt-launcher pod is terminating",
        );
        sim.control.put_status(Kind::Instance, &instance).await?;
        pod::delete(sim, &instance).await?;
        if runs {
            sim.event(&instance, "Stopped", "The VirtualMachineInstance was shut down.").await;
        }
        return Ok(Next::Again(sim.pace));
    }
    pod::delete(sim, &instance).await?;
    for step in ["pending", "scheduling", "scheduled", "running", "agent", "told", "shutdown"] {
        sim.control.restart(key, step);
    }
    sim.control.finalize(Kind::Instance, &instance, None).await?;
    Ok(Next::Done)
}
