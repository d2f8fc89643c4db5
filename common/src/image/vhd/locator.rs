//! How a differencing VHD names its parent: up to eight locators and a name.

use std::sync::Arc;

use crate::image::blocks::{array, be32, be64};
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

/// Text up to the first zero.
fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| order(array(pair, 0)));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The path of a `file://` URL.
fn url_path(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    text.strip_prefix("file://").unwrap_or(text).to_owned()
}

/// The names to try for `path`: the path as it is (where it is not Windows' own), then the
/// file's name alone, which is where a parent copied along with its child is.
fn add_names(path: &str, names: &mut Vec<String>) {
    let path = path.replace('\\', "/");
    let path = path.trim_start_matches("./");
    let last = path.rsplit('/').next().unwrap_or_default();
    let path = if path.as_bytes().get(1) == Some(&b':') { "" } else { path };
    for name in [path, last] {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_from_the_relative_path_to_the_bare_name() {
        let mut names = Vec::new();
        add_names(".\\base\\parent.vhd", &mut names);
        add_names("C:\\VMs\\base\\parent.vhd", &mut names);
        add_names("/srv/other.vhd", &mut names);
        assert_eq!(names, ["base/parent.vhd", "parent.vhd", "/srv/other.vhd", "other.vhd"]);
        assert_eq!(url_path(b"file://./parent.vhd\0"), "./parent.vhd");
    }
}
