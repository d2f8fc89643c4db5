//! Writing an image: begun anew or gone on with, read back, held until its run gives it the final
//! name.

use std::sync::Arc;
use std::time::Instant;

use super::artifact::{Destination, ImagePlan, ImageSource, WrittenImage};
use super::disk::blocking;
use super::keep::{Begun, Recipe, checkpointing, store_complete};
use super::{Checkpoint, Complete, DiskDone, DiskTask, Engine, Progress, Target};
use crate::error::{Error, Result, ResultExt};
use crate::image::{Image, NoSiblings, registry};
use crate::progress::{DiskProgress, NoProgress, Phase};
use crate::sink::Sink;

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
                    other => other,
                };
                (raw, to, Some(beside))
            }
        };
        let recipe = Recipe::new(source, &plan, false);
        let begun = Begun::new(to, &plan, &recipe).await?;
        let outcome = self.write_begun(source, &plan, &recipe, &begun, progress.clone()).await;
        begun.end(&outcome, |done| done.reused_bytes, source.capacity, &*progress).await?;
        outcome.map(|written| WrittenImage { beside, ..written })
    }

    async fn write_begun(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        recipe: &Recipe,
        begun: &Begun,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<WrittenImage> {
        let Begun { sink, keep, from, .. } = begun;
        tracing::info!(
            format = %plan.format,
            variant = ?plan.options.variant,
            compression = ?plan.options.compression,
            block = ?plan.options.block_size,
            trust_source = plan.trust_source,
            recompress = plan.recompress,
            "write {} of {} guest bytes", source.name, plan.options.capacity
        );
        let (done, reused_bytes) = match from {
            Some(Progress::Complete(done)) => {
                let Complete { size, sum, content, data_bytes, .. } = done.clone();
                let mut done = DiskDone { content, sum, size, data_bytes, content_sum: None };
                if plan.wants_content() && done.content.is_none() {
                    done.content = self.read_content(source, plan, source.capacity).await?.content;
                }
                (done, source.capacity)
            }
            Some(Progress::Part(from)) => {
                let mut from = from.clone();
                tracing::info!("go on with {} at guest byte {}", source.name, from.position);
                let reused = from.position;
                if plan.wants_content() && from.content.is_none() {
                    from.content = self.read_content(source, plan, reused).await?.content_sum;
                }
                (
                    self.run(self.task(source, plan, recipe, begun, Some(from), &progress)?)
                        .await?,
                    reused,
                )
            }
            Some(Progress::Copied(_)) | None => {
                (self.run(self.task(source, plan, recipe, begun, None, &progress)?).await?, 0)
            }
        };
        if let Some(keep) = keep.clone().filter(|_| plan.hold && reused_bytes < source.capacity) {
            store_complete(keep, recipe, sink.clone(), Complete::of(&done)).await?;
        }
        let mut findings = Vec::new();
        if plan.verify {
            progress.phase(Phase::Verify);
            let began = Instant::now();
            findings = self.verify_written(source, plan, sink, &done, progress).await?;
            tracing::info!(elapsed = ?began.elapsed(), "verified {}", source.name);
        }
        Ok(WrittenImage {
            sink: sink.clone(),
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

    /// What the first `end` bytes of the source hold, which an earlier run wrote without asking.
    async fn read_content(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        end: u64,
    ) -> Result<DiskDone> {
        let end = end.min(source.capacity);
        let capacity = if end == source.capacity { plan.options.capacity } else { end };
        self.run(DiskTask {
            name: source.name.clone(),
            source_capacity: end,
            capacity,
            block_size: source.block_size,
            extents: (source.read)(0..end),
            target: None,
            trust_source: false,
            recompress: false,
            content: true,
            from: None,
            progress: Arc::new(NoProgress),
        })
        .await
    }

    fn task(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        recipe: &Recipe,
        begun: &Begun,
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
            sink: begun.sink.clone(),
            sum: plan.sum,
            checkpointing: begun.keep.as_ref().map(|keep| checkpointing(keep, recipe)),
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
            content: plan.wants_content(),
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
