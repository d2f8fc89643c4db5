//! VMDK tests, with qemu-img as the judge.

mod extents;
mod hostile;
mod read;
mod stream;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{create, open};
use crate::image::testing::{Random, TestFile, plain, qemu_img, run_qemu_img, write_image};
use crate::image::{Image, ImageError, Sibling, Siblings, Variant, WriteOptions};

/// A folder whose files open each other by name.
#[derive(Debug)]
pub struct TestFolder(pub PathBuf);

impl Siblings for TestFolder {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        let path = self.0.join(name);
        if name.contains("..") || !path.is_file() {
            return Err(ImageError::Outside(format!("{name} is not there")));
        }
        let folder = Arc::new(Self(path.parent().unwrap().to_owned()));
        Ok(Sibling { file: TestFile::open(&path), folder, name: name.to_owned() })
    }
}

/// Opens the image at `path` as a user would.
pub fn open_path(path: &Path) -> Result<Box<dyn Image>, ImageError> {
    open(TestFile::open(path), Arc::new(TestFolder(path.parent().unwrap().to_owned())))
}

/// Disk content of every kind: text, random bytes, zeros, in runs of odd and even lengths.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut bytes = Vec::with_capacity(len + (1 << 20));
    while bytes.len() < len {
        let run = (random.below(40) as usize + 1) * [512, 4096, 65_536][random.below(3) as usize];
        match random.below(4) {
            0 => bytes.extend(random.bytes(run.min(400_000))),
            1 => bytes.extend(random.text(run)),
            _ => bytes.resize(bytes.len() + run, 0),
        }
    }
    bytes.truncate(len);
    bytes
}

/// Writes `bytes` beside `image` and has qemu-img make the image of them.
pub fn convert(bytes: &[u8], image: &Path, options: &str) {
    let raw = image.with_extension("raw");
    std::fs::write(&raw, bytes).unwrap();
    let (raw, image) = (raw.to_str().unwrap(), image.to_str().unwrap());
    run_qemu_img(&["convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, image]);
}

/// Runs one qemu-io command on the VMDK at `image`.
pub fn qemu_io(command: &str, image: &Path) {
    let program = qemu_img().with_file_name("qemu-io");
    let output = std::process::Command::new(program)
        .args(["-f", "vmdk", "-c", command])
        .arg(image)
        .output()
        .unwrap();
    assert!(output.status.success(), "qemu-io {command}: {output:?}");
}

/// Options for a new image.
pub fn options(capacity: u64, variant: Variant) -> WriteOptions {
    WriteOptions {
        capacity,
        variant: Some(variant),
        compression: None,
        block_size: None,
        seed: *b"a seed of thirty-two bytes, here",
        time: 0,
        file_name: "disk.vmdk".to_owned(),
    }
}

/// An image of `bytes` as this module writes it.
pub fn written(bytes: &[u8], variant: Variant) -> Vec<u8> {
    let format = create(&options(bytes.len() as u64, variant)).unwrap();
    write_image(format, bytes.len() as u64, plain(bytes))
}
