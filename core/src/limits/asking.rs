//! What asking for a grant would be, as the brakes see it.

use super::trouble::{Sign, Trouble};
use crate::grant::Policy;
use crate::grant::outcome::OutcomeKind;
use crate::grant::presentation::{self, Presents};
use crate::grant::schedule::last_moment_of;
use crate::grant::state::GrantState;
use crate::provider::description::{OldValid, Reuse, Rotates};
use crate::time::WallTime;
use std::time::Duration;

/// In what way the last exchange failed, where others may share that.
fn last_trouble(state: &GrantState) -> Option<Trouble> {
    let last = state.last_outcome.as_ref()?;
    match Sign::of(OutcomeKind::of_word(&last.kind)?, state) {
        Sign::Failed { trouble, .. } => Some(trouble),
        Sign::Success | Sign::Answered { .. } => None,
    }
}

/// A grant that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// How many times it was asked since its token set was issued.
    pub sends: u32,
    /// In what way its last exchange failed, if it did.
    pub trouble: Option<Trouble>,
    /// When it was last asked.
    pub asked_at: WallTime,
    /// When its access token ends; `None`: it is dead, or there was never one.
    pub ends_at: Option<WallTime>,
    /// How long its access token lives in all.
    pub life: Duration,
    /// It worked last, and nothing is wrong with it.
    pub fresh: bool,
    /// An answer that is lost costs its refresh token: that rotates, the old one is over at
    /// once, and presenting it again revokes.
    pub spends: bool,
    /// Nothing can be lost by asking.
    pub harmless: bool,
    /// It has a good refresh token, or needs none, also where an answer is lost.
    pub outlasts_loss: bool,
    /// Somebody wishes it.
    pub wished: bool,
    /// It would tell whether a brake is over: it is in no trouble of another sort.
    pub is_witness: bool,
}

impl Asking {
    /// Of a grant in this state.
    #[must_use]
    pub fn of(state: &GrantState, policy: &Policy, now: WallTime) -> Asking {
        let rotation = &policy.rotation;
        let next = presentation::next(state, policy, now);
        let token = matches!(next, Some(Presents::RefreshToken(_)));
        let rotates = token && rotation.rotates != Rotates::Never;
        let forgiving = rotation.old_valid() == OldValid::Forever || rotation.reuse == Reuse::Error;
        Asking {
            sends: state.failures,
            trouble: last_trouble(state),
            asked_at: state
                .last_outcome
                .as_ref()
                .map_or(WallTime(0), |last| last.at),
            ends_at: Some(state.expires_at).filter(|_| state.is_alive(now)),
            life: state.lifetime(),
            fresh: state.generation > 0
                && state.failures == 0
                && state.doubt.is_none()
                && state.refusal.is_none(),
            spends: rotates
                && rotation.reuse == Reuse::Revokes
                && rotation.old_valid() == OldValid::For(Duration::ZERO),
            harmless: (!rotates || forgiving) && !rotation.revokes_old_access,
            outlasts_loss: !rotates || rotation.old_valid() == OldValid::Forever,
            wished: false,
            is_witness: true,
        }
    }

    /// Of a grant that the configuration does not have any more.
    #[must_use]
    pub fn nothing() -> Asking {
        Asking {
            sends: 0,
            trouble: None,
            asked_at: WallTime(0),
            ends_at: None,
            life: Duration::ZERO,
            fresh: false,
            spends: false,
            harmless: false,
            outlasts_loss: false,
            wished: false,
            is_witness: true,
        }
    }

    /// The last moment at which asking can still come in time.
    #[must_use]
    pub fn last_moment(&self) -> Option<WallTime> {
        let life = self.life;
        self.ends_at.map(|ends_at| last_moment_of(ends_at, life))
    }

    /// Whether a brake that holds no first attempts lets it pass: when it is due and once
    /// more at its last moment, or sooner where somebody wishes it.
    pub(super) fn passes(&self, now: WallTime) -> bool {
        let Some(last) = self.last_moment() else {
            return false;
        };
        match self.sends {
            0 => true,
            1 => now >= last || self.wished,
            _ => false,
        }
    }
}
