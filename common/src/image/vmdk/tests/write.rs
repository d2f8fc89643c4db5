//! What this module writes, judged by qemu-img and read back.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{content, open_path, options, written};
use crate::image::testing::{
    compare_with_raw, plain, read_all, run_qemu_img, scattered, write_file, write_image,
};
use crate::image::vmdk::{create, flat_descriptor, max_capacity, open, probe, resume};
use crate::image::{
    Body, Coded, CodedBody, Compression, CompressionMethod, Extent, ImageError, Layout, NoSiblings,
    Variant,
};

const VARIANTS: [Variant; 3] =
    [Variant::StreamOptimized, Variant::StreamOptimizedTablesFirst, Variant::MonolithicSparse];

fn read_back(raw: Vec<u8>) -> Vec<u8> {
    assert!(probe(&raw[..raw.len().min(65_536)]));
    let image = open(Arc::new(Bytes::from(raw)), Arc::new(NoSiblings)).unwrap();
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
    read_all(&*image)
}

fn judge(folder: &Path, raw: &[u8], bytes: &[u8]) {
    let (image, plain) = (folder.join("image.vmdk"), folder.join("plain.raw"));
    std::fs::write(&image, raw).unwrap();
    std::fs::write(&plain, bytes).unwrap();
    compare_with_raw("vmdk", &image, &plain);
    let check = run_qemu_img(&["check", "-f", "vmdk", image.to_str().unwrap()]);
    assert!(check.contains("No errors"), "{check}");
    let info = run_qemu_img(&["info", "--output=json", "-f", "vmdk", image.to_str().unwrap()]);
    assert!(info.contains(&format!("\"virtual-size\": {}", bytes.len())), "{info}");
}

#[test]
fn qemu_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for variant in VARIANTS {
        for len in [512, 65_536, 65_536 * 7 - 512, (64 << 20) + 512 * 33] {
            let bytes = content(len as u64, len);
            let raw = written(&bytes, variant);
            judge(folder.path(), &raw, &bytes);
            assert!(read_back(raw) == bytes);
        }
        let empty = vec![0; 3 << 20];
        judge(folder.path(), &written(&empty, variant), &empty);
        assert!(read_back(written(&[], variant)).is_empty());
    }
}

#[test]
fn small_grains_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(8, 5 << 20);
    for variant in VARIANTS {
        let mut options = options(bytes.len() as u64, variant);
        options.block_size = Some(8192);
        let raw = write_image(create(&options).unwrap(), options.capacity, plain(&bytes));
        judge(folder.path(), &raw, &bytes);
        assert!(read_back(raw) == bytes);
    }
}

#[test]
fn a_writer_that_is_saved_and_resumed_writes_the_same() {
    let (extents, bytes) = scattered(21, 40 << 20);
    for variant in VARIANTS {
        let format = || create(&options(40 << 20, variant)).unwrap();
        let file = tempfile::tempfile().unwrap();
        let again = |state: &[u8]| resume(state).unwrap();
        write_file(format(), 40 << 20, extents.clone(), &file, Some(&again));
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut &file, &mut raw).unwrap();
        assert!(raw == write_image(format(), 40 << 20, extents.clone()));
        assert!(read_back(raw) == bytes);
        let state = format().save();
        assert!(resume(&state[..state.len() / 2]).is_err());
    }
}

#[test]
fn large_sparse_disks_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("large.vmdk");
    for (variant, capacity) in [
        (Variant::StreamOptimized, 62_u64 << 40),
        (Variant::StreamOptimizedTablesFirst, 62 << 40),
        (Variant::MonolithicSparse, (2 << 40) - 512),
    ] {
        let text = content(2, 1 << 20);
        let near_end = (capacity >> 1) / 65_536 * 65_536;
        let extents = [
            Extent { range: 0..near_end, body: Body::Hole },
            Extent { range: near_end..near_end + (1 << 20), body: plain(&text)[0].body.clone() },
            Extent { range: near_end + (1 << 20)..capacity, body: Body::Zero },
        ];
        let file = std::fs::File::create(&image).unwrap();
        write_file(create(&options(capacity, variant)).unwrap(), capacity, extents, &file, None);
        let opened = open_path(&image).unwrap();
        let found: Vec<Extent> = opened.extents(0..capacity).map(Result::unwrap).collect();
        let first = text.iter().position(|byte| *byte != 0).unwrap() as u64;
        assert_eq!(found[0].range, 0..near_end + first / 65_536 * 65_536);
        assert!(matches!(found.last().unwrap().body, Body::Hole));
        let part = folder.path().join("part.raw");
        let skip = format!("skip={}", near_end >> 16);
        let count = format!("count={}", (near_end >> 16) + 16);
        let from = format!("if={}", image.to_str().unwrap());
        let to = format!("of={}", part.to_str().unwrap());
        run_qemu_img(&["dd", "-f", "vmdk", "-O", "raw", "bs=64k", &count, &skip, &from, &to]);
        assert!(std::fs::read(&part).unwrap() == text);
    }
}

