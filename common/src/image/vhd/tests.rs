//! VHD against qemu-img, against itself and against hostile input.

mod chain;
mod hostile;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use self::hostile::small;
use super::{create, max_capacity, open, open_stream, probe, resume};
use crate::image::blocks::MIB;
use crate::image::blocks::trial::{
    data_of, open_bytes, open_path, options, qemu_bytes, qemu_io, sparse, sparse_raw, virtual_size,
    write,
};
use crate::image::testing::{
    Random, compare_with_raw, plain, read_all, read_stream, run_qemu_img, scattered, write_image,
};
use crate::image::{
    Compression, CompressionMethod, ImageError, NoSiblings, ReadAt, Siblings, Variant,
};

const SIZES: [u64; 8] =
    [512, 1536, MIB - 512, MIB, MIB + 512, 2 * MIB + 512, 7 * MIB, 9 * MIB + 37 * 512];

#[test]
fn what_is_written_reads_back_and_reads_alike_in_qemu() {
    for variant in [Variant::Dynamic, Variant::Fixed] {
        for (seed, capacity) in SIZES.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let (extents, bytes) = scattered(seed as u64 + 1, capacity);
            let format = create(&options(capacity, Some(variant))).unwrap();
            let again = |state: &[u8]| resume(state).unwrap();
            let path = write(&folder, "a.vhd", format, capacity, extents, Some(&again));
            let image = open_path(open, &path);
            assert!(read_all(&*image) == bytes, "{variant:?} of {capacity}");
            assert_eq!(image.check().unwrap(), Vec::<String>::new());
            assert_eq!(virtual_size("vpc", &path), capacity);
            let raw = folder.path().join("raw");
            std::fs::write(&raw, &bytes).unwrap();
            compare_with_raw("vpc", &path, &raw);
        }
    }
}

#[test]
fn the_largest_disk_stays_sparse_and_one_sector_more_is_refused() {
    let capacity = max_capacity();
    let (first, middle, last) = ([1; 4096], [2; 8192], [3; 512]);
    let parts: [(u64, &[u8]); 3] = [(0, &first), (777 << 30, &middle), (capacity - 512, &last)];
    for variant in [Variant::Dynamic, Variant::Fixed] {
        let folder = tempfile::tempdir().unwrap();
        let format = create(&options(capacity, Some(variant))).unwrap();
        let extents = sparse(capacity, &parts);
        let path = write(&folder, "big.vhd", format, capacity, extents, None);
        let image = open_path(open, &path);
        let found = data_of(&*image);
        assert_eq!(found.first().unwrap().1[..4096], first);
        assert!(found.iter().any(|(at, bytes)| (777 << 30) - at < 1 << 20
            && bytes.windows(8192).any(|part| part == middle)));
        assert!(found.last().unwrap().1.ends_with(&last));
        assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 8 << 20);
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(virtual_size("vpc", &path), capacity);
        if variant == Variant::Dynamic {
            compare_with_raw("vpc", &path, &sparse_raw(&folder, capacity, &parts));
        }
        let refused = create(&options(capacity + 512, Some(variant)));
        assert!(matches!(refused.err(), Some(ImageError::Limit(_))));
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refuse = |options: &_| create(options).err().unwrap();
    for capacity in [0, 1, 511, 513] {
        assert!(matches!(refuse(&options(capacity, None)), ImageError::Limit(_)));
    }
    let mut wish = options(MIB, None);
    wish.compression =
        Some(Compression { method: CompressionMethod::Zlib, level: None, window_bits: 15 });
    assert!(matches!(refuse(&wish), ImageError::Unsupported(_)));
    let streamed = options(MIB, Some(Variant::StreamOptimized));
    assert!(matches!(refuse(&streamed), ImageError::Unsupported(_)));
    let mut wish = options(MIB, None);
    wish.block_size = Some(65_536);
    assert!(matches!(refuse(&wish), ImageError::Limit(_)));
    assert!(resume(&[]).is_err() && resume(&[1, 2]).is_err());
}

