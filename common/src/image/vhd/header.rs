//! The footer and the dynamic disk header of a VHD ("Virtual Hard Disk Image Format
//! Specification" 1.0, Microsoft, October 2006). All numbers are big-endian.

use crate::image::ImageError;
use crate::image::blocks::{SECTOR, array, be16, be32, be64};

/// Bytes of a footer.
pub const FOOTER: usize = 512;

/// Bytes of a dynamic disk header.
pub const DYNAMIC_HEADER: usize = 1024;

/// The first bytes of a footer.
pub const COOKIE: &[u8; 8] = b"conectix";

/// The first bytes of a dynamic disk header.
const DYNAMIC_COOKIE: &[u8; 8] = b"cxsparse";

/// What stands for "no further structure".
const NOWHERE: u64 = u64::MAX;

/// Seconds from 1970 to 2000, where the format's time starts.
const EPOCH: i64 = 946_684_800;

/// How a VHD stores its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The disk's bytes, then the footer.
    Fixed,
    /// A table of blocks.
    Dynamic,
    /// A table of blocks over a parent.
    Differencing,
}

impl Kind {
    /// The kind's word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
            Self::Differencing => "differencing",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
        }
    }
}

/// A disk in cylinders, heads and sectors per track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    cylinders: u16,
    heads: u8,
    sectors: u8,
}

impl Geometry {
    /// The largest that the format knows; a larger disk has this one too.
    const MAX: Self = Self { cylinders: 65_535, heads: 16, sectors: 255 };

    /// The geometry of a disk of `capacity` bytes after the specification's appendix: the
    /// smallest of the customary tracks with which at most 1024 (then 65535) cylinders do. It
    /// covers the disk up to a part of a cylinder.
    pub fn of(capacity: u64) -> Self {
        let total = (capacity / SECTOR).min(65_535 * 16 * 255);
        let tracks = |sectors: u64| total / sectors;
        let (sectors, heads) = if total >= 65_535 * 16 * 63 {
            (255, 16)
        } else {
            let heads = tracks(17).div_ceil(1024).max(4);
            if heads <= 16 && tracks(17) < heads * 1024 {
                (17, heads)
            } else if tracks(31) < 16 * 1024 {
                (31, 16)
            } else {
                (63, 16)
            }
        };
        Self {
            cylinders: (total / sectors / heads) as u16,
            heads: heads as u8,
            sectors: sectors as u8,
        }
    }

    /// Bytes that the geometry covers.
    fn bytes(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * SECTOR
    }
}

/// A hard disk footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The storage.
    pub kind: Kind,
    /// File offset of the dynamic disk header.
    pub header_at: u64,
    /// Creation, in seconds since 2000.
    pub time: u32,
    /// The program that made the image.
    pub creator: [u8; 4],
    /// The "current size" field in bytes.
    pub size: u64,
    /// The geometry field.
    pub geometry: Geometry,
    /// The image's identity, in the order of RFC 9562.
    pub id: [u8; 16],
    /// Whether a virtual machine was saved with this disk.
    pub saved: bool,
}

impl Footer {
    /// The footer of a new image. `capacity` is a multiple of 512.
    pub fn new(kind: Kind, capacity: u64, id: [u8; 16], time: i64) -> Self {
        Self {
            kind,
            header_at: if kind == Kind::Fixed { NOWHERE } else { FOOTER as u64 },
            time: u32::try_from(time.saturating_sub(EPOCH).max(0)).unwrap_or(u32::MAX),
            // Hyper-V's own word. Readers that know both ways of telling the size (QEMU) take the
            // size field for it and never the geometry, which seldom covers the disk's end;
            // Hyper-V, Azure and VirtualBox always take the size field.
            creator: *b"win ",
            size: capacity,
            geometry: Geometry::of(capacity),
            id,
            saved: false,
        }
    }

