//! What a poll for a device code comes to (RFC 8628 §3.5).

use crate::enroll::Stage;
use crate::enroll::device::pace::Met;
use crate::enroll::device::{self, Poll};
use crate::provider::answer::{self, Outcome};
use crate::provider::{Answer, Description};
use std::time::Duration;

/// Whether a poll's answer says that the person has not decided.
pub(super) fn is_pending(answer: &Answer) -> bool {
    matches!(device::poll(answer), Poll::Pending | Poll::SlowDown)
}

/// What a poll's answer comes to.
pub(super) enum Polled {
    /// Nothing is decided: the person waits, or a gateway has trouble.
    Nothing(Met),
    /// Nothing is decided by a success that is no token answer, and in which nothing may be
    /// a token: a page of a portal, say. It is kept, and the device code is as good as before.
    Odd(String, Option<Duration>),
    /// It is over, for a person.
    Over(Stage, String),
    /// It brought something, or the provider refused.
    Brought,
}

/// Reads a poll's answer. What may hold a token ends the polling: some servers revoke what a
/// device code brought when that comes again, as RFC 6749 §4.1.2 wants it of other codes.
pub(super) fn polled(description: &Description, answer: &Answer, name: &str) -> Polled {
    let outcome = answer::read(description, answer);
    let said = |outcome: Outcome| match outcome {
        Outcome::Refused { text }
        | Outcome::Unavailable { text, .. }
        | Outcome::InvalidGrant { text }
        | Outcome::InteractionRequired { text } => text,
        _ => format!("HTTP {}", answer.status),
    };
    let again = format!("begin again with `refreshd authorize {name} --device`");
    match (device::poll(answer), outcome) {
        (Poll::Pending, _) => Polled::Nothing(Met::Pending),
        (Poll::SlowDown, _) => Polled::Nothing(Met::SlowDown),
        (Poll::Denied, outcome) => Polled::Over(
            Stage::Refused,
            format!(
                "the approval was declined at the provider ({}); {again}",
                said(outcome)
            ),
        ),
        (Poll::Expired, outcome) => Polled::Over(
            Stage::Expired,
            format!(
                "the code has expired before anybody approved it ({}); {again}",
                said(outcome)
            ),
        ),
        (Poll::Trouble, _)
        | (
            Poll::Other,
            Outcome::Lost { .. } | Outcome::AskedToWait { .. } | Outcome::Unavailable { .. },
        ) => Polled::Nothing(Met::Nothing(device::retry_after(answer))),
        (
            Poll::Other,
            Outcome::Unread {
                text,
                retry_after,
                may_hold: false,
            },
        ) => Polled::Odd(
            format!(
                "{text}; nothing in it looks like a token. The answer is kept, and the provider is asked again"
            ),
            retry_after,
        ),
        (Poll::Other, _) => Polled::Brought,
    }
}
