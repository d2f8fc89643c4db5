//! Clones in another namespace, which the clone API does not make. The source's volumes are exported
//! (export.kubevirt.io), and CDI imports them over there from the export's own server. All names
//! derive from the clone's, so that a run after one that was killed finds what there is.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Kubevirt;
use super::client::Place;
use super::cloning::MARK;
use super::create::{CDI, reason, text};
use super::describe::{BIND_NOW, checked_name};
use super::discovery::{KUBEVIRT, Resource};
use super::inventory::{instance, missing, optional};
use super::moment;
use super::opening::runs;
use super::power::look;
use super::record::{id, parts};
use super::session::EXPORT;
use super::snapshots::GROUP;
use super::transplant::{Moved, Transplant, transplant};
use super::upload::{UNFINISHED, templates};
use super::vmexport::{Exports, Link, Subject, remove};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ResultExt, one_line};
use crate::net::secret_word;
use crate::provider::facets::cloning::{CloneJob, Ledgers, NewClone, Planned, Step, mark};
use crate::provider::facets::export::Ledger;
use crate::vm::{VmId, format_bytes};

/// The word for clones in other namespaces in the journal.
pub(super) const CROSSING: &str = "half-made clone";

/// What leads imports to the export, in the clone's namespace.
const LEADS: [&str; 2] = ["configmaps", "secrets"];

/// Hours that an export lives at the least, and bytes for which it lives an hour more.
const HOURS: (u64, u64) = (2, 32 << 30);

/// Letters of a token.
const TOKEN: usize = 32;

/// The header in which the export's server wants the token.
const HEADER: &str = "x-kubevirt-export-token";

/// A clone in another namespace.
#[derive(Debug)]
pub(super) struct Crossing {
    kubevirt: Kubevirt,
    exports: Exports,
    subject: Subject,
    source: VmId,
    namespace: String,
    name: String,
    mark: String,
    made: Transplant,
    /// How each volume is kept, as a `DataVolume` has it, and how large it is.
    rooms: Vec<(Value, u64)>,
}

/// How far a clone is.
enum State {
    /// Nothing is there.
    Nothing,
    /// It was begun.
    Begun(Value),
}

impl Kubevirt {
    /// Removes what tells a namespace whom to believe and what to show; whether any of it was there.
    async fn remove_leads(&self, namespace: &str, helper: &str) -> Result<bool> {
        let mut there = false;
        for plural in LEADS {
            let place = Place { resource: Resource::core(plural), namespace: Some(namespace) };
            there |= remove(self.client(), place, helper).await?;
        }
        Ok(there)
    }

