use super::super::check::check_alone;
use super::super::decode::Qcow2;
use super::*;
use crate::image::testing::{Random, read_all, run_qemu_img, scattered};
use crate::image::{Block, Body};

/// A raw file with a bit of everything; `capacity` is a multiple of 512.
fn source(scratch: &Scratch, seed: u64, capacity: u64) -> Vec<u8> {
    let (_, bytes) = scattered(seed, capacity);
    scratch.write("source.raw", &bytes);
    bytes
}

/// Converts the source with qemu-img and reads it back here.
fn converted(scratch: &Scratch, arguments: &[&str], bytes: &[u8]) -> Box<dyn Image> {
    let mut call = vec!["convert", "-f", "raw", "-O", "qcow2"];
    call.extend_from_slice(arguments);
    let (from, to) = (scratch.text("source.raw"), scratch.text("image.qcow2"));
    call.extend([from.as_str(), to.as_str()]);
    run_qemu_img(&call);
    let image = scratch.open("image.qcow2").unwrap();
    assert!(read_all(&*image) == bytes, "{arguments:?}");
    assert_eq!(image.check().unwrap(), Vec::<String>::new(), "{arguments:?}");
    image
}

#[test]
fn reads_what_qemu_img_writes() {
    let scratch = Scratch::new();
    let (small, large) = ("cluster_size=512", "cluster_size=2M");
    for (seed, capacity) in [(1, 512), (2, 65_536 * 5), (3, 9_000_960), (4, 2_097_664)] {
        let bytes = source(&scratch, seed, capacity);
        for options in [
            "compat=0.10",
            "compat=1.1",
            small,
            large,
            "lazy_refcounts=on",
            "refcount_bits=1",
            "refcount_bits=64",
            "extended_l2=on",
            "extended_l2=on,cluster_size=16k",
            "preallocation=metadata",
            "preallocation=falloc",
            "preallocation=full",
            "preallocation=metadata,extended_l2=on",
        ] {
            converted(&scratch, &["-o", options], &bytes);
        }
        for options in [
            "compression_type=zlib",
            "compression_type=zstd",
            "compat=0.10",
            "compression_type=zstd,extended_l2=on",
            "compression_type=zlib,cluster_size=512",
            "compression_type=zstd,cluster_size=2M",
        ] {
            converted(&scratch, &["-c", "-o", options], &bytes);
        }
    }
}

#[test]
fn reads_fragmented_images() {
    let scratch = Scratch::new();
    let mut random = Random(99);
    for options in ["cluster_size=64k", "cluster_size=4k", "extended_l2=on", "compat=0.10"] {
        let path = scratch.text("f.qcow2");
        run_qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, &path, "40M"]);
        let writes: Vec<String> = (0..200)
            .map(|_| {
                let at = random.below(40 * 256 - 40) * 4096;
                let len = (random.below(30) + 1) * 4096;
                match random.below(5) {
                    0 if options != "compat=0.10" => format!("write -z {at} {len}"),
                    1 => format!("discard {at} {len}"),
                    kind => format!("write -P {} {at} {len}", kind * 40 + random.below(40)),
                }
            })
            .collect();
        qemu_io(&path, &writes);
        run_qemu_img(&["convert", "-O", "raw", &path, &scratch.text("f.raw")]);
        let image = scratch.open("f.qcow2").unwrap();
        assert!(read_all(&*image) == std::fs::read(scratch.path("f.raw")).unwrap(), "{options}");
        assert_eq!(image.check().unwrap(), Vec::<String>::new(), "{options}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn parts_read_like_the_whole() {
    let scratch = Scratch::new();
    let bytes = source(&scratch, 5, 9_000_960);
    let image = converted(&scratch, &["-c"], &bytes);
    let block = u64::from(image.block_size());
    for start in (0..bytes.len() as u64).step_by(block as usize * 7) {
        let end = (start + block * 3).min(bytes.len() as u64);
        let mut at = start;
        for extent in image.extents(start..end) {
            let extent = extent.unwrap();
            assert_eq!(extent.range.start, at);
            at = extent.range.end;
            let range = extent.range.start as usize..extent.range.end as usize;
            assert!(crate::image::testing::load(&extent) == bytes[range]);
        }
        assert_eq!(at, end);
    }
}

#[test]
fn internal_snapshots_are_named_and_do_not_disturb() {
    let scratch = Scratch::new();
    let path = scratch.text("s.qcow2");
    run_qemu_img(&["create", "-q", "-f", "qcow2", &path, "8M"]);
    qemu_io(&path, &["write -P 1 0 2M".to_owned(), "write -P 2 4M 1M".to_owned()]);
    run_qemu_img(&["snapshot", "-c", "before the update", &path]);
    qemu_io(&path, &["write -P 3 1M 2M".to_owned()]);
    run_qemu_img(&["snapshot", "-c", "after", &path]);
    qemu_io(&path, &["write -P 4 1M 4k".to_owned()]);
    run_qemu_img(&["bitmap", "--add", "--enable", &path, "changes"]);
    qemu_io(&path, &["write -P 5 6M 4k".to_owned()]);
    run_qemu_img(&["convert", "-O", "raw", &path, &scratch.text("s.raw")]);
    let image = scratch.open("s.qcow2").unwrap();
    assert!(read_all(&*image) == std::fs::read(scratch.path("s.raw")).unwrap());
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
    let details = image.info().details;
    let named = |name: &str| details.iter().find(|(key, _)| key == name).unwrap().1.clone();
    assert_eq!(named("snapshots"), "2 (before the update, after)");
    assert_eq!(named("bitmaps"), "1");
}

