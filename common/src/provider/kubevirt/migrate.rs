//! Moving machines from node to node (VirtualMachineInstanceMigration, kubevirt.io/v1). The cluster
//! is asked for each move by a dry run first: that shows what it would refuse, and whether its
//! release knows how to move a machine to a certain node.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kubevirt;
use super::client::Place;
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::{MACHINES, both, instance};
use super::power::{look, running};
use super::record::parts;
use super::wire::{Instance, Meta, MigrationState};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::migrate::{Destination, How, Migrate, Moved};
use crate::provider::facets::power::Power;
use crate::vm::VmId;

/// The label by which a node is chosen.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// `VirtualMachineInstanceMigration`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Migration {
    metadata: Meta,
    spec: MigrationSpec,
    status: MigrationStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MigrationSpec {
    added_node_selector: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MigrationStatus {
    phase: String,
    migration_state: Option<MigrationState>,
}

#[async_trait]
impl Migrate for Kubevirt {
    async fn migrate(&self, vm: &VmId, to: &Destination, cancel: &Cancel) -> Result<Moved> {
        if let Some(datastore) = &to.datastore {
            return Err(
                Error::unsupported("a cluster has no datastores").with_subject(datastore.clone())
            );
        }
        let instance = running(both(self, vm).await?.1)?;
        let wanted = match &to.node {
            Some(node) => Some(self.hostname(node).await?),
            None => None,
        };
        if let Some(node) =
            to.node.as_ref().filter(|node| instance.status.node_name.as_ref() == Some(*node))
        {
            return Ok(Moved { node: node.clone(), datastore: None, how: How::Already });
        }
        let how = match (blocked(&instance, wanted.as_deref()), &wanted) {
            (None, _) => {
                self.move_live(vm, wanted.as_deref(), cancel).await?;
                How::Moved
            }
            (Some(_), Some(hostname)) if to.allow_cold => {
                self.move_cold(vm, hostname, cancel).await?;
                How::Restarted
            }
            (Some(error), _) => {
                return Err(error.with_hint(
                    "--to-node NODE --allow-cold stops it and starts it there, where the node \
                     can have its volumes",
                ));
            }
        };
        self.arrived(vm, &instance, to.node.as_deref(), how).await
    }
}

/// What stands in the way of moving an instance while it runs.
fn blocked(instance: &Instance, hostname: Option<&str>) -> Option<Error> {
    let condition = instance.status.conditions.iter().find(|it| it.kind == "LiveMigratable");
    if let Some(no) = condition.filter(|it| it.status == "False") {
        let error = Error::conflict("it cannot move while it runs");
        return Some(error.with_source(no.words().to_owned()));
    }
    let pinned = instance.spec.node_selector.get(HOSTNAME);
    if let Some(pinned) = pinned.filter(|pinned| hostname != Some(pinned.as_str())) {
        let words = format!("its own nodeSelector keeps it on the node {pinned}");
        return Some(Error::conflict(words));
    }
    None
}

impl Kubevirt {
    /// What the node says that it is called. A node that may not be looked at is believed to be
    /// there, and called as most are.
    async fn hostname(&self, node: &str) -> Result<String> {
        let place = Place { resource: Resource::core("nodes"), namespace: None };
        let found = match self.client().get::<Value>(place, node).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Auth => return Ok(node.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::not_found(format!("there is no node {node:?}")));
            }
            Err(error) => return Err(error),
        };
        let name = found["metadata"]["labels"][HOSTNAME].as_str();
        Ok(name.unwrap_or(node).to_owned())
    }

    async fn move_live(&self, vm: &VmId, hostname: Option<&str>, cancel: &Cancel) -> Result<()> {
        let (namespace, name) = parts(vm);
        let resource = self.client().resource(KUBEVIRT, "virtualmachineinstancemigrations").await?;
        let place = Place { resource, namespace: Some(namespace) };
        let mut object = json!({
            "apiVersion": resource.api_version(),
            "kind": "VirtualMachineInstanceMigration",
            "metadata": { "generateName": format!("{name}-"), "namespace": namespace },
            "spec": { "vmiName": name },
        });
        if let Some(hostname) = hostname {
            object["spec"]["addedNodeSelector"] = json!({ HOSTNAME: hostname });
        }
        let tried: Migration = self.client().create(place, &object, true).await?;
        if hostname.is_some() && tried.spec.added_node_selector.is_none() {
            return Err(Error::unsupported(
                "this release of KubeVirt cannot move a machine to a certain node",
            )
            .with_hint("without --to-node the cluster chooses one"));
        }
        let made: Migration = self.client().create(place, &object, false).await?;
        let migration = made.metadata.name;
        let left = cancel.leftover(format!("the migration {migration} of {name}"));
        let ended = self.ended(place, &migration, cancel).await;
        if ended.is_err() && cancel.is_cancelled() {
            // Deleting it is how a migration is called off.
            self.client().delete(place, &migration, &json!({})).await?;
        }
        drop(left);
        ended
    }

    /// Waits until a migration has ended well.
    async fn ended(&self, place: Place<'_>, migration: &str, cancel: &Cancel) -> Result<()> {
        look(cancel, || async {
            let now: Migration = self.client().get(place, migration).await?;
            match now.status.phase.as_str() {
                "Succeeded" => Ok(Some(())),
                "Failed" => {
                    let reason = now.status.migration_state.and_then(|it| it.failure_reason);
                    let reason = reason.unwrap_or_else(|| "no reason is given".to_owned());
                    Err(Error::new(ErrorKind::Protocol, "the migration failed")
                        .with_subject(migration)
                        .with_source(reason))
                }
                _ => Ok(None),
            }
        })
        .await
    }

    /// Binds a machine to a node and starts it anew.
    async fn move_cold(&self, vm: &VmId, hostname: &str, cancel: &Cancel) -> Result<()> {
        let (namespace, name) = parts(vm);
        let resource = self.client().resource(KUBEVIRT, MACHINES).await?;
        let place = Place { resource, namespace: Some(namespace) };
        // Before the machine is stopped: what the cluster refuses changes nothing then.
        let selector = json!({ "nodeSelector": { HOSTNAME: hostname } });
        let patch = json!({ "spec": { "template": { "spec": selector } } });
        self.client().merge::<Value>(place, name, &patch, false).await?;
        self.restart(vm, false, cancel).await
    }

    /// Makes sure that a machine is where it was to go.
    async fn arrived(
        &self,
        vm: &VmId,
        before: &Instance,
        wanted: Option<&str>,
        how: How,
    ) -> Result<Moved> {
        let (namespace, name) = parts(vm);
        let now = instance(self, namespace, name).await?;
        let node = now.and_then(|now| now.status.node_name).unwrap_or_default();
        let there = match wanted {
            Some(wanted) => node == wanted,
            None => !node.is_empty() && Some(&node) != before.status.node_name.as_ref(),
        };
        if !there {
            let words = format!("it should have moved, and is on the node {node:?}");
            return Err(Error::conflict(words));
        }
        Ok(Moved { node, datastore: None, how })
    }
}
