//! One link of a disk: the extents that its descriptor lists, side by side.

use std::ops::Range;
use std::sync::Arc;

use super::sparse::Sparse;
use super::walk::{Piece, Place, Walk};
use crate::image::{ImageError, ReadAt};

/// One image of a chain.
#[derive(Debug)]
pub(super) struct Layer {
    /// How messages call it; empty for the image that was opened.
    pub name: String,
    /// VMware's word for the type.
    pub create_type: String,
    /// The content id.
    pub cid: Option<u32>,
    /// The name of the image below, as this one gives it.
    pub parent_hint: Option<String>,
    /// Names of the files that hold the data, as the descriptor gives them.
    pub files: Vec<String>,
    /// Lines of the disk database.
    pub database: Vec<(String, String)>,
    /// What its structure says that only [`super::check`] reports.
    pub remarks: Vec<String>,
    /// The extents in guest order, none empty.
    pub segments: Vec<Segment>,
}

/// One extent.
#[derive(Debug)]
pub(super) struct Segment {
    /// Guest bytes.
    pub range: Range<u64>,
    /// What holds them.
    pub body: SegmentBody,
}

/// What holds an extent's bytes.
#[derive(Debug)]
pub(super) enum SegmentBody {
    /// A file, from an offset on.
    Flat(Arc<dyn ReadAt>, u64),
    /// Nothing: it reads as zero.
    Zero,
    /// A sparse extent.
    Sparse(Box<Sparse>),
}

impl Layer {
    /// Guest bytes.
    pub(super) fn capacity(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.range.end)
    }

    /// The sparse extents.
    pub(super) fn sparse(&self) -> impl Iterator<Item = &Sparse> {
        self.segments.iter().filter_map(|segment| match &segment.body {
            SegmentBody::Sparse(extent) => Some(&**extent),
            _ => None,
        })
    }
}

/// Walks ranges of one layer, each behind the one before.
#[derive(Debug, Default)]
pub(super) struct LayerWalk {
    range: Range<u64>,
    segment: usize,
    inside: bool,
    walk: Walk,
}

/// A run of a layer.
#[derive(Debug)]
pub(super) struct LayerPiece<'a> {
    /// The run in guest bytes of the layer. A compressed grain comes whole.
    pub piece: Piece,
    /// The part of it that was asked for.
    pub visible: Range<u64>,
    /// What holds it.
    pub body: Option<&'a SegmentBody>,
}

impl LayerWalk {
    /// Turns to `range`; what lies beyond the layer's end is empty.
    pub(super) fn turn_to(&mut self, range: Range<u64>) {
        self.range = range;
        self.inside = false;
    }

    /// The next run.
    pub(super) fn next<'a>(
        &mut self,
        layer: &'a Layer,
    ) -> Option<Result<LayerPiece<'a>, ImageError>> {
        while !self.range.is_empty() {
            let Some((index, segment)) = self.find(layer) else {
                let range = std::mem::replace(&mut self.range, 0..0);
                return Some(Ok(empty(range)));
            };
            let asked = self.range.start..self.range.end.min(segment.range.end);
            let piece = match &segment.body {
                SegmentBody::Zero => Piece { range: asked.clone(), place: Place::Zero },
                SegmentBody::Flat(file, offset) => {
                    flat(&**file, *offset, segment.range.start, asked.clone())
                }
                SegmentBody::Sparse(extent) => {
                    match self.sparse(extent, index, segment.range.start, &asked) {
                        Some(Ok(piece)) => piece,
                        Some(Err(error)) => {
                            self.range = 0..0;
                            return Some(Err(error));
                        }
                        None => {
                            self.range.start = asked.end;
                            continue;
                        }
                    }
                }
            };
            let visible = asked.start..piece.range.end.min(asked.end);
            self.range.start = visible.end;
            return Some(Ok(LayerPiece { piece, visible, body: Some(&segment.body) }));
        }
        None
    }

    /// The next run of the sparse extent number `index`, which starts at guest byte `base`.
    fn sparse(
        &mut self,
        extent: &Sparse,
        index: usize,
        base: u64,
        asked: &Range<u64>,
    ) -> Option<Result<Piece, ImageError>> {
        if index != self.segment {
            self.walk = Walk::default();
        }
        if !self.inside || index != self.segment {
            self.walk.turn_to(asked.start - base..asked.end - base);
        }
        (self.segment, self.inside) = (index, true);
        let found = self.walk.next(extent)?;
        Some(found.map(|piece| Piece {
            range: piece.range.start + base..piece.range.end + base,
            place: piece.place,
        }))
    }

    fn find<'a>(&self, layer: &'a Layer) -> Option<(usize, &'a Segment)> {
        let index = layer.segments.partition_point(|found| found.range.end <= self.range.start);
        layer.segments.get(index).map(|segment| (index, segment))
    }
}

fn empty<'a>(range: Range<u64>) -> LayerPiece<'a> {
    let piece = Piece { range: range.clone(), place: Place::Empty };
    LayerPiece { piece, visible: range, body: None }
}

/// The first run of `range` in a flat extent: a hole of the file system, or data.
fn flat(file: &dyn ReadAt, offset: u64, base: u64, range: Range<u64>) -> Piece {
    let at = offset + (range.start - base);
    let to_guest = |place: u64| range.start + (place - at);
    match file.next_data(at) {
        Some(data) if data.start <= at => {
            let end = to_guest(data.end.max(at + 1)).min(range.end);
            Piece { range: range.start..end, place: Place::Stored(at) }
        }
        Some(data) => {
            Piece { range: range.start..to_guest(data.start).min(range.end), place: Place::Empty }
        }
        None => Piece { range, place: Place::Empty },
    }
}
