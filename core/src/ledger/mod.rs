//! What a store holds of a grant as one value, and every change of it as a pure function:
//! `(&Entry, &Facts, command) -> Changes`. A store loads the entry, answers what the facts
//! ask, and writes the changes in one transaction. It has no rule of its own.
//!
//! - [`settle`]: what an exchange did, in time or too late
//! - [`fallback`]: another refresh token in the place of a refused one
//! - [`import`]: a token set from outside
//! - [`authorization`]: a token set that a person has authorized
//! - [`restore`]: going on from a store that was put back
//! - [`begin`](begin::begin), [`allow`]: the small ones

pub mod authorization;
pub mod begin;
pub mod fallback;
pub mod import;
mod judgement;
pub mod restore;
pub mod settle;

use crate::flight::{ExchangeId, Intent};
use crate::grant::candidate::Kept;
use crate::grant::{Binding, Grant, GrantId, GrantState, TokenSet};
use crate::provider::Answer;
use crate::provider::description::DescriptionHash;
use crate::secret::Fingerprint;
use crate::time::WallTime;

/// What a store holds of a grant, as far as changes of it depend on that. Answers that are
/// kept and the history are not part of it: no rule reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The grant.
    pub grant: Grant,
    /// Its token set; `None` before the first.
    pub tokens: Option<TokenSet>,
    /// Token sets and answers of other generations, the oldest first.
    pub candidates: Vec<Candidate>,
}

/// A token set, or an answer that could not be read, of another generation than the
/// grant's: an exchange was overtaken, or another token set took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The exchange that brought it, or a number of its own.
    pub flight: ExchangeId,
    /// The generation it follows on.
    pub base_generation: u64,
    /// The token set, where the answer could be read.
    pub tokens: Option<TokenSet>,
    /// The answer, where it could not.
    pub answer: Option<Answer>,
    /// By which description it was read, or was to be; `None`: no exchange brought it.
    pub description: Option<DescriptionHash>,
    /// Its refresh token was refused.
    pub refused: bool,
    /// To whom it is bound; `None`: not known.
    pub binding: Option<Binding>,
    /// When it came.
    pub at: WallTime,
}

impl Candidate {
    /// The token set of a grant that another takes the place of.
    fn replaced(grant: &Grant, tokens: &TokenSet, fresh: ExchangeId, at: WallTime) -> Candidate {
        Candidate {
            flight: fresh,
            base_generation: grant.state.generation.saturating_sub(1),
            tokens: Some(tokens.clone()),
            answer: None,
            description: None,
            refused: false,
            binding: grant.state.binding.clone(),
            at,
        }
    }

    /// As far as it matters for trying it.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            base_generation: self.base_generation,
            at: self.at,
            refused: self.refused,
            by_flight: self.description.is_some(),
            binding: self.binding.clone(),
        }
    }

    /// Its refresh token, if it has another than that token set.
    fn refresh_token_beside(&self, current: &TokenSet) -> Option<&crate::secret::Secret> {
        let token = self.tokens.as_ref()?.refresh_token.as_ref();
        token.filter(|token| Some(*token) != current.refresh_token.as_ref())
    }
}

impl Entry {
    /// A grant with its token set, where its candidates do not matter.
    #[must_use]
    pub fn of(grant: Grant, tokens: Option<TokenSet>) -> Entry {
        Entry {
            grant,
            tokens,
            candidates: Vec::new(),
        }
    }

    fn kept(&self) -> Vec<Kept> {
        self.candidates.iter().map(Candidate::kept).collect()
    }
}

/// What a change depends on beside the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The grant that has had the refresh token (or, without one, the access token) which
    /// the command brings.
    pub owner: Option<Owner>,
    /// A number that no exchange has: what is kept is named by it.
    pub fresh: ExchangeId,
}

/// A grant that has had a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub id: GrantId,
    /// Its name.
    pub name: String,
}

impl Owner {
    fn is(&self, grant: &Grant) -> bool {
        self.id == grant.id
    }
}

/// Something that happened to a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// One word, as in metrics.
    pub kind: String,
    /// A sentence for a person, printable.
    pub text: String,
}

/// That a token is a grant's: one refresh token belongs to one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The token's.
    pub fingerprint: Fingerprint,
    /// The generation that has it.
    pub generation: u64,
    /// It came from outside, and may do so again after years: it is never forgotten.
    pub seed: bool,
}

/// An answer to keep, with the intent by which it is settled once it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadAnswer {
    /// The intent.
    pub intent: Intent,
    /// The grant's generation.
    pub generation: u64,
    /// The answer.
    pub answer: Answer,
    /// When it is kept.
    pub at: WallTime,
}

/// What a store is to write of a grant, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The grant as it is to be. Its revision is one more than that of the entry which
    /// they rest on; 1: it is new.
    pub grant: Option<Grant>,
    /// The token set to seal for the grant's generation; `None`: the one that there is.
    pub tokens: Option<TokenSet>,
    /// What is kept beside it from now on.
    pub keep: Vec<Candidate>,
    /// What is a candidate no longer.
    pub forget: Vec<ExchangeId>,
    /// An answer to keep since it could not be read.
    pub answer: Option<UnreadAnswer>,
    /// Whose a token is from now on.
    pub claim: Option<Claim>,
    /// A line of history, and the exchange that it is about.
    pub event: Option<(Event, Option<ExchangeId>)>,
}

/// The changes of a state alone: what may be over counts as over, as `after` says. `None`:
/// nothing changes.
#[must_use]
pub fn allow(
    entry: &Entry,
    event: &Event,
    after: impl Fn(&GrantState) -> Option<GrantState>,
) -> Option<Changes> {
    let state = after(&entry.grant.state)?;
    Some(Changes {
        grant: Some(Grant {
            revision: entry.grant.revision + 1,
            state,
            ..entry.grant.clone()
        }),
        event: Some((event.clone(), None)),
        ..Changes::default()
    })
}

#[cfg(test)]
mod tests;
