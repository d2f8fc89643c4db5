//! Archives: our own as tar sees them, tar's as we see them, and hostile ones.

use std::io::{Read, Write};
use std::process::Command;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::{ErrorKind, one_line};
use crate::image::ReadAt;

/// An archive of whole members.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        bytes.extend(member_header(name, content.len() as u64, 1_700_000_000).unwrap());
        bytes.extend(*content);
        bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
    }
    bytes.extend(end_blocks());
    bytes
}

/// A header with a field replaced and its checksum made right again.
fn forged(at: usize, field: &[u8]) -> Vec<u8> {
    let mut block = member_header("a", 0, 0).unwrap();
    block[at..at + field.len()].copy_from_slice(field);
    let kind = block[156];
    retyped(block, kind)
}

fn retyped(mut block: Vec<u8>, kind: u8) -> Vec<u8> {
    block[156] = kind;
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn refusal(bytes: Vec<u8>) -> (ErrorKind, String) {
    let error = find_members(&Bytes::from(bytes)).unwrap_err();
    (error.kind(), one_line(&error))
}

#[test]
fn tar_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}.vmdk", "n".repeat(150));
    let bytes = archive(&[("a.ovf", b"<Envelope/>"), (&long, &[7; 1000]), ("a.mf", b"")]);
    std::fs::write(folder.path().join("a.ova"), &bytes).unwrap();
    let tar = |args: &[&str]| {
        let run = Command::new("tar").args(args).current_dir(folder.path()).output();
        let run = run.expect("tar is part of every Linux; install it to run this test");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert!(run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    let list = tar(&["--utc", "-tvf", "a.ova"]);
    assert!(list.starts_with("-rw-r--r-- 0/0              11 2023-11-14 22:13 a.ovf\n"), "{list}");
    assert_eq!(list.lines().count(), 3);
    tar(&["-xf", "a.ova"]);
    assert_eq!(std::fs::read(folder.path().join(&long)).unwrap(), [7; 1000]);
    let found = find_members(&Bytes::from(bytes)).unwrap();
    assert_eq!(found[1].name, long);
    assert_eq!(found[1].range.start, 1024 + header_len(&long));
}

#[test]
fn what_tar_writes_is_read_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}.vmdk", "n".repeat(120));
    std::fs::write(folder.path().join("a.ovf"), b"<Envelope/>").unwrap();
    std::fs::write(folder.path().join(&long), [9; 700]).unwrap();
    for format in ["gnu", "pax", "oldgnu"] {
        let made = Command::new("tar")
            .args(["--format", format, "-cf", "a.ova", "./a.ovf", &long])
            .current_dir(folder.path())
            .status();
        assert!(made.expect("tar is part of every Linux").success());
        let file = Bytes::from(std::fs::read(folder.path().join("a.ova")).unwrap());
        let found = find_members(&file).unwrap();
        let names: Vec<&str> = found.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a.ovf", long.as_str()], "{format}");
        let range = found[1].range.clone();
        assert_eq!(&file[range.start as usize..range.end as usize], [9; 700]);
        let (first, bytes) = first_member(&mut file.as_ref(), 100).unwrap();
        assert_eq!((first, bytes.as_slice()), (found[0].clone(), &b"<Envelope/>"[..]));
    }
}

/// A file of zeros but for some places.
#[derive(Debug)]
struct Sparse(u64, Vec<(u64, Vec<u8>)>);

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            let place = self
                .1
                .iter()
                .find(|(start, bytes)| (*start..*start + bytes.len() as u64).contains(&at));
            *byte = place.map_or(0, |(start, bytes)| bytes[(at - start) as usize]);
        }
        Ok(())
    }
}

#[test]
fn members_beyond_8_gib_have_their_size() {
    let sizes = [(8 << 30) - 1, 8 << 30, (62 << 40) + 5];
    let (mut at, mut places) = (0, Vec::new());
    for (number, size) in sizes.into_iter().enumerate() {
        let header = member_header(&format!("{number}.vmdk"), size, 0).unwrap();
        places.push((at, header));
        at += 512 + size + padding(size);
    }
    let found = find_members(&Sparse(at + 1024, places)).unwrap();
    let lens: Vec<u64> = found.iter().map(|one| one.range.end - one.range.start).collect();
    assert_eq!(lens, sizes);
    // A sparse file of that size, as tar lists it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.ova");
    let file = std::fs::File::create(&path).unwrap();
    let size = (9 << 30) + 1;
    (&file).write_all(&member_header("big.vmdk", size, 0).unwrap()).unwrap();
    file.set_len(512 + size + padding(size) + 1024).unwrap();
    let list = Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains(&format!(" {size} ")), "{list}");
}

