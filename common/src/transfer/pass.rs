//! Disks that pass through: the source's own file is already the image that is wanted.

use std::sync::Arc;

use super::artifact::{Destination, ImagePlan, ImageSource, WrittenImage};
use super::copy::{CopyTask, StorePoint};
use super::disk::blocking;
use super::keep::{Begun, Recipe, store_complete};
use super::sum::sum_file;
use super::{
    Complete, CopyDone, DiskTask, Engine, FileSum, Progress, SumKind, WireDisk, image_extents,
};
use crate::error::{Error, Result, ResultExt};
use crate::image::{Image, NoSiblings, ReadAt, registry};
use crate::progress::{DiskProgress, Phase};
use crate::provider::{Whole, WholeBytes};
use crate::sink::Sink;

/// A copy that is there, and what of it an earlier run had made.
struct Copied {
    size: u64,
    sum: Option<FileSum>,
    data_bytes: u64,
    reused_bytes: u64,
}

impl Engine {
    /// Copies the source's own file as it is, following its structure and, with `plan.verify`,
    /// reading both sides back. The source's own checksum, where there is one, is compared. A copy
    /// that an interrupted run left is gone on with, as in [`Engine::write_image`]; one from the
    /// wire only where it is complete.
    ///
    /// # Errors
    /// `Integrity` where the stream is not whole or a checksum differs; those of
    /// [`Engine::write_image`].
    pub async fn copy_image(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        whole: &Whole,
        to: Destination,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<WrittenImage> {
        let recipe = Recipe::new(source, plan, true);
        let begun = Begun::new(to, plan, &recipe).await?;
        let sink = begun.sink.clone();
        let outcome = self.copy_begun(source, plan, whole, (&recipe, &begun), &progress).await;
        begun.end(&outcome, |done| done.reused_bytes, source.capacity, &*progress).await?;
        let Copied { size, sum, data_bytes, reused_bytes } =
            outcome.subject(|| source.name.clone())?;
        Ok(WrittenImage {
            sink,
            size,
            sum,
            content: None,
            data_bytes,
            verified: plan.verify,
            reused_bytes,
            findings: Vec::new(),
            beside: None,
        })
    }

    async fn copy_begun(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        whole: &Whole,
        (recipe, begun): (&Recipe, &Begun),
        progress: &Arc<dyn DiskProgress>,
    ) -> Result<Copied> {
        let copied = match (&begun.from, &whole.bytes) {
            (Some(Progress::Complete(done)), _) => Copied {
                size: done.size,
                sum: done.sum.clone(),
                data_bytes: done.data_bytes,
                reused_bytes: source.capacity,
            },
            (_, WholeBytes::File(file)) => {
                let expected = whole.expected.as_ref();
                let how = (recipe, begun);
                self.copy_checked(source, plan, (file, expected), how, progress).await?
            }
            (_, WholeBytes::Wire(wire)) => {
                let disk = WireDisk { capacity: source.capacity, block_size: source.block_size };
                let (kinds, sink) = (wanted(plan), begun.sink.clone());
                let (done, facts) =
                    self.copy_wire(wire, &disk, sink, kinds, progress.clone()).await?;
                if plan.verify {
                    let progress = progress.clone();
                    self.verify_received(source, plan, &begun.sink, &done, progress).await?;
                }
                copied(plan, done, facts.populated_bytes, 0)
            }
        };
        if let Some(keep) = begun.keep.clone()
            && plan.hold
            && copied.reused_bytes < source.capacity
        {
            let Copied { size, sum, data_bytes, .. } = &copied;
            let done = Complete {
                size: *size,
                sum: sum.clone(),
                content: None,
                data_bytes: *data_bytes,
                file: None,
            };
            store_complete(keep, recipe, begun.sink.clone(), done).await?;
        }
        let reread = matches!(whole.bytes, WholeBytes::File(_)) || copied.reused_bytes > 0;
        if plan.verify && reread {
            self.verify_copy(source, plan, &begun.sink, progress.clone()).await?;
        }
        Ok(copied)
    }

    async fn copy_checked(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        (file, expected): (&Arc<dyn ReadAt>, Option<&(String, String)>),
        (recipe, begun): (&Recipe, &Begun),
        progress: &Arc<dyn DiskProgress>,
    ) -> Result<Copied> {
        let mut sums: Vec<_> = plan.sum.into_iter().collect();
        let expected = expected.and_then(|(name, hex)| {
            let kind = [SumKind::Sha256, SumKind::Sha1].into_iter().find(|k| k.name() == name)?;
            Some(FileSum { kind, hex: hex.to_ascii_lowercase() })
        });
        if let Some(expected) = expected.as_ref().filter(|sum| !sums.contains(&sum.kind)) {
            sums.push(expected.kind);
        }
        let from = match &begun.from {
            Some(Progress::Copied(from)) => Some(from),
            _ => None,
        };
        let store = begun.keep.clone().map(|keep| {
            let recipe = recipe.clone();
            let store = move |point| keep.store(&recipe.state(Progress::Copied(point)));
            Arc::new(store) as StorePoint
        });
        let task = CopyTask {
            file: file.clone(),
            sink: begun.sink.clone(),
            sums,
            follow: true,
            capacity: source.capacity,
            progress: progress.clone(),
        };
        let done = self.copy_from(task, from, store).await?;
        if let Some(expected) = expected
            && !done.sums.contains(&expected)
        {
            return Err(Error::integrity("it is not what its manifest's checksum says"));
        }
        let data_bytes = done.facts.map_or(0, |facts| facts.populated_bytes);
        let reused = from.map_or(0, |from| from.position.min(source.capacity));
        Ok(copied(plan, done, data_bytes, reused))
    }

    /// Reads the source and its copy, and compares what they hold.
    async fn verify_copy(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        sink: &Arc<dyn Sink>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<()> {
        progress.phase(Phase::Verify);
        let task = DiskTask {
            name: source.name.clone(),
            source_capacity: source.capacity,
            capacity: plan.options.capacity,
            block_size: source.block_size,
            extents: (source.read)(0..source.capacity),
            target: None,
            trust_source: false,
            recompress: false,
            content: true,
            from: None,
            progress: progress.clone(),
        };
        let done = self.run(task).await?;
        self.verify_written(source, plan, sink, &done, progress).await.map(|_| ())
    }

    /// Reads back what came from the wire and cannot come again: the file must have the checksum
    /// that was made of it on the way, and every block in it must inflate to what its own
    /// checksum says.
    async fn verify_received(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        sink: &Arc<dyn Sink>,
        done: &CopyDone,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<()> {
        progress.phase(Phase::Verify);
        let (Some(file), Some(made)) = (sink.read_back(), done.sums.first().cloned()) else {
            return Err(Error::usage("what went into a pipe cannot be verified"));
        };
        let (cancel, written, format) = (self.cancel.clone(), file.clone(), plan.format);
        let image: Arc<dyn Image> = blocking(move || {
            if sum_file(&written, made.kind, &cancel)? != made {
                return Err(Error::integrity("the file is not what came from the server"));
            }
            Ok(registry::open(format, file, Arc::new(NoSiblings))?.into())
        })
        .await
        .context(|| "read back what was written")?;
        let task = DiskTask {
            name: source.name.clone(),
            source_capacity: source.capacity,
            capacity: plan.options.capacity,
            block_size: image.block_size(),
            extents: image_extents(image, 0..source.capacity),
            target: None,
            trust_source: false,
            recompress: false,
            content: true,
            from: None,
            progress,
        };
        self.run(task).await.map(|_| ())
    }
}

fn copied(plan: &ImagePlan, done: CopyDone, data_bytes: u64, reused_bytes: u64) -> Copied {
    let sum = plan.sum.and_then(|kind| done.sums.into_iter().find(|sum| sum.kind == kind));
    Copied { size: done.size, sum, data_bytes, reused_bytes }
}

/// The checksums to make of what comes from the wire: the one that was asked for, and one to
/// verify with.
fn wanted(plan: &ImagePlan) -> Vec<SumKind> {
    match plan.sum {
        None if plan.verify => vec![SumKind::Sha256],
        kind => kind.into_iter().collect(),
    }
}
