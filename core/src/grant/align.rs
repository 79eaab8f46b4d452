//! What has to be committed so that a grant's state agrees with the configuration.

use super::binding::Binding;
use super::state::{GrantState, Pause};
use crate::mutation::{self, Mutation};

/// What the configuration says about a grant.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// It stands there by name.
    pub configured: bool,
    /// The client can ask for a token set itself.
    pub asks_anew: bool,
    /// To whom its refresh token would go; `None`: that cannot be told.
    pub binding: Option<Binding>,
}

/// A state to be committed, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state.
    pub state: GrantState,
    /// One word, as in the history.
    pub kind: &'static str,
    /// A sentence for people; may be empty.
    pub text: String,
}

/// That the grant is configured, and that its refresh token is bound to where the
/// configuration would send it; `None`: it agrees.
#[must_use]
pub fn aligned(before: &GrantState, wanted: Wanted) -> Option<Change> {
    let mut state = before.clone();
    state.configured |= wanted.configured;
    state.asks_anew = wanted.asks_anew;
    let to = wanted.binding?;
    let (kind, text) = bind(&mut state, to);
    (state != *before).then_some(Change { state, kind, text })
}

fn bind(state: &mut GrantState, to: Binding) -> (&'static str, String) {
    let configured = ("configured", String::new());
    match &state.binding {
        None => {
            state.binding = Some(to);
            configured
        }
        Some(from) if *from == to => match state.pause.take() {
            Some(_) => {
                let text = "client and token endpoint are the old ones again";
                ("resumed", text.to_owned())
            }
            None => configured,
        },
        // Nothing can go astray before there is anything.
        Some(_) if state.generation == 0 || mutation::is(Mutation::BindingFollowed) => {
            state.binding = Some(to);
            state.not_before = None;
            state.pause = None;
            configured
        }
        // Nor where the client asks for another of its own; a person's authorization
        // is not given up for a slip in the configuration.
        Some(_) if state.asks_anew && (state.own || state.presents.is_none()) => {
            state.pause = None;
            state.presents = None;
            state.expiry_unknown = true;
            // What the former endpoint asked for does not hold at another.
            state.not_before = None;
            let text = format!(
                "the client is {} at {} now; it asks for a new token set",
                to.client_id, to.origin
            );
            state.binding = Some(to);
            state.chances_from = state.generation + 1;
            ("rebound", text)
        }
        Some(from) => {
            let text = format!(
                "its refresh token belongs to client {} at {}, the configuration now says client {} at {}",
                from.client_id, from.origin, to.client_id, to.origin
            );
            let from = from.clone();
            state.pause = Some(Pause::BindingChanged { from, to });
            ("paused", text)
        }
    }
}

/// The state once its operator has confirmed that the refresh token may go there.
#[must_use]
pub fn accepted(state: &GrantState, to: Binding) -> GrantState {
    GrantState {
        binding: Some(to),
        pause: None,
        ..state.clone()
    }
}
