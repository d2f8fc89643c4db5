//! Making VMs of VMs.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::export::Ledger;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::vm::VmId;

/// The cloning facet.
#[async_trait]
pub trait Cloning: Send + Sync {
    /// Looks at what is wanted, one answer for each, and makes nothing.
    ///
    /// # Errors
    /// Those that concern all of it. In the answers: `NotFound` for a source, a snapshot or a place
    /// that is not there; `Conflict` for a name that is taken, or one that several places have;
    /// `Unsupported` for what the platform cannot do.
    async fn plan(&self, wanted: &[NewClone]) -> Result<Vec<Result<Planned>>>;
}

/// A clone to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewClone {
    /// What it is made of.
    pub source: VmId,
    /// Its name.
    pub name: String,
    /// The snapshot of the source that it is made of: its name, or `@` and its id.
    pub snapshot: Option<String>,
    /// Whether it shares the disks of the snapshot with the source.
    pub linked: bool,
    /// Whether that snapshot is still to be taken.
    pub snapshot_comes: bool,
    /// Whether it goes on where its source, which runs, is at that moment.
    pub instant: bool,
    /// What makes its guest one of its own.
    pub customize: Option<Customize>,
    /// Where it is put.
    pub place: Place,
}

/// What makes the guest of a clone one of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customize {
    /// The specification that the platform keeps: its name.
    pub spec: String,
    /// The guest's host name, where it is not the specification's.
    pub hostname: Option<String>,
    /// Addresses of its network cards, in their order, where the specification fixes them or leaves
    /// them open.
    pub addresses: Vec<String>,
}

impl Customize {
    /// For a platform that keeps no such specifications.
    ///
    /// # Errors
    /// `Unsupported` where one is named.
    pub fn nowhere(wanted: Option<&Self>, provider: &str) -> Result<()> {
        let Some(Self { spec, .. }) = wanted else { return Ok(()) };
        Err(Error::unsupported(format!("{provider} keeps no specifications of guests"))
            .with_subject(spec.clone())
            .with_hint("leave --customize away"))
    }
}

/// Where a VM is put; what is not said is as with its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The folder of the inventory: a name or a path.
    pub folder: Option<String>,
    /// The resource pool, or the cluster whose own it is: a name or a path.
    pub pool: Option<String>,
    /// The datastore: a name or a path.
    pub datastore: Option<String>,
    /// The host.
    pub host: Option<String>,
}

impl Place {
    /// For a platform without such places.
    ///
    /// # Errors
    /// `Unsupported` where one is named.
    pub fn nowhere(&self, provider: &str) -> Result<()> {
        let named = [
            ("folders", &self.folder),
            ("resource pools", &self.pool),
            ("datastores", &self.datastore),
            ("hosts to choose from", &self.host),
        ];
        match named.into_iter().find(|(_, name)| name.is_some()) {
            None => Ok(()),
            Some((what, name)) => Err(Error::unsupported(format!("{provider} has no {what}"))
                .with_subject(name.clone().unwrap_or_default())),
        }
    }
}

/// What a look at a wanted clone showed.
#[derive(Debug)]
pub enum Planned {
    /// It is there, made of the same source.
    There(VmId),
    /// It can be made.
    Ready(Box<dyn CloneJob>),
}

/// Gives the place where is noted what a killed run would leave of a VM.
pub type Ledgers<'l> = &'l (dyn Fn(&VmId) -> Arc<dyn Ledger> + Send + Sync);

/// A clone that can be made.
#[async_trait]
pub trait CloneJob: Debug + Send + Sync {
    /// What of the source does not go along, a clause each.
    fn remarks(&self) -> Vec<String>;

    /// Makes it, and waits until it is whole. `tell` hears how far the platform says it is; what
    /// nobody but hyper would remove is noted in the `ledgers` before it is made.
    ///
    /// # Errors
    /// `Conflict` for a name that somebody took meanwhile; `Interrupted` or `TimedOut` when asked
    /// to stop: it is called off where the platform can do that; those of the platform.
    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        ledgers: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId>;
}

/// How far a clone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// So many hundredths are done.
    Percent(u8),
    /// The platform's own word for what is done now.
    Phase(String),
}

/// What is noted in a clone so that it is known again: what it was made of, and as what. A clone
/// of the clone, which inherits the note, has another name.
pub fn mark(source: &str, name: &str) -> String {
    format!("{source} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_without_places_refuses_them_by_name() {
        assert!(Place::default().nowhere("x").is_ok());
        let place = Place { pool: Some("gold".into()), ..Place::default() };
        let error = place.nowhere("x").unwrap_err();
        assert_eq!(error.kind().exit_status(), 7);
        assert_eq!(error.to_string(), "gold: x has no resource pools");
    }
}
