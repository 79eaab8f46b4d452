//! `Retry-After` (RFC 9110 §10.2.3): seconds or one of the three HTTP dates.

use crate::flight::Answer;
use crate::time::WallTime;
use std::time::Duration;

/// No server's wish holds us for longer.
pub(super) const MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn of(answer: &Answer) -> Option<Duration> {
    let value = super::header(answer, "retry-after")?.trim();
    let wait = match value.parse::<f64>() {
        Ok(secs) if secs >= 0.0 => Duration::try_from_secs_f64(secs).unwrap_or(MAX),
        Ok(_) => return None,
        Err(_) => http_date(value)?.since(answer.received),
    };
    Some(wait.min(MAX))
}

fn http_date(text: &str) -> Option<WallTime> {
    let obsolete = |format| {
        chrono::NaiveDateTime::parse_from_str(text, format)
            .ok()
            .map(|time| time.and_utc().timestamp_millis())
    };
    chrono::DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|time| time.timestamp_millis())
        .or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| obsolete("%a %b %e %H:%M:%S %Y"))
        .map(WallTime)
}
