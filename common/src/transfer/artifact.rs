//! One image file as a whole: begun anew or gone on with, written, read back, held until its run
//! gives it the final name.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::blocking;
use super::{
    Checkpoint, Checkpointing, Complete, Content, DiskDone, DiskTask, Engine, FileSum, Progress,
    State, SumKind, Target,
};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fs::{Claim, SourceIdentity, Target as Place, write_atomic};
use crate::image::{Image, ImageFormat, Layout, NoSiblings, Variant, WriteOptions, registry, vmdk};
use crate::progress::{DiskEnd, DiskProgress, Phase};
use crate::provider::ExtentStream;
use crate::sink::{FileSink, Sink};

/// Time between checkpoints: what a kill costs at the most, besides the time since the last one
/// was due.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// A disk that can be read from any multiple of its block size on.
pub struct ImageSource<'a> {
    /// How messages call it.
    pub name: String,
    /// Guest bytes; need not be a multiple of 512.
    pub capacity: u64,
    /// See [`crate::provider::DiskInfo::block_size`].
    pub block_size: u32,
    /// Changes whenever the content may have changed; `None` where nothing proves that a later
    /// run reads the same.
    pub identity: Option<String>,
    /// Its extents over a range.
    pub read: Box<dyn Fn(Range<u64>) -> ExtentStream + Send + Sync + 'a>,
}

impl std::fmt::Debug for ImageSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImageSource({}, {} bytes)", self.name, self.capacity)
    }
}

/// How an image is written.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePlan {
    /// The format.
    pub format: ImageFormat,
    /// The format's options; the capacity is the padded one of [`registry::check_capacity`].
    pub options: WriteOptions,
    /// The file checksum to make.
    pub sum: Option<SumKind>,
    /// Whether the image is read back and compared with what was read from the source.
    pub verify: bool,
    /// Whether the content checksum is wanted for its own sake.
    pub content: bool,
    /// See [`DiskTask::trust_source`].
    pub trust_source: bool,
    /// See [`DiskTask::recompress`].
    pub recompress: bool,
    /// Whether a file under the final name is replaced.
    pub overwrite: bool,
    /// Whether the image waits for others before it is named, and a later run may reuse it whole.
    pub hold: bool,
}

/// Where an image is written.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A local file; can be gone on with.
    File(PathBuf),
    /// A pipe, or a member of a package.
    Sink(Arc<dyn Sink>),
}

/// An image that is complete but, if it is a file, not yet named.
#[derive(Debug)]
pub struct WrittenImage {
    /// Where it is.
    pub sink: Arc<dyn Sink>,
    /// Length of the file in bytes.
    pub size: u64,
    /// The file checksum, where asked for.
    pub sum: Option<FileSum>,
    /// What it holds, where asked for.
    pub content: Option<Content>,
    /// Guest bytes that were neither hole nor zero.
    pub data_bytes: u64,
    /// Whether it was read back and found equal.
    pub verified: bool,
    /// Guest bytes that an earlier run had done.
    pub reused_bytes: u64,
    /// What the check of its structure found that does no harm.
    pub findings: Vec<String>,
    /// A file that belongs to it: the descriptor of a flat VMDK.
    pub beside: Option<BesideFile>,
}

