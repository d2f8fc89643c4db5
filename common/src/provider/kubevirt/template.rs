//! Templates of a cluster: DataSources with the size and the devices that their labels name, and
//! the instancetypes and preferences that there are.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::client::Place;
use super::create::{CDI, INSTANCETYPE, text};
use super::describe::DEFAULTS;
use super::discovery::Resource;
use super::inventory::optional;
use super::record::{id, quantity_of};
use super::wire::Meta;
use super::{Kubevirt, quantity, template_deploy, template_make, template_remove};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::{CloneJob, Planned};
use crate::provider::facets::templates::{
    Deployment, NewTemplate, Template, TemplateKind, Templates,
};

/// DataSources.
pub const SOURCES: &str = "datasources";

/// Volumes that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Annotations in which people and distributions say what something is.
const DESCRIPTIONS: [&str; 3] =
    ["instancetype.kubevirt.io/description", "description", "openshift.io/display-name"];

#[async_trait]
impl Templates for Kubevirt {
    async fn all_templates(&self, kinds: &[TemplateKind]) -> Result<Vec<Template>> {
        let mut all = Vec::new();
        for kind in TemplateKind::ALL.iter().filter(|kind| kinds.contains(kind)) {
            match kind {
                TemplateKind::DataSource => all.extend(sources(self).await?),
                kind => {
                    for resource in plurals(*kind).iter().copied() {
                        all.extend(shapes(self, *kind, resource).await?);
                    }
                }
            }
        }
        Ok(all)
    }

    async fn template(&self, reference: &str, kinds: &[TemplateKind]) -> Result<Template> {
        let wanted = reference.strip_prefix('@').unwrap_or(reference);
        let (namespace, name) = wanted.split_once('/').unwrap_or((&self.namespace, wanted));
        let mut found = Vec::new();
        for kind in TemplateKind::ALL.iter().filter(|kind| kinds.contains(kind)) {
            if *kind == TemplateKind::DataSource {
                let resource = self.client().resource(CDI, SOURCES).await?;
                let place = Place { resource, namespace: Some(namespace) };
                if let Some(it) = optional(self.client().get::<Value>(place, name).await)? {
                    found.push(source(self, it).await?);
                }
                continue;
            }
            for (plural, is_shared) in plurals(*kind).iter().copied() {
                // NAMESPACE/NAME means the namespace's own.
                if is_shared && wanted.contains('/') {
                    continue;
                }
                let resource = self.client().resource(INSTANCETYPE, plural).await?;
                let place = Place { resource, namespace: (!is_shared).then_some(namespace) };
                let there = optional(self.client().get::<Value>(place, name).await)?;
                found.extend(there.map(|it| shape(*kind, &it)));
            }
        }
        match found.len() {
            0 => Err(Error::not_found(format!("there is no template {name:?}"))
                .with_hint(format!("it was looked for in the namespace {namespace}"))
                .with_hint(
                    "another namespace: NAMESPACE/NAME; `hyper template list -A` shows all",
                )),
            1 => Ok(found.swap_remove(0)),
            several => {
                let error = Error::conflict(format!("{several} are called {name:?}"));
                let words = |it: &Template| match &it.namespace {
                    Some(_) => format!("{} {}", it.kind.name(), it.id),
                    None => format!("{} {} of the whole cluster", it.kind.name(), it.id),
                };
                Err(found.iter().fold(error, |error, it| error.with_hint(words(it))))
            }
        }
    }

    async fn plan_template(&self, wanted: &NewTemplate) -> Result<Box<dyn CloneJob>> {
        template_make::plan(self, wanted).await
    }

    async fn plan_deployment(&self, template: &Template, wanted: &Deployment) -> Result<Planned> {
        template_deploy::plan(self, template, wanted).await
    }

    async fn delete_template(&self, template: &Template, cancel: &Cancel) -> Result<()> {
        template_remove::delete(self, template, cancel).await
    }
}

/// The names in paths of a kind: the namespaces' own, and those that all of a cluster shares.
fn plurals(kind: TemplateKind) -> &'static [(&'static str, bool)] {
    match kind {
        TemplateKind::Instancetype => {
            &[("virtualmachineinstancetypes", false), ("virtualmachineclusterinstancetypes", true)]
        }
        TemplateKind::Preference => {
            &[("virtualmachinepreferences", false), ("virtualmachineclusterpreferences", true)]
        }
        TemplateKind::DataSource | TemplateKind::Machine | TemplateKind::LibraryItem => &[],
    }
}

