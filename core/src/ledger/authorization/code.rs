//! A code comes for an authorization.

use super::Row;
use crate::enroll::{Enrollment, Secrets, Stage};
use crate::secret::{Fingerprint, Secret};
use crate::time::WallTime;

/// What a code that came is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is kept, and is to be presented.
    New(Box<Enrollment>),
    /// It came before.
    Again(Box<Enrollment>),
    /// Another code has come for this authorization, or it is over.
    Spent(Box<Enrollment>),
}

impl Received {
    /// The authorization whose code is to be presented. Whoever brought it first may have
    /// gone away before it was.
    #[must_use]
    pub fn to_present(&self) -> Option<&Enrollment> {
        match self {
            Received::New(enrollment) => Some(enrollment),
            Received::Again(known) if known.stage == Stage::Received => Some(known),
            Received::Again(_) | Received::Spent(_) => None,
        }
    }
}

/// Keeps a code that came for an authorization, if it is the first; a link may be tried
/// again, with another code. `before`: the code that came last; `code`: this one with its
/// fingerprint; `with`: what it is to be presented with, where that was not kept before.
/// With the authorization as it is to be, if it changes.
#[must_use]
pub fn receive(
    (known, secrets): Row,
    before: Option<Fingerprint>,
    learned: Enrollment,
    (code, fingerprint): (Secret, Fingerprint),
    with: Secrets,
    now: WallTime,
) -> (Received, Option<Row>) {
    let course = known.code.clone().of_next(before, now);
    let course =
        course.filter(|course| known.stage == Stage::Open && !course.spent.contains(&fingerprint));
    let Some(course) = course else {
        return (Received::Spent(Box::new(known)), None);
    };
    let received = Enrollment {
        stage: Stage::Received,
        text: String::new(),
        code: course,
        ..learned
    };
    let secrets = Secrets {
        code: Some(code),
        verifier: with.verifier.or(secrets.verifier),
        nonce: with.nonce.or(secrets.nonce),
        interval_ms: None,
        answers: secrets.answers,
    };
    (
        Received::New(Box::new(received.clone())),
        Some((received, secrets)),
    )
}