    /// The footer in `bytes`, 512 of them (511 and a zero for the oldest images).
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where cookie, checksum or kind are wrong,
    /// [`ImageError::Unsupported`] for another major version.
    pub fn parse(bytes: &[u8; FOOTER]) -> Result<Self, ImageError> {
        if !bytes.starts_with(COOKIE) {
            return Err(ImageError::corrupt("there is no footer"));
        }
        if be32(bytes, 64) != checksum(bytes, 64) {
            return Err(ImageError::corrupt("the footer does not match its checksum"));
        }
        let version = be32(bytes, 12);
        if version >> 16 != 1 {
            let text = format!("it is a VHD of version {}.{}", version >> 16, version & 0xffff);
            return Err(ImageError::Unsupported(text));
        }
        let kind = match be32(bytes, 60) {
            2 => Kind::Fixed,
            3 => Kind::Dynamic,
            4 => Kind::Differencing,
            other => return Err(ImageError::corrupt(format!("there is no disk type {other}"))),
        };
        let [heads, sectors] = array(bytes, 58);
        Ok(Self {
            kind,
            header_at: be64(bytes, 16),
            time: be32(bytes, 24),
            creator: array(bytes, 28),
            size: be64(bytes, 48),
            geometry: Geometry { cylinders: be16(bytes, 56), heads, sectors },
            id: array(bytes, 68),
            saved: array::<1>(bytes, 84) != [0],
        })
    }

    /// The 512 bytes of the footer.
    pub fn encode(&self) -> [u8; FOOTER] {
        let mut bytes = [0; FOOTER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, COOKIE);
        // Reserved, and always set.
        put(8, &2u32.to_be_bytes());
        put(12, &0x0001_0000u32.to_be_bytes());
        put(16, &self.header_at.to_be_bytes());
        put(24, &self.time.to_be_bytes());
        put(28, &self.creator);
        put(32, &0x000a_0000u32.to_be_bytes());
        put(36, b"Wi2k");
        put(40, &self.size.to_be_bytes());
        put(48, &self.size.to_be_bytes());
        put(56, &self.geometry.cylinders.to_be_bytes());
        put(58, &[self.geometry.heads, self.geometry.sectors]);
        put(60, &self.kind.number().to_be_bytes());
        put(68, &self.id);
        put(84, &[u8::from(self.saved)]);
        let sum = checksum(&bytes, 64);
        bytes[64..68].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Bytes that a guest sees. Virtual PC, and QEMU where it was not told to force the size,
    /// show the guest what the geometry covers; every other creator's images are as large as the
    /// size field says, and so is every image too large for a geometry.
    pub fn capacity(&self) -> u64 {
        let by_geometry = matches!(&self.creator, b"vpc " | b"qemu");
        if by_geometry && self.geometry != Geometry::MAX {
            self.geometry.bytes()
        } else {
            self.size / SECTOR * SECTOR
        }
    }

    /// Seconds since 1970.
    pub fn created(&self) -> i64 {
        i64::from(self.time) + EPOCH
    }
}

/// A dynamic disk header, as far as every image has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicHeader {
    /// File offset of the block allocation table.
    pub table_at: u64,
    /// Entries of the table.
    pub entries: u32,
    /// Bytes of a block without its sector bitmap; a power of two of at least 512.
    pub block: u32,
}

impl DynamicHeader {
    /// The header in `bytes`, 1024 of them.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where cookie, checksum or block size are wrong,
    /// [`ImageError::Unsupported`] for another major version.
    pub fn parse(bytes: &[u8; DYNAMIC_HEADER]) -> Result<Self, ImageError> {
        if !bytes.starts_with(DYNAMIC_COOKIE) {
            return Err(ImageError::corrupt("there is no dynamic disk header"));
        }
        if be32(bytes, 36) != checksum(bytes, 36) {
            return Err(ImageError::corrupt("the dynamic disk header does not match its checksum"));
        }
        let version = be32(bytes, 24);
        if version >> 16 != 1 {
            let text = format!("its dynamic disk header has version {:#x}", version);
            return Err(ImageError::Unsupported(text));
        }
        let block = be32(bytes, 32);
        if !block.is_power_of_two() || u64::from(block) < SECTOR {
            return Err(ImageError::corrupt(format!("a block cannot have {block} bytes")));
        }
        Ok(Self { table_at: be64(bytes, 16), entries: be32(bytes, 28), block })
    }