/// The DataSources of the namespaces that are looked at.
async fn sources(kubevirt: &Kubevirt) -> Result<Vec<Template>> {
    let resource = kubevirt.client().resource(CDI, SOURCES).await?;
    let all = kubevirt.client().list::<Value>(resource, kubevirt.listed(), String::new());
    let records = all.map(|it| async { source(kubevirt, it?).await });
    records.buffered(AT_ONCE).try_collect().await
}

/// A DataSource as a template.
///
/// # Errors
/// Those of a server that fails.
pub async fn source(kubevirt: &Kubevirt, object: Value) -> Result<Template> {
    let mut template = plain(TemplateKind::DataSource, &object);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|it| text(it, "/type") == "Ready");
    template.ready = ready.and_then(|it| match text(it, "/status") {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    });
    if template.ready == Some(false) {
        template.reason = ready.map(|it| text(it, "/message").to_owned());
    }
    for (field, label) in DEFAULTS {
        let named = template.labels.get(label).cloned();
        match field {
            "instancetype" => template.instancetype = named,
            _ => template.preference = named,
        }
    }
    let own = text(&object, "/metadata/namespace");
    for (kind, word) in [("pvc", "claim"), ("snapshot", "snapshot")] {
        // What is resolved stands in the status; older releases of CDI have none there.
        let places = [format!("/status/source/{kind}"), format!("/spec/source/{kind}")];
        let Some(found) = places.iter().find_map(|place| object.pointer(place)) else { continue };
        let namespace = Some(text(found, "/namespace")).filter(|it| !it.is_empty()).unwrap_or(own);
        let name = text(found, "/name");
        template.source = Some(format!("{word} {namespace}/{name}"));
        template.size_bytes = size(kubevirt, kind, namespace, name).await?;
        break;
    }
    Ok(template)
}

/// How large a claim or a snapshot is; what may not be seen is not known.
async fn size(kubevirt: &Kubevirt, kind: &str, namespace: &str, name: &str) -> Result<Option<u64>> {
    let (resource, places) = match kind {
        "pvc" => (
            Ok(Resource::core("persistentvolumeclaims")),
            ["/status/capacity/storage", "/spec/resources/requests/storage"],
        ),
        _ => (
            kubevirt.client().resource("snapshot.storage.k8s.io", "volumesnapshots").await,
            ["/status/restoreSize", "/status/restoreSize"],
        ),
    };
    let found = match resource {
        Ok(resource) => {
            let place = Place { resource, namespace: Some(namespace) };
            kubevirt.client().get::<Value>(place, name).await
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(object) => {
            Ok(places.iter().find_map(|place| object.pointer(place)).and_then(quantity_of))
        }
        Err(error) if is_out_of_sight(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_out_of_sight(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Auth | ErrorKind::Unsupported)
}

/// The instancetypes or preferences of one place.
async fn shapes(
    kubevirt: &Kubevirt,
    kind: TemplateKind,
    (plural, is_shared): (&'static str, bool),
) -> Result<Vec<Template>> {
    let resource = kubevirt.client().resource(INSTANCETYPE, plural).await?;
    let namespace = if is_shared { None } else { kubevirt.listed() };
    let all = kubevirt.client().list::<Value>(resource, namespace, String::new());
    all.map_ok(|it| shape(kind, &it)).try_collect().await
}

fn shape(kind: TemplateKind, object: &Value) -> Template {
    let cpus = object.pointer("/spec/cpu/guest").and_then(Value::as_u64);
    let memory = text(object, "/spec/memory/guest");
    Template {
        cpus: cpus.and_then(|it| u32::try_from(it).ok()),
        memory_bytes: quantity::whole(memory),
        ..plain(kind, object)
    }
}

/// What every object tells of itself.
fn plain(kind: TemplateKind, object: &Value) -> Template {
    let meta: Meta = serde_json::from_value(object["metadata"].clone()).unwrap_or_default();
    let namespace = Some(meta.namespace.clone()).filter(|it| !it.is_empty());
    let id = match &namespace {
        Some(namespace) => id(namespace, &meta.name).0,
        None => meta.name.clone(),
    };
    let description = DESCRIPTIONS.iter().find_map(|name| meta.annotations.get(*name));
    Template {
        namespace,
        description: description.cloned().filter(|it| !it.is_empty()),
        created: meta.creation_timestamp,
        labels: meta.labels,
        ..Template::new(id, meta.name, kind)
    }
}
