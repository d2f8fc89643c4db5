//! Everything that a simulated KubeVirt consists of.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::authority::Authority;
use super::control::{Control, Next};
use super::crds::Release;
use super::disks::Disks;
use super::export::Exports;
use super::json::{hash, name, namespace, text, uid};
use super::kind::{Key, Kind};
use super::upload::Tokens;
use super::upstream::Fail;
use super::{
    clone, export, instance, machine, migration, restore, snapshot, source, space, volume,
};
use crate::guest::Guest;
use crate::rule::Rules;

/// A simulated KubeVirt.
pub struct Sim {
    /// Objects and how they are written.
    pub control: Control,
    /// The release.
    pub release: Release,
    /// How long each step takes.
    pub pace: Duration,
    /// What goes wrong.
    pub rules: Rules,
    /// What is on the claims.
    pub disks: Disks,
    /// Signs certificates.
    pub authority: Authority,
    /// Exports that are served.
    pub exports: Exports,
    /// Permissions to upload.
    pub tokens: Tokens,
    /// `HOST:PORT` of the listener for exports and uploads: what an ingress would be.
    pub ingress: String,
    /// Machines without a guest agent.
    pub agentless: HashSet<String>,
    /// Whether there is a metrics server.
    pub metrics: bool,
    /// The token that clients of an attached cluster use, and what stands for it there.
    pub swap: Option<(String, Option<String>)>,
    /// Machines that someone has stopped without changing how they are to run.
    pub halted: Mutex<HashSet<String>>,
    /// The guests by namespace and name.
    pub guests: Mutex<HashMap<(String, String), Arc<Guest>>>,
}

impl Sim {
    /// The guest of an instance.
    pub fn guest(&self, key: &Key) -> Arc<Guest> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (key.namespace.clone(), key.name.clone());
        guests.entry(id).or_insert_with(|| Arc::new(Guest::new(&key.name))).clone()
    }

    /// Removes the guest of an instance that is gone.
    pub fn remove_guest(&self, key: &Key) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.remove(&(key.namespace.clone(), key.name.clone()));
    }

    /// Whether a machine has an agent in its guest.
    pub fn has_agent(&self, name: &str) -> bool {
        !self.agentless.contains(name)
    }

    /// Whether someone has stopped a machine that would run by its strategy.
    pub fn is_halted(&self, uid: &str) -> bool {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).contains(uid)
    }

    /// Notes it, or forgets it.
    pub fn set_halted(&self, uid: &str, halted: bool) {
        let mut all = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        match halted {
            true => all.insert(uid.to_owned()),
            false => all.remove(uid),
        };
    }

    /// Writes an event about an object; without one the object is none the worse.
    pub async fn event(&self, object: &Value, reason: &str, message: &str) {
        let now = Timestamp::now();
        let number = now.as_nanosecond() as u64 ^ hash(message);
        let source = match text(object, "/kind") {
            "VirtualMachine" => "virtualmachine-controller",
            "VirtualMachineInstance" => "virt-handler",
            _ => "kubevirt-controller",
        };
        let at = super::json::now();
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": format!("{}.{number:016x}", name(object)),
                "namespace": namespace(object),
            },
            "involvedObject": {
                "apiVersion": object["apiVersion"],
                "kind": object["kind"],
                "name": name(object),
                "namespace": namespace(object),
                "uid": uid(object),
                "resourceVersion": object["metadata"]["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "type": if reason.starts_with("Failed") { "Warning" } else { "Normal" },
            "source": { "component": source },
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        });
        let path = format!("/api/v1/namespaces/{}/events", namespace(object));
        if let Err(fail) = self.control.api.call(Method::POST, &path, Some(&event)).await {
            tracing::debug!("no event: {fail}");
        }
    }

    /// Has the controller of its kind look at an object.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn reconcile(self: &Arc<Self>, key: &Key) -> Result<Next, Fail> {
        match key.kind {
            Kind::Machine => machine::reconcile(self, key).await,
            Kind::Instance => instance::reconcile(self, key).await,
            Kind::Migration => migration::reconcile(self, key).await,
            Kind::Volume => volume::reconcile(self, key).await,
            Kind::Snapshot => snapshot::reconcile(self, key).await,
            Kind::Content => snapshot::content(self, key).await,
            Kind::Restore => restore::reconcile(self, key).await,
            Kind::Clone => clone::reconcile(self, key).await,
            Kind::Export => export::reconcile(self, key).await,
            Kind::Source => source::reconcile(self, key).await,
            Kind::Claim => volume::claim(self, key).await,
            Kind::Namespace => space::reconcile(self, key).await,
        }
    }
}
