//! Filling the disk of a new machine from here: its volume waits for bytes, a token is asked for, and
//! CDI's upload proxy takes them. Until all are there the machine is not whole, and says so in an
//! annotation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Kubevirt;
use super::client::Place;
use super::create::{CDI, kind, reason, text};
use super::discovery::KUBEVIRT;
use super::inventory::{MACHINES, optional};
use super::power::look;
use super::record::{id, parts};
use super::upload_proxy::Proxy;
use super::vmexport::remove;
use crate::cancel::{Cancel, Leftover};
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::net::{Request, secret_word};
use crate::provider::facets::create::Upload;
use crate::provider::facets::export::Ledger;
use crate::vm::VmId;

/// The word for machines that are being filled in the journal.
pub(super) const UPLOAD: &str = "upload";

/// The annotation of a machine or a template that is not whole yet; its value is the run's own.
pub(super) const UNFINISHED: &str = "hyper/unfinished";

/// How long a volume may take until it waits for bytes.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often an image is sent where the connection breaks.
const TRIES: u32 = 3;

/// Most bytes of an answer that are told.
const WORDS: usize = 4096;

/// A machine whose disk is filled.
pub(super) struct Filling<'f> {
    kubevirt: &'f Kubevirt,
    upload: &'f Upload<'f>,
    namespace: String,
    name: String,
    volume: String,
    mark: String,
    proxy: Proxy,
    ledger: Arc<dyn Ledger>,
    cancel: &'f Cancel,
    leftover: Option<Leftover>,
}

impl<'f> Filling<'f> {
    /// The machine among `objects`. Nothing is made yet.
    ///
    /// # Errors
    /// `Unsupported` where nobody is known to take images; `Config` for authorities that are none.
    pub(super) async fn new(
        kubevirt: &'f Kubevirt,
        upload: &'f Upload<'f>,
        objects: &[Value],
        cancel: &'f Cancel,
    ) -> Result<Self> {
        let none = || Error::new(ErrorKind::Internal, "no machine waits for an image");
        let machine = objects.iter().find(|it| kind(it) == "VirtualMachine").ok_or_else(none)?;
        let volume = volumes(machine).next().ok_or_else(none)?.to_owned();
        let (namespace, name) =
            (text(machine, "/metadata/namespace"), text(machine, "/metadata/name"));
        let volumes = kubevirt.volumes(namespace).await?;
        if kubevirt.exists(volumes.resource, volumes.namespace, &volume).await? {
            let taken = Error::conflict(format!("the DataVolume {volume} is there already"));
            return Err(match kubevirt.unfilled(&id(namespace, name)).await? {
                Some((_, Some(_))) => half_made(taken, "the machine"),
                Some((_, None)) => taken.with_hint("it is that of a machine of this name"),
                None => taken.with_hint("`kubectl delete dv` removes it"),
            });
        }
        let proxy = cancel.unless_cancelled(Proxy::find(kubevirt, upload.proxy)).await?;
        Ok(Self {
            kubevirt,
            upload,
            volume,
            mark: secret_word(16)?,
            proxy,
            ledger: (upload.ledger)(&id(namespace, name)),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            cancel,
            leftover: None,
        })
    }

    /// Notes what is about to be made.
    ///
    /// # Errors
    /// Those of the journal.
    pub(super) fn note(&mut self) -> Result<()> {
        self.ledger.making(UPLOAD, &self.mark)?;
        let words = format!("the VirtualMachine {} in {}", self.name, self.namespace);
        self.leftover = Some(self.cancel.leftover(words));
        Ok(())
    }

    /// What there is to say about the way that the image took.
    pub(super) fn remark(&self) -> Option<&str> {
        self.proxy.note.as_deref()
    }

    /// Says in a machine that it is not whole, and keeps it from running.
    pub(super) fn mark(&self, machine: &mut Value) {
        machine["metadata"]["annotations"][UNFINISHED] = self.mark.as_str().into();
    }

    /// Fills the disk; the machine is whole then, and is switched on with `start`.
    ///
    /// # Errors
    /// Those of the image, of the proxy and of the server; what the volume came to nothing for;
    /// `Interrupted`, `TimedOut`. [`Filling::undo`] is to be called then.
    pub(super) async fn fill(&self, start: bool, cancel: &Cancel) -> Result<()> {
        self.is_awaited(cancel).await?;
        self.send(cancel).await?;
        self.is_filled(cancel).await?;
        let mut patch = json!({ "metadata": { "annotations": { UNFINISHED: null } } });
        if start {
            patch["spec"] = json!({ "runStrategy": "Always" });
        }
        let place = self.kubevirt.machines(&self.namespace).await?;
        self.kubevirt.client().merge::<Value>(place, &self.name, &patch, false).await?;
        self.ledger.removed(UPLOAD, &self.mark)
    }

