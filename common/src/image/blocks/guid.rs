//! GUIDs in images: derived, so that the same input gives the same bytes.

/// A GUID of version 4 (RFC 9562, first byte first) that depends on `seed` and `purpose` alone.
pub fn derive_guid(seed: &[u8; 32], purpose: &str) -> [u8; 16] {
    let hash = blake3::keyed_hash(seed, purpose.as_bytes());
    let mut guid = [0; 16];
    guid.copy_from_slice(&hash.as_bytes()[..16]);
    guid[6] = guid[6] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}

/// The usual text of a GUID in the order of RFC 9562, in lower case without braces.
pub fn guid_text(guid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in guid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_depend_on_seed_and_purpose_and_have_version_and_variant() {
        let one = derive_guid(&[1; 32], "disk");
        assert_eq!(one, derive_guid(&[1; 32], "disk"));
        assert_ne!(one, derive_guid(&[2; 32], "disk"));
        assert_ne!(one, derive_guid(&[1; 32], "link"));
        assert_eq!((one[6] >> 4, one[8] >> 6), (4, 2));
    }
}
