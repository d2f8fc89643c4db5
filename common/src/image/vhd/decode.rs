//! Reading VHD.

use std::ops::Range;
use std::sync::Arc;

use crate::image::blocks::{BlockMap, CHAIN, Place, SECTOR, Table, Width, Window, guid_text, walk};
use crate::image::{Extents, Image, ImageError, ImageFormat, ImageInfo, ReadAt, Siblings};

use super::AZURE_UNIT;
use super::header::{COOKIE, DYNAMIC_HEADER, DynamicHeader, FOOTER, Footer, Kind};
use super::locator::Parent;

/// The table's word for a block that is not there.
pub(super) const UNUSED: u64 = 0xffff_ffff;

/// A sector bitmap is read in parts of this many bytes.
const BITMAP_PART: u64 = 512;

/// An opened VHD.
#[derive(Debug)]
pub struct Vhd {
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) footer: Footer,
    /// Bytes of the footer at the end, 512 or 511; 0 where the copy in front had to do.
    pub(super) footer_len: u64,
    pub(super) blocks: Option<BlockTable>,
    pub(super) parent: Option<OpenParent>,
}

/// The table of a dynamic or differencing image.
#[derive(Debug)]
pub struct BlockTable {
    pub(super) header: DynamicHeader,
    pub(super) table: Table,
}

/// The image below a differencing one.
#[derive(Debug)]
pub struct OpenParent {
    pub(super) image: Box<Vhd>,
    pub(super) name: String,
    pub(super) named: Parent,
}

/// Opens a VHD and, where it is a differencing image, its parents, which are looked up in
/// `folder` by their locators and must have the identity that the child names.
///
/// # Errors
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for damage, a parent that is another
/// disk and a chain that comes back to itself; [`ImageError::Unsupported`] for other versions
/// and chains longer than 64; [`ImageError::Outside`] where a parent is missing or refused.
pub fn open(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    Ok(Box::new(open_chain(file, folder, &mut Vec::new())?))
}

/// Opens one link; `above` are the identities of the images above it.
fn open_chain(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
    above: &mut Vec<[u8; 16]>,
) -> Result<Vhd, ImageError> {
    let (footer, footer_len) = read_footer(&*file)?;
    if above.contains(&footer.id) {
        return Err(ImageError::corrupt("its chain of parent disks comes back to itself"));
    }
    if above.len() >= CHAIN {
        let text = format!("it is a chain of more than {CHAIN} disks");
        return Err(ImageError::Unsupported(text));
    }
    if footer.kind == Kind::Fixed {
        let held = file.len() - footer_len;
        if footer.capacity() > held {
            return Err(ImageError::Truncated(format!(
                "the disk has {} bytes and the file holds {held} of them",
                footer.capacity()
            )));
        }
        return Ok(Vhd { file, footer, footer_len, blocks: None, parent: None });
    }
    let mut bytes = [0; DYNAMIC_HEADER];
    file.read_exact_at(&mut bytes, footer.header_at).map_err(|_| {
        ImageError::Truncated("its dynamic disk header lies beyond the file".to_owned())
    })?;
    let blocks = read_table(&file, &footer, &bytes)?;
    let parent = if footer.kind == Kind::Differencing {
        above.push(footer.id);
        Some(open_parent(Parent::parse(&bytes, &file)?, &folder, above)?)
    } else {
        None
    };
    Ok(Vhd { file, footer, footer_len, blocks: Some(blocks), parent })
}

/// The footer and how many bytes it has at the end of the file: 0 where only the copy in front
/// is whole.
fn read_footer(file: &dyn ReadAt) -> Result<(Footer, u64), ImageError> {
    let mut fault = ImageError::corrupt("there is no footer");
    for len in [FOOTER, FOOTER - 1] {
        let Some(at) = file.len().checked_sub(len as u64) else { continue };
        let mut bytes = [0; FOOTER];
        file.read_exact_at(&mut bytes[..len], at)?;
        match Footer::parse(&bytes) {
            Ok(footer) => return Ok((footer, len as u64)),
            Err(error) if bytes.starts_with(COOKIE) => fault = error,
            Err(_) => {}
        }
    }
    match read_copy(file) {
        Ok(footer) => Ok((footer, 0)),
        Err(_) => Err(fault),
    }
}

/// The copy of the footer in front of a dynamic or differencing image.
pub(super) fn read_copy(file: &dyn ReadAt) -> Result<Footer, ImageError> {
    let mut bytes = [0; FOOTER];
    file.read_exact_at(&mut bytes, 0)?;
    let footer = Footer::parse(&bytes)?;
    if footer.kind == Kind::Fixed {
        return Err(ImageError::corrupt("a fixed image has no copy of its footer in front"));
    }
    Ok(footer)
}

fn read_table(
    file: &Arc<dyn ReadAt>,
    footer: &Footer,
    bytes: &[u8; DYNAMIC_HEADER],
) -> Result<BlockTable, ImageError> {
    let header = DynamicHeader::parse(bytes)?;
    let covered = u64::from(header.entries) * u64::from(header.block);
    if covered < footer.capacity() {
        return Err(ImageError::corrupt(format!(
            "the block table covers {covered} bytes of a disk of {}",
            footer.capacity()
        )));
    }
    let table = Table::new(file.clone(), header.table_at, header.entries.into(), Width::Be32)?;
    Ok(BlockTable { header, table })
}

