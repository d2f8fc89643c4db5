//! The walk over a block table: what lies next to each other comes as one extent, holes of any
//! length as one, and what the image does not hold itself comes from the image below.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::image::{Block, Body, Extent, Extents, Image, ImageError, ReadAt};

/// Where the bytes of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere; reads as zero.
    Hole,
    /// Marked as zero.
    Zero,
    /// In the image below, or nowhere where there is none.
    Below,
    /// In the file, from this offset on.
    At(u64),
}

/// An image whose tables are asked run by run.
pub trait BlockMap: Debug + Send + Sync {
    /// What a walk keeps of the tables.
    type Windows: Default + Send;

    /// The file that holds the blocks.
    fn file(&self) -> &Arc<dyn ReadAt>;

    /// The image below, of a differencing image.
    fn below(&self) -> Option<&dyn Image>;

    /// The place of guest offset `at`, a multiple of 512 below the capacity, and the guest offset
    /// up to which it holds (with the file offset growing alike), which is greater than `at`.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where the tables contradict themselves, or a failed read.
    fn place(&self, at: u64, windows: &mut Self::Windows) -> Result<(Place, u64), ImageError>;
}

/// The extents of `range`; see [`Image::extents`].
pub fn walk<M: BlockMap>(map: &M, range: Range<u64>) -> Extents<'_> {
    Box::new(Walk {
        map,
        windows: M::Windows::default(),
        range,
        below: None,
        stored: 0..0,
        pending: None,
        error: None,
    })
}

struct Walk<'a, M: BlockMap> {
    map: &'a M,
    windows: M::Windows,
    /// What is still to come.
    range: Range<u64>,
    /// The walk over a part of the image below.
    below: Option<Extents<'a>>,
    /// The run of the file that the file system said last to hold data.
    stored: Range<u64>,
    pending: Option<Extent>,
    /// What ended the walk, told after the extent before it.
    error: Option<ImageError>,
}

impl<'a, M: BlockMap> Walk<'a, M> {
    /// The next piece, not yet joined with its neighbours.
    fn piece(&mut self) -> Option<Result<Extent, ImageError>> {
        loop {
            if let Some(below) = &mut self.below {
                match below.next() {
                    Some(found) => return Some(found),
                    None => self.below = None,
                }
            }
            if self.range.is_empty() {
                return None;
            }
            match self.own_piece() {
                Ok(Some(extent)) => return Some(Ok(extent)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next piece of this image's own; `None` where the image below has it.
    fn own_piece(&mut self) -> Result<Option<Extent>, ImageError> {
        let at = self.range.start;
        let (place, end) = self.map.place(at, &mut self.windows)?;
        let mut end = end.min(self.range.end);
        let body = match place {
            Place::Hole => Body::Hole,
            Place::Zero => Body::Zero,
            Place::Below => match self.map.below() {
                Some(below) if at < below.capacity() => {
                    end = end.min(below.capacity());
                    self.below = Some(below.extents(at..end));
                    self.range.start = end;
                    return Ok(None);
                }
                _ => Body::Hole,
            },
            Place::At(offset) => {
                let (body, len) = self.stored(at, offset, end - at)?;
                end = at + len;
                body
            }
        };
        self.range.start = end;
        Ok(Some(Extent { range: at..end, body }))
    }

    /// What the file holds at `offset` for guest offset `at`, and for how many of `len` bytes. A
    /// hole of the file system is one of the image: an image that was preallocated sparsely
    /// would else be read byte by byte.
    fn stored(&mut self, at: u64, offset: u64, len: u64) -> Result<(Body, u64), ImageError> {
        let file = self.map.file();
        let end = offset.checked_add(len).filter(|end| *end <= file.len()).ok_or_else(|| {
            ImageError::Truncated(format!(
                "the data of guest byte {at} is at byte {offset} of a file of {} bytes",
                file.len()
            ))
        })?;
        if !self.stored.contains(&offset) {
            self.stored = file.next_data(offset).unwrap_or(end..end);
        }
        if self.stored.start > offset {
            return Ok((Body::Hole, self.stored.start.min(end) - offset));
        }
        let end = if self.stored.end > offset { self.stored.end.min(end) } else { end };
        Ok((Body::Data(Block::Stored { file: file.clone(), offset }), end - offset))
    }
}

impl<M: BlockMap> Iterator for Walk<'_, M> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.error.is_none() {
            let extent = match self.piece() {
                None => break,
                Some(Err(error)) => {
                    self.range.start = self.range.end;
                    self.below = None;
                    self.error = Some(error);
                    break;
                }
                Some(Ok(extent)) => extent,
            };
            match &mut self.pending {
                Some(before) if joins(before, &extent) => before.range.end = extent.range.end,
                pending => {
                    if let Some(before) = pending.replace(extent) {
                        return Some(Ok(before));
                    }
                }
            }
        }
        self.pending.take().map(Ok).or_else(|| self.error.take().map(Err))
    }
}

/// Whether `next` continues `before`, which ends where it starts.
fn joins(before: &Extent, next: &Extent) -> bool {
    match (&before.body, &next.body) {
        (Body::Hole, Body::Hole) | (Body::Zero, Body::Zero) => true,
        (
            Body::Data(Block::Stored { file, offset }),
            Body::Data(Block::Stored { file: next_file, offset: next_offset }),
        ) => Arc::ptr_eq(file, next_file) && offset.checked_add(before.len()) == Some(*next_offset),
        _ => false,
    }
}
