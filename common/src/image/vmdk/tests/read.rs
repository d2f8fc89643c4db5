//! Images that qemu-img wrote.

use std::path::Path;

use super::{content, convert, open_path, qemu_io};
use crate::image::testing::{read_all, run_qemu_img};
use crate::image::{Block, Body, Extent, Image, ImageError, PackedAt};

const SUBFORMATS: [&str; 5] = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
];

#[test]
fn every_subformat_of_qemu_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for subformat in SUBFORMATS {
        for len in [512, 65_536, 65_536 * 3 - 512, (32 << 20) + 512 * 77] {
            let bytes = content(len as u64, len);
            let path = folder.path().join(format!("{subformat}{len}.vmdk"));
            convert(&bytes, &path, &format!("subformat={subformat}"));
            let image = open_path(&path).unwrap();
            assert_eq!(image.info().variant, subformat);
            assert!(read_all(&*image) == bytes, "{subformat}, {len} bytes");
            assert_eq!(image.check().unwrap(), Vec::<String>::new(), "{subformat}");
        }
    }
}

#[test]
fn parts_of_an_image_are_parts_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(5, 5 << 20);
    for subformat in ["monolithicSparse", "streamOptimized"] {
        let path = folder.path().join(format!("{subformat}.vmdk"));
        convert(&bytes, &path, &format!("subformat={subformat}"));
        let image = open_path(&path).unwrap();
        for (start, end) in [(0, 65_536), (65_536, 5 << 20), (3 << 20, (3 << 20) + 1024)] {
            let mut at = start;
            for extent in image.extents(start..end) {
                let extent = extent.unwrap();
                assert_eq!(extent.range.start, at);
                at = extent.range.end;
                let plain = crate::image::testing::load(&extent);
                let part = extent.range.start as usize..extent.range.end as usize;
                assert!(plain == bytes[part]);
            }
            assert_eq!(at, end);
        }
    }
}

fn extents(image: &dyn Image) -> Vec<Extent> {
    image.extents(0..image.capacity()).map(Result::unwrap).collect()
}

#[test]
fn a_large_sparse_disk_is_one_hole_and_quickly_walked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.vmdk");
    let name = path.to_str().unwrap();
    for (subformat, size) in [
        ("monolithicSparse", 3_u64 << 40),
        ("streamOptimized", 3 << 40),
        ("twoGbMaxExtentSparse", 9 << 30),
    ] {
        let options = format!("subformat={subformat}");
        run_qemu_img(&["create", "-f", "vmdk", "-o", &options, name, &size.to_string()]);
        let image = open_path(&path).unwrap();
        let found = extents(&*image);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].range, 0..size);
        assert!(matches!(found[0].body, Body::Hole));
    }
}

#[test]
fn neighbouring_grains_are_joined_or_visible_as_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = crate::image::testing::Random(9).text(8 << 20);
    let path = folder.path().join("sparse.vmdk");
    convert(&bytes, &path, "subformat=monolithicSparse");
    assert_eq!(extents(&*open_path(&path).unwrap()).len(), 1);
    let path = folder.path().join("stream.vmdk");
    convert(&bytes, &path, "subformat=streamOptimized");
    let mut end = None;
    for extent in extents(&*open_path(&path).unwrap()) {
        let Body::Data(Block::Packed(packed)) = extent.body else { panic!("not packed") };
        let PackedAt::Framed { offset, .. } = packed.at else { panic!("not behind a marker") };
        assert!(end.is_none_or(|end: u64| end.next_multiple_of(512) == offset));
        end = Some(offset + 12 + packed.fetch().unwrap().len() as u64);
    }
}

#[test]
fn zeroed_grains_are_zero_and_not_holes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zeroed.vmdk");
    let name = path.to_str().unwrap();
    run_qemu_img(&["create", "-f", "vmdk", "-o", "zeroed_grain=on", name, "1M"]);
    run_qemu_img(&["bench", "-f", "vmdk", "-c", "4", "-s", "65536", "-w", name]);
    qemu_io("write -z 64k 128k", &path);
    let found = extents(&*open_path(&path).unwrap());
    let zero: Vec<_> = found.iter().filter(|e| matches!(e.body, Body::Zero)).collect();
    assert_eq!(zero.len(), 1);
    assert_eq!(zero[0].range, 65_536..3 * 65_536);
    assert!(matches!(found.last().unwrap().body, Body::Hole));
}

/// A chain base <- middle <- top in which each link holds some of the grains.
fn chain(folder: &Path, base: &str) -> (Vec<u8>, std::path::PathBuf) {
    let mut bytes = content(77, 6 << 20);
    convert(&bytes, &folder.join("base.vmdk"), base);
    for (child, parent) in [("middle.vmdk", "base.vmdk"), ("top.vmdk", "middle.vmdk")] {
        let (child, parent_path) = (folder.join(child), folder.join(parent));
        let child_name = child.to_str().unwrap();
        let backing = parent_path.to_str().unwrap();
        run_qemu_img(&["create", "-f", "vmdk", "-b", backing, "-F", "vmdk", child_name]);
        let start = if parent.starts_with("base") { 1 << 20 } else { (2 << 20) - 65_536 };
        for at in (start..5 << 20).step_by(3 * 65_536) {
            bytes[at..at + 4096].fill(0x5a);
            qemu_io(&format!("write -P 0x5a {at} 4096"), &child);
        }
    }
    (bytes, folder.join("top.vmdk"))
}

#[test]
fn snapshot_chains_are_read_through() {
    for base in
        ["subformat=monolithicSparse", "subformat=streamOptimized", "subformat=monolithicFlat"]
    {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, top) = chain(folder.path(), base);
        let image = open_path(&top).unwrap();
        assert!(read_all(&*image) == bytes, "{base}");
        assert!(image.info().backing.unwrap().ends_with("middle.vmdk"));
    }
}

#[test]
fn a_changed_parent_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, top) = chain(folder.path(), "subformat=monolithicSparse");
    let base = folder.path().join("base.vmdk");
    let mut raw = std::fs::read(&base).unwrap();
    let at = raw.windows(4).position(|window| window == b"CID=").unwrap() + 4;
    raw[at..at + 8].copy_from_slice(b"12345678");
    std::fs::write(&base, raw).unwrap();
    let error = open_path(&top).unwrap_err();
    assert!(matches!(&error, ImageError::Corrupt(text) if text.contains("12345678")), "{error}");
}
