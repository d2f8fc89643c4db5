//! Compressed blocks that lie next to each other in a file, read at once.

use std::sync::Arc;

use bytes::Bytes;

use super::buffer::Buffers;
use crate::image::{Block, Body, Extent, ImageError, Packed, ReadAt};

/// Bytes between blocks (markers, padding) that are read along rather than around.
const SLACK: u64 = 64 << 10;

/// A stretch of a file that holds the streams of a job.
#[derive(Debug, Default)]
pub struct Ahead {
    stretch: Option<(Arc<dyn ReadAt>, u64, Bytes)>,
}

impl Ahead {
    /// Reads the stretch, where there is one: two packed parts or more of one file, close together.
    ///
    /// # Errors
    /// The read's.
    pub fn read(parts: &[Extent], stock: &Buffers) -> Result<Self, ImageError> {
        let Some((file, start, end)) = stretch(parts) else { return Ok(Self::default()) };
        let mut buffer = stock.take((end - start) as usize);
        file.read_exact_at(&mut buffer, start)?;
        Ok(Self { stretch: Some((file.clone(), start, buffer.freeze())) })
    }

    /// The stream of `packed` (and whatever padding follows it), from the stretch or from its file.
    ///
    /// # Errors
    /// The read's.
    pub fn fetch(&self, packed: &Packed) -> Result<Bytes, ImageError> {
        if let (Some((file, start, bytes)), Some((own, offset, len))) =
            (&self.stretch, packed.at.in_file())
            && Arc::ptr_eq(file, own)
            && let Some(at) = offset.checked_sub(*start).and_then(|at| usize::try_from(at).ok())
            && let Some(end) = at.checked_add(len as usize)
            && end <= bytes.len()
        {
            return packed.unframed(bytes.slice(at..end));
        }
        packed.fetch()
    }
}

/// The file and the offsets that all packed parts lie in, if reading them at once is worth it.
fn stretch(parts: &[Extent]) -> Option<(&Arc<dyn ReadAt>, u64, u64)> {
    let mut found: Option<(&Arc<dyn ReadAt>, u64, u64)> = None;
    let (mut blocks, mut wanted) = (0_u64, 0_u64);
    for part in parts {
        let Body::Data(Block::Packed(packed)) = &part.body else { continue };
        let Some((file, start, len)) = packed.at.in_file() else { continue };
        let end = start.checked_add(len.into())?;
        blocks += 1;
        wanted += u64::from(len);
        found = match found {
            None => Some((file, start, end)),
            Some((first, low, high)) if Arc::ptr_eq(first, file) => {
                Some((first, low.min(start), high.max(end)))
            }
            Some(_) => return None,
        };
    }
    found.filter(|(_, low, high)| blocks > 1 && high - low <= wanted + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Coding, PackedAt};

    fn part(file: &Arc<dyn ReadAt>, number: u64, offset: u64, len: u32) -> Extent {
        let at = PackedAt::File { file: file.clone(), offset, len };
        let packed = Packed { coding: Coding::Zlib, at, unit: 512 };
        Extent { range: number * 512..(number + 1) * 512, body: Body::Data(Block::Packed(packed)) }
    }

    #[test]
    fn streams_close_together_come_from_one_read_and_others_from_their_own() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 3) as u8).collect();
        let file: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes.clone()));
        let other: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes.clone()));
        let near = vec![part(&file, 0, 500, 100), part(&file, 1, 616, 300)];
        let far = vec![part(&file, 0, 500, 100), part(&file, 1, 900_000, 300)];
        let mixed = vec![part(&file, 0, 500, 100), part(&other, 1, 616, 300)];
        for (parts, at_once) in [(near, true), (far, false), (mixed, false)] {
            let ahead = Ahead::read(&parts, &Buffers::default()).unwrap();
            assert_eq!(ahead.stretch.is_some(), at_once);
            for part in &parts {
                let Body::Data(Block::Packed(packed)) = &part.body else { panic!() };
                let PackedAt::File { offset, len, .. } = packed.at else { panic!() };
                let expected = &bytes[offset as usize..][..len as usize];
                assert_eq!(ahead.fetch(packed).unwrap(), expected);
            }
        }
        let beyond = vec![part(&file, 0, 999_000, 100), part(&file, 1, 999_950, 100)];
        assert!(Ahead::read(&beyond, &Buffers::default()).is_err());
    }
}
