//! Reading VDI, and checking it.

use std::ops::Range;
use std::sync::Arc;

use crate::image::blocks::{
    BlockMap, Place, SECTOR, Table, Width, Window, find_overlap, guid_text, walk,
};
use crate::image::{Extents, Image, ImageError, ImageFormat, ImageInfo, ReadAt, Siblings};

use super::header::{HEADER, Header};

/// The map's word for a block that reads as zero (one that was given back, or written so).
pub(super) const DISCARDED: u64 = 0xffff_fffe;

/// The map's word for a block that never was.
pub(super) const UNALLOCATED: u64 = 0xffff_ffff;

/// An opened VDI.
#[derive(Debug)]
struct Vdi {
    file: Arc<dyn ReadAt>,
    header: Header,
    map: Table,
}

/// Opens a VDI. It stands alone: nothing is looked up in `_folder`.
///
/// # Errors
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for damage, [`ImageError::Unsupported`]
/// for other versions, differencing and undo images.
pub fn open(
    file: Arc<dyn ReadAt>,
    _folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, 0)?;
    let header = Header::parse(&bytes)?;
    let map = Table::new(file.clone(), header.map_at.into(), header.entries.into(), Width::Le32)?;
    Ok(Box::new(Vdi { file, header, map }))
}

impl Image for Vdi {
    fn capacity(&self) -> u64 {
        self.header.capacity
    }

    fn block_size(&self) -> u32 {
        SECTOR as u32
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        walk(self, range)
    }

    fn info(&self) -> ImageInfo {
        let variant = if self.header.fixed { "fixed" } else { "dynamic" };
        ImageInfo {
            format: ImageFormat::Vdi,
            variant: variant.to_owned(),
            capacity_bytes: self.capacity(),
            block_bytes: Some(self.header.block.into()),
            compression: None,
            backing: None,
            extent_files: Vec::new(),
            details: vec![
                ("uuid".to_owned(), guid_text(&self.header.id)),
                ("last change".to_owned(), guid_text(&self.header.modified)),
            ],
        }
    }

    fn check(&self) -> Result<Vec<String>, ImageError> {
        let structures = [("the header", 0..HEADER as u64), ("the block map", self.map.range())];
        for (name, structure) in structures {
            if structure.start < structure.end && u64::from(self.header.data_at) < structure.end {
                return Err(ImageError::corrupt(format!("the blocks lie on {name}")));
            }
        }
        let allocated = self.check_places()?;
        let overlap = find_overlap(1, |each| {
            self.each_block(|_, block| {
                each(block);
                Ok(())
            })
        })?;
        if let Some(block) = overlap {
            return Err(ImageError::corrupt(format!("block {block} of the file is used twice")));
        }
        let mut findings = Vec::new();
        if allocated != u64::from(self.header.allocated) {
            findings.push(format!(
                "the header counts {} allocated blocks, the block map {allocated}",
                self.header.allocated
            ));
        }
        Ok(findings)
    }
}

impl Vdi {
    /// File offset of block `block` of the file.
    fn offset(&self, block: u64) -> u64 {
        u64::from(self.header.data_at) + block * u64::from(self.header.block)
    }

    /// Calls `each` with map index and place of every allocated block.
    fn each_block(
        &self,
        mut each: impl FnMut(u64, u64) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut window = Window::default();
        let mut index = 0;
        while index < self.map.entries() {
            let (entry, count) = self.map.run(&mut window, index, u64::MAX)?;
            if entry < DISCARDED {
                for index in index..index + count {
                    each(index, entry)?;
                }
            }
            index += count;
        }
        Ok(())
    }

    /// Every block lies within the file, as far as the disk reaches into it. Returns how many
    /// there are.
    fn check_places(&self) -> Result<u64, ImageError> {
        let mut allocated = 0;
        self.each_block(|index, block| {
            allocated += 1;
            let size = u64::from(self.header.block);
            let needed = self.capacity().saturating_sub(index * size).min(size);
            if self.offset(block) + needed > self.file.len() {
                return Err(ImageError::Truncated(format!(
                    "block {index} at byte {} leaves the file of {} bytes",
                    self.offset(block),
                    self.file.len()
                )));
            }
            Ok(())
        })?;
        Ok(allocated)
    }
}

impl BlockMap for Vdi {
    type Windows = Window;

    fn file(&self) -> &Arc<dyn ReadAt> {
        &self.file
    }

    fn below(&self) -> Option<&dyn Image> {
        None
    }

    fn place(&self, at: u64, window: &mut Window) -> Result<(Place, u64), ImageError> {
        let block = u64::from(self.header.block);
        let index = at / block;
        let (entry, count) = self.map.run(window, index, u64::MAX)?;
        Ok(match entry {
            UNALLOCATED => (Place::Hole, (index + count) * block),
            DISCARDED => (Place::Zero, (index + count) * block),
            place => (Place::At(self.offset(place) + (at - index * block)), (index + 1) * block),
        })
    }
}