#[test]
fn the_flat_descriptor_makes_raw_bytes_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(31, 3 << 20);
    std::fs::write(folder.path().join("disk-flat.vmdk"), &bytes).unwrap();
    let text = flat_descriptor(&options(3 << 20, Variant::MonolithicFlat), "disk-flat.vmdk");
    let path = folder.path().join("disk.vmdk");
    std::fs::write(&path, &text).unwrap();
    assert!(probe(text.as_bytes()));
    assert!(text.contains("RW 6144 FLAT \"disk-flat.vmdk\" 0\n"));
    compare_with_raw("vmdk", &path, &folder.path().join("disk-flat.vmdk"));
    let image = open_path(&path).unwrap();
    assert_eq!(image.info().extent_files, ["disk-flat.vmdk"]);
    assert!(read_all(&*image) == bytes);
}

#[test]
fn a_name_cannot_break_out_of_the_descriptor() {
    let mut options = options(1 << 20, Variant::StreamOptimized);
    options.file_name = "a\"\nRW 1 FLAT \"/etc/passwd\" 0".to_owned();
    let raw = write_image(create(&options).unwrap(), 1 << 20, plain(&vec![1; 1 << 20]));
    let image = open(Arc::new(Bytes::from(raw)), Arc::new(NoSiblings)).unwrap();
    assert_eq!(image.capacity(), 1 << 20);
}

#[test]
fn ids_derive_from_the_seed() {
    let one = options(1 << 20, Variant::MonolithicFlat);
    let mut other = one.clone();
    other.seed[1] ^= 1;
    let text = flat_descriptor(&one, "f");
    assert!(text.contains("CID=61207365\n"));
    assert_ne!(text, flat_descriptor(&other, "f"));
    other.seed = [0xff; 32];
    assert!(!flat_descriptor(&other, "f").contains("\nCID=ffffffff\n"));
}

#[test]
fn limits_are_told_with_numbers() {
    for variant in VARIANTS {
        let most = max_capacity(variant);
        assert!(create(&options(most, variant)).is_ok());
        let error = create(&options(most + 512, variant)).err().unwrap();
        assert!(matches!(&error, ImageError::Limit(text) if text.contains(&most.to_string())));
        assert!(matches!(create(&options(1000, variant)), Err(ImageError::Limit(_))));
    }
    // Plain grains for the whole of 2 TiB do not fit beside their tables.
    let most = max_capacity(Variant::MonolithicSparse);
    let mut format = create(&options(most, Variant::MonolithicSparse)).unwrap();
    let mut at = 0;
    let piece = Bytes::from(vec![0; 1 << 30]);
    let error = loop {
        let end = (at + (1 << 30)).min(most);
        let body = CodedBody::Plain(piece.slice(..(end - at) as usize));
        match format.place(Coded { range: at..end, body }, &mut Vec::new()) {
            Ok(()) => at = end,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ImageError::Limit(text) if text.contains("2199023255552")));
}

#[test]
fn what_the_format_does_not_have_is_refused() {
    let zstd = Compression { method: CompressionMethod::Zstd, level: None, window_bits: 15 };
    let zlib = Compression { method: CompressionMethod::Zlib, ..zstd };
    for (variant, compression) in [
        (Variant::StreamOptimized, Some(zstd)),
        (Variant::StreamOptimized, Some(Compression { window_bits: 12, ..zlib })),
        (Variant::MonolithicSparse, Some(zlib)),
        (Variant::Dynamic, None),
    ] {
        let mut options = options(0, variant);
        options.compression = compression;
        assert!(matches!(create(&options), Err(ImageError::Unsupported(_))));
    }
    let mut options = options(0, Variant::StreamOptimized);
    options.compression = Some(Compression { level: Some(9), ..zlib });
    let format = create(&options).unwrap();
    assert_eq!(format.codec().pack.unwrap().level, 9);
    assert_eq!(format.layout(), Layout::Append);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn any_extents_come_back(seed in 0..u64::MAX, sectors in 1_u64..9000, small in any::<bool>()) {
        let capacity = sectors * 512;
        let (extents, bytes) = scattered(seed, capacity);
        for variant in VARIANTS {
            let mut options = options(capacity, variant);
            options.block_size = small.then_some(16_384);
            let raw = write_image(create(&options).unwrap(), capacity, extents.clone());
            prop_assert!(read_back(raw) == bytes);
        }
    }
}
