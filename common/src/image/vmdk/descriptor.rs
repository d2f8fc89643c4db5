//! The text descriptor: which extents a disk is made of, what it stands on, what it is.

use crate::image::ImageError;

/// Largest descriptor that is read: room for a disk of 62 TiB in pieces of 2 GiB.
pub(super) const DESCRIPTOR_MAX: usize = 4 << 20;
/// Most extents of one disk.
const EXTENTS_MAX: usize = 1 << 16;
/// `parentCID` of a disk that stands on nothing.
const NO_PARENT: u32 = u32::MAX;

/// A parsed descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Descriptor {
    /// The content id, which a child names as `parentCID`.
    pub cid: Option<u32>,
    /// The content id that the image below must have; `None` where there is none below.
    pub parent_cid: Option<u32>,
    /// Where the image below is.
    pub parent_hint: Option<String>,
    /// The disk's type in VMware's word.
    pub create_type: String,
    /// The extents in guest order.
    pub extents: Vec<ExtentLine>,
    /// What of it says that the data is encrypted.
    pub encryption: Option<String>,
    /// Lines of the disk database that people ask for: name and value.
    pub database: Vec<(String, String)>,
}

/// One extent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ExtentLine {
    /// Guest sectors.
    pub sectors: u64,
    /// How the data is stored.
    pub kind: ExtentKind,
    /// The file; empty for [`ExtentKind::Zero`].
    pub file: String,
    /// First sector in the file, for flat extents.
    pub offset: u64,
}

/// How an extent's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ExtentKind {
    /// Guest bytes as they are (`FLAT`, `VMFS`).
    Flat,
    /// A file with a header of its own (`SPARSE`, `VMFSSPARSE`).
    Sparse,
    /// Reads as zero.
    Zero,
}

/// Whether `head` starts like a text descriptor: the customary first line, or a `version=` as
/// the first line that is no comment, which is what VMware's own reader goes by.
pub(super) fn looks_like_descriptor(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    loop {
        let Some(line) = lines.next() else { return false };
        if line.eq_ignore_ascii_case(b"# Disk DescriptorFile") {
            return true;
        }
        if !line.is_empty() && !line.starts_with(b"#") {
            let lower = head.to_ascii_lowercase();
            return line.starts_with(b"version=")
                && lower.windows(11).any(|window| window == b"createtype=");
        }
    }
}

