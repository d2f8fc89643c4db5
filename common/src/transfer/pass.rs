//! Disks that pass through: the source's own file is already the image that is wanted.

use std::sync::{Arc, Mutex, PoisonError};

use super::artifact::{ImagePlan, ImageSource, WrittenImage};
use super::{CopyDone, DiskTask, Engine, FileSum, SumKind};
use crate::error::{Error, Result, ResultExt};
use crate::image::vmdk;
use crate::progress::{DiskEnd, DiskProgress, Phase};
use crate::provider::Whole;
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
        let copied = self.copy_checked(source, plan, whole, &sink, progress.clone()).await;
        let verified = match (&copied, plan.verify) {
            (Ok(_), true) => self.verify_copy(source, plan, &sink, progress.clone()).await,
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
        whole: &Whole,
        sink: &Arc<dyn Sink>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<(CopyDone, u64)> {
        let mut kinds: Vec<_> = plan.sum.into_iter().collect();
        let expected = whole.expected.as_ref().and_then(|(name, hex)| {
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
        let done = self.copy(whole.file.clone(), sink.clone(), kinds, watch, about).await?;
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
}
