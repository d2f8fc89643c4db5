//! An OVA in a file that can seek: gone on with after an interruption, disk by disk and inside each
//! disk.

use std::path::Path;
use std::sync::Arc;

use hyper_common::error::Result;
use hyper_common::fs::Target as Place;
use hyper_common::package::ova::{header_len, padding};
use hyper_common::progress::Phase;
use hyper_common::provider::ExportSource;
use hyper_common::sink::{FileSink, Sink};
use hyper_common::transfer::{PackageKeeper, PackageState, Progress, State, is_spoilt};

use crate::disks::image_source;
use crate::machine::Shared;
use crate::package::Front;
use crate::plan::{MachinePlan, PlannedDisk};
use crate::record::Exported;
use crate::taken::taken;
use crate::tar::Tar;

/// A package that was begun, now or by an earlier run.
struct Begun {
    sink: Arc<dyn Sink>,
    keeper: Arc<PackageKeeper>,
    tar: Tar,
    named: bool,
}

impl Shared {
    /// Writes the package `path`. What an earlier run with the same sources and request left is
    /// gone on with.
    pub async fn write_ova_file(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        known: bool,
        path: &Path,
        record: &mut Exported,
    ) -> Result<Arc<dyn Sink>> {
        self.check_free(plan, std::iter::once(path.to_path_buf()))?;
        let front = Front::new(source, plan, self.request.write.time, known)?;
        let place = Place::new(path)?;
        let Begun { sink, keeper, tar, named } =
            self.begin_package(source, plan, &front, &place)?;
        let give_up = |error: &_| {
            if is_spoilt(error) || !place.state_path().exists() {
                sink.abort();
            }
        };
        let filled = self.fill_ova(source, plan, front, tar, Some(&keeper)).await;
        let written = filled.inspect_err(give_up)?;
        self.reporter.phase(Phase::Finish);
        if !named && plan.disks.iter().all(|disk| disk.info.identity.is_some()) {
            let noted = sink.sync().and_then(|()| keeper.complete());
            noted.inspect_err(give_up)?;
        }
        sink.commit().inspect_err(give_up)?;
        self.note_ova(plan, written.size, &written, record)?;
        Ok(sink)
    }

    /// Everything that belongs to the package has its name.
    pub fn settle_package(&self, plan: &MachinePlan, sink: &dyn Sink) -> Result<()> {
        sink.settle();
        match (&self.run, &plan.package) {
            (Some(run), Some(path)) => run.settled(&Place::new(path)?),
            _ => Ok(()),
        }
    }

    /// Whether the package got its name from a run that was ended before all that belongs to it
    /// had theirs.
    pub fn package_was_named(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        path: &Path,
    ) -> bool {
        let Ok(place) = Place::new(path) else { return false };
        let state = PackageState::load(&place).filter(|state| state.is_named(&place));
        state.is_some_and(|state| {
            let disks = plan.disks.iter().zip(&state.members);
            state.members.len() == plan.disks.len()
                && disks.into_iter().all(|(disk, (_, state))| fits(source, disk, state))
        })
    }

    fn begin_package(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        front: &Front,
        place: &Place,
    ) -> Result<Begun> {
        if let Some(run) = &self.run {
            run.making_file(place)?;
        }
        let overwrite = self.request.write.overwrite;
        let mut claim = place.claim()?;
        let begun = |sink: FileSink, state, named| {
            let sink: Arc<dyn Sink> = Arc::new(sink.held());
            let tar = if named { Tar::there } else { Tar::new };
            let tar = tar(sink.clone(), front.mtime);
            Begun { sink, keeper: PackageKeeper::new(place.clone(), state), tar, named }
        };
        if let Some((state, written)) = earlier(source, plan, front, place) {
            if state.is_named(place) && !overwrite {
                return Ok(begun(FileSink::named(claim)?, state, true));
            }
            match FileSink::resume(claim, overwrite, written)? {
                Ok(sink) => return Ok(begun(sink, state, false)),
                Err(back) => claim = back,
            }
        }
        if place.exists() && !overwrite {
            return Err(taken(place.path()));
        }
        let sink = FileSink::create(claim, overwrite)?;
        Ok(begun(sink, PackageState::new(front.recipe()), false))
    }
}

/// What an earlier run left of the package, as far as source and request are the same: its state,
/// and the length of the file that counts.
fn earlier(
    source: &dyn ExportSource,
    plan: &MachinePlan,
    front: &Front,
    place: &Place,
) -> Option<(PackageState, u64)> {
    let mut state = PackageState::load(place).filter(|state| state.recipe == front.recipe())?;
    let (mut at, mut written, mut count) = (front.end(), None, 0);
    for (disk, (base, member)) in plan.disks.iter().zip(&state.members) {
        let start = at + header_len(&disk.file_name);
        if *base != start || !fits(source, disk, member) {
            break;
        }
        let size = member.progress.written();
        written = Some(start + size);
        count += 1;
        if !matches!(member.progress, Progress::Complete(_)) {
            break;
        }
        at = start + size + padding(size);
    }
    state.members.truncate(count);
    if count < plan.disks.len() {
        state.whole = None;
    }
    written.map(|written| (state, written))
}

fn fits(source: &dyn ExportSource, disk: &PlannedDisk, state: &State) -> bool {
    disk.plan.fits(&image_source(source, disk), state, disk.whole.is_some())
}
