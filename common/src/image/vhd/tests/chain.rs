//! Differencing disks.

use super::super::header::{Footer, Kind};
use super::super::{create, open};
use super::hostile::{change_header, small};
use crate::image::ImageError;
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{Files, corrupt, open_bytes, options, put, sparse};
use crate::image::testing::{read_all, write_image};

/// A differencing disk of 6 MiB over the disk with the identity `parent`: its block 0 has the
/// sectors of the second half of its first MiB, all else comes from below.
fn child(id: [u8; 16], parent: [u8; 16], name: &str) -> Vec<u8> {
    let part = vec![5; 2 << 20];
    let mut file = write_image(
        create(&options(6 * MIB, None)).unwrap(),
        6 * MIB,
        sparse(6 * MIB, &[(0, &part)]),
    );
    let lead = u32::from_be_bytes(file[1536..1540].try_into().unwrap()) as usize * 512;
    file[lead..lead + 512].fill(0);
    file[lead + 128..lead + 256].fill(0xff);
    let mut footer = Footer::parse(file[..512].try_into().unwrap()).unwrap();
    footer.kind = Kind::Differencing;
    footer.id = id;
    let end = file.len() - 512;
    put(&mut file, 0, &footer.encode());
    put(&mut file, end, &footer.encode());
    // The locator's path goes between the table and the first block.
    let path: Vec<u8> = format!(".\\{name}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    put(&mut file, 2048, &path);
    put(&mut file, 512 + 576, b"W2ru");
    put(&mut file, 512 + 576 + 4, &512u32.to_be_bytes());
    put(&mut file, 512 + 576 + 8, &(path.len() as u32).to_be_bytes());
    put(&mut file, 512 + 576 + 16, &2048u64.to_be_bytes());
    change_header(&mut file, 56, &u32::MAX.to_be_bytes());
    change_header(&mut file, 40, &parent);
    file
}

#[test]
fn differencing_disks_read_through_their_parents() {
    let base = small();
    let base_id = Footer::parse(base[..512].try_into().unwrap()).unwrap().id;
    let mut bytes = read_all(&*open_bytes(open, base.clone()).unwrap());
    bytes[MIB as usize / 2..MIB as usize].fill(5);
    let files = Files::new([
        ("base.vhd".to_owned(), base),
        ("one.vhd".to_owned(), child([1; 16], base_id, "base.vhd")),
        ("two.vhd".to_owned(), child([2; 16], [1; 16], "one.vhd")),
    ]);
    for name in ["one.vhd", "two.vhd"] {
        let image = files.image(open, name).unwrap();
        assert!(read_all(&*image) == bytes, "{name}");
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(image.info().variant, "differencing");
    }
    let image = files.image(open, "two.vhd").unwrap();
    assert_eq!(image.info().backing.as_deref(), Some("one.vhd"));
}

#[test]
fn wrong_missing_and_circular_parents_are_refused() {
    let entry = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    let wrong = Files::new([
        entry("base.vhd", small()),
        entry("one.vhd", child([1; 16], [8; 16], "base.vhd")),
    ]);
    assert!(corrupt(wrong.image(open, "one.vhd")).contains("08080808-0808"));
    let missing = Files::new([entry("one.vhd", child([1; 16], [8; 16], "base.vhd"))]);
    let refused = missing.image(open, "one.vhd").err();
    assert!(matches!(refused, Some(ImageError::Outside(_))));
    let itself = Files::new([entry("one.vhd", child([1; 16], [1; 16], "one.vhd"))]);
    assert!(corrupt(itself.image(open, "one.vhd")).contains("comes back to itself"));
    let circle = Files::new([
        entry("one.vhd", child([1; 16], [2; 16], "two.vhd")),
        entry("two.vhd", child([2; 16], [1; 16], "one.vhd")),
    ]);
    assert!(corrupt(circle.image(open, "one.vhd")).contains("comes back to itself"));
    let long = (0..70u8).map(|link| {
        entry(
            &format!("{link}.vhd"),
            child([link; 16], [link + 1; 16], &format!("{}.vhd", link + 1)),
        )
    });
    let refused = Files::new(long).image(open, "0.vhd").err();
    assert!(matches!(refused, Some(ImageError::Unsupported(_))));
}
