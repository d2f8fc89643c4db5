//! The metadata region ([MS-VHDX] 2.6): what kind of disk it is.

use std::ops::Range;
use std::sync::Arc;

use crate::image::blocks::{MIB, array, le16, le32, le64};
use crate::image::{ImageError, ReadAt};

use super::header::{ENTRIES, guid};

/// Bytes of the metadata table; items follow.
pub const TABLE: usize = 64 << 10;

/// Largest disk in bytes.
pub const MAX_CAPACITY: u64 = 64 << 40;

/// A longer parent locator than this is damage: paths have at most some 64 KiB each.
const LOCATOR: u32 = 1 << 20;

const FILE_PARAMETERS: [u8; 16] = guid(0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b);
const DISK_SIZE: [u8; 16] = guid(0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8);
const DISK_ID: [u8; 16] = guid(0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746);
const LOGICAL_SECTOR: [u8; 16] = guid(0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR: [u8; 16] = guid(0xcda3_48c7_445d_4471_9cc9_e988_5251_c556);
const PARENT_LOCATOR: [u8; 16] = guid(0xa8d3_5f2d_b30b_454d_abf7_d3d8_4834_ab0c);

/// Flags of a metadata entry.
const IS_DISK: u32 = 2;
const IS_REQUIRED: u32 = 4;

/// What the metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes of a block, a power of two from 1 MiB to 256 MiB.
    pub block: u32,
    /// Whether blocks are never given back: a fixed image.
    pub fixed: bool,
    /// Whether there is a parent.
    pub has_parent: bool,
    /// Bytes that a guest sees, at most 64 TiB.
    pub capacity: u64,
    /// The disk's identity (SCSI page 83), in the file's order.
    pub disk_id: [u8; 16],
    /// Bytes of a logical sector: 512 or 4096.
    pub logical_sector: u32,
    /// Bytes of a physical sector.
    pub physical_sector: u32,
    /// The raw parent locator.
    pub locator: Option<Vec<u8>>,
}

impl Metadata {
    /// Reads and checks the metadata in `region`.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] for items that are missing, misplaced or out of their ranges;
    /// [`ImageError::Unsupported`] for unknown items that must be known; a failed read.
    pub fn read(file: &Arc<dyn ReadAt>, region: &Range<u64>) -> Result<Self, ImageError> {
        let items = Items::read(file, region)?;
        let parameters = items.need(FILE_PARAMETERS, 8, "file parameters")?;
        let flags = le32(&parameters, 4);
        let metadata = Self {
            block: le32(&parameters, 0),
            fixed: flags & 1 == 1,
            has_parent: flags & 2 == 2,
            capacity: le64(&items.need(DISK_SIZE, 8, "disk size")?, 0),
            disk_id: array(&items.need(DISK_ID, 16, "disk identity")?, 0),
            logical_sector: le32(&items.need(LOGICAL_SECTOR, 4, "logical sector size")?, 0),
            physical_sector: le32(&items.need(PHYSICAL_SECTOR, 4, "physical sector size")?, 0),
            locator: items.get(PARENT_LOCATOR)?,
        };
        metadata.validate()?;
        Ok(metadata)
    }

    fn validate(&self) -> Result<(), ImageError> {
        let block = u64::from(self.block);
        if !block.is_power_of_two() || !(MIB..=256 * MIB).contains(&block) {
            return Err(ImageError::corrupt(format!("a block cannot have {block} bytes")));
        }
        let sector = self.logical_sector;
        if !matches!(sector, 512 | 4096) {
            return Err(ImageError::corrupt(format!(
                "a logical sector cannot have {sector} bytes"
            )));
        }
        if self.capacity > MAX_CAPACITY || !self.capacity.is_multiple_of(sector.into()) {
            return Err(ImageError::corrupt(format!(
                "a VHDX cannot hold a disk of {} bytes",
                self.capacity
            )));
        }
        Ok(())
    }

    /// Payload blocks per sector bitmap block.
    pub fn chunk_ratio(&self) -> u64 {
        (u64::from(self.logical_sector) << 23) / u64::from(self.block)
    }

