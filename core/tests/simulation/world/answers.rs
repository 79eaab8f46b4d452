//! What comes over the wire.

use crate::fate::Fate;
use crate::rng::Rng;
use refreshd_core::flight::Answer;
use refreshd_core::grant::settle::Ending;
use refreshd_core::time::WallTime;
use serde_json::Value;
use std::time::Duration;

/// How an exchange ends, as the shell sees it.
pub(super) fn ending(
    rng: &mut Rng,
    fate: Fate,
    reply: Option<(u16, Value)>,
    received: WallTime,
) -> Ending {
    let json = |value: &Value| value.to_string().into_bytes();
    let answer = |status, headers: &[(&str, &str)], body: Vec<u8>, complete| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ending::Answered(Answer {
            status,
            headers: headers.iter().map(owned).collect(),
            body,
            complete,
            received,
        })
    };
    let page = || b"<html><body>One moment, please</body></html>".to_vec();
    let wait = rng.pick(&["0", "1", "30", "120", "3600"]);
    let lost = || Ending::Lost {
        text: "connection reset".to_owned(),
    };
    match (fate, reply) {
        (Fate::Answered | Fate::Late, Some((status, body))) => {
            answer(status, &[], json(&body), true)
        }
        (Fate::Truncated, Some((status, body))) => {
            let mut half = json(&body);
            half.truncate(half.len() / 2);
            answer(status, &[], half, false)
        }
        (Fate::Page, _) => answer(200, &[("content-type", "text/html")], page(), true),
        (Fate::UnavailableAfter | Fate::LateUnavailable, _) => answer(502, &[], page(), true),
        (Fate::Unavailable, _) => answer(503, &[("retry-after", wait)], page(), true),
        (Fate::TooMany, _) => answer(429, &[], Vec::new(), true),
        (Fate::TooManyRetryAfter, _) => answer(429, &[("retry-after", wait)], Vec::new(), true),
        (Fate::InvalidClient, _) => {
            answer(401, &[], br#"{"error":"invalid_client"}"#.to_vec(), true)
        }
        (Fate::FalseRefusal, _) => answer(400, &[], br#"{"error":"invalid_grant"}"#.to_vec(), true),
        _ => lost(),
    }
}

pub(super) fn retry_after(answer: &Answer) -> Option<Duration> {
    let (_, value) = answer
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after")?;
    value.parse().ok().map(Duration::from_secs)
}
