//! VDI against qemu-img, against itself and against hostile input.

use proptest::prelude::*;

use super::header::Header;
use super::{create, max_capacity, open, probe, resume};
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{
    corrupt, data_of, open_bytes, open_path, options, put, qemu_bytes, qemu_io, sparse, survive,
    torment, virtual_size, write,
};
use crate::image::testing::{
    Random, compare_with_raw, load, plain, read_all, run_qemu_img, scattered, write_image,
};
use crate::image::{Body, Compression, CompressionMethod, Extent, ImageError, Variant};

const SIZES: [u64; 8] =
    [512, 1536, MIB - 512, MIB, MIB + 512, 2 * MIB + 512, 7 * MIB, 9 * MIB + 37 * 512];

/// File offset of the block map in what is written here.
const MAP: usize = 1 << 20;

#[test]
fn what_is_written_reads_back_and_reads_alike_in_qemu() {
    for (seed, capacity) in SIZES.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let (extents, bytes) = scattered(seed as u64 + 1, capacity);
        let format = create(&options(capacity, None)).unwrap();
        let again = |state: &[u8]| resume(state).unwrap();
        let path = write(&folder, "a.vdi", format, capacity, extents, Some(&again));
        let image = open_path(open, &path);
        assert!(read_all(&*image) == bytes, "{capacity}");
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(virtual_size("vdi", &path), capacity);
        run_qemu_img(&["check", "-f", "vdi", path.to_str().unwrap()]);
        let raw = folder.path().join("raw");
        std::fs::write(&raw, &bytes).unwrap();
        compare_with_raw("vdi", &path, &raw);
    }
}

#[test]
fn a_disk_of_62_tib_stays_sparse() {
    let capacity = 62 << 40;
    let folder = tempfile::tempdir().unwrap();
    let (first, middle, last) = ([1; 4096], [2; 8192], [3; 512]);
    let far = capacity / 3 / 4096 * 4096;
    let parts: [(u64, &[u8]); 3] = [(0, &first), (far, &middle), (capacity - 512, &last)];
    let format = create(&options(capacity, None)).unwrap();
    let path = write(&folder, "big.vdi", format, capacity, sparse(capacity, &parts), None);
    let image = open_path(open, &path);
    let found = data_of(&*image);
    assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 4 << 20);
    assert_eq!(found.first().unwrap().1[..4096], first);
    assert!(found.last().unwrap().1.ends_with(&last));
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
    assert_eq!(virtual_size("vdi", &path), capacity);
    let reads = [
        "read -P 1 0 4k".to_owned(),
        "read -P 0 4k 1M".to_owned(),
        format!("read -P 2 {far} 8k"),
        format!("read -P 3 {} 512", capacity - 512),
        format!("read -P 0 {} 3584", capacity - 4096),
    ];
    qemu_io("vdi", &path, &reads);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refuse = |options: &_| create(options).err().unwrap();
    for capacity in [0, 1, 511, 513, max_capacity() + 512, u64::MAX] {
        assert!(matches!(refuse(&options(capacity, None)), ImageError::Limit(_)));
    }
    assert!(create(&options(max_capacity(), None)).is_ok());
    let mut wish = options(MIB, None);
    wish.block_size = Some(2 << 20);
    assert!(matches!(refuse(&wish), ImageError::Limit(_)));
    let mut wish = options(MIB, None);
    wish.compression =
        Some(Compression { method: CompressionMethod::Zlib, level: None, window_bits: 15 });
    assert!(matches!(refuse(&wish), ImageError::Unsupported(_)));
    let fixed = options(MIB, Some(Variant::Fixed));
    assert!(matches!(refuse(&fixed), ImageError::Unsupported(_)));
    assert!(resume(&[]).is_err() && resume(&[1, 2]).is_err());
}

#[test]
fn zeros_stay_zeros_and_holes_stay_holes() {
    let capacity = 8 * MIB;
    let body = |range, body| Extent { range, body };
    let extents = vec![
        body(0..2 * MIB, Body::Hole),
        body(2 * MIB..5 * MIB + 4096, Body::Zero),
        body(5 * MIB + 4096..8 * MIB, Body::Hole),
    ];
    let folder = tempfile::tempdir().unwrap();
    let format = create(&options(capacity, None)).unwrap();
    let path = write(&folder, "a.vdi", format, capacity, extents, None);
    let image = open_path(open, &path);
    let found: Vec<_> = image
        .extents(0..capacity)
        .map(|extent| extent.map(|extent| (extent.range, matches!(extent.body, Body::Zero))))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(found, [(0..2 * MIB, false), (2 * MIB..6 * MIB, true), (6 * MIB..8 * MIB, false)]);
    qemu_io("vdi", &path, &["read -P 0 0 8M".to_owned()]);
    run_qemu_img(&["check", "-f", "vdi", path.to_str().unwrap()]);
    qemu_io("vdi", &path, &["write -P 1 3M 64k".to_owned()]);
    assert!(read_all(&*open_path(open, &path)) == qemu_bytes("vdi", &path));
}

