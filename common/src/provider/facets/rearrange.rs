//! Putting VMs elsewhere in the inventory, and connecting them to other networks.

use async_trait::async_trait;
use serde::Serialize;

use super::cloning::Place;
use super::power::Switched;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::vm::VmId;

/// The rearrange facet. What is wanted already is no failure.
#[async_trait]
pub trait Rearrange: Send + Sync {
    /// Puts a VM into the pool and the folder that `place` names. Both are looked up before
    /// anything is changed.
    ///
    /// # Errors
    /// `NotFound` for the VM or a place; `Conflict` for a place that is ambiguous, or where one of
    /// the VM's name is; `Unsupported` for a place that VMs are not put into so.
    async fn put(&self, vm: &VmId, place: &Place, cancel: &Cancel) -> Result<Switched>;

    /// Connects network cards of a VM to networks, all by one change.
    ///
    /// # Errors
    /// `NotFound` for a card or a network that is not there, with those that are; `Conflict` for a
    /// network that is ambiguous.
    async fn connect(&self, vm: &VmId, links: &[Link], cancel: &Cancel) -> Result<Switched>;
}

/// A card and the network that it is to be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The card: its number from 1 on, its label or its hardware address.
    pub card: String,
    /// The network's name.
    pub network: String,
}
