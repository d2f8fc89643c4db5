//! qemu-img is the judge in both directions.

mod chain;
mod hostile;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::image::testing::{TestFile, qemu_img};
use crate::image::{
    Compression, CompressionMethod, Image, ImageError, NoSiblings, ReadAt, Sibling, Siblings,
    WriteOptions,
};

/// A scratch folder and paths in it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    fn folder(&self) -> Arc<dyn Siblings> {
        Arc::new(Folder(self.0.path().to_owned()))
    }

    fn open(&self, name: &str) -> Result<Box<dyn Image>, ImageError> {
        super::open(TestFile::open(self.path(name)), self.folder())
    }
}

/// Whatever lies in one folder.
#[derive(Debug)]
struct Folder(PathBuf);

impl Siblings for Folder {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        let path = self.0.join(Path::new(name).file_name().unwrap());
        if !path.is_file() {
            return Err(ImageError::Outside(format!("{name:?} is not there")));
        }
        let folder = Arc::new(Self(self.0.clone()));
        Ok(Sibling { file: TestFile::open(path), folder, name: name.to_owned() })
    }
}

/// Opens an image in memory that stands alone.
fn open_bytes(bytes: Vec<u8>) -> Result<Box<dyn Image>, ImageError> {
    let file: Arc<dyn ReadAt> = Arc::new(bytes::Bytes::from(bytes));
    super::open(file, Arc::new(NoSiblings))
}

/// Runs qemu-io commands on an image.
fn qemu_io(path: &str, commands: &[String]) {
    let program = qemu_img().with_file_name("qemu-io");
    let mut call = Command::new(program);
    call.args(["-f", "qcow2"]);
    for command in commands {
        call.args(["-c", command]);
    }
    let output = call.arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("failed"), "qemu-io {commands:?}: {said}");
}

fn options(capacity: u64) -> WriteOptions {
    WriteOptions {
        capacity,
        variant: None,
        compression: None,
        block_size: None,
        seed: [7; 32],
        time: 0,
        file_name: "disk.qcow2".to_owned(),
    }
}

fn compressed(capacity: u64, method: CompressionMethod) -> WriteOptions {
    let compression = Compression { method, level: None, window_bits: 15 };
    WriteOptions { compression: Some(compression), ..options(capacity) }
}
