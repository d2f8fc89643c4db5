//! Fingerprints of certificates.

use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The SHA-1 or SHA-256 of a certificate as it stands on the wire (DER). SHA-1 is what vSphere
/// shows on its consoles and sends along with lease URLs; it identifies, it does not sign.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thumbprint(Vec<u8>);

impl Thumbprint {
    /// Whether `certificate` (DER) is the one meant.
    pub fn fits(&self, certificate: &[u8]) -> bool {
        match self.0.len() {
            20 => self.0.as_slice() == Sha1::digest(certificate).as_slice(),
            _ => self.0.as_slice() == Sha256::digest(certificate).as_slice(),
        }
    }

    /// The SHA-256 of `certificate` (DER).
    pub fn sha256(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).to_vec())
    }

    /// The SHA-1 of `certificate` (DER).
    pub fn sha1(certificate: &[u8]) -> Self {
        Self(Sha1::digest(certificate).to_vec())
    }
}

impl FromStr for Thumbprint {
    type Err = String;

    /// Reads hexadecimal digits, with or without colons or a leading `SHA1:` or `SHA256:`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "not a thumbprint: {text:?}; it is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits"
            )
        };
        let text = text.trim();
        let upper = text.to_ascii_uppercase();
        let digits = ["SHA256:", "SHA-256:", "SHA1:", "SHA-1:"]
            .iter()
            .find_map(|prefix| upper.strip_prefix(prefix))
            .unwrap_or(&upper);
        let mut bytes = Vec::with_capacity(32);
        let mut high = None;
        for digit in digits.chars().filter(|c| !matches!(c, ':' | ' ')) {
            let value =
                digit.to_digit(16).and_then(|it| u8::try_from(it).ok()).ok_or_else(wrong)?;
            match high.take() {
                None => high = Some(value),
                Some(first) => bytes.push(first << 4 | value),
            }
            if bytes.len() > 32 {
                return Err(wrong());
            }
        }
        match (high, bytes.len()) {
            (None, 20 | 32) => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_in_every_spelling() {
        let sha1 = Thumbprint::sha1(b"certificate");
        let sha256 = Thumbprint::sha256(b"certificate");
        for print in [&sha1, &sha256] {
            let shown = print.to_string();
            assert!(print.fits(b"certificate") && !print.fits(b"another"));
            assert_eq!(shown.parse::<Thumbprint>().as_ref(), Ok(print));
            assert_eq!(shown.replace(':', "").to_lowercase().parse().as_ref(), Ok(print));
        }
        assert_eq!(format!("SHA256:{sha256}").parse(), Ok(sha256));
        for wrong in ["", "AA:BB", "zz", &"0".repeat(41), &"0".repeat(66), &"0".repeat(4000)] {
            assert!(wrong.parse::<Thumbprint>().is_err(), "{wrong}");
        }
    }
}
