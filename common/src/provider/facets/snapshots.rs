//! Moments of VMs that are kept, and returned to.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::power::Switched;
use crate::vm::VmId;

/// How the names of snapshots begin that an export makes for itself and removes. Nobody else is to
/// remove them while it runs.
pub const TEMPORARY: &str = "hyper-export-";

/// The snapshots facet.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Takes a snapshot and waits until it can be returned to.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a name that is taken, or a guest that cannot be brought to rest;
    /// `Unsupported` for what the platform cannot keep; `Interrupted` or `TimedOut` when asked to
    /// stop: it is taken back where the platform can do that.
    async fn create(&self, vm: &VmId, wanted: &NewSnapshot, cancel: &Cancel) -> Result<Snapshot>;

    /// All snapshots of a VM: each behind what it was made from, else by the time they were made.
    ///
    /// # Errors
    /// `NotFound`; those of the platform.
    async fn all(&self, vm: &VmId) -> Result<Vec<Snapshot>>;

    /// Makes a VM again what it was, and waits for that. What it has become since is lost.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a VM that must be off first, or a snapshot that is not ready;
    /// `Interrupted` or `TimedOut` when asked to stop.
    async fn revert(&self, vm: &VmId, to: &Snapshot, cancel: &Cancel) -> Result<()>;

    /// Removes a snapshot, with `children` also those made from it, and waits for that. The VM
    /// stays what it is.
    ///
    /// # Errors
    /// `NotFound` where it is gone; `Unsupported` for `children` on a platform whose snapshots have
    /// none; `Interrupted` or `TimedOut` when asked to stop waiting: it is being removed then.
    async fn delete(
        &self,
        vm: &VmId,
        snapshot: &Snapshot,
        children: bool,
        cancel: &Cancel,
    ) -> Result<()>;

    /// Merges what removed snapshots left of a VM's disks.
    ///
    /// # Errors
    /// `Unsupported` on a platform where nothing is ever left; as [`Snapshots::delete`].
    async fn consolidate(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched>;
}

/// A snapshot to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewSnapshot {
    /// Its name; `None` for one that tells the time.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the guest's memory is kept, too.
    pub memory: bool,
    /// Whether the guest's file systems must be brought to rest for it.
    pub quiesce: bool,
}

impl NewSnapshot {
    /// The name, else one that begins with `prefix` and tells the time.
    pub fn name_or_time(&self, prefix: &str) -> String {
        let time = || format!("{prefix}-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S-%3f"));
        self.name.clone().unwrap_or_else(time)
    }
}

/// A snapshot. What a platform does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What the provider calls it.
    pub id: String,
    /// Its name; on some platforms several may have it.
    pub name: String,
    /// What somebody wrote about it.
    pub description: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The id of the snapshot that it was made from.
    pub parent: Option<String>,
    /// How many snapshots it was made from, one after the other.
    pub depth: u32,
    /// Whether it is the one that the VM goes on from.
    pub current: Option<bool>,
    /// Whether it can be returned to.
    pub status: SnapshotStatus,
    /// Whether the guest's memory is in it.
    pub memory: Option<bool>,
    /// Whether the guest's file systems were brought to rest for it.
    pub quiesced: Option<bool>,
    /// How the guest was when it was taken, in the platform's words.
    pub indications: Vec<String>,
    /// Bytes that it takes up beyond what it was made from.
    pub size_bytes: Option<u64>,
    /// Bytes of the disks that it holds, as the guest sees them.
    pub capacity_bytes: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Snapshot {
    /// Whether an export made it for itself.
    pub fn is_temporary(&self) -> bool {
        self.name.starts_with(TEMPORARY)
    }
}

/// Whether a snapshot can be returned to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotStatus {
    /// It can.
    #[default]
    Ready,
    /// It is being made.
    InProgress,
    /// It could not be made.
    Failed,
    /// It is being removed.
    Deleting,
}

impl SnapshotStatus {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::InProgress => "in_progress",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

/// The one snapshot called `name`, or whose id follows an `@`.
///
/// # Errors
/// `NotFound` with the names that there are; `Conflict` where several have the name.
pub fn find<'s>(all: &'s [Snapshot], name: &str) -> Result<&'s Snapshot> {
    let fits =
        |one: &&Snapshot| one.name == name || name.strip_prefix('@').is_some_and(|id| one.id == id);
    let mut fitting = all.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            let error = Error::conflict(format!("several of its snapshots are called {name:?}"));
            Err(all.iter().filter(fits).fold(error, |error, one| {
                let made = one.created.map_or_else(String::new, |it| format!(" was made {it}"));
                error.with_hint(format!("@{}{made}", one.id))
            }))
        }
        _ => {
            let error = Error::not_found(format!("it has no snapshot {name:?}"));
            let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
            Err(match names.is_empty() {
                true => error.with_hint("it has none at all"),
                false => error.with_hint(format!("its snapshots: {}", names.join(", "))),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_snapshot_or_none() {
        let one = |id: &str, name: &str| Snapshot {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Snapshot::default()
        };
        let all = [one("s-1", "a"), one("s-2", "b"), one("s-3", "b")];
        assert_eq!(find(&all, "a").unwrap().id, "s-1");
        assert_eq!(find(&all, "@s-3").unwrap().name, "b");
        let error = find(&all, "b").unwrap_err();
        assert_eq!((error.kind().exit_status(), error.hints().len()), (6, 2));
        let error = find(&all, "c").unwrap_err();
        assert_eq!(error.kind().exit_status(), 5);
        assert!(error.hints()[0].contains("a, b, b"), "{error:?}");
        let wanted = NewSnapshot::default().name_or_time("web01");
        assert!(wanted.starts_with("web01-2") && wanted.len() == 25, "{wanted}");
    }
}
