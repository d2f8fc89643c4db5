//! Damaged and hostile images.

use super::super::header::{HEADERS, REGION_TABLES, checksum};
use super::super::{create, open};
use crate::image::ImageError;
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{corrupt, open_bytes, options, put, sparse, survive, torment};
use crate::image::testing::{Random, read_all, write_image};

/// File offsets in what is written here.
pub const METADATA: usize = 2 << 20;
pub const ITEMS: usize = METADATA + (64 << 10);
pub const BAT: usize = 3 << 20;

/// A small image with two blocks of data at 4 MiB and 5 MiB of the file, and holes.
pub fn small() -> Vec<u8> {
    let part = vec![9; 3 << 19];
    write_image(
        create(&options(6 * MIB, None)).unwrap(),
        6 * MIB,
        sparse(6 * MIB, &[(2 * MIB, &part)]),
    )
}

/// Changes a structure of `len` bytes at `start` and makes its checksum right again.
pub fn change(file: &mut [u8], start: u64, len: usize, at: usize, bytes: &[u8]) {
    let start = start as usize;
    put(file, start + at, bytes);
    let sum = checksum(&file[start..start + len]);
    put(file, start + 4, &sum.to_le_bytes());
}

fn change_regions(file: &mut [u8], at: usize, bytes: &[u8]) {
    for start in REGION_TABLES {
        change(file, start, 64 << 10, at, bytes);
    }
}

#[test]
fn one_damaged_copy_is_told_and_two_are_an_error() {
    let good = small();
    let bytes = read_all(&*open_bytes(open, good.clone()).unwrap());
    for (copies, word) in [(HEADERS, "headers"), (REGION_TABLES, "region tables")] {
        for copy in copies {
            let mut torn = good.clone();
            torn[copy as usize + 20] ^= 1;
            let image = open_bytes(open, torn).unwrap();
            assert!(read_all(&*image) == bytes);
            assert_eq!(image.check().unwrap(), [format!("one of the two {word} is damaged")]);
        }
        let mut torn = good.clone();
        for copy in copies {
            torn[copy as usize + 20] ^= 1;
        }
        assert!(corrupt(open_bytes(open, torn)).contains("checksum"));
    }
    let mut torn = good;
    change(&mut torn, REGION_TABLES[1], 64 << 10, 16 + 24, &(2u32 << 20).to_le_bytes());
    let image = open_bytes(open, torn).unwrap();
    assert_eq!(image.check().unwrap(), ["the two region tables differ"]);
}

#[test]
fn the_header_with_the_greater_number_counts() {
    let data_write = |file: Vec<u8>| {
        let info = open_bytes(open, file).unwrap().info();
        info.details.into_iter().find(|(name, _)| name == "data write guid").unwrap().1
    };
    let mut file = small();
    change(&mut file, HEADERS[0], 4096, 32, &[0x11; 16]);
    assert!(!data_write(file.clone()).starts_with("11111111"));
    change(&mut file, HEADERS[0], 4096, 8, &9u64.to_le_bytes());
    assert!(data_write(file).starts_with("11111111"));
}

#[test]
fn a_log_with_changes_is_refused_and_one_without_is_not() {
    let mut file = small();
    for start in HEADERS {
        change(&mut file, start, 4096, 48, &[3; 16]);
    }
    // A GUID without entries: nothing waits.
    assert!(open_bytes(open, file.clone()).is_ok());
    let log = MIB as usize + 8192;
    put(&mut file, log, b"loge");
    put(&mut file, log + 8, &8192u32.to_le_bytes());
    put(&mut file, log + 24, &1u32.to_le_bytes());
    put(&mut file, log + 32, &[3; 16]);
    // Torn while it was written.
    assert!(open_bytes(open, file.clone()).is_ok());
    change(&mut file, log as u64, 8192, 16, &5u64.to_le_bytes());
    match open_bytes(open, file.clone()).err() {
        Some(ImageError::Unsupported(text)) => assert!(text.contains("unreplayed log")),
        other => panic!("{other:?}"),
    }
    // An entry that another log GUID left behind.
    change(&mut file, log as u64, 8192, 32, &[4; 16]);
    assert!(open_bytes(open, file).is_ok());
}

