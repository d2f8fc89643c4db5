//! Reading qcow2 images.

use std::ops::Range;
use std::sync::Arc;

use super::backing::{open_backing, open_named};
use super::header::{DATA_FILE, DIRTY, Header, MAGIC};
use super::snapshot::read_snapshots;
use super::walk::Walk;
use crate::image::{
    Block, Body, Coding, Extents, Image, ImageError, ImageFormat, ImageInfo, ReadAt, Siblings,
};

/// Extents that `info` looks at to see whether clusters are compressed.
const LOOKED_AT: usize = 4096;

/// Whether `head`, the first bytes of a file, is that of a qcow image (of any version: what
/// [`open`] cannot read it refuses by name).
pub fn probe(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Opens a qcow2 image; the files that it names are looked up in `folder`.
///
/// # Errors
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for a damaged header,
/// [`ImageError::Unsupported`] for what is not handled (encryption, unknown features, images
/// marked corrupt, backing files of uncertain format), [`ImageError::Outside`] where a file that
/// it names is refused.
pub fn open(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    open_at(file, folder, 0)
}

/// As [`open`], for an image with `depth` images above it.
pub fn open_at(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
    depth: u32,
) -> Result<Box<dyn Image>, ImageError> {
    let header = Header::read(&*file)?;
    let data = if header.incompatible & DATA_FILE == 0 {
        file.clone()
    } else {
        let name = header.data_file.as_deref().ok_or_else(|| {
            ImageError::unsupported("its data is in another file that it does not name")
        })?;
        open_named(&*folder, name)?.file
    };
    let backing = open_backing(&header, &folder, depth)?;
    Ok(Box::new(Qcow2 { file, header, data, backing }))
}

/// An opened qcow2 image.
#[derive(Debug)]
pub struct Qcow2 {
    /// The image file.
    pub file: Arc<dyn ReadAt>,
    /// Its header.
    pub header: Header,
    /// Where plain clusters are: the image file or its external data file.
    pub data: Arc<dyn ReadAt>,
    /// The image below.
    pub backing: Option<Box<dyn Image>>,
}

impl Image for Qcow2 {
    fn capacity(&self) -> u64 {
        self.header.capacity
    }

    fn block_size(&self) -> u32 {
        let below = self.backing.as_ref().map_or(0, |image| image.block_size());
        below.max(1 << self.header.cluster_bits)
    }

    fn extents(&self, range: Range<u64>) -> Extents<'_> {
        Box::new(Walk::new(self, range))
    }

    fn info(&self) -> ImageInfo {
        let header = &self.header;
        ImageInfo {
            format: ImageFormat::Qcow2,
            variant: format!("v{}", header.version),
            capacity_bytes: header.capacity,
            block_bytes: Some(header.cluster()),
            compression: self.is_packed().then(|| coding_name(header.coding).to_owned()),
            backing: header.backing.clone(),
            extent_files: header.data_file.iter().cloned().collect(),
            details: self.details(),
        }
    }

    fn check(&self) -> Result<Vec<String>, ImageError> {
        super::check::check(self)
    }
}

impl Qcow2 {
    /// Whether the image has compressed clusters of its own, by a look at its first extents.
    fn is_packed(&self) -> bool {
        let own = Self {
            file: self.file.clone(),
            header: self.header.clone(),
            data: self.data.clone(),
            backing: None,
        };
        let mut first = Walk::new(&own, 0..self.header.capacity).take(LOOKED_AT).flatten();
        first.any(|extent| matches!(extent.body, Body::Data(Block::Packed(_))))
    }

    fn details(&self) -> Vec<(String, String)> {
        let header = &self.header;
        let mut details = vec![
            ("refcount_bits".to_owned(), (1 << header.refcount_order).to_string()),
            ("compression_type".to_owned(), coding_name(header.coding).to_owned()),
        ];
        let mut add = |name: &str, value: String| details.push((name.to_owned(), value));
        if let Some(format) = &header.backing_format {
            add("backing_format", format.clone());
        }
        if header.extended() {
            add("extended_l2", "true".to_owned());
        }
        if header.lazy_refcounts {
            add("lazy_refcounts", "true".to_owned());
        }
        if header.incompatible & DIRTY != 0 {
            add("dirty", "true (reference counts are stale, the data is not)".to_owned());
        }
        if let Some((_, _, count)) = header.bitmaps {
            add("bitmaps", count.to_string());
        }
        if header.snapshots > 0 {
            let names = match read_snapshots(&*self.file, header) {
                Ok((found, _)) => {
                    let names: Vec<_> = found.into_iter().take(16).map(|s| s.name).collect();
                    names.join(", ")
                }
                Err(error) => error.to_string(),
            };
            add("snapshots", format!("{} ({names})", header.snapshots));
        }
        details
    }
}

fn coding_name(coding: Coding) -> &'static str {
    match coding {
        Coding::Zlib | Coding::Deflate => "zlib",
        Coding::Zstd => "zstd",
    }
}
