//! What becomes of an exchange.

use crate::rng::Rng;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Answered,
    /// The request never came through.
    LostBefore,
    /// It was carried out, and the answer never came.
    LostAfter,
    NotSent,
    Unavailable,
    /// A gateway's error hides that the request was carried out.
    UnavailableAfter,
    TooMany,
    TooManyRetryAfter,
    /// An HTML page with status 200, after the request was carried out.
    Page,
    /// Half of an answer.
    Truncated,
    InvalidClient,
    /// `invalid_grant` from a server in disorder; only where the token never rotates.
    FalseRefusal,
    /// The answer comes after the limit.
    Late,
    /// After the limit a gateway gives up.
    LateUnavailable,
    /// After the limit the connection breaks.
    LateLost,
    IntentFailed,
    /// The journal does not take the answer.
    AnswerNotRecorded,
    /// The process ends between two actions.
    Died,
}

/// All of them, for the count at the end.
pub(crate) const ALL: [Fate; 18] = [
    Fate::Answered,
    Fate::LostBefore,
    Fate::LostAfter,
    Fate::NotSent,
    Fate::Unavailable,
    Fate::UnavailableAfter,
    Fate::TooMany,
    Fate::TooManyRetryAfter,
    Fate::Page,
    Fate::Truncated,
    Fate::InvalidClient,
    Fate::FalseRefusal,
    Fate::Late,
    Fate::LateUnavailable,
    Fate::LateLost,
    Fate::IntentFailed,
    Fate::AnswerNotRecorded,
    Fate::Died,
];

impl Fate {
    /// What the network and the server do to a request.
    pub(crate) fn draw(rng: &mut Rng) -> Fate {
        match rng.below(100) {
            0..70 => Fate::Answered,
            70..73 => Fate::LostBefore,
            73..77 => Fate::LostAfter,
            77..80 => Fate::NotSent,
            80..82 => Fate::Unavailable,
            82..84 => Fate::UnavailableAfter,
            84..85 => Fate::TooMany,
            85..87 => Fate::TooManyRetryAfter,
            87..89 => Fate::Page,
            89..91 => Fate::Truncated,
            91..92 => Fate::InvalidClient,
            92..93 => Fate::FalseRefusal,
            93..96 => Fate::Late,
            96..99 => Fate::LateUnavailable,
            _ => Fate::LateLost,
        }
    }

    /// Whether the provider carries the request out.
    pub(crate) fn is_processed(self) -> bool {
        matches!(
            self,
            Fate::Answered
                | Fate::LostAfter
                | Fate::UnavailableAfter
                | Fate::Page
                | Fate::Truncated
                | Fate::Late
        )
    }

    pub(crate) fn is_late(self) -> bool {
        matches!(self, Fate::Late | Fate::LateUnavailable | Fate::LateLost)
    }

    /// How long the exchange takes; a late one, after the limit.
    pub(crate) fn duration(self, rng: &mut Rng) -> Duration {
        if self.is_late() {
            rng.millis(1, 60_000)
        } else if rng.percent(80) {
            rng.millis(10, 400)
        } else {
            rng.millis(400, 29_000)
        }
    }
}
