//! Finding zeros.

/// Whether all bytes are zero. Stops at the first that is not.
pub fn is_zero(bytes: &[u8]) -> bool {
    // 64 bytes at a time compile to wide registers; most blocks of data end at the first step.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_set_bit_anywhere_is_seen() {
        for len in [0, 1, 63, 64, 65, 512, 4095] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in 0..len {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
