//! Reading XML from strangers: no document type (hence no entities of its own), a bounded size
//! and number of nodes, and lookups by local name, because every writer of OVF has prefixes of
//! its own.

use roxmltree::{Document, Node, ParsingOptions};

use crate::error::{Error, Result};

/// Largest machine description in bytes; real ones have some tens of KiB.
pub const LARGEST_DESCRIPTION: u64 = 16 << 20;

/// Most elements and texts that a description may have; it bounds the memory for its tree.
const MOST_NODES: u32 = 400_000;

/// Decodes and parses `bytes`; `read` gets the document.
///
/// # Errors
/// `Integrity` where it is not well-formed UTF-8 XML, or too large to be a description; what
/// `read` says.
pub(super) fn with_document<T>(
    bytes: &[u8],
    read: impl FnOnce(&Document<'_>) -> Result<T>,
) -> Result<T> {
    if bytes.len() as u64 > LARGEST_DESCRIPTION {
        return Err(Error::integrity("it is too large to be a machine description"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::integrity("the description is not UTF-8 text"))?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
        .map_err(|e| Error::integrity("the description is not proper XML").with_source(e))?;
    read(&document)
}

/// The child elements called `name`, whatever their namespace.
pub(super) fn children<'a, 'i: 'a>(
    node: Node<'a, 'i>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The first child element called `name`.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// The trimmed text of the first child element called `name`, where there is any.
pub(super) fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The attribute called `name`, whatever its namespace, where it is not empty.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.attributes().find(|attribute| attribute.name() == name)?;
    Some(found.value().trim()).filter(|value| !value.is_empty())
}

/// A number that may be absent but not wrong.
///
/// # Errors
/// `Integrity` naming the `what` and its text.
pub(super) fn number<T: std::str::FromStr>(value: Option<&str>, what: &str) -> Result<Option<T>> {
    value
        .map(|value| {
            value
                .parse()
                .map_err(|_| Error::integrity(format!("{what} is not a usable number: {value:?}")))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, one_line};

    fn refusal(bytes: &[u8]) -> String {
        let error = with_document(bytes, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        one_line(&error)
    }

    #[test]
    fn entities_of_ones_own_are_refused() {
        let bomb = r#"<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>
            <a>&c;</a>"#;
        assert!(refusal(bomb.as_bytes()).contains("DTD"));
        let outside = r#"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#;
        assert!(refusal(outside.as_bytes()).contains("DTD"));
    }

    #[test]
    fn size_depth_and_encoding_are_bounded() {
        assert!(refusal(&vec![b' '; (16 << 20) + 1]).contains("too large"));
        assert!(refusal("<a>".repeat(5_000_000).as_bytes()).contains("XML"));
        assert!(refusal(format!("<a>{}</a>", "<b/>".repeat(400_001)).as_bytes()).contains("XML"));
        assert!(refusal(b"<a>\xff</a>").contains("UTF-8"));
        assert!(with_document("\u{feff}<a/>".as_bytes(), |_| Ok(())).is_ok());
    }
}
