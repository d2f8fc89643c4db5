//! What the tests of every format share: a plain driver of [`Format`](super::Format)s, readers
//! that check the contract of [`Extents`](super::Extents) on the way, made-up disks, and qemu-img
//! as the judge.

mod disk;
mod drive;
mod judge;
mod reader;

pub use self::disk::{Random, plain, scattered};
pub use self::drive::{Resume, prepare, write_file, write_image};
pub use self::judge::{TestFile, compare_with_raw, qemu_img, run_qemu_img, try_qemu_img};
pub use self::reader::{load, read_all, read_stream};
