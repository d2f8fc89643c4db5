//! The binary headers: the hosted sparse extent's (`KDMV`, "Virtual Disk Format 5.0", VMware
//! 2011), the ESX sparse extent's (`COWD`, same document) and the markers of streams.

use serde::{Deserialize, Serialize};

use crate::image::ImageError;

/// Bytes of a sector, the unit of every address in the format.
pub(super) const SECTOR: u64 = 512;
/// The same, for buffers.
pub(super) const SECTOR_LEN: usize = 512;
/// `gdOffset` of a stream whose directory follows the grains.
pub(super) const AT_END: u64 = u64::MAX;
/// First bytes of a hosted sparse extent.
pub(super) const SPARSE_MAGIC: [u8; 4] = *b"KDMV";
/// First bytes of an ESX sparse extent.
pub(super) const COWD_MAGIC: [u8; 4] = *b"COWD";
/// First bytes of an ESX space-efficient sparse extent (0xcafebabe, little endian).
pub(super) const SESPARSE_MAGIC: [u8; 8] = [0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0];

/// The newline bytes tell of a transfer in text mode.
const FLAG_NEWLINES: u32 = 1;
const FLAG_REDUNDANT: u32 = 1 << 1;
const FLAG_ZEROED: u32 = 1 << 2;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;
/// The upper half holds the flags that a reader must know.
const FLAGS_MUST_KNOW: u32 = 0xffff_0000;
const NEWLINES: [u8; 4] = [b'\n', b' ', b'\r', b'\n'];

/// Largest grain of any extent, in sectors (1 GiB, as QEMU has it).
const GRAIN_MAX: u64 = 1 << 21;
/// Largest compressed grain in sectors (2 MiB): each is inflated in memory.
const PACKED_GRAIN_MAX: u64 = 1 << 12;
/// Most entries of a grain table; VMware writes 512, and 4096 in `COWD` files.
const TABLE_MAX: u32 = 1 << 14;
/// Most entries of a directory, which is QEMU's limit too: a disk of 64 TiB has 2^21. A sparse
/// file of a few KiB could name a directory of gigabytes otherwise, and keep a reader for hours.
const TABLES_MAX: u64 = 1 << 25;
/// Largest capacity in sectors (2^62 bytes), so that sums of offsets cannot overflow.
const CAPACITY_MAX: u64 = 1 << 53;

/// The header of a hosted sparse extent. Addresses and sizes are in sectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// 1 to 3.
    pub version: u32,
    /// The redundant directory is there.
    pub has_redundant: bool,
    /// An entry of 1 stands for a grain of zeros.
    pub has_zeroed: bool,
    /// Grains are zlib streams.
    pub compressed: bool,
    /// Grains and tables are preceded by markers.
    pub markers: bool,
    /// The guest's sectors.
    pub capacity: u64,
    /// Sectors of a grain, a power of two.
    pub grain: u64,
    /// The embedded descriptor; 0 for none.
    pub descriptor: u64,
    /// Sectors set aside for it.
    pub descriptor_len: u64,
    /// Entries of a grain table.
    pub table_len: u32,
    /// The redundant directory; 0 for none.
    pub redundant: u64,
    /// The directory; [`AT_END`] where a footer says.
    pub directory: u64,
    /// Sectors before the first grain.
    pub overhead: u64,
    /// The writer did not close the file.
    pub unclean: bool,
}

impl Header {
    /// Parses the first sector of a sparse extent, or its footer.
    pub(super) fn parse(sector: &[u8]) -> Result<Self, ImageError> {
        let raw: &[u8; SECTOR_LEN] = sector
            .first_chunk()
            .ok_or_else(|| ImageError::Truncated("the file ends inside its header".into()))?;
        if raw[..4] != SPARSE_MAGIC {
            return Err(ImageError::corrupt("the VMDK header does not start with KDMV"));
        }
        let flags = u32_at(raw, 8);
        let compression = u16::from_le_bytes([raw[77], raw[78]]);
        let header = Self {
            version: u32_at(raw, 4),
            has_redundant: flags & FLAG_REDUNDANT != 0,
            has_zeroed: flags & FLAG_ZEROED != 0,
            compressed: compression != 0,
            markers: flags & FLAG_MARKERS != 0,
            capacity: u64_at(raw, 12),
            grain: u64_at(raw, 20),
            descriptor: u64_at(raw, 28),
            descriptor_len: u64_at(raw, 36),
            table_len: u32_at(raw, 44),
            redundant: u64_at(raw, 48),
            directory: u64_at(raw, 56),
            overhead: u64_at(raw, 64),
            unclean: raw[72] != 0,
        };
        if flags & FLAG_NEWLINES != 0 && raw[73..77] != NEWLINES {
            return Err(ImageError::corrupt(
                "the VMDK header's newlines were changed, as by a transfer in text mode",
            ));
        }
        header.check(flags, compression)?;
        Ok(header)
    }

