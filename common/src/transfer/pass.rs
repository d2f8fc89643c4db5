//! Disks that pass through: the source's own file is already the image that is wanted.

use std::sync::{Arc, Mutex, PoisonError};

use super::artifact::{ImagePlan, ImageSource, WrittenImage};
use super::disk::blocking;
use super::sum::sum_file;
use super::{CopyDone, DiskTask, Engine, FileSum, SumKind, WireDisk, image_extents};
use crate::error::{Error, Result, ResultExt};
use crate::image::{Image, NoSiblings, ReadAt, registry, vmdk};
use crate::progress::{DiskEnd, DiskProgress, Phase};
use crate::provider::{Whole, WholeBytes};
use crate::sink::Sink;

impl Engine {
    /// Copies the source's own file as it is, following its structure and, with `plan.verify`,
    /// reading both sides back. The source's own checksum, where there is one, is compared.
    ///
    /// # Errors
    /// `Integrity` where the stream is not whole or a checksum differs; the engine's own.
    pub async fn copy_image(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        whole: &Whole,
        sink: Arc<dyn Sink>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<WrittenImage> {
        let copied = match &whole.bytes {
            WholeBytes::File(file) => {
                let expected = whole.expected.as_ref();
                self.copy_checked(source, plan, (file, expected), &sink, progress.clone()).await
            }
            WholeBytes::Wire(wire) => {
                let disk = WireDisk { capacity: source.capacity, block_size: source.block_size };
                let kinds = wanted(plan);
                let copy = self.copy_wire(wire, &disk, sink.clone(), kinds, progress.clone());
                copy.await.map(|(done, facts)| (done, facts.populated_bytes))
            }
        };
        let verified = match (&copied, plan.verify, &whole.bytes) {
            (Ok(_), true, WholeBytes::File(_)) => {
                self.verify_copy(source, plan, &sink, progress.clone()).await
            }
            (Ok((done, _)), true, WholeBytes::Wire(_)) => {
                self.verify_received(source, plan, &sink, done, progress.clone()).await
            }
            _ => Ok(()),
        };
        let outcome = copied.and_then(|copied| verified.map(|()| copied));
        progress.finish(if outcome.is_ok() { DiskEnd::Done } else { DiskEnd::Failed });
        let (done, data_bytes) = outcome.subject(|| source.name.clone())?;
        Ok(WrittenImage {
            sink,
            size: done.size,
            sum: plan.sum.and_then(|kind| done.sums.into_iter().find(|sum| sum.kind == kind)),
            content: None,
            data_bytes,
            verified: plan.verify,
            reused_bytes: 0,
            findings: Vec::new(),
            beside: None,
        })
    }

    async fn copy_checked(
        &self,
        source: &ImageSource<'_>,
        plan: &ImagePlan,
        (file, expected): (&Arc<dyn ReadAt>, Option<&(String, String)>),
        sink: &Arc<dyn Sink>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<(CopyDone, u64)> {
        let mut kinds: Vec<_> = plan.sum.into_iter().collect();
        let expected = expected.and_then(|(name, hex)| {
            let kind = [SumKind::Sha256, SumKind::Sha1].into_iter().find(|k| k.name() == name)?;
            Some(FileSum { kind, hex: hex.to_ascii_lowercase() })
        });
        if let Some(expected) = expected.as_ref().filter(|sum| !kinds.contains(&sum.kind)) {
            kinds.push(expected.kind);
        }
        let facts = Arc::new(Mutex::new(None));
        let (found, mut check) = (facts.clone(), Some(vmdk::StreamCheck::new()));
        let watch = Box::new(move |bytes: Option<&[u8]>| match (bytes, &mut check) {
            (Some(bytes), Some(check)) => check.push(bytes),
            (None, check) => {
                if let Some(check) = check.take() {
                    let facts = check.finish()?;
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
                }
                Ok(())
            }
            (Some(_), None) => Ok(()),
        });
        let about = (progress, source.capacity);
        let done = self.copy(file.clone(), sink.clone(), kinds, watch, about).await?;
        if let Some(expected) = expected
            && !done.sums.contains(&expected)
        {
            return Err(Error::integrity("it is not what its manifest's checksum says"));
        }
        let facts = facts.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((done, facts.map_or(0, |facts| facts.populated_bytes)))
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

/// The checksums to make of what comes from the wire: the one that was asked for, and one to
/// verify with.
fn wanted(plan: &ImagePlan) -> Vec<SumKind> {
    match plan.sum {
        None if plan.verify => vec![SumKind::Sha256],
        kind => kind.into_iter().collect(),
    }
}
