//! What an exchange said about whom it was sent to.

use crate::grant::outcome::OutcomeKind;
use crate::grant::state::GrantState;
use crate::mutation::{self, Mutation};
use crate::time::WallTime;

/// In what way an exchange failed, where that may be more than its grant's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing could be sent: no connection, no TLS.
    Down,
    /// The request left, and no answer that can be read is here.
    Lossy,
    /// The provider asked to wait.
    Wait,
    /// The provider said that it cannot for now, and did nothing.
    Sick,
    /// The client was not accepted.
    Client,
}

impl Trouble {
    /// All of them, in order.
    pub const ALL: [Trouble; 5] = [
        Trouble::Down,
        Trouble::Lossy,
        Trouble::Wait,
        Trouble::Sick,
        Trouble::Client,
    ];

    /// How exchanges fail, for people.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Trouble::Down => "exchanges could not be sent",
            Trouble::Lossy => "exchanges brought no answer that can be read",
            Trouble::Wait => "exchanges were asked to wait",
            Trouble::Sick => "exchanges were told that the provider cannot for now",
            Trouble::Client => "exchanges were told that the client is not accepted",
        }
    }

    /// One word, for logs and `status --json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Trouble::Down => "down",
            Trouble::Lossy => "lossy",
            Trouble::Wait => "wait",
            Trouble::Sick => "sick",
            Trouble::Client => "client",
        }
    }
}

/// What an exchange said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A new token set.
    Success,
    /// An answer about the grant itself, which was asked in vain. `accepted`: it says
    /// that the client was accepted.
    Answered {
        /// The client was accepted.
        accepted: bool,
    },
    /// It failed in a way that others may share.
    Failed {
        /// In which.
        trouble: Trouble,
        /// The host has more to do than it can: HTTP 429 or 503.
        overloaded: bool,
        /// Not to be asked before, as the provider said.
        told: Option<WallTime>,
    },
}

impl Sign {
    /// In which way it failed, if it did.
    #[must_use]
    pub fn trouble(self) -> Option<Trouble> {
        match self {
            Sign::Failed { trouble, .. } => Some(trouble),
            Sign::Success | Sign::Answered { .. } => None,
        }
    }

    /// Until when the provider asked to wait.
    #[must_use]
    pub fn told(self) -> Option<WallTime> {
        match self {
            Sign::Failed { told, .. } => told,
            Sign::Success | Sign::Answered { .. } => None,
        }
    }

    /// Whether an answer came that can be read.
    #[must_use]
    pub fn is_answer(self) -> bool {
        !matches!(self.trouble(), Some(Trouble::Down | Trouble::Lossy))
    }

    /// What a settled exchange said, for the grant as it is after it.
    #[must_use]
    pub fn of(kind: OutcomeKind, state: &GrantState) -> Sign {
        let status = state.last_outcome.as_ref().and_then(|last| last.status);
        let failed = |trouble| Sign::Failed {
            trouble,
            overloaded: matches!(status, Some(429 | 503)),
            told: state.asked_until.filter(|_| trouble == Trouble::Wait),
        };
        match kind {
            OutcomeKind::Success => Sign::Success,
            OutcomeKind::NotSent => failed(Trouble::Down),
            OutcomeKind::InDoubt | OutcomeKind::Unanswered | OutcomeKind::Unread => {
                failed(Trouble::Lossy)
            }
            OutcomeKind::AskedToWait => failed(Trouble::Wait),
            OutcomeKind::Unavailable => failed(Trouble::Sick),
            OutcomeKind::InvalidClient => failed(Trouble::Client),
            OutcomeKind::InvalidGrant if mutation::is(Mutation::RefusalsPauseClient) => {
                failed(Trouble::Client)
            }
            OutcomeKind::InvalidGrant
            | OutcomeKind::InteractionRequired
            | OutcomeKind::TooEarly => Sign::Answered { accepted: true },
            OutcomeKind::Refused => Sign::Answered { accepted: false },
        }
    }
}