    /// The metadata table and its items, as they stand at the start of the region.
    pub fn encode(&self) -> Vec<u8> {
        let parameters = [self.block.to_le_bytes(), u32::from(self.fixed).to_le_bytes()].concat();
        let items: [(_, u32, &[u8]); 5] = [
            (FILE_PARAMETERS, IS_REQUIRED, &parameters),
            (DISK_SIZE, IS_DISK | IS_REQUIRED, &self.capacity.to_le_bytes()),
            (DISK_ID, IS_DISK | IS_REQUIRED, &self.disk_id),
            (LOGICAL_SECTOR, IS_DISK | IS_REQUIRED, &self.logical_sector.to_le_bytes()),
            (PHYSICAL_SECTOR, IS_DISK | IS_REQUIRED, &self.physical_sector.to_le_bytes()),
        ];
        let mut table = Vec::with_capacity(TABLE + 64);
        table.extend_from_slice(b"metadata\0\0");
        table.extend_from_slice(&(items.len() as u16).to_le_bytes());
        table.resize(32, 0);
        let mut at = TABLE as u32;
        for (id, flags, value) in &items {
            let len = value.len() as u32;
            table.extend_from_slice(id);
            for field in [at, len, *flags, 0] {
                table.extend_from_slice(&field.to_le_bytes());
            }
            at += len;
        }
        table.resize(TABLE, 0);
        for (_, _, value) in items {
            table.extend_from_slice(value);
        }
        table
    }
}

/// The items that the table names.
struct Items<'a> {
    file: &'a Arc<dyn ReadAt>,
    /// Identity, file offset and length of the known ones.
    known: Vec<([u8; 16], u64, u32)>,
}

impl<'a> Items<'a> {
    fn read(file: &'a Arc<dyn ReadAt>, region: &Range<u64>) -> Result<Self, ImageError> {
        let mut table = vec![0; TABLE];
        let len = region.end.saturating_sub(region.start);
        if len < TABLE as u64 {
            return Err(ImageError::corrupt("the metadata region is too small for its table"));
        }
        file.read_exact_at(&mut table, region.start)?;
        let count = usize::from(le16(&table, 10));
        if !table.starts_with(b"metadata") || count > ENTRIES {
            return Err(ImageError::corrupt("there is no metadata table"));
        }
        let mut known: Vec<([u8; 16], u64, u32)> = Vec::new();
        for entry in table.get(32..).unwrap_or_default().chunks_exact(32).take(count) {
            let id = array(entry, 0);
            let (at, item_len, flags) = (le32(entry, 16), le32(entry, 20), le32(entry, 24));
            if !is_known(&id) {
                if flags & IS_REQUIRED != 0 {
                    return Err(ImageError::unsupported(
                        "it has metadata that must be known and is not",
                    ));
                }
                continue;
            }
            if known.iter().any(|(other, ..)| *other == id) {
                return Err(ImageError::corrupt("a metadata item is named twice"));
            }
            if u64::from(at) < TABLE as u64 || u64::from(at) + u64::from(item_len) > len {
                return Err(ImageError::corrupt("a metadata item lies outside of its region"));
            }
            known.push((id, region.start + u64::from(at), item_len));
        }
        Ok(Self { file, known })
    }

    /// An item's bytes, where it is there.
    fn get(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((_, at, len)) = self.known.iter().find(|(known, ..)| *known == id) else {
            return Ok(None);
        };
        if *len > LOCATOR {
            return Err(ImageError::corrupt(format!("a metadata item has {len} bytes")));
        }
        let mut bytes = vec![0; *len as usize];
        self.file.read_exact_at(&mut bytes, *at)?;
        Ok(Some(bytes))
    }

    /// An item that must be there with at least `len` bytes.
    fn need(&self, id: [u8; 16], len: usize, name: &str) -> Result<Vec<u8>, ImageError> {
        self.get(id)?
            .filter(|bytes| bytes.len() >= len)
            .ok_or_else(|| ImageError::corrupt(format!("the metadata lacks the {name}")))
    }
}

fn is_known(id: &[u8; 16]) -> bool {
    [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR]
        .contains(id)
}
