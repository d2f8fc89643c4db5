//! Allocation units of OVF: `byte * 2^30` (DSP0004's programmatic units) and the older words
//! such as `MegaBytes`.

/// Bytes of one unit; absent or empty means bytes. `None` for words that are no unit of bytes.
pub(super) fn bytes_of_unit(unit: Option<&str>) -> Option<u64> {
    let unit = unit.unwrap_or_default().trim().to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "byte" | "bytes" => 0,
        "kb" | "kilobyte" | "kilobytes" | "kibibyte" | "kibibytes" => 10,
        "mb" | "megabyte" | "megabytes" | "mebibyte" | "mebibytes" => 20,
        "gb" | "gigabyte" | "gigabytes" | "gibibyte" | "gibibytes" => 30,
        "tb" | "terabyte" | "terabytes" | "tebibyte" | "tebibytes" => 40,
        other => return product(other),
    };
    Some(1 << shift)
}

/// `byte * FACTOR * BASE^EXPONENT …`, with any spacing; `byte (…)` as some writers have it.
fn product(unit: &str) -> Option<u64> {
    let mut factors = unit.split('*').map(str::trim);
    factors.next().filter(|word| matches!(*word, "byte" | "bytes"))?;
    factors.try_fold(1_u64, |total, factor| total.checked_mul(power(factor)?))
}

fn power(factor: &str) -> Option<u64> {
    let Some((base, exponent)) = factor.split_once('^') else { return factor.parse().ok() };
    base.trim().parse::<u64>().ok()?.checked_pow(exponent.trim().parse().ok()?)
}

/// `quantity` units in bytes, where both are sensible.
pub(super) fn bytes_of(quantity: &str, unit: Option<&str>) -> Option<u64> {
    quantity.trim().parse::<u64>().ok()?.checked_mul(bytes_of_unit(unit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_all_dialects() {
        for (unit, bytes) in [
            (None, 1),
            (Some(""), 1),
            (Some("byte"), 1),
            (Some("byte * 2^20"), 1 << 20),
            (Some("byte*2^30"), 1 << 30),
            (Some("byte * 10^9"), 1_000_000_000),
            (Some("byte * 512"), 512),
            (Some("byte * 2 * 2^9"), 1024),
            (Some("MegaBytes"), 1 << 20),
            (Some("GB"), 1 << 30),
        ] {
            assert_eq!(bytes_of_unit(unit), Some(bytes), "{unit:?}");
        }
        for unit in ["percent", "byte * 2^64", "byte * 2^999999999999", "byte *", "hertz * 10^6"] {
            assert_eq!(bytes_of_unit(Some(unit)), None, "{unit}");
        }
        assert_eq!(bytes_of("8", Some("byte * 2^30")), Some(8 << 30));
        assert_eq!(bytes_of("18446744073709551615", Some("KB")), None);
        assert_eq!(bytes_of("-1", None), None);
    }
}