    /// Removes what there is of the machine; the error that it failed with.
    pub(super) async fn undo(&self, error: Error) -> Error {
        let vm = id(&self.namespace, &self.name);
        match self.kubevirt.remove_unfilled(&vm, &self.mark).await {
            // It may be gone already, with its volume to follow.
            Ok(_) => {
                match self.kubevirt.remove_volume(&self.namespace, &self.name, &self.volume).await {
                    Ok(()) => self.forget(error),
                    Err(left) => self.stays(error, &left),
                }
            }
            Err(left) => self.stays(error, &left),
        }
    }

    /// Nothing was made; the error that says why.
    pub(super) async fn refused(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Conflict {
            // A server that broke off may have made it all the same.
            return self.undo(error).await;
        }
        let there = self.kubevirt.unfilled(&id(&self.namespace, &self.name)).await;
        let error = self.forget(error);
        match there {
            Ok(Some((_, Some(_)))) => half_made(error, "the machine"),
            _ => error,
        }
    }

    fn forget(&self, error: Error) -> Error {
        match self.ledger.removed(UPLOAD, &self.mark) {
            Ok(()) => error,
            Err(journal) => error.with_hint(one_line(&journal)),
        }
    }

    fn stays(&self, error: Error, left: &Error) -> Error {
        error
            .with_hint(format!("the machine could not be removed again: {}", one_line(left)))
            .with_hint("`hyper history runs clean` removes it later")
    }

    /// The volume as it is now; the error that it has come to.
    async fn look(&self) -> Result<Option<Value>> {
        let place = self.kubevirt.volumes(&self.namespace).await?;
        let found = optional(self.kubevirt.client().get::<Value>(place, &self.volume).await)?;
        match found {
            Some(volume) if text(&volume, "/status/phase") == "Failed" => {
                Err(Error::new(ErrorKind::Protocol, format!("it failed: {}", reason(&volume)))
                    .with_subject(format!("the DataVolume {}", self.volume)))
            }
            found => Ok(found),
        }
    }

    /// Waits until the volume waits for bytes.
    async fn is_awaited(&self, cancel: &Cancel) -> Result<()> {
        let began = Instant::now();
        look(cancel, || async {
            let found = self.look().await?;
            let phase = found.as_ref().map_or("", |it| text(it, "/status/phase"));
            if phase == "UploadReady" {
                return Ok(Some(()));
            }
            if began.elapsed() < PATIENCE {
                return Ok(None);
            }
            let words = format!("it takes no bytes after {} s ({phase})", PATIENCE.as_secs());
            Err(Error::new(ErrorKind::Unavailable, words)
                .with_subject(format!("the DataVolume {}", self.volume))
                .with_hint("`kubectl describe dv,pvc` and the events of its pod tell more"))
        })
        .await
    }

    /// Waits until the volume is filled.
    async fn is_filled(&self, cancel: &Cancel) -> Result<()> {
        look(cancel, || async {
            let found = self.look().await?.ok_or_else(|| {
                Error::conflict("it was deleted")
                    .with_subject(format!("the DataVolume {}", self.volume))
            })?;
            Ok((text(&found, "/status/phase") == "Succeeded").then_some(()))
        })
        .await
    }

    /// Sends the image, anew where the connection breaks.
    async fn send(&self, cancel: &Cancel) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match cancel.unless_cancelled(self.send_once()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let Some(wait) = error.retry_after().filter(|_| tries < TRIES) else {
                return Err(error.context("send the image"));
            };
            tracing::warn!("{}; the image is sent again", one_line(&error));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => cancel.check()?,
            }
        }
    }

    async fn send_once(&self) -> Result<()> {
        let bearer = format!("Bearer {}", self.token().await?);
        let url = self.proxy.path(&bearer).await?;
        let image = self.upload.content.read()?;
        let request = Request::post(url, "").header("authorization", &bearer);
        let request = request.header("content-type", "application/octet-stream");
        let answer = self.proxy.upload(request, image).await?;
        match answer.status() {
            200..=299 => Ok(()),
            400..=499 if !matches!(answer.status(), 401 | 403 | 408 | 429) => {
                let place = answer.place().to_owned();
                let body = answer.bytes(WORDS).await.unwrap_or_default();
                let said = String::from_utf8_lossy(&body);
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(Error::new(ErrorKind::Protocol, format!("the upload proxy refuses it: {said}"))
                    .with_subject(place))
            }
            _ => answer.expect(&[]).map(drop),
        }
    }

    /// What lets bytes in; it is good for some minutes.
    async fn token(&self) -> Result<String> {
        let resource = "uploadtokenrequests";
        let resource = self.kubevirt.client().resource("upload.cdi.kubevirt.io", resource).await?;
        let request = json!({
            "apiVersion": resource.api_version(),
            "kind": "UploadTokenRequest",
            "metadata": { "name": self.volume, "namespace": self.namespace },
            "spec": { "pvcName": self.volume },
        });
        let place = Place { resource, namespace: Some(&self.namespace) };
        let made: Value = self.kubevirt.client().create(place, &request, false).await?;
        match text(&made, "/status/token") {
            "" => Err(Error::new(ErrorKind::Protocol, "the server gives no upload token")),
            token => Ok(token.to_owned()),
        }
    }
}

