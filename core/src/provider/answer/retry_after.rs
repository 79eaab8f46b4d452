//! `Retry-After` (RFC 9110 §10.2.3): seconds or one of the three HTTP dates.

use super::date;
use crate::provider::Answer;
use std::time::Duration;

/// No server's wish holds us for longer.
pub(super) const MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn of(answer: &Answer) -> Option<Duration> {
    let value = super::header(answer, "retry-after")?.trim();
    let wait = match value.parse::<f64>() {
        Ok(secs) if secs >= 0.0 => Duration::try_from_secs_f64(secs).unwrap_or(MAX),
        Ok(_) => return None,
        Err(_) => date::http(value)?.since(answer.received),
    };
    Some(wait.min(MAX))
}
