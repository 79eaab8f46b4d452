//! Moments as servers write them. What could be read in two ways is not read.

use crate::time::WallTime;
use chrono::{DateTime, NaiveDateTime};

/// A date with a time: ISO 8601 (RFC 3339 and its neighbours: a space for the `T`, lower
/// case, `+0000`, ` UTC`, fractions, no separators), the dates of HTTP and mail, Java's and
/// .NET's. Without an offset it is UTC. Dates such as `6/1/2017` are not read: nobody knows
/// which number is the month.
pub(super) fn parse(text: &str) -> Option<WallTime> {
    let text = text.trim();
    iso(text).or_else(|| http(text)).or_else(|| net(text))
}

/// Whether a date that can be read says no offset, so that UTC is assumed.
pub(super) fn lacks_offset(text: &str) -> bool {
    let text = text.trim();
    let (_, offset) = split_offset(text);
    iso(text).is_some() && offset.is_empty()
}

/// The dates of RFC 9110 §5.6.7, and of mail with any offset (RFC 5322 §3.3).
pub(super) fn http(text: &str) -> Option<WallTime> {
    let read = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let utc = |time: NaiveDateTime| time.and_utc().timestamp_millis();
    let formats = [
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
        "%a %b %e %H:%M:%S UTC %Y",
        "%a %b %e %H:%M:%S GMT %Y",
        "%a, %d %b %Y %H:%M:%S UTC",
    ];
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|time| time.timestamp_millis())
        .or_else(|| formats.into_iter().find_map(read).map(utc))
        .map(WallTime)
}

fn iso(text: &str) -> Option<WallTime> {
    let (local, offset) = split_offset(text);
    let minutes = offset_minutes(offset)?;
    let local = local.trim_end().to_ascii_uppercase().replacen(',', ".", 1);
    let formats = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%Y%m%dT%H%M%S%.f",
        "%Y/%m/%d %H:%M:%S%.f",
    ];
    let read = |format| NaiveDateTime::parse_from_str(&local, format).ok();
    let local = formats.into_iter().find_map(read)?.and_utc();
    Some(WallTime(local.timestamp_millis() - minutes * 60_000))
}

/// The local part and the offset: `Z`, `+hh`, `+hhmm`, `+hh:mm`, ` UTC`, ` +0000 UTC`; the
/// latter is empty where there is none.
fn split_offset(text: &str) -> (&str, &str) {
    let zones = ["Z", "z", "UTC", "utc", "GMT"];
    let zone = zones.into_iter().find(|zone| text.ends_with(zone));
    let bare = &text[..text.len() - zone.map_or(0, str::len)];
    let bare = bare.trim_end();
    // A sign after the time, not a hyphen of the date.
    let time = bare.find(':').or_else(|| bare.find(['T', 't']));
    let sign = time.and_then(|at| Some(at + bare[at..].find(['+', '-', '\u{2212}'])?));
    match (sign, zone) {
        (Some(at), _) => (&bare[..at], &bare[at..]),
        (None, Some(_)) => (bare, &text[bare.len()..]),
        (None, None) => (bare, ""),
    }
}

fn offset_minutes(offset: &str) -> Option<i64> {
    let offset = offset.trim();
    let mut chars = offset.chars();
    let sign = match chars.next() {
        Some('+') => 1,
        Some('-' | '\u{2212}') => -1,
        _ => return Some(0),
    };
    let digits: String = chars.filter(|c| *c != ':').collect();
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    let (hours, minutes) = match digits.len() {
        2 if whole => (digits.parse().ok()?, 0),
        4 if whole => (digits[..2].parse::<i64>().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// `/Date(1480518245000)/`: milliseconds, whatever offset stands behind them.
fn net(text: &str) -> Option<WallTime> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let end = inner.rfind(['+', '-']).filter(|at| *at > 0);
    inner[..end.unwrap_or(inner.len())]
        .parse()
        .ok()
        .map(WallTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_many_forms() {
        for text in [
            "2026-11-18T12:06:40Z",
            "2026-11-18t12:06:40z",
            "2026-11-18T12:06:40+0000",
            "2026-11-18T12:06:40+00",
            "2026-11-18T12:06:40+00:00",
            "2026-11-18T12:06:40-00:00",
            "2026-11-18T12:06:40.000Z",
            "2026-11-18T12:06:40.000000+0000",
            "2026-11-18T12:06:40,000Z",
            "2026-11-18 12:06:40Z",
            "2026-11-18 12:06:40",
            "2026-11-18T12:06:40",
            "2026-11-18 12:06:40 UTC",
            "2026-11-18 12:06:40 +0000",
            "2026-11-18 12:06:40 +0000 UTC",
            "2026-11-18 14:06:40 +0200",
            "2026-11-18T14:06:40.000+02:00",
            "2026-11-18T05:06:40-0700",
            "2026-11-18T05:06:40\u{2212}07:00",
            "20261118T120640Z",
            "20261118T140640+0200",
            "2026/11/18 12:06:40",
            " 2026-11-18T12:06:40Z ",
            "Wed, 18 Nov 2026 12:06:40 GMT",
            "Wed, 18 Nov 2026 12:06:40 UTC",
            "Wed, 18 Nov 2026 14:06:40 +0200",
            "18 Nov 2026 12:06:40 GMT",
            "Wednesday, 18-Nov-26 12:06:40 GMT",
            "Wed Nov 18 12:06:40 2026",
            "Wed Nov 18 12:06:40 UTC 2026",
            "/Date(1795003600000)/",
            "/Date(1795003600000+0200)/",
        ] {
            assert_eq!(
                parse(text),
                Some(WallTime::from_secs(1_795_003_600)),
                "{text}"
            );
        }
        let minute = parse("2026-11-18T12:06Z");
        assert_eq!(minute, Some(WallTime::from_secs(1_795_003_560)));
    }

    #[test]
    fn what_could_be_two_moments_is_none() {
        for text in [
            "6/1/2017 2:24:46 PM",
            "11/18/2026 12:06:40 PM",
            "18/11/2026 12:06:40",
            "18.11.2026 12:06:40",
            "2026-11-18",
            "12:06:40",
            "Wed Nov 18 12:06:40 CST 2026",
            "2026-11-18T12:06:40 PST",
            "2026-11-18T12:06:40+0",
            "2026-11-18T12:06:40+99:00",
            "2026-13-18T12:06:40Z",
            "never",
            "",
            "Z",
            "+",
            "é:+",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_assumed_offset_is_known_as_such() {
        assert!(lacks_offset("2026-11-18T12:06:40"));
        assert!(lacks_offset("2026-11-18 12:06:40.5"));
        for text in ["2026-11-18T12:06:40Z", "2026-11-18 12:06:40 +0000", "never"] {
            assert!(!lacks_offset(text), "{text}");
        }
    }
}
