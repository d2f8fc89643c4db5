//! Machines and images as files of this machine.

mod folder;
mod image;

pub use self::folder::{Folder, OpenedFiles};
pub use self::image::{LocalImage, format_of, open_image};
