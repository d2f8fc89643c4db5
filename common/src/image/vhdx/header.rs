//! File identifier, headers and region tables ([MS-VHDX] 2.2). Numbers are little-endian, GUIDs
//! in Microsoft's order; checksums are CRC-32C with their own field as zero.

use std::ops::Range;

use crate::image::blocks::{MIB, array, le16, le32, le64, swap_guid};
use crate::image::{ImageError, ReadAt};

/// The first bytes of the file.
pub const IDENTIFIER: &[u8; 8] = b"vhdxfile";

/// File offsets of the two headers.
pub const HEADERS: [u64; 2] = [64 << 10, 128 << 10];

/// File offsets of the two region tables.
pub const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];

/// Bytes of a header.
const HEADER: usize = 4096;

/// Bytes of a region table.
const REGION_TABLE: usize = 64 << 10;

/// Most entries of a region table and of a metadata table.
pub const ENTRIES: usize = 2047;

/// The region of the block allocation table.
const BAT: [u8; 16] = guid(0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08);

/// The region of the metadata.
const METADATA: [u8; 16] = guid(0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e);

/// A GUID, written as its text reads, in the order of the file.
pub const fn guid(text: u128) -> [u8; 16] {
    swap_guid(text.to_be_bytes())
}

/// CRC-32C of a structure whose checksum stands at byte 4.
pub fn checksum(bytes: &[u8]) -> u32 {
    let (head, tail) = bytes.split_at(bytes.len().min(8));
    let head = crc32c::crc32c(head.get(..4).unwrap_or(head));
    crc32c::crc32c_append(crc32c::crc32c_append(head, &[0; 4]), tail)
}

/// One of the two headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header with the greater number counts.
    pub sequence: u64,
    /// Changes with every session of writing. In the file's order, as all of them.
    pub file_write: [u8; 16],
    /// Changes when what a guest sees may change; the identity that children name.
    pub data_write: [u8; 16],
    /// Which log entries count; zero: none.
    pub log: [u8; 16],
    /// Where the log is.
    pub log_range: Range<u64>,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Result<Self, ImageError> {
        if !bytes.starts_with(b"head") {
            return Err(ImageError::corrupt("there is no header"));
        }
        if le32(bytes, 4) != checksum(bytes) {
            return Err(ImageError::corrupt("a header does not match its checksum"));
        }
        let version = le16(bytes, 66);
        if version != 1 {
            return Err(ImageError::Unsupported(format!("it is a VHDX of version {version}")));
        }
        let (at, len) = (le64(bytes, 72), u64::from(le32(bytes, 68)));
        Ok(Self {
            sequence: le64(bytes, 8),
            file_write: array(bytes, 16),
            data_write: array(bytes, 32),
            log: array(bytes, 48),
            log_range: at..at.saturating_add(len),
        })
    }

    /// The 4096 bytes of the header.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"head");
        put(8, &self.sequence.to_le_bytes());
        put(16, &self.file_write);
        put(32, &self.data_write);
        put(48, &self.log);
        put(66, &1u16.to_le_bytes());
        let len = (self.log_range.end - self.log_range.start) as u32;
        put(68, &len.to_le_bytes());
        put(72, &self.log_range.start.to_le_bytes());
        let sum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// The header that counts; what is wrong with the other is added to `findings`.
///
/// # Errors
/// [`ImageError::Corrupt`] where neither is whole, [`ImageError::Unsupported`] for another
/// version, or a failed read.
pub fn read_header(file: &dyn ReadAt, findings: &mut Vec<String>) -> Result<Header, ImageError> {
    let [first, second] = HEADERS.map(|at| {
        let mut bytes = [0; HEADER];
        file.read_exact_at(&mut bytes, at)?;
        Header::parse(&bytes)
    });
    match (first, second) {
        (Ok(first), Ok(second)) if second.sequence > first.sequence => Ok(second),
        (Ok(first), Ok(_)) => Ok(first),
        (Ok(header), Err(_)) | (Err(_), Ok(header)) => {
            findings.push("one of the two headers is damaged".to_owned());
            Ok(header)
        }
        (Err(error @ ImageError::Unsupported(_)), _) | (_, Err(error)) => Err(error),
    }
}

