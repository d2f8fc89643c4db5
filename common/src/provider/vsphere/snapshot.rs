//! Snapshots: one that is there, found by its name, and one that is made for a run and removed
//! after it.

use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::client::Client;
use super::machine::plain_name;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ResultExt, one_line};
use crate::provider::facets::export::{mark, no_such_snapshot};
use crate::provider::facets::snapshots::TEMPORARY;

/// The word for snapshots in the journal.
pub(super) const SNAPSHOT: &str = "snapshot";

/// How long the removal of a snapshot is tried that something is in the way of: a task, or the
/// lease of a killed run that never learned its name and lives for five minutes.
const PATIENCE: Duration = Duration::from_secs(330);
/// First and longest wait between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The longest that a server takes to make one.
const SLOWEST: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// A snapshot in a machine's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub id: MoRef,
    pub name: String,
    pub created: String,
}

/// All snapshots of a machine, from its property `snapshot`; parents first.
pub(super) fn tree(snapshots: Option<&Value>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut open: Vec<&Value> = Vec::new();
    if let Some(root) = snapshots {
        open.extend(root.all("rootSnapshotList"));
    }
    while let Some(node) = open.pop() {
        if let Some(id) = node.child("snapshot").and_then(Value::reference) {
            let name = plain_name(node.str("name").unwrap_or_default());
            let created = node.str("createTime").unwrap_or_default().to_owned();
            found.push(Found { id, name, created });
        }
        open.extend(node.all("childSnapshotList"));
    }
    found
}

/// The one snapshot called `name`, or whose identifier follows an `@`.
///
/// # Errors
/// `NotFound` with the names that there are; `Conflict` where several have the name.
pub(super) fn find(snapshots: Option<&Value>, name: &str) -> Result<Found> {
    let all = tree(snapshots);
    let fits = |one: &&Found| match name.strip_prefix('@') {
        Some(id) => one.id.value == id || one.name == name,
        None => one.name == name,
    };
    let mut fitting = all.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => {
            let error = Error::conflict("several of its snapshots have this name");
            Err(all.iter().filter(fits).fold(error.with_subject(name), |error, one| {
                error.with_hint(format!("--snapshot @{} is that of {}", one.id.value, one.created))
            }))
        }
        _ => {
            let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
            Err(no_such_snapshot(name, &names))
        }
    }
}

/// When a snapshot was made, as its name says it: the moment in UTC.
const MADE: &str = "%Y%m%dT%H%M%SZ";

/// Whether a call to make the snapshot with this name of [`temporary_name`] may still be under way,
/// though who made it was killed: servers take minutes where they wait for a guest.
pub(super) fn may_still_come(name: &str) -> bool {
    let made = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split('-').next());
    let made = made.and_then(|made| DateTime::strptime(MADE, made).ok());
    let made = made.and_then(|made| made.to_zoned(TimeZone::UTC).ok());
    made.is_some_and(|made| jiff::Timestamp::now().duration_since(made.timestamp()) < SLOWEST)
}

/// A name that no other run gives.
pub(super) fn temporary_name() -> String {
    let now = jiff::Timestamp::now();
    format!("{TEMPORARY}{}-{}", now.strftime(MADE), mark())
}

/// Begins to make a snapshot without memory; answers the task.
///
/// # Errors
/// The server's fault.
pub(super) async fn make(client: &Client, vm: &MoRef, name: &str, quiesce: bool) -> Result<MoRef> {
    let body = Body::new()
        .text("name", name)
        .text("description", "Made by hyper export for one run, which removes it")
        .text("memory", false)
        .text("quiesce", quiesce);
    let reply = client.call("CreateSnapshot_Task", vm, body).await;
    let reply = reply.and_then(|reply| reply.reference());
    let reply = reply.context(|| "take a snapshot");
    if quiesce {
        return reply.map_err(|error| {
            error.with_hint("--quiesce needs VMware Tools in the guest; try without it")
        });
    }
    reply
}

/// The machine's snapshot called `name`, if there is one.
///
/// # Errors
/// The server's; a machine that is gone has none.
pub(super) async fn look_for(client: &Client, vm: &MoRef, name: &str) -> Result<Option<MoRef>> {
    match client.properties(vm, &["snapshot"]).await {
        Ok(properties) => {
            let all = tree(properties.get("snapshot"));
            Ok(all.into_iter().find(|one| one.name == name).map(|one| one.id))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a snapshot and waits for that. Another task on the machine is waited for.
///
/// # Errors
/// The server's; one that is gone already is none.
pub(super) async fn remove(client: &Client, snapshot: &MoRef) -> Result<()> {
    let (began, mut wait) = (Instant::now(), WAITS.0);
    loop {
        match remove_once(client, snapshot).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict && began.elapsed() < PATIENCE => {
                tracing::info!("{}; tried again", one_line(&error));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAITS.1);
            }
            other => return other.context(|| "remove the snapshot"),
        }
    }
}

async fn remove_once(client: &Client, snapshot: &MoRef) -> Result<()> {
    let body = Body::new().text("removeChildren", false);
    let task = client.call("RemoveSnapshot_Task", snapshot, body).await?.reference()?;
    // Nobody's wish to stop ends this: it is what stopping cleanly means.
    client.wait_task(&task, &Cancel::new()).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::vsphere::soap::parse;

    fn snapshots(names: &[(&str, &str)]) -> Value {
        let mut inner = String::new();
        for (name, id) in names {
            inner = format!(
                "<childSnapshotList><snapshot type=\"VirtualMachineSnapshot\">{id}</snapshot>\
                 <name>{name}</name><createTime>2026-01-0{}T00:00:00Z</createTime>{inner}\
                 </childSnapshotList>",
                id.len() % 9
            );
        }
        let inner = inner.replace("childSnapshotList", "rootSnapshotList");
        let text = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><snapshot>\
             {inner}</snapshot></e:Body></e:Envelope>"
        );
        // Only the outermost one is a root.
        let text = text.replacen("<rootSnapshotList>", "<root>", 1).replace("rootS", "childS");
        let at = text.rfind("</childSnapshotList>").unwrap();
        let text = format!("{}</root>{}", &text[..at], &text[at + "</childSnapshotList>".len()..]);
        parse(text.replace("root>", "rootSnapshotList>").as_bytes()).unwrap()
    }

    #[test]
    fn a_name_means_one_snapshot_or_none() {
        let all = snapshots(&[("c", "s-3"), ("b", "s-22"), ("b", "s-1"), ("a%2f1", "s-9")]);
        assert_eq!(tree(Some(&all)).len(), 4);
        assert_eq!(find(Some(&all), "c").unwrap().id.value, "s-3");
        assert_eq!(find(Some(&all), "a/1").unwrap().id.value, "s-9");
        assert_eq!(find(Some(&all), "@s-22").unwrap().name, "b");
        let error = find(Some(&all), "b").unwrap_err();
        assert_eq!((error.kind(), error.hints().len()), (ErrorKind::Conflict, 2));
        let error = find(Some(&all), "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hints()[0].contains("a/1"));
        assert_eq!(find(None, "x").unwrap_err().kind(), ErrorKind::NotFound);
        assert_ne!(temporary_name(), temporary_name());
        assert!(may_still_come(&temporary_name()));
        assert!(!may_still_come("hyper-export-20200101T000000Z-0a1b2c"));
        assert!(!may_still_come("before"));
    }
}
