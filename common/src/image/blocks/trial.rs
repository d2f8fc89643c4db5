//! What the tests of VHD, VHDX and VDI share on top of [`crate::image::testing`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use crate::image::testing::{Resume, TestFile, qemu_img, run_qemu_img, write_file};
use crate::image::{
    Block, Body, Extent, Format, Image, ImageError, NoSiblings, ReadAt, Sibling, Siblings, Variant,
    WriteOptions,
};

/// How a format is opened.
pub type Open = fn(Arc<dyn ReadAt>, Arc<dyn Siblings>) -> Result<Box<dyn Image>, ImageError>;

/// Options for a disk of `capacity` bytes.
pub fn options(capacity: u64, variant: Option<Variant>) -> WriteOptions {
    WriteOptions {
        capacity,
        variant,
        compression: None,
        block_size: None,
        seed: [42; 32],
        time: 1_700_000_000,
        file_name: "disk".to_owned(),
    }
}

/// Writes a disk to a new file in `folder`.
pub fn write(
    folder: &TempDir,
    name: &str,
    format: Box<dyn Format>,
    capacity: u64,
    extents: Vec<Extent>,
    resume: Option<Resume<'_>>,
) -> PathBuf {
    let path = folder.path().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    write_file(format, capacity, extents, &file, resume);
    path
}

/// Opens a file that stands alone.
pub fn open_path(open: Open, path: &Path) -> Box<dyn Image> {
    open(TestFile::open(path), Arc::new(NoSiblings)).unwrap()
}

/// Opens bytes that stand alone.
pub fn open_bytes(open: Open, bytes: Vec<u8>) -> Result<Box<dyn Image>, ImageError> {
    open(Arc::new(Bytes::from(bytes)), Arc::new(NoSiblings))
}

/// The disk size that qemu-img reads.
pub fn virtual_size(format: &str, path: &Path) -> u64 {
    let info = run_qemu_img(&["info", "--output=json", "-f", format, path.to_str().unwrap()]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    info["virtual-size"].as_u64().unwrap()
}

/// The raw bytes that qemu-img reads.
pub fn qemu_bytes(format: &str, path: &Path) -> Vec<u8> {
    let raw = path.with_extension("as-raw");
    let (from, to) = (path.to_str().unwrap(), raw.to_str().unwrap());
    run_qemu_img(&["convert", "-f", format, "-O", "raw", from, to]);
    std::fs::read(raw).unwrap()
}

/// Asserts that an error is about damage and returns its text.
pub fn corrupt(result: Result<impl Sized, ImageError>) -> String {
    match result.err().unwrap() {
        ImageError::Corrupt(text) | ImageError::Truncated(text) => text,
        other => panic!("not damage: {other:?}"),
    }
}

/// Overwrites a part of `file`.
pub fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Files by name: the folder of differencing disks.
#[derive(Debug, Clone, Default)]
pub struct Files(Vec<(String, Bytes)>);

impl Files {
    /// A folder of these files.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(files.into_iter().map(|(name, bytes)| (name, bytes.into())).collect())
    }

    /// Opens one of them as an image.
    pub fn image(&self, open: Open, name: &str) -> Result<Box<dyn Image>, ImageError> {
        let sibling = self.open(name)?;
        open(sibling.file, sibling.folder)
    }
}

impl Siblings for Files {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        let (name, bytes) = self
            .0
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| ImageError::Outside(format!("{name:?} is not there")))?;
        Ok(Sibling {
            file: Arc::new(bytes.clone()),
            folder: Arc::new(self.clone()),
            name: name.clone(),
        })
    }
}

/// Runs qemu-io with one command after the other.
pub fn qemu_io(format: &str, path: &Path, commands: &[String]) {
    let mut call = Command::new(qemu_img().with_file_name("qemu-io"));
    call.args(["-f", format]);
    for command in commands {
        call.args(["-c", command]);
    }
    let output = call.arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("failed"), "{said}{:?}", output.stderr);
}

/// A disk of holes but for `parts`: offset and bytes, ascending.
pub fn sparse(capacity: u64, parts: &[(u64, &[u8])]) -> Vec<Extent> {
    let mut extents = Vec::new();
    let mut at = 0;
    for (offset, bytes) in parts {
        if *offset > at {
            extents.push(Extent { range: at..*offset, body: Body::Hole });
        }
        at = offset + bytes.len() as u64;
        let body = Body::Data(Block::Plain(Bytes::copy_from_slice(bytes)));
        extents.push(Extent { range: *offset..at, body });
    }
    if at < capacity {
        extents.push(Extent { range: at..capacity, body: Body::Hole });
    }
    extents
}

/// The same disk as a sparse raw file.
pub fn sparse_raw(folder: &TempDir, capacity: u64, parts: &[(u64, &[u8])]) -> PathBuf {
    use std::os::unix::fs::FileExt;
    let path = folder.path().join("sparse.raw");
    let file = File::create(&path).unwrap();
    file.set_len(capacity).unwrap();
    for (offset, bytes) in parts {
        file.write_all_at(bytes, *offset).unwrap();
    }
    path
}

/// Walks a whole image that is mostly holes: the bytes of its data extents by offset, with the
/// contract of the walk checked.
pub fn data_of(image: &dyn Image) -> Vec<(u64, Vec<u8>)> {
    let mut at = 0;
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    for extent in image.extents(0..image.capacity()) {
        let extent = extent.unwrap();
        assert!(extent.range.start == at && !extent.is_empty());
        at = extent.range.end;
        if matches!(extent.body, Body::Data(_)) {
            found.push((extent.range.start, crate::image::testing::load(&extent)));
        }
    }
    assert_eq!(at, image.capacity());
    found
}

/// Opens, walks, checks and describes what may be garbage: it may fail, it must not panic, and
/// it must not answer outside of the contract.
pub fn survive(open: Open, bytes: Vec<u8>) {
    let Ok(image) = open_bytes(open, bytes) else { return };
    let _ = (image.info(), image.check());
    let mut at = 0;
    for extent in image.extents(0..image.capacity()).take(10_000) {
        let Ok(extent) = extent else { return };
        assert!(extent.range.start == at && extent.range.end <= image.capacity());
        assert!(!extent.is_empty());
        at = extent.range.end;
    }
}

/// Cuts `bytes` at many lengths, and flips bytes of its structures, named by `ranges`.
pub fn torment(open: Open, bytes: &[u8], ranges: &[std::ops::Range<usize>]) {
    for cut in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
        survive(open, bytes[..cut].to_vec());
    }
    let mut random = crate::image::testing::Random(99);
    for range in ranges {
        for at in range.clone() {
            let mut torn = bytes.to_vec();
            torn[at] ^= 1 << random.below(8);
            if random.below(2) == 0 {
                torn[at] = 0xff;
            }
            survive(open, torn);
        }
    }
}