/// Looks for the parent under each of its names.
fn open_parent(
    named: Parent,
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
        if image.footer.id != named.id {
            return Err(ImageError::corrupt(format!(
                "its parent disk should be {} and {:?} is {}",
                guid_text(&named.id),
                sibling.name,
                guid_text(&image.footer.id)
            )));
        }
        return Ok(OpenParent { image, name: name.clone(), named });
    }
    Err(missing.unwrap_or_else(|| ImageError::corrupt("it does not name its parent disk")))
}

impl Vhd {
    fn details(&self) -> Vec<(String, String)> {
        let footer = &self.footer;
        let creator = String::from_utf8_lossy(&footer.creator);
        let mut details = vec![
            ("uuid".to_owned(), guid_text(&footer.id)),
            ("creator".to_owned(), creator.trim_end_matches(['\0', ' ']).to_owned()),
        ];
        if let Ok(created) = jiff::Timestamp::from_second(footer.created()) {
            details.push(("created".to_owned(), created.to_string()));
        }
        if footer.size != footer.capacity() {
            details.push(("size field".to_owned(), footer.size.to_string()));
        }
        if footer.saved {
            details.push(("saved state".to_owned(), "yes".to_owned()));
        }
        let fit = footer.kind == Kind::Fixed && footer.capacity().is_multiple_of(AZURE_UNIT);
        let azure = if fit { "fit" } else { "not fit: Azure takes fixed images of whole MiB" };
        details.push(("azure".to_owned(), azure.to_owned()));
        details
    }
}

impl Image for Vhd {
    fn capacity(&self) -> u64 {
        self.footer.capacity()
    }

    fn block_size(&self) -> u32 {
        SECTOR as u32
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        walk(self, range)
    }

    fn info(&self) -> ImageInfo {
        ImageInfo {
            format: ImageFormat::Vhd,
            variant: self.footer.kind.name().to_owned(),
            capacity_bytes: self.capacity(),
            block_bytes: self.blocks.as_ref().map(|blocks| blocks.header.block.into()),
            compression: None,
            backing: self.parent.as_ref().map(|parent| parent.name.clone()),
            extent_files: Vec::new(),
            details: self.details(),
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
    bitmap_at: u64,
    bitmap: Vec<u8>,
}

impl BlockMap for Vhd {
    type Windows = Windows;

    fn file(&self) -> &Arc<dyn ReadAt> {
        &self.file
    }

    fn below(&self) -> Option<&dyn Image> {
        self.parent.as_ref().map(|parent| &*parent.image as &dyn Image)
    }

    fn place(&self, at: u64, windows: &mut Windows) -> Result<(Place, u64), ImageError> {
        let Some(BlockTable { header, table }) = &self.blocks else {
            return Ok((Place::At(at), self.capacity()));
        };
        let block = u64::from(header.block);
        let index = at / block;
        let (entry, count) = table.run(&mut windows.table, index, u64::MAX)?;
        if entry == UNUSED {
            return Ok((self.absent(), (index + count) * block));
        }
        let bitmap_at = entry * SECTOR;
        let skip = at - index * block;
        let sectors = ((index + 1) * block).min(self.capacity().next_multiple_of(SECTOR)) - at;
        let (present, count) = self.sectors(bitmap_at, skip / SECTOR, sectors / SECTOR, windows)?;
        let place =
            if present { Place::At(bitmap_at + header.bitmap() + skip) } else { self.absent() };
        Ok((place, at + count * SECTOR))
    }
}

impl Vhd {
    /// What a sector is that this image does not hold.
    fn absent(&self) -> Place {
        if self.footer.kind == Kind::Differencing { Place::Below } else { Place::Hole }
    }

    /// Whether `sector` of the block with its bitmap at `bitmap_at` is there, and for how many of
    /// the next `most` sectors that holds (at least 1). Bits count from the top of each byte.
    fn sectors(
        &self,
        bitmap_at: u64,
        sector: u64,
        most: u64,
        windows: &mut Windows,
    ) -> Result<(bool, u64), ImageError> {
        let part = sector / (BITMAP_PART * 8) * BITMAP_PART;
        if windows.bitmap.is_empty() || windows.bitmap_at != bitmap_at + part {
            windows.bitmap.resize(BITMAP_PART as usize, 0);
            windows.bitmap_at = bitmap_at + part;
            if let Err(error) = self.file.read_exact_at(&mut windows.bitmap, windows.bitmap_at) {
                windows.bitmap.clear();
                return Err(match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => ImageError::Truncated(format!(
                        "a block at byte {bitmap_at} lies beyond the file of {} bytes",
                        self.file.len()
                    )),
                    _ => error.into(),
                });
            }
        }
        let bitmap = &windows.bitmap;
        let bit = |sector: u64| {
            let sector = sector - part * 8;
            bitmap.get((sector / 8) as usize).is_some_and(|byte| byte >> (7 - sector % 8) & 1 == 1)
        };
        let end = (sector + most).min((part + BITMAP_PART) * 8);
        let present = bit(sector);
        let mut next = sector + 1;
        let whole = if present { 0xff } else { 0 };
        while next < end && bit(next) == present {
            // Bytes that are all alike, which nearly all are, are taken at once.
            let byte = ((next - part * 8) / 8) as usize;
            let step =
                if next.is_multiple_of(8) && bitmap.get(byte) == Some(&whole) { 8 } else { 1 };
            next = (next + step).min(end);
        }
        Ok((present, next - sector))
    }
}
