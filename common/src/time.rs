//! Time as people type it: spans (`2h30m`) and moments (`1d` ago, RFC 3339, a date).

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp, Zoned};

/// The time span that `text` stands for: numbers with units down from weeks (`7d`, `2h30m`,
/// `1 hour 5 minutes`, `1.5h`), or a bare number of seconds. A day is 24 hours, a week seven days.
///
/// # Errors
/// A clause that says what is wrong, fit for clap: no time span, a negative one, or years and
/// months, whose length is not fixed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span = SpanParser::new()
        .parse_span(text)
        .map_err(|_| format!("{text:?} is no time span; write one like 90s, 5m, 2h30m or 7d"))?;
    let fixed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("{text:?} has no fixed length; use weeks, days, hours, minutes"))?;
    Duration::try_from(fixed).map_err(|_| format!("{text:?} is negative"))
}

/// The moment that `text` stands for: a time span back from `now` ([`parse_duration`], with or
/// without ` ago`), RFC 3339 (`2026-11-20T10:00:00Z`), or a date or date and time of the local
/// zone (`2026-11-20`, its first moment; `2026-11-20 10:00`).
///
/// # Errors
/// A clause that says what is wrong, fit for clap.
pub fn parse_moment(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('-') {
        return local_moment(text, now.time_zone());
    }
    let span = parse_duration(text.strip_suffix(" ago").unwrap_or(text)).map_err(|_| {
        format!("{text:?} is no moment; write one like 1d, 2h30m, 2026-11-20 or RFC 3339")
    })?;
    let earlier = now.timestamp().checked_sub(span);
    earlier.map_err(|_| format!("{text:?} is too long ago"))
}

fn local_moment(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong =
        || format!("{text:?} is no date; write one like 2026-11-20 or 2026-11-20T10:00:00Z");
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    civil.to_zoned(zone.clone()).map(|moment| moment.timestamp()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h", 3600),
            ("2h30m", 9000),
            ("1.5h", 5400),
            ("1d", 86_400),
            ("7d", 604_800),
            ("1w", 604_800),
            ("1 hour 5 minutes", 3900),
            (" 10m ", 600),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(parse_duration("1500ms").unwrap(), Duration::from_millis(1500));
        for bad in
            ["", "h", "5 parsecs", "-5m", "1mo", "1y", "5m ago", "1e3", "99999999999999999999"]
        {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_are_read() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let now = now.to_zoned(zone);
        for (text, moment) in [
            ("1d", "2026-11-19T12:00:00Z"),
            ("2h30m ago", "2026-11-20T09:30:00Z"),
            ("0", "2026-11-20T12:00:00Z"),
            ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
            ("2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2026-11-20 10:00", "2026-11-20T08:00:00Z"),
        ] {
            assert_eq!(parse_moment(text, &now).unwrap().to_string(), moment, "{text}");
        }
        for bad in ["", "yesterday-ish", "2026-13-01", "-1d", "99999999w", "2026-11-20x"] {
            assert!(parse_moment(bad, &now).is_err(), "{bad:?}");
        }
    }
}
