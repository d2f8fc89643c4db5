//! Removing again what a run has made.

use std::sync::Arc;

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::output::Outcome;
use hyper_common::provider::{Provider, Snapshot, Stop};
use hyper_common::vm::VmId;

use crate::record::CloneRow;

/// A clone that this run has made.
pub struct Made {
    /// What was printed of it.
    pub row: CloneRow,
    /// Who has it.
    pub provider: Arc<dyn Provider>,
    /// What its provider calls it.
    pub id: VmId,
}

/// A snapshot that this run has taken of a source.
pub struct Taken {
    /// Who has it.
    pub provider: Arc<dyn Provider>,
    /// The source.
    pub source: VmId,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// Removes a clone. Nobody's wish to stop ends this: it is what was asked for.
pub async fn remove(made: Made) -> (CloneRow, Option<Error>) {
    let row = CloneRow { outcome: Outcome::RolledBack, note: None, duration: None, ..made.row };
    match remove_vm(&*made.provider, &made.id).await {
        Ok(()) => (CloneRow { id: None, error: None, error_kind: None, ..row }, None),
        Err(error) => {
            let error = error.context("remove the clone again");
            (row.failed(&error), Some(error))
        }
    }
}

async fn remove_vm(provider: &dyn Provider, id: &VmId) -> Result<()> {
    let cancel = Cancel::new();
    let lacks = || Error::unsupported(format!("{} machines cannot be deleted", provider.name()));
    if let Some(power) = provider.power() {
        power.stop(id, Stop::Hard, &cancel).await?;
    }
    provider.lifecycle().ok_or_else(lacks)?.delete(id, true, &cancel).await
}

/// Removes a snapshot that was taken for clones that are gone.
///
/// # Errors
/// Those of the provider.
pub async fn remove_snapshot(taken: &Taken) -> Result<()> {
    let lacks = || Error::unsupported("there are no snapshots");
    let facet = taken.provider.snapshots().ok_or_else(lacks)?;
    facet.delete(&taken.source, &taken.snapshot, false, &Cancel::new()).await
}
