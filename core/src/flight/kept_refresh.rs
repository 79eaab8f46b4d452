//! A person has authorized a grant again, and the answer has no refresh token: some
//! providers give one at the first consent alone (Google without `prompt=consent`). The
//! one that the grant has is as good as before, and goes on.

use crate::flight::Settlement;
use crate::grant::state::GrantState;
use crate::grant::{Presents, TokenSet};
use crate::time::WallTime;

/// The token set of an authorization without a refresh token, with the one that the
/// grant had before. What is known of that one stays: its doubt, its end, what exchanges
/// of it brought. `None`: there is none to keep, it is known to be void or has ended, an
/// answer is kept that may hold a newer one, or it is another account's, client's or
/// origin's. The generation is the store's to set, here too.
#[must_use]
pub fn keep(
    before: (&GrantState, &TokenSet),
    brought: (&GrantState, &TokenSet),
    now: WallTime,
) -> Option<(GrantState, TokenSet)> {
    let ((old, old_tokens), (new, new_tokens)) = (before, brought);
    let refresh = old_tokens.refresh_token.clone();
    let is_void = old.refusal.is_some()
        || old.revoked.is_some()
        || old.refresh_expires_at.is_some_and(|end| end <= now);
    let is_elsewhere = old.pause.is_some() || old.binding != new.binding;
    let is_another_s = matches!((old.account, new.account), (Some(a), Some(b)) if a != b);
    let is_unread = old.doubt.as_ref().is_some_and(|doubt| doubt.unread);
    let nothing = refresh.is_none() || new_tokens.refresh_token.is_some();
    if nothing || is_void || is_elsewhere || is_another_s || is_unread {
        return None;
    }
    let state = GrantState {
        presents: old.presents,
        refresh_expires_at: old.refresh_expires_at,
        doubt: old.doubt.clone(),
        chances_from: old.chances_from,
        doubts_before: old.doubts_before,
        last_send: old.last_send,
        sends_in_window: old.sends_in_window,
        window_from: old.window_from,
        kept_refresh_at: Some(0),
        ..new.clone()
    };
    let tokens = TokenSet {
        refresh_token: refresh,
        code: new_tokens.code.clone().or(old_tokens.code.clone()),
        ..new_tokens.clone()
    };
    Some((state, tokens))
}

