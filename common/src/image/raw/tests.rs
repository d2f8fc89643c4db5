use std::io::Cursor;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::image::testing::{TestFile, read_all, read_stream, scattered, write_file, write_image};
use crate::image::{Body, ImageError, WriteOptions};

fn options(capacity: u64) -> WriteOptions {
    WriteOptions {
        capacity,
        variant: None,
        compression: None,
        block_size: None,
        seed: [0; 32],
        time: 0,
        file_name: "disk.raw".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_extents_come_back(seed: u64, capacity in 0u64..6_000_000) {
        let (extents, bytes) = scattered(seed, capacity);
        let written = write_image(create(&options(capacity)).unwrap(), capacity, extents.clone());
        prop_assert!(written == bytes);
        prop_assert!(read_all(&*open(std::sync::Arc::new(Bytes::from(written)))) == bytes);
        let stream = open_stream(Box::new(Cursor::new(bytes.clone())), capacity);
        prop_assert!(read_stream(stream) == bytes);
        let file = tempfile::tempfile().unwrap();
        let again = |state: &[u8]| resume(state).unwrap();
        write_file(create(&options(capacity)).unwrap(), capacity, extents, &file, Some(&again));
        let mut resumed = vec![0; bytes.len()];
        file.read_exact_at(&mut resumed, 0).unwrap();
        prop_assert!(resumed == bytes && file.metadata().unwrap().len() == capacity);
    }
}

#[test]
fn holes_of_the_file_system_are_holes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    file.as_file().write_all_at(&[7; 4096], 1 << 30).unwrap();
    let image = open(TestFile::open(file.path()));
    let extents: Vec<_> = image.extents(0..1 << 40).map(Result::unwrap).collect();
    assert!(matches!(extents[0].body, Body::Hole) && extents[0].range.end == 1 << 30);
    assert!(matches!(extents[1].body, Body::Data(_)));
    assert!(matches!(extents[2].body, Body::Hole) && extents[2].range.end == 1 << 40);
    assert_eq!(extents.len(), 3);
    let part: Vec<_> = image.extents((1 << 30) + 512..(1 << 30) + 1024).collect();
    assert_eq!(part.len(), 1);
    assert_eq!(part[0].as_ref().unwrap().len(), 512);
}

#[test]
fn a_stream_of_another_length_is_refused() {
    let stream = |len: usize, capacity| {
        let mut image = open_stream(Box::new(Cursor::new(vec![1; len])), capacity);
        loop {
            match image.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    assert!(stream(3_000_000, 3_000_000).is_none());
    assert!(matches!(stream(2_999_999, 3_000_000), Some(ImageError::Truncated(_))));
    assert!(matches!(stream(3_000_001, 3_000_000), Some(ImageError::Corrupt(_))));
    assert!(matches!(stream(1, 0), Some(ImageError::Corrupt(_))));
}

#[test]
fn what_raw_has_not_is_refused() {
    let sized = WriteOptions { block_size: Some(4096), ..options(512) };
    assert!(matches!(create(&sized), Err(ImageError::Unsupported(_))));
    assert!(matches!(resume(&[0xff; 40]), Err(ImageError::Corrupt(_))));
}