#[test]
fn the_seed_decides_the_bytes() {
    let bytes =
        |options: &_| write_image(create(options).unwrap(), 3 * MIB, plain(&vec![7; 3 << 20]));
    let first = options(3 * MIB, None);
    let mut other = first.clone();
    other.seed[0] ^= 1;
    assert_eq!(bytes(&first), bytes(&first));
    assert_ne!(bytes(&first), bytes(&other));
}

#[test]
fn qemus_images_read_as_qemu_reads_them() {
    for capacity in SIZES {
        for choice in ["dynamic", "fixed", "dynamic,force_size=on", "fixed,force_size=on"] {
            let folder = tempfile::tempdir().unwrap();
            let raw = folder.path().join("raw");
            std::fs::write(&raw, scattered(capacity, capacity).1).unwrap();
            let path = folder.path().join("a.vhd");
            let (from, to) = (raw.to_str().unwrap(), path.to_str().unwrap());
            let choice = format!("subformat={choice}");
            run_qemu_img(&["convert", "-f", "raw", "-O", "vpc", "-o", &choice, from, to]);
            let image = open_path(open, &path);
            assert_eq!(image.capacity(), virtual_size("vpc", &path), "{choice} {capacity}");
            assert!(read_all(&*image) == qemu_bytes("vpc", &path), "{choice} {capacity}");
            assert_eq!(image.check().unwrap(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_fragmented_image_reads_as_qemu_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vhd");
    let to = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vpc", "-o", "force_size=on", to, "64M"]);
    let mut random = Random(5);
    let commands: Vec<_> = (1..120)
        .map(|pattern| {
            let at = random.below((64 << 20) / 512 - 300) * 512;
            format!("write -P {pattern} {at} {}", (random.below(200) + 1) * 512)
        })
        .collect();
    qemu_io("vpc", &path, &commands);
    let image = open_path(open, &path);
    assert!(read_all(&*image) == qemu_bytes("vpc", &path));
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
    assert_eq!(image.info().variant, "dynamic");
}

#[test]
fn qemu_writes_on_in_what_is_written_here() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = 11 * MIB;
    let (extents, _) = scattered(8, capacity);
    let path =
        write(&folder, "a.vhd", create(&options(capacity, None)).unwrap(), capacity, extents, None);
    let commands = ["write -P 3 1M 3M", "write -P 4 10M 512", "write -P 5 0 1k"];
    qemu_io("vpc", &path, &commands.map(str::to_owned));
    let image = open_path(open, &path);
    assert!(read_all(&*image) == qemu_bytes("vpc", &path));
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_extents_come_back(seed in 1u64.., sectors in 1u64..20_000, fixed: bool) {
        let capacity = sectors * 512;
        let (extents, bytes) = scattered(seed, capacity);
        let variant = if fixed { Variant::Fixed } else { Variant::Dynamic };
        let file = write_image(create(&options(capacity, Some(variant))).unwrap(), capacity, extents);
        let image = open_bytes(open, file).unwrap();
        prop_assert!(read_all(&*image) == bytes);
        // Any part reads like the same part of the whole.
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

#[test]
fn footers_of_511_bytes_are_read() {
    let bytes = Random(3).bytes(MIB as usize);
    let mut file =
        write_image(create(&options(MIB, Some(Variant::Fixed))).unwrap(), MIB, plain(&bytes));
    file.pop();
    assert!(probe(&Bytes::from(file.clone())));
    assert!(read_all(&*open_bytes(open, file.clone()).unwrap()) == bytes);
    let len = Some(file.len() as u64);
    let stream = open_stream(Box::new(std::io::Cursor::new(file)), len).unwrap();
    assert!(read_stream(stream) == bytes);
}

#[test]
fn only_images_are_taken_for_images() {
    let fixed = write_image(
        create(&options(MIB, Some(Variant::Fixed))).unwrap(),
        MIB,
        plain(&vec![1; 1 << 20]),
    );
    assert!(probe(&Bytes::from(fixed)) && probe(&Bytes::from(small())));
    for len in [0, 7, 8, 511, 512, 4096] {
        assert!(!probe(&Bytes::from(vec![0; len])));
    }
}

#[test]
fn unset_sectors_of_a_dynamic_disk_read_as_zero() {
    let mut file = small();
    let image = open_bytes(open, file.clone()).unwrap();
    let mut bytes = read_all(&*image);
    let lead = u32::from_be_bytes(file[1536..1540].try_into().unwrap()) as usize * 512;
    // Sectors 2049 to 2063 of the first block, whose data starts at its sector 2048.
    file[lead + 256] = 0x80;
    file[lead + 257] = 0x00;
    bytes[(MIB + 512) as usize..(MIB + 16 * 512) as usize].fill(0);
    let image = open_bytes(open, file).unwrap();
    assert!(read_all(&*image) == bytes);
}

#[test]
fn a_fixed_image_streams_and_a_dynamic_one_does_not() {
    let (extents, bytes) = scattered(11, 3 * MIB + 512);
    let capacity = bytes.len() as u64;
    let file =
        write_image(create(&options(capacity, Some(Variant::Fixed))).unwrap(), capacity, extents);
    let len = Some(file.len() as u64);
    let stream = |file: &[u8], len| open_stream(Box::new(std::io::Cursor::new(file.to_vec())), len);
    assert!(read_stream(stream(&file, len).unwrap()) == bytes);
    assert!(matches!(stream(&file, None).err(), Some(ImageError::Unsupported(_))));
    assert!(matches!(stream(&small(), len).err(), Some(ImageError::Unsupported(_))));
    assert!(matches!(stream(&file, Some(1000)).err(), Some(ImageError::Corrupt(_))));

    let drain = |file: &[u8], len| {
        let mut image = stream(file, len).unwrap();
        loop {
            match image.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    assert!(matches!(drain(&file[..MIB as usize], len), Some(ImageError::Truncated(_))));
    let cut = file.len() - 9;
    assert!(matches!(drain(&file[..cut], len), Some(ImageError::Truncated(_))));
    let mut more = file.clone();
    more.push(0);
    assert!(matches!(drain(&more, len), Some(ImageError::Corrupt(_))));
    let mut torn = file.clone();
    torn[cut] ^= 1;
    assert!(matches!(drain(&torn, len), Some(ImageError::Corrupt(_))));
}

#[test]
fn info_tells_whether_azure_takes_it() {
    let azure = |capacity, variant| {
        let format = create(&options(capacity, Some(variant))).unwrap();
        let file = write_image(format, capacity, sparse(capacity, &[]));
        let info = open_bytes(open, file).unwrap().info();
        info.details.into_iter().find(|(name, _)| name == "azure").unwrap().1
    };
    assert_eq!(azure(MIB, Variant::Fixed), "fit");
    assert!(azure(MIB + 512, Variant::Fixed).starts_with("not fit"));
    assert!(azure(MIB, Variant::Dynamic).starts_with("not fit"));
}

#[test]
fn holes_of_the_file_system_are_holes_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("a.vhd");
    let to = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", to, "900G"]);
    qemu_io("vpc", path, &["write -P 7 500G 64k".to_owned()]);
    let found = data_of(&*open_path(open, path));
    assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 2 << 20);
    assert!(found.iter().any(|(_, bytes)| bytes.windows(65_536).any(|part| part == [7; 65_536])));
    let alone: Arc<dyn Siblings> = Arc::new(NoSiblings);
    let bytes: Arc<dyn ReadAt> = Arc::new(Bytes::from_static(b"conectix"));
    assert!(open(bytes, alone).is_err());
}
