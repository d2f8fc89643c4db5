//! The manifest of an OVF package (`.mf`): one digest per file, as DSP0243 section 6 has it.
//! Writers differ in spacing and case; all are read. Written is `SHA256(name)= hex`, which is
//! what ovftool, VirtualBox and govc read.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Largest manifest in bytes that is read.
pub const LARGEST_MANIFEST: u64 = 4 << 20;

/// A digest that manifests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// FIPS 180-4 SHA-1, the only one that OVF 1.0 knows.
    Sha1,
    /// FIPS 180-4 SHA-256, the usual one.
    Sha256,
    /// FIPS 180-4 SHA-512; read, never written.
    Sha512,
}

impl Digest {
    /// The word on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of its hexadecimal text.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase().replace('-', "");
        [Self::Sha1, Self::Sha256, Self::Sha512].into_iter().find(|digest| digest.name() == word)
    }
}

/// One line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// How its digest was made.
    pub digest: Digest,
    /// The digest in lower-case hex.
    pub hex: String,
}

/// A manifest: its lines in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The lines.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Parses a manifest in any dialect: `SHA256(name)= hex`, `SHA256 (name) = HEX`. Empty lines
    /// and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// `Integrity` for a line that is none, a digest of the wrong length, or a file named twice
    /// with different digests of one kind.
    pub fn parse(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = parse_line(line).ok_or_else(|| {
                let shown: String = line.chars().take(80).collect();
                Error::integrity(format!("line {} of the manifest is none: {shown:?}", at + 1))
            })?;
            let known = manifest.of(&entry.name, entry.digest);
            if known.is_some_and(|hex| hex != entry.hex) {
                let name = entry.name;
                return Err(Error::integrity(format!("the manifest names {name:?} twice")));
            }
            manifest.entries.push(entry);
        }
        Ok(manifest)
    }

    /// The digest of one kind of one file, in lower-case hex.
    fn of(&self, name: &str, digest: Digest) -> Option<&str> {
        let mut lines = self.entries.iter();
        let found = lines.find(|entry| entry.name == name && entry.digest == digest)?;
        Some(&found.hex)
    }

    /// The strongest digest that the manifest has for a file.
    pub fn digest_of(&self, name: &str) -> Option<&Entry> {
        let lines = self.entries.iter().filter(|entry| entry.name == name);
        lines.max_by_key(|entry| entry.digest.hex_len())
    }

    /// Adds a line.
    pub fn push(&mut self, name: impl Into<String>, digest: Digest, hex: impl Into<String>) {
        self.entries.push(Entry { name: name.into(), digest, hex: hex.into() });
    }

    /// The manifest as text, each line ending in a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Entry { name, digest, hex } in &self.entries {
            let word = digest.name().to_ascii_uppercase();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word}({name})= {hex}");
        }
        text
    }
}

/// `WORD(name)= hex`; the name may hold brackets itself, so the last `)` before `=` ends it.
fn parse_line(line: &str) -> Option<Entry> {
    let (head, hex) = line.rsplit_once('=')?;
    let (word, name) = head.trim_end().strip_suffix(')')?.split_once('(')?;
    let digest = Digest::of_word(word)?;
    let hex = hex.trim().to_ascii_lowercase();
    let proper = hex.len() == digest.hex_len() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.strip_prefix("./").unwrap_or(name);
    (proper && !name.is_empty()).then(|| Entry { name: name.to_owned(), digest, hex })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_dialects_are_read() {
        let (one, two, five) = ("a1".repeat(20), "B2".repeat(32), "c3".repeat(64));
        let text = format!(
            "\u{feff}SHA1(disk (1).vmdk)= {one}\r\n\r\n# made by hand\nSHA256 (disk (1).vmdk) = {two}\n\
             SHA-512(b=c.ovf)={five}\n"
        );
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.entries.len(), 3);
        let best = manifest.digest_of("disk (1).vmdk").unwrap();
        assert_eq!((best.digest, best.hex.as_str()), (Digest::Sha256, "b2".repeat(32).as_str()));
        assert_eq!(manifest.digest_of("b=c.ovf").unwrap().digest, Digest::Sha512);
        assert_eq!(manifest.digest_of("c"), None);
    }

    #[test]
    fn wrong_lines_are_refused() {
        let hex = "a1".repeat(20);
        for line in [
            "nonsense".to_owned(),
            format!("MD5(a)= {hex}"),
            format!("SHA256(a)= {hex}"),
            format!("SHA1()= {hex}"),
            format!("SHA1(a)= {}", "zz".repeat(20)),
            format!("SHA1(a)= {hex}\nSHA1(a)= {}", "b1".repeat(20)),
        ] {
            let error = Manifest::parse(&line).unwrap_err();
            assert_eq!(error.kind().exit_status(), 9, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            lines in proptest::collection::btree_map("[ a-z(=)._-]{1,20}[a-z]", "[0-9a-f]{64}", 0..5)
        ) {
            let mut manifest = Manifest::default();
            for (name, hex) in lines {
                manifest.push(name, Digest::Sha256, hex);
            }
            prop_assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
        }

        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,200}") {
            let _ = Manifest::parse(&text);
        }
    }
}
