//! Disks put together from extents by hand: kinds that qemu-img reads but does not write.

use std::path::Path;

use super::{content, open_path, options, written};
use crate::image::testing::{compare_with_raw, load, plain, read_all, write_image};
use crate::image::vmdk::create;
use crate::image::{Body, ImageError, Variant};

fn descriptor(folder: &Path, create_type: &str, extents: &str) -> std::path::PathBuf {
    let path = folder.join("disk.vmdk");
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
         createType=\"{create_type}\"\n# Extent description\n{extents}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// An ESX sparse extent with grains of `grain` sectors, every other one stored.
fn cowd(bytes: &[u8], grain: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut guest, grain_len) = (bytes.to_vec(), grain * 512);
    let tables = bytes.len().div_ceil(grain_len).div_ceil(4096);
    let directory_len = (tables * 4).next_multiple_of(512);
    let mut raw = vec![0; 2048 + directory_len + tables * 16_384];
    raw[..4].copy_from_slice(b"COWD");
    for (at, value) in [
        (4, 1),
        (8, 3),
        (12, bytes.len() / 512),
        (16, grain),
        (20, 4),
        (24, tables),
        (28, raw.len() / 512),
    ] {
        raw[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    for table in 0..tables {
        let sector = (2048 + directory_len + table * 16_384) / 512;
        raw[2048 + table * 4..][..4].copy_from_slice(&(sector as u32).to_le_bytes());
    }
    for (number, part) in guest.chunks_mut(grain_len).enumerate() {
        if number % 2 == 1 {
            part.fill(0);
            continue;
        }
        let (at, sector) = (2048 + directory_len + number * 4, (raw.len() / 512) as u32);
        raw[at..at + 4].copy_from_slice(&sector.to_le_bytes());
        raw.extend_from_slice(part);
        raw.resize(raw.len().next_multiple_of(512), 0);
    }
    (raw, guest)
}

#[test]
fn esx_sparse_extents_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (grain, len) in [(1, 3 << 20), (8, 20 << 20)] {
        let (raw, guest) = cowd(&content(6, len), grain);
        std::fs::write(folder.path().join("disk-delta.vmdk"), raw).unwrap();
        std::fs::write(folder.path().join("disk.raw"), &guest).unwrap();
        let line = format!("RW {} VMFSSPARSE \"disk-delta.vmdk\"", len / 512);
        let path = descriptor(folder.path(), "vmfsSparse", &line);
        compare_with_raw("vmdk", &path, &folder.path().join("disk.raw"));
        let image = open_path(&path).unwrap();
        assert!(read_all(&*image) == guest);
        assert_eq!(image.check().unwrap(), Vec::<String>::new());
    }
    let alone = open_path(&folder.path().join("disk-delta.vmdk")).unwrap_err();
    assert!(matches!(alone, ImageError::Unsupported(_)), "{alone}");
}

#[test]
fn extents_of_every_kind_and_odd_sizes_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (flat, sparse, packed) = (content(1, 3 << 9), content(2, 300_032), content(3, 200_192));
    let tail = content(4, 77 << 9);
    std::fs::write(folder.path().join("a flat.bin"), [&[1; 1024][..], &flat].concat()).unwrap();
    std::fs::write(folder.path().join("s.vmdk"), written(&sparse, Variant::MonolithicSparse))
        .unwrap();
    std::fs::write(folder.path().join("p.vmdk"), written(&packed, Variant::StreamOptimized))
        .unwrap();
    std::fs::write(folder.path().join("t.bin"), &tail).unwrap();
    let path = descriptor(
        folder.path(),
        "custom",
        "RW 3 FLAT \"a flat.bin\" 2\nRW 586 SPARSE \"s.vmdk\"\nRDONLY 391 SPARSE \"p.vmdk\"\n\
         RW 9 ZERO\nNOACCESS 1 ZERO \nRW 77 VMFS \"t.bin\"",
    );
    let bytes = [&flat[..], &sparse, &packed, &[0; 5120], &tail].concat();
    let image = open_path(&path).unwrap();
    assert!(read_all(&*image) == bytes);
    assert_eq!(image.info().extent_files.len(), 4);
    let zero = image.extents(0..image.capacity()).map(Result::unwrap);
    assert_eq!(zero.filter(|extent| matches!(extent.body, Body::Zero)).count(), 1);
    // Ranges begin at any multiple of the block size, which here lies inside compressed grains.
    let block = u64::from(image.block_size());
    for start in (0..image.capacity()).step_by(block as usize) {
        let end = (start + block).min(image.capacity());
        let got: Vec<u8> =
            image.extents(start..end).flat_map(|extent| load(&extent.unwrap())).collect();
        assert!(got == bytes[start as usize..end as usize], "from {start}");
    }
}

