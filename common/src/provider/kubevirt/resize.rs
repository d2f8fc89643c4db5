//! Processors and memory of machines. What is changed is the machine's template; whether the guest
//! that runs gets it at once is the cluster's choice (LiveUpdate), and is waited for.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Kubevirt;
use super::client::{Place, anew};
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, both};
use super::power::look;
use super::record::{Known, parts, quantity_of};
use super::wire::{Cpu, Domain, Instance, VirtualMachine};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::resize::{Resize, Resized, Size};
use crate::vm::{VmId, format_bytes};

/// How long a cluster may take to say that a change needs a restart. Releases before 1.3 never do.
const PATIENCE: Duration = Duration::from_secs(15);

#[async_trait]
impl Resize for Kubevirt {
    async fn resize(&self, vm: &VmId, size: Size, cancel: &Cancel) -> Result<Resized> {
        let changed = anew(|| self.change(vm, size)).await?;
        match self.settled(vm, size, cancel).await? {
            Resized::Live | Resized::Stored if !changed => Ok(Resized::Already),
            settled => Ok(settled),
        }
    }
}

impl Kubevirt {
    /// Changes a machine's template as it is now; whether there was anything to change.
    async fn change(&self, vm: &VmId, size: Size) -> Result<bool> {
        let (machine, _) = both(self, vm).await?;
        if let Some(kind) = &machine.spec.instancetype {
            let words = format!("its size is that of the instancetype {}", kind.name);
            return Err(
                Error::unsupported(words).with_hint("give it another instancetype to change it")
            );
        }
        let change = change(&machine, size)?;
        if change == json!({}) {
            return Ok(false);
        }
        let (namespace, name) = parts(vm);
        let resource = self.client().resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        let patch = json!({
            "metadata": { "resourceVersion": machine.metadata.resource_version },
            "spec": { "template": { "spec": { "domain": change } } },
        });
        self.client().merge::<Value>(place, name, &patch, false).await.map(|_| true)
    }

    /// Waits until it is known what a change means for the guest that runs.
    async fn settled(&self, vm: &VmId, size: Size, cancel: &Cancel) -> Result<Resized> {
        let begun = Instant::now();
        look(cancel, || async {
            let (machine, instance) = both(self, vm).await?;
            let is_final = |it: &Instance| matches!(&*it.status.phase, "Succeeded" | "Failed");
            let Some(instance) = instance.filter(|it| !is_final(it)) else {
                return Ok(Some(Resized::Stored));
            };
            let needs = machine.status.conditions.iter().find(|it| it.kind == "RestartRequired");
            if let Some(needs) = needs.filter(|needs| needs.status == "True") {
                return Ok(Some(Resized::AfterRestart(needs.message.clone())));
            }
            // Once the instance has it, the cluster is on its way to give it to the guest.
            if is_given(&machine, &instance, size) {
                return Ok(is_seen(&instance, size).then_some(Resized::Live));
            }
            let words = "the cluster does not change it while it runs";
            let late = begun.elapsed() > PATIENCE;
            Ok(late.then(|| Resized::AfterRestart(words.to_owned())))
        })
        .await
    }
}

/// Whether an instance is to have the size.
fn is_given(machine: &VirtualMachine, instance: &Instance, size: Size) -> bool {
    let known = Known { vm: machine, instance: Some(instance), instancetype: None };
    let record = known.record("");
    size.cpus.is_none_or(|cpus| record.cpus == Some(cpus))
        && size.memory_bytes.is_none_or(|bytes| record.memory_bytes == Some(bytes))
}

/// Whether the guest has it, as far as its hypervisor tells.
fn is_seen(instance: &Instance, size: Size) -> bool {
    let seen = instance.status.current_cpu_topology.as_ref().map(count);
    let memory = instance.status.memory.guest_current.as_ref().and_then(quantity_of);
    size.cpus.is_none_or(|cpus| seen.is_none_or(|seen| seen == u64::from(cpus)))
        && size.memory_bytes.is_none_or(|bytes| memory.is_none_or(|memory| memory == bytes))
}

/// Sockets times cores times threads.
fn count(cpu: &Cpu) -> u64 {
    let [sockets, cores, threads] = topology(Some(cpu)).map(u64::from);
    sockets.saturating_mul(cores).saturating_mul(threads)
}

fn topology(cpu: Option<&Cpu>) -> [u32; 3] {
    let part = |part: Option<u32>| part.unwrap_or(1).max(1);
    cpu.map_or([1; 3], |cpu| [part(cpu.sockets), part(cpu.cores), part(cpu.threads)])
}

