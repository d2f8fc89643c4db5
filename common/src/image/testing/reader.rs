//! Reading whole disks into memory, with the contracts of images checked.

use crate::image::coding::Unpacker;
use crate::image::{Block, Body, Extent, Image, StreamImage};

/// The guest bytes of one extent.
pub fn load(extent: &Extent) -> Vec<u8> {
    let mut bytes = vec![0; extent.len() as usize];
    match &extent.body {
        Body::Hole | Body::Zero => {}
        Body::Data(Block::Plain(plain)) => bytes.copy_from_slice(plain),
        Body::Data(Block::Stored { file, offset }) => {
            file.read_exact_at(&mut bytes, *offset).unwrap();
        }
        Body::Data(Block::Packed(packed)) => {
            assert!(extent.len() <= u64::from(packed.unit), "a packed extent beyond its unit");
            let mut unit = vec![0; packed.unit as usize];
            let stream = packed.fetch().unwrap();
            let got = Unpacker::new().unpack(packed.coding, &stream, &mut unit).unwrap();
            assert!(got.produced >= bytes.len(), "a packed block is short");
            let len = bytes.len();
            bytes.copy_from_slice(&unit[..len]);
        }
    }
    bytes
}

/// All guest bytes, with the contract of `Image::extents` checked.
pub fn read_all(image: &dyn Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    for extent in image.extents(0..image.capacity()) {
        append(&mut bytes, &extent.unwrap());
    }
    assert_eq!(bytes.len() as u64, image.capacity(), "the extents end before the disk does");
    bytes
}

/// All guest bytes of a stream, with the contract of `StreamImage::next` checked.
pub fn read_stream(mut image: Box<dyn StreamImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(extent) = image.next().unwrap() {
        append(&mut bytes, &extent);
    }
    assert_eq!(bytes.len() as u64, image.capacity(), "the stream ends before the disk does");
    bytes
}

fn append(bytes: &mut Vec<u8>, extent: &Extent) {
    assert!(!extent.is_empty(), "an empty extent");
    assert_eq!(extent.range.start, bytes.len() as u64, "a gap between extents");
    bytes.extend_from_slice(&load(extent));
}
