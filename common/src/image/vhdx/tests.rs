//! VHDX against qemu-img, against itself and against hostile input.

mod chain;
mod hostile;

use proptest::prelude::*;

use super::{create, max_capacity, open, probe, resume};
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{
    data_of, open_bytes, open_path, options, qemu_bytes, qemu_io, sparse, virtual_size, write,
};
use crate::image::testing::{
    Random, compare_with_raw, plain, read_all, run_qemu_img, scattered, write_image,
};
use crate::image::{Body, Compression, CompressionMethod, Extent, ImageError, Variant};

const SIZES: [u64; 8] =
    [512, 1536, MIB - 512, MIB, MIB + 512, 2 * MIB + 512, 7 * MIB, 9 * MIB + 37 * 512];

#[test]
fn what_is_written_reads_back_and_reads_alike_in_qemu() {
    for block in [None, Some(2 << 20)] {
        for (seed, capacity) in SIZES.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let (extents, bytes) = scattered(seed as u64 + 1, capacity);
            let mut wish = options(capacity, None);
            wish.block_size = block;
            let format = create(&wish).unwrap();
            let again = |state: &[u8]| resume(state).unwrap();
            let path = write(&folder, "a.vhdx", format, capacity, extents, Some(&again));
            let image = open_path(open, &path);
            assert!(read_all(&*image) == bytes, "{block:?} of {capacity}");
            assert_eq!(image.check().unwrap(), Vec::<String>::new());
            assert_eq!(image.info().block_bytes, Some(block.unwrap_or(1 << 20).into()));
            assert_eq!(virtual_size("vhdx", &path), capacity);
            let physical = if capacity.is_multiple_of(4096) { "4096" } else { "512" };
            let expected = ("physical sector".to_owned(), physical.to_owned());
            assert!(image.info().details.contains(&expected));
            run_qemu_img(&["check", "-f", "vhdx", path.to_str().unwrap()]);
            let raw = folder.path().join("raw");
            std::fs::write(&raw, &bytes).unwrap();
            compare_with_raw("vhdx", &path, &raw);
        }
    }
}

#[test]
fn huge_disks_stay_sparse_and_one_sector_more_is_refused() {
    // The second one's table fills its region to the last entry.
    for capacity in [62 << 40, 16_257 << 32, max_capacity()] {
        let folder = tempfile::tempdir().unwrap();
        let (first, middle, last) = ([1; 4096], [2; 8192], [3; 512]);
        let far = capacity / 3 / 4096 * 4096;
        let parts: [(u64, &[u8]); 3] = [(0, &first), (far, &middle), (capacity - 512, &last)];
        let format = create(&options(capacity, None)).unwrap();
        let extents = sparse(capacity, &parts);
        let path = write(&folder, "big.vhdx", format, capacity, extents, None);
        let image = open_path(open, &path);
        let found = data_of(&*image);
        assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 8 << 20);
        assert_eq!(found.first().unwrap().1[..4096], first);
        assert!(found.last().unwrap().1.ends_with(&last));
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(virtual_size("vhdx", &path), capacity);
        let reads = [
            "read -P 1 0 4k".to_owned(),
            "read -P 0 4k 1M".to_owned(),
            format!("read -P 2 {far} 8k"),
            format!("read -P 3 {} 512", capacity - 512),
            format!("read -P 0 {} 3584", capacity - 4096),
        ];
        qemu_io("vhdx", &path, &reads);
    }
    let refused = create(&options(max_capacity() + 512, None)).err();
    assert!(matches!(refused, Some(ImageError::Limit(_))));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refuse = |options: &_| create(options).err().unwrap();
    for capacity in [0, 1, 511, 513] {
        assert!(matches!(refuse(&options(capacity, None)), ImageError::Limit(_)));
    }
    for block in [0, 512, 1 << 19, 3 << 20, 1 << 29] {
        let mut wish = options(MIB, None);
        wish.block_size = Some(block);
        assert!(matches!(refuse(&wish), ImageError::Limit(_)));
    }
    let mut wish = options(MIB, None);
    wish.compression =
        Some(Compression { method: CompressionMethod::Zstd, level: None, window_bits: 15 });
    assert!(matches!(refuse(&wish), ImageError::Unsupported(_)));
    let fixed = options(MIB, Some(Variant::Fixed));
    assert!(matches!(refuse(&fixed), ImageError::Unsupported(_)));
    assert!(resume(&[]).is_err() && resume(&[1, 2]).is_err());
}

