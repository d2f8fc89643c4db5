//! The disks of a machine on their way to their files, several at once.

use std::sync::Arc;

use futures::StreamExt;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::fs::Target as Place;
use hyper_common::provider::{ExportSource, Seek};
use hyper_common::sink::PipeSink;
use hyper_common::transfer::{Destination, ImageSource, WrittenImage};

use crate::machine::Shared;
use crate::plan::{MachinePlan, PlannedDisk};
use crate::request::To;

/// Disks of one machine at once.
const DISKS_AT_ONCE: usize = 4;

/// Whether a disk came damaged in a way that it may not the next time: a stream that broke off and
/// cannot be gone on with.
fn may_begin_anew(error: &Error) -> bool {
    error.kind() == ErrorKind::Integrity && error.retry_after().is_some()
}

impl Shared {
    /// Writes all disks of the plan, several at once, each to its file or all to the pipe. None is
    /// named yet.
    pub async fn copy_disks(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
    ) -> Result<Vec<WrittenImage>> {
        let written = self.copy_each(source, plan).await;
        // One failed disk does not stop the others: what they wrote is there for the next run,
        // unless that could not know it for the same.
        if written.iter().any(Result::is_err) {
            for (disk, image) in plan.disks.iter().zip(&written) {
                if let (Ok(image), None) = (image, &disk.info.identity) {
                    image.discard();
                }
            }
        }
        written.into_iter().collect()
    }

    /// In the order of the plan; disks that come in turns are taken one after another.
    async fn copy_each(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
    ) -> Vec<Result<WrittenImage>> {
        let turn = |disk: &PlannedDisk| match disk.info.seek {
            Seek::Turn(turn) => Some(turn),
            Seek::Stream | Seek::Ranges => None,
        };
        let mut order: Vec<_> = plan.disks.iter().enumerate().collect();
        order.sort_by_key(|(_, disk)| turn(disk));
        let at_once =
            if plan.disks.iter().any(|disk| turn(disk).is_some()) { 1 } else { DISKS_AT_ONCE };
        let jobs = order.into_iter().map(|(number, disk)| async move {
            (number, self.copy_disk(source, plan, disk).await)
        });
        let mut written: Vec<_> = futures::stream::iter(jobs).buffered(at_once).collect().await;
        written.sort_by_key(|(number, _)| *number);
        written.into_iter().map(|(_, image)| image).collect()
    }

    async fn copy_disk(
        &self,
        source: &dyn ExportSource,
        plan: &MachinePlan,
        disk: &PlannedDisk,
    ) -> Result<WrittenImage> {
        let to = match &self.request.to {
            To::Pipe => Destination::Sink(Arc::new(PipeSink::stdout()?)),
            _ => {
                let path = plan.folder.join(&disk.file_name);
                if let Some(run) = &self.run {
                    run.making_file(&Place::new(&disk.plan.data_file(&path))?)?;
                }
                Destination::File(path)
            }
        };
        let label = format!("{}/{}", plan.machine.name, disk.info.id);
        let mut written = self.copy_once(source, disk, &to, &label).await;
        if let (Err(error), Destination::File(_)) = (&written, &to)
            && may_begin_anew(error)
        {
            self.reporter.note(&format!("{label}: {}; it is begun anew", one_line(error)));
            written = self.copy_once(source, disk, &to, &label).await;
        }
        let written = written?;
        self.tell(&label, disk, &written);
        Ok(written)
    }

    /// Says what of a disk was there already, and what its check found.
    pub fn tell(&self, label: &str, disk: &PlannedDisk, written: &WrittenImage) {
        if written.reused_bytes > 0 {
            self.reporter.note(&format!(
                "{label}: {} of {} bytes were there from an earlier run",
                written.reused_bytes, disk.info.capacity
            ));
        }
        for finding in &written.findings {
            self.reporter.warn(&format!("{label}: {finding}"));
        }
    }

    async fn copy_once(
        &self,
        source: &dyn ExportSource,
        disk: &PlannedDisk,
        to: &Destination,
        label: &str,
    ) -> Result<WrittenImage> {
        let progress = self.reporter.disk(label, disk.plan.options.capacity);
        let from = image_source(source, disk);
        match &disk.whole {
            None => self.engine.write_image(&from, &disk.plan, to.clone(), progress).await,
            Some(whole) => {
                self.engine.copy_image(&from, &disk.plan, whole, to.clone(), progress).await
            }
        }
    }
}

/// A disk as the engine reads it.
pub fn image_source<'a>(source: &'a dyn ExportSource, disk: &PlannedDisk) -> ImageSource<'a> {
    let index = disk.index;
    ImageSource {
        name: disk.info.name.clone(),
        capacity: disk.info.capacity,
        block_size: disk.info.block_size,
        identity: disk.info.identity.clone(),
        read: Box::new(move |range| source.read(index, range)),
    }
}
