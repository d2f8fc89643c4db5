//! Which machine a reference means: `@vm-42`, an inventory path, a UUID, a name.

use std::sync::{Arc, Mutex, PoisonError};

use super::client::Client;
use super::fault::fault_of;
use super::inventory::{MACHINE, absolute, each_machine, place};
use super::names::{Names, find_by_path};
use super::property::Object;
use super::soap::{Body, MoRef, Value};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::vm::VmId;

/// What tells candidates apart.
const PATHS: [&str; 3] = ["name", "parent", "parentVApp"];

/// Most candidates that an error lists.
const SHOWN: usize = 10;

/// The machine that a reference means.
///
/// # Errors
/// `NotFound`; `Conflict` listing the candidates' paths where it is ambiguous.
pub async fn resolve(client: &Client, reference: &str) -> Result<VmId> {
    find(client, reference).await.subject(|| reference.to_owned())
}

async fn find(client: &Client, reference: &str) -> Result<VmId> {
    if let Some(id) = reference.strip_prefix('@') {
        let id = MoRef::new(MACHINE, id);
        return match client.properties(&id, &["name"]).await {
            Ok(_) => Ok(VmId(id.value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(error),
        };
    }
    let names = Names::read(client).await?;
    let mut found = Vec::new();
    if is_uuid(reference) {
        found = by_uuid(client, reference).await?;
    } else if reference.contains('/') {
        for path in absolute(client, &names, reference) {
            found.extend(find_by_path(client, &path).await?.filter(|it| it.kind == MACHINE));
        }
    }
    if found.is_empty() && !reference.starts_with('/') {
        let root = place(client, &names, None).await?;
        found = by_name(client, &root, reference).await?;
    }
    found.sort();
    found.dedup();
    match found.as_slice() {
        [] => Err(missing()),
        [one] => Ok(VmId(one.value.clone())),
        several => Err(ambiguous(client, &names, several).await?),
    }
}

fn missing() -> Error {
    Error::not_found("there is no such machine")
        .with_hint("`hyper vm list` shows all; a reference is a name, a path, a UUID or @ID")
}

/// Machines with this name. The server cannot look for names, so all are read and compared.
async fn by_name(client: &Client, root: &MoRef, name: &str) -> Result<Vec<MoRef>> {
    // Names that hold a slash have it escaped on the server.
    let escaped = name.replace('%', "%25").replace('/', "%2f");
    let name = name.to_owned();
    let found = Arc::new(Mutex::new(Vec::new()));
    let into = found.clone();
    let take = move |object: Object| {
        let own = object.properties.str("name").unwrap_or_default();
        if own == name || own == escaped {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(object.id);
        }
        Ok(true)
    };
    each_machine(client, root, &["name"], Box::new(take)).await?;
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(found)
}

/// Machines with this BIOS or instance UUID. A BIOS UUID may belong to several.
async fn by_uuid(client: &Client, uuid: &str) -> Result<Vec<MoRef>> {
    let index = client.content().await?.manager("searchIndex")?;
    let mut found = Vec::new();
    for instance in [true, false] {
        let body = Body::new().text("uuid", uuid).text("vmSearch", true);
        let body = body.text("instanceUuid", instance);
        let reply = match client.call("FindAllByUuid", &index, body.clone()).await {
            // Simulators may only know the older call.
            Err(error) if fault_of(&error).is_some() && error.kind() != ErrorKind::Auth => {
                client.call("FindByUuid", &index, body).await?
            }
            other => other?,
        };
        found.extend(reply.values().filter_map(Value::reference));
    }
    Ok(found)
}

async fn ambiguous(client: &Client, names: &Names, several: &[MoRef]) -> Result<Error> {
    let mut lines = Vec::new();
    let shown = several.get(..SHOWN.min(several.len())).unwrap_or(several);
    for object in client.objects(shown, &PATHS).await? {
        let path = names.path_of(&object.properties).unwrap_or_else(|| "?".to_owned());
        lines.push(format!("{path} (@{})", object.id.value));
    }
    lines.sort();
    let error = Error::conflict(format!("{} machines are meant by this", several.len()));
    let error = lines.into_iter().fold(error, |error, line| error.with_hint(line));
    let more = several.len() - shown.len();
    Ok(if more > 0 { error.with_hint(format!("and {more} more")) } else { error })
}

/// Whether a text has the form of a UUID: 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