/// Where the two regions are that every image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// The block allocation table.
    pub bat: Range<u64>,
    /// The metadata.
    pub metadata: Range<u64>,
}

impl Regions {
    fn parse(bytes: &[u8], file_len: u64) -> Result<Self, ImageError> {
        if !bytes.starts_with(b"regi") {
            return Err(ImageError::corrupt("there is no region table"));
        }
        if le32(bytes, 4) != checksum(bytes) {
            return Err(ImageError::corrupt("a region table does not match its checksum"));
        }
        let count = le32(bytes, 8) as usize;
        if count > ENTRIES {
            return Err(ImageError::corrupt(format!("a region table has {count} entries")));
        }
        let (mut bat, mut metadata) = (None, None);
        for entry in bytes.get(16..).unwrap_or_default().chunks_exact(32).take(count) {
            let (at, len) = (le64(entry, 16), u64::from(le32(entry, 24)));
            let range = at..at.saturating_add(len);
            let slot = match array(entry, 0) {
                BAT => &mut bat,
                METADATA => &mut metadata,
                _ if le32(entry, 28) & 1 == 1 => {
                    return Err(ImageError::unsupported(
                        "it has a region that must be known and is not",
                    ));
                }
                _ => continue,
            };
            if at < MIB || !at.is_multiple_of(MIB) || range.end > file_len {
                return Err(ImageError::corrupt(format!(
                    "a region of {len} bytes at byte {at} leaves the file or its place"
                )));
            }
            if slot.replace(range).is_some() {
                return Err(ImageError::corrupt("a region is named twice"));
            }
        }
        match (bat, metadata) {
            (Some(bat), Some(metadata)) => Ok(Self { bat, metadata }),
            (None, _) => Err(ImageError::corrupt("the region of the block table is missing")),
            (_, None) => Err(ImageError::corrupt("the region of the metadata is missing")),
        }
    }

    /// The 64 KiB of the region table.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; REGION_TABLE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"regi");
        put(8, &2u32.to_le_bytes());
        for (at, id, range) in [(16, BAT, &self.bat), (48, METADATA, &self.metadata)] {
            put(at, &id);
            put(at + 16, &range.start.to_le_bytes());
            put(at + 24, &((range.end - range.start) as u32).to_le_bytes());
            put(at + 28, &1u32.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// The regions after the first whole table; what is wrong with the other is added to `findings`.
///
/// # Errors
/// As [`read_header`]; also for regions that leave the file.
pub fn read_regions(file: &dyn ReadAt, findings: &mut Vec<String>) -> Result<Regions, ImageError> {
    let [first, second] = REGION_TABLES.map(|at| {
        let mut bytes = vec![0; REGION_TABLE];
        file.read_exact_at(&mut bytes, at)?;
        Regions::parse(&bytes, file.len())
    });
    match (first, second) {
        (Ok(first), Ok(second)) => {
            if first != second {
                findings.push("the two region tables differ".to_owned());
            }
            Ok(first)
        }
        (Ok(regions), Err(_)) | (Err(_), Ok(regions)) => {
            findings.push("one of the two region tables is damaged".to_owned());
            Ok(regions)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_and_regions_come_back() {
        let header = Header {
            sequence: 7,
            file_write: [1; 16],
            data_write: [2; 16],
            log: [0; 16],
            log_range: MIB..2 * MIB,
        };
        let bytes: [u8; HEADER] = header.encode().try_into().unwrap();
        assert_eq!(Header::parse(&bytes).unwrap(), header);
        let regions = Regions { bat: 3 * MIB..4 * MIB, metadata: 2 * MIB..3 * MIB };
        assert_eq!(Regions::parse(&regions.encode(), 4 * MIB).unwrap(), regions);
        assert!(Regions::parse(&regions.encode(), 4 * MIB - 1).is_err());
        for flip in 0..80 {
            let (mut torn, mut regions) = (bytes, regions.encode());
            torn[flip] ^= 4;
            regions[flip] ^= 4;
            assert!(Header::parse(&torn).is_err() && Regions::parse(&regions, 4 * MIB).is_err());
        }
    }
}
