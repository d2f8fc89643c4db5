//! What is on the claims: bytes of image files, of uploads, or generated ones. A claim is known by
//! its id, so that another one of the same name is not taken for it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use hyper_common::error::Result;
use hyper_common::image::ReadAt;
use serde_json::Value;

use super::json::{hash, quantity, text};
use crate::vsphere::disk::{DiskImage, Store};

/// Where the bytes of a claim come from.
#[derive(Clone)]
enum Source {
    /// An image.
    Image(Arc<DiskImage>),
    /// Bytes as they are.
    Bytes(Arc<dyn ReadAt>),
}

/// All of them.
pub struct Disks {
    /// Makes the raw form of images.
    pub store: Store,
    all: Mutex<HashMap<String, (Source, bool)>>,
}

/// Bytes that a claim has room for.
pub fn size(claim: &Value) -> u64 {
    quantity(text(claim, "/spec/resources/requests/storage")).unwrap_or(1 << 30)
}

impl Disks {
    /// None yet.
    pub fn new(store: Store) -> Self {
        Self { store, all: Mutex::default() }
    }

    fn put(&self, claim: &str, source: Source, uploaded: bool) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(claim.to_owned(), (source, uploaded));
    }

    fn find(&self, claim: &str) -> Option<(Source, bool)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(claim).cloned()
    }

    /// Puts an image on a claim.
    pub fn image(&self, claim: &str, image: Arc<DiskImage>) {
        self.put(claim, Source::Image(image), false);
    }

    /// Puts what a client sent on a claim.
    pub fn upload(&self, claim: &str, file: File, len: u64) {
        self.put(claim, Source::Bytes(Arc::new(Stored { file, len })), true);
    }

    /// Puts an image that a client sent on a claim.
    pub fn received(&self, claim: &str, image: DiskImage) {
        self.put(claim, Source::Image(Arc::new(image)), true);
    }

    /// Forgets what is on a claim.
    pub fn drop(&self, claim: &str) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(claim);
    }

    /// Whether a client has filled a claim.
    pub fn uploaded(&self, claim: &str) -> bool {
        self.find(claim).is_some_and(|(_, uploaded)| uploaded)
    }

    /// Puts on a claim what is on another one at this moment.
    pub fn copy(&self, from: &str, to: &str) {
        match self.find(from) {
            Some((source, _)) => self.put(to, source, false),
            None => self.image(to, Arc::new(DiskImage::generated(hash(from)))),
        }
    }

    /// Puts nothing but zeros on a claim.
    pub fn blank(&self, claim: &str, len: u64) {
        self.put(claim, Source::Bytes(Arc::new(Zeros(len))), false);
    }

    /// The bytes on a claim. What nobody put anything on has generated ones.
    ///
    /// # Errors
    /// Those of converting an image.
    pub async fn bytes(&self, claim: &str) -> Result<Arc<dyn ReadAt>> {
        let source = match self.find(claim) {
            Some((source, _)) => source,
            None => {
                let image = Source::Image(Arc::new(DiskImage::generated(hash(claim))));
                self.put(claim, image.clone(), false);
                image
            }
        };
        match source {
            Source::Image(image) => self.store.flat(&image).await,
            Source::Bytes(bytes) => Ok(bytes),
        }
    }
}

/// Zeros.
#[derive(Debug)]
struct Zeros(u64);

impl ReadAt for Zeros {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> std::io::Result<()> {
        buffer.fill(0);
        Ok(())
    }
}

/// A file without a name.
#[derive(Debug)]
struct Stored {
    file: File,
    len: u64,
}

impl ReadAt for Stored {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }
}
