//! All objects of some types, in one retrieval and bounded memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::client::Client;
use super::names::View;
use super::property::{Object, property_spec};
use super::soap::{Body, MoRef, Only};
use super::stream::{Take, page_options};
use crate::error::Result;

/// A type and the properties that are read of it.
pub(super) type Kind<'k> = (&'k str, &'k [&'k str]);

/// Hands each object of these types below `place` to `take`, once. A login that ends on the way is
/// renewed, and what was handed over already is left out.
pub(super) async fn each_object(
    client: &Client,
    place: &MoRef,
    kinds: &[Kind<'_>],
    only: Only,
    take: Take,
) -> Result<()> {
    let content = client.content().await?;
    let mut turns = client.turns();
    let mut take = each_once(take);
    let types: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    loop {
        let view = View::new(client, place, &types).await?;
        let mut body = Body::new().open("specSet", None);
        for (kind, paths) in kinds {
            body = property_spec(body, kind, paths);
        }
        let body = page_options(view.select(body).close("specSet"));
        let cookie = turns.cookie().await?;
        let read = client.each(&content.property_collector, (body, only), &cookie, take).await;
        view.destroy().await;
        let read = read?;
        match read.failure {
            None => return Ok(()),
            Some(error) => turns.look_again(cookie, error)?,
        }
        take = read.take;
    }
}

/// Leaves out objects that were taken already. What is remembered of each is its identifier, some
/// dozens of bytes.
fn each_once(mut take: Take) -> Take {
    let mut taken = HashSet::new();
    Box::new(move |object: Object| match taken.insert(object.id.value.clone()) {
        true => take(object),
        false => Ok(true),
    })
}

/// What `read` makes of each object of these types, as the server tells of them. Only that is held.
pub(super) async fn all_of<T: Send + 'static>(
    client: &Client,
    kinds: &[Kind<'_>],
    read: impl Fn(&Object) -> T + Send + 'static,
) -> Result<Vec<T>> {
    let root = client.content().await?.root_folder.clone();
    let made = Arc::new(Mutex::new(Vec::new()));
    let kept = made.clone();
    let take = move |object: Object| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(read(&object));
        Ok(true)
    };
    each_object(client, &root, kinds, &[], Box::new(take)).await?;
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *made))
}
