//! Backing files: finding them, and what shows through where an image has nothing itself.

use std::ops::Range;
use std::sync::Arc;

use super::header::Header;
use crate::image::coding::Unpacker;
use crate::image::{
    Block, Body, Extent, Extents, Image, ImageError, ImageFormat, Sibling, Siblings, registry,
};

/// Longest chain that is followed, as in QEMU's own recursion limit; a loop ends here too.
const DEPTH_MAX: u32 = 200;

/// How errors of backing files begin.
const BACKING: &str = "backing file ";

/// Opens the backing file that `header` names. `depth` counts the images above it.
///
/// # Errors
/// Whatever opening it gives, with its name put in front; [`ImageError::Unsupported`] where its
/// format is neither stated nor certain; [`ImageError::Corrupt`] for an endless chain.
pub fn open_backing(
    header: &Header,
    folder: &Arc<dyn Siblings>,
    depth: u32,
) -> Result<Option<Box<dyn Image>>, ImageError> {
    let Some(name) = &header.backing else { return Ok(None) };
    if depth >= DEPTH_MAX {
        return Err(ImageError::corrupt(format!(
            "its chain of backing files loops, or is longer than {DEPTH_MAX}"
        )));
    }
    let sibling = open_named(&**folder, name)?;
    let called = sibling.name.clone();
    open_sibling(sibling, header.backing_format.as_deref(), depth)
        .map(Some)
        .map_err(|error| within(&called, error))
}

/// Opens a file by the name that an image gives it.
pub fn open_named(folder: &dyn Siblings, name: &str) -> Result<Sibling, ImageError> {
    if name.starts_with("json:") {
        return Err(ImageError::unsupported(format!(
            "it names another file by a description ({name:?}), not by a path"
        )));
    }
    folder.open(name.strip_prefix("file:").unwrap_or(name))
}

fn open_sibling(
    sibling: Sibling,
    stated: Option<&str>,
    depth: u32,
) -> Result<Box<dyn Image>, ImageError> {
    let format = match stated {
        Some(word) => format_of(word)?,
        None => registry::detect(&*sibling.file)?.ok_or_else(|| {
            ImageError::unsupported(
                "the image above does not say what format it has, and to take it as raw would \
                 let a guest choose; say it with `qemu-img rebase -u -F raw`",
            )
        })?,
    };
    match format {
        ImageFormat::Qcow2 => super::decode::open_at(sibling.file, sibling.folder, depth + 1),
        other => registry::open(other, sibling.file, sibling.folder),
    }
}

/// The format by qemu's word for it.
fn format_of(word: &str) -> Result<ImageFormat, ImageError> {
    Ok(match word {
        "raw" | "file" => ImageFormat::Raw,
        "qcow2" => ImageFormat::Qcow2,
        "vmdk" => ImageFormat::Vmdk,
        "vpc" => ImageFormat::Vhd,
        "vhdx" => ImageFormat::Vhdx,
        "vdi" => ImageFormat::Vdi,
        other => return Err(ImageError::unsupported(format!("it has the format {other:?}"))),
    })
}

/// Says in which file of the chain something is wrong. The lowest name is enough: what the files
/// above it are called would only repeat.
fn within(name: &str, error: ImageError) -> ImageError {
    let say = |text: String| {
        if text.starts_with(BACKING) { text } else { format!("{BACKING}{name:?}: {text}") }
    };
    match error {
        ImageError::Corrupt(text) => ImageError::Corrupt(say(text)),
        ImageError::Truncated(text) => ImageError::Truncated(say(text)),
        ImageError::Unsupported(text) => ImageError::Unsupported(say(text)),
        ImageError::Limit(text) => ImageError::Limit(say(text)),
        ImageError::Outside(text) => ImageError::Outside(say(text)),
        ImageError::Missing(text) => ImageError::Missing(say(text)),
        ImageError::Io(io) => ImageError::Io(std::io::Error::new(io.kind(), say(io.to_string()))),
    }
}

/// The extents of `range` of an image that lies below. The range need not fit that image's
/// blocks, nor lie within its capacity: past its end there is a hole.
pub fn below(image: &dyn Image, range: Range<u64>) -> Extents<'_> {
    let block = u64::from(image.block_size());
    let inner = (range.start < image.capacity()).then(|| {
        let start = range.start / block * block;
        let end = range.end.checked_next_multiple_of(block).unwrap_or(u64::MAX);
        image.extents(start..end.min(image.capacity()))
    });
    Box::new(Below { inner, capacity: image.capacity(), rest: range })
}

struct Below<'a> {
    inner: Option<Extents<'a>>,
    capacity: u64,
    rest: Range<u64>,
}

impl Iterator for Below<'_> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let Some(inner) = &mut self.inner else {
                let range = std::mem::take(&mut self.rest);
                return Some(Ok(Extent { range, body: Body::Hole }));
            };
            let extent = match inner.next() {
                Some(Ok(extent)) => extent,
                Some(Err(error)) => {
                    self.rest = 0..0;
                    return Some(Err(error));
                }
                None if self.rest.start >= self.capacity => {
                    self.inner = None;
                    continue;
                }
                None => {
                    self.rest = 0..0;
                    return Some(Err(ImageError::corrupt("the backing file ends early")));
                }
            };
            let keep = extent.range.start.max(self.rest.start)..extent.range.end.min(self.rest.end);
            if !keep.is_empty() {
                self.rest.start = keep.end;
                return Some(cut(extent, keep));
            }
        }
        None
    }
}

/// The part `keep` of an extent. A packed block is inflated for that: the image above has its
/// own, smaller, cluster in the midst of it.
fn cut(extent: Extent, keep: Range<u64>) -> Result<Extent, ImageError> {
    if keep == extent.range {
        return Ok(extent);
    }
    let skip = keep.start - extent.range.start;
    let part = skip as usize..(keep.end - extent.range.start) as usize;
    let gone = || ImageError::corrupt("a block of the backing file is too short");
    let body = match extent.body {
        Body::Hole => Body::Hole,
        Body::Zero => Body::Zero,
        Body::Data(Block::Stored { file, offset }) => {
            Body::Data(Block::Stored { file, offset: offset.checked_add(skip).ok_or_else(gone)? })
        }
        Body::Data(Block::Plain(bytes)) => {
            if part.end > bytes.len() {
                return Err(gone());
            }
            Body::Data(Block::Plain(bytes.slice(part)))
        }
        Body::Data(Block::Packed(packed)) => {
            let mut unit = vec![0; packed.unit as usize];
            let stream = packed.fetch()?;
            let got = Unpacker::new().unpack(packed.coding, &stream, &mut unit)?;
            if got.produced < part.end {
                return Err(gone());
            }
            Body::Data(Block::Plain(bytes::Bytes::from(unit).slice(part)))
        }
    };
    Ok(Extent { range: keep, body })
}
