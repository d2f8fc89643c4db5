//! Small inputs for formats whose files are large: VHDX lays its parts out at mebibytes, VHD and
//! VDI have blocks of that size, VMDK has grains of 64 KiB. And checksums made right, which no mutation would ever hit.
//!
//! An input is the file's length (32 bits, in sectors), then pieces: an offset (32 bits, in
//! sectors), a length (16 bits, in bytes), the bytes. All little-endian; what lies between is zero.

use std::io::{Error, ErrorKind};

use hyper_common::image::ReadAt;

const SECTOR: u64 = 512;
/// Longest file: a walk's time must follow from the file's length, so this bounds it.
const MOST_LEN: u64 = 64 << 20;

/// A file that is zero but for some pieces; a later piece hides an earlier one.
#[derive(Debug, Clone)]
pub struct Sparse {
    len: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    /// The file that `input` stands for; a damaged end is left out.
    pub fn parse(input: &[u8]) -> Option<Self> {
        let (len, mut rest) = input.split_first_chunk::<4>()?;
        let len = (u64::from(u32::from_le_bytes(*len)) * SECTOR).min(MOST_LEN);
        let mut pieces = Vec::new();
        while let Some((offset, after)) = rest.split_first_chunk::<4>() {
            let Some((count, after)) = after.split_first_chunk::<2>() else { break };
            let count = usize::from(u16::from_le_bytes(*count)).min(after.len());
            let (bytes, after) = after.split_at(count);
            pieces.push((u64::from(u32::from_le_bytes(*offset)) * SECTOR, bytes.to_vec()));
            rest = after;
        }
        Some(Self { len, pieces })
    }

    fn copy(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// Puts the checksum of VHD's footers and dynamic header right: the complement of the sum of
    /// all bytes.
    pub fn repair_vhd(&mut self) {
        let tail = self.len.saturating_sub(SECTOR);
        for (at, len, field) in [(0, 512, 64), (512, 1024, 36), (tail, 512, 64)] {
            let Some(mut bytes) = self.copy(at, len) else { continue };
            bytes[field..field + 4].fill(0);
            let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
            bytes[field..field + 4].copy_from_slice(&(!sum).to_be_bytes());
            self.pieces.push((at, bytes));
        }
    }

    /// Puts the CRC-32C of VHDX's headers and region tables right.
    pub fn repair_vhdx(&mut self) {
        const KIB: usize = 1 << 10;
        for (at, len) in [(64, 4), (128, 4), (192, 64), (256, 64)] {
            let at = at * KIB as u64;
            let Some(mut bytes) = self.copy(at, len * KIB) else { continue };
            bytes[4..8].fill(0);
            let sum = crc32c(&bytes);
            bytes[4..8].copy_from_slice(&sum.to_le_bytes());
            bytes.truncate(bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count());
            self.pieces.push((at, bytes));
        }
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
        buf.fill(0);
        for (at, bytes) in &self.pieces {
            let (start, stop) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if start < stop {
                let from = &bytes[(start - at) as usize..(stop - at) as usize];
                buf[(start - offset) as usize..(stop - offset) as usize].copy_from_slice(from);
            }
        }
        Ok(())
    }
}

/// CRC-32C bit by bit (RFC 3720, appendix B.4), four bits at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut table = [0_u32; 16];
    for (at, entry) in table.iter_mut().enumerate() {
        *entry =
            (0..4).fold(at as u32, |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()));
    }
    !bytes.iter().fold(!0, |sum: u32, byte| {
        let sum = sum ^ u32::from(*byte);
        let sum = (sum >> 4) ^ table[(sum & 15) as usize];
        (sum >> 4) ^ table[(sum & 15) as usize]
    })
}
