//! Removing golden images: whole ones that are not wanted any more, and those that were never filled.

use serde_json::{Value, json};

use super::Kubevirt;
use super::client::Place;
use super::create::{CDI, text};
use super::inventory::optional;
use super::power::look;
use super::record::parts;
use super::template::SOURCES;
use super::template_make::VOLUMES;
use super::upload::UNFINISHED;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::templates::{Template, TemplateKind};
use crate::vm::VmId;

/// The label of DataSources that CDI keeps by itself.
const CRON: &str = "cdi.kubevirt.io/dataImportCron";

/// Removes a template that a run with this mark did not fill; whether it was there.
///
/// # Errors
/// The server's.
pub(super) async fn remove_unfilled(
    kubevirt: &Kubevirt,
    vm: &VmId,
    mark: &str,
    dry_run: bool,
) -> Result<bool> {
    let (namespace, name) = parts(vm);
    let resource = kubevirt.client().resource(CDI, SOURCES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let found = optional(kubevirt.client().get::<Value>(place, name).await)?;
    let own = |it: &Value| it["metadata"]["annotations"][UNFINISHED] == mark;
    match found.filter(own) {
        Some(source) if !dry_run => {
            remove(kubevirt, &source, &Cancel::new()).await?;
            Ok(true)
        }
        found => Ok(found.is_some()),
    }
}

/// Removes a golden image, and the copy that was made for it.
///
/// # Errors
/// Those of [`Templates::delete_template`](crate::provider::Templates::delete_template).
pub async fn delete(kubevirt: &Kubevirt, template: &Template, cancel: &Cancel) -> Result<()> {
    if template.kind != TemplateKind::DataSource {
        return Err(Error::unsupported(format!("a {} is not deleted here", template.kind.name())));
    }
    if let Some(cron) = template.labels.get(CRON) {
        return Err(Error::conflict("CDI would make it again")
            .with_hint(format!("the DataImportCron {cron} keeps it: delete that instead")));
    }
    let (namespace, name) = parts(&template.id);
    let resource = kubevirt.client().resource(CDI, SOURCES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let object: Value = kubevirt.client().get(place, name).await?;
    remove(kubevirt, &object, cancel).await
}

/// Removes a DataSource and the volume that it owns, and waits until both are gone.
async fn remove(kubevirt: &Kubevirt, source: &Value, cancel: &Cancel) -> Result<()> {
    let client = kubevirt.client();
    let namespace = text(source, "/metadata/namespace");
    let name = text(source, "/metadata/name");
    let uid = text(source, "/metadata/uid");
    let place =
        Place { resource: client.resource(CDI, SOURCES).await?, namespace: Some(namespace) };
    let volumes = Place { resource: client.resource(CDI, VOLUMES).await?, ..place };
    let volume = optional(client.get::<Value>(volumes, name).await)?;
    let volume = volume.filter(|it| {
        let owners = it.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().any(|owner| text(owner, "/uid") == uid)
    });
    let only = |uid: &str| json!({ "preconditions": { "uid": uid } });
    optional(client.delete(place, name, &only(uid)).await)?;
    if let Some(volume) = &volume {
        let uid = text(volume, "/metadata/uid");
        optional(client.delete(volumes, name, &only(uid)).await)?;
    }
    let gone = async |place: Place<'_>, uid: &str| {
        let there = optional(client.get::<Value>(place, name).await)?;
        Ok::<_, Error>(there.is_none_or(|it| text(&it, "/metadata/uid") != uid))
    };
    look(cancel, || async {
        let volume = match &volume {
            Some(volume) => gone(volumes, text(volume, "/metadata/uid")).await?,
            None => true,
        };
        Ok((volume && gone(place, uid).await?).then_some(()))
    })
    .await
}
