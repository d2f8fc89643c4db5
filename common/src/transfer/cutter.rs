//! Cuts a disk's extents into jobs of a size that suits the pool, at places that suit both the
//! source's blocks and the target's units.

use std::ops::Range;

use super::content::CHUNK;
use super::worker::Job;
use crate::error::{Error, Result};
use crate::image::{Block, Body, Extent};

/// Guest bytes of a job, unless a unit or a block is larger.
const JOB: u64 = 1 << 20;

/// Takes extents in order and gives jobs in order.
#[derive(Debug)]
pub struct Cutter {
    align: u64,
    size: u64,
    end: u64,
    start: u64,
    position: u64,
    parts: Vec<Extent>,
}

impl Cutter {
    /// A cutter for the guest bytes of `range`. `block` and `unit` are the source's and the
    /// target's block sizes, powers of two.
    pub fn new(range: Range<u64>, block: u32, unit: u32) -> Self {
        let align = CHUNK.max(block.into()).max(unit.into());
        Self {
            align,
            size: JOB.max(align),
            end: range.end,
            start: range.start,
            position: range.start,
            parts: Vec::new(),
        }
    }

    /// Takes the next extent and gives the jobs that it completes.
    ///
    /// # Errors
    /// `Internal` where the source breaks its contract (gaps, overlaps, past the end, a packed
    /// block across a border).
    pub fn push(&mut self, extent: Extent, jobs: &mut Vec<Job>) -> Result<()> {
        if extent.range.start != self.position || extent.range.end > self.end || extent.is_empty() {
            return Err(broken(format!(
                "extent {:?} follows byte {} of a disk of {}",
                extent.range, self.position, self.end
            )));
        }
        let mut rest = Some(extent);
        while let Some(extent) = rest.take() {
            let cut = self.cut_for(&extent);
            let (first, more) = split(extent, cut)?;
            rest = more;
            self.position = first.range.end;
            self.parts.push(first);
            if self.position == self.end || self.is_full() {
                jobs.push(self.take());
            }
        }
        Ok(())
    }

    /// Whether every byte was taken.
    ///
    /// # Errors
    /// `Internal` where the extents ended early.
    pub fn finish(&self) -> Result<()> {
        if self.position == self.end {
            return Ok(());
        }
        Err(broken(format!("extents end at byte {} of {}", self.position, self.end)))
    }

    fn is_full(&self) -> bool {
        self.position.is_multiple_of(self.align)
            && (self.position - self.start >= self.size
                || self.parts.iter().all(|part| !matches!(part.body, Body::Data(_))))
    }

    /// Where `extent` must be cut at the latest.
    fn cut_for(&self, extent: &Extent) -> u64 {
        let border = |at: u64| at - at % self.align;
        match extent.body {
            Body::Data(_) => border(self.start + self.size),
            // An empty run of its own becomes one job, however long; after data it only fills
            // up the piece that was begun.
            _ if self.parts.is_empty() => match border(extent.range.end) {
                end if end > extent.range.start => end,
                _ => extent.range.end,
            },
            _ => match border(self.position + self.align - 1) {
                end if end > self.position => end,
                _ => border(self.position) + self.align,
            },
        }
    }

    fn take(&mut self) -> Job {
        let range = self.start..self.position;
        self.start = self.position;
        Job { range, parts: std::mem::take(&mut self.parts) }
    }
}

/// The part of `extent` before `cut`, and the rest.
fn split(extent: Extent, cut: u64) -> Result<(Extent, Option<Extent>)> {
    if cut >= extent.range.end {
        return Ok((extent, None));
    }
    let Range { start, end } = extent.range;
    let body = match &extent.body {
        Body::Data(block) => Body::Data(
            block.skip(cut - start).ok_or_else(|| broken(format!("a block crosses byte {cut}")))?,
        ),
        other => other.clone(),
    };
    let first = match extent.body {
        Body::Data(Block::Plain(bytes)) => {
            Body::Data(Block::Plain(bytes.slice(..(cut - start) as usize)))
        }
        other => other,
    };
    Ok((Extent { range: start..cut, body: first }, Some(Extent { range: cut..end, body })))
}

fn broken(text: String) -> Error {
    Error::new(crate::error::ErrorKind::Internal, format!("the disk was cut wrongly: {text}"))
}
