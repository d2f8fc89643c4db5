//! How far a package is that is put together in a file: its disks one after another, each with a
//! state of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::State;
use super::keep::{Keep, stands_at};
use super::resume::{seal, unseal};
use crate::error::Result;
use crate::fs::{SourceIdentity, Target as Place};

/// Version tag at the front of a package's state file.
const TAG: &[u8; 8] = b"hyperpk1";

/// What stands in the state file beside the partial file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageState {
    /// Everything besides the disks that decides where members lie.
    pub recipe: String,
    /// The disks so far: where each begins in the package, and how far it is. All but the last
    /// are complete.
    pub members: Vec<(u64, State)>,
    /// The file, once the package is complete: by it it is known under its final name.
    pub whole: Option<SourceIdentity>,
}

impl PackageState {
    /// Before the first disk.
    pub fn new(recipe: String) -> Self {
        Self { recipe, members: Vec::new(), whole: None }
    }

    /// What an earlier run stored beside `place`.
    pub fn load(place: &Place) -> Option<Self> {
        std::fs::read(place.state_path()).ok().and_then(|bytes| unseal(TAG, &bytes))
    }

    /// Whether the complete package has its final name already.
    pub fn is_named(&self, place: &Place) -> bool {
        self.whole.as_ref().is_some_and(|file| stands_at(file, place))
    }
}

/// Keeps the state of a package beside its partial file.
#[derive(Debug)]
pub struct PackageKeeper {
    place: Place,
    state: Mutex<PackageState>,
}

impl PackageKeeper {
    /// Goes on from `state`, which is not stored before a disk says something.
    pub fn new(place: Place, state: PackageState) -> Arc<Self> {
        Arc::new(Self { place, state: Mutex::new(state) })
    }

    /// Where disk number `number` keeps its state; it begins at byte `base`.
    pub fn member(self: &Arc<Self>, number: usize, base: u64) -> Arc<dyn Keep> {
        Arc::new(KeptMember { package: self.clone(), number, base })
    }

    /// What was known of disk number `number`.
    pub fn state_of(&self, number: usize) -> Option<State> {
        self.lock().members.get(number).map(|(_, state)| state.clone())
    }

    /// Notes that the package is complete and synced.
    ///
    /// # Errors
    /// `Io`.
    pub fn complete(&self) -> Result<()> {
        let mut state = self.lock();
        state.whole = Some(SourceIdentity::of_path(&self.place.partial_path())?);
        self.write(&state)
    }

    fn lock(&self) -> MutexGuard<'_, PackageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &PackageState) -> Result<()> {
        self.place.store_state(&seal(TAG, state)?)
    }
}

/// One disk's share of a package's state.
#[derive(Debug)]
struct KeptMember {
    package: Arc<PackageKeeper>,
    number: usize,
    base: u64,
}

impl Keep for KeptMember {
    fn store(&self, state: &State) -> Result<()> {
        let mut all = self.package.lock();
        // Whatever was known of later disks lies behind what is being written.
        all.members.truncate(self.number);
        all.members.push((self.base, state.clone()));
        all.whole = None;
        self.package.write(&all)
    }

    fn file(&self) -> Result<Option<SourceIdentity>> {
        Ok(None)
    }
}
