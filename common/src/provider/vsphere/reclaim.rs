//! Removing what killed runs left: snapshots by their names, leases by theirs.

use async_trait::async_trait;

use super::Vsphere;
use super::inventory::MACHINE;
use super::lease::{self, LEASE};
use super::snapshot::{self, SNAPSHOT};
use super::soap::MoRef;
use crate::error::{ErrorKind, Result};
use crate::provider::{Reclaim, Reclaimed};
use crate::vm::VmId;

#[async_trait]
impl Reclaim for Vsphere {
    async fn reclaim(&self, vm: &VmId, what: &str, id: &str, dry_run: bool) -> Result<Reclaimed> {
        match what {
            SNAPSHOT => self.reclaim_snapshot(vm, id, dry_run).await,
            LEASE => self.reclaim_lease(id, dry_run).await,
            other => Ok(Reclaimed::Kept(format!("what a {other} is, this version does not know"))),
        }
    }
}

impl Vsphere {
    async fn reclaim_snapshot(&self, vm: &VmId, name: &str, dry_run: bool) -> Result<Reclaimed> {
        let vm = MoRef::new(MACHINE, &vm.0);
        let client = self.client();
        let Some(snapshot) = snapshot::look_for(client, &vm, name).await? else {
            return Ok(match snapshot::may_still_come(name) {
                true => Reclaimed::Kept(
                    "it is not there, but the server may still be about to make it".into(),
                ),
                false => Reclaimed::Gone,
            });
        };
        if dry_run {
            return Ok(Reclaimed::Found);
        }
        snapshot::remove(client, &snapshot).await?;
        Ok(Reclaimed::Removed)
    }

    async fn reclaim_lease(&self, id: &str, dry_run: bool) -> Result<Reclaimed> {
        if let Some(until) = lease::ends_by_itself(id) {
            return Ok(match until < jiff::Timestamp::now() {
                true => Reclaimed::Gone,
                false => Reclaimed::Kept(format!("it has no name yet and ends by itself {id}")),
            });
        }
        let lease = lease::of_name(id);
        let state = match self.client().properties(&lease, &["state"]).await {
            Ok(properties) => properties.str("state").unwrap_or_default().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reclaimed::Gone),
            Err(error) => return Err(error),
        };
        if matches!(state.as_str(), "done" | "error") {
            return Ok(Reclaimed::Gone);
        }
        if dry_run {
            return Ok(Reclaimed::Found);
        }
        match lease::abort(self.client(), &lease).await? {
            true => Ok(Reclaimed::Removed),
            false => Ok(Reclaimed::Gone),
        }
    }
}
