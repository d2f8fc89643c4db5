//! What there is in a cluster, or in a namespace of it. What the cluster has no kind for, and what
//! these credentials may not see, stays unknown.

use futures::TryStreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Kubevirt;
use super::client::Place;
use super::create::CDI;
use super::discovery::{KUBEVIRT, Resource};
use super::snapshots::{GROUP as SNAPSHOT_GROUP, RESTORES, SNAPSHOTS};
use super::template::SOURCES;
use super::wire::{Condition, Meta};
use crate::error::{ErrorKind, Result};
use crate::provider::{Provider, Summary};
use crate::vm::VmFilter;

/// Backups of KubeVirt itself (from 1.8 on).
const BACKUP_GROUP: &str = "backup.kubevirt.io";
/// `VirtualMachineBackup`.
const BACKUPS: &str = "virtualmachinebackups";
/// The deployment of KubeVirt's operator, in the namespace of its `KubeVirt` object.
const OPERATOR: &str = "virt-operator";

/// A restore or a backup, as far as its end is concerned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Job {
    status: JobStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    complete: bool,
    conditions: Vec<Condition>,
}

impl Job {
    fn has(&self, kind: &str) -> bool {
        self.status.conditions.iter().any(|it| it.kind == kind && it.status == "True")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Installation {
    metadata: Meta,
    status: InstallationStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InstallationStatus {
    phase: String,
}

/// Counts everything, side by side.
///
/// # Errors
/// Those of listing machines; of the other kinds those of a server that fails.
pub async fn summary(kubevirt: &Kubevirt) -> Result<Summary> {
    let (mut summary, templates, snapshots, restores, backups, operator) = futures::try_join!(
        machines(kubevirt),
        count(kubevirt, CDI, SOURCES),
        count(kubevirt, SNAPSHOT_GROUP, SNAPSHOTS),
        jobs(kubevirt, SNAPSHOT_GROUP, RESTORES),
        jobs(kubevirt, BACKUP_GROUP, BACKUPS),
        operator(kubevirt),
    )?;
    let number = |jobs: &Option<Vec<Job>>, is: fn(&Job) -> bool| {
        let jobs = jobs.as_ref()?;
        u64::try_from(jobs.iter().filter(|job| is(job)).count()).ok()
    };
    let url = kubevirt.client().url().await?.trim_end_matches('/');
    summary.place = match kubevirt.listed() {
        Some(namespace) => format!("{url}/{namespace}"),
        None => url.to_owned(),
    };
    summary.templates = templates;
    summary.snapshots = snapshots;
    summary.restores = number(&restores, |_| true);
    summary.restores_completed = number(&restores, |job| job.status.complete);
    summary.backups = number(&backups, |_| true);
    summary.backups_completed = number(&backups, |job| job.has("Complete"));
    summary.backups_failed = number(&backups, |job| job.has("Failed"));
    (summary.operator_status, summary.operator_replicas) = operator;
    Ok(summary)
}

async fn machines(kubevirt: &Kubevirt) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut vms = kubevirt.list(VmFilter::default());
    while let Some(vm) = vms.try_next().await? {
        summary.count(&vm);
    }
    Ok(summary)
}

/// How many objects of a kind there are. The server says how many follow a page, as a rule.
async fn count(
    kubevirt: &Kubevirt,
    group: &'static str,
    plural: &'static str,
) -> Result<Option<u64>> {
    let Some(resource) = served(kubevirt, group, plural).await? else { return Ok(None) };
    let place = Place { resource, namespace: kubevirt.listed() };
    let client = kubevirt.client();
    let (mut total, mut next) = (0_u64, String::new());
    loop {
        let page = client.page::<serde::de::IgnoredAny>(place, "", &next).await;
        let Some(page) = visible(page)? else { return Ok(None) };
        total += u64::try_from(page.items.len()).unwrap_or(u64::MAX);
        match page.metadata.remaining_item_count {
            Some(remaining) => return Ok(Some(total.saturating_add(remaining))),
            None if page.metadata.next.is_empty() => return Ok(Some(total)),
            None => next = page.metadata.next,
        }
    }
}

async fn jobs(
    kubevirt: &Kubevirt,
    group: &'static str,
    plural: &'static str,
) -> Result<Option<Vec<Job>>> {
    let Some(resource) = served(kubevirt, group, plural).await? else { return Ok(None) };
    all(kubevirt, resource, kubevirt.listed()).await
}

/// All objects of a kind, where they may be seen.
async fn all<T: DeserializeOwned + Send + 'static>(
    kubevirt: &Kubevirt,
    resource: Resource,
    namespace: Option<&str>,
) -> Result<Option<Vec<T>>> {
    let found = kubevirt.client().list(resource, namespace, String::new());
    visible(found.try_collect().await)
}

/// How KubeVirt's operator is, and how many of its replicas are ready.
async fn operator(kubevirt: &Kubevirt) -> Result<(Option<String>, Option<u64>)> {
    let Some(resource) = served(kubevirt, KUBEVIRT, "kubevirts").await? else {
        return Ok((None, None));
    };
    let found = all::<Installation>(kubevirt, resource, None).await?.unwrap_or_default();
    let Some(installation) = found.into_iter().next() else { return Ok((None, None)) };
    let namespace = Some(installation.metadata.namespace.as_str());
    let deployments = Resource { group: "apps", version: "v1", plural: "deployments" };
    let place = Place { resource: deployments, namespace };
    let deployment = visible(kubevirt.client().get::<Value>(place, OPERATOR).await)?;
    let replicas = deployment.map(|it| {
        // A field that is zero is left out.
        it.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0)
    });
    Ok((Some(installation.status.phase).filter(|phase| !phase.is_empty()), replicas))
}

/// A kind in the version that is spoken; `None` where the cluster has no such group.
async fn served(
    kubevirt: &Kubevirt,
    group: &'static str,
    plural: &'static str,
) -> Result<Option<Resource>> {
    match kubevirt.client().resource(group, plural).await {
        Ok(resource) => Ok(Some(resource)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for what is not there or not for these eyes.
fn visible<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Auth) => {
            tracing::info!("left out: {}", crate::error::one_line(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
