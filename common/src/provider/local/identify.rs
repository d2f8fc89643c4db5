//! What kind of machine a file holds, by its content.

use std::path::Path;

use super::pipe::is_pipe;
use super::shown;
use crate::error::{Error, Result, ResultExt};
use crate::fs::FileBytes;
use crate::image::{ImageFormat, registry};
use crate::package::ova::PackageCompression;

/// Bytes at the front that tell text formats apart.
const HEAD: u64 = 4096;

/// What describes a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An OVF envelope with its files beside it.
    Ovf,
    /// An OVA package.
    Ova,
    /// A compressed OVA package.
    PackedOva(PackageCompression),
    /// A package that comes through a pipe, of which nothing was read yet.
    Piped,
    /// A VMX file.
    Vmx,
    /// A libvirt domain.
    Domain,
    /// A bare disk image; of this format, where its content tells.
    Image(Option<ImageFormat>),
}

/// The kind of the file at `path`. A file that nothing tells about is taken for an image whose
/// format the user must name.
///
/// # Errors
/// Those of opening and reading it.
pub(super) fn identify(path: &Path) -> Result<Kind> {
    if is_pipe(path) {
        return Ok(Kind::Piped);
    }
    let file = FileBytes::open(path)?;
    let mut head = vec![0; file.len().min(HEAD) as usize];
    file.read_exact_at(&mut head, 0).map_err(|e| Error::io("read", e)).subject(|| shown(path))?;
    if let Some(compression) = PackageCompression::detect(&head) {
        return Ok(Kind::PackedOva(compression));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Kind::Ova);
    }
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    if suffix.eq_ignore_ascii_case("vmx") {
        return Ok(Kind::Vmx);
    }
    if let Some(kind) = of_text(&head) {
        return Ok(kind);
    }
    Ok(Kind::Image(registry::detect(&file).subject(|| shown(path))?))
}

/// The kind of XML that `head` starts.
fn of_text(head: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('<') {
        return None;
    }
    // The first tag that is neither a comment nor an instruction.
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('<') {
        let end = match inner {
            _ if inner.starts_with("!--") => "-->",
            _ if inner.starts_with(['?', '!']) => ">",
            _ => {
                let word =
                    inner.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next()?;
                let local = word.rsplit(':').next().unwrap_or(word);
                return match local {
                    "Envelope" => Some(Kind::Ovf),
                    "domain" => Some(Kind::Domain),
                    _ => None,
                };
            }
        };
        rest = inner.split_once(end)?.1.trim_start();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_decides() {
        let ovf = b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <domain> -->\n<o:Envelope xmlns:o='x'>";
        assert_eq!(of_text(ovf), Some(Kind::Ovf));
        assert_eq!(of_text(b"<domain type='kvm'>"), Some(Kind::Domain));
        assert_eq!(of_text(b"<network/>"), None);
        assert_eq!(of_text(b"<!-- unfinished"), None);
        assert_eq!(of_text(b"plain"), None);
    }
}
