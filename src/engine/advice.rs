//! What a person is told beside what a failed exchange came to: what serves
//! meanwhile, and what happens next or is to be done.

use crate::config::active::Seat;
use refreshd_core::GrantState;
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::schedule::{Plan, plan};
use refreshd_core::time::WallTime;

/// A clause or two, to stand behind the outcome's own words.
pub(super) fn advice(state: &GrantState, seat: &Seat, kind: OutcomeKind, now: WallTime) -> String {
    let mut text = String::new();
    if state.is_alive(now) {
        let end = state.expires_at.rfc3339();
        text.push_str(&format!("; the access token it has serves until {end}"));
    }
    if kind == OutcomeKind::InvalidClient {
        let client = &seat.client.name;
        text.push_str(&format!(
            "; check client_id and client_secret of client {client}, then run `refreshd reload`"
        ));
        return text;
    }
    match plan(state, &seat.policy, now) {
        Plan::At { at, why } => {
            let (at, why) = (at.max(now).rfc3339(), why.explain());
            text.push_str(&format!("; next try at {at}: {why}"));
        }
        Plan::Never(why) => text.push_str(&format!("; {}", why.explain())),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use refreshd_core::grant::state::Refusal;
    use refreshd_core::secret::Fingerprint;
    use std::fs;

    fn seat(provider: &str) -> Seat {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("refreshd.toml");
        let text = format!(
            "[daemon]\nstate_dir = \"/x/s\"\nruntime_dir = \"/x/r\"\n\
             [clients.c]\nprovider = \"{provider}\"\nclient_id = \"id\"\nclient_secret = {{ env = \"S\" }}\nredirect_uri = \"https://a/\"\n"
        );
        fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            env: [("S".to_owned(), "s".to_owned())].into(),
            ..Sources::default()
        };
        let config = load(&sources).config.unwrap();
        let client = config.clients["c"].clone();
        Seat {
            policy: refreshd_core::grant::Policy::new(
                &client.description,
                config.schedule_of("g", &client),
            ),
            client,
            vars: Default::default(),
            redirect_uri: None,
            route: Default::default(),
        }
    }

    fn state() -> GrantState {
        GrantState {
            generation: 1,
            expires_at: WallTime::from_secs(7200),
            presents: Some(Fingerprint([1; 16])),
            ..GrantState::default()
        }
    }

    const NOW: WallTime = WallTime(3_600_000);

    #[test]
    fn every_outcome_says_what_comes_next() {
        let of =
            |state: &GrantState, provider: &str, kind| advice(state, &seat(provider), kind, NOW);
        let text = of(&state(), "retently", OutcomeKind::InvalidClient);
        assert!(text.contains("client_secret of client c"), "{text}");
        assert!(text.contains("`refreshd reload`"), "{text}");
        let text = of(&state(), "retently", OutcomeKind::NotSent);
        assert!(text.starts_with("; the access token it has serves until 1970-01-01T02:00:00Z"));
        assert!(text.contains("next try at 1970-01-01T01:"), "{text}");
        let refused = GrantState {
            refusal: Some(Refusal {
                interaction: false,
                at: NOW,
                times: 1,
                text: String::new(),
                provisional: false,
            }),
            ..state()
        };
        let text = of(&refused, "retently", OutcomeKind::InvalidGrant);
        assert!(text.contains("authorize again"), "{text}");
        let text = of(&refused, "blynk", OutcomeKind::InvalidGrant);
        assert!(text.contains("next try at"), "the client asks anew: {text}");
    }
}