    /// The 1024 bytes of the header of an image without parent.
    pub fn encode(&self) -> [u8; DYNAMIC_HEADER] {
        let mut bytes = [0; DYNAMIC_HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, DYNAMIC_COOKIE);
        put(8, &NOWHERE.to_be_bytes());
        put(16, &self.table_at.to_be_bytes());
        put(24, &0x0001_0000u32.to_be_bytes());
        put(28, &self.entries.to_be_bytes());
        put(32, &self.block.to_be_bytes());
        let sum = checksum(&bytes, 36);
        bytes[36..40].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Bytes of the sector bitmap in front of each block's data.
    pub fn bitmap(&self) -> u64 {
        bitmap_bytes(self.block)
    }
}

/// Bytes of the sector bitmap of a block of `block` bytes, padded to sectors.
pub fn bitmap_bytes(block: u32) -> u64 {
    (u64::from(block) / SECTOR).div_ceil(8).next_multiple_of(SECTOR)
}

/// The format's checksum of a structure whose own checksum field, at `field`, counts as zero:
/// the complement of the sum of all bytes.
pub fn checksum(bytes: &[u8], field: usize) -> u32 {
    let sum = bytes
        .iter()
        .enumerate()
        .filter(|(at, _)| !(field..field + 4).contains(at))
        .fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_and_a_header_come_back() {
        let footer = Footer::new(Kind::Dynamic, 12_345 * 512, [7; 16], 1_700_000_000);
        assert_eq!(Footer::parse(&footer.encode()).unwrap(), footer);
        assert_eq!(footer.created(), 1_700_000_000);
        let header = DynamicHeader { table_at: 1536, entries: 77, block: 1 << 21 };
        assert_eq!(DynamicHeader::parse(&header.encode()).unwrap(), header);
        for flip in 0..80 {
            let mut bytes = footer.encode();
            bytes[flip] ^= 1;
            assert!(Footer::parse(&bytes).is_err(), "byte {flip}");
        }
    }

    #[test]
    fn geometries_follow_the_appendix() {
        let geometry = |cylinders, heads, sectors| Geometry { cylinders, heads, sectors };
        assert_eq!(Geometry::of(512), geometry(0, 4, 17));
        // 40 MB, 1 GiB and 127 GiB as Virtual PC makes them.
        assert_eq!(Geometry::of(40 << 20), geometry(963, 5, 17));
        assert_eq!(Geometry::of(1 << 30), geometry(2080, 16, 63));
        assert_eq!(Geometry::of(127 << 30), geometry(65_278, 16, 255));
        assert_eq!(Geometry::of(2040 << 30), Geometry::MAX);
    }

    #[test]
    fn only_two_creators_tell_the_size_by_geometry() {
        let mut footer = Footer::new(Kind::Fixed, 100_000_256, [0; 16], 0);
        assert_eq!((footer.capacity(), footer.time), (100_000_256, 0));
        footer.creator = *b"vpc ";
        assert_eq!(footer.capacity(), footer.geometry.bytes());
        assert!(footer.capacity() < 100_000_256);
        footer.geometry = Geometry::MAX;
        assert_eq!(footer.capacity(), 100_000_256);
    }

    #[test]
    fn bitmaps_take_whole_sectors() {
        assert_eq!([512, 1 << 21, 1 << 22, 1 << 23].map(bitmap_bytes), [512, 512, 1024, 2048]);
    }
}
