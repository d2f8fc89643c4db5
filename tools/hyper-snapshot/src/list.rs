//! Showing snapshots.

use futures::StreamExt;
use hyper_common::error::{Error, Result};
use hyper_common::output::OutputFormat;
use hyper_common::provider::Snapshot;
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Target, Which};
use hyper_common::vm::VmId;

use crate::record::{SnapshotRow, TreeRow};
use crate::run::{snapshots, targets};

/// The snapshots of a machine.
pub struct Found {
    /// The machine.
    pub target: Target,
    /// What its provider calls it.
    pub id: VmId,
    /// Its snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// Looks up the snapshots of all machines that are meant, in their order.
///
/// # Errors
/// The first failure: what could not be read must not look like nothing.
pub async fn find(which: &Which, cx: &Context) -> Result<Vec<Found>> {
    let targets = targets(which, cx).await?;
    let one = |target: Target| async move {
        let found = async {
            let id = target.resolve(&cx.cancel).await?;
            let all = cx.cancel.unless_cancelled(snapshots(&*target.provider)?.all(&id)).await?;
            Ok::<_, Error>((id, all))
        };
        let subject = target.reference.to_string();
        let (id, snapshots) = found.await.map_err(|error| error.with_subject(subject))?;
        Ok(Found { target, id, snapshots })
    };
    let found = futures::stream::iter(targets.into_iter().map(one)).buffered(AT_ONCE);
    found.collect::<Vec<_>>().await.into_iter().collect()
}

/// Prints the snapshots of all machines that are meant.
///
/// # Errors
/// As [`find`]; those of printing.
pub async fn run(which: &Which, cx: &mut Context) -> Result<()> {
    let mut rows = Vec::new();
    for Found { target, id, snapshots } in find(which, cx).await? {
        let row = |snapshot| SnapshotRow {
            vm: target.name.clone(),
            context: target.reference.context.clone(),
            vm_id: id.clone(),
            snapshot,
        };
        rows.extend(snapshots.into_iter().map(row));
    }
    if !matches!(cx.printer.format(), OutputFormat::Table | OutputFormat::Wide) {
        return cx.printer.all(&rows);
    }
    let rows: Vec<_> = rows.into_iter().map(TreeRow).collect();
    cx.printer.all(&rows)
}
