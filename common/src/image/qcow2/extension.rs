//! Header extensions.

use super::header::{Header, be32, be64};
use crate::image::{ImageError, ReadAt};

const EXT_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXT_FEATURES: u32 = 0x6803_f857;
const EXT_BITMAPS: u32 = 0x2385_2875;
const EXT_DATA_FILE: u32 = 0x4441_5441;

/// What the header extensions say.
#[derive(Debug, Default)]
pub struct Extensions {
    /// The backing file's format.
    pub backing_format: Option<String>,
    /// The external data file's name.
    pub data_file: Option<String>,
    /// The directory of dirty bitmaps: file offset, bytes and number of entries.
    pub bitmaps: Option<(u64, u64, u32)>,
    features: Vec<u8>,
}

impl Extensions {
    /// Reads the extensions between the header and the backing file's name (or the end of the
    /// first cluster).
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] where one leaves that area.
    pub fn read(
        file: &dyn ReadAt,
        header: &Header,
        header_len: u32,
        backing_offset: u64,
    ) -> Result<Self, ImageError> {
        let mut end = header.cluster().min(file.len());
        if backing_offset != 0 {
            end = end.min(backing_offset);
        }
        let mut area = vec![0; end.saturating_sub(u64::from(header_len)) as usize];
        file.read_exact_at(&mut area, u64::from(header_len))?;
        let mut found = Self::default();
        let mut rest = area.as_slice();
        while rest.len() >= 8 {
            let (kind, len) = (be32(rest, 0), be32(rest, 4) as usize);
            if kind == 0 {
                break;
            }
            let Some(data) = rest.get(8..8usize.saturating_add(len)) else {
                return Err(ImageError::corrupt("a header extension leaves the header"));
            };
            found.take(kind, data);
            rest = rest.get(8 + len.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(found)
    }

    fn take(&mut self, kind: u32, data: &[u8]) {
        let text = || Some(String::from_utf8_lossy(data).into_owned());
        match kind {
            EXT_BACKING_FORMAT => self.backing_format = text(),
            EXT_DATA_FILE => self.data_file = text(),
            EXT_FEATURES => self.features = data.to_vec(),
            EXT_BITMAPS if data.len() >= 24 => {
                self.bitmaps = Some((be64(data, 16), be64(data, 8), be32(data, 0)));
            }
            _ => {}
        }
    }

    /// The image's own name for an incompatible feature.
    pub fn feature_name(&self, bit: u32) -> String {
        let entry = self
            .features
            .chunks_exact(48)
            .find(|entry| entry[0] == 0 && u32::from(entry[1]) == bit);
        let name = entry.map_or(&[][..], |entry| &entry[2..]);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        format!("{:?}", String::from_utf8_lossy(name))
    }
}
