//! Where the state of an artifact is kept, and how it is begun anew or gone on with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::artifact::{Destination, ImagePlan, ImageSource, Member};
use super::disk::blocking;
use super::{Checkpointing, Complete, Progress, State};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fs::{SourceIdentity, Target as Place};
use crate::progress::{DiskEnd, DiskProgress};
use crate::sink::{FileSink, Sink};

/// Time between checkpoints: what a kill costs at the most, besides the time since the last one
/// was due.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Keeps the state of one artifact where the next run finds it.
pub trait Keep: std::fmt::Debug + Send + Sync {
    /// Stores it durably. Called after the data it speaks of was synced.
    ///
    /// # Errors
    /// `Io`.
    fn store(&self, state: &State) -> Result<()>;

    /// The file by which a complete artifact is known under its final name; `None` for a part of
    /// one.
    ///
    /// # Errors
    /// `Io`.
    fn file(&self) -> Result<Option<SourceIdentity>>;
}

/// What decides an artifact's bytes, in text.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub source: Option<String>,
    plan: String,
}

impl Recipe {
    /// What the image of `source` by `plan` depends on; `copied`: it is the source's own file.
    pub fn new(source: &ImageSource<'_>, plan: &ImagePlan, copied: bool) -> Self {
        let ImagePlan { format, options, sum, trust_source, recompress, .. } = plan;
        let version = env!("CARGO_PKG_VERSION");
        Self {
            source: source.identity.as_ref().map(|known| format!("{} {known}", source.capacity)),
            plan: format!(
                "{version} {format} {options:?} {sum:?} {trust_source} {recompress} {copied}"
            ),
        }
    }

    /// The state of an artifact that is as far as `progress`.
    pub fn state(&self, progress: Progress) -> State {
        let source = self.source.clone().unwrap_or_default();
        State { source, recipe: self.plan.clone(), progress }
    }

    /// Whether `state` was stored for the same bytes.
    pub fn fits(&self, state: &State) -> bool {
        self.source.as_ref() == Some(&state.source) && state.recipe == self.plan
    }
}

/// The state file beside a partial file, by the final place of both.
#[derive(Debug, Clone)]
struct StateFile(Place);

impl Keep for StateFile {
    fn store(&self, state: &State) -> Result<()> {
        self.0.store_state(&state.to_bytes()?)
    }

    fn file(&self) -> Result<Option<SourceIdentity>> {
        SourceIdentity::of_path(&self.0.partial_path()).map(Some)
    }
}

fn load(place: &Place) -> Option<State> {
    std::fs::read(place.state_path()).ok().and_then(|bytes| State::from_bytes(&bytes))
}

/// A target that is open, and the point from which it goes on.
pub(super) struct Begun {
    pub sink: Arc<dyn Sink>,
    /// `None`: it cannot be gone on with.
    pub keep: Option<Arc<dyn Keep>>,
    pub from: Option<Progress>,
    /// The file's final place; none for a pipe and a package, which somebody else looks after.
    pub place: Option<Place>,
}

impl Begun {
    /// Opens the target. What an earlier run left there is gone on with, provided that the recipe
    /// is the same.
    ///
    /// # Errors
    /// `Conflict` where the file exists or another run writes it; `Io`.
    pub async fn new(to: Destination, plan: &ImagePlan, recipe: &Recipe) -> Result<Self> {
        match to {
            Destination::Sink(sink) => Ok(Self { sink, keep: None, from: None, place: None }),
            Destination::Member(member) => {
                let Member { sink, keep, state } = *member;
                let from = state.filter(|state| recipe.fits(state)).map(|state| state.progress);
                let keep = recipe.source.is_some().then_some(keep);
                Ok(Self { sink, keep, from, place: None })
            }
            Destination::File(path) => {
                let (recipe, plan) = (recipe.clone(), plan.clone());
                blocking(move || begin_file(&path, &plan, &recipe)).await
            }
        }
    }

    /// After a failure: removes a file from which no later run could go on, or should.
    async fn give_up(self, error: &Error) -> Result<()> {
        let Some(place) = self.place else { return Ok(()) };
        let spoilt = is_spoilt(error);
        blocking(move || {
            if spoilt || self.keep.is_none() || !place.state_path().exists() {
                self.sink.abort();
            }
            Ok(())
        })
        .await
    }

