//! Reading VHDX.

use std::ops::Range;
use std::sync::Arc;

use crate::image::blocks::{
    BlockMap, CHAIN, MIB, Place, SECTOR, Table, Width, Window, guid_text, swap_guid, walk,
};
use crate::image::{Extents, Image, ImageError, ImageFormat, ImageInfo, ReadAt, Siblings};

use super::header::{Header, IDENTIFIER, Regions, read_header, read_regions};
use super::locator::Parent;
use super::log;
use super::metadata::Metadata;

/// A sector bitmap is read in parts of this many bytes.
const BITMAP_PART: u64 = 4096;

/// States of a payload block ([MS-VHDX] 2.5.1.1).
const NOT_PRESENT: u64 = 0;
const UNDEFINED: u64 = 1;
pub(super) const ZERO: u64 = 2;
const UNMAPPED: u64 = 3;
/// The word for unmapped in drafts of the specification, which QEMU reads too.
const UNMAPPED_DRAFT: u64 = 5;
pub(super) const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;

/// An opened VHDX.
#[derive(Debug)]
pub struct Vhdx {
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) header: Header,
    pub(super) regions: Regions,
    pub(super) metadata: Metadata,
    pub(super) bat: Table,
    /// What opening found wrong with redundant copies.
    pub(super) findings: Vec<String>,
    pub(super) parent: Option<OpenParent>,
}

/// The image below a differencing one.
#[derive(Debug)]
pub struct OpenParent {
    pub(super) image: Box<Vhdx>,
    pub(super) name: String,
}

/// Opens a VHDX and, where it is a differencing image, its parents, which are looked up in
/// `folder` by their locator and must have the data-write GUID that the child names.
///
/// # Errors
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for damage, a parent that is another
/// disk and a chain that comes back to itself; [`ImageError::Unsupported`] for other versions,
/// unknown regions and metadata, chains longer than 64 and a log that must be replayed first;
/// [`ImageError::Outside`] where a parent is missing or refused.
pub fn open(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    Ok(Box::new(open_chain(file, folder, &mut Vec::new())?))
}

/// Opens one link; `above` are the data-write GUIDs of the images above it.
fn open_chain(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
    above: &mut Vec<[u8; 16]>,
) -> Result<Vhdx, ImageError> {
    let mut findings = Vec::new();
    let mut identifier = [0; IDENTIFIER.len()];
    file.read_exact_at(&mut identifier, 0)?;
    if &identifier != IDENTIFIER {
        return Err(ImageError::corrupt("it does not start as a VHDX"));
    }
    let header = read_header(&*file, &mut findings)?;
    if log::is_dirty(&*file, &header)? {
        return Err(ImageError::unsupported(
            "it has an unreplayed log: open it once with its own platform",
        ));
    }
    if above.contains(&header.data_write) {
        return Err(ImageError::corrupt("its chain of parent disks comes back to itself"));
    }
    if above.len() >= CHAIN {
        return Err(ImageError::Unsupported(format!("it is a chain of more than {CHAIN} disks")));
    }
    let regions = read_regions(&*file, &mut findings)?;
    let metadata = Metadata::read(&file, &regions.metadata)?;
    let entries = entries(&metadata);
    if entries * Width::Le64.bytes() > regions.bat.end - regions.bat.start {
        return Err(ImageError::corrupt("the block table is too short for the disk"));
    }
    let bat = Table::new(file.clone(), regions.bat.start, entries, Width::Le64)?;
    let parent = match (&metadata.locator, metadata.has_parent) {
        (Some(locator), true) => {
            above.push(header.data_write);
            Some(open_parent(&Parent::parse(locator)?, &folder, above)?)
        }
        (None, true) => {
            return Err(ImageError::corrupt("it has a parent disk and does not name it"));
        }
        _ => None,
    };
    Ok(Vhdx { file, header, regions, metadata, bat, findings, parent })
}

/// Entries of the block table: those of payload blocks, and after each chunk of them that of
/// their sector bitmap; only a differencing image needs the last of these.
pub(super) fn entries(metadata: &Metadata) -> u64 {
    let payload = metadata.capacity.div_ceil(metadata.block.into());
    let ratio = metadata.chunk_ratio();
    if metadata.has_parent {
        payload.div_ceil(ratio) * (ratio + 1)
    } else {
        payload + payload.saturating_sub(1) / ratio
    }
}

/// Looks for the parent under each of its names.
fn open_parent(
    named: &Parent,
    folder: &Arc<dyn Siblings>,
    above: &mut Vec<[u8; 16]>,
) -> Result<OpenParent, ImageError> {
    let mut missing = None;
    for name in &named.names {
        let sibling = match folder.open(name) {
            Ok(sibling) => sibling,
            Err(error) => {
                missing.get_or_insert(error);
                continue;
            }
        };
        let image = Box::new(open_chain(sibling.file, sibling.folder, above)?);
        let id = guid_text(&swap_guid(image.header.data_write));
        if !named.linkage.contains(&id) {
            return Err(ImageError::corrupt(format!(
                "its parent disk should be {} and {:?} is {id}",
                named.linkage.join(" or "),
                sibling.name
            )));
        }
        return Ok(OpenParent { image, name: name.clone() });
    }
    Err(missing.unwrap_or_else(|| ImageError::corrupt("it does not name its parent disk")))
}

impl Image for Vhdx {
    fn capacity(&self) -> u64 {
        self.metadata.capacity
    }

