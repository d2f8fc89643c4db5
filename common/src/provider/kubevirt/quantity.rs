//! Kubernetes quantities (`500m`, `4Gi`, `1e3`): apimachinery's resource.Quantity.

/// Whole units, rounded up; `None` for text that is no quantity or a negative one.
pub fn whole(text: &str) -> Option<u64> {
    let value = number(text)?;
    (value >= 0.0 && value < u64::MAX as f64).then_some(value.ceil() as u64)
}

/// The number, as exactly as a float holds it (2^53 for bytes).
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let suffixes = [
        ("Ki", 1024_f64),
        ("Mi", 1024_f64.powi(2)),
        ("Gi", 1024_f64.powi(3)),
        ("Ti", 1024_f64.powi(4)),
        ("Pi", 1024_f64.powi(5)),
        ("Ei", 1024_f64.powi(6)),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let scaled = suffixes
        .iter()
        .find_map(|(suffix, scale)| Some(digits(text.strip_suffix(suffix)?)? * scale));
    scaled.or_else(|| digits(text))
}

/// Digits with a sign, a point and a decimal exponent, and nothing else that a float may be.
fn digits(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
    let value: f64 = text.chars().all(plain).then(|| text.parse().ok())??;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        let cases = [
            ("4Gi", 4 << 30),
            ("512M", 512_000_000),
            ("1500m", 2),
            ("2", 2),
            ("1e3", 1000),
            ("1.5Ki", 1536),
            ("2E", 2_000_000_000_000_000_000),
        ];
        for (text, value) in cases {
            assert_eq!(whole(text), Some(value), "{text}");
        }
        for text in ["", "lots", "-1", "Gi", "inf", "NaN", "1KiB"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
