//! What an exchange came to, in one word.

use serde::{Deserialize, Serialize};

/// In one word, what an exchange came to. The words stand in events, `status` and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// A new token set.
    Success,
    /// Nothing was sent.
    NotSent,
    /// The provider asked to wait.
    AskedToWait,
    /// The refresh token may have been rotated.
    InDoubt,
    /// In doubt, and an answer is kept that could not be read.
    Unread,
    /// No answer that could be read, and nothing was at stake: client credentials.
    Unanswered,
    /// The refresh token is void.
    InvalidGrant,
    /// The client is not accepted.
    InvalidClient,
    /// A person has to do something at the provider.
    InteractionRequired,
    /// The access token is too young to be replaced.
    TooEarly,
    /// The provider cannot for now, and did nothing.
    Unavailable,
    /// Another error in the provider's own format.
    Refused,
}

impl OutcomeKind {
    /// All of them.
    pub const ALL: [OutcomeKind; 12] = [
        OutcomeKind::Success,
        OutcomeKind::NotSent,
        OutcomeKind::AskedToWait,
        OutcomeKind::InDoubt,
        OutcomeKind::Unread,
        OutcomeKind::Unanswered,
        OutcomeKind::InvalidGrant,
        OutcomeKind::InvalidClient,
        OutcomeKind::InteractionRequired,
        OutcomeKind::TooEarly,
        OutcomeKind::Unavailable,
        OutcomeKind::Refused,
    ];

    /// The kind of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<OutcomeKind> {
        OutcomeKind::ALL
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            OutcomeKind::Success => "success",
            OutcomeKind::NotSent => "not-sent",
            OutcomeKind::AskedToWait => "asked-to-wait",
            OutcomeKind::InDoubt => "in-doubt",
            OutcomeKind::Unread => "unread",
            OutcomeKind::Unanswered => "unanswered",
            OutcomeKind::InvalidGrant => "invalid-grant",
            OutcomeKind::InvalidClient => "invalid-client",
            OutcomeKind::InteractionRequired => "interaction-required",
            OutcomeKind::TooEarly => "too-early",
            OutcomeKind::Unavailable => "unavailable",
            OutcomeKind::Refused => "refused",
        }
    }
}

/// The word of an outcome that was no exchange of the grant's: an authorization, or an import.
pub const AUTHORIZED: &str = "authorized";