#[test]
fn the_seed_decides_the_bytes() {
    let bytes = |options: &_| write_image(create(options).unwrap(), MIB, plain(&vec![7; 1 << 20]));
    let first = options(MIB, None);
    let mut other = first.clone();
    other.seed[0] ^= 1;
    assert_eq!(bytes(&first), bytes(&first));
    assert_ne!(bytes(&first), bytes(&other));
    assert!(probe(&bytes(&first)) && !probe(&[0; 512]) && !probe(&[0x7f; 67]));
}

#[test]
fn qemus_images_read_as_qemu_reads_them() {
    for capacity in SIZES {
        for choice in ["static=off", "static=on"] {
            let folder = tempfile::tempdir().unwrap();
            let raw = folder.path().join("raw");
            std::fs::write(&raw, scattered(capacity, capacity).1).unwrap();
            let path = folder.path().join("a.vdi");
            let (from, to) = (raw.to_str().unwrap(), path.to_str().unwrap());
            run_qemu_img(&["convert", "-f", "raw", "-O", "vdi", "-o", choice, from, to]);
            let image = open_path(open, &path);
            assert_eq!(image.capacity(), virtual_size("vdi", &path), "{choice} {capacity}");
            assert!(read_all(&*image) == qemu_bytes("vdi", &path), "{choice} {capacity}");
            assert_eq!(image.check().unwrap(), Vec::<String>::new());
            let variant = if choice == "static=on" { "fixed" } else { "dynamic" };
            assert_eq!(image.info().variant, variant);
        }
    }
}

