//! Disk image formats: reading, writing, detecting. Nothing here opens files; formats see bytes
//! through [`ReadAt`] and answer with [`Extent`]s or [`WriteOp`]s. The engine in `transfer` and
//! the local provider call it.

mod blocks;
mod bytes;
pub mod coding;
mod error;
mod extent;
mod local;
pub mod qcow2;
pub mod raw;
mod read;
pub mod registry;
#[cfg(test)]
pub mod testing;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
mod write;

pub use self::bytes::{ReadAt, Window};
pub use self::error::ImageError;
pub use self::extent::{Block, Body, Coding, Extent, Frame, Packed, PackedAt};
pub use self::read::{Extents, Image, ImageInfo, NoSiblings, Sibling, Siblings, StreamImage};
pub use self::write::{
    Codec, Coded, CodedBody, Compression, CompressionMethod, Format, Layout, Pack, Variant,
    WriteOp, WriteOptions,
};

use serde::{Deserialize, Serialize};

/// A disk image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Bytes as the guest sees them.
    Raw,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// VMware virtual disk.
    Vmdk,
    /// Connectix/Microsoft virtual hard disk.
    Vhd,
    /// Microsoft virtual hard disk, version 2.
    Vhdx,
    /// VirtualBox disk image.
    Vdi,
}

impl ImageFormat {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vhd, Self::Vhdx, Self::Vdi];

    /// The name on the command line and in records, which is also the usual file suffix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }

    /// The format that a file name's suffix stands for (`.img` is raw, `.vpc` is VHD).
    pub fn of_suffix(name: &str) -> Option<Self> {
        let suffix = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match suffix.as_str() {
            "img" | "dd" => Some(Self::Raw),
            "vpc" => Some(Self::Vhd),
            other => Self::ALL.into_iter().find(|format| format.name() == other),
        }
    }
}

impl std::fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for ImageFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(text)).ok_or_else(
            || match text.to_ascii_lowercase().as_str() {
                "ova" | "ovf" => format!("{text} is a package: hyper export takes and makes those"),
                _ => format!("not one of raw, qcow2, vmdk, vhd, vhdx, vdi: {text:?}"),
            },
        )
    }
}
