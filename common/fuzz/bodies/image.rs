//! Disk images: open, walk, unpack, check.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper_common::image::coding::Unpacker;
use hyper_common::image::vmdk::{StreamCheck, StreamFacts};
use hyper_common::image::{
    Block, Body, Extent, Image, ImageError, ImageFormat, NoSiblings, ReadAt, StreamImage, registry,
    vmdk,
};

use super::sparse::Sparse;

/// Most extents of a walk that are looked at.
const MOST_EXTENTS: usize = 2048;
/// Most blocks of a walk that are read and unpacked.
const MOST_BLOCKS: usize = 32;
/// Longest stream that is made of an input.
const MOST_STREAM: u64 = 256 << 10;
/// Most bytes of a stored block that are read.
const MOST_STORED: u64 = 64 << 10;

pub fn qcow2(input: &[u8]) {
    seekable(ImageFormat::Qcow2, Arc::new(Bytes::copy_from_slice(input)));
}

pub fn vdi(input: &[u8]) {
    let Some(file) = Sparse::parse(input) else { return };
    seekable(ImageFormat::Vdi, Arc::new(file));
}

pub fn vhd(input: &[u8]) {
    let Some(mut file) = Sparse::parse(input) else { return };
    seekable(ImageFormat::Vhd, Arc::new(file.clone()));
    file.repair_vhd();
    seekable(ImageFormat::Vhd, Arc::new(file));
    let len = Some(input.len() as u64);
    let reader = Box::new(std::io::Cursor::new(input.to_vec()));
    if let Ok(mut stream) = registry::open_stream(ImageFormat::Vhd, reader, len) {
        let _ = drain(&mut *stream);
    }
}

pub fn vhdx(input: &[u8]) {
    let Some(mut file) = Sparse::parse(input) else { return };
    seekable(ImageFormat::Vhdx, Arc::new(file.clone()));
    file.repair_vhdx();
    seekable(ImageFormat::Vhdx, Arc::new(file));
}

pub fn vmdk(input: &[u8]) {
    seekable(ImageFormat::Vmdk, Arc::new(Bytes::copy_from_slice(input)));
    let Some(file) = Sparse::parse(input) else { return };
    seekable(ImageFormat::Vmdk, Arc::new(file));
}

/// What reads a stream and what only follows it must be of one mind.
pub fn vmdk_stream(input: &[u8]) {
    let Some(file) = Sparse::parse(input) else { return };
    let len = file.len().min(MOST_STREAM) as usize;
    let mut bytes = vec![0; len];
    if file.read_exact_at(&mut bytes, 0).is_ok() {
        of_one_mind(&bytes);
        of_one_mind(&bytes[..len.saturating_sub(input.len() % 512)]);
    }
}

fn of_one_mind(input: &[u8]) {
    let read = read_stream(input);
    let followed = follow_stream(input);
    match (read, followed) {
        (Ok(read), Ok(followed)) => assert_eq!(read, followed, "read and followed"),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("read whole, but following it says: {error}"),
        (Err(error), Ok(_)) => panic!("followed whole, but reading it says: {error}"),
    }
}

fn read_stream(input: &[u8]) -> Result<StreamFacts, ImageError> {
    let mut stream = vmdk::open_stream(Box::new(std::io::Cursor::new(input.to_vec())))?;
    let (grains, populated_bytes) = drain(&mut *stream)?;
    Ok(StreamFacts { capacity: stream.capacity(), grains, populated_bytes })
}

/// Pushes `input` in pieces of uneven lengths.
fn follow_stream(input: &[u8]) -> Result<StreamFacts, ImageError> {
    let mut check = StreamCheck::new();
    let (mut rest, mut piece) = (input, 1);
    while !rest.is_empty() {
        let (front, after) = rest.split_at(piece.min(rest.len()));
        check.push(front)?;
        rest = after;
        piece = piece * 5 % 4093 + 1;
    }
    check.finish()
}

/// Reads a stream to its end: the number of data extents and the guest bytes that they cover.
fn drain(stream: &mut dyn StreamImage) -> Result<(u64, u64), ImageError> {
    let (mut at, mut found, mut covered) = (0, 0, 0);
    let mut unpacked = 0;
    while let Some(extent) = stream.next()? {
        at = follows(at, &extent, stream.capacity());
        if matches!(extent.body, Body::Data(_)) {
            found += 1;
            covered += extent.len();
            if unpacked < MOST_BLOCKS {
                unpacked += 1;
                load(&extent);
            }
        }
    }
    assert_eq!(at, stream.capacity(), "the stream's extents end before the disk does");
    Ok((found, covered))
}

