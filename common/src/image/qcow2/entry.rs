//! Entries of the L1 and L2 tables.

use super::header::Header;
use crate::image::ImageError;

/// The reference count is exactly one.
pub const COPIED: u64 = 1 << 63;
/// The cluster is compressed.
pub const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zero.
pub const ZERO: u64 = 1;
/// Bits 9 to 55: a file offset.
pub const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

const SECTOR: u64 = 512;

/// What one L2 entry says about its cluster, or one of its subclusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Nothing: what lies below shows through.
    Unallocated,
    /// Reads as zero.
    Zero,
    /// Plain bytes at a file offset.
    Plain(u64),
    /// A compressed stream: its offset and the upper bound of its length.
    Packed(u64, u32),
}

/// An L2 entry as it is stored; `bits` is the subcluster bitmap of an extended one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// The descriptor.
    pub word: u64,
    /// Lower half: allocated subclusters, upper half: those that read as zero.
    pub bits: u64,
}

impl Entry {
    /// The host cluster of a standard entry, allocated or preallocated; for a compressed one the
    /// stream's place.
    pub fn host(self, header: &Header) -> Host {
        if self.word & COMPRESSED != 0 {
            let (offset, len) = unpack_descriptor(self.word, header.cluster_bits);
            Host::Packed(offset, len)
        } else if self.word & OFFSET != 0 {
            Host::Cluster(self.word & OFFSET)
        } else {
            Host::None
        }
    }

    /// What stands at guest offset `within` bytes into the cluster, and up to where in the
    /// cluster that holds. `index` names the cluster in messages.
    pub fn mapping(
        self,
        header: &Header,
        within: u64,
        index: u64,
    ) -> Result<(u64, Mapping), ImageError> {
        let whole = header.cluster();
        let external = header.incompatible & super::header::DATA_FILE != 0;
        if self.word & COMPRESSED != 0 {
            if external {
                return Err(ImageError::corrupt(format!(
                    "cluster {index} is compressed in an external data file"
                )));
            }
            let (offset, len) = unpack_descriptor(self.word, header.cluster_bits);
            return Ok((whole, Mapping::Packed(offset, len)));
        }
        let offset = self.word & OFFSET;
        let allocated = offset != 0 || external && self.word & COPIED != 0;
        if !offset.is_multiple_of(whole) {
            return Err(ImageError::corrupt(format!("cluster {index} lies at byte {offset}")));
        }
        if header.extended() {
            return self.subcluster(whole, within, index, allocated.then_some(offset));
        }
        let mapping = match (self.word & ZERO != 0, allocated) {
            (true, _) if header.version < 3 => {
                return Err(ImageError::corrupt(format!(
                    "cluster {index} is a zero cluster in a version 2 image"
                )));
            }
            (true, _) => Mapping::Zero,
            (false, true) => Mapping::Plain(offset + within),
            (false, false) => Mapping::Unallocated,
        };
        Ok((whole, mapping))
    }

    fn subcluster(
        self,
        whole: u64,
        within: u64,
        index: u64,
        offset: Option<u64>,
    ) -> Result<(u64, Mapping), ImageError> {
        let piece = whole / 32;
        let number = within / piece;
        let allocated = self.bits >> number & 1 != 0;
        let zero = self.bits >> (32 + number) & 1 != 0;
        let mapping = match (allocated, zero, offset) {
            (true, true, _) | (true, _, None) => {
                return Err(ImageError::corrupt(format!(
                    "the subclusters of cluster {index} contradict each other"
                )));
            }
            (_, true, _) => Mapping::Zero,
            (true, false, Some(offset)) => Mapping::Plain(offset + within),
            (false, false, _) => Mapping::Unallocated,
        };
        Ok(((number + 1) * piece, mapping))
    }
}

/// Where in the image file an entry points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Nowhere.
    None,
    /// At a cluster.
    Cluster(u64),
    /// At a compressed stream: offset and the upper bound of its length.
    Packed(u64, u32),
}

/// Offset and upper bound of the length of a compressed stream: from the offset to the end of
/// the last of the additional sectors.
fn unpack_descriptor(word: u64, cluster_bits: u32) -> (u64, u32) {
    let shift = 62 - (cluster_bits - 8);
    let offset = word & ((1 << shift) - 1);
    let sectors = (word & (COMPRESSED - 1)) >> shift;
    let len = (sectors + 1) * SECTOR - offset % SECTOR;
    (offset, len as u32)
}

/// The descriptor of a compressed stream of `len` bytes at `offset`; `None` where the offset or
/// the number of sectors does not fit.
pub fn pack_descriptor(offset: u64, len: u64, cluster_bits: u32) -> Option<u64> {
    let shift = 62 - (cluster_bits - 8);
    let last = offset.checked_add(len.checked_sub(1)?)?;
    let sectors = last / SECTOR - offset / SECTOR;
    let fits = offset < 1 << shift.min(56) && sectors < 1 << (cluster_bits - 8);
    fits.then_some(COMPRESSED | sectors << shift | offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_come_back_with_the_length_rounded_up_to_sectors() {
        for bits in 9..=21 {
            for (offset, len) in [(0, 1), (511, 1), (511, 2), (1 << 40, 511), (12_345, 300)] {
                let word = pack_descriptor(offset, len, bits).unwrap();
                let (at, most) = unpack_descriptor(word, bits);
                assert_eq!(at, offset);
                assert!(u64::from(most) >= len && (at + u64::from(most)) % SECTOR == 0);
                assert!(u64::from(most) < len + SECTOR);
            }
        }
        assert_eq!(pack_descriptor(1 << 49, 10, 21), None);
        assert_eq!(pack_descriptor(0, 1025, 9), None);
    }
}
