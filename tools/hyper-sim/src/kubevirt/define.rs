//! Making resources known to an API server.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper_common::error::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::crds::{Release, definitions, storage_class};
use super::json::{is_condition, list, name, text};
use super::upstream::{Fail, Upstream};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Makes the resources known to the API server: those in the files of a folder, then our own for
/// what is not among them; waits until all are served.
///
/// # Errors
/// `Protocol` for a definition that is refused; `Unavailable` when they are not served in time.
pub async fn install(
    upstream: &Upstream,
    release: Release,
    given: Vec<(String, Bytes)>,
) -> Result<()> {
    let mut there = Vec::new();
    for (file, bytes) in given {
        let made = upstream.call_as(Method::POST, CRDS, "application/yaml", Some(bytes)).await;
        there.extend(posted(made, &file)?);
    }
    let mut own = definitions(release);
    if upstream.get("/apis/storage.k8s.io/v1").await.is_err_and(|fail| fail.status == 404) {
        own.push(storage_class());
    }
    for definition in own {
        if there.iter().any(|it| it == name(&definition)) {
            continue;
        }
        let made = upstream.call(Method::POST, CRDS, Some(&definition)).await;
        posted(made, name(&definition))?;
    }
    served(upstream).await
}

/// The name of what was made; nothing for what was there already.
fn posted(made: std::result::Result<Value, Fail>, what: &str) -> Result<Option<String>> {
    match made {
        Ok(made) => Ok(Some(name(&made).to_owned())),
        Err(Fail { status: 409, .. }) => Ok(None),
        Err(fail) => Err(Error::new(ErrorKind::Protocol, "define a resource")
            .with_subject(what)
            .with_hint(fail.message)),
    }
}

/// The definitions in the files of a folder.
///
/// # Errors
/// `Io` for a folder that cannot be read; `NotFound` for one without any.
pub fn files(folder: &Path) -> Result<Vec<(String, Bytes)>> {
    let failed =
        |error| Error::io("read definitions", error).with_subject(folder.display().to_string());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json") {
            let bytes = std::fs::read(&path).map_err(failed)?;
            found.push((path.display().to_string(), bytes.into()));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "there are no definitions")
            .with_subject(folder.display().to_string()));
    }
    Ok(found)
}

async fn served(upstream: &Upstream) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(all) = upstream.get(CRDS).await {
            let mut groups = list(&all, "/items").iter();
            if groups.all(|it| is_condition(it, "Established")) && lists(upstream, &all).await {
                return Ok(());
            }
        }
        if Instant::now() > end {
            return Err(Error::new(ErrorKind::Unavailable, "serve the resources of KubeVirt"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whether each can be listed: what is established is served a moment later.
async fn lists(upstream: &Upstream, all: &Value) -> bool {
    for definition in list(all, "/items") {
        let stored = list(definition, "/spec/versions");
        let stored = stored.iter().find(|it| it["storage"] == true).map(name_of);
        let path = format!(
            "/apis/{}/{}/{}?limit=1",
            text(definition, "/spec/group"),
            stored.unwrap_or_default(),
            text(definition, "/spec/names/plural")
        );
        if upstream.get(&path).await.is_err() {
            return false;
        }
    }
    true
}

fn name_of(version: &Value) -> &str {
    text(version, "/name")
}