#[test]
fn hostile_archives_are_refused() {
    for name in ["../a.ovf", "/etc/passwd", "a/../../b", "a//b", "", "x/."] {
        let mut field = [0; 100];
        field[..name.len()].copy_from_slice(name.as_bytes());
        let (kind, words) = refusal(forged(0, &field));
        assert_eq!(kind, ErrorKind::Integrity, "{name}: {words}");
    }
    for (kind, words) in
        [(b"1", "link"), (b"2", "link"), (b"3", "device"), (b"6", "pipe"), (b"Z", "unknown")]
    {
        assert!(refusal(forged(156, kind)).1.contains(words), "{words}");
    }
    assert_eq!(refusal(forged(156, b"S")).0, ErrorKind::Unsupported);
    assert!(refusal(archive(&[("a", b""), ("a", b"")])).1.contains("twice"));
    assert!(refusal(member_header("a", 1, 0).unwrap()).1.contains("ends before"));
    assert!(refusal(member_header("a", i64::MAX as u64, 0).unwrap()).1.contains("ends before"));
    assert!(
        refusal(forged(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
            .1
            .contains("size")
    );
    assert!(refusal(forged(124, b"00000000009\0")).1.contains("size"));
    assert!(refusal(vec![b'a'; 1024]).1.contains("no tar file"));
    assert!(refusal(archive(&[("a", &[1; 300])])[..700].to_vec()).0 == ErrorKind::Integrity);
    for pax in ["99999999999999999999 path=a\n", "5 a=\n9", "12 size=-1\n\0", "1 a=b", "8 path=x"] {
        let mut bytes = forged(124, format!("{:011o}\0", pax.len()).as_bytes());
        bytes = retyped(bytes, b'x');
        bytes.extend(pax.as_bytes());
        bytes.resize(1024, 0);
        bytes.extend(member_header("a", 0, 0).unwrap());
        assert_eq!(refusal(bytes).0, ErrorKind::Integrity, "{pax}");
    }
}

#[test]
fn compressed_packages_are_known_by_content() {
    let plain = archive(&[("a.ovf", b"<Envelope/>"), ("a.vmdk", &[1; 100_000])]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    for (bytes, expected) in [(gzip, PackageCompression::Gzip), (zstd, PackageCompression::Zstd)] {
        let compression = PackageCompression::detect(&bytes).unwrap();
        assert_eq!(compression, expected);
        let mut out = Vec::new();
        unpacker(compression, bytes.as_slice()).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, plain);
        let mut reader = unpacker(compression, bytes.as_slice()).unwrap();
        assert_eq!(first_member(&mut reader, 100).unwrap().1, b"<Envelope/>");
        let mut reader = unpacker(compression, bytes.as_slice()).unwrap();
        assert_eq!(first_member(&mut reader, 5).unwrap_err().kind(), ErrorKind::Integrity);
        let mut reader = unpacker(compression, &bytes[..20]).unwrap();
        assert_eq!(first_member(&mut reader, 100).unwrap_err().kind(), ErrorKind::Integrity);
    }
    assert_eq!(PackageCompression::detect(&plain), None);
}

proptest! {
    #[test]
    fn members_come_back(
        members in proptest::collection::btree_map("[a-z ._-]{0,120}[a-z]", 0_usize..2000, 1..5)
    ) {
        let contents: Vec<_> = members.iter().map(|(name, len)| (name.as_str(), vec![3; *len])).collect();
        let slices: Vec<_> = contents.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let found = find_members(&Bytes::from(archive(&slices))).unwrap();
        let got: Vec<_> = found.iter().map(|one| (one.name.as_str(), (one.range.end - one.range.start) as usize)).collect();
        let expected: Vec<_> = members.iter().map(|(name, len)| (name.as_str(), *len)).collect();
        prop_assert_eq!(got, expected);
        let bytes = archive(&slices);
        let mut passing = Passing::new(bytes.as_slice());
        for (member, (_, content)) in found.iter().zip(&slices) {
            let next = passing.next_member().unwrap();
            prop_assert_eq!(next.as_ref(), Some(member));
            if content.len() % 2 == 0 {
                prop_assert_eq!(passing.content(2000).unwrap(), *content);
            }
        }
        prop_assert_eq!(passing.next_member().unwrap(), None);
        passing.drain().unwrap();
        // Whatever is missing at the end is missed.
        let cut = &bytes[..bytes.len() - 1024];
        let mut passing = Passing::new(cut);
        let ended = std::iter::repeat_with(|| passing.next_member()).find_map(Result::err);
        prop_assert_eq!(ended.unwrap().kind(), ErrorKind::Integrity);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..600) {
        let mut archive = archive(&[("a", &[0; 100])]);
        let end = (at + bytes.len()).min(archive.len());
        archive[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = find_members(&Bytes::from(archive.clone()));
        let _ = first_member(&mut archive.as_slice(), 1 << 20);
    }
}
