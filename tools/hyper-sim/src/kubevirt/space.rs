//! Namespaces that are deleted: what is in them goes, then they do. A real cluster has a controller
//! for that, which is not part of the API server.

use hyper::Method;
use serde_json::{Value, json};

use super::control::Next;
use super::json::{deleting, list, name};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upstream::Fail;

/// Kinds that are emptied, in this order, besides those the controllers follow.
const OTHERS: [&str; 4] = ["pods", "secrets", "configmaps", "services"];

/// Looks at a namespace.
///
/// # Errors
/// Those of the API server.
pub async fn reconcile(sim: &Sim, key: &Key) -> Result<Next, Fail> {
    let Some(space) = sim.control.get(key) else { return Ok(Next::Done) };
    if !deleting(&space) {
        return Ok(Next::Done);
    }
    let mut left = false;
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Namespace) {
        for object in sim.control.all(kind, &key.name, |_| true) {
            left = true;
            if !deleting(&object) {
                sim.control.delete(&Key::of(kind, &object)).await?;
            }
        }
    }
    if left {
        return Ok(Next::Again(sim.pace));
    }
    for plural in OTHERS {
        let path = format!("/api/v1/namespaces/{}/{plural}", key.name);
        let all = sim.control.api.get(&path).await?;
        for object in list(&all, "/items") {
            let at = format!("{path}/{}?gracePeriodSeconds=0", name(object));
            sim.control.api.call(Method::DELETE, &at, None).await?;
        }
    }
    finalize(sim, &space).await
}

async fn finalize(sim: &Sim, space: &Value) -> Result<Next, Fail> {
    let mut space = space.clone();
    space["spec"]["finalizers"] = json!([]);
    let path = format!("/api/v1/namespaces/{}/finalize", name(&space));
    match sim.control.api.call(Method::PUT, &path, Some(&space)).await {
        Ok(_) | Err(Fail { status: 404, .. }) => Ok(Next::Done),
        Err(fail) => Err(fail),
    }
}
