//! Differencing disks.

use super::super::{create, open};
use super::hostile::{BAT, ITEMS, METADATA, change, small};
use crate::image::blocks::trial::{Files, corrupt, open_bytes, options, put, sparse};
use crate::image::blocks::{MIB, guid_text, swap_guid};
use crate::image::testing::{read_all, write_image};
use crate::image::vhdx::header::HEADERS;
use crate::image::{Body, ImageError};

/// A parent locator with these keys and values.
fn locator(entries: &[(&str, String)]) -> Vec<u8> {
    let mut head = vec![
        0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59,
        0x13, 0, 0,
    ];
    head.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    let mut text: Vec<u8> = Vec::new();
    let start = 20 + entries.len() * 12;
    for (key, value) in entries {
        let [key, value] = [*key, value.as_str()]
            .map(|part| part.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        let at = (start + text.len()) as u32;
        head.extend_from_slice(&at.to_le_bytes());
        head.extend_from_slice(&(at + key.len() as u32).to_le_bytes());
        head.extend_from_slice(&(key.len() as u16).to_le_bytes());
        head.extend_from_slice(&(value.len() as u16).to_le_bytes());
        text.extend(key);
        text.extend(value);
    }
    head.extend(text);
    head
}

/// A differencing disk of 6 MiB with the data-write GUID `id` over the one with `parent`: of its
/// block 0 the sectors of the second half are there, block 1 reads as zero, block 2 is unmapped,
/// all else comes from below.
fn child(id: [u8; 16], parent: [u8; 16], name: &str) -> Vec<u8> {
    let part = vec![5; 1 << 20];
    let mut file = write_image(
        create(&options(6 * MIB, None)).unwrap(),
        6 * MIB,
        sparse(6 * MIB, &[(0, &part)]),
    );
    for start in HEADERS {
        change(&mut file, start, 4096, 32, &id);
    }
    let bitmap_at = file.len() as u64;
    assert_eq!(bitmap_at % MIB, 0);
    let mut bitmap = vec![0; MIB as usize];
    bitmap[128..256].fill(0xff);
    file.extend(bitmap);
    put(&mut file, BAT, &((4 << 20) | 7u64).to_le_bytes());
    put(&mut file, BAT + 8, &2u64.to_le_bytes());
    put(&mut file, BAT + 16, &3u64.to_le_bytes());
    put(&mut file, BAT + 4096 * 8, &(bitmap_at | 6).to_le_bytes());
    put(&mut file, ITEMS + 4, &2u32.to_le_bytes());
    let item = locator(&[
        ("parent_linkage", format!("{{{}}}", guid_text(&swap_guid(parent)).to_uppercase())),
        ("relative_path", format!(".\\{name}")),
        ("absolute_win32_path", format!("C:\\VMs\\{name}")),
    ]);
    put(&mut file, ITEMS + 4096, &item);
    put(&mut file, METADATA + 10, &6u16.to_le_bytes());
    let entry = METADATA + 32 + 5 * 32;
    let id = super::super::header::guid(0xa8d3_5f2d_b30b_454d_abf7_d3d8_4834_ab0c);
    put(&mut file, entry, &id);
    for (index, field) in [(64 << 10) + 4096, item.len() as u32, 4, 0].into_iter().enumerate() {
        put(&mut file, entry + 16 + index * 4, &field.to_le_bytes());
    }
    file
}

/// [`small`] under another identity, and with data everywhere that children may cover.
fn base(id: [u8; 16]) -> Vec<u8> {
    let part = vec![9; 7 << 19];
    let mut file = write_image(
        create(&options(6 * MIB, None)).unwrap(),
        6 * MIB,
        sparse(6 * MIB, &[(0, &part)]),
    );
    for start in HEADERS {
        change(&mut file, start, 4096, 32, &id);
    }
    file
}

#[test]
fn differencing_disks_read_through_their_parents() {
    let mut bytes = read_all(&*open_bytes(open, base([9; 16])).unwrap());
    bytes[1 << 19..1 << 20].fill(5);
    bytes[1 << 20..3 << 20].fill(0);
    let files = Files::new([
        ("base.vhdx".to_owned(), base([9; 16])),
        ("one.vhdx".to_owned(), child([1; 16], [9; 16], "base.vhdx")),
        ("two.vhdx".to_owned(), child([2; 16], [1; 16], "one.vhdx")),
    ]);
    for name in ["one.vhdx", "two.vhdx"] {
        let image = files.image(open, name).unwrap();
        assert!(read_all(&*image) == bytes, "{name}");
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(image.info().variant, "differencing");
        let zero = image.extents(MIB..2 * MIB).next().unwrap().unwrap();
        assert!(matches!(zero.body, Body::Zero));
    }
    let image = files.image(open, "two.vhdx").unwrap();
    assert_eq!(image.info().backing.as_deref(), Some("one.vhdx"));
}

#[test]
fn bitmaps_that_are_missing_or_shared_are_damage() {
    let folder = |file| Files::new([("base".to_owned(), base([9; 16])), ("one".to_owned(), file)]);
    let good = child([1; 16], [9; 16], "base");
    let mut file = good.clone();
    put(&mut file, BAT + 4096 * 8, &0u64.to_le_bytes());
    let image = folder(file).image(open, "one").unwrap();
    let found: Result<Vec<_>, _> = image.extents(0..image.capacity()).collect();
    assert!(corrupt(found).contains("sector bitmap"));
    let mut file = good;
    put(&mut file, BAT + 4096 * 8, &(4 << 20 | 6u64).to_le_bytes());
    let image = folder(file).image(open, "one").unwrap();
    assert!(corrupt(image.check()).contains("two blocks share"));
}

#[test]
fn wrong_missing_and_circular_parents_are_refused() {
    let entry = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    let wrong = Files::new([entry("base", small()), entry("one", child([1; 16], [8; 16], "base"))]);
    assert!(corrupt(wrong.image(open, "one")).contains("08080808-0808"));
    let missing = Files::new([entry("one", child([1; 16], [8; 16], "base"))]);
    assert!(matches!(missing.image(open, "one").err(), Some(ImageError::Outside(_))));
    let circle = Files::new([
        entry("one", child([1; 16], [2; 16], "two")),
        entry("two", child([2; 16], [1; 16], "one")),
    ]);
    assert!(corrupt(circle.image(open, "one")).contains("comes back to itself"));
}