impl Descriptor {
    /// Parses a descriptor, up to the first NUL byte.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, ImageError> {
        if raw.len() > DESCRIPTOR_MAX {
            return Err(ImageError::corrupt("the VMDK descriptor is larger than 4 MiB"));
        }
        let text = decode(raw)?;
        let mut found = Self {
            cid: None,
            parent_cid: None,
            parent_hint: None,
            create_type: String::new(),
            extents: Vec::new(),
            encryption: None,
            database: Vec::new(),
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_whitespace().next() {
                Some("RW" | "RDONLY" | "NOACCESS") => found.add_extent(line)?,
                _ => found.add_setting(line)?,
            }
        }
        Ok(found)
    }

    /// Guest sectors of all extents.
    pub(super) fn sectors(&self) -> Result<u64, ImageError> {
        self.extents
            .iter()
            .try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors))
            .filter(|sum| *sum < 1 << 53)
            .ok_or_else(|| ImageError::corrupt("the VMDK descriptor's extents make no sane size"))
    }

    fn add_extent(&mut self, line: &str) -> Result<(), ImageError> {
        if self.extents.len() == EXTENTS_MAX {
            return Err(ImageError::corrupt("the VMDK descriptor names more than 65536 extents"));
        }
        self.extents.push(parse_extent(line)?);
        Ok(())
    }

    fn add_setting(&mut self, line: &str) -> Result<(), ImageError> {
        let Some((name, value)) = line.split_once('=') else { return Ok(()) };
        let (name, value) = (name.trim(), value.trim());
        let value = value.strip_prefix('"').unwrap_or(value);
        let value = value.strip_suffix('"').unwrap_or(value);
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "cid" => self.cid = self.cid.or(Some(parse_cid(name, value)?)),
            "parentcid" if self.parent_cid.is_none() => {
                self.parent_cid = Some(parse_cid(name, value)?).filter(|cid| *cid != NO_PARENT);
            }
            "parentfilenamehint" if self.parent_hint.is_none() => {
                self.parent_hint = Some(value.to_owned());
            }
            "createtype" if self.create_type.is_empty() => value.clone_into(&mut self.create_type),
            "keyid" | "encryptionkeys" => self.encryption = Some(name.to_owned()),
            "ddb.iofilters" if value.contains("crypt") => self.encryption = Some(value.to_owned()),
            "ddb.adaptertype"
            | "ddb.virtualhwversion"
            | "ddb.longcontentid"
            | "ddb.uuid"
            | "ddb.toolsversion"
            | "ddb.thinprovisioned"
                if self.database.len() < 16 =>
            {
                self.database.push((name[4..].to_owned(), value.to_owned()));
            }
            other if other.starts_with("encryption.") => self.encryption = Some(name.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// The text in UTF-8. Other encodings only matter for file names; those that cannot be told are
/// refused rather than guessed.
fn decode(raw: &[u8]) -> Result<String, ImageError> {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    let raw = raw[..end].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw[..end]);
    if let Ok(text) = std::str::from_utf8(raw) {
        return Ok(text.to_owned());
    }
    // Bytes above 0x9f mean the same in windows-1252 as in Unicode.
    let latin: String = raw.iter().map(|byte| char::from(*byte)).collect();
    let lower = latin.to_ascii_lowercase();
    if lower.contains("windows-1252") && !latin.chars().any(|c| ('\u{80}'..'\u{a0}').contains(&c)) {
        return Ok(latin);
    }
    Err(ImageError::unsupported("the VMDK descriptor is not in UTF-8"))
}

fn parse_cid(name: &str, value: &str) -> Result<u32, ImageError> {
    u32::from_str_radix(value, 16)
        .map_err(|_| ImageError::corrupt(format!("{name}={value} is no content id")))
}

/// Parses `RW 4192256 SPARSE "disk-s001.vmdk"` and `RW 8388608 FLAT "disk-flat.vmdk" 0`.
fn parse_extent(line: &str) -> Result<ExtentLine, ImageError> {
    let wrong = || ImageError::corrupt(format!("no extent of a VMDK: {}", shorten(line)));
    let (front, quoted) = match line.split_once('"') {
        Some((front, rest)) => (front, Some(rest.rsplit_once('"').ok_or_else(wrong)?)),
        None => (line, None),
    };
    let mut words = front.split_whitespace();
    let access = words.next().ok_or_else(wrong)?;
    let sectors = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let kind = match words.next().ok_or_else(wrong)? {
        "FLAT" | "VMFS" => ExtentKind::Flat,
        "SPARSE" | "VMFSSPARSE" => ExtentKind::Sparse,
        "ZERO" => ExtentKind::Zero,
        "SESPARSE" => {
            let text = "a space-efficient (SESPARSE) snapshot of ESXi; consolidate it first";
            return Err(ImageError::unsupported(text));
        }
        other => return Err(refuse(other, line)),
    };
    if access == "NOACCESS" && kind != ExtentKind::Zero {
        return Err(ImageError::unsupported(format!(
            "an extent without access: {}",
            shorten(line)
        )));
    }
    let (file, rest) = quoted.unwrap_or_default();
    if words.next().is_some() || (kind != ExtentKind::Zero && file.is_empty()) {
        return Err(wrong());
    }
    let offset = match rest.split_whitespace().next() {
        Some(word) => word.parse().map_err(|_| wrong())?,
        None => 0,
    };
    Ok(ExtentLine { sectors, kind, file: file.to_owned(), offset })
}

fn refuse(kind: &str, line: &str) -> ImageError {
    if kind.starts_with("VMFSR") {
        return ImageError::unsupported(format!("a raw device mapping ({kind}), not an image"));
    }
    ImageError::unsupported(format!("an extent of a type that is not known: {}", shorten(line)))
}

/// As much of a hostile line as an error message should show.
fn shorten(line: &str) -> String {
    line.chars().take(80).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_case_and_blanks_do_not() {
        let text = "# Disk DescriptorFile\r\nversion=1\r\nCID = 0000abcd\r\nCID=1\r\n\
                    PARENTCID=FFFFFFFF\r\ncreateType = \"vmfs\"\r\n\
                    ddb.adapterType = \"ide\"\r\nRW 8 VMFS \"a \"quoted\" name.vmdk\"\r\n";
        let found = Descriptor::parse(text.as_bytes()).unwrap();
        assert_eq!((found.cid, found.parent_cid), (Some(0xabcd), None));
        assert_eq!(found.create_type, "vmfs");
        assert_eq!(found.database, [("adapterType".to_owned(), "ide".to_owned())]);
        assert_eq!(found.extents[0].file, "a \"quoted\" name.vmdk");
        assert!(Descriptor::parse(b"CID=xyz").is_err());
    }

    #[test]
    fn what_follows_a_nul_byte_is_padding() {
        let found = Descriptor::parse(b"CID=1\nRW 8 ZERO\n\0RW 8 ZERO\n").unwrap();
        assert_eq!(found.extents.len(), 1);
    }

    #[test]
    fn names_in_windows_1252_are_read_and_unknown_encodings_are_not_guessed() {
        let name = b"encoding=\"windows-1252\"\nRW 8 SPARSE \"f\xfcr.vmdk\"\n";
        assert_eq!(Descriptor::parse(name).unwrap().extents[0].file, "f\u{fc}r.vmdk");
        let name = b"encoding=\"GBK\"\nRW 8 SPARSE \"f\xfcr.vmdk\"\n";
        assert!(matches!(Descriptor::parse(name), Err(ImageError::Unsupported(_))));
    }
}
