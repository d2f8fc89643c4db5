//! Finding bytes whose values are spread as evenly as those of compressed data.

/// Stretches of a unit that are looked at, spread evenly.
const STRETCHES: usize = 8;
/// Bytes of a stretch.
const STRETCH: usize = 512;
/// Pearson's chi-square of the bytes' values against an even spread, up to which they count as
/// even: random bytes have 255 ± 23. With this much more, coding each byte by its frequency saves
/// at most 0.6 % of it.
const EVEN: u64 = 512;

/// Whether no value of a byte stands out, by a sample of `bytes`. What is shorter than two samples
/// is never even.
pub fn is_even(bytes: &[u8]) -> bool {
    const SAMPLE: u64 = (STRETCHES * STRETCH) as u64;
    if bytes.len() < 2 * STRETCHES * STRETCH {
        return false;
    }
    let mut counts = [0_u32; 256];
    for stretch in bytes.chunks_exact(bytes.len() / STRETCHES).take(STRETCHES) {
        for byte in &stretch[..STRETCH] {
            counts[usize::from(*byte)] += 1;
        }
    }
    let squares: u64 = counts.iter().map(|count| u64::from(*count).pow(2)).sum();
    squares * 256 / SAMPLE < SAMPLE + EVEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::Random;

    fn noise(len: usize) -> Vec<u8> {
        Random(1).bytes(len)
    }

    #[test]
    fn noise_is_even() {
        assert!(is_even(&noise(65_536)));
        assert!(!is_even(&noise(4_096)), "too short to tell");
    }

    #[test]
    fn text_tables_and_zeros_in_noise_are_not() {
        let text = b"a sentence such as this one, again and again, ".repeat(2_000);
        assert!(!is_even(&text[..65_536]));
        let table: Vec<u8> = (0..16_384_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        assert!(!is_even(&table));
        let mut half = noise(65_536);
        half[20_000..30_000].fill(0);
        assert!(!is_even(&half));
    }
}