#[test]
fn external_data_files_are_read_through_the_folder() {
    let scratch = Scratch::new();
    let path = scratch.text("d.qcow2");
    for raw in ["off", "on"] {
        let options = format!("data_file={},data_file_raw={raw}", scratch.text("d.data"));
        run_qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, &path, "8M"]);
        qemu_io(&path, &["write -P 1 0 70000".to_owned(), "write -P 2 4M 1M".to_owned()]);
        run_qemu_img(&["convert", "-O", "raw", &path, &scratch.text("d.raw")]);
        let image = scratch.open("d.qcow2").unwrap();
        assert!(read_all(&*image) == std::fs::read(scratch.path("d.raw")).unwrap());
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
        assert_eq!(image.info().extent_files, [scratch.text("d.data")]);
        let alone = super::super::open(TestFile::open(&path), Arc::new(NoSiblings));
        assert!(matches!(alone, Err(ImageError::Outside(_))));
        std::fs::remove_file(scratch.path("d.qcow2")).unwrap();
        std::fs::remove_file(scratch.path("d.data")).unwrap();
    }
}

#[test]
fn a_sparse_image_of_62_tib_is_walked_at_once() {
    let scratch = Scratch::new();
    let path = scratch.text("huge.qcow2");
    run_qemu_img(&["create", "-q", "-f", "qcow2", &path, "62T"]);
    let last = (62u64 << 40) - 65_536;
    qemu_io(&path, &["write -P 9 31T 64k".to_owned(), format!("write -P 8 {last} 64k")]);
    let image = scratch.open("huge.qcow2").unwrap();
    let start = std::time::Instant::now();
    let extents: Vec<_> = image.extents(0..image.capacity()).map(Result::unwrap).collect();
    let took = start.elapsed();
    assert!(took.as_millis() < 900, "{took:?}");
    assert_eq!(extents.len(), 4);
    assert!(matches!(extents[0].body, Body::Hole) && extents[0].range == (0..31 << 40));
    assert!(matches!(extents[3].body, Body::Data(Block::Stored { .. })));
    assert_eq!(extents[3].range, last..62 << 40);
    assert_eq!(image.check().unwrap(), Vec::<String>::new());
}

#[test]
fn clusters_that_the_file_system_left_out_are_zeros() {
    let scratch = Scratch::new();
    let path = scratch.text("p.qcow2");
    let preallocated = "preallocation=metadata";
    run_qemu_img(&["create", "-q", "-f", "qcow2", "-o", preallocated, &path, "20G"]);
    qemu_io(&path, &["write -P 9 5G 64k".to_owned()]);
    let image = scratch.open("p.qcow2").unwrap();
    let mut data = 0;
    for extent in image.extents(0..image.capacity()) {
        let extent = extent.unwrap();
        match extent.body {
            Body::Data(_) => data += extent.len(),
            Body::Zero => {}
            Body::Hole => panic!("a preallocated cluster is no hole"),
        }
    }
    assert_eq!(data, 65_536);
}

#[test]
fn leaks_are_findings() {
    let scratch = Scratch::new();
    let bytes = source(&scratch, 6, 1 << 20);
    converted(&scratch, &[], &bytes);
    let mut file = std::fs::read(scratch.path("image.qcow2")).unwrap();
    let clusters = file.len().div_ceil(65_536);
    file.resize((clusters + 1) * 65_536, 0);
    let table = u64::from_be_bytes(file[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(file[table..table + 8].try_into().unwrap()) as usize;
    file[block + clusters * 2 + 1] = 3;
    let path = scratch.write("leak.qcow2", &file);
    let output = crate::image::testing::try_qemu_img(&["check", &path]);
    assert_eq!(output.status.code(), Some(3), "qemu-img sees leaks alone");
    let findings = open_bytes(file).unwrap().check().unwrap();
    let at = clusters * 65_536;
    assert_eq!(
        findings,
        [format!("1 clusters are counted as used and are not (leaked), the first at byte {at}")]
    );
}

#[test]
fn checking_in_many_small_windows_finds_the_same() {
    let scratch = Scratch::new();
    let path = scratch.text("w.qcow2");
    run_qemu_img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", &path, "1M"]);
    qemu_io(&path, &["write -P 1 0 700k".to_owned()]);
    run_qemu_img(&["snapshot", "-c", "one", &path]);
    qemu_io(&path, &["write -P 2 100k 300k".to_owned(), "write -c -P 3 800k 64k".to_owned()]);
    let image = |bytes: Vec<u8>| {
        let file: Arc<dyn ReadAt> = Arc::new(bytes::Bytes::from(bytes));
        let header = super::super::header::Header::read(&*file).unwrap();
        Qcow2 { data: file.clone(), file, header, backing: None }
    };
    let good = std::fs::read(&path).unwrap();
    for window in [1, 7, 100, 1 << 20] {
        assert_eq!(check_alone(&image(good.clone()), window).unwrap(), Vec::<String>::new());
    }
    // A leak somewhere, found in whatever window it is; then a cluster that is not counted.
    let table = u64::from_be_bytes(good[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(good[table..table + 8].try_into().unwrap()) as usize;
    let mut leaky = good.clone();
    leaky[block + 2 * 200 + 1] += 1;
    let mut damaged = good;
    damaged[block + 2 * 201 + 1] = 0;
    for window in [1, 7, 100, 1 << 20] {
        assert_eq!(check_alone(&image(leaky.clone()), window).unwrap().len(), 1, "{window}");
        let error = check_alone(&image(damaged.clone()), window).unwrap_err().to_string();
        assert!(error.contains(&format!("byte {} is used", 201 * 512)), "{error}");
    }
}