#[test]
fn contradictions_are_damage() {
    let good = small();
    let entry = |at: u64, state: u64| (at << 20 | state).to_le_bytes();
    for (index, value, word) in [
        (2, entry(1 << 30, 6), "leaves the file"),
        (2, entry(5, 6), "two blocks share"),
        (2, entry(3, 6), "lies on the block table"),
        (2, entry(2, 6), "lies on the metadata"),
        (2, entry(1, 6), "lies on the log"),
    ] {
        let mut file = good.clone();
        put(&mut file, BAT + index * 8, &value);
        let image = open_bytes(open, file).unwrap();
        assert!(corrupt(image.check()).contains(word), "{word}");
    }
    for value in [entry(0, 6), entry(4, 7), entry(4, 4), entry((1 << 44) - 1, 6)] {
        let mut file = good.clone();
        put(&mut file, BAT + 16, &value);
        let image = open_bytes(open, file).unwrap();
        assert!(image.extents(0..image.capacity()).any(|extent| extent.is_err()));
    }
    for (at, value, word) in [
        (0, 0u32.to_le_bytes().to_vec(), "cannot have 0 bytes"),
        (0, (512u32 << 20).to_le_bytes().to_vec(), "cannot have"),
        (8, (u64::MAX - 511).to_le_bytes().to_vec(), "cannot hold"),
        (8, 1000u64.to_le_bytes().to_vec(), "cannot hold"),
        (8, (1u64 << 45).to_le_bytes().to_vec(), "too short"),
        (32, 520u32.to_le_bytes().to_vec(), "logical sector"),
    ] {
        let mut file = good.clone();
        put(&mut file, ITEMS + at, &value);
        assert!(corrupt(open_bytes(open, file)).contains(word), "{word}");
    }
}

#[test]
fn tables_that_claim_too_much_are_refused() {
    let good = small();
    for (at, value, word) in [
        (8, 2048u32.to_le_bytes().to_vec(), "2048 entries"),
        (16 + 16, (1u64 << 40).to_le_bytes().to_vec(), "leaves the file"),
        (16 + 16, (u64::MAX << 20).to_le_bytes().to_vec(), "leaves the file"),
        (16 + 16, 0u64.to_le_bytes().to_vec(), "leaves the file or its place"),
        (16, vec![0x55; 16], "must be known"),
    ] {
        let mut file = good.clone();
        change_regions(&mut file, at, &value);
        let text = open_bytes(open, file).err().unwrap().to_string();
        assert!(text.contains(word), "{text}");
    }
    for (at, value, word) in [
        (10, u16::MAX.to_le_bytes().to_vec(), "no metadata table"),
        (10, 4u16.to_le_bytes().to_vec(), "lacks the physical sector size"),
        (32 + 16, 7u32.to_le_bytes().to_vec(), "outside of its region"),
        (32 + 16, (1u32 << 20).to_le_bytes().to_vec(), "outside of its region"),
        (32, vec![0x55; 16], "must be known"),
    ] {
        let mut file = good.clone();
        put(&mut file, METADATA + at, &value);
        let text = open_bytes(open, file).err().unwrap().to_string();
        assert!(text.contains(word), "{text}");
    }
    // Thousands of entries that need not be known change nothing.
    let mut file = good;
    put(&mut file, METADATA + 10, &2047u16.to_le_bytes());
    for index in 5..2047 {
        put(&mut file, METADATA + 32 + index * 32, &[index as u8 | 1; 16]);
        put(&mut file, METADATA + 32 + index * 32 + 24, &[0; 4]);
    }
    assert!(open_bytes(open, file).is_ok());
}

#[test]
fn garbage_does_not_panic() {
    let file = small();
    let table = REGION_TABLES[0] as usize;
    torment(
        open,
        &file,
        &[0..16, METADATA..METADATA + 200, ITEMS..ITEMS + 48, BAT..BAT + 48, table..table + 80],
    );
    let mut random = Random(17);
    let mut file = file;
    file.truncate(4 << 20);
    for _ in 0..400 {
        let mut file = file.clone();
        for _ in 0..3 {
            let fields = [16 + 16, 16 + 24, 48 + 16, 48 + 24, 8];
            let value = random.draw() >> random.below(64);
            change_regions(&mut file, fields[random.below(5) as usize], &value.to_le_bytes());
            let value = random.draw() >> random.below(64);
            put(&mut file, BAT + random.below(6) as usize * 8, &value.to_le_bytes());
            let value = random.draw() >> random.below(64);
            let header = HEADERS[random.below(2) as usize];
            let at = [8, 48, 66, 68, 72][random.below(5) as usize];
            change(&mut file, header, 4096, at, &value.to_le_bytes());
        }
        survive(open, file);
    }
}
