//! `VirtualMachineExport` of KubeVirt: an object for which the cluster runs a server that sends
//! volumes to those who know its token. It lives for a time that counts from its creation.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Place};
use super::discovery::Resource;
use super::inventory::optional;
use super::power::look;
use super::wire::{Condition, Meta};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::net::retry;

/// How long the cluster may take until the server runs.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a machine that was just switched off may look as if it ran.
const LAG: Duration = Duration::from_secs(20);
/// How long something that is deleted may stay to be seen.
const GOING: Duration = Duration::from_secs(30);

/// A `VirtualMachineExport`, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct VmExport {
    pub metadata: Meta,
    pub status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    phase: String,
    conditions: Vec<Condition>,
    pub links: Links,
    pub service_name: String,
    pub ttl_expiration_time: Option<Timestamp>,
}

/// Where the server is: for those inside of the cluster, and for those outside.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Links {
    pub internal: Option<Link>,
    pub external: Option<Link>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    /// Whom to believe, in PEM form.
    pub cert: String,
    pub volumes: Vec<LinkedVolume>,
}

/// A volume and the forms in which it is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LinkedVolume {
    pub name: String,
    formats: Vec<Format>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Format {
    format: String,
    url: String,
}

impl Link {
    /// The volume of a claim. Older releases put the export's name before a snapshot's.
    pub(super) fn volume(&self, claim: &str, export: &str) -> Option<&LinkedVolume> {
        self.volumes.iter().find(|volume| volume.plain(export) == claim)
    }
}

impl LinkedVolume {
    /// Its claim's name, for the export of this name.
    pub(super) fn plain(&self, export: &str) -> &str {
        let rest = self.name.strip_prefix(export);
        rest.and_then(|rest| rest.strip_prefix('-')).unwrap_or(&self.name)
    }

    /// Where it is in the form `format`: `raw`, `gzip`.
    pub(super) fn url(&self, format: &str) -> Option<&str> {
        self.formats.iter().find(|it| it.format == format).map(|it| it.url.as_str())
    }
}

impl VmExport {
    /// Whether it ends or has ended.
    pub(super) fn is_over(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.status.phase == "Terminated"
    }

    /// Whether its server runs, `waited` after it was first looked at.
    fn is_ready(&self, waited: Duration) -> Result<bool> {
        let known = self.status.links.internal.is_some() || self.status.links.external.is_some();
        if self.status.phase == "Ready" && known {
            return Ok(true);
        }
        let why = self.status.conditions.iter().find(|it| it.kind == "Ready");
        let (reason, message) = why.map_or(("", ""), |it| (&it.reason, &it.message));
        if self.status.phase == "Skipped" {
            return Err(Error::unsupported(words("it has nothing to export", "", message)));
        }
        if reason == "InUse" && waited > LAG {
            return Err(Error::conflict(words("its volumes are in use", "", message))
                .with_hint("--temp-snapshot exports a machine that runs"));
        }
        if waited > PATIENCE {
            let text = format!("its export is not ready after {} s", PATIENCE.as_secs());
            return Err(Error::new(ErrorKind::Unavailable, words(&text, reason, message))
                .with_hint("`kubectl describe vmexport` and the events of its pod tell more"));
        }
        Ok(false)
    }
}

/// `text`, and what the cluster says of it.
fn words(text: &str, reason: &str, message: &str) -> String {
    let said = if message.is_empty() { reason } else { message };
    if said.is_empty() { text.to_owned() } else { format!("{text}: {said}") }
}

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub group: &'static str,
    pub kind: &'static str,
    pub name: String,
}

/// The exports of a namespace.
#[derive(Debug, Clone)]
pub(super) struct Exports {
    pub client: Client,
    pub namespace: String,
    resource: Resource,
}

impl Exports {
    /// Those of a namespace.
    ///
    /// # Errors
    /// `Unsupported` where the cluster has no exports; the server's.
    pub(super) async fn of(client: &Client, namespace: &str) -> Result<Self> {
        let resource = client.resource("export.kubevirt.io", "virtualmachineexports").await?;
        Ok(Self { client: client.clone(), namespace: namespace.to_owned(), resource })
    }

