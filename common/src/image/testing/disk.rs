//! Made-up disks.

use bytes::Bytes;

use super::load;
use crate::image::{Block, Body, Extent};

/// A list of extents made from `seed`: holes, zeros, random and compressible data of odd and
/// even lengths; and the bytes that a guest reads.
pub fn scattered(seed: u64, capacity: u64) -> (Vec<Extent>, Vec<u8>) {
    let mut random = Random(seed | 1);
    let (mut extents, mut bytes) = (Vec::new(), Vec::new());
    while (bytes.len() as u64) < capacity {
        let start = bytes.len() as u64;
        let scale = [512, 4096, 65_536, 262_144][random.below(4) as usize];
        let odd = if random.below(4) == 0 { random.below(511) } else { 0 };
        let len = ((random.below(9) + 1) * scale + odd).min(capacity - start);
        let range = start..start + len;
        let body = match random.below(5) {
            0 => Body::Hole,
            1 => Body::Zero,
            2 => Body::Data(Block::Plain(random.bytes(len as usize).into())),
            3 => Body::Data(Block::Plain(random.text(len as usize).into())),
            _ => Body::Data(Block::Plain(vec![0; len as usize].into())),
        };
        let extent = Extent { range, body };
        bytes.extend_from_slice(&load(&extent));
        extents.push(extent);
    }
    (extents, bytes)
}

/// A small generator (xorshift) for reproducible test data.
pub struct Random(pub u64);

impl Random {
    /// The next value.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A value below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.draw() >> 11) % bound
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| self.draw().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Bytes that compress to about a third.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        let words: Vec<Vec<u8>> = (3..11).map(|len| self.bytes(len)).collect();
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend_from_slice(&words[self.below(8) as usize]);
        }
        text.truncate(len);
        text
    }
}

/// Guest bytes in memory as one extent.
pub fn plain(bytes: &[u8]) -> Vec<Extent> {
    let range = 0..bytes.len() as u64;
    let body = Body::Data(Block::Plain(Bytes::copy_from_slice(bytes)));
    if bytes.is_empty() { Vec::new() } else { vec![Extent { range, body }] }
}
