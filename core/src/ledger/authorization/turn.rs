//! An authorization gets further, or ends; an answer is kept beside it.

use super::Row;
use crate::enroll::code::Course;
use crate::enroll::{Enrollment, Secrets, Stage, Via};
use crate::flight::ExchangeId;
use crate::kept::{self, KeptAnswer};

/// What an exchange that brought nothing may end.
const UNDECIDED: &[Stage] = &[Stage::Open, Stage::Received, Stage::Expired, Stage::InDoubt];
/// What an answer may be kept for: it may hold the only copy of a refresh token, also
/// where an operator has given the authorization up meanwhile.
const NOT_DONE: &[Stage] = &[
    Stage::Open,
    Stage::Received,
    Stage::Expired,
    Stage::InDoubt,
    Stage::Refused,
    Stage::Held,
];

/// What a decision of the grant's own is written for.
const ANY: &[Stage] = &[
    Stage::Open,
    Stage::Quarantined,
    Stage::Received,
    Stage::Done,
    Stage::Held,
    Stage::Refused,
    Stage::InDoubt,
    Stage::Expired,
];

/// A change of an authorization by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The stages at which it applies.
    pub from: &'static [Stage],
    /// The authorization as it is to be.
    pub to: Enrollment,
    /// What is kept of the exchange, at whatever stage the authorization is.
    pub answer: Option<KeptAnswer>,
}

impl Turn {
    /// An authorization ends.
    #[must_use]
    pub fn end(to: Enrollment, answer: Option<KeptAnswer>) -> Turn {
        let from = match answer {
            Some(_) => NOT_DONE,
            None => UNDECIDED,
        };
        Turn { from, to, answer }
    }

    /// An authorization ends by a code that it may have another after: that one is left to
    /// its own exchange.
    #[must_use]
    pub fn end_of_earlier(to: Enrollment, answer: Option<KeptAnswer>) -> Turn {
        let from = &[Stage::Open, Stage::Expired, Stage::InDoubt];
        Turn { from, to, answer }
    }

    /// Whatever stage it is at.
    #[must_use]
    pub fn to(to: Enrollment, answer: Option<KeptAnswer>) -> Turn {
        Turn {
            from: ANY,
            to,
            answer,
        }
    }

    /// Whether it applies to the authorization as it is.
    #[must_use]
    pub fn applies_to(&self, known: Option<&Row>) -> bool {
        known.is_some_and(|(known, _)| self.from.contains(&known.stage))
    }

    /// The authorization after it; `None`: nothing changes.
    #[must_use]
    pub fn of(self, known: Option<Row>) -> Option<Row> {
        let applies = self.applies_to(known.as_ref());
        match (known, self.answer) {
            (Some((known, secrets)), answer) if applies => {
                // Which codes have come is known here alone: another may have come since.
                let mut to = self.to;
                to.code = Course {
                    again_at: to.code.again_at,
                    ..known.code
                };
                Some(turned(to, secrets, answer))
            }
            (Some((known, mut secrets)), Some(answer)) => {
                kept::keep(&mut secrets.answers, answer);
                Some((known, secrets))
            }
            (None, Some(answer)) => {
                let secrets = Secrets {
                    answers: vec![answer],
                    ..Secrets::default()
                };
                Some((self.to, secrets))
            }
            (_, None) => None,
        }
    }
}

/// Where nothing more is to be presented, code and verifier go.
fn turned(to: Enrollment, mut secrets: Secrets, answer: Option<KeptAnswer>) -> Row {
    if let Some(answer) = answer {
        kept::keep(&mut secrets.answers, answer);
    }
    let waits = matches!(to.stage, Stage::Received | Stage::Quarantined);
    let is_polled = to.stage == Stage::Open && to.via == Via::Device;
    match waits || is_polled {
        true => (to, secrets),
        false => (to, rest(secrets)),
    }
}

/// What is left of the secrets where nothing more is presented. Where an answer waits for
/// an operator, the code does too: some providers want it with each refresh.
fn rest(secrets: Secrets) -> Secrets {
    match secrets.answers.is_empty() {
        true => Secrets::default(),
        false => Secrets {
            verifier: None,
            interval_ms: None,
            ..secrets
        },
    }
}

/// An answer has been read: what it holds is kept elsewhere. `None`: it is not there.
#[must_use]
pub fn forget_answer((of, mut secrets): Row, flight: ExchangeId) -> Option<Row> {
    let before = secrets.answers.len();
    secrets.answers.retain(|kept| kept.flight != flight);
    if secrets.answers.len() == before {
        return None;
    }
    let secrets = match of.stage.is_over() {
        true => rest(secrets),
        false => secrets,
    };
    Some((of, secrets))
}
