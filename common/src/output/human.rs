//! Amounts, times and spans as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// An amount of bytes with a binary unit: `512 B`, `1.5 GiB`, `40 GiB`. One decimal, none when it
/// would be zero.
pub fn bytes(bytes: u64) -> String {
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let size = 1u128 << (10 * unit);
    let tenths = (u128::from(bytes) * 10 + size / 2) / size;
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// A moment in the local time zone, to the second: `2026-11-20 11:25:23`.
pub fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time span in its two largest units: `3d4h`, `1h2m`, `12s`, `0.4s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let Some(first) = units.iter().position(|&(size, _)| seconds >= size) else {
        return format!("{:.1}s", span.as_secs_f64());
    };
    let mut left = seconds;
    let mut text = String::new();
    for &(size, name) in units.iter().skip(first).take(2) {
        if left >= size {
            text.push_str(&format!("{}{name}", left / size));
            left %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_to_one_decimal() {
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn spans_show_two_units() {
        for (seconds, text) in
            [(0, "0.0s"), (12, "12s"), (60, "1m"), (3_725, "1h2m"), (266_400, "3d2h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
