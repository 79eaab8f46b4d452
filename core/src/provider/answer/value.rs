//! Numbers and moments, however they are written.

use crate::time::WallTime;
use serde_json::Value;

/// Whole numbers from 2008 to 2100 as seconds since 1970. No lifetime is meant
/// by these: they are moments in a member that should hold a duration.
pub(super) const MOMENTS: std::ops::RangeInclusive<i64> = 1_200_000_000..=4_102_444_800;

/// A whole number: `3600`, `"3600"`, `3599.98`, `1e3`, `" 3600.0 "`; rounded
/// down, saturating.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.is_u64().then_some(i64::MAX))
            .or_else(|| number.as_f64().and_then(floor)),
        Value::String(text) => {
            let text = text.trim();
            text.parse()
                .ok()
                .or_else(|| text.parse().ok().and_then(floor))
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float to integer casts saturate, which is what is wanted"
)]
fn floor(number: f64) -> Option<i64> {
    number.is_finite().then(|| number.floor() as i64)
}

/// A moment: since 1970 in seconds, milliseconds or microseconds, told apart by
/// magnitude, or RFC 3339. Zero and less is no moment.
pub(super) fn moment(value: &Value) -> Option<WallTime> {
    match integer(value) {
        Some(1..100_000_000_000) => integer(value).map(WallTime::from_secs),
        Some(ms @ 100_000_000_000..100_000_000_000_000) => Some(WallTime(ms)),
        Some(us @ 100_000_000_000_000..100_000_000_000_000_000) => Some(WallTime(us / 1000)),
        Some(_) => None,
        None => value.as_str().and_then(WallTime::parse_rfc3339),
    }
}

/// Whether a text is a date without an offset, which is taken to be UTC.
pub(super) fn lacks_offset(value: &Value) -> bool {
    let Some((_, time)) = value.as_str().and_then(|text| text.split_once(['T', 't'])) else {
        return false;
    };
    !time.contains(['Z', 'z', '+', '-'])
}

/// Missing, in the many ways of saying so.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}
