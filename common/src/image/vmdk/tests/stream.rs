//! Streams in both layouts, as they pass by once.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::{content, convert, written};
use crate::image::testing::{read_all, read_stream};
use crate::image::vmdk::{StreamCheck, StreamFacts, open, open_stream};
use crate::image::{ImageError, NoSiblings, Variant};

/// Hands out a few bytes at a time, as a pipe may.
struct Dribble(std::io::Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let most = buf.len().min(self.1);
        self.1 = self.1 * 7 % 50_021 + 1;
        self.0.read(&mut buf[..most])
    }
}

fn dribble(raw: &[u8]) -> Box<dyn Read + Send> {
    Box::new(Dribble(std::io::Cursor::new(raw.to_vec()), 3))
}

fn follow(raw: &[u8], piece: usize) -> Result<StreamFacts, ImageError> {
    let mut check = StreamCheck::new();
    for (number, piece) in raw.chunks(piece).enumerate() {
        check.push(piece)?;
        // As a copy does that was interrupted and goes on.
        if number % 5 == 0 {
            let saved = postcard::to_stdvec(&check).unwrap();
            let restored: StreamCheck = postcard::from_bytes(&saved).unwrap();
            assert_eq!(restored, check);
            check = restored;
        }
    }
    check.finish()
}

/// Reads a stream to its end; the first error.
fn drain(raw: &[u8]) -> Result<(), ImageError> {
    let mut image = open_stream(Box::new(std::io::Cursor::new(raw.to_vec())))?;
    while image.next()?.is_some() {}
    Ok(())
}

/// The same content in the layout with tables in front (qemu-img's and ours) and behind.
fn both_layouts(bytes: &[u8]) -> [Vec<u8>; 3] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.vmdk");
    convert(bytes, &path, "subformat=streamOptimized");
    let ours = |variant| written(bytes, variant);
    [
        std::fs::read(&path).unwrap(),
        ours(Variant::StreamOptimizedTablesFirst),
        ours(Variant::StreamOptimized),
    ]
}

#[test]
fn both_layouts_read_alike_from_a_pipe_and_from_a_file() {
    for len in [512, 65_536, 65_536 * 9 + 1024, 40 << 20] {
        let bytes = content(len as u64, len);
        for raw in both_layouts(&bytes) {
            assert!(read_stream(open_stream(dribble(&raw)).unwrap()) == bytes);
            let image = open(Arc::new(Bytes::from(raw.clone())), Arc::new(NoSiblings)).unwrap();
            assert!(read_all(&*image) == bytes);
            let populated = bytes
                .chunks(65_536)
                .filter(|grain| grain.iter().any(|byte| *byte != 0))
                .fold((0, 0), |(grains, sum), grain| (grains + 1, sum + grain.len() as u64));
            let facts = StreamFacts {
                capacity: len as u64,
                grains: populated.0,
                populated_bytes: populated.1,
            };
            assert_eq!(follow(&raw, 1000).unwrap(), facts);
            assert_eq!(follow(&raw, usize::MAX).unwrap(), facts);
        }
    }
}

#[test]
fn zeros_behind_the_end_are_padding_and_anything_else_is_not() {
    for mut raw in both_layouts(&content(3, 300_000 / 512 * 512)) {
        raw.resize(raw.len() + 70_000, 0);
        assert_eq!(follow(&raw, 4096).map(|_| ()).map_err(|e| e.to_string()), Ok(()));
        drain(&raw).unwrap();
        raw.resize(raw.len() + 512, 0);
        let last = raw.len() - 1;
        raw[last] = 1;
        assert!(matches!(follow(&raw, 4096), Err(ImageError::Corrupt(_))));
        assert!(matches!(drain(&raw), Err(ImageError::Corrupt(_))));
    }
}

#[test]
fn a_stream_cut_at_any_sector_is_truncated() {
    for (padded, mut raw) in [true, false].into_iter().zip(both_layouts(&content(11, 1 << 20))) {
        while padded && raw[raw.len() - 512..].iter().all(|byte| *byte == 0) {
            // What qemu-img pads with is no part of the stream.
            raw.truncate(raw.len() - 512);
        }
        drain(&raw).unwrap();
        for end in (0..raw.len()).step_by(512).chain([raw.len() - 1, 100]) {
            let followed = follow(&raw[..end], 4096).map(|_| ());
            for result in [followed, drain(&raw[..end])] {
                assert!(matches!(result, Err(ImageError::Truncated(_))), "{end}: {result:?}");
            }
        }
    }
}

#[test]
fn a_grain_or_table_entry_that_was_changed_is_found() {
    for raw in both_layouts(&content(12, 4 << 20)) {
        let marker = (0..raw.len())
            .step_by(512)
            .skip(129)
            .find(|at| raw[at + 8..at + 12] != [0; 4] && raw[at + 12..at + 14] == [0x78, 0x9c])
            .unwrap_or(65_536);
        let mut moved = raw.clone();
        // One grain later than it was: order and tables tell.
        let lba = u64::from_le_bytes(moved[marker..marker + 8].try_into().unwrap()) + 128;
        moved[marker..marker + 8].copy_from_slice(&lba.to_le_bytes());
        assert!(follow(&moved, 4096).is_err());
        assert!(drain(&moved).is_err());
        let entry = (marker as u32 / 512).to_le_bytes();
        let mut retabled = raw.clone();
        let table = (0..raw.len()).step_by(4).find(|at| raw[*at..at + 4] == entry).unwrap();
        retabled[table] ^= 4;
        if follow(&retabled, 4096).is_ok() {
            // The redundant table was hit, which a stream does not look at.
            let table =
                (table + 4..raw.len()).step_by(4).find(|at| raw[*at..at + 4] == entry).unwrap();
            retabled[table] ^= 4;
        }
        assert!(matches!(follow(&retabled, 4096), Err(ImageError::Corrupt(_))));
        assert!(drain(&retabled).is_err());
    }
}

#[test]
fn a_plain_vmdk_cannot_come_through_a_pipe() {
    let raw = written(&content(4, 1 << 20), Variant::MonolithicSparse);
    assert!(matches!(drain(&raw), Err(ImageError::Unsupported(_))));
    assert!(matches!(follow(&raw, 512), Err(ImageError::Unsupported(_))));
}
