//! What is wrong with a grant: a function of its state, so that what a crash
//! left untold is told at the next start.

use super::{Kind, Kinds};
use crate::grant::notice::notice;
use crate::grant::outcome::{AUTHORIZED, OutcomeKind};
use crate::grant::schedule::{reauthorize_before, refresh_token_over};
use crate::grant::{GrantState, Policy};
use crate::time::WallTime;
use std::time::Duration;

/// A first token set comes within this.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// A dead token is replaced within this where nothing fails: after a sleep, or a start.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

impl Kinds {
    /// What is wrong with a grant.
    #[must_use]
    pub fn of_grant(state: &GrantState, policy: &Policy, now: WallTime) -> Kinds {
        // What its operator has ended is not unhealthy.
        if state.revoked.is_some() {
            return Kinds::NONE;
        }
        let anew = policy.asks_anew();
        if state.generation == 0 {
            return Kinds::NONE.with_if(Kind::Expired, lacks_token(state, anew, now));
        }
        let over = refresh_token_over(state, policy, now).is_some();
        let refused = state.refusal.is_some() && !anew && !over;
        let doubt = state.doubt.as_ref().filter(|_| !anew && !refused && !over);
        let ends = reauthorize_before(state, policy)
            .is_some_and(|end| notice(end, now).days.is_some() && !refused && !over);
        let waits = state.pause.is_some() || refused || over;
        let renews = anew || state.presents.is_some();
        let expired = renews && !waits && lacks_token(state, anew, now);
        Kinds::NONE
            .with_if(Kind::RefreshTokenOver, over)
            .with_if(Kind::Refused, refused)
            .with_if(Kind::InDoubt, doubt.is_some_and(|doubt| !doubt.unread))
            .with_if(Kind::Unread, doubt.is_some_and(|doubt| doubt.unread))
            .with_if(Kind::NeedsAuthorization, ends)
            .with_if(Kind::BindingChanged, state.pause.is_some())
            .with_if(Kind::Suspect, state.access_dead && !refused)
            .with_if(Kind::Expired, expired)
            .with_if(Kind::DuplicateRefreshToken, state.shared_with.is_some())
    }
}

/// Whether readers lack a living access token: it ended, and no try has replaced it for
/// a while; or a first one has not come, though the client can ask for it.
fn lacks_token(state: &GrantState, anew: bool, now: WallTime) -> bool {
    let tried = state.failures > 0;
    match (state.generation, lacks_token_at(state)) {
        (0, Some(at)) => anew && now >= at,
        (0, None) => anew && tried,
        (_, Some(at)) => now >= at || (tried && now >= state.expires_at),
        (_, None) => false,
    }
}

/// When a grant that nobody has asked for since lacks a living token for too long.
#[must_use]
pub fn lacks_token_at(state: &GrantState) -> Option<WallTime> {
    match state.generation {
        0 => Some(state.login_at + FIRST_WITHIN).filter(|_| state.login_at > WallTime(0)),
        _ => Some(state.expires_at + REPLACED_WITHIN),
    }
}

/// Why an incident of a grant is over, as the state that ended it tells.
#[must_use]
pub fn over(kind: Kind, state: &GrantState) -> String {
    let came = format!("generation {} came", state.generation);
    let last = state.last_outcome.as_ref().map(|last| last.kind.as_str());
    match kind {
        Kind::NotSaved => "the database has taken it".to_owned(),
        _ if state.revoked.is_some() => "its operator had it revoked".to_owned(),
        Kind::BindingChanged => "it may be refreshed again".to_owned(),
        Kind::NotStarted if last != Some(OutcomeKind::Success.word()) => {
            "a refresh has begun again".to_owned()
        }
        _ if last == Some(OutcomeKind::Success.word()) => came,
        Kind::InDoubt | Kind::Unread | Kind::Suspect | Kind::Expired if state.refusal.is_some() => {
            "the provider refused the refresh token".to_owned()
        }
        Kind::InDoubt if state.doubt.as_ref().is_some_and(|doubt| doubt.unread) => {
            "an answer came, which cannot be read".to_owned()
        }
        _ if last.is_none_or(|last| last == AUTHORIZED) => {
            format!("{came} with another authorization")
        }
        _ => "it is not so any more".to_owned(),
    }
}
