//! The header of a VDI. Numbers are little-endian, GUIDs in Microsoft's order.

use crate::image::ImageError;
use crate::image::blocks::{MIB, SECTOR, array, guid_text, le32, le64, swap_guid};

/// Bytes of the header with what stands in front of it.
pub const HEADER: usize = 512;

/// What stands at byte 64.
pub const SIGNATURE: u32 = 0xbeda_107f;

/// The text in front; for people only.
const TEXT: &[u8] = b"<<< VirtualBox Disk Image written by hyper >>>\n";

/// Version 1.1.
const VERSION: u32 = 0x0001_0001;

/// Bytes of the header proper, in the layout that VirtualBox has written since version 3.
const HEADER_SIZE: u32 = 400;

/// Image types.
const DYNAMIC: u32 = 1;
const FIXED: u32 = 2;
const UNDO: u32 = 3;
const DIFFERENCING: u32 = 4;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether all blocks were allocated at once.
    pub fixed: bool,
    /// File offset of the block map.
    pub map_at: u32,
    /// File offset of block 0 of the file.
    pub data_at: u32,
    /// Bytes that a guest sees, a multiple of 512.
    pub capacity: u64,
    /// Bytes of a block, a power of two.
    pub block: u32,
    /// Entries of the block map.
    pub entries: u32,
    /// Entries that are allocated.
    pub allocated: u32,
    /// The image's identity and that of its last change, in the order of RFC 9562.
    pub id: [u8; 16],
    /// Changes with every session of writing.
    pub modified: [u8; 16],
}

impl Header {
    /// The header in `bytes`, the first 512 of the file.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where fields are out of their ranges; [`ImageError::Unsupported`]
    /// for other versions, differencing and undo images.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, ImageError> {
        if le32(bytes, 64) != SIGNATURE {
            return Err(ImageError::corrupt("it does not start as a VDI"));
        }
        let version = le32(bytes, 68);
        if version != VERSION {
            let (major, minor) = (version >> 16, version & 0xffff);
            return Err(ImageError::Unsupported(format!("it is a VDI of version {major}.{minor}")));
        }
        let kind = le32(bytes, 76);
        check_kind(kind, [array(bytes, 424), array(bytes, 440)])?;
        let header = Self {
            fixed: kind == FIXED,
            map_at: le32(bytes, 340),
            data_at: le32(bytes, 344),
            // Images made of raw files may have odd sizes; QEMU shows whole sectors too.
            capacity: le64(bytes, 368).checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX),
            block: le32(bytes, 376),
            entries: le32(bytes, 384),
            allocated: le32(bytes, 388),
            id: swap_guid(array(bytes, 392)),
            modified: swap_guid(array(bytes, 408)),
        };
        header.validate(le32(bytes, 380))?;
        Ok(header)
    }

    fn validate(&self, block_extra: u32) -> Result<(), ImageError> {
        let block = u64::from(self.block);
        if !block.is_power_of_two() || !(4096..=256 * MIB).contains(&block) {
            return Err(ImageError::corrupt(format!("a block cannot have {block} bytes")));
        }
        if block_extra != 0 {
            return Err(ImageError::unsupported("its blocks carry extra data"));
        }
        let covered = u64::from(self.entries) * block;
        if covered < self.capacity {
            return Err(ImageError::corrupt(format!(
                "the block map covers {covered} bytes of a disk of {}",
                self.capacity
            )));
        }
        Ok(())
    }

    /// The 512 bytes of the header.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, TEXT);
        let kind = if self.fixed { FIXED } else { DYNAMIC };
        for (at, field) in [
            (64, SIGNATURE),
            (68, VERSION),
            (72, HEADER_SIZE),
            (76, kind),
            (340, self.map_at),
            (344, self.data_at),
            // The sector size, of both geometries; the rest of them is left to VirtualBox.
            (360, SECTOR as u32),
            (468, SECTOR as u32),
            (376, self.block),
            (384, self.entries),
            (388, self.allocated),
        ] {
            put(at, &field.to_le_bytes());
        }
        put(368, &self.capacity.to_le_bytes());
        put(392, &swap_guid(self.id));
        put(408, &swap_guid(self.modified));
        bytes
    }
}

/// Whether an image of this kind stands alone; `links` are the parent's identity and that of
/// the parent's last change.
fn check_kind(kind: u32, links: [[u8; 16]; 2]) -> Result<(), ImageError> {
    let named = links.into_iter().find(|link| *link != [0; 16]);
    match (kind, named) {
        (DYNAMIC | FIXED, None) => Ok(()),
        (UNDO, _) => Err(ImageError::unsupported("it is an undo image")),
        (DYNAMIC | FIXED | DIFFERENCING, Some(parent)) => Err(ImageError::Unsupported(format!(
            "it is a differencing image over the disk {}: clone it into one image first",
            guid_text(&swap_guid(parent))
        ))),
        (DIFFERENCING, None) => Err(ImageError::unsupported("it is a differencing image")),
        _ => Err(ImageError::corrupt(format!("there is no image type {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let header = Header {
            fixed: false,
            map_at: 1 << 20,
            data_at: 2 << 20,
            capacity: 12_345 * 512,
            block: 1 << 20,
            entries: 7,
            allocated: 3,
            id: [1; 16],
            modified: [2; 16],
        };
        let bytes: [u8; HEADER] = header.encode().try_into().unwrap();
        assert_eq!(Header::parse(&bytes).unwrap(), header);
    }
}