    fn check(&self, flags: u32, compression: u16) -> Result<(), ImageError> {
        if !(1..=3).contains(&self.version) {
            let text = format!("VMDK version {} is not known", self.version);
            return Err(ImageError::unsupported(text));
        }
        let unknown = flags & FLAGS_MUST_KNOW & !(FLAG_COMPRESSED | FLAG_MARKERS);
        if unknown != 0 {
            let text = format!("the VMDK header needs features that are not known ({unknown:#x})");
            return Err(ImageError::unsupported(text));
        }
        if compression > 1 {
            let text = format!("VMDK compression method {compression} is not known");
            return Err(ImageError::unsupported(text));
        }
        if self.compressed != (flags & FLAG_COMPRESSED != 0) || self.markers && !self.compressed {
            return Err(ImageError::corrupt("the VMDK header contradicts itself on compression"));
        }
        if self.capacity > CAPACITY_MAX {
            let text = format!("the VMDK header claims {} sectors", self.capacity);
            return Err(ImageError::corrupt(text));
        }
        check_grain(self.grain, self.compressed)?;
        if self.table_len == 0 || self.table_len > TABLE_MAX {
            let text = format!("grain tables of {} entries make no sense", self.table_len);
            return Err(ImageError::corrupt(text));
        }
        if self.tables() > TABLES_MAX {
            let text = format!("a directory of {} grain tables makes no sense", self.tables());
            return Err(ImageError::corrupt(text));
        }
        Ok(())
    }

    /// The header's sector.
    pub(super) fn to_sector(&self) -> [u8; SECTOR_LEN] {
        let mut raw = [0; SECTOR_LEN];
        let mut flags = FLAG_NEWLINES;
        for (set, flag) in [
            (self.has_redundant, FLAG_REDUNDANT),
            (self.has_zeroed, FLAG_ZEROED),
            (self.compressed, FLAG_COMPRESSED),
            (self.markers, FLAG_MARKERS),
        ] {
            flags |= if set { flag } else { 0 };
        }
        raw[..4].copy_from_slice(&SPARSE_MAGIC);
        raw[4..8].copy_from_slice(&self.version.to_le_bytes());
        raw[8..12].copy_from_slice(&flags.to_le_bytes());
        raw[44..48].copy_from_slice(&self.table_len.to_le_bytes());
        for (at, value) in [
            (12, self.capacity),
            (20, self.grain),
            (28, self.descriptor),
            (36, self.descriptor_len),
            (48, self.redundant),
            (56, self.directory),
            (64, self.overhead),
        ] {
            raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        raw[72] = u8::from(self.unclean);
        raw[73..77].copy_from_slice(&NEWLINES);
        raw[77] = u8::from(self.compressed);
        raw
    }

    /// Entries of the directory.
    pub(super) fn tables(&self) -> u64 {
        self.capacity.div_ceil(self.grain).div_ceil(u64::from(self.table_len))
    }

    /// Guest bytes of a grain.
    pub(super) fn grain_bytes(&self) -> u64 {
        self.grain * SECTOR
    }
}

/// The header of an ESX sparse extent. Addresses and sizes are in sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CowdHeader {
    /// The guest's sectors.
    pub capacity: u64,
    /// Sectors of a grain, a power of two.
    pub grain: u64,
    /// The directory.
    pub directory: u64,
    /// The writer did not close the file.
    pub unclean: bool,
}

impl CowdHeader {
    /// Bytes of the header.
    pub(super) const LEN: usize = 2048;
    /// Entries of a grain table.
    pub(super) const TABLE_LEN: u32 = 4096;