#[test]
fn more_pieces_than_may_stay_open_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(40, 100 * 65_536);
    let mut lines = String::new();
    for (number, piece) in bytes.chunks(65_536).enumerate() {
        let options = options(65_536, Variant::MonolithicSparse);
        let raw = write_image(create(&options).unwrap(), 65_536, plain(piece));
        std::fs::write(folder.path().join(format!("d-s{number}.vmdk")), raw).unwrap();
        lines += &format!("RW 128 SPARSE \"d-s{number}.vmdk\"\n");
    }
    let path = descriptor(folder.path(), "twoGbMaxExtentSparse", &lines);
    let image = open_path(&path).unwrap();
    assert!(read_all(&*image) == bytes);
    std::fs::write(folder.path().join("d-s3.vmdk"), b"shorter").unwrap();
    let found: Result<Vec<_>, _> = image.extents(0..image.capacity()).collect();
    assert!(found.is_err());
}

#[test]
fn a_piece_of_a_disk_is_not_taken_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.vmdk");
    super::convert(&content(1, 1 << 20), &path, "subformat=twoGbMaxExtentSparse");
    let error = open_path(&folder.path().join("split-s001.vmdk")).unwrap_err();
    assert!(matches!(error, ImageError::Unsupported(_)), "{error}");
}

#[test]
fn descriptors_of_things_that_are_no_plain_image_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (create_type, extents, word) in [
        ("vmfsRawDeviceMap", "RW 9 VMFSRDM \"a-rdm.vmdk\"", "raw device"),
        ("vmfsPassthroughRawDeviceMap", "RW 9 FLAT \"a\" 0", "raw device"),
        ("fullDevice", "RW 9 FLAT \"/dev/sda\" 0", "raw device"),
        ("seSparse", "RW 9 SESPARSE \"a-sesparse.vmdk\"", "SESPARSE"),
        ("vmfs", "keyID=\"x\"\nRW 9 VMFS \"a-flat.vmdk\"", "encrypted"),
        ("vmfs", "ddb.iofilters = \"vmwarevmcrypt\"\nRW 9 VMFS \"a-flat.vmdk\"", "encrypted"),
        ("custom", "RW 9 WEIRD \"a\"", "not known"),
    ] {
        let error = open_path(&descriptor(folder.path(), create_type, extents)).unwrap_err();
        assert!(
            matches!(&error, ImageError::Unsupported(text) if text.contains(word)),
            "{create_type}: {error}"
        );
    }
    for (extents, want) in [
        ("RW 9 FLAT \"../../etc/passwd\" 0", "Outside"),
        ("RW -9 FLAT \"a\" 0", "Corrupt"),
        ("RW 9 FLAT \"a\" -1", "Corrupt"),
        ("RW 9 FLAT \"a", "Corrupt"),
        ("RW 18446744073709551615 ZERO\nRW 2 ZERO", "Corrupt"),
        ("", "Corrupt"),
        ("RW 9 SPARSE \"disk.vmdk\"", "Corrupt"),
    ] {
        let error = open_path(&descriptor(folder.path(), "custom", extents)).unwrap_err();
        assert!(format!("{error:?}").starts_with(want), "{extents}: {error:?}");
    }
}
