//! A code on its way to the provider: how long it lives, and when it is presented again
//! where it was not used. A code that may have been used is presented once, whatever comes.

use super::device::{plain, words};
use super::{Enrollment, Stage};
use crate::backoff::Backoff;
use crate::provider::answer::{self, Outcome, object_of, retry_after_of};
use crate::provider::{Answer, Description};
use crate::secret::Fingerprint;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a code lives where the description does not say: ten minutes at the most are
/// recommended (RFC 6749 §4.1.2).
const LIFE: Duration = Duration::from_secs(600);
/// A code is presented for the last time so long before its end.
const MARGIN: Duration = Duration::from_secs(1);
/// Where not a byte of the code left.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
/// After an answer, at least so long.
const AFTER_ANSWER: Duration = Duration::from_secs(1);
/// Codes that were presented in vain are remembered, but no more than so many.
const MOST_SPENT: usize = 64;

/// What is known of the codes of an enrolment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Course {
    /// When the code came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_at: Option<WallTime>,
    /// The code was not used yet, and is presented again at this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<WallTime>,
    /// Codes that came before this one, for an enrolment that may be tried again. None of
    /// them is presented a second time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<Fingerprint>,
}

impl Course {
    /// The course of a code that comes after `before`, if another may come.
    #[must_use]
    pub fn of_next(self, before: Option<Fingerprint>, now: WallTime) -> Option<Course> {
        let mut spent = self.spent;
        spent.extend(before);
        (spent.len() <= MOST_SPENT).then_some(Course {
            came_at: Some(now),
            again_at: None,
            spent,
        })
    }
}

impl Enrollment {
    /// Whether its code is kept and waits to be presented again.
    #[must_use]
    pub fn waits_with_its_code(&self) -> bool {
        self.stage == Stage::Received && self.code.again_at.is_some()
    }

    /// When its code is over, as far as is known.
    #[must_use]
    pub fn code_ends_at(&self, description: Option<&Description>) -> WallTime {
        let authorize = description.and_then(|description| description.authorize.as_ref());
        let life = authorize.and_then(|authorize| authorize.code_lifetime);
        self.code.came_at.unwrap_or(self.begun_at) + life.unwrap_or(LIFE)
    }
}

/// Why a code is as good as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// Not a byte of it left.
    NotSent,
    /// An answer says that nothing was done; with its `Retry-After`.
    Answered(Option<Duration>),
}

/// Whether an answer says that nothing was done with the code: too many requests, a
/// server that asks to come back later. `None`: it decides something, or says nothing
/// that is certain. With a sentence for people.
#[must_use]
pub fn unused(description: &Description, answer: &Answer) -> Option<(Unused, String)> {
    let asked = retry_after_of(answer);
    let (certain, text) = match answer::read(description, answer) {
        Outcome::AskedToWait { text, .. } => (true, text),
        // RFC 9110 §15.6.4: it is not handled now; a gateway's 502 or 504 may hide that it was.
        Outcome::Lost { text, .. } if answer.status == 503 => {
            (asked.is_some() || says_later(answer), text)
        }
        Outcome::Refused { text } | Outcome::Unavailable { text, .. } => (says_later(answer), text),
        _ => return None,
    };
    certain.then_some((Unused::Answered(asked), text))
}

/// RFC 6749 §4.1.2.1 and RFC 8628 §3.5.
fn says_later(answer: &Answer) -> bool {
    let Some(map) = object_of(answer) else {
        return false;
    };
    // A token beside it is somebody's.
    if map.contains_key("access_token") || map.contains_key("refresh_token") {
        return false;
    }
    words(&map).any(|word| matches!(plain(&word).as_str(), "temporarilyunavailable" | "slowdown"))
}

