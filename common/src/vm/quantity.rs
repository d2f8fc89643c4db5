//! Byte quantities as people type and read them: `4Gi`, `512M`, `1.5GiB`, `1048576`.
//!
//! Units are those of Kubernetes: `K M G T P E` are powers of 1000, `Ki Mi Gi Ti Pi Ei` powers of
//! 1024; a `B` may follow; upper and lower case mean the same.

/// Prefixes in ascending order: the letter and its power.
const PREFIXES: [(char, u32); 6] = [('k', 1), ('m', 2), ('g', 3), ('t', 4), ('p', 5), ('e', 6)];

/// The bytes that `text` stands for. A fraction must come to whole bytes.
///
/// # Errors
/// A clause that says what is wrong, fit for clap: no number, an unknown unit, a fraction of a
/// byte, or more than 2^64 - 1.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let scale = parse_unit(unit.trim_start())
        .ok_or_else(|| format!("{:?} is no unit of bytes (try Mi, Gi, M, G)", unit.trim()))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(format!("{text:?} does not start with a number"));
    }
    let too_large = || format!("{text:?} is more than 16 EiB");
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let total = whole
        .checked_mul(scale)
        .and_then(|bytes| bytes.checked_add(fraction_of(fraction, scale)?))
        .ok_or_else(|| format!("{text:?} is not a whole number of bytes that fits 64 bits"))?;
    u64::try_from(total).map_err(|_| too_large())
}

/// The shortest text that [`parse_bytes`] reads back as exactly `bytes`: the largest unit of 1024
/// that divides it, else the bare number.
pub fn format_bytes(bytes: u64) -> String {
    for (letter, power) in PREFIXES.into_iter().rev() {
        let unit = 1_u64 << (10 * power);
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{}i", bytes / unit, letter.to_ascii_uppercase());
        }
    }
    bytes.to_string()
}

/// The bytes of one unit; `None` for a word that is none.
fn parse_unit(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let mut letters = unit.chars();
    let Some(first) = letters.next() else { return Some(1) };
    let (_, power) = PREFIXES.into_iter().find(|(letter, _)| *letter == first)?;
    match letters.as_str() {
        "" => Some(1000_u128.pow(power)),
        "i" => Some(1024_u128.pow(power)),
        _ => None,
    }
}

/// What the digits after the point come to, where that is a whole number.
fn fraction_of(digits: &str, scale: u128) -> Option<u128> {
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let parts = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let scaled = digits.parse::<u128>().ok()?.checked_mul(scale)?;
    scaled.is_multiple_of(parts).then(|| scaled / parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_mean_what_kubernetes_means() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1_048_576),
            ("4Gi", 4 << 30),
            ("4G", 4_000_000_000),
            ("512M", 512_000_000),
            ("1.5GiB", 3 << 29),
            ("1.5 gib", 3 << 29),
            ("2kb", 2_000),
            ("0.5Ki", 512),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "G", "4X", "4Gx", "-1", "1.2.3Gi", ".5Gi", "1.", "0.3", "16Ei", "1e9"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_bytes(&"9".repeat(400)).is_err());
        assert!(parse_bytes(&format!("1.{}Gi", "1".repeat(400))).is_err());
    }

    proptest! {
        #[test]
        fn any_number_of_bytes_comes_back(bytes: u64, shift in 0_u32..64) {
            let bytes = bytes << shift;
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
            prop_assert_eq!(parse_bytes(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,40}") {
            let _ = parse_bytes(&text);
        }
    }
}