/// A small file that belongs to an image and is written after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideFile {
    /// Its name, in the image's folder.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Engine {
    /// Writes `source` as an image. A file that an interrupted run left is gone on with, provided
    /// that source and plan are the same.
    ///
    /// # Errors
    /// `Conflict` where the file exists or another run writes it; the engine's own. A file from
    /// which a later run can go on stays; any other is removed.
    pub async fn write_image(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        to: Destination,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<WrittenImage> {
        let (plan, to, beside) = match plan.flat() {
            None => (plan.clone(), to, None),
            Some((raw, beside)) => {
                let to = match to {
                    Destination::File(path) => Destination::File(plan.data_file(&path)),
                    pipe @ Destination::Sink(_) => pipe,
                };
                (raw, to, Some(beside))
            }
        };
        let plan = &plan;
        let recipe = Recipe::new(source, plan);
        let to_file = matches!(to, Destination::File(_));
        let begun = match to {
            Destination::Sink(sink) => Begun::anew(sink, None),
            Destination::File(path) => {
                let (recipe, plan) = (recipe.clone(), plan.clone());
                let mut begun = blocking(move || begin_file(&path, &plan, &recipe)).await?;
                // Without a proof that the source is the same no state is worth storing.
                begun.file = begun.file.filter(|_| source.identity.is_some());
                begun
            }
        };
        let (sink, file) = (begun.sink.clone(), begun.file.clone());
        let outcome = self.write_begun(source, plan, recipe, begun, progress.clone()).await;
        if let Err(error) = &outcome
            && to_file
        {
            // What damaged bytes or a bug led to is not worth going on with.
            let spoilt = matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Internal);
            blocking(move || {
                if spoilt || !file.is_some_and(|file| file.can_go_on()) {
                    sink.abort();
                }
                Ok(())
            })
            .await?;
        }
        progress.finish(match &outcome {
            Ok(done) if done.reused_bytes >= source.capacity => DiskEnd::Reused,
            Ok(_) => DiskEnd::Done,
            Err(_) => DiskEnd::Failed,
        });
        outcome.map(|written| WrittenImage { beside, ..written })
    }

    async fn write_begun(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        recipe: Recipe,
        begun: Begun,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<WrittenImage> {
        let Begun { sink, file, from } = begun;
        tracing::info!(
            format = %plan.format,
            variant = ?plan.options.variant,
            compression = ?plan.options.compression,
            block = ?plan.options.block_size,
            trust_source = plan.trust_source,
            recompress = plan.recompress,
            "write {} of {} guest bytes", source.name, plan.options.capacity
        );
        if let Some(Progress::Part(from)) = &from {
            tracing::info!("go on with {} at guest byte {}", source.name, from.position);
        }
        let (done, reused_bytes) = match from {
            Some(Progress::Complete(done)) => {
                let Complete { size, sum, content, data_bytes, .. } = done;
                (DiskDone { content, sum, size, data_bytes }, source.capacity)
            }
            Some(Progress::Part(from)) => {
                let reused = from.position;
                let task =
                    self.task(source, plan, &recipe, &sink, file.as_ref(), Some(from), &progress)?;
                (self.run(task).await?, reused)
            }
            None => {
                let task =
                    self.task(source, plan, &recipe, &sink, file.as_ref(), None, &progress)?;
                (self.run(task).await?, 0)
            }
        };
        if let Some(place) = file.filter(|_| plan.hold && reused_bytes < source.capacity) {
            let (sink, done, recipe) = (sink.clone(), done.clone(), recipe.clone());
            blocking(move || {
                sink.sync()?;
                let DiskDone { content, sum, size, data_bytes } = done;
                let file = place.partial_identity()?;
                let complete = Complete { size, sum, content, data_bytes, file };
                place.store(&recipe.state(Progress::Complete(complete)))
            })
            .await?;
        }
        let mut findings = Vec::new();
        if plan.verify {
            progress.phase(Phase::Verify);
            let began = Instant::now();
            findings = self.verify_written(source, plan, &sink, &done, progress).await?;
            tracing::info!(elapsed = ?began.elapsed(), "verified {}", source.name);
        }
        Ok(WrittenImage {
            sink,
            size: done.size,
            sum: done.sum,
            content: done.content,
            data_bytes: done.data_bytes,
            verified: plan.verify,
            reused_bytes,
            findings,
            beside: None,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one call, whose parts all differ")]
    fn task(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        recipe: &Recipe,
        sink: &Arc<dyn Sink>,
        file: Option<&StateFile>,
        from: Option<Checkpoint>,
        progress: &Arc<dyn DiskProgress>,
    ) -> Result<DiskTask> {
        let format = match &from {
            Some(from) => registry::resume(plan.format, &from.format)?,
            None => registry::create(plan.format, &plan.options)?,
        };
        let start = from.as_ref().map_or(0, |from| from.position);
        let target = Target {
            format,
            sink: sink.clone(),
            sum: plan.sum,
            checkpointing: file.map(|file| file.checkpointing(recipe.clone())),
        };
        let end = source.capacity;
        Ok(DiskTask {
            name: source.name.clone(),
            source_capacity: end,
            capacity: plan.options.capacity,
            block_size: source.block_size,
            extents: (source.read)(start.min(end)..end),
            target: Some(target),
            trust_source: plan.trust_source,
            recompress: plan.recompress,
            content: plan.content || plan.verify,
            from,
            progress: progress.clone(),
        })
    }

    pub(super) async fn verify_written(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        sink: &Arc<dyn Sink>,
        done: &DiskDone,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<Vec<String>> {
        let (Some(file), Some(content)) = (sink.read_back(), &done.content) else {
            return Err(Error::usage("what went into a pipe cannot be verified"));
        };
        let format = plan.format;
        let image: Arc<dyn Image> =
            blocking(move || Ok(registry::open(format, file, Arc::new(NoSiblings))?.into()))
                .await
                .context(|| "read back what was written")?;
        self.verify(&source.name, image, content, progress).await
    }
}

/// What decides an artifact's bytes, in text.
#[derive(Debug, Clone)]
struct Recipe {
    source: Option<String>,
    plan: String,
}

impl Recipe {
    fn new(source: &ImageSource<'_>, plan: &ImagePlan) -> Self {
        let ImagePlan { format, options, sum, trust_source, recompress, .. } = plan;
        let content = plan.content || plan.verify;
        let version = env!("CARGO_PKG_VERSION");
        Self {
            source: source.identity.as_ref().map(|known| format!("{} {known}", source.capacity)),
            plan: format!(
                "{version} {format} {options:?} {sum:?} {trust_source} {recompress} {content}"
            ),
        }
    }

    fn state(&self, progress: Progress) -> State {
        let source = self.source.clone().unwrap_or_default();
        State { source, recipe: self.plan.clone(), progress }
    }

    fn fits(&self, state: &State) -> bool {
        self.source.as_ref() == Some(&state.source) && state.recipe == self.plan
    }
}

/// The state file beside a partial file.
#[derive(Debug, Clone)]
struct StateFile(PathBuf);

impl StateFile {
    fn store(&self, state: &State) -> Result<()> {
        write_atomic(&self.0, &state.to_bytes()?, 0o600)
    }

    fn load(&self) -> Option<State> {
        std::fs::read(&self.0).ok().and_then(|bytes| State::from_bytes(&bytes))
    }

    fn partial_identity(&self) -> Result<SourceIdentity> {
        let place = Place::of_temporary(&self.0).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "the state file has a name that is none")
        })?;
        SourceIdentity::of_path(&place.partial_path())
    }

    fn can_go_on(&self) -> bool {
        self.0.exists()
    }

    fn checkpointing(&self, recipe: Recipe) -> Checkpointing {
        let file = self.clone();
        Checkpointing {
            every: CHECKPOINT_EVERY,
            store: Arc::new(move |point| file.store(&recipe.state(Progress::Part(point)))),
        }
    }
}

/// A target that is open, and the point from which it goes on.
struct Begun {
    sink: Arc<dyn Sink>,
    file: Option<StateFile>,
    from: Option<Progress>,
}

impl Begun {
    fn anew(sink: Arc<dyn Sink>, file: Option<StateFile>) -> Self {
        Self { sink, file, from: None }
    }
}

fn begin_file(path: &Path, plan: &ImagePlan, recipe: &Recipe) -> Result<Begun> {
    let place = Place::new(path)?;
    let subject = || path.display().to_string();
    let file = StateFile(place.state_path());
    if place.exists() && !plan.overwrite {
        let Some(done) = named_before(&place, recipe) else {
            return Err(Error::conflict("the file exists")
                .with_subject(subject())
                .with_hint("give --overwrite to replace it, or another name"));
        };
        let sink = FileSink::named(place.claim()?).subject(subject)?;
        let from = Some(Progress::Complete(done));
        return Ok(Begun { sink: Arc::new(sink), file: Some(file), from });
    }
    let mut claim = place.claim()?;
    let hold = |sink: FileSink| if plan.hold { sink.held() } else { sink };
    if let Some(state) = file.load().filter(|state| recipe.fits(state)) {
        match go_on(claim, plan.overwrite, &state)? {
            Ok(sink) => {
                let from = Some(state.progress);
                return Ok(Begun { sink: Arc::new(hold(sink)), file: Some(file), from });
            }
            Err(back) => claim = back,
        }
    }
    let sink = hold(FileSink::create(claim, plan.overwrite).subject(subject)?);
    if let Some(len) = plan.file_len() {
        sink.check_room(len).inspect_err(|_| drop(sink.abort()))?;
    }
    Ok(Begun::anew(Arc::new(sink), Some(file)))
}

/// What stands under the final name, if a run with the same source and plan gave it that name and
/// was ended before all that belongs to it had theirs.
fn named_before(place: &Place, recipe: &Recipe) -> Option<Complete> {
    let state = StateFile(place.state_path()).load().filter(|state| recipe.fits(state))?;
    let Progress::Complete(done) = state.progress else { return None };
    let is_plain = std::fs::symlink_metadata(place.path()).is_ok_and(|found| found.is_file());
    let same = is_plain && SourceIdentity::of_path(place.path()).is_ok_and(|it| it == done.file);
    same.then_some(done)
}

fn go_on(
    claim: Claim,
    overwrite: bool,
    state: &State,
) -> Result<std::result::Result<FileSink, Claim>> {
    let written = match &state.progress {
        Progress::Part(point) => point.written,
        Progress::Complete(done) => done.size,
    };
    FileSink::resume(claim, overwrite, written)
}

impl ImagePlan {
    /// For a flat VMDK: the plan of its data, which is raw, and its descriptor.
    fn flat(&self) -> Option<(Self, BesideFile)> {
        if self.options.variant != Some(Variant::MonolithicFlat) {
            return None;
        }
        let name = self.data_file(Path::new(&self.options.file_name));
        let name = name.to_string_lossy();
        let bytes = vmdk::flat_descriptor(&self.options, &name).into_bytes();
        let options = WriteOptions { variant: None, ..self.options.clone() };
        let raw = Self { format: ImageFormat::Raw, options, ..self.clone() };
        Some((raw, BesideFile { name: self.options.file_name.clone(), bytes }))
    }

    /// The file that holds the data of the image `path`: the image itself, or `X-flat.vmdk` for a
    /// flat VMDK.
    pub fn data_file(&self, path: &Path) -> PathBuf {
        if self.options.variant != Some(Variant::MonolithicFlat) {
            return path.to_path_buf();
        }
        let mut name = path.file_stem().unwrap_or_default().to_os_string();
        name.push("-flat.vmdk");
        path.with_file_name(name)
    }

    /// Whether the image at `path` was written by the same plan from the same source, and named by
    /// a run that was ended before it had named all that belongs to it.
    pub fn was_named(&self, source: &ImageSource<'_>, path: &Path) -> bool {
        let (plan, path) = match self.flat() {
            Some((raw, _)) => (raw, self.data_file(path)),
            None => (self.clone(), path.to_path_buf()),
        };
        let recipe = Recipe::new(source, &plan);
        Place::new(&path).is_ok_and(|place| named_before(&place, &recipe).is_some())
    }

    /// Length of the image's file, where that does not depend on its content.
    fn file_len(&self) -> Option<u64> {
        match (self.format, self.options.variant) {
            (ImageFormat::Raw, _) => Some(self.options.capacity),
            (ImageFormat::Vhd, Some(Variant::Fixed)) => self.options.capacity.checked_add(512),
            _ => None,
        }
    }

    /// Whether the image can go into a pipe.
    ///
    /// # Errors
    /// `Unsupported` where its tables are only known after its data.
    pub fn check_pipe(&self) -> Result<()> {
        let two_files = self.options.variant == Some(Variant::MonolithicFlat);
        if !two_files && registry::create(self.format, &self.options)?.layout() == Layout::Append {
            return Ok(());
        }
        let text =
            format!("{} cannot be written to a pipe: its tables come before its data", self.format);
        Err(Error::unsupported(text)
            .with_hint("raw, streamOptimized VMDK and fixed VHD can; or write to a file"))
    }
}

impl WrittenImage {
    /// Removes it instead of naming it. Answers with what could not be removed.
    pub fn discard(&self) -> Option<String> {
        self.sink.abort()
    }

    /// Gives the image its final name.
    ///
    /// # Errors
    /// `Conflict` where the name was taken meanwhile; `Io`.
    pub fn commit(&self) -> Result<()> {
        self.sink.commit()
    }

    /// All that belongs together has its name: see [`Sink::settle`].
    pub fn settle(&self) {
        self.sink.settle();
    }
}
