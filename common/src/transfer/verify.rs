//! Reading back: the content of an image, whether it is what it should be, and where two differ.

use std::ops::Range;
use std::sync::Arc;

use super::ahead::Ahead;
use super::content::{CHUNK, Content};
use super::disk::{DiskTask, blocking};
use super::engine::Engine;
use super::read::image_extents;
use super::worker::Tools;
use crate::error::{Error, Result, ResultExt};
use crate::image::{Image, ImageError};
use crate::progress::DiskProgress;

impl Engine {
    /// Reads every block of `image` and makes its content checksum.
    ///
    /// # Errors
    /// `Integrity` where a block cannot be read as its format wants it; the read's own.
    pub async fn content(
        &self,
        name: &str,
        image: Arc<dyn Image>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<Content> {
        let capacity = image.capacity();
        let task = DiskTask {
            name: name.to_owned(),
            source_capacity: capacity,
            capacity,
            block_size: image.block_size(),
            extents: image_extents(image, 0..capacity),
            target: None,
            trust_source: false,
            recompress: false,
            content: true,
            from: None,
            progress,
        };
        let content = self.run(task).await?.content;
        content.ok_or_else(|| Error::integrity("no content checksum was made"))
    }

    /// Checks the structure of `image`, then reads all of it. Answers with its content and with
    /// findings that leave the bytes readable.
    ///
    /// # Errors
    /// `Integrity` for damage.
    pub async fn check(
        &self,
        name: &str,
        image: Arc<dyn Image>,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<(Content, Vec<String>)> {
        let checked = image.clone();
        let findings = blocking(move || checked.check().map_err(Error::from))
            .await
            .subject(|| name.to_owned())?;
        Ok((self.content(name, image, progress).await?, findings))
    }

    /// [`Engine::check`], and that the guest bytes are `expected`.
    ///
    /// # Errors
    /// `Integrity`, naming the first region that differs.
    pub async fn verify(
        &self,
        name: &str,
        image: Arc<dyn Image>,
        expected: &Content,
        progress: Arc<dyn DiskProgress>,
    ) -> Result<Vec<String>> {
        let (found, findings) = self.check(name, image, progress).await?;
        match found.first_difference(expected) {
            None => Ok(findings),
            Some(Range { start, end }) => Err(Error::integrity(format!(
                "what was written differs from the source between guest bytes {start} and {end}"
            ))
            .with_subject(name)),
        }
    }
}

/// The first guest byte in `range` at which two images differ; past the end of the shorter one
/// zeros count. `range` starts at a multiple of both block sizes. Blocks; not for a tokio worker.
///
/// # Errors
/// `Integrity` where a block cannot be read.
pub fn first_difference(a: &dyn Image, b: &dyn Image, range: Range<u64>) -> Result<Option<u64>> {
    let step = CHUNK.max(a.block_size().into()).max(b.block_size().into());
    let mut tools = Tools::default();
    let mut start = range.start - range.start % step;
    while start < range.end {
        let part = start..(start + step).min(range.end);
        let left = tools.read(a, part.clone())?;
        let right = tools.read(b, part.clone())?;
        let differs = left.iter().zip(&right).position(|(left, right)| left != right);
        if let Some(at) = differs {
            return Ok(Some(start + at as u64));
        }
        start = part.end;
    }
    Ok(None)
}

impl Tools {
    /// The guest bytes of `range`, which starts at a multiple of the image's block size; zeros past
    /// its end.
    fn read(&mut self, image: &dyn Image, range: Range<u64>) -> Result<Vec<u8>, ImageError> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let inside = range.start..range.end.min(image.capacity());
        if inside.start >= inside.end {
            return Ok(bytes);
        }
        for extent in image.extents(inside) {
            let extent = extent?;
            let at = (extent.range.start - range.start) as usize;
            let out = &mut bytes[at..at + extent.len() as usize];
            self.load(&extent.body, &Ahead::default(), out)?;
        }
        Ok(bytes)
    }
}
