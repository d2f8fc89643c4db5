//! Input made to break a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::{content, written};
use crate::image::coding::Unpacker;
use crate::image::vmdk::{StreamCheck, open, open_stream, probe};
use crate::image::{Block, Body, ImageError, NoSiblings, ReadAt, Sibling, Siblings, Variant};

fn open_bytes(raw: &[u8]) -> Result<Box<dyn crate::image::Image>, ImageError> {
    open(Arc::new(Bytes::copy_from_slice(raw)), Arc::new(NoSiblings))
}

/// All that a reader does with an image, for as long as it goes well; what a fuzzer runs.
fn exercise(raw: &[u8]) -> Result<(), ImageError> {
    probe(raw);
    let mut check = StreamCheck::new();
    let _ = check.push(raw).and_then(|()| check.finish().map(|_| ()));
    if let Ok(mut stream) = open_stream(Box::new(std::io::Cursor::new(raw.to_vec()))) {
        while let Ok(Some(extent)) = stream.next() {
            assert!(!extent.is_empty());
        }
    }
    let image = open_bytes(raw)?;
    let _ = image.check();
    let mut at = 0;
    // A few bytes can stand for a disk of any size: some thousand extents tell enough.
    for extent in image.extents(0..image.capacity()).take(5000) {
        let extent = extent?;
        assert!(extent.range.start == at && !extent.is_empty());
        at = extent.range.end;
        match &extent.body {
            Body::Data(Block::Packed(packed)) => {
                assert!(packed.unit <= 2 << 20);
                let stream = packed.fetch()?;
                let mut plain = vec![0; packed.unit as usize];
                Unpacker::new().unpack(packed.coding, &stream, &mut plain)?;
            }
            Body::Data(Block::Stored { file, offset }) => {
                let len = extent.len().min(1 << 20) as usize;
                file.read_exact_at(&mut vec![0; len], *offset)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn put(raw: &mut [u8], at: usize, value: u64, len: usize) {
    raw[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

#[test]
fn headers_that_lie_are_refused() {
    let sparse = written(&content(11, 1 << 20), Variant::MonolithicSparse);
    let stream = written(&content(11, 1 << 20), Variant::StreamOptimized);
    for (at, len, values) in [
        (4, 4, &[0, 4, u64::MAX][..]),
        (12, 8, &[1 << 40, 1 << 53, 1 << 62, u64::MAX]),
        (20, 8, &[0, 3, 100, 1 << 22, 1 << 60, u64::MAX]),
        (28, 8, &[1 << 30, 1 << 55, u64::MAX]),
        (36, 8, &[1 << 30, 1 << 55, u64::MAX]),
        (44, 4, &[0, 1 << 15, u64::MAX]),
        (56, 8, &[0, 1 << 30, 1 << 55, u64::MAX]),
        (73, 1, &[u64::from(b'\r')]),
        (77, 2, &[2, 0xffff]),
    ] {
        for value in values {
            for raw in [&sparse, &stream] {
                let mut raw = raw.clone();
                put(&mut raw, at, *value, len);
                let same_stream = raw == stream;
                assert!(same_stream || exercise(&raw).is_err(), "{value:#x} at {at}");
            }
        }
    }
}

/// File offsets of the directory and of its first table, in a sparse file of ours.
fn tables(raw: &[u8]) -> (usize, usize) {
    let directory = u64::from_le_bytes(raw[56..64].try_into().unwrap()) as usize * 512;
    let table = u32::from_le_bytes(raw[directory..directory + 4].try_into().unwrap());
    (directory, table as usize * 512)
}

#[test]
fn tables_and_grains_outside_the_file_or_on_each_other_are_found() {
    let whole = written(&vec![7; 1 << 20], Variant::MonolithicSparse);
    let (directory, table) = tables(&whole);
    for at in [directory, table] {
        let mut raw = whole.clone();
        put(&mut raw, at, u64::from(u32::MAX), 4);
        assert!(matches!(exercise(&raw), Err(ImageError::Truncated(_))));
    }
    let mut raw = whole.clone();
    raw.copy_within(table..table + 4, table + 4);
    let error = open_bytes(&raw).unwrap().check().unwrap_err();
    assert!(matches!(&error, ImageError::Corrupt(text) if text.contains("grain 1")), "{error}");
    let mut raw = whole.clone();
    put(&mut raw, table, table as u64 / 512, 4);
    assert!(open_bytes(&raw).unwrap().check().is_err());
    // A redundant table that differs is only remarked upon.
    let mut raw = whole.clone();
    let redundant = u64::from_le_bytes(raw[48..56].try_into().unwrap()) as usize * 512;
    let spare = u32::from_le_bytes(raw[redundant..redundant + 4].try_into().unwrap());
    put(&mut raw, spare as usize * 512, 0, 4);
    put(&mut raw, 72, 1, 1);
    assert_eq!(open_bytes(&raw).unwrap().check().unwrap().len(), 2);
    let cut = &whole[..whole.len() - 512];
    assert!(matches!(exercise(cut), Err(ImageError::Truncated(_))));
}

#[test]
fn a_grain_with_another_grains_marker_is_found() {
    let mut raw = written(&content(11, 1 << 20), Variant::StreamOptimized);
    let lba = u64::from_le_bytes(raw[65_536..65_544].try_into().unwrap());
    put(&mut raw, 65_536, lba ^ 128, 8);
    assert!(matches!(exercise(&raw), Err(ImageError::Corrupt(_))));
}

/// A folder in which every name is a descriptor that stands on another.
#[derive(Debug)]
struct Endless {
    made: AtomicU32,
    cycle: u32,
}

impl Siblings for Endless {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        let file: Arc<dyn ReadAt> = match name.strip_suffix(".bin") {
            Some(_) => Arc::new(Bytes::from(vec![0; 4096])),
            None => {
                let number = self.made.fetch_add(1, Ordering::Relaxed) % self.cycle;
                Arc::new(Bytes::from(link(number)))
            }
        };
        let folder = Arc::new(Self { made: self.made.load(Ordering::Relaxed).into(), ..*self });
        Ok(Sibling { file, folder, name: name.to_owned() })
    }
}

fn link(number: u32) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=00000001\n\
         createType=\"custom\"\nparentFileNameHint=\"p.vmdk\"\nRW 8 FLAT \"{number}.bin\" 0\n"
    )
}

#[test]
fn chains_without_end_are_refused() {
    for (cycle, word) in [(1, "circle"), (2, "circle"), (50, "circle"), (u32::MAX, "128")] {
        let folder = Arc::new(Endless { made: 1.into(), cycle });
        let error = open(Arc::new(Bytes::from(link(0))), folder).unwrap_err();
        assert!(matches!(&error, ImageError::Corrupt(text) if text.contains(word)), "{error}");
    }
}

#[test]
fn descriptors_of_any_size_are_bounded() {
    let mut text = String::from("# Disk DescriptorFile\nversion=1\ncreateType=\"custom\"\n");
    let front = text.len();
    text.push_str(&"RW 1 ZERO\n".repeat(1_000_000));
    assert!(matches!(open_bytes(text.as_bytes()), Err(ImageError::Corrupt(_))));
    let fewer = &text[..front + 100_000 * 10];
    assert!(matches!(open_bytes(fewer.as_bytes()), Err(ImageError::Corrupt(_))));
    let most = &text[..front + 65_536 * 10];
    let image = open_bytes(most.as_bytes()).unwrap();
    assert_eq!(image.extents(0..image.capacity()).count(), 1);
}

#[test]
fn other_files_are_not_taken_for_a_vmdk() {
    for raw in [&b""[..], b"K", b"QFI\xfb", b"# a script\nversion=1\n", &[0; 4096], b"#\n#\n"] {
        assert!(!probe(raw));
        assert!(exercise(raw).is_err());
    }
    assert!(probe(b"KDMV") && probe(b"COWD"));
    assert!(probe(b"\n# disk DescriptorFile\r\nversion=1\n"));
    assert!(probe(b"# Description file\nversion=1\nCID=1\ncreateType=\"vmfs\"\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn damage_never_panics(
        kind in 0..3_usize,
        hits in prop::collection::vec((0..4_usize, 0..4096_usize, any::<u32>()), 1..6),
        cut in 0..40_usize,
    ) {
        let base = content(99, 700_416);
        let mut raw = match kind {
            0 => written(&base, Variant::MonolithicSparse),
            1 => written(&base, Variant::StreamOptimized),
            _ => link(3).into_bytes(),
        };
        for (place, offset, value) in hits {
            // Header, descriptor and tables, first grains, the end.
            let start = match place {
                0 => 0,
                1 => 10_752,
                2 => 65_536,
                _ => raw.len().saturating_sub(4096),
            };
            let at = start + offset % 600 * (1 + place);
            for (to, from) in raw.iter_mut().skip(at).zip(value.to_le_bytes()) {
                *to = from;
            }
        }
        let keep = if cut > 30 { raw.len() * cut / 40 } else { raw.len() };
        let _ = exercise(&raw[..keep]);
    }
}
