//! What every readable image offers, and what a stream of one offers.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Extent, ImageError, ImageFormat, ReadAt};

/// Extents in ascending order, disjoint and without gaps over the range that was asked for.
pub type Extents<'a> = Box<dyn Iterator<Item = Result<Extent, ImageError>> + Send + 'a>;

/// An opened image that can be read at any place. Opening checks the headers; walking checks each
/// table as it is met. Implementations keep only a bounded cache of tables, never all of them.
pub trait Image: Debug + Send + Sync {
    /// The bytes that the guest sees.
    fn capacity(&self) -> u64;

    /// Largest run that one packed block of this image (or of one below it) covers, a power of
    /// two of at least 512: ranges given to [`Image::extents`] start at a multiple of it.
    fn block_size(&self) -> u32;

    /// The extents of `range`, which starts at a multiple of [`Image::block_size`] and ends at one
    /// or at the capacity. Neighbouring runs of the same kind are joined where that is free:
    /// holes and zeros of any length come as one extent; stored data may be of any length.
    fn extents(&self, range: Range<u64>) -> Extents<'_>;

    /// What `hyper image inspect` prints.
    fn info(&self) -> ImageInfo;

    /// Checks everything about the structure that walking all extents does not: reference
    /// counts, checksums of headers, redundant copies, blocks that overlap. Findings that leave
    /// the guest bytes readable (leaks, a stale copy) are returned as text, one clause each;
    /// the first that does not is the error.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] or [`ImageError::Truncated`] for damage.
    fn check(&self) -> Result<Vec<String>, ImageError>;
}

/// An image that arrives in order and cannot be read twice (a pipe, a server's stream).
pub trait StreamImage: Send {
    /// The bytes that the guest sees; known once the stream is opened.
    fn capacity(&self) -> u64;

    /// Largest run that one packed block covers, as [`Image::block_size`].
    fn block_size(&self) -> u32;

    /// The next extent; ascending, disjoint, without gaps from 0 to the capacity. `None` after
    /// the last one, and only when the stream ended as a whole image does: every block that its
    /// tables name was seen, and footer and end marker where the layout has them.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] where the stream ends early, [`ImageError::Corrupt`] where it
    /// contradicts itself.
    fn next(&mut self) -> Result<Option<Extent>, ImageError>;
}

/// The facts that `hyper image inspect` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The format.
    pub format: ImageFormat,
    /// The variant within the format, in the field's own word: `streamOptimized`, `v3`, `dynamic`.
    pub variant: String,
    /// Bytes that the guest sees.
    pub capacity_bytes: u64,
    /// Allocation unit in bytes (cluster, grain, block), where the format has one.
    pub block_bytes: Option<u64>,
    /// How clusters are compressed, where they are.
    pub compression: Option<String>,
    /// The name of the image below, as the image gives it.
    pub backing: Option<String>,
    /// Files that hold the data, other than the image itself, as the image gives them.
    pub extent_files: Vec<String>,
    /// Further facts of the format: identifiers, creator, flags; name and value.
    pub details: Vec<(String, String)>,
}

/// A file beside an image that the image names: an extent, a backing file.
#[derive(Debug)]
pub struct Sibling {
    /// The file.
    pub file: Arc<dyn ReadAt>,
    /// Where names inside that file are looked up.
    pub folder: Arc<dyn Siblings>,
    /// How messages call it.
    pub name: String,
}

/// Opens the files that an image names. Implementations refuse, with [`ImageError::Outside`],
/// whatever lies outside the image's own folder and was not allowed by the user.
pub trait Siblings: Debug + Send + Sync {
    /// Opens `name` as the image gives it (relative, absolute or a URL-like name).
    ///
    /// # Errors
    /// [`ImageError::Outside`] where the name is refused, [`ImageError::Missing`] where nothing is
    /// there; the operating
    /// system's error otherwise.
    fn open(&self, name: &str) -> Result<Sibling, ImageError>;
}

/// No siblings: for an image that stands alone (a pipe, bytes in memory).
#[derive(Debug, Clone, Copy)]
pub struct NoSiblings;

impl Siblings for NoSiblings {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        Err(ImageError::Outside(format!("it names another file, {name:?}, which is not at hand")))
    }
}