impl Kubevirt {
    pub(super) async fn machines<'n>(&self, namespace: &'n str) -> Result<Place<'n>> {
        let resource = self.client().resource(KUBEVIRT, MACHINES).await?;
        Ok(Place { resource, namespace: Some(namespace) })
    }

    pub(super) async fn volumes<'n>(&self, namespace: &'n str) -> Result<Place<'n>> {
        let resource = self.client().resource(CDI, "datavolumes").await?;
        Ok(Place { resource, namespace: Some(namespace) })
    }

    /// A machine, and the mark of the run that has not filled it yet.
    async fn unfilled(&self, vm: &VmId) -> Result<Option<(Value, Option<String>)>> {
        let (namespace, name) = parts(vm);
        let place = self.machines(namespace).await?;
        let found = optional(self.client().get::<Value>(place, name).await)?;
        Ok(found.map(|machine| {
            let mark = machine["metadata"]["annotations"][UNFINISHED].as_str().map(str::to_owned);
            (machine, mark)
        }))
    }

    /// Whether a machine that a run with this mark did not fill is there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn has_unfilled(&self, vm: &VmId, mark: &str) -> Result<bool> {
        Ok(self.unfilled(vm).await?.is_some_and(|(_, own)| own.as_deref() == Some(mark)))
    }

    /// Removes a machine that a run with this mark did not fill, and its volumes; whether it was
    /// there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn remove_unfilled(&self, vm: &VmId, mark: &str) -> Result<bool> {
        let (namespace, name) = parts(vm);
        let machine = match self.unfilled(vm).await? {
            Some((machine, Some(own))) if own == mark => machine,
            _ => return Ok(false),
        };
        remove(self.client(), self.machines(namespace).await?, name).await?;
        for volume in templates(&machine) {
            self.remove_volume(namespace, name, volume).await?;
        }
        Ok(true)
    }

    /// Removes a volume of a machine, if it is that machine's.
    async fn remove_volume(&self, namespace: &str, machine: &str, name: &str) -> Result<()> {
        let place = self.volumes(namespace).await?;
        let found = optional(self.client().get::<Value>(place, name).await)?.unwrap_or_default();
        let owners = found.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let own = |it: &Value| kind(it) == "VirtualMachine" && it["name"] == machine;
        match owners.is_some_and(|all| all.iter().any(own)) {
            true => remove(self.client(), place, name).await.map(drop),
            false => Ok(()),
        }
    }
}

/// What is told of something that stands in the way and is not whole.
pub(super) fn half_made(error: Error, what: &str) -> Error {
    error
        .with_hint(format!("{what} was never filled: another run is at it, or was killed"))
        .with_hint("`hyper history runs clean` removes what killed runs left")
}

/// The volumes of a machine that wait for bytes.
fn volumes(machine: &Value) -> impl Iterator<Item = &str> {
    let all = machine.pointer("/spec/dataVolumeTemplates").and_then(Value::as_array);
    let own = all.into_iter().flatten().filter(|it| it["spec"]["source"].get("upload").is_some());
    own.map(|it| text(it, "/metadata/name"))
}

/// The volumes that a machine has templates for.
pub(super) fn templates(machine: &Value) -> impl Iterator<Item = &str> {
    let all = machine.pointer("/spec/dataVolumeTemplates").and_then(Value::as_array);
    all.into_iter().flatten().map(|it| text(it, "/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_that_wait_for_bytes_are_filled() {
        let machine = json!({ "spec": { "dataVolumeTemplates": [
            { "metadata": { "name": "a" }, "spec": { "source": { "blank": {} } } },
            { "metadata": { "name": "b" }, "spec": { "source": { "upload": {} } } },
        ] } });
        assert_eq!(volumes(&machine).collect::<Vec<_>>(), ["b"]);
    }
}
