//! Numbers, lifetimes and moments, however they are written.

use super::date;
use crate::provider::description::ExpiresIn;
use crate::time::WallTime;
use serde_json::Value;

/// From 2000 to 2100 as seconds since 1970.
const MOMENTS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// From 2008 to 2100: no lifetime in seconds is meant by these; they are moments in a
/// member that should hold a duration.
const NO_LIFETIMES: std::ops::Range<i64> = 1_200_000_000..4_102_444_800;
/// Longer than this, a thousand years of seconds, is no lifetime at all.
const ABSURD: i64 = 1000 * 31_557_600;

/// What a member that should hold a lifetime holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Seconds; may be zero or negative.
    Secs(i64),
    /// A point in time instead.
    Moment(WallTime),
    /// More than a thousand years.
    Absurd,
}

/// A whole number: `3600`, `"3600"`, `3599.98`, `1e3`, `" 3600.0 "`; rounded
/// down, saturating.
pub(super) fn integer(value: &Value) -> Option<i64> {
    number(value).and_then(|number| match number {
        Number::Whole(number) => Some(number),
        Number::Real(number) => floor(number),
    })
}

enum Number {
    Whole(i64),
    Real(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(Number::Whole)
            .or_else(|| number.as_f64().map(real)),
        Value::String(text) => of_text(text.trim()),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<Number> {
    text.parse()
        .map(Number::Whole)
        .or_else(|_| text.parse().map(real))
        .ok()
}

/// `3600.0` is a whole number.
fn real(number: f64) -> Number {
    let whole = floor(number).filter(|_| number.fract() == 0.0 && number.abs() < 1e15);
    whole.map_or(Number::Real(number), Number::Whole)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float to integer casts saturate, which is what is wanted"
)]
fn floor(number: f64) -> Option<i64> {
    number.is_finite().then(|| number.floor() as i64)
}

/// A lifetime in the unit that the description names, or in the one that stands behind
/// the number (`"3600s"`).
pub(super) fn span(value: &Value, unit: ExpiresIn) -> Option<Span> {
    let written = value.as_str().and_then(with_unit);
    let (number, millis) = match written {
        Some(found) => found,
        None => (number(value)?, unit.millis()),
    };
    if let Number::Whole(whole) = number
        && let Some(moment) = instead_of_span(whole, millis)
    {
        return Some(Span::Moment(moment));
    }
    let secs = match number {
        Number::Whole(whole) => i128::from(whole) * i128::from(millis),
        Number::Real(real) => i128::from(floor(real * f64::from(millis))?),
    };
    let secs = match secs {
        // Half a second is no zero, which would mean that nothing is said.
        1..1000 => 1,
        millis => i64::try_from(millis.div_euclid(1000)).unwrap_or(i64::MAX),
    };
    match secs > ABSURD {
        true => Some(Span::Absurd),
        false => Some(Span::Secs(secs)),
    }
}

/// `"3600s"`, `"60 minutes"`: the number, and milliseconds of the unit.
fn with_unit(text: &str) -> Option<(Number, u32)> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let millis = match text[at..].to_ascii_lowercase().as_str() {
        "ms" | "millis" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    Some((of_text(text[..at].trim_end())?, millis))
}

/// A point in time in place of a lifetime; told from one by its size.
fn instead_of_span(number: i64, unit_millis: u32) -> Option<WallTime> {
    let secs = unit_millis >= 1000 && NO_LIFETIMES.contains(&number);
    let millis = NO_LIFETIMES.contains(&(number / 1000)) && number >= 1_200_000_000_000;
    (secs || millis).then(|| of_number(number)).flatten()
}

/// A moment: since 1970 in seconds, milli-, micro- or nanoseconds, told apart by
/// magnitude, or a date. What lies before 2000 or after 2100 is no moment that a token
/// could end at: a lifetime in the wrong member, most likely.
pub(super) fn moment(value: &Value) -> Option<WallTime> {
    match number(value) {
        Some(Number::Whole(whole)) => of_number(whole),
        Some(Number::Real(real)) => of_number(floor(real)?),
        None => value.as_str().and_then(date::parse).filter(is_plausible),
    }
}

/// Dates may lie as far ahead as they like: .NET's largest is the year 9999.
fn is_plausible(moment: &WallTime) -> bool {
    moment.secs() >= MOMENTS.start
}

fn of_number(number: i64) -> Option<WallTime> {
    let per_second = [1, 1000, 1_000_000, 1_000_000_000];
    let mut units = per_second.into_iter();
    let unit: i64 = units.find(|unit| MOMENTS.contains(&(number / unit)))?;
    Some(match unit {
        1 => WallTime::from_secs(number),
        unit => WallTime(number / (unit / 1000)),
    })
}

/// Whether a text is a date without an offset, which is taken to be UTC.
pub(super) fn lacks_offset(value: &Value) -> bool {
    value.as_str().is_some_and(date::lacks_offset)
}

/// Missing, in the many ways of saying so.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}
