//! Removing what killed runs left: exports with their tokens, snapshots, and machines that were
//! never filled.

use async_trait::async_trait;

use super::Kubevirt;
use super::inventory::optional;
use super::moment::{SNAPSHOT, remove_snapshot};
use super::record::parts;
use super::session::EXPORT;
use super::snapshots::VmSnapshot;
use super::upload::UPLOAD;
use super::vmexport::Exports;
use crate::error::Result;
use crate::provider::{Reclaim, Reclaimed};
use crate::vm::VmId;

#[async_trait]
impl Reclaim for Kubevirt {
    async fn reclaim(&self, vm: &VmId, what: &str, id: &str, dry_run: bool) -> Result<Reclaimed> {
        let (namespace, _) = parts(vm);
        let there = match what {
            EXPORT => {
                let exports = Exports::of(self.client(), namespace).await?;
                match dry_run {
                    true => exports.find(id).await?.is_some(),
                    false => exports.remove(id).await?,
                }
            }
            SNAPSHOT if dry_run => {
                let place = self.snapshots_of(namespace).await?;
                optional(self.client().get::<VmSnapshot>(place, id).await)?.is_some()
            }
            SNAPSHOT => remove_snapshot(self, namespace, id).await?,
            UPLOAD if dry_run => self.has_unfilled(vm, id).await?,
            UPLOAD => self.remove_unfilled(vm, id).await?,
            other => {
                return Ok(Reclaimed::Kept(format!(
                    "what a {other} is, this version does not know"
                )));
            }
        };
        Ok(match (there, dry_run) {
            (false, _) => Reclaimed::Gone,
            (true, true) => Reclaimed::Found,
            (true, false) => Reclaimed::Removed,
        })
    }
}
