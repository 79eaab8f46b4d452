//! What a flight commits, and what becomes of that.

use crate::grant::candidate::Kept;
use crate::grant::{Grant, GrantState, Presents, TokenSet};
use crate::mutation::{self, Mutation};
use crate::provider::Answer;
use crate::time::WallTime;
use std::time::Duration;

/// What a flight commits, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The grant's new state.
    pub state: GrantState,
    /// The new token set, on success.
    pub tokens: Option<TokenSet>,
    /// The answer to keep because it could not be read yet.
    pub unread: Option<Answer>,
    /// The request that left; `None`: none did, or it is a change of state alone.
    pub sent: Option<Sent>,
}

/// A request that has left, as its grant has to account for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When.
    pub at: WallTime,
    /// The time in which its provider counts requests.
    pub counted_per: Option<Duration>,
    /// It may have been carried out, and have ended the access token of that moment.
    pub ends_access: bool,
}

impl Sent {
    /// Counts it, unless that was done: an overdue flight settles twice, and has
    /// sent once. Whether it was new.
    pub(crate) fn count(&self, state: &mut GrantState) -> bool {
        let at = self.at;
        let is_new = state.last_send.is_none_or(|last| at > last);
        state.last_send = state.last_send.max(Some(at));
        if let Some(per) = self.counted_per.filter(|_| is_new) {
            let running = state.window_from.is_some_and(|from| at < from + per);
            if !running {
                state.window_from = Some(at);
                state.sends_in_window = 0;
            }
            state.sends_in_window += 1;
        }
        is_new
    }
}

impl Settlement {
    /// The generation that it follows on.
    #[must_use]
    pub fn base_generation(&self) -> u64 {
        self.state
            .generation
            .saturating_sub(u64::from(self.tokens.is_some()))
    }

    /// What becomes of it, given the grant as it is and the revision it rests on.
    #[must_use]
    pub fn standing(&self, grant: &Grant, base_revision: u64) -> Standing {
        // In a store that was put back, revisions come a second time: the generation goes first.
        let follows = grant.state.generation == self.base_generation();
        if mutation::is(Mutation::StaleApplied) {
            Standing::Current
        } else if !follows {
            Standing::Superseded
        } else if grant.revision == base_revision {
            Standing::Current
        } else {
            Standing::Outdated
        }
    }

    /// How the refresh token that it takes the place of is kept, where its exchange
    /// had presented another: a second chance has come between, and which of the two
    /// the provider goes on with, nobody knows. `None`: it was exchanged for this one,
    /// or stays.
    #[must_use]
    pub fn displaces(&self, state: &GrantState, presented: Presents, at: WallTime) -> Option<Kept> {
        let stays = self.tokens.is_none() || self.state.presents == state.presents;
        let exchanged = match presented {
            Presents::RefreshToken(token) => state.presents == Some(token),
            Presents::ClientCredentials | Presents::Code(_) => true,
        };
        if stays || exchanged || state.presents.is_none() {
            return None;
        }
        let relic = state.doubt.as_ref().is_some_and(|doubt| doubt.relic);
        let before = if relic {
            state.generation.min(state.doubts_before)
        } else {
            state.generation
        };
        Some(Kept {
            base_generation: before.saturating_sub(1),
            at,
            refused: state.refusal.is_some(),
            by_flight: true,
            binding: state.binding.clone(),
        })
    }

    /// What a grant that has another generation by now is to know of it, though it
    /// came too late for it: that something was sent, and that this has ended the
    /// access token which came of an earlier request. `None`: nothing that it does
    /// not know.
    #[must_use]
    pub fn overtakes(&self, state: &GrantState) -> Option<GrantState> {
        let sent = self.sent?;
        let (base, mut state) = (self.base_generation(), state.clone());
        // What a person has authorized since knows nothing of it; nor does a store of
        // which a restore has lost that time.
        let ours = base >= state.chances_from;
        let counts = (ours || state.own) && base < state.generation;
        if !counts || !sent.count(&mut state) {
            return None;
        }
        // A replay that brought the same token set has ended nothing.
        let same = self.tokens.is_some() && self.state.access == state.access;
        state.access_dead |= sent.ends_access && ours && !same;
        Some(state)
    }
}

/// What becomes of a settlement when it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is applied.
    Current,
    /// Only the grant's state has moved on. Nothing is written, and the intent stays:
    /// the flight settles again, on what the state is now.
    Outdated,
    /// The grant has another generation: what it brought is a candidate.
    Superseded,
}
