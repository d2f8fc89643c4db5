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

/// Turns the order of RFC 9562 into Microsoft's (first three fields little-endian), and back.
pub const fn swap_guid(guid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = guid;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
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

    #[test]
    fn microsoft_order_swaps_the_first_three_fields() {
        let guid = 0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08_u128.to_be_bytes();
        assert_eq!(guid_text(&guid), "2dc27766-f623-4200-9d64-115e9bfd4a08");
        assert_eq!(swap_guid(guid)[..8], [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42]);
        assert_eq!(swap_guid(swap_guid(guid)), guid);
    }
}
