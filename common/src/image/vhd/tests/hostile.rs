//! Damaged and hostile images.

use super::super::header::{Footer, checksum};
use super::super::{create, open};
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{corrupt, open_bytes, options, put, sparse, survive, torment};
use crate::image::testing::{Random, read_all, write_image};

/// A small dynamic image with two blocks of data and one without.
pub fn small() -> Vec<u8> {
    let part = vec![9; 5 << 20 >> 1];
    write_image(create(&options(6 * MIB, None)).unwrap(), 6 * MIB, sparse(6 * MIB, &[(MIB, &part)]))
}

/// Changes the dynamic disk header and makes its checksum right again.
pub fn change_header(file: &mut [u8], at: usize, bytes: &[u8]) {
    put(file, 512 + at, bytes);
    let sum = checksum(&file[512..1536], 36);
    put(file, 548, &sum.to_be_bytes());
}

#[test]
fn a_damaged_footer_is_replaced_by_its_copy_and_told() {
    let good = small();
    let bytes = read_all(&*open_bytes(open, good.clone()).unwrap());
    let mut torn = good.clone();
    let end = torn.len();
    torn[end - 300] ^= 1;
    let image = open_bytes(open, torn.clone()).unwrap();
    assert!(read_all(&*image) == bytes);
    assert_eq!(image.check().unwrap(), ["the footer is damaged, its copy in front is whole"]);
    torn[70] ^= 1;
    assert!(corrupt(open_bytes(open, torn)).contains("checksum"));
    let mut torn = good;
    torn[70] ^= 1;
    let image = open_bytes(open, torn).unwrap();
    assert_eq!(image.check().unwrap(), ["the copy of the footer in front is damaged"]);
}

#[test]
fn contradictions_are_damage() {
    let good = small();
    let mut file = good.clone();
    put(&mut file, 1536, &[0, 0x10, 0, 0]);
    let image = open_bytes(open, file).unwrap();
    assert!(corrupt(image.check()).contains("leaves the file"));
    assert!(image.extents(0..image.capacity()).any(|extent| extent.is_err()));

    let mut file = good.clone();
    let first: [u8; 4] = file[1536..1540].try_into().unwrap();
    put(&mut file, 1540, &first);
    assert!(corrupt(open_bytes(open, file.clone()).unwrap().check()).contains("two blocks share"));
    put(&mut file, 1540, &(u32::from_be_bytes(first) + 5).to_be_bytes());
    assert!(corrupt(open_bytes(open, file).unwrap().check()).contains("two blocks share"));

    let mut file = good.clone();
    put(&mut file, 1536, &[0, 0, 0, 1]);
    assert!(corrupt(open_bytes(open, file).unwrap().check()).contains("lies on"));

    for (at, value, word) in [
        (32usize, 0u32, "cannot have 0 bytes"),
        (32, 3000, "cannot have 3000 bytes"),
        (32, 256, "cannot have 256 bytes"),
        (28, 1, "covers"),
        (28, u32::MAX, "leaves the file"),
        (16, u32::MAX, "leaves the file"),
    ] {
        let mut file = good.clone();
        change_header(&mut file, at, &value.to_be_bytes());
        assert!(corrupt(open_bytes(open, file)).contains(word), "{word}");
    }
    let mut footer = Footer::parse(good[..512].try_into().unwrap()).unwrap();
    footer.size = u64::MAX;
    let mut file = good.clone();
    let end = file.len() - 512;
    put(&mut file, end, &footer.encode());
    assert!(corrupt(open_bytes(open, file)).contains("covers"));
}

#[test]
fn garbage_does_not_panic() {
    let file = small();
    let end = file.len();
    torment(open, &file, &[0..90, 512..600, 1536..1552, end - 512..end - 420]);
    let mut random = Random(17);
    for _ in 0..2000 {
        let mut file = file[..4096].to_vec();
        for _ in 0..3 {
            let at = [512 + 16, 512 + 20, 512 + 28, 512 + 32, 1536][random.below(5) as usize];
            let value = (random.draw() >> random.below(64)) as u32;
            put(&mut file, at, &value.to_be_bytes());
        }
        change_header(&mut file, 0, b"cxsparse");
        survive(open, file);
    }
}