#[test]
fn blocks_grow_with_the_disk() {
    let block = |capacity| {
        let format = create(&options(capacity, None)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        crate::image::testing::write_file(
            format,
            capacity,
            sparse(capacity, &[]),
            file.as_file(),
            None,
        );
        open_path(open, file.path()).info().block_bytes.unwrap() / MIB
    };
    let sizes = [1 << 30, 64 << 30, 65 << 30, 1 << 40, 2 << 40, 64 << 40];
    assert_eq!(sizes.map(block), [1, 1, 2, 16, 32, 32]);
}

#[test]
fn zeros_are_marked_and_read_as_what_qemu_leaves_unwritten() {
    let capacity = 8 * MIB;
    let body = |range, body| Extent { range, body };
    let extents = vec![
        body(0..2 * MIB, Body::Hole),
        body(2 * MIB..5 * MIB + 4096, Body::Zero),
        body(5 * MIB + 4096..8 * MIB, Body::Hole),
    ];
    let folder = tempfile::tempdir().unwrap();
    let format = create(&options(capacity, None)).unwrap();
    let ours = write(&folder, "a.vhdx", format, capacity, extents, None);
    let table = &std::fs::read(&ours).unwrap()[hostile::BAT..hostile::BAT + 64];
    let states: Vec<_> = table.chunks(8).map(|entry| entry[0]).collect();
    assert_eq!(states, [0, 0, 2, 2, 2, 2, 0, 0]);
    qemu_io("vhdx", &ours, &["read -P 0 0 8M".to_owned()]);
    let made = folder.path().join("b.vhdx");
    run_qemu_img(&["create", "-f", "vhdx", made.to_str().unwrap(), "8M"]);
    for path in [ours, made] {
        let image = open_path(open, &path);
        let found: Vec<_> = image.extents(0..capacity).map(|extent| extent.unwrap()).collect();
        assert!(found.len() == 1 && matches!(found[0].body, Body::Hole));
    }
}

#[test]
fn the_seed_decides_the_bytes() {
    let bytes = |options: &_| write_image(create(options).unwrap(), MIB, plain(&vec![7; 1 << 20]));
    let first = options(MIB, None);
    let mut other = first.clone();
    other.seed[0] ^= 1;
    assert_eq!(bytes(&first), bytes(&first));
    assert_ne!(bytes(&first), bytes(&other));
    assert!(probe(&bytes(&first)) && !probe(b"vhdxfil") && !probe(&[0; 512]));
}

#[test]
fn qemus_images_read_as_qemu_reads_them() {
    for capacity in SIZES {
        for choice in ["dynamic", "fixed", "dynamic,block_size=1M", "dynamic,block_size=256M"] {
            let folder = tempfile::tempdir().unwrap();
            let raw = folder.path().join("raw");
            std::fs::write(&raw, scattered(capacity, capacity).1).unwrap();
            let path = folder.path().join("a.vhdx");
            let (from, to) = (raw.to_str().unwrap(), path.to_str().unwrap());
            let choice = format!("subformat={choice}");
            run_qemu_img(&["convert", "-f", "raw", "-O", "vhdx", "-o", &choice, from, to]);
            let image = open_path(open, &path);
            assert_eq!(image.capacity(), virtual_size("vhdx", &path), "{choice} {capacity}");
            assert!(read_all(&*image) == qemu_bytes("vhdx", &path), "{choice} {capacity}");
            assert_eq!(image.check().unwrap(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_fragmented_image_reads_as_qemu_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vhdx");
    let to = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vhdx", "-o", "block_size=1M", to, "64M"]);
    let mut random = Random(5);
    let commands: Vec<_> = (1..120)
        .map(|pattern| {
            let at = random.below((64 << 20) / 512 - 300) * 512;
            format!("write -P {pattern} {at} {}", (random.below(200) + 1) * 512)
        })
        .collect();
    qemu_io("vhdx", &path, &commands);
    let image = open_path(open, &path);
    assert!(read_all(&*image) == qemu_bytes("vhdx", &path));
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

#[test]
fn qemu_writes_on_in_what_is_written_here() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = 11 * MIB;
    let (extents, _) = scattered(8, capacity);
    let format = create(&options(capacity, None)).unwrap();
    let path = write(&folder, "a.vhdx", format, capacity, extents, None);
    let commands = ["write -P 3 1M 3M", "write -P 4 10M 512", "write -P 5 0 1k"];
    qemu_io("vhdx", &path, &commands.map(str::to_owned));
    let image = open_path(open, &path);
    assert!(read_all(&*image) == qemu_bytes("vhdx", &path));
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_preallocated_disk_is_walked_by_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vhdx");
    let to = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vhdx", "-o", "subformat=fixed", to, "900G"]);
    qemu_io("vhdx", &path, &["write -P 7 500G 64k".to_owned()]);
    let image = open_path(open, &path);
    assert_eq!(image.info().variant, "fixed");
    let found = data_of(&*image);
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
            let part = &bytes[extent.range.start as usize..at as usize];
            prop_assert!(crate::image::testing::load(&extent) == part);
        }
        prop_assert_eq!(at, capacity);
    }
}