    fn place(&self) -> Place<'_> {
        Place { resource: self.resource, namespace: Some(&self.namespace) }
    }

    fn secrets(&self) -> Place<'_> {
        Place { resource: Resource::core("secrets"), namespace: Some(&self.namespace) }
    }

    /// Makes one that lives for `hours`, and the secret of the same name with its token, which
    /// goes with it. Where it fails neither may be there, or both.
    ///
    /// # Errors
    /// The server's; `Unsupported` where exports are switched off.
    pub(super) async fn make(
        &self,
        name: &str,
        subject: &Subject,
        hours: u64,
        token: &str,
    ) -> Result<()> {
        let about = json!({
            "name": name,
            "namespace": self.namespace,
            "labels": { "app.kubernetes.io/managed-by": "hyper" },
        });
        let export = json!({
            "apiVersion": self.resource.api_version(),
            "kind": "VirtualMachineExport",
            "metadata": about,
            "spec": {
                "tokenSecretRef": name,
                "ttlDuration": format!("{hours}h0m0s"),
                "source": { "apiGroup": subject.group, "kind": subject.kind, "name": subject.name },
            },
        });
        let made = self.client.create::<VmExport>(self.place(), &export, false).await;
        let made = made.map_err(|error| refused(error, "VMExport"))?;
        let mut about = about;
        about["ownerReferences"] = json!([{
            "apiVersion": self.resource.api_version(),
            "kind": "VirtualMachineExport",
            "name": name,
            "uid": made.metadata.uid,
        }]);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": about,
            "type": "Opaque",
            "stringData": { "token": token },
        });
        self.client.create::<Value>(self.secrets(), &secret, false).await.map(drop)
    }

    /// One that is there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn find(&self, name: &str) -> Result<Option<VmExport>> {
        optional(self.client.get(self.place(), name).await)
    }

    /// Waits until its server runs.
    ///
    /// # Errors
    /// `Conflict` where what is exported is in use; `Unsupported` where there is nothing to
    /// export; `Unavailable` where it takes too long or is gone; `Interrupted`.
    pub(super) async fn ready(&self, name: &str, cancel: &Cancel) -> Result<VmExport> {
        let began = Instant::now();
        look(cancel, || async {
            let export = self.find(name).await?.filter(|export| !export.is_over());
            let export = export.ok_or_else(|| {
                Error::new(ErrorKind::Unavailable, "its export was deleted")
                    .with_retry_after(Duration::ZERO)
            })?;
            Ok(export.is_ready(began.elapsed())?.then_some(export))
        })
        .await
    }

    /// Removes one with its secret, and waits until it is gone; whether it was there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn remove(&self, name: &str) -> Result<bool> {
        let there = remove(&self.client, self.place(), name).await?;
        match remove(&self.client, self.secrets(), name).await {
            Ok(secret) => Ok(there || secret),
            // It belongs to the export, and the cluster removes it with that.
            Err(error) if error.kind() == ErrorKind::Auth => Ok(there),
            Err(error) => Err(error),
        }
    }
}

/// Removes an object and waits until it is gone, though not for long: what is about to go will.
/// Whether it was there.
///
/// # Errors
/// The server's.
pub(super) async fn remove(client: &Client, place: Place<'_>, name: &str) -> Result<bool> {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    });
    let deleted = retry(|| client.delete(place, name, &options)).await;
    if optional(deleted)?.is_none() {
        return Ok(false);
    }
    // Nobody's wish to stop ends this: it is what stopping cleanly means.
    let began = Instant::now();
    look(&Cancel::new(), || async {
        let there = optional(client.get::<Value>(place, name).await)?;
        Ok((there.is_none() || began.elapsed() > GOING).then_some(()))
    })
    .await?;
    Ok(true)
}

/// What was asked for is refused: a switch of KubeVirt's that is off is told as such, and a wrong
/// request is no mistake of the person's.
pub(super) fn refused(error: Error, gate: &str) -> Error {
    if error.message().to_ascii_lowercase().contains("feature gate") {
        return Error::unsupported(error.message().to_owned())
            .with_hint(format!("it is switched on by the feature gate {gate} of KubeVirt"));
    }
    match error.kind() {
        ErrorKind::Usage => Error::new(ErrorKind::Protocol, error.message().to_owned()),
        // The machine's namespace is there: what is not is the kind of object.
        ErrorKind::NotFound => Error::unsupported(error.message().to_owned())
            .with_hint(format!("the cluster does not know what the feature gate {gate} is about")),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(text: &str) -> VmExport {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_export_is_ready_when_its_server_runs_and_says_why_it_never_will() {
        let ready = r#"{"status":{"phase":"Ready","links":{"internal":{"cert":"c","volumes":[
            {"name":"a","formats":[{"format":"gzip","url":"u"}]}]},"external":null}}}"#;
        let found = export(ready);
        assert!(found.is_ready(Duration::ZERO).unwrap() && !found.is_over());
        let link = found.status.links.internal.unwrap();
        assert_eq!((link.volumes[0].url("gzip"), link.volumes[0].url("raw")), (Some("u"), None));
        let none = r#"{"status":{"phase":"Ready","links":{}}}"#;
        assert!(!export(none).is_ready(Duration::ZERO).unwrap());
        let pending = |reason: &str, phase: &str| {
            export(&format!(
                r#"{{"status":{{"phase":"{phase}","conditions":[{{"type":"Ready",
                "status":"False","reason":"{reason}","message":"vm a is running"}}]}}}}"#
            ))
        };
        let used = pending("InUse", "Pending");
        assert!(!used.is_ready(Duration::from_secs(1)).unwrap());
        let error = used.is_ready(LAG * 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("vm a is running"));
        let error = pending("VMNoVolumes", "Skipped").is_ready(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = pending("PodPending", "Pending").is_ready(PATIENCE * 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_switch_that_is_off_is_no_mistake_of_the_persons() {
        let said = "admission webhook \"x\" denied the request: VMExport feature gate not enabled";
        let error = refused(Error::usage(said), "VMExport");
        assert_eq!((error.kind(), error.hints().len()), (ErrorKind::Unsupported, 1));
        assert_eq!(refused(Error::usage("spec.x"), "VMExport").kind(), ErrorKind::Protocol);
        assert_eq!(refused(Error::conflict("is there"), "VMExport").kind(), ErrorKind::Conflict);
        let gone = refused(Error::not_found("404 page not found"), "VMExport");
        assert_eq!(gone.kind(), ErrorKind::Unsupported);
    }
}
