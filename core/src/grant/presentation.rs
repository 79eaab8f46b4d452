//! What the next exchange of a grant presents.

use super::policy::Policy;
use super::state::GrantState;
use crate::mutation::{self, Mutation};
use crate::provider::description::With;
use crate::secret::Fingerprint;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};

/// What an exchange presents besides the client itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presents {
    /// The refresh token of this fingerprint (RFC 6749 §6).
    RefreshToken(Fingerprint),
    /// Nothing: the client asks for itself (RFC 6749 §4.4). Such an exchange has
    /// nothing to lose: where its answer is lost, another is as good.
    ClientCredentials,
    /// The authorization code of this fingerprint (RFC 6749 §4.1.3), or the device
    /// code (RFC 8628 §3.4): an enrolment's exchange, which no grant's state decides.
    Code(Fingerprint),
}

impl Presents {
    /// Whether it is this refresh token.
    #[must_use]
    pub fn is_token(self, token: Fingerprint) -> bool {
        self == Presents::RefreshToken(token)
    }
}

/// What would be presented now; `None`: nothing can be.
#[must_use]
pub fn next(state: &GrantState, policy: &Policy, now: WallTime) -> Option<Presents> {
    let anew = policy.asks_anew().then_some(Presents::ClientCredentials);
    let token = state
        .presents
        .filter(|_| policy.with == With::RefreshToken)
        .filter(|_| anew.is_none() || is_good(state, now));
    token.map(Presents::RefreshToken).or(anew)
}

/// Whether nothing speaks against the refresh token.
fn is_good(state: &GrantState, now: WallTime) -> bool {
    state.refusal.is_none()
        && state.revoked.is_none()
        && (state.doubt.is_none() || mutation::is(Mutation::ReplayWhereAnew))
        && state.refresh_expires_at.is_none_or(|end| now < end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::state::{Doubt, Refusal};
    use crate::provider::description::Fallback;

    const TOKEN: Fingerprint = Fingerprint([1; 16]);
    const NOW: WallTime = WallTime(1_000_000);

    fn policy(with: With, fallback: Option<Fallback>) -> Policy {
        Policy {
            with,
            fallback,
            ..Policy::default()
        }
    }

    fn state() -> GrantState {
        GrantState {
            generation: 1,
            presents: Some(TOKEN),
            ..GrantState::default()
        }
    }

    fn troubled() -> [GrantState; 4] {
        let refusal = Refusal {
            provisional: false,
            interaction: false,
            at: NOW,
            times: 1,
            text: String::new(),
        };
        let doubt = Doubt {
            first_sent: NOW,
            last_sent: NOW,
            presents: TOKEN,
            presentations: 1,
            unread: false,
            relic: false,
        };
        [
            GrantState {
                presents: None,
                ..state()
            },
            GrantState {
                refusal: Some(refusal),
                ..state()
            },
            GrantState {
                doubt: Some(doubt),
                ..state()
            },
            GrantState {
                refresh_expires_at: Some(NOW),
                ..state()
            },
        ]
    }

    #[test]
    fn a_good_refresh_token_comes_first() {
        let fallback = policy(With::RefreshToken, Some(Fallback::ClientCredentials));
        let token = Some(Presents::RefreshToken(TOKEN));
        assert_eq!(next(&state(), &fallback, NOW), token);
        let plain = policy(With::RefreshToken, None);
        assert_eq!(next(&state(), &plain, NOW), token);
    }

    #[test]
    fn where_the_client_can_ask_itself_a_doubtful_token_is_not_presented() {
        let fallback = policy(With::RefreshToken, Some(Fallback::ClientCredentials));
        for state in troubled() {
            let anew = Some(Presents::ClientCredentials);
            assert_eq!(next(&state, &fallback, NOW), anew, "{state:?}");
        }
    }

    #[test]
    fn without_a_fallback_the_token_is_all_there_is() {
        let plain = policy(With::RefreshToken, None);
        let [none, others @ ..] = troubled();
        assert_eq!(next(&none, &plain, NOW), None);
        for state in others {
            let token = Some(Presents::RefreshToken(TOKEN));
            assert_eq!(next(&state, &plain, NOW), token, "{state:?}");
        }
    }

    #[test]
    fn with_says_what_is_never_presented() {
        let client = policy(With::ClientCredentials, None);
        assert_eq!(
            next(&state(), &client, NOW),
            Some(Presents::ClientCredentials)
        );
        assert_eq!(next(&state(), &policy(With::None, None), NOW), None);
    }
}
