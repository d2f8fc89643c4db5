//! How a differencing VHDX names its parent ([MS-VHDX] 2.6.2.6).

use crate::image::ImageError;
use crate::image::blocks::{add_names, array, le16, le32, utf16};

use super::header::guid;

/// The only kind of locator there is.
const VHDX: [u8; 16] = guid(0xb04a_efb7_d19e_4a81_b789_25b8_e944_5913);

/// More entries than this are damage; Windows writes five.
const ENTRIES: usize = 64;

/// What a differencing image says of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The data-write GUIDs that the parent may have, as text in lower case without braces.
    pub linkage: Vec<String>,
    /// Names to look for, best first, with `/` between folders.
    pub names: Vec<String>,
}

impl Parent {
    /// Parses the parent locator item.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where it lacks linkage or names, [`ImageError::Unsupported`] for
    /// another kind of locator.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if array(bytes, 0) != VHDX {
            return Err(ImageError::unsupported("its parent locator is of an unknown kind"));
        }
        let count = usize::from(le16(bytes, 18));
        if count > ENTRIES {
            return Err(ImageError::corrupt(format!("its parent locator has {count} entries")));
        }
        let text = |at: u32, len: u16| {
            let at = at as usize;
            let part = bytes.get(at..at.saturating_add(len.into())).unwrap_or_default();
            utf16(part, u16::from_le_bytes)
        };
        let entries: Vec<_> = bytes
            .get(20..)
            .unwrap_or_default()
            .chunks_exact(12)
            .take(count)
            .map(|entry| {
                let key = text(le32(entry, 0), le16(entry, 8));
                (key, text(le32(entry, 4), le16(entry, 10)))
            })
            .collect();
        let values = |name: &'static str| {
            entries.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
        };
        let linkage: Vec<_> = values("parent_linkage")
            .chain(values("parent_linkage2"))
            .map(|value| value.trim_matches(['{', '}']).to_ascii_lowercase())
            .collect();
        let mut names = Vec::new();
        for key in ["relative_path", "absolute_win32_path", "volume_path"] {
            values(key).for_each(|path| add_names(path, &mut names));
        }
        if linkage.is_empty() || names.is_empty() {
            return Err(ImageError::corrupt("it has a parent disk and does not name it"));
        }
        Ok(Self { linkage, names })
    }
}
