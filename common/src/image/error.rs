//! What can be wrong with an image.

use crate::error::{Error, ErrorKind};

/// Why an image cannot be read or written. Texts are clauses without a full stop that say what
/// is wrong and where, such as `"grain 17 lies at byte 4096, inside the header"`.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image contradicts its format or itself.
    #[error("{0}")]
    Corrupt(String),
    /// The image ends before its contents do.
    #[error("{0}")]
    Truncated(String),
    /// A feature that is not handled: encryption, an unreplayed log, an unknown version.
    #[error("{0}")]
    Unsupported(String),
    /// The format or target cannot hold it: a size limit.
    #[error("{0}")]
    Limit(String),
    /// Another file that the image names may not be opened.
    #[error("{0}")]
    Outside(String),
    /// Another file that the image names is not there.
    #[error("{0}")]
    Missing(String),
    /// A failed read or write of a file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl ImageError {
    /// A corrupt image; see [`ImageError::Corrupt`].
    pub fn corrupt(text: impl Into<String>) -> Self {
        Self::Corrupt(text.into())
    }

    /// An unsupported feature; see [`ImageError::Unsupported`].
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::Unsupported(text.into())
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::Corrupt(_) | ImageError::Truncated(_) => ErrorKind::Integrity,
            ImageError::Unsupported(_) | ImageError::Limit(_) => ErrorKind::Unsupported,
            ImageError::Outside(_) => ErrorKind::Auth,
            ImageError::Missing(_) => ErrorKind::NotFound,
            ImageError::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Self::new(ErrorKind::Integrity, "the image ends before its contents do");
            }
            ImageError::Io(io) => ErrorKind::of_io(io),
        };
        match error {
            // Bytes from a server: the reader has said all there is to say.
            ImageError::Io(io) => match io.downcast::<Self>() {
                Ok(own) => own,
                Err(io) => Self::new(kind, "read the image").with_source(io),
            },
            other => Self::new(kind, other.to_string()),
        }
    }
}
