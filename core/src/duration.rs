//! Durations as people write them: `48h`, `30d`, `1h30m`, `250ms`, `0s`.

use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// The longest duration that is taken at its word: a hundred years.
pub const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration; write a number with a unit, such as \"90s\", \"15m\", \"6h\", \"30d\" or \"1h30m\""
)]
pub struct DurationError(pub String);

/// Reads a duration: numbers with units `ms`, `s`, `m`, `h`, `d`, `w`, `y`
/// (365.25 days), one after the other. A bare number is refused, but for `0`.
///
/// # Errors
/// When the text is anything else or longer than [`CENTURY`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_557_600_000,
            _ => return Err(error()),
        };
        rest = rest[letters..].trim_start();
        total += Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(error)?);
        if total > CENTURY {
            return Err(error());
        }
    }
    if text.trim().is_empty() {
        Err(error())
    } else {
        Ok(total)
    }
}

/// Writes a duration in at most its two largest units, for people: `6h`,
/// `5m 12s`, `29d 23h`.
#[must_use]
pub fn human(duration: Duration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (31_557_600, "y"),
        (86_400, "d"),
        (3600, "h"),
        (60, "m"),
        (1, "s"),
    ];
    let secs = duration.as_secs();
    let Some(first) = UNITS.iter().position(|(size, _)| secs >= *size) else {
        return "0s".to_owned();
    };
    let (size, unit) = UNITS[first];
    let mut text = format!("{}{unit}", secs / size);
    if let Some((next, unit)) = UNITS.get(first + 1) {
        let rest = secs % size / next;
        if rest > 0 {
            text.push_str(&format!(" {rest}{unit}"));
        }
    }
    text
}

/// For `#[serde(deserialize_with)]` on an optional duration.
///
/// # Errors
/// When the value is not a text that [`parse`] takes.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

/// The way back, in milliseconds, for hashing and storing a description.
///
/// # Errors
/// Never on its own account.
pub fn serialize<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(d) => serializer.serialize_some(&format!("{}ms", d.as_millis())),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("48h"), Ok(Duration::from_secs(172_800)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "h",
            "12",
            "1x",
            "-1s",
            "1.5h",
            "200y",
            "99999999999999999999s",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prints_for_people() {
        assert_eq!(human(Duration::from_secs(21_600)), "6h");
        assert_eq!(human(Duration::from_secs(312)), "5m 12s");
        assert_eq!(human(Duration::from_secs(631_152_000)), "20y");
        assert_eq!(human(Duration::from_millis(900)), "0s");
    }
}