    fn block_size(&self) -> u32 {
        SECTOR as u32
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        walk(self, range)
    }

    fn info(&self) -> ImageInfo {
        let metadata = &self.metadata;
        let variant = match (metadata.has_parent, metadata.fixed) {
            (true, _) => "differencing",
            (false, true) => "fixed",
            (false, false) => "dynamic",
        };
        let detail = |name: &str, value: String| (name.to_owned(), value);
        ImageInfo {
            format: ImageFormat::Vhdx,
            variant: variant.to_owned(),
            capacity_bytes: metadata.capacity,
            block_bytes: Some(metadata.block.into()),
            compression: None,
            backing: self.parent.as_ref().map(|parent| parent.name.clone()),
            extent_files: Vec::new(),
            details: vec![
                detail("disk id", guid_text(&swap_guid(metadata.disk_id))),
                detail("data write guid", guid_text(&swap_guid(self.header.data_write))),
                detail("logical sector", metadata.logical_sector.to_string()),
                detail("physical sector", metadata.physical_sector.to_string()),
            ],
        }
    }

    fn check(&self) -> Result<Vec<String>, ImageError> {
        super::check::check(self)
    }
}

/// What a walk keeps at hand: a part of the table and a part of one sector bitmap.
#[derive(Debug, Default)]
pub struct Windows {
    table: Window,
    bitmap_entry: Window,
    bitmap_at: u64,
    bitmap: Vec<u8>,
}

impl BlockMap for Vhdx {
    type Windows = Windows;

    fn file(&self) -> &Arc<dyn ReadAt> {
        &self.file
    }

    fn below(&self) -> Option<&dyn Image> {
        self.parent.as_ref().map(|parent| &*parent.image as &dyn Image)
    }

    fn place(&self, at: u64, windows: &mut Windows) -> Result<(Place, u64), ImageError> {
        let block = u64::from(self.metadata.block);
        let ratio = self.metadata.chunk_ratio();
        let index = at / block;
        let rest_of_chunk = ratio - index % ratio;
        let (entry, count) =
            self.bat.run(&mut windows.table, index + index / ratio, rest_of_chunk)?;
        let data = entry & !(MIB - 1);
        let empty_end = (index + count) * block;
        match entry & 7 {
            NOT_PRESENT => Ok((Place::Below, empty_end)),
            UNDEFINED | UNMAPPED | UNMAPPED_DRAFT => Ok((Place::Hole, empty_end)),
            // QEMU marks every block so that was never written. Over a parent the mark hides
            // what is below; without one it says no more than that nothing is there.
            ZERO if self.metadata.has_parent => Ok((Place::Zero, empty_end)),
            ZERO => Ok((Place::Hole, empty_end)),
            FULLY_PRESENT if data >= MIB => {
                Ok((Place::At(data.saturating_add(at - index * block)), (index + 1) * block))
            }
            PARTIALLY_PRESENT if data >= MIB && self.metadata.has_parent => {
                let (present, end) = self.sectors(at, (index + 1) * block, windows)?;
                let offset = data.saturating_add(at - index * block);
                Ok((if present { Place::At(offset) } else { Place::Below }, end))
            }
            state => Err(ImageError::corrupt(format!(
                "block {index} has the state {state} at byte {data}"
            ))),
        }
    }
}

impl Vhdx {
    /// Whether the sector at guest offset `at` of a partially present block is there, and the
    /// guest offset (at most `block_end`) up to which that holds. Bits count from the bottom of
    /// each byte.
    fn sectors(
        &self,
        at: u64,
        block_end: u64,
        windows: &mut Windows,
    ) -> Result<(bool, u64), ImageError> {
        let sector_len = u64::from(self.metadata.logical_sector);
        let ratio = self.metadata.chunk_ratio();
        let chunk_len = u64::from(self.metadata.block) * ratio;
        let chunk = at / chunk_len;
        let index = chunk * (ratio + 1) + ratio;
        let (entry, _) = self.bat.run(&mut windows.bitmap_entry, index, 1)?;
        let bitmap_at = entry & !(MIB - 1);
        if entry & 7 != FULLY_PRESENT || bitmap_at < MIB {
            return Err(ImageError::corrupt(format!(
                "the sector bitmap of guest byte {at} is not there"
            )));
        }
        let sector = at % chunk_len / sector_len;
        let part = sector / 8 / BITMAP_PART * BITMAP_PART;
        self.load_bitmap(bitmap_at.saturating_add(part), windows)?;
        let bit = |sector: u64| {
            let byte = windows.bitmap.get((sector / 8 - part) as usize);
            byte.is_some_and(|byte| byte >> (sector % 8) & 1 == 1)
        };
        let present = bit(sector);
        let chunk_start = chunk * chunk_len;
        let last = ((part + BITMAP_PART) * 8).min((block_end - chunk_start) / sector_len);
        let next = (sector + 1..last).find(|next| bit(*next) != present).unwrap_or(last);
        Ok((present, chunk_start + next * sector_len))
    }

    fn load_bitmap(&self, at: u64, windows: &mut Windows) -> Result<(), ImageError> {
        if windows.bitmap.is_empty() || windows.bitmap_at != at {
            windows.bitmap.resize(BITMAP_PART as usize, 0);
            windows.bitmap_at = at;
            if let Err(error) = self.file.read_exact_at(&mut windows.bitmap, at) {
                windows.bitmap.clear();
                return Err(error.into());
            }
        }
        Ok(())
    }
}