/// When a code that was not used is presented again, after so many tries; `None`: its
/// life is over by then.
#[must_use]
pub fn again(now: WallTime, ends: WallTime, tries: u32, unused: &Unused) -> Option<WallTime> {
    let pause = PAUSES.wait(tries);
    let last = ends - MARGIN;
    let at = match unused {
        Unused::Answered(Some(asked)) if now + *asked > last => return None,
        Unused::Answered(Some(asked)) => now + pause.max(*asked).max(AFTER_ANSWER),
        Unused::Answered(None) => now + pause.max(AFTER_ANSWER),
        Unused::NotSent => now + pause,
    };
    Some(at.min(last)).filter(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        let headers = retry_after.map(|value| ("retry-after".to_owned(), value.to_owned()));
        Answer {
            status,
            headers: headers.into_iter().collect(),
            body: body.as_bytes().to_vec(),
            complete: true,
            received: WallTime(0),
        }
    }

    fn of(status: u16, retry_after: Option<&str>, body: &str) -> Option<Unused> {
        let description: Description =
            serde_json::from_str(r#"{"name":"p","token":{"url":"https://as.example/token"}}"#)
                .unwrap();
        unused(&description, &answer(status, retry_after, body)).map(|(unused, _)| unused)
    }

    #[test]
    fn a_code_is_good_where_an_answer_says_that_nothing_was_done() {
        let two = Some(Unused::Answered(Some(Duration::from_secs(2))));
        let plain = Some(Unused::Answered(None));
        let later = r#"{"error":"temporarily_unavailable"}"#;
        assert_eq!(of(429, Some("2"), "slow down"), two);
        assert_eq!(
            of(429, None, r#"{"error":{"type":"rate_limit_error"}}"#),
            plain
        );
        assert_eq!(of(503, Some("2"), "<html>"), two);
        assert_eq!(of(503, None, later), plain);
        assert_eq!(of(400, None, later), plain);
        assert_eq!(of(400, Some("2"), r#"{"error":"slow_down"}"#), two);
        assert_eq!(of(200, None, r#"{"error":"slow_down"}"#), plain);
    }

    #[test]
    fn where_it_may_have_been_used_it_is_not() {
        let later = r#"{"error":"temporarily_unavailable"}"#;
        for (status, retry_after, body) in [
            (500, Some("2"), "<html>"),
            (500, None, later),
            (502, Some("2"), ""),
            (503, None, "<html>"),
            (504, Some("2"), later),
            (400, Some("2"), r#"{"error":"invalid_grant"}"#),
            (400, None, r#"{"error":"server_error"}"#),
            (302, None, ""),
            (200, None, r#"{"access_token":"a"}"#),
            (200, None, r#"{"access_token":"a","error":"slow_down"}"#),
            (400, None, r#"{"refresh_token":"r","error":"slow_down"}"#),
        ] {
            assert_eq!(of(status, retry_after, body), None, "{status} {body}");
        }
    }

    #[test]
    fn no_pause_sleeps_past_its_end() {
        let (now, ends) = (WallTime(0), WallTime(600_000));
        let at = |tries, unused: &Unused| again(now, ends, tries, unused).map(|at| at.0);
        assert_eq!(at(0, &Unused::NotSent), Some(500));
        assert_eq!(at(1, &Unused::NotSent), Some(1000));
        assert_eq!(at(40, &Unused::NotSent), Some(15_000));
        assert_eq!(at(0, &Unused::Answered(None)), Some(1000));
        let asked = |secs| Unused::Answered(Some(Duration::from_secs(secs)));
        assert_eq!(at(0, &asked(0)), Some(1000));
        assert_eq!(at(0, &asked(60)), Some(60_000));
        assert_eq!(
            at(0, &asked(600)),
            None,
            "it asks for more than the code has"
        );
        let late = |now, unused| again(WallTime(now), ends, 9, unused).map(|at| at.0);
        assert_eq!(late(590_000, &Unused::NotSent), Some(599_000));
        assert_eq!(late(599_000, &Unused::NotSent), None);
        assert_eq!(late(700_000, &Unused::Answered(None)), None);
    }

    #[test]
    fn a_link_s_codes_are_remembered_up_to_a_number() {
        let mut course = Course::default();
        for n in 0..=MOST_SPENT {
            let before = u8::try_from(n).unwrap();
            let before = (n > 0).then_some(Fingerprint([before; 16]));
            course = course.of_next(before, WallTime(1)).unwrap();
        }
        assert_eq!(course.spent.len(), MOST_SPENT);
        assert_eq!(
            course.of_next(Some(Fingerprint([0; 16])), WallTime(1)),
            None
        );
    }
}
