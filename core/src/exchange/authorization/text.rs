//! What a person is told of an authorization's exchange.

use super::Terms;
use crate::enroll::code::{self, Unused};
use crate::enroll::{Enrollment, EnrollmentId, Stage};
use crate::flight::ExchangeId;
use crate::ledger::authorization::Turn;
use crate::provider::Description;
use crate::provider::answer::Outcome;
use crate::time::WallTime;

/// A code that was not used: it waits until it is presented again, or its life is over by
/// then. With the time; `None`: it is over.
#[must_use]
pub fn spared(
    enrollment: &Enrollment,
    (unused, why): (&Unused, &str),
    tries: u32,
    description: Option<&Description>,
    now: WallTime,
) -> (Turn, Option<WallTime>) {
    let ends = enrollment.code_ends_at(description);
    let at = code::again(now, ends, tries, unused);
    let mut to = enrollment.clone();
    let Some(at) = at else {
        to.stage = enrollment.stage_after(Stage::Refused, now);
        to.text = over(unused, why, ends, now);
        return (Turn::end(to, None), None);
    };
    to.text = waiting(unused, why, at, ends);
    to.code.again_at = Some(at);
    let turn = Turn {
        from: &[Stage::Received],
        to,
        answer: None,
    };
    (turn, Some(at))
}

/// What a person is told while a code waits.
fn waiting(unused: &Unused, text: &str, at: WallTime, ends: WallTime) -> String {
    let (at, ends) = (at.rfc3339(), ends.rfc3339());
    match unused {
        Unused::NotSent => {
            format!("the code could not be presented: {text}; trying again until {ends}")
        }
        Unused::Answered(_) => format!(
            "the provider asks to wait ({text}), and has not used the code; it is presented again at {at}, and is good until {ends}"
        ),
    }
}

/// What a person is told when a code has ended without having been used.
fn over(unused: &Unused, text: &str, ends: WallTime, now: WallTime) -> String {
    let ends = ends.rfc3339();
    match unused {
        Unused::NotSent => format!(
            "the code could not be presented in its lifetime, until {ends}: {text}; authorize again"
        ),
        Unused::Answered(None) => format!(
            "the provider asked to wait ({text}) until the code was over, at {ends}; authorize again later"
        ),
        Unused::Answered(Some(asked)) => format!(
            "the provider asks to wait until {} ({text}), and the code is good until {ends}; authorize again after that",
            (now + *asked).rfc3339()
        ),
    }
}

pub(super) fn in_doubt(text: &str) -> String {
    format!(
        "whether the provider took the code is not known ({text}); a code is presented once: authorize again"
    )
}

/// What a person is told of an answer that is kept since it could not be read, and how the
/// authorization ends. Where nothing in it may be a token, there is nothing to wait for.
pub(super) fn unread(
    of: EnrollmentId,
    flight: ExchangeId,
    text: &str,
    may_hold: bool,
) -> (Stage, String) {
    let answer = flight.short();
    match may_hold {
        true => (
            Stage::Held,
            format!(
                "{text}; the answer is kept, since it may hold the only copy of a refresh token: see `refreshd answers show {answer}`. Mend the provider's description and take it in with `refreshd authorize --accept {}`, or take its tokens by hand with `refreshd answers take {answer}`",
                of.hex()
            ),
        ),
        false => (
            Stage::InDoubt,
            format!(
                "{text}; nothing in it looks like a token. The answer is kept (`refreshd answers show {answer}`); a code is presented once: authorize again"
            ),
        ),
    }
}

/// The provider said no.
pub(super) fn refused(outcome: Outcome, client: &str) -> String {
    match outcome {
        Outcome::InvalidGrant { text } => format!(
            "the provider does not take the code: {text}; it may have been too old, or used already: authorize again"
        ),
        Outcome::InvalidClient { text } => format!(
            "the provider does not take the client: {text}; see client_id and client_secret of client {client}"
        ),
        Outcome::AskedToWait { text, .. }
        | Outcome::Unavailable { text, .. }
        | Outcome::InteractionRequired { text }
        | Outcome::TooEarly { text }
        | Outcome::Refused { text }
        | Outcome::Lost { text, .. }
        | Outcome::Unread { text, .. } => {
            format!("the provider refused: {text}; authorize again")
        }
        Outcome::Success(_) => "the provider has answered".to_owned(),
    }
}

/// What a person is told where nothing can be refreshed, and what would help.
pub(super) fn no_refresh_token(terms: &Terms, ends: WallTime) -> String {
    let authorize = terms.rules.description.authorize.as_ref();
    let asks = |name: &str| authorize.is_some_and(|a| a.params.contains_key(name));
    let offline = terms.scopes.iter().any(|scope| scope == "offline_access");
    let remedy = match (offline, asks("access_type") && asks("prompt")) {
        (true, true) => "see the provider's documents for what it wants to be asked with",
        (false, true) => "many providers give one for the scope offline_access",
        _ => {
            "many providers give one for the scope offline_access, or where the provider's [authorize] params have access_type = \"offline\" and prompt = \"consent\" (Google)"
        }
    };
    format!(
        "the answer has no refresh token, so {} cannot be refreshed: a person must authorize again before {}. {remedy}; then `refreshd reload`, and authorize again",
        terms.name,
        ends.rfc3339()
    )
}
