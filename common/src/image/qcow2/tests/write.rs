use proptest::prelude::*;

use super::super::{create, max_capacity, resume};
use super::*;
use crate::image::testing::{
    Random, compare_with_raw, plain, read_all, run_qemu_img, scattered, write_file, write_image,
};
use crate::image::{Block, Body, Coding, Extent, Packed, PackedAt};

/// Writes `extents` and lets qemu-img check the structure and compare the content.
fn judged(scratch: &Scratch, options: &WriteOptions, extents: Vec<Extent>, bytes: &[u8]) {
    let written = write_image(create(options).unwrap(), options.capacity, extents);
    let path = scratch.write("written.qcow2", &written);
    scratch.write("expected.raw", bytes);
    let said = run_qemu_img(&["check", "-f", "qcow2", &path]);
    assert!(said.contains("No errors"), "{said}");
    compare_with_raw("qcow2", &scratch.path("written.qcow2"), &scratch.path("expected.raw"));
    let image = scratch.open("written.qcow2").unwrap();
    assert!(read_all(&*image) == bytes);
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

fn ways(capacity: u64) -> Vec<WriteOptions> {
    use CompressionMethod::{Zlib, Zstd};
    let mut ways = vec![options(capacity), compressed(capacity, Zlib), compressed(capacity, Zstd)];
    for size in [512, 4096, 2 << 20] {
        ways.push(WriteOptions { block_size: Some(size), ..options(capacity) });
        ways.push(WriteOptions { block_size: Some(size), ..compressed(capacity, Zlib) });
        ways.push(WriteOptions { block_size: Some(size), ..compressed(capacity, Zstd) });
    }
    ways
}

#[test]
fn qemu_img_reads_what_is_written_whatever_the_size_and_cluster() {
    let scratch = Scratch::new();
    for (seed, capacity) in [(1, 0), (2, 512), (3, 65_536 * 3), (4, 5_000_192), (5, 13_000_192)] {
        let capacity = capacity / 512 * 512;
        let (extents, bytes) = scattered(seed, capacity);
        for way in ways(capacity) {
            judged(&scratch, &way, extents.clone(), &bytes);
        }
    }
}

#[test]
fn incompressible_data_stays_plain_and_a_small_window_is_kept() {
    let scratch = Scratch::new();
    let bytes = Random(4).bytes(3 << 20);
    judged(&scratch, &compressed(3 << 20, CompressionMethod::Zlib), plain(&bytes), &bytes);
    let image = scratch.open("written.qcow2").unwrap();
    assert_eq!(image.info().compression, None);

    let (extents, bytes) = scattered(11, 3 << 20);
    let mut small = compressed(3 << 20, CompressionMethod::Zlib);
    small.compression.as_mut().unwrap().window_bits = 12;
    assert_eq!(create(&small).unwrap().codec().pack.unwrap().window_bits, 12);
    judged(&scratch, &small, extents, &bytes);
}

#[test]
fn streams_from_elsewhere_with_a_32_kib_window_are_read_right() {
    // Each cluster repeats its first 32,700 bytes at a distance that no 4 KiB window reaches.
    let scratch = Scratch::new();
    let mut random = Random(21);
    let bytes: Vec<u8> = (0..20)
        .flat_map(|_| {
            let half = random.bytes(32_700);
            [&half[..], &half[..], &[7; 136]].concat()
        })
        .collect();
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut placed = create(&compressed(bytes.len() as u64, CompressionMethod::Zlib)).unwrap();
    let mut out = Vec::new();
    for (number, cluster) in bytes.chunks(65_536).enumerate() {
        let mut stream = vec![0; packer.deflate_compress_bound(cluster.len())];
        let len = packer.deflate_compress(cluster, &mut stream).unwrap();
        assert!(len < 34_000, "the repetition was not used");
        stream.truncate(len);
        let start = number as u64 * 65_536;
        let body = crate::image::CodedBody::Packed(stream.into());
        let run = crate::image::Coded { range: start..start + 65_536, body };
        placed.place(run, &mut out).unwrap();
    }
    placed.finish(&mut out).unwrap();
    let mut file = Vec::new();
    for op in out {
        if let crate::image::WriteOp::Write { at, bytes } = op {
            file.resize(file.len().max(at as usize + bytes.len()), 0);
            file[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
    }
    let path = scratch.write("moved.qcow2", &file);
    scratch.write("expected.raw", &bytes);
    assert!(run_qemu_img(&["check", "-f", "qcow2", &path]).contains("No errors"));
    compare_with_raw("qcow2", &scratch.path("moved.qcow2"), &scratch.path("expected.raw"));
}

#[test]
fn a_packed_source_is_written_again() {
    let scratch = Scratch::new();
    let (extents, bytes) = scattered(8, 6_000_128);
    let way = compressed(6_000_128, CompressionMethod::Zstd);
    judged(&scratch, &way, extents, &bytes);
    std::fs::rename(scratch.path("written.qcow2"), scratch.path("first.qcow2")).unwrap();
    let first = scratch.open("first.qcow2").unwrap();
    assert_eq!(first.info().compression.as_deref(), Some("zstd"));
    let again: Vec<_> = first.extents(0..first.capacity()).map(Result::unwrap).collect();
    judged(&scratch, &compressed(6_000_128, CompressionMethod::Zlib), again, &bytes);
}

/// Extents of a huge disk: data at a few places, holes or zeros between.
fn far_apart(capacity: u64, between: &Body) -> Vec<Extent> {
    let mut extents = Vec::new();
    let mut at = 0;
    for place in [0, 1 << 20, 7 << 40, (31 << 40) + 65_536, capacity - 131_072] {
        if place > at {
            extents.push(Extent { range: at..place, body: between.clone() });
        }
        let body = Body::Data(Block::Plain(vec![5; 131_072].into()));
        extents.push(Extent { range: place..place + 131_072, body });
        at = place + 131_072;
    }
    extents
}

#[test]
fn a_sparse_disk_of_62_tib_stays_small() {
    let scratch = Scratch::new();
    let capacity = 62 << 40;
    for way in [options(capacity), compressed(capacity, CompressionMethod::Zstd)] {
        let path = scratch.text("huge.qcow2");
        let file = std::fs::File::create(&path).unwrap();
        let extents = far_apart(capacity, &Body::Hole);
        write_file(create(&way).unwrap(), capacity, extents, &file, None);
        assert!(file.metadata().unwrap().len() < 3 << 20);
        assert!(run_qemu_img(&["check", "-f", "qcow2", &path]).contains("No errors"));
        let map = run_qemu_img(&["map", "--output=json", &path]);
        assert_eq!(map.matches("\"data\": true").count(), 5, "{map}");
        let image = scratch.open("huge.qcow2").unwrap();
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        let extents = image.extents(0..capacity).map(Result::unwrap);
        let data: u64 = extents
            .filter(|extent| matches!(extent.body, Body::Data(_)))
            .map(|extent| extent.len())
            .sum();
        assert_eq!(data, 5 * 131_072);
    }
}

#[test]
fn zeros_stay_zeros_and_share_their_table() {
    let mut format = create(&options(8 << 40)).unwrap();
    let mut out = Vec::new();
    let run = crate::image::Coded { range: 0..8 << 40, body: crate::image::CodedBody::Zero };
    format.place(run, &mut out).unwrap();
    let tables: Vec<_> = out
        .iter()
        .filter_map(|op| match op {
            crate::image::WriteOp::Write { bytes, .. } if bytes.len() == 65_536 => Some(bytes),
            _ => None,
        })
        .collect();
    assert_eq!(tables.len(), 16_384);
    let first = tables[1].as_ptr();
    assert!(tables[1..100].iter().all(|bytes| bytes.as_ptr() == first));
    let scratch = Scratch::new();
    let range = 0..1 << 30;
    let zero = vec![Extent { range: range.clone(), body: Body::Zero }];
    let written = write_image(create(&options(1 << 30)).unwrap(), 1 << 30, zero);
    scratch.write("zero.qcow2", &written);
    let image = scratch.open("zero.qcow2").unwrap();
    let extents: Vec<_> = image.extents(range.clone()).map(Result::unwrap).collect();
    assert!(extents.len() == 1 && matches!(extents[0].body, Body::Zero));
    assert_eq!(extents[0].range, range);
}

#[test]
fn holes_zeros_and_data_are_told_apart_by_all_readers() {
    let scratch = Scratch::new();
    let unit = 65_536u64;
    let kinds = ["hole", "zero", "data", "zero", "hole", "data", "data", "hole"];
    let extents: Vec<_> = kinds
        .iter()
        .zip(0..)
        .map(|(kind, number)| {
            let body = match *kind {
                "hole" => Body::Hole,
                "zero" => Body::Zero,
                _ => Body::Data(Block::Plain(vec![number as u8; unit as usize].into())),
            };
            Extent { range: number * unit..(number + 1) * unit, body }
        })
        .collect();
    let capacity = unit * kinds.len() as u64;
    for way in [options(capacity), compressed(capacity, CompressionMethod::Zlib)] {
        let written = write_image(create(&way).unwrap(), capacity, extents.clone());
        let path = scratch.write("kinds.qcow2", &written);
        let image = scratch.open("kinds.qcow2").unwrap();
        for extent in image.extents(0..capacity) {
            let extent = extent.unwrap();
            let kind = match extent.body {
                Body::Hole => "hole",
                Body::Zero => "zero",
                Body::Data(_) => "data",
            };
            for number in extent.range.start / unit..extent.range.end / unit {
                assert_eq!(kind, kinds[number as usize]);
            }
        }
        let map = run_qemu_img(&["map", "--output=json", &path]);
        let count = |what: &str| map.matches(what).count();
        assert_eq!(count("\"present\": false"), 3, "{map}");
        assert_eq!(count("\"present\": true, \"zero\": true"), 2, "{map}");
        assert!(count("\"data\": true") >= 2, "{map}");
    }
}

#[test]
fn limits_and_wrong_options_are_refused() {
    let most = max_capacity(None);
    assert!(most > 62 << 40);
    assert!(create(&options(most)).is_ok());
    assert!(matches!(create(&options(most + 512)), Err(ImageError::Limit(_))));
    assert!(matches!(create(&options(1000)), Err(ImageError::Limit(_))));
    let sized = |size| WriteOptions { block_size: Some(size), ..options(512) };
    for size in [0, 256, 3000, 4 << 20] {
        assert!(matches!(create(&sized(size)), Err(ImageError::Unsupported(_))), "{size}");
    }
    let mut level = compressed(512, CompressionMethod::Zstd);
    level.compression.as_mut().unwrap().level = Some(30);
    assert!(matches!(create(&level), Err(ImageError::Limit(_))));
    assert!(matches!(resume(&[1, 2, 3]), Err(ImageError::Corrupt(_))));
}

#[test]
fn the_largest_disk_of_each_cluster_size_has_tables_within_limits() {
    for bits in 9..=21 {
        let size = 1u32 << bits;
        let capacity = max_capacity(Some(size)) / 512 * 512;
        let mut format =
            create(&WriteOptions { block_size: Some(size), ..options(capacity) }).unwrap();
        let hole = crate::image::Coded { range: 0..capacity, body: crate::image::CodedBody::Hole };
        let mut out = Vec::new();
        format.place(hole, &mut out).unwrap();
        format.finish(&mut out).unwrap();
        let header = out.iter().find_map(|op| match op {
            crate::image::WriteOp::Write { at: 0, bytes } => Some(bytes.clone()),
            _ => None,
        });
        let header = header.unwrap();
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        assert!(u64::from(number(36)) <= 4 << 20, "L1 entries at {size}");
        assert!(u64::from(number(56)) << bits <= 8 << 20, "refcount table at {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_extents_come_back_also_after_resuming(
        seed: u64, sectors in 0u64..9000, bits in 9u32..22, way in 0usize..3
    ) {
        let capacity = sectors * 512;
        let (extents, bytes) = scattered(seed, capacity);
        let mut options = match way {
            0 => options(capacity),
            1 => compressed(capacity, CompressionMethod::Zlib),
            _ => compressed(capacity, CompressionMethod::Zstd),
        };
        options.block_size = Some(1 << bits);
        let straight = write_image(create(&options).unwrap(), capacity, extents.clone());
        let image = open_bytes(straight.clone()).unwrap();
        prop_assert!(read_all(&*image) == bytes);
        prop_assert_eq!(image.check().unwrap(), Vec::<String>::new());
        let scratch = Scratch::new();
        let file = std::fs::File::create(scratch.path("resumed")).unwrap();
        let again = |state: &[u8]| resume(state).unwrap();
        write_file(create(&options).unwrap(), capacity, extents, &file, Some(&again));
        prop_assert!(std::fs::read(scratch.path("resumed")).unwrap() == straight);
    }
}

#[test]
fn packed_extents_of_a_longer_unit_are_read() {
    // A last cluster whose stream holds a whole unit although the disk ends within it.
    let plain = Random(3).text(65_536);
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut stream = vec![0; 70_000];
    let len = packer.deflate_compress(&plain, &mut stream).unwrap();
    stream.truncate(len);
    let packed =
        Packed { coding: Coding::Deflate, at: PackedAt::Memory(stream.into()), unit: 65_536 };
    let extents = vec![Extent { range: 0..5120, body: Body::Data(Block::Packed(packed)) }];
    judged(&Scratch::new(), &options(5120), extents, &plain[..5120]);
}
