//! Opening the images of a command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::image::{Image, ImageFormat};
use hyper_common::provider::local::{LocalImage, open_image};
use serde::Serialize;

use crate::args::OpenArgs;

/// How images are opened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OpenRequest {
    /// Their format, where stated.
    pub from_format: Option<ImageFormat>,
    /// Further folders in which files that they name may lie.
    pub allow_path: Vec<PathBuf>,
}

impl From<OpenArgs> for OpenRequest {
    fn from(args: OpenArgs) -> Self {
        Self { from_format: args.from_format, allow_path: args.allow_path }
    }
}

/// An opened image.
pub struct Opened {
    /// The image.
    pub image: Arc<dyn Image>,
    /// Its format.
    pub format: ImageFormat,
    /// Length of its file.
    pub size: u64,
    /// All its files.
    pub local: LocalImage,
}

/// Opens an image file, off tokio's workers.
pub async fn open(path: &Path, how: &OpenRequest) -> Result<Opened> {
    let (path, how) = (path.to_path_buf(), how.clone());
    let opened =
        tokio::task::spawn_blocking(move || open_image(&path, how.from_format, &how.allow_path));
    let local = opened
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "open an image").with_source(error))??;
    Ok(Opened { image: local.image.clone(), format: local.format, size: local.file.len(), local })
}
