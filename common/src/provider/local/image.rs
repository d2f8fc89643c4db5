//! One image file of this machine, opened with all files that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, OpenedFiles};
use crate::error::{Error, Result, ResultExt};
use crate::image::{Image, ImageFormat, ReadAt, registry};

/// An opened image.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// The image.
    pub image: Arc<dyn Image>,
    /// Its format.
    pub format: ImageFormat,
    /// The file itself.
    pub file: Arc<dyn ReadAt>,
    /// The file and all that it names.
    pub files: OpenedFiles,
}

/// Opens `path`. Its format is the stated one, else what its content says, else raw where the
/// suffix says so; it is never guessed to be raw. Files that it names must lie in its folder or
/// below `allow`. Blocks; not for a tokio worker.
///
/// # Errors
/// `NotFound`; `Unsupported` where the format cannot be told or has features that are not handled;
/// `Integrity` for damage; `Auth` for named files outside.
pub fn open_image(
    path: &Path,
    stated: Option<ImageFormat>,
    allow: &[PathBuf],
) -> Result<LocalImage> {
    let subject = || path.display().to_string();
    let files = OpenedFiles::default();
    let file: Arc<dyn ReadAt> = files.open(path).subject(subject)?;
    let format = match stated {
        Some(format) => format,
        None => format_of(path, file.as_ref())?,
    };
    let folder = Folder::of_file(path, allow, files.clone())?;
    let image = registry::open(format, file.clone(), Arc::new(folder)).subject(subject)?;
    tracing::info!(
        stated = stated.is_some(),
        capacity = image.capacity(),
        block = image.block_size(),
        "opened {} as {format}",
        path.display()
    );
    for other in files.identities().iter().skip(1) {
        tracing::debug!("it reads {other} too");
    }
    Ok(LocalImage { image: image.into(), format, file, files })
}

/// The format of a file by its content, or raw by its suffix.
///
/// # Errors
/// `Integrity` where the suffix names a format and the content is not of it; `Unsupported` where
/// neither tells.
pub fn format_of(path: &Path, file: &dyn ReadAt) -> Result<ImageFormat> {
    let subject = || path.display().to_string();
    if let Some(format) = registry::detect(file).subject(subject)? {
        return Ok(format);
    }
    match ImageFormat::of_suffix(&path.to_string_lossy()) {
        Some(ImageFormat::Raw) => Ok(ImageFormat::Raw),
        Some(other) => {
            Err(Error::integrity(format!("its name says {other}, its content does not"))
                .with_subject(subject())
                .with_hint("give --from-format if the name is wrong"))
        }
        None => Err(Error::unsupported("its format cannot be told from its content")
            .with_subject(subject())
            .with_hint("give --from-format, such as --from-format raw")),
    }
}