    /// Parses the first four sectors.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, ImageError> {
        let raw: &[u8; Self::LEN] = raw
            .first_chunk()
            .ok_or_else(|| ImageError::Truncated("the file ends inside its header".into()))?;
        if raw[..4] != COWD_MAGIC {
            return Err(ImageError::corrupt("the ESX sparse header does not start with COWD"));
        }
        if u32_at(raw, 4) != 1 {
            let text = format!("ESX sparse (COWD) version {} is not known", u32_at(raw, 4));
            return Err(ImageError::unsupported(text));
        }
        let header = Self {
            capacity: u64::from(u32_at(raw, 12)),
            grain: u64::from(u32_at(raw, 16)),
            directory: u64::from(u32_at(raw, 20)),
            unclean: u32_at(raw, 1648) != 0,
        };
        check_grain(header.grain, false)?;
        let needed = header.capacity.div_ceil(header.grain).div_ceil(u64::from(Self::TABLE_LEN));
        if u64::from(u32_at(raw, 24)) < needed {
            return Err(ImageError::corrupt("the ESX sparse directory is too short for the disk"));
        }
        Ok(header)
    }
}

fn check_grain(sectors: u64, compressed: bool) -> Result<(), ImageError> {
    let most = if compressed { PACKED_GRAIN_MAX } else { GRAIN_MAX };
    if !sectors.is_power_of_two() || sectors > most {
        let text = format!("grains of {sectors} sectors are not a power of two of at most {most}");
        return Err(ImageError::corrupt(text));
    }
    Ok(())
}

/// What precedes grains and tables in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// A compressed grain: the guest sector it starts at, and the bytes of its stream, which
    /// follows the first [`Marker::GRAIN_LEN`] bytes at once.
    Grain {
        /// Guest sector.
        lba: u64,
        /// Bytes of the zlib stream.
        len: u32,
    },
    /// Nothing follows.
    EndOfStream,
    /// A grain table of so many sectors follows.
    Table(u64),
    /// The grain directory of so many sectors follows.
    Directory(u64),
    /// The footer follows.
    Footer,
    /// So many sectors of something else follow.
    Other(u64),
}

impl Marker {
    /// Bytes of a grain's marker.
    pub(super) const GRAIN_LEN: u64 = 12;

    /// Reads the marker at the front of `raw`, which holds at least 16 bytes.
    pub(super) fn parse(raw: &[u8; 16]) -> Self {
        let (value, len, kind) = (u64_at(raw, 0), u32_at(raw, 8), u32_at(raw, 12));
        if len != 0 {
            return Self::Grain { lba: value, len };
        }
        match kind {
            0 => Self::EndOfStream,
            1 => Self::Table(value),
            2 => Self::Directory(value),
            3 => Self::Footer,
            _ => Self::Other(value),
        }
    }

    /// The marker's bytes: the head of a grain, or a whole sector.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (value, len, kind) = match self {
            Self::Grain { lba, len } => {
                return [&lba.to_le_bytes()[..], &len.to_le_bytes()[..]].concat();
            }
            Self::EndOfStream => (0, 0, 0_u32),
            Self::Table(sectors) => (sectors, 0, 1),
            Self::Directory(sectors) => (sectors, 0, 2),
            Self::Footer => (1, 0, 3),
            Self::Other(sectors) => (sectors, 0_u32, u32::MAX),
        };
        let mut raw = vec![0; SECTOR_LEN];
        raw[..8].copy_from_slice(&value.to_le_bytes());
        raw[8..12].copy_from_slice(&len.to_le_bytes());
        raw[12..16].copy_from_slice(&kind.to_le_bytes());
        raw
    }
}

/// The most bytes that the stream of a grain of `unit` bytes may take: deflate stores what it
/// cannot press, with a little around it; beyond twice the size it is not a grain.
pub(super) fn stream_max(unit: u64) -> u64 {
    2 * unit + 1024
}

/// The 32-bit entries of a table or directory.
pub(super) fn entries(raw: &[u8]) -> impl Iterator<Item = u32> + '_ {
    raw.as_chunks().0.iter().map(|entry| u32::from_le_bytes(*entry))
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    raw.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
