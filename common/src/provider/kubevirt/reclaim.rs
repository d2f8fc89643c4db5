//! Removing what killed runs left: exports with their tokens, snapshots, machines and templates that
//! were never filled, and what clones need for the time.

use async_trait::async_trait;

use super::cloning::CLONE;
use super::crossing::CROSSING;
use super::inventory::optional;
use super::moment::{SNAPSHOT, remove_snapshot};
use super::record::parts;
use super::session::EXPORT;
use super::snapshots::VmSnapshot;
use super::template_make::TEMPLATE;
use super::upload::UPLOAD;
use super::vmexport::Exports;
use super::{Kubevirt, template_remove};
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
            CLONE => self.remove_clone_object(namespace, id, dry_run).await?,
            CROSSING => self.remove_crossing(vm, id, dry_run).await?,
            TEMPLATE => template_remove::remove_unfilled(self, vm, id, dry_run).await?,
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
