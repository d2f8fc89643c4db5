//! Files on the local disk, and qemu-img as the judge of them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use crate::image::ReadAt;

/// A local file as tests read it, holes of the file system included.
#[derive(Debug)]
pub struct TestFile {
    file: File,
    len: u64,
}

impl TestFile {
    /// Opens `path` for reading.
    pub fn open(path: impl AsRef<Path>) -> Arc<dyn ReadAt> {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Arc::new(Self { file, len })
    }
}

impl ReadAt for TestFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn next_data(&self, from: u64) -> Option<std::ops::Range<u64>> {
        use rustix::fs::{SeekFrom, seek};
        if from >= self.len {
            return None;
        }
        let start = seek(&self.file, SeekFrom::Data(from)).ok()?;
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(self.len);
        Some(start..end.min(self.len))
    }
}

/// Where qemu-img (or its neighbour qemu-io) is: `HYPER_TB_QEMU_IMG`, else on the path. The test
/// fails where it is not: a judge that is missing must not look like a verdict.
pub fn qemu_img() -> PathBuf {
    if let Some(named) = std::env::var_os("HYPER_TB_QEMU_IMG") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("qemu-img"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("this test needs qemu-img: run scripts/test"))
}

/// Runs qemu-img and returns what happened.
pub fn try_qemu_img(arguments: &[&str]) -> Output {
    Command::new(qemu_img()).args(arguments).output().unwrap()
}

/// Runs qemu-img, which must succeed, and returns its standard output.
pub fn run_qemu_img(arguments: &[&str]) -> String {
    let output = try_qemu_img(arguments);
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Holds `image` (in qemu's word for its format) against raw bytes in the file `raw`, by content.
pub fn compare_with_raw(format: &str, image: &Path, raw: &Path) {
    let (image, raw) = (image.to_str().unwrap(), raw.to_str().unwrap());
    run_qemu_img(&["compare", "-f", format, "-F", "raw", image, raw]);
}