impl Settlement {
    /// What an exchange that presented the refresh token which was kept means for the
    /// grant, though the authorization has overtaken it: the same refresh token stands in
    /// both. The state, and the token set if the refresh token was rotated. `None`: nothing.
    #[must_use]
    pub fn concerns_kept(
        &self,
        presented: Presents,
        grant: (&GrantState, &TokenSet),
    ) -> Option<(GrantState, Option<TokenSet>)> {
        let (state, tokens) = grant;
        let base = self.base_generation();
        let same = state
            .presents
            .is_some_and(|token| presented.is_token(token));
        let ours = base >= state.chances_from && base < state.generation;
        let kept = state.kept_refresh_at == Some(state.generation);
        if !(kept && same && ours) {
            return None;
        }
        let next = self.tokens.as_ref().and_then(|t| t.refresh_token.clone());
        let rotated = next.filter(|_| self.state.presents != state.presents);
        let changed = GrantState {
            presents: self.state.presents,
            refresh_expires_at: self.state.refresh_expires_at,
            doubt: self.state.doubt.clone(),
            refusal: self.state.refusal.clone(),
            ..state.clone()
        };
        let tokens = rotated.map(|token| TokenSet {
            refresh_token: Some(token),
            ..tokens.clone()
        });
        (changed != *state || tokens.is_some()).then_some((changed, tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Binding;
    use crate::grant::state::{Doubt, Refusal};
    use crate::secret::{Fingerprint, Secret};

    const OLD: Fingerprint = Fingerprint([1; 16]);
    const NEXT: Fingerprint = Fingerprint([2; 16]);
    const NOW: WallTime = WallTime(1_000_000);

    fn tokens(access: &str, refresh: Option<&str>) -> TokenSet {
        TokenSet {
            access_token: Secret::new(access),
            refresh_token: refresh.map(Secret::new),
            ..TokenSet::none()
        }
    }

    fn doubt(unread: bool) -> Doubt {
        Doubt {
            first_sent: WallTime(1),
            last_sent: WallTime(1),
            presents: OLD,
            presentations: 1,
            unread,
            relic: false,
        }
    }

    fn before() -> GrantState {
        GrantState {
            generation: 3,
            presents: Some(OLD),
            chances_from: 1,
            doubt: Some(doubt(false)),
            account: Some(Fingerprint([9; 16])),
            ..GrantState::default()
        }
    }

    fn kept(
        before: &GrantState,
        new: &GrantState,
        brought: &TokenSet,
    ) -> Option<(GrantState, TokenSet)> {
        keep((before, &tokens("a", Some("r"))), (new, brought), NOW)
    }

    #[test]
    fn the_refresh_token_stays_with_all_that_is_known_of_it() {
        let new = GrantState {
            login_at: NOW,
            ..GrantState::default()
        };
        let (state, set) = kept(&before(), &new, &tokens("b", None)).expect("it is kept");
        assert_eq!(set, tokens("b", Some("r")));
        assert_eq!(state.presents, Some(OLD));
        assert_eq!(state.doubt, Some(doubt(false)));
        assert_eq!((state.chances_from, state.login_at), (1, NOW));
        assert_eq!(kept(&before(), &new, &tokens("b", Some("s"))), None);
    }

    #[test]
    fn what_is_void_or_somebody_else_s_does_not() {
        let new = GrantState::default();
        let refusal = Refusal {
            provisional: false,
            interaction: false,
            at: NOW,
            times: 1,
            text: String::new(),
        };
        let elsewhere = Binding {
            client_id: "other".to_owned(),
            origin: "https://as.example:443".to_owned(),
        };
        let cases = [
            GrantState {
                refusal: Some(refusal),
                ..before()
            },
            GrantState {
                refresh_expires_at: Some(NOW),
                ..before()
            },
            GrantState {
                binding: Some(elsewhere),
                ..before()
            },
            GrantState {
                doubt: Some(doubt(true)),
                ..before()
            },
        ];
        for case in cases {
            assert_eq!(kept(&case, &new, &tokens("b", None)), None, "{case:?}");
        }
        let another = GrantState {
            account: Some(Fingerprint([8; 16])),
            ..new.clone()
        };
        assert_eq!(kept(&before(), &another, &tokens("b", None)), None);
        let bare = keep(
            (&before(), &tokens("a", None)),
            (&new, &tokens("b", None)),
            NOW,
        );
        assert_eq!(bare, None);
    }

    /// A refresh was on its way when the person authorized.
    #[test]
    fn what_an_exchange_under_way_did_to_it_is_heeded() {
        let state = GrantState {
            generation: 4,
            kept_refresh_at: Some(4),
            doubt: None,
            ..before()
        };
        let current = tokens("b", Some("r"));
        let of = |after: GrantState, set: Option<TokenSet>, presented| {
            let settlement = Settlement {
                state: after,
                tokens: set,
                unread: None,
                sent: None,
            };
            settlement.concerns_kept(presented, (&state, &current))
        };
        let presented = Presents::RefreshToken(OLD);
        // Its answer was lost.
        let (doubted, set) = of(before(), None, presented).expect("it is in doubt");
        assert_eq!((doubted.doubt, set), (Some(doubt(false)), None));
        assert_eq!(doubted.generation, 4);
        // It was rotated: the next one takes its place, and the access token stays.
        let rotated = GrantState {
            generation: 4,
            presents: Some(NEXT),
            doubt: None,
            ..before()
        };
        let brought = Some(tokens("c", Some("s")));
        let (after, set) = of(rotated.clone(), brought.clone(), presented).expect("rotated");
        assert_eq!(after.presents, Some(NEXT));
        assert_eq!(set, Some(tokens("b", Some("s"))));
        // Of another refresh token, it is none of its business; nor once the grant went on.
        assert_eq!(of(rotated, brought, Presents::RefreshToken(NEXT)), None);
    }
}
