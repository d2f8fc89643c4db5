//! The snapshot that is made for a run and removed after it.

use std::sync::{Mutex, PoisonError};

use super::client::Client;
use super::snapshot::{self, SNAPSHOT};
use super::soap::MoRef;
use crate::cancel::{Cancel, Leftover};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::provider::{Ledger, Ties};

/// A snapshot that is made for the run.
#[derive(Debug, Default)]
pub(super) struct TempSnapshot(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    name: String,
    /// The task that makes it, until it has ended.
    task: Option<MoRef>,
    /// Said to a person who does not wait for the end.
    _leftover: Leftover,
}

impl TempSnapshot {
    /// Takes the snapshot. Whatever comes of it, [`TempSnapshot::remove`] is to be called.
    ///
    /// # Errors
    /// The server's; those of the journal; `Interrupted`.
    pub(super) async fn take(
        &self,
        client: &Client,
        vm: &MoRef,
        quiesce: bool,
        ties: &Ties,
    ) -> Result<MoRef> {
        let name = snapshot::temporary_name();
        ties.ledger.making(SNAPSHOT, &name)?;
        let context = &client.endpoint().context;
        let leftover = ties.cancel.leftover(format!("the snapshot {name} of {context}:@{vm}"));
        self.set(Some(Made { name: name.clone(), task: None, _leftover: leftover }));
        let task = snapshot::make(client, vm, &name, quiesce).await?;
        self.begun(task.clone());
        let made = client.wait_task(&task, &ties.cancel).await;
        if !matches!(&made, Err(error) if is_stop(error)) {
            self.ended();
        }
        made.context(|| "take a snapshot")?.reference().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a snapshot and does not say which")
        })
    }

    /// Removes the snapshot, if one may have been made.
    ///
    /// # Errors
    /// The server's; the journal still names it then.
    pub(super) async fn remove(
        &self,
        client: &Client,
        vm: &MoRef,
        ledger: Option<&dyn Ledger>,
    ) -> Result<()> {
        let Some(made) = self.lock().take() else { return Ok(()) };
        let stays = |error: Error| {
            error
                .context(format!("remove the snapshot {}", made.name))
                .with_hint("hyper history runs clean removes it later")
        };
        if let Some(task) = &made.task {
            // It is still being made; how that ends is seen below.
            let _ = client.wait_task(task, &Cancel::new()).await;
        }
        if let Some(id) = snapshot::look_for(client, vm, &made.name).await.map_err(stays)? {
            snapshot::remove(client, &id).await.map_err(stays)?;
        }
        ledger.map_or(Ok(()), |ledger| ledger.removed(SNAPSHOT, &made.name))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, made: Option<Made>) {
        *self.lock() = made;
    }

    fn begun(&self, task: MoRef) {
        if let Some(made) = &mut *self.lock() {
            made.task = Some(task);
        }
    }

    fn ended(&self) {
        if let Some(made) = &mut *self.lock() {
            made.task = None;
        }
    }
}

fn is_stop(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut)
}
