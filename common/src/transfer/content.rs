//! The content checksum: what the guest sees, whatever the format.
//!
//! Guest bytes are cut into chunks of 64 KiB. A chunk that is all zero counts as absent, so that
//! holes cost nothing and zeros written out equal zeros left out. Each chunk has a BLAKE3 digest;
//! the chunks of a region of 64 MiB make the region's digest; the regions and the capacity make the
//! disk's. Regions are kept so that a difference can be located.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Guest bytes of a chunk.
pub const CHUNK: u64 = 64 << 10;
/// Guest bytes of a region.
pub const REGION: u64 = 64 << 20;

/// The digest of one chunk that is not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSum {
    /// The chunk's number on the disk.
    pub chunk: u64,
    /// BLAKE3 of its bytes; those past the end of the disk count as zero.
    pub digest: [u8; 32],
}

impl ChunkSum {
    /// The digest of chunk number `chunk`; `bytes` is the whole chunk or what the disk has of it.
    pub fn of(chunk: u64, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        let mut missing = CHUNK as usize - bytes.len().min(CHUNK as usize);
        while missing > 0 {
            let zeros = &[0; 4096][..missing.min(4096)];
            hasher.update(zeros);
            missing -= zeros.len();
        }
        Self { chunk, digest: hasher.finalize().into() }
    }
}

/// Collects chunk digests in disk order. Serialisable, so that a resumed run goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSum {
    regions: Vec<(u64, [u8; 32])>,
    open: Vec<ChunkSum>,
}

impl ContentSum {
    /// Takes the digests of the next chunks, ascending.
    pub fn extend(&mut self, sums: impl IntoIterator<Item = ChunkSum>) {
        for sum in sums {
            let region = region_of(sum.chunk);
            if self.open.first().is_some_and(|first| region_of(first.chunk) != region) {
                self.close_region();
            }
            self.open.push(sum);
        }
    }

    fn close_region(&mut self) {
        let Some(first) = self.open.first() else { return };
        let region = region_of(first.chunk);
        let mut hasher = blake3::Hasher::new();
        for sum in self.open.drain(..) {
            hasher.update(&sum.chunk.to_le_bytes());
            hasher.update(&sum.digest);
        }
        self.regions.push((region, hasher.finalize().into()));
    }

    /// The finished checksum of a disk of `capacity` guest bytes.
    pub fn finish(mut self, capacity: u64) -> Content {
        self.close_region();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&capacity.to_le_bytes());
        for (region, digest) in &self.regions {
            hasher.update(&region.to_le_bytes());
            hasher.update(digest);
        }
        Content { capacity, digest: hasher.finalize().to_hex().to_string(), regions: self.regions }
    }
}

fn region_of(chunk: u64) -> u64 {
    chunk / (REGION / CHUNK)
}

/// What a disk holds, in digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Guest bytes.
    pub capacity: u64,
    /// The disk's digest in hex.
    pub digest: String,
    regions: Vec<(u64, [u8; 32])>,
}

impl Content {
    /// Whether both hold the same guest bytes, capacities aside.
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.regions == other.regions
    }

    /// The first region, in guest bytes, in which the two differ.
    pub fn first_difference(&self, other: &Self) -> Option<Range<u64>> {
        let (mut a, mut b) = (self.regions.iter().peekable(), other.regions.iter().peekable());
        let region = loop {
            match (a.peek(), b.peek()) {
                (None, None) => return None,
                (Some(x), Some(y)) if x == y => {
                    a.next();
                    b.next();
                }
                (Some(x), Some(y)) => break x.0.min(y.0),
                (Some(x), None) | (None, Some(x)) => break x.0,
            }
        };
        Some(region * REGION..(region + 1) * REGION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(chunks: &[u64]) -> Content {
        let mut sum = ContentSum::default();
        sum.extend(chunks.iter().map(|chunk| ChunkSum::of(*chunk, &[*chunk as u8 + 1; 65_536])));
        sum.finish(1 << 40)
    }

    #[test]
    fn a_difference_is_located_in_its_region() {
        let base = content(&[0, 1, 5000]);
        assert_eq!(base, content(&[0, 1, 5000]));
        assert!(base.same_bytes(&content(&[0, 1, 5000])));
        let region = REGION / CHUNK;
        let other = content(&[0, 1, region * 3, 5000]);
        assert_eq!(base.first_difference(&other), Some(REGION * 3..REGION * 4));
        assert_eq!(base.first_difference(&content(&[0, 1])), Some(4 * REGION..5 * REGION));
        assert_ne!(base.digest, other.digest);
    }

    #[test]
    fn a_short_last_chunk_counts_as_padded_with_zeros() {
        let mut padded = vec![7; 512];
        padded.resize(CHUNK as usize, 0);
        assert_eq!(ChunkSum::of(3, &[7; 512]), ChunkSum::of(3, &padded));
    }

    #[test]
    fn a_saved_sum_goes_on_where_it_stopped() {
        let sums: Vec<_> = [0, 1, 1024, 1025, 4096].map(|c| ChunkSum::of(c, &[9; 512])).to_vec();
        let mut whole = ContentSum::default();
        whole.extend(sums.clone());
        let mut first = ContentSum::default();
        first.extend(sums[..3].to_vec());
        let saved = postcard::to_stdvec(&first).unwrap();
        let mut second: ContentSum = postcard::from_bytes(&saved).unwrap();
        second.extend(sums[3..].to_vec());
        assert_eq!(whole.finish(5), second.finish(5));
    }
}