/// What of a template's domain has to change.
fn change(machine: &VirtualMachine, size: Size) -> Result<Value> {
    let domain = &machine.spec.template.spec.domain;
    let known = Known { vm: machine, instance: None, instancetype: None };
    let now = known.record("");
    let mut change = json!({});
    if let Some(cpus) = size.cpus.filter(|cpus| now.cpus != Some(*cpus)) {
        change["cpu"] = cpu(domain.cpu.as_ref(), cpus)?;
    }
    if let Some(bytes) = size.memory_bytes.filter(|bytes| now.memory_bytes != Some(*bytes)) {
        let (place, value) = memory(domain, bytes);
        change[place] = value;
    }
    Ok(change)
}

/// Sockets where they come out even, which is what clusters change while a guest runs; else cores.
fn cpu(now: Option<&Cpu>, wanted: u32) -> Result<Value> {
    let [sockets, cores, threads] = topology(now);
    let even = |by: Option<u32>| by.filter(|by| wanted.is_multiple_of(*by)).map(|by| wanted / by);
    if let Some(sockets) = even(cores.checked_mul(threads)) {
        return Ok(json!({ "sockets": sockets }));
    }
    if let Some(cores) = even(sockets.checked_mul(threads)) {
        return Ok(json!({ "cores": cores }));
    }
    match even(Some(threads)) {
        Some(cores) => Ok(json!({ "sockets": 1, "cores": cores })),
        None => Err(Error::usage(format!(
            "its cores have {threads} threads each, which {wanted} processors do not fill"
        ))),
    }
}

/// The guest's memory, where the template says it: by itself, or as what its pod is limited to or
/// asks for.
fn memory(domain: &Domain, bytes: u64) -> (&'static str, Value) {
    let wanted = Value::from(format_bytes(bytes));
    let has_guest = domain.memory.as_ref().is_some_and(|memory| memory.guest.is_some());
    let [limit, request] = [&domain.resources.limits, &domain.resources.requests]
        .map(|all| all.get("memory").and_then(quantity_of));
    if has_guest || (limit.is_none() && request.is_none()) {
        return ("memory", json!({ "guest": wanted }));
    }
    let mut change = json!({});
    if limit.is_some() {
        change["limits"] = json!({ "memory": wanted });
    }
    // No pod may ask for more than it is limited to.
    if request.is_some_and(|request| limit.is_none() || request > bytes) {
        change["requests"] = json!({ "memory": wanted });
    }
    ("resources", change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(domain: &str, cpus: Option<u32>, memory_bytes: Option<u64>) -> Result<Value> {
        let text = format!(r#"{{"spec":{{"template":{{"spec":{{"domain":{domain}}}}}}}}}"#);
        change(&serde_json::from_str(&text).unwrap(), Size { cpus, memory_bytes })
    }

    #[test]
    fn processors_come_as_sockets_then_as_cores() {
        let cases = [
            ("{}", 4, json!({ "sockets": 4 })),
            (r#"{"cpu":{"cores":2}}"#, 8, json!({ "sockets": 4 })),
            (r#"{"cpu":{"cores":2}}"#, 3, json!({ "cores": 3 })),
            (
                r#"{"cpu":{"cores":2,"sockets":2,"threads":2}}"#,
                6,
                json!({ "sockets": 1, "cores": 3 }),
            ),
        ];
        for (domain, cpus, wanted) in cases {
            let change = changed(domain, Some(cpus), None).unwrap();
            assert_eq!(change, json!({ "cpu": wanted }), "{domain}");
        }
        let odd = changed(r#"{"cpu":{"cores":1,"threads":2}}"#, Some(3), None).unwrap_err();
        assert_eq!(odd.kind().exit_status(), 2);
        let same = changed(r#"{"cpu":{"cores":2,"sockets":2}}"#, Some(4), None).unwrap();
        assert_eq!(same, json!({}));
    }

    #[test]
    fn memory_is_changed_where_it_is_said() {
        let cases = [
            (r#"{"memory":{"guest":"1Gi"}}"#, json!({ "memory": { "guest": "2Gi" } })),
            ("{}", json!({ "memory": { "guest": "2Gi" } })),
            (
                r#"{"resources":{"requests":{"memory":"64M"}}}"#,
                json!({ "resources": { "requests": { "memory": "2Gi" } } }),
            ),
            (
                r#"{"resources":{"limits":{"memory":"4Gi"},"requests":{"memory":"3Gi"}}}"#,
                json!({ "resources": {
                    "limits": { "memory": "2Gi" }, "requests": { "memory": "2Gi" } } }),
            ),
            (
                r#"{"resources":{"limits":{"memory":"4Gi"},"requests":{"memory":"1Gi"}}}"#,
                json!({ "resources": { "limits": { "memory": "2Gi" } } }),
            ),
        ];
        for (domain, wanted) in cases {
            assert_eq!(changed(domain, None, Some(2 << 30)).unwrap(), wanted, "{domain}");
        }
    }
}
