//! How a differencing VHD names its parent: up to eight locators and a name.

use std::sync::Arc;

use crate::image::blocks::{add_names, array, be32, be64, utf16};
use crate::image::{ImageError, ReadAt};

use super::header::DYNAMIC_HEADER;

/// A longer path than any platform takes is damage.
const PATH: u32 = 64 << 10;

/// What a differencing image says of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The identity that the parent must have.
    pub id: [u8; 16],
    /// When the parent file was last changed, as the child saw it: seconds since 2000.
    pub time: u32,
    /// Names to look for, best first, with `/` between folders.
    pub names: Vec<String>,
}

impl Parent {
    /// The parent that the dynamic disk header in `bytes` names.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where it names none; a failed read.
    pub fn parse(bytes: &[u8; DYNAMIC_HEADER], file: &Arc<dyn ReadAt>) -> Result<Self, ImageError> {
        let mut relative = Vec::new();
        let mut absolute = Vec::new();
        for at in (576..768).step_by(24) {
            let code = array::<4>(bytes, at);
            let len = be32(bytes, at + 8);
            let list = match &code {
                b"W2ru" | b"MacX" => &mut relative,
                b"W2ku" => &mut absolute,
                _ => continue,
            };
            if len == 0 || len > PATH {
                continue;
            }
            let mut path = vec![0; len as usize];
            file.read_exact_at(&mut path, be64(bytes, at + 16))?;
            list.push(if &code == b"MacX" {
                url_path(&path)
            } else {
                utf16(&path, u16::from_le_bytes)
            });
        }
        let title = utf16(bytes.get(64..576).unwrap_or_default(), u16::from_be_bytes);
        let mut names = Vec::new();
        for path in relative.into_iter().chain(absolute).chain([title]) {
            add_names(&path, &mut names);
        }
        if names.is_empty() {
            return Err(ImageError::corrupt("it has a parent disk and does not name it"));
        }
        Ok(Self { id: array(bytes, 40), time: be32(bytes, 56), names })
    }
}

/// The path of a `file://` URL.
fn url_path(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    text.strip_prefix("file://").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_files_are_paths() {
        assert_eq!(url_path(b"file://./parent.vhd\0"), "./parent.vhd");
        assert_eq!(url_path(b"parent.vhd"), "parent.vhd");
    }
}
