//! One change on one machine.

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::output::Outcome;
use hyper_common::provider::{NewSnapshot, Snapshot, Snapshots, Switched, find_snapshot};
use hyper_common::tool::machines::Target;
use hyper_common::vm::{VmId, VmStatus};

use crate::record::ActionRow;
use crate::request::Change;
use crate::run::{Told, failed, row, snapshots};

/// Does it. A result for each snapshot that it is about, or one for the machine.
pub async fn perform(target: &Target, change: &Change, cancel: &Cancel) -> Vec<Told> {
    let row = row(target, change.word());
    let id = match target.resolve(cancel).await {
        Ok(id) => id,
        Err(error) => return vec![failed(target, row, error)],
    };
    let row = ActionRow { vm_id: Some(id.clone()), ..row };
    let done = match (snapshots(&*target.provider), change) {
        (Err(error), _) => Err(error),
        (Ok(facet), Change::Delete { snapshots, children, .. }) => {
            return Deletion { target, facet, id: &id, children: *children, cancel }
                .of_named(snapshots)
                .await;
        }
        (Ok(facet), Change::Create(wanted)) => create(target, facet, &id, wanted, cancel).await,
        (Ok(facet), Change::Revert { snapshot, .. }) => {
            revert(target, facet, &id, snapshot, cancel).await
        }
        (Ok(facet), Change::Consolidate) => consolidate(facet, &id, cancel).await,
    };
    vec![match done {
        Ok(Done { snapshot, outcome, note }) => {
            let row = about(row, snapshot.as_ref());
            (ActionRow { outcome, note, ..row }, None)
        }
        Err(error) => failed(target, about_named(row, change), error),
    }]
}

/// What came of a change that did not fail.
struct Done {
    snapshot: Option<Snapshot>,
    outcome: Outcome,
    note: Option<String>,
}

fn about(row: ActionRow, snapshot: Option<&Snapshot>) -> ActionRow {
    let (name, id) = snapshot.map(|it| (it.name.clone(), it.id.clone())).unzip();
    ActionRow { snapshot: name.or(row.snapshot), snapshot_id: id, ..row }
}

/// A row about the snapshot that was asked for, found or not.
fn about_named(row: ActionRow, change: &Change) -> ActionRow {
    let name = match change {
        Change::Create(wanted) => wanted.name.clone(),
        Change::Revert { snapshot, .. } => Some(snapshot.clone()),
        Change::Delete { .. } | Change::Consolidate => None,
    };
    ActionRow { snapshot: name, ..row }
}

async fn create(
    target: &Target,
    facet: &dyn Snapshots,
    id: &VmId,
    wanted: &NewSnapshot,
    cancel: &Cancel,
) -> Result<Done> {
    let mut wanted = wanted.clone();
    if let Some(name) = wanted.name.as_mut().filter(|name| name.contains("{vm}")) {
        let vm = cancel.unless_cancelled(target.provider.get(id)).await?;
        *name = name.replace("{vm}", &vm.name);
    }
    let made = facet.create(id, &wanted, cancel).await?;
    let note = match made.indications.is_empty() {
        true => None,
        false => Some(made.indications.join(", ")),
    };
    Ok(Done { snapshot: Some(made), outcome: Outcome::Done, note })
}

async fn revert(
    target: &Target,
    facet: &dyn Snapshots,
    id: &VmId,
    name: &str,
    cancel: &Cancel,
) -> Result<Done> {
    let all = cancel.unless_cancelled(facet.all(id)).await?;
    let snapshot = find_snapshot(&all, name)?;
    facet.revert(id, snapshot, cancel).await?;
    let note = match target.provider.get(id).await?.status {
        VmStatus::Running => Some("it runs".to_owned()),
        VmStatus::Stopped => Some("it is off".to_owned()),
        _ => None,
    };
    Ok(Done { snapshot: Some(snapshot.clone()), outcome: Outcome::Done, note })
}

async fn consolidate(facet: &dyn Snapshots, id: &VmId, cancel: &Cancel) -> Result<Done> {
    let outcome = match facet.consolidate(id, cancel).await? {
        Switched::Done => Outcome::Done,
        Switched::Already => Outcome::Already,
    };
    Ok(Done { snapshot: None, outcome, note: None })
}

/// Removes snapshots of one machine, one after the other: servers work on one at a time anyway.
pub struct Deletion<'d> {
    /// The machine.
    pub target: &'d Target,
    /// Who removes them.
    pub facet: &'d dyn Snapshots,
    /// What its provider calls the machine.
    pub id: &'d VmId,
    /// Whether those made from them go, too.
    pub children: bool,
    /// The wish to stop.
    pub cancel: &'d Cancel,
}

impl Deletion<'_> {
    fn row(&self, snapshot: &Snapshot) -> ActionRow {
        let row = ActionRow { vm_id: Some(self.id.clone()), ..row(self.target, "delete") };
        about(row, Some(snapshot))
    }

    /// Removes those that are named; none where one of them is not there.
    async fn of_named(&self, names: &[String]) -> Vec<Told> {
        match self.find(names).await {
            Ok(found) => self.of(found.iter().collect()).await,
            Err(error) => {
                let row = ActionRow { vm_id: Some(self.id.clone()), ..row(self.target, "delete") };
                vec![failed(self.target, row, error)]
            }
        }
    }

    async fn find(&self, names: &[String]) -> Result<Vec<Snapshot>> {
        let all = self.cancel.unless_cancelled(self.facet.all(self.id)).await?;
        let mut found: Vec<Snapshot> = Vec::new();
        for name in names {
            let one = find_snapshot(&all, name)?;
            if !found.contains(one) {
                found.push(one.clone());
            }
        }
        Ok(found)
    }

    /// Removes a snapshot; whether it was there.
    async fn remove(&self, snapshot: &Snapshot, first: bool) -> Result<bool> {
        self.cancel.check()?;
        // It may have gone with one that it was made from.
        if self.children && !first && !self.facet.all(self.id).await?.contains(snapshot) {
            return Ok(false);
        }
        match self.facet.delete(self.id, snapshot, self.children, self.cancel).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Removes snapshots, each whatever became of the others.
    pub async fn of(&self, snapshots: Vec<&Snapshot>) -> Vec<Told> {
        let mut told = Vec::new();
        for snapshot in snapshots {
            let row = self.row(snapshot);
            told.push(match self.remove(snapshot, told.is_empty()).await {
                Ok(true) => (row, None),
                Ok(false) => (ActionRow { outcome: Outcome::Already, ..row }, None),
                Err(error) => failed(self.target, row, named(error, snapshot)),
            });
        }
        told
    }
}

fn named(error: Error, snapshot: &Snapshot) -> Error {
    error.context(format!("remove the snapshot {:?}", snapshot.name))
}