    /// Removes what a killed run left of a clone where it was to be; whether any of it was there.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn remove_crossing(
        &self,
        vm: &VmId,
        helper: &str,
        dry_run: bool,
    ) -> Result<bool> {
        let (namespace, _) = parts(vm);
        if !dry_run {
            let machine = self.remove_unfilled(vm, helper).await?;
            return Ok(self.remove_leads(namespace, helper).await? || machine);
        }
        for plural in LEADS {
            if self.exists(Resource::core(plural), Some(namespace), helper).await? {
                return Ok(true);
            }
        }
        self.has_unfilled(vm, helper).await
    }

    /// Looks at what is to be cloned into another namespace.
    ///
    /// # Errors
    /// Those of [`crate::provider::Cloning::plan`].
    pub(super) async fn plan_crossing(
        &self,
        wanted: &NewClone,
        source: &str,
        (namespace, name): (&str, &str),
        snapshot: Option<&str>,
    ) -> Result<Planned> {
        checked_name(name, "a machine")?;
        checked_name(namespace, "a namespace")?;
        self.check_namespace(namespace).await?;
        let mark = mark(source, &wanted.name);
        let there =
            optional(self.client().get::<Value>(self.machines(namespace).await?, name).await)?;
        if let Some(there) = &there {
            let annotations = &there["metadata"]["annotations"];
            if annotations[MARK] != mark.as_str() {
                return Err(Error::conflict("the name is taken")
                    .with_hint("by a machine that was not made of this source"));
            }
            if annotations.get(UNFINISHED).is_none() {
                return Ok(Planned::There(id(namespace, name)));
            }
        }
        let (from, _) = parts(&wanted.source);
        let (subject, made, rooms) = self.take(wanted, (namespace, name), snapshot).await?;
        for need in &made.needs {
            let resource = need.place(self.client()).await?;
            if !self.exists(resource, Some(namespace), &need.name).await? {
                return Err(need.missing(namespace));
            }
        }
        if !made.volumes.is_empty() {
            self.client().resource(CDI, "datavolumes").await?;
        }
        Ok(Planned::Ready(Box::new(Crossing {
            exports: Exports::of(self.client(), from).await?,
            kubevirt: self.clone(),
            subject,
            source: wanted.source.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            mark,
            made,
            rooms,
        })))
    }

    /// What is exported, what it becomes, and how its volumes are kept.
    async fn take(
        &self,
        wanted: &NewClone,
        to: (&str, &str),
        snapshot: Option<&str>,
    ) -> Result<(Subject, Transplant, Vec<(Value, u64)>)> {
        let (from, machine) = parts(&wanted.source);
        let (subject, object, content) = match snapshot {
            Some(snapshot) => {
                let (_, content) = moment::find(self, &wanted.source, snapshot).await?;
                let object = content.machine().cloned().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Protocol,
                        "the snapshot does not say what machine it is of",
                    )
                })?;
                let name = snapshot.to_owned();
                let subject = Subject { group: GROUP, kind: "VirtualMachineSnapshot", name };
                (subject, object, Some(content))
            }
            None => {
                let place = self.machines(from).await?;
                let object = self.client().get::<Value>(place, machine).await;
                let object = object.map_err(|error| missing(error, from, machine))?;
                if instance(self, from, machine).await?.is_some_and(|it| runs(&it)) {
                    return Err(Error::conflict("the machine runs")
                        .with_hint("--snapshot NAME clones it as it was at a snapshot")
                        .with_hint("or stop it: `hyper vm stop`"));
                }
                let name = machine.to_owned();
                (Subject { group: KUBEVIRT, kind: "VirtualMachine", name }, object, None)
            }
        };
        let mut object = object;
        object["metadata"]["name"] = machine.into();
        let made = transplant(&object, from, to)?;
        let mut rooms = Vec::new();
        for volume in &made.volumes {
            let size = content.as_ref().map_or(0, |content| content.size(&volume.claim));
            rooms.push(self.room(from, volume, size).await?);
        }
        Ok((subject, made, rooms))
    }

    /// How a volume is kept; `known` bytes of it, where a snapshot says.
    async fn room(&self, from: &str, volume: &Moved, known: u64) -> Result<(Value, u64)> {
        let resource = Resource::core("persistentvolumeclaims");
        let place = Place { resource, namespace: Some(from) };
        let claim = optional(self.client().get::<Value>(place, &volume.claim).await)?;
        let claim = claim.unwrap_or_default();
        let asked = claim.pointer("/spec/resources/requests/storage");
        let bytes = match known {
            0 => asked.and_then(super::record::quantity_of).unwrap_or(0),
            known => known,
        };
        if bytes == 0 {
            return Err(Error::not_found("it is not known how large it is")
                .with_subject(format!("the claim {}", volume.claim)));
        }
        let mut storage =
            json!({ "resources": { "requests": { "storage": format_bytes(bytes) } } });
        for field in ["storageClassName", "accessModes", "volumeMode"] {
            if let Some(value) = claim["spec"].get(field) {
                storage[field] = value.clone();
            }
        }
        Ok((storage, bytes))
    }
}

#[async_trait]
impl CloneJob for Crossing {
    fn remarks(&self) -> Vec<String> {
        self.made.remarks.clone()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        ledgers: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let words = format!("the VirtualMachine {} in {}", self.name, self.namespace);
        let left = cancel.leftover(words);
        let notes = self.notes(ledgers);
        for (ledger, what) in &notes {
            ledger.making(what, &self.helper())?;
        }
        let made = self.begin_and_follow(tell, cancel).await;
        let mut ended = match &made {
            Ok(()) => self.dismiss().await,
            Err(_) => self.call_off().await,
        };
        drop(left);
        for (ledger, what) in &notes {
            ended = ended.and_then(|()| ledger.removed(what, &self.helper()));
        }
        match (made, ended) {
            (Ok(()), ended) => ended?,
            (Err(error), Ok(())) => return Err(error),
            (Err(error), Err(left)) => {
                return Err(
                    error.with_hint(format!("not all of it is removed: {}", one_line(&left)))
                );
            }
        }
        Ok(id(&self.namespace, &self.name))
    }
}