#[test]
fn a_fragmented_image_reads_as_qemu_reads_it_and_qemu_writes_on_in_ours() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("a.vdi");
    run_qemu_img(&["create", "-f", "vdi", made.to_str().unwrap(), "64M"]);
    let capacity = 64 * MIB;
    let (extents, _) = scattered(8, capacity);
    let format = create(&options(capacity, None)).unwrap();
    let ours = write(&folder, "b.vdi", format, capacity, extents, None);
    for path in [made, ours] {
        let mut random = Random(5);
        let commands: Vec<_> = (1..120)
            .map(|pattern| {
                let at = random.below((64 << 20) / 512 - 300) * 512;
                format!("write -P {pattern} {at} {}", (random.below(200) + 1) * 512)
            })
            .collect();
        qemu_io("vdi", &path, &commands);
        let image = open_path(open, &path);
        assert!(read_all(&*image) == qemu_bytes("vdi", &path));
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_preallocated_disk_is_walked_by_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vdi");
    let to = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vdi", "-o", "static=on", to, "900G"]);
    qemu_io("vdi", &path, &["write -P 7 500G 64k".to_owned()]);
    let found = data_of(&*open_path(open, &path));
    assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 2 << 20);
    assert!(found.iter().any(|(_, bytes)| bytes.windows(65_536).any(|part| part == [7; 65_536])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_extents_come_back(seed in 1u64.., sectors in 1u64..20_000) {
        let capacity = sectors * 512;
        let (extents, bytes) = scattered(seed, capacity);
        let file = write_image(create(&options(capacity, None)).unwrap(), capacity, extents);
        let image = open_bytes(open, file).unwrap();
        prop_assert!(read_all(&*image) == bytes);
        let half = sectors / 2 * 512;
        let mut at = half;
        for extent in image.extents(half..capacity) {
            let extent = extent.unwrap();
            prop_assert_eq!(extent.range.start, at);
            at = extent.range.end;
            prop_assert!(load(&extent) == bytes[extent.range.start as usize..at as usize]);
        }
        prop_assert_eq!(at, capacity);
    }
}

/// A small image with two blocks of data, of which the second is half empty, and holes.
fn small() -> Vec<u8> {
    let part = vec![9; 3 << 19];
    write_image(
        create(&options(6 * MIB, None)).unwrap(),
        6 * MIB,
        sparse(6 * MIB, &[(2 * MIB, &part)]),
    )
}

#[test]
fn discarded_blocks_read_as_zero_and_others_as_holes() {
    let mut file = small();
    put(&mut file, MAP + 12, &0xffff_fffe_u32.to_le_bytes());
    put(&mut file, 388, &1u32.to_le_bytes());
    let image = open_bytes(open, file).unwrap();
    let found: Vec<_> = image
        .extents(0..6 * MIB)
        .map(|extent| extent.unwrap())
        .map(|extent| (extent.len() / MIB, matches!(extent.body, Body::Zero)))
        .collect();
    assert_eq!(found, [(2, false), (1, false), (1, true), (2, false)]);
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

#[test]
fn other_block_sizes_and_odd_disk_sizes_are_read() {
    let bytes = Random(4).bytes(64 << 10);
    let header = Header {
        fixed: true,
        map_at: 512,
        data_at: 1024,
        capacity: 64 << 10,
        block: 4096,
        entries: 16,
        allocated: 16,
        id: [1; 16],
        modified: [2; 16],
    };
    let mut file = header.encode();
    file.extend((0..16u32).rev().flat_map(u32::to_le_bytes));
    file.resize(1024, 0);
    file.extend(bytes.rchunks(4096).flatten());
    put(&mut file, 368, &((64u64 << 10) - 100).to_le_bytes());
    let image = open_bytes(open, file).unwrap();
    assert!(read_all(&*image) == bytes);
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

#[test]
fn images_over_others_are_refused_by_name() {
    let refuse = |at: usize, value: &[u8]| {
        let mut file = small();
        put(&mut file, at, value);
        match open_bytes(open, file).err() {
            Some(ImageError::Unsupported(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    assert!(refuse(424, &[7; 16]).contains("07070707-0707-0707-0707-070707070707"));
    assert!(refuse(440, &[7; 16]).contains("differencing"));
    assert!(refuse(76, &4u32.to_le_bytes()).contains("differencing"));
    assert!(refuse(76, &3u32.to_le_bytes()).contains("undo"));
    assert!(refuse(68, &0x0002_0000_u32.to_le_bytes()).contains("version 2.0"));
    assert!(refuse(380, &512u32.to_le_bytes()).contains("extra"));
}

#[test]
fn contradictions_are_damage() {
    let good = small();
    for (at, value, word) in [
        (64usize, 0u32.to_le_bytes().to_vec(), "does not start"),
        (76, 9u32.to_le_bytes().to_vec(), "no image type"),
        (376, 0u32.to_le_bytes().to_vec(), "cannot have 0 bytes"),
        (376, 3000u32.to_le_bytes().to_vec(), "cannot have"),
        (376, (1u32 << 31).to_le_bytes().to_vec(), "cannot have"),
        (384, 2u32.to_le_bytes().to_vec(), "covers"),
        (384, u32::MAX.to_le_bytes().to_vec(), "leaves the file"),
        (340, u32::MAX.to_le_bytes().to_vec(), "leaves the file"),
        (368, u64::MAX.to_le_bytes().to_vec(), "covers"),
    ] {
        let mut file = good.clone();
        put(&mut file, at, &value);
        assert!(corrupt(open_bytes(open, file)).contains(word), "{word}");
    }
    for (at, value, word) in [
        (MAP + 8, 0xffff_fff0u32, "leaves the file"),
        (MAP + 8, 1, "used twice"),
        (344, 0, "lie on the header"),
        (344, 1 << 20, "lie on the block map"),
    ] {
        let mut file = good.clone();
        put(&mut file, at, &value.to_le_bytes());
        assert!(corrupt(open_bytes(open, file).unwrap().check()).contains(word), "{word}");
    }
    let mut file = good.clone();
    put(&mut file, MAP + 8, &0xffff_fff0_u32.to_le_bytes());
    let image = open_bytes(open, file).unwrap();
    assert!(image.extents(0..image.capacity()).any(|extent| extent.is_err()));
    let mut file = good;
    put(&mut file, 388, &5u32.to_le_bytes());
    let findings = open_bytes(open, file).unwrap().check().unwrap();
    assert_eq!(findings, ["the header counts 5 allocated blocks, the block map 2"]);
}

#[test]
fn garbage_does_not_panic() {
    let file = small();
    torment(open, &file, &[60..90, 336..472, MAP..MAP + 24]);
    let mut random = Random(17);
    for _ in 0..400 {
        let mut file = file.clone();
        for _ in 0..3 {
            let at = [340, 344, 368, 372, 376, 384, MAP, MAP + 8][random.below(8) as usize];
            let value = (random.draw() >> random.below(64)) as u32;
            put(&mut file, at, &value.to_le_bytes());
        }
        survive(open, file);
    }
}
