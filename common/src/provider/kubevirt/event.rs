//! The form of Kubernetes' events (core `v1` `Event`), as far as it is read, and the record of one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::NAME;
use super::record::id;
use super::wire::Meta;
use crate::provider::facets::events::{Severity, VmEvent};

/// How the names of the pods begin that machines run in.
const LAUNCHER: &str = "virt-launcher-";

/// How long the name of a pod may be before the server adds its five characters.
const LONGEST: usize = 58;

/// How many characters the server adds.
const ADDED: usize = 5;

/// An `Event`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoreEvent {
    pub metadata: Meta,
    pub involved_object: Involved,
    reason: String,
    message: String,
    #[serde(rename = "type")]
    kind: String,
    action: String,
    source: Option<Source>,
    reporting_component: String,
    reporting_instance: String,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    count: Option<u32>,
    series: Option<Series>,
}

/// What an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Involved {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Source {
    component: String,
    host: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Series {
    count: Option<u32>,
    last_observed_time: Option<Timestamp>,
}

/// `None` for what is empty.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl CoreEvent {
    /// When it happened last. An event without any time is as old as its object.
    pub fn time(&self) -> Timestamp {
        let series = self.series.as_ref().and_then(|it| it.last_observed_time);
        series
            .or(self.last_timestamp)
            .or(self.event_time)
            .or(self.first_timestamp)
            .or(self.metadata.creation_timestamp)
            .unwrap_or_default()
    }

    /// How often it happened.
    pub fn count(&self) -> u32 {
        let series = self.series.as_ref().and_then(|it| it.count);
        series.or(self.count).unwrap_or(1).max(1)
    }

    /// Where it stands in the server's history; 0 where that is no number.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }

    /// Whether it is about a machine, its instance or its pod.
    pub fn concerns_machines(&self) -> bool {
        match self.involved_object.kind.as_str() {
            "VirtualMachine" | "VirtualMachineInstance" => self.is_kubevirts(),
            "Pod" => self.involved_object.name.starts_with(LAUNCHER),
            _ => false,
        }
    }

    /// Whether it is about the machine of this name.
    pub fn concerns(&self, machine: &str) -> bool {
        let Involved { kind, name, .. } = &self.involved_object;
        match kind.as_str() {
            "VirtualMachine" | "VirtualMachineInstance" => self.is_kubevirts() && name == machine,
            "Pod" => {
                let whole = format!("{LAUNCHER}{machine}-");
                let base = whole.get(..LONGEST.min(whole.len())).unwrap_or(&whole);
                name.strip_prefix(base).is_some_and(is_added)
            }
            _ => false,
        }
    }

    fn is_kubevirts(&self) -> bool {
        let group = self.involved_object.api_version.as_str();
        group.is_empty() || group.starts_with("kubevirt.io/")
    }

    /// The machine that it is about; `None` for a pod whose name does not hold all of its.
    fn machine(&self) -> Option<&str> {
        let name = self.involved_object.name.as_str();
        if self.involved_object.kind != "Pod" {
            return Some(name);
        }
        let cut = name.len().checked_sub(ADDED).filter(|cut| *cut < LONGEST)?;
        name.get(..cut)?.strip_prefix(LAUNCHER)?.strip_suffix('-')
    }

    /// The record.
    pub fn record(&self, context: &str) -> VmEvent {
        let involved = &self.involved_object;
        let namespace = some(&involved.namespace).or_else(|| some(&self.metadata.namespace));
        let machine = self.machine();
        let vm_id = machine.zip(namespace.as_deref()).map(|(name, space)| id(space, name).0);
        let source = self.source.clone().unwrap_or_default();
        let more = [
            ("name", &self.metadata.name),
            ("api_version", &involved.api_version),
            ("field_path", &involved.field_path),
            ("action", &self.action),
            ("reporting_instance", &self.reporting_instance),
        ];
        let count = self.count();
        VmEvent {
            context: context.to_owned(),
            provider: NAME.to_owned(),
            event_id: self.metadata.uid.clone(),
            event_type: self.reason.clone(),
            severity: match self.kind.as_str() {
                "Normal" => Some(Severity::Info),
                "Warning" => Some(Severity::Warning),
                _ => None,
            },
            created_time: self.time(),
            first_time: self.first_timestamp.or(self.event_time).filter(|_| count > 1),
            count,
            message: self.message.trim().to_owned(),
            entity_name: some(&involved.name),
            entity_type: some(&involved.kind),
            entity_id: some(&involved.uid),
            vm: machine.map(str::to_owned),
            vm_id,
            namespace,
            datacenter: None,
            cluster: None,
            host: some(&source.host),
            user_name: None,
            source: some(&source.component).or_else(|| some(&self.reporting_component)),
            chain_id: None,
            metadata: more
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            late: false,
            gap: None,
        }
    }
}

/// Whether this is what a server adds to the name of a pod.
fn is_added(text: &str) -> bool {
    text.len() == ADDED
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: &str, name: &str) -> CoreEvent {
        let involved_object =
            Involved { kind: kind.into(), name: name.into(), ..Involved::default() };
        CoreEvent { involved_object, ..CoreEvent::default() }
    }

    #[test]
    fn a_pod_belongs_to_its_machine_alone() {
        let pod = about("Pod", "virt-launcher-web-01-x7k2p");
        assert!(pod.concerns("web-01") && !pod.concerns("web") && !pod.concerns("web-01-x7k2p"));
        assert_eq!(pod.machine(), Some("web-01"));
        let long = "a".repeat(60);
        let name = format!("virt-launcher-{}x7k2p", "a".repeat(44));
        let pod = about("Pod", &name);
        assert!(pod.concerns(&long) && !pod.concerns(&"a".repeat(40)));
        assert_eq!(pod.machine(), None, "no half of a name is one");
        assert!(!about("Pod", "web-01-x7k2p").concerns_machines());
    }

    #[test]
    fn another_groups_kind_of_the_same_name_is_no_machine() {
        let mut other = about("VirtualMachine", "web");
        assert!(other.concerns_machines());
        other.involved_object.api_version = "hypersdk.io/v1alpha1".into();
        assert!(!other.concerns_machines() && !other.concerns("web"));
    }
}