impl Crossing {
    /// What the objects are called that are only there for the time.
    fn helper(&self) -> String {
        let place = format!("{} {}", self.namespace, self.mark);
        format!("hyper-clone-{}", &blake3::hash(place.as_bytes()).to_hex()[..12])
    }

    /// What a killed run would leave, and where that is noted: the export is with the source, all
    /// else with the clone.
    fn notes(&self, ledgers: Ledgers<'_>) -> [(Arc<dyn Ledger>, &'static str); 2] {
        [(ledgers(&self.source), EXPORT), (ledgers(&id(&self.namespace, &self.name)), CROSSING)]
    }

    fn here(&self, plural: &'static str) -> Place<'_> {
        Place { resource: Resource::core(plural), namespace: Some(&self.namespace) }
    }

    async fn begin_and_follow(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<()> {
        match self.state().await? {
            State::Begun(machine) if self.goes_on(&machine).await? => {}
            State::Begun(_) => {
                // The one that it was copied from is gone.
                self.call_off().await?;
                self.begin(tell, cancel).await?;
            }
            State::Nothing => self.begin(tell, cancel).await?,
        }
        self.follow(tell, cancel).await?;
        let patch = json!({ "metadata": { "annotations": { UNFINISHED: null } } });
        let place = self.kubevirt.machines(&self.namespace).await?;
        self.kubevirt.client().merge::<Value>(place, &self.name, &patch, false).await.map(drop)
    }

    async fn state(&self) -> Result<State> {
        let place = self.kubevirt.machines(&self.namespace).await?;
        let found = optional(self.kubevirt.client().get::<Value>(place, &self.name).await)?;
        Ok(found.map_or(State::Nothing, State::Begun))
    }

    /// Whether what was begun comes to an end by itself.
    async fn goes_on(&self, machine: &Value) -> Result<bool> {
        let export = self.exports.find(&self.helper()).await?;
        if export.is_some_and(|export| !export.is_over()) {
            return Ok(true);
        }
        for volume in templates(machine) {
            if self.phase(volume).await?.0 != "Succeeded" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the export, what leads to it, and the machine.
    async fn begin(&self, tell: &(dyn Fn(Step) + Send + Sync), cancel: &Cancel) -> Result<()> {
        self.dismiss().await?;
        let mut templates = Vec::new();
        if !self.made.volumes.is_empty() {
            let (helper, token) = (self.helper(), secret_word(TOKEN)?);
            let bytes: u64 = self.rooms.iter().map(|(_, bytes)| bytes).sum();
            let hours = HOURS.0 + bytes / HOURS.1;
            tell(Step::Phase("Export".to_owned()));
            self.exports
                .make(&helper, &self.subject, hours, &token)
                .await
                .context(|| "export it")?;
            let ready = self.exports.ready(&helper, cancel).await.context(|| "export it")?;
            let link = ready.status.links.internal.clone().ok_or_else(|| {
                Error::new(ErrorKind::Protocol, "the export does not say how its server is reached")
            })?;
            self.lead(&helper, &link, &token).await?;
            for (volume, (storage, _)) in self.made.volumes.iter().zip(&self.rooms) {
                templates.push(template(volume, storage, &link, &helper)?);
            }
        }
        let mut machine = self.made.machine.clone();
        let place = self.kubevirt.machines(&self.namespace).await?;
        machine["apiVersion"] = place.resource.api_version().into();
        machine["metadata"]["annotations"][MARK] = self.mark.as_str().into();
        machine["metadata"]["annotations"][UNFINISHED] = self.helper().into();
        if !templates.is_empty() {
            machine["spec"]["dataVolumeTemplates"] = templates.into();
        }
        cancel.check()?;
        self.kubevirt.client().create::<Value>(place, &machine, false).await.map(drop)
    }

    /// Tells the other namespace whom to believe, and what to show.
    async fn lead(&self, helper: &str, link: &Link, token: &str) -> Result<()> {
        let about = json!({
            "name": helper,
            "namespace": self.namespace,
            "labels": { "app.kubernetes.io/managed-by": "hyper" },
        });
        let believed = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": about,
            "data": { "ca.pem": link.cert },
        });
        let shown = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque",
            "stringData": { "token": format!("{HEADER}:{token}") },
        });
        let client = self.kubevirt.client();
        client.create::<Value>(self.here("configmaps"), &believed, false).await?;
        client.create::<Value>(self.here("secrets"), &shown, false).await.map(drop)
    }

    /// The phase of a volume, its hundredths, and why it is not further.
    async fn phase(&self, volume: &str) -> Result<(String, u32, String)> {
        let place = self.kubevirt.volumes(&self.namespace).await?;
        let found = optional(self.kubevirt.client().get::<Value>(place, volume).await)?;
        let found = found.unwrap_or_default();
        let phase = text(&found, "/status/phase").to_owned();
        let told = text(&found, "/status/progress").trim_end_matches('%').parse::<f64>();
        let percent = if phase == "Succeeded" { 100.0 } else { told.unwrap_or(0.0) };
        Ok((phase, percent.clamp(0.0, 100.0) as u32, reason(&found)))
    }

    /// Waits until all volumes are filled.
    async fn follow(&self, tell: &(dyn Fn(Step) + Send + Sync), cancel: &Cancel) -> Result<()> {
        let said = Mutex::new(String::new());
        look(cancel, || async {
            let (mut done, mut sum, mut least) = (true, 0, String::new());
            for Moved { name, .. } in &self.made.volumes {
                let (phase, percent, why) = self.phase(name).await?;
                sum += percent;
                if phase == "Failed" {
                    return Err(Error::new(ErrorKind::Protocol, format!("it failed: {why}"))
                        .with_subject(format!("the DataVolume {name}")));
                }
                if phase != "Succeeded" {
                    done = false;
                    least = phase;
                }
            }
            {
                let mut last = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if !least.is_empty() && *last != least {
                    tell(Step::Phase(least.clone()));
                    last.clone_from(&least);
                }
            }
            if done {
                return Ok(Some(()));
            }
            let count = u32::try_from(self.made.volumes.len()).unwrap_or(1).max(1);
            tell(Step::Percent(u8::try_from(sum / count).unwrap_or(100)));
            match self.exports.find(&self.helper()).await? {
                Some(export) if !export.is_over() => Ok(None),
                _ => Err(Error::new(ErrorKind::Unavailable, "its export ended too early")),
            }
        })
        .await
    }

    /// Removes what was only there for the time.
    async fn dismiss(&self) -> Result<()> {
        self.kubevirt.remove_leads(&self.namespace, &self.helper()).await?;
        self.exports.remove(&self.helper()).await.map(drop)
    }

    /// Removes all that was made.
    async fn call_off(&self) -> Result<()> {
        let vm = id(&self.namespace, &self.name);
        let removed = self.kubevirt.remove_unfilled(&vm, &self.helper()).await.map(drop);
        let dismissed = self.dismiss().await;
        removed.and(dismissed)
    }
}

/// What makes a volume, as a machine has it.
fn template(volume: &Moved, storage: &Value, link: &Link, helper: &str) -> Result<Value> {
    let found = link.volume(&volume.claim, helper);
    let url = found.and_then(|it| it.url("gzip").or_else(|| it.url("raw"))).ok_or_else(|| {
        Error::unsupported("its volume is not exported as a disk")
            .with_subject(format!("the claim {}", volume.claim))
    })?;
    Ok(json!({
        // Nothing uses it before it is filled.
        "metadata": { "name": volume.name, "annotations": { BIND_NOW: "true" } },
        "spec": {
            "source": { "http": {
                "url": url,
                "certConfigMap": helper,
                "secretExtraHeaders": [helper],
            } },
            "storage": storage,
        },
    }))
}
