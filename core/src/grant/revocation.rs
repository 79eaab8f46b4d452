//! Ending an authorization at its provider (RFC 7009). The wish is written down
//! before it is sent, so that no refresh overtakes it; what the provider did is
//! told as it is known.

use super::state::{GrantState, Revocation, Revoked};
use crate::provider::answer::{self, Outcome};
use crate::provider::{Description, Ending};
use crate::time::WallTime;

/// What became of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The provider has confirmed it; also where it did not know the token.
    Revoked,
    /// It has not been carried out.
    NotRevoked {
        /// What came.
        text: String,
        /// Nothing was sent, or the provider is not able for the moment.
        passing: bool,
    },
    /// It may have been carried out.
    Unknown {
        /// What came.
        text: String,
    },
}

/// Reads the answer of a revocation endpoint (RFC 7009 §2.2).
#[must_use]
pub fn read(description: &Description, ending: &Ending) -> Told {
    let answer = match ending {
        Ending::NotSent { text } => return not_revoked(text, true),
        Ending::Lost { text } => return Told::Unknown { text: text.clone() },
        Ending::Answered(answer) => answer,
    };
    let error = match answer::read(description, answer) {
        Outcome::InvalidGrant { text }
        | Outcome::InvalidClient { text }
        | Outcome::InteractionRequired { text }
        | Outcome::TooEarly { text }
        | Outcome::Refused { text }
        | Outcome::Unavailable { text, .. }
        | Outcome::AskedToWait { text, .. } => Some(text),
        Outcome::Success(_) | Outcome::Unread { .. } | Outcome::Lost { .. } => None,
    };
    let status = answer.status;
    let said = error
        .clone()
        .unwrap_or_else(|| format!("it answered HTTP {status}"));
    match (status, error) {
        // The body means nothing, unless it is an error where RFC 7009 has none.
        (200..=299, None) => Told::Revoked,
        (200..=299, Some(text)) => not_revoked(&text, false),
        // RFC 7009 §2.2.1: the token must be assumed to exist.
        (429 | 503, _) => not_revoked(&said, true),
        (500..=599, _) => Told::Unknown { text: said },
        _ => not_revoked(&said, false),
    }
}

fn not_revoked(text: &str, passing: bool) -> Told {
    Told::NotRevoked {
        text: text.to_owned(),
        passing,
    }
}

/// The state before the request leaves. What an earlier one came to still stands.
#[must_use]
pub fn asked(state: &GrantState, now: WallTime) -> GrantState {
    let how = state
        .revoked
        .map_or(Revocation::Asked, |revoked| revoked.how);
    GrantState {
        revoked: Some(Revoked { at: now, how }),
        ..state.clone()
    }
}

/// The state after it; `None`: the grant was authorized anew meanwhile. `before`
/// is what stood there before it was [asked].
#[must_use]
pub fn answered(
    state: &GrantState,
    before: Option<Revoked>,
    asked_at: WallTime,
    told: &Told,
) -> Option<GrantState> {
    let asked = state.revoked.filter(|revoked| revoked.at == asked_at)?;
    let confirmed = asked.how == Revocation::Confirmed;
    let revoked = match told {
        Told::Revoked => Some(Revocation::Confirmed),
        Told::Unknown { .. } if !confirmed => Some(Revocation::Unknown),
        Told::Unknown { .. } | Told::NotRevoked { .. } => None,
    };
    let revoked = revoked.map(|how| Revoked { at: asked_at, how });
    Some(GrantState {
        revoked: revoked.or(before),
        ..state.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Policy;
    use crate::grant::schedule::{Never, Plan, Urgency, plan, wish};
    use crate::grant::state::Status;
    use crate::provider::Answer;
    use crate::provider::description::With;
    use crate::secret::Fingerprint;
    use serde_json::json;

    const NOW: WallTime = WallTime(1_000_000);

    fn told(status: u16, body: &str) -> Told {
        let description = json!({"name": "p", "token": {"url": "https://a.example/token"}});
        let description = serde_json::from_value(description).expect("a description");
        let answer = Answer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            complete: true,
            received: NOW,
        };
        read(&description, &Ending::Answered(answer))
    }

    fn state() -> GrantState {
        GrantState {
            generation: 1,
            expires_at: WallTime(2_000_000),
            presents: Some(Fingerprint([1; 16])),
            ..GrantState::default()
        }
    }

    #[test]
    fn answers_are_told_apart() {
        for body in ["", "ok", "{}", "<html>"] {
            assert_eq!(told(200, body), Told::Revoked, "{body}");
        }
        let error = r#"{"error":"unsupported_token_type"}"#;
        let is_not = |told: Told, passes: bool| matches!(told, Told::NotRevoked { passing, .. } if passing == passes);
        assert!(is_not(told(200, error), false));
        assert!(is_not(told(400, error), false));
        assert!(is_not(told(401, r#"{"error":"invalid_client"}"#), false));
        assert!(is_not(told(404, "<html>"), false));
        assert!(is_not(told(302, ""), false));
        assert!(is_not(told(503, ""), true));
        assert!(is_not(told(429, ""), true));
        assert!(matches!(told(502, "<html>"), Told::Unknown { .. }));
        assert!(matches!(told(500, error), Told::Unknown { .. }));
    }

    #[test]
    fn nothing_is_refreshed_from_the_moment_it_is_asked_for() {
        let asked_state = asked(&state(), NOW);
        let policy = Policy::default();
        assert_eq!(
            plan(&asked_state, &policy, NOW),
            Plan::Never(Never::Revoked)
        );
        assert!(wish(&asked_state, &policy, Urgency::AcceptRisk, NOW).is_err());
        assert!(asked_state.is_alive(NOW), "nothing is known of it yet");
        let end = |told: &Told| answered(&asked_state, None, NOW, told).expect("asked");
        let over = end(&Told::Revoked);
        assert_eq!(
            (over.is_alive(NOW), over.status(NOW)),
            (false, Status::Revoked)
        );
        let unknown = end(&Told::Unknown {
            text: String::new(),
        });
        assert!(!unknown.is_alive(NOW));
        assert_eq!(end(&not_revoked("no", false)), state());
        // Asked again, it does not come back to life, whatever comes.
        let again = asked(&over, WallTime(NOW.0 + 1));
        assert!(!again.is_alive(NOW));
        let lost = Told::Unknown {
            text: String::new(),
        };
        let after = answered(&again, over.revoked, WallTime(NOW.0 + 1), &lost);
        assert_eq!(after.and_then(|s| s.revoked), over.revoked);
        // Authorized anew meanwhile, the new one is not touched.
        assert_eq!(answered(&state(), None, NOW, &Told::Revoked), None);
    }

    #[test]
    fn a_client_that_asks_for_itself_begins_anew_by_force_alone() {
        let policy = Policy {
            with: With::ClientCredentials,
            ..Policy::default()
        };
        let state = asked(&state(), NOW);
        assert!(wish(&state, &policy, Urgency::Rejected, NOW).is_err());
        assert!(wish(&state, &policy, Urgency::Force, NOW).is_ok());
    }
}
