//! A whole disk: the image that was opened on top, and those it stands on below.

use std::ops::Range;
use std::sync::Arc;

use super::layer::{Layer, LayerPiece, LayerWalk, SegmentBody};
use super::sparse::{Packing, Sparse};
use super::walk::Place;
use crate::image::coding::Unpacker;
use crate::image::{
    Block, Body, Coding, Extent, Extents, Image, ImageError, ImageFormat, ImageInfo, Packed,
    PackedAt,
};

/// A VMDK with all the files that belong to it.
#[derive(Debug)]
pub(super) struct Disk {
    /// The opened image first, then what it stands on. Never empty.
    pub layers: Vec<Layer>,
}

impl Disk {
    fn top(&self) -> Option<&Layer> {
        self.layers.first()
    }
}

impl Image for Disk {
    fn capacity(&self) -> u64 {
        self.top().map_or(0, Layer::capacity)
    }

    fn block_size(&self) -> u32 {
        let units = self.layers.iter().flat_map(Layer::sparse).filter_map(|e| e.packed_unit());
        units.max().unwrap_or(512).max(512)
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        let end = range.end.min(self.capacity());
        let mut walks: Vec<LayerWalk> = Vec::new();
        walks.resize_with(self.layers.len(), LayerWalk::default);
        if let Some(first) = walks.first_mut() {
            first.turn_to(range.start.min(end)..end);
        }
        let capacity = self.capacity();
        Box::new(Cursor { layers: &self.layers, walks, depth: 0, capacity, pending: None })
    }

    fn info(&self) -> ImageInfo {
        let mut info = ImageInfo {
            format: ImageFormat::Vmdk,
            variant: String::new(),
            capacity_bytes: self.capacity(),
            block_bytes: None,
            compression: None,
            backing: None,
            extent_files: Vec::new(),
            details: Vec::new(),
        };
        if let Some(top) = self.top() {
            top.create_type.clone_into(&mut info.variant);
            info.block_bytes = top.sparse().map(|extent| extent.grain).next();
            info.compression = top
                .sparse()
                .find(|extent| extent.packing != Packing::None)
                .map(|_| "zlib".to_owned());
            top.parent_hint.clone_into(&mut info.backing);
            top.files.clone_into(&mut info.extent_files);
            if let Some(cid) = top.cid {
                info.details.push(("cid".to_owned(), format!("{cid:08x}")));
            }
            if self.layers.len() > 1 {
                info.details.push(("chain_length".to_owned(), self.layers.len().to_string()));
            }
            if top.sparse().any(|extent| extent.has_footer) {
                info.details.push(("directory".to_owned(), "at the end".to_owned()));
            }
            info.details.extend(top.database.iter().cloned());
        }
        info
    }

    fn check(&self) -> Result<Vec<String>, ImageError> {
        super::check::check(&self.layers)
    }
}

/// Walks the layers: where one has nothing, the one below is asked for just that range.
struct Cursor<'a> {
    layers: &'a [Layer],
    walks: Vec<LayerWalk>,
    depth: usize,
    capacity: u64,
    pending: Option<Extent>,
}

impl Iterator for Cursor<'_> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let extent = match self.step() {
                Some(Ok(extent)) => extent,
                Some(Err(error)) => {
                    self.walks.clear();
                    self.pending = None;
                    return Some(Err(error));
                }
                None => return self.pending.take().map(Ok),
            };
            match &mut self.pending {
                Some(before) if joins(before, &extent) => before.range.end = extent.range.end,
                Some(before) => return Some(Ok(std::mem::replace(before, extent))),
                None => self.pending = Some(extent),
            }
        }
    }
}

impl Cursor<'_> {
    fn step(&mut self) -> Option<Result<Extent, ImageError>> {
        loop {
            let layer = self.layers.get(self.depth)?;
            let walk = self.walks.get_mut(self.depth)?;
            match walk.next(layer) {
                Some(Ok(found)) if found.piece.place == Place::Below => {
                    let range = found.piece.range;
                    match self.walks.get_mut(self.depth + 1) {
                        Some(below) => {
                            below.turn_to(range);
                            self.depth += 1;
                        }
                        None => return Some(Ok(Extent { range, body: Body::Hole })),
                    }
                }
                Some(Ok(found)) => return Some(self.extent(found)),
                Some(Err(error)) => return Some(Err(error)),
                None => self.depth = self.depth.checked_sub(1)?,
            }
        }
    }

    /// A run as an extent.
    fn extent(&self, found: LayerPiece<'_>) -> Result<Extent, ImageError> {
        let LayerPiece { piece, visible: range, body } = found;
        let body = match (piece.place, body) {
            (Place::Zero, _) => Body::Zero,
            (Place::Stored(offset), Some(SegmentBody::Flat(file, _))) => {
                Body::Data(Block::Stored { file: file.clone(), offset })
            }
            (Place::Stored(offset), Some(SegmentBody::Sparse(extent))) => {
                Body::Data(Block::Stored { file: extent.file.clone(), offset })
            }
            (Place::Packed { offset, len }, Some(SegmentBody::Sparse(extent))) => {
                let at = PackedAt::File { file: extent.file.clone(), offset, len };
                self.grain(extent, at, &piece.range, &range)?
            }
            (Place::Marked { offset, len, number }, Some(SegmentBody::Sparse(extent))) => {
                let (file, frame) = (extent.file.clone(), extent.grains.clone());
                let at = PackedAt::Framed { file, offset, len, number, frame };
                self.grain(extent, at, &piece.range, &range)?
            }
            _ => Body::Hole,
        };
        Ok(Extent { range, body })
    }

    /// What is seen in `range` of the compressed grain that covers `whole`.
    fn grain(
        &self,
        extent: &Sparse,
        at: PackedAt,
        whole: &Range<u64>,
        range: &Range<u64>,
    ) -> Result<Body, ImageError> {
        let unit = extent.packed_unit().unwrap_or_default();
        let packed = Packed { coding: Coding::Zlib, at, unit };
        let to_the_end = whole.end == range.end || range.end == self.capacity;
        if whole.start == range.start && to_the_end {
            return Ok(Body::Data(Block::Packed(packed)));
        }
        Ok(Body::Data(cut(&packed, whole.start, range)?))
    }
}

/// The part of a compressed grain that starts at guest byte `start`: extents of odd sizes and
/// children with smaller grains cut grains apart, which only unpacking can do.
fn cut(packed: &Packed, start: u64, range: &Range<u64>) -> Result<Block, ImageError> {
    let stream = packed.fetch()?;
    let mut plain = vec![0; packed.unit as usize];
    let got = Unpacker::new().unpack(packed.coding, &stream, &mut plain)?;
    let part = (range.start - start) as usize..(range.end - start) as usize;
    if part.end > got.produced {
        return Err(ImageError::corrupt(format!("the grain at guest byte {start} is short")));
    }
    Ok(Block::Plain(bytes::Bytes::from(plain).slice(part)))
}

fn joins(before: &Extent, next: &Extent) -> bool {
    if before.range.end != next.range.start {
        return false;
    }
    match (&before.body, &next.body) {
        (Body::Hole, Body::Hole) | (Body::Zero, Body::Zero) => true,
        (
            Body::Data(Block::Stored { file: a, offset: from }),
            Body::Data(Block::Stored { file: b, offset }),
        ) => Arc::ptr_eq(a, b) && from + before.len() == *offset,
        _ => false,
    }
}