fn seekable(format: ImageFormat, file: Arc<dyn ReadAt>) {
    let _ = registry::detect(&*file);
    let Ok(image) = registry::open(format, file, Arc::new(NoSiblings)) else { return };
    assert_eq!(image.info().format, format);
    assert_eq!(image.info().capacity_bytes, image.capacity());
    let unit = u64::from(image.block_size());
    assert!(unit.is_power_of_two() && unit >= 512, "a block of {unit} bytes");
    let whole = walk(&*image, 0..image.capacity());
    for extent in
        whole.iter().filter(|extent| matches!(extent.body, Body::Data(_))).take(MOST_BLOCKS)
    {
        load(extent);
    }
    for part in parts(&*image, &whole, unit) {
        agree(&whole, &walk(&*image, part));
    }
    let _ = image.check();
}

/// Ranges that a walk may ask for: from the middle of what was seen on, and the disk's last block.
fn parts(image: &dyn Image, whole: &[Extent], unit: u64) -> Vec<Range<u64>> {
    let capacity = image.capacity();
    let seen = whole.last().map_or(0, |extent| extent.range.end);
    let middle = seen / 2 / unit * unit;
    let last = capacity.saturating_sub(1) / unit * unit;
    let stop = middle.saturating_add(3 * unit).min(capacity);
    [middle..stop, last..capacity].into_iter().filter(|part| !part.is_empty()).collect()
}

/// The first extents of `range`, with the contract of `Image::extents` checked.
fn walk(image: &dyn Image, range: Range<u64>) -> Vec<Extent> {
    let (mut at, mut found) = (range.start, Vec::new());
    for extent in image.extents(range.clone()) {
        if found.len() == MOST_EXTENTS {
            return found;
        }
        let Ok(extent) = extent else { return found };
        at = follows(at, &extent, range.end);
        found.push(extent);
    }
    assert_eq!(at, range.end, "the extents end before the range does");
    found
}

/// Where the next extent starts after `extent`, which must start at `at`.
fn follows(at: u64, extent: &Extent, end: u64) -> u64 {
    assert_eq!(extent.range.start, at, "a gap between extents, or an overlap");
    assert!(extent.range.end > at, "an empty extent at {at}");
    assert!(extent.range.end <= end, "an extent up to {} beyond {end}", extent.range.end);
    at.max(extent.range.end)
}

/// A walk of a part must find what the walk of the whole has found there.
fn agree(whole: &[Extent], part: &[Extent]) {
    for extent in part {
        let first = whole.partition_point(|other| other.range.end <= extent.range.start);
        let others = whole[first..].iter().take_while(|other| other.range.start < extent.range.end);
        for other in others {
            assert_eq!(kind(extent), kind(other), "{:?} within {:?}", extent.range, other.range);
        }
    }
}

fn kind(extent: &Extent) -> &'static str {
    match &extent.body {
        Body::Hole => "hole",
        Body::Zero => "zero",
        Body::Data(Block::Packed(_)) => "packed",
        Body::Data(_) => "data",
    }
}

/// Reads an extent's bytes, as far as is affordable.
fn load(extent: &Extent) {
    match &extent.body {
        Body::Hole | Body::Zero => {}
        Body::Data(Block::Plain(plain)) => {
            assert_eq!(plain.len() as u64, extent.len(), "plain bytes of another length");
        }
        Body::Data(Block::Stored { file, offset }) => {
            let mut bytes = vec![0; extent.len().min(MOST_STORED) as usize];
            let _ = file.read_exact_at(&mut bytes, *offset);
        }
        Body::Data(Block::Packed(packed)) => {
            assert!(extent.len() <= u64::from(packed.unit), "a packed extent beyond its unit");
            let mut unit = vec![0; packed.unit as usize];
            let Ok(stream) = packed.fetch() else { return };
            let Ok(got) = Unpacker::new().unpack(packed.coding, &stream, &mut unit) else { return };
            assert!(got.produced <= unit.len() && got.consumed <= stream.len());
        }
    }
}