    /// Ends what was begun: gives it up after a failure, and tells how it ended. `reused` is how
    /// many of the disk's `capacity` bytes were there from an earlier run.
    ///
    /// # Errors
    /// As [`Begun::give_up`].
    pub async fn end<T>(
        self,
        outcome: &Result<T>,
        reused: impl Fn(&T) -> u64,
        capacity: u64,
        progress: &dyn DiskProgress,
    ) -> Result<()> {
        if let Err(error) = outcome {
            self.give_up(error).await?;
        }
        progress.finish(match outcome {
            Ok(done) if reused(done) >= capacity => DiskEnd::Reused,
            Ok(_) => DiskEnd::Done,
            Err(_) => DiskEnd::Failed,
        });
        Ok(())
    }
}

/// Whether what was written is not worth going on with: what damaged bytes or a bug led to.
pub fn is_spoilt(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Internal)
}

/// Checkpoints of a disk that is written in jobs.
pub(super) fn checkpointing(keep: &Arc<dyn Keep>, recipe: &Recipe) -> Checkpointing {
    let (keep, recipe) = (keep.clone(), recipe.clone());
    Checkpointing {
        every: CHECKPOINT_EVERY,
        store: Arc::new(move |point| keep.store(&recipe.state(Progress::Part(point)))),
    }
}

/// Notes that all of an artifact is written.
pub(super) async fn store_complete(
    keep: Arc<dyn Keep>,
    recipe: &Recipe,
    sink: Arc<dyn Sink>,
    done: Complete,
) -> Result<()> {
    let recipe = recipe.clone();
    blocking(move || {
        sink.sync()?;
        let done = Complete { file: keep.file()?, ..done };
        keep.store(&recipe.state(Progress::Complete(done)))
    })
    .await
}

fn begin_file(path: &Path, plan: &ImagePlan, recipe: &Recipe) -> Result<Begun> {
    let place = Place::new(path)?;
    let subject = || path.display().to_string();
    let begun = |sink: FileSink, from| {
        // Without a proof that the source is the same no state is worth storing.
        let file = recipe.source.is_some().then(|| StateFile(place.clone()));
        let keep = file.map(|file| Arc::new(file) as Arc<dyn Keep>);
        let sink = if plan.hold { sink.held() } else { sink };
        Begun { sink: Arc::new(sink), keep, from, place: Some(place.clone()) }
    };
    if place.exists() && !plan.overwrite {
        let Some(done) = named_before(&place, recipe) else {
            return Err(Error::conflict("the file exists")
                .with_subject(subject())
                .with_hint("give --overwrite to replace it, or another name"));
        };
        let sink = FileSink::named(place.claim()?).subject(subject)?;
        return Ok(begun(sink, Some(Progress::Complete(done))));
    }
    let mut claim = place.claim()?;
    if let Some(state) = load(&place).filter(|state| recipe.fits(state)) {
        match FileSink::resume(claim, plan.overwrite, state.progress.written())? {
            Ok(sink) => return Ok(begun(sink, Some(state.progress))),
            Err(back) => claim = back,
        }
    }
    let sink = FileSink::create(claim, plan.overwrite).subject(subject)?;
    if let Some(len) = plan.file_len() {
        sink.check_room(len).inspect_err(|_| drop(sink.abort()))?;
    }
    Ok(begun(sink, None))
}

/// What stands under the final name, if a run with the same source and plan gave it that name and
/// was ended before all that belongs to it had theirs.
pub(super) fn named_before(place: &Place, recipe: &Recipe) -> Option<Complete> {
    let state = load(place).filter(|state| recipe.fits(state))?;
    let Progress::Complete(done) = state.progress else { return None };
    done.file.as_ref().is_some_and(|file| stands_at(file, place)).then_some(done)
}

/// Whether that very file stands under the final name.
pub(super) fn stands_at(file: &SourceIdentity, place: &Place) -> bool {
    let is_plain = std::fs::symlink_metadata(place.path()).is_ok_and(|found| found.is_file());
    is_plain && SourceIdentity::of_path(place.path()).is_ok_and(|it| it == *file)
}
