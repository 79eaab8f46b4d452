//! What each answer does to a grant, case by case.

mod anew;
mod back_off;
mod failures;
mod imports;
mod random;
mod successes;

use super::*;
use crate::flight::{ExchangeId, Stamp};
use crate::grant::GrantId;
use crate::provider::Answer;
use crate::provider::description::{DescriptionHash, Fallback};
use crate::time::BootTime;
use serde_json::{Value, json};

/// When the token set in hand was issued; it lives for an hour.
const ISSUED: WallTime = WallTime(1_800_000_000_000);
/// When the refresh token is first presented: five minutes before the end.
const FIRST: WallTime = WallTime(1_800_003_300_000);
/// When it is presented again, after doubt.
const AGAIN: WallTime = WallTime(1_800_003_500_000);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn rules_of(members: Value) -> Rules {
    let mut all = json!({ "name": "test", "token": { "url": "https://as.example/token" } });
    for (name, value) in members.as_object().expect("an object") {
        all[name] = value.clone();
    }
    let description: Description = serde_json::from_value(all).expect("a description");
    Rules {
        policy: Policy::new(&description, description.schedule.clone()),
        description: description.into(),
        fingerprinter: Fingerprinter::new([3; 32]),
    }
}

fn rules() -> Rules {
    rules_of(json!({}))
}

fn tokens() -> TokenSet {
    TokenSet {
        access_token: Secret::new("at-1"),
        refresh_token: Some(Secret::new("rt-1")),
        token_type: Some("Bearer".to_owned()),
        scope: Some("read".to_owned()),
        extra: [("instance".to_owned(), Secret::new("\"eu1\""))].into(),
        code: Some(Secret::new("code")),
    }
}

fn print_of(token: &str) -> crate::secret::Fingerprint {
    rules().fingerprinter.of(&Secret::new(token))
}

fn state() -> GrantState {
    GrantState {
        generation: 4,
        issued_at: ISSUED,
        expires_at: ISSUED + secs(3600),
        presents: Some(print_of("rt-1")),
        access: Some(print_of("at-1")),
        login_at: ISSUED - secs(86_400),
        roll: 5,
        ..GrantState::default()
    }
}

fn doubtful() -> GrantState {
    GrantState {
        doubt: Some(Doubt {
            first_sent: FIRST,
            last_sent: FIRST,
            presents: print_of("rt-1"),
            presentations: 1,
            unread: false,
            relic: false,
        }),
        last_send: Some(FIRST),
        failures: 1,
        ..state()
    }
}

/// An intent of the shell's making: doubt tells how often and since when.
fn intent(state: &GrantState, sent: WallTime) -> Intent {
    let doubt = state.doubt.as_ref();
    Intent {
        flight: ExchangeId([9; 16]),
        grant: GrantId("g".to_owned()),
        name: "g".to_owned(),
        revision: 1,
        generation: state.generation,
        attempt: doubt.map_or(0, |doubt| doubt.presentations) + 1,
        first_sent: doubt.map_or(sent, |doubt| doubt.first_sent),
        sent: Stamp {
            wall: sent,
            boot: BootTime(sent.0),
            boot_id: "boot".to_owned(),
        },
        presents: Presents::RefreshToken(print_of("rt-1")),
        description: DescriptionHash("hash".to_owned()),
        roll: u64::MAX,
        binding: None,
    }
}

fn answered(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Ending {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Ending::Answered(Answer {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.into(),
        complete: true,
        received: AGAIN,
    })
}

/// An exchange sent at a moment and settled a second later.
fn exchange(rules: &Rules, state: &GrantState, sent: WallTime, ending: Ending) -> Settled {
    let intent = intent(state, sent);
    settle(rules, state, &tokens(), &intent, ending, sent + secs(1))
}

/// The rules of a provider whose client can ask for itself.
fn anew_rules() -> Rules {
    let mut rules = rules();
    rules.policy.fallback = Some(Fallback::ClientCredentials);
    rules
}

/// An exchange that presented nothing but the client.
fn asked_anew(rules: &Rules, state: &GrantState, ending: Ending) -> Settled {
    let intent = Intent {
        presents: Presents::ClientCredentials,
        attempt: 1,
        first_sent: AGAIN,
        ..intent(state, AGAIN)
    };
    settle(rules, state, &tokens(), &intent, ending, AGAIN + secs(1))
}

/// The state after a success with these members besides a new pair.
fn success(rules: &Rules, state: &GrantState, sent: WallTime, members: Value) -> GrantState {
    let mut body = json!({ "access_token": "at-2", "refresh_token": "rt-2" });
    for (name, value) in members.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let settled = exchange(rules, state, sent, answered(200, &[], body.to_string()));
    assert_eq!(settled.kind, OutcomeKind::Success, "{body}");
    settled.settlement.state
}

/// A token that looks like a JWT that ends then.
fn jwt(exp: WallTime) -> String {
    use base64::Engine;
    let part = |value: Value| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string().as_bytes())
    };
    let (header, claims) = (json!({ "alg": "RS256" }), json!({ "exp": exp.secs() }));
    format!("{}.{}.c2ln", part(header), part(claims))
}

/// A mistake of ours in reading is no reason to give up what came.
#[test]
fn an_answer_on_which_the_reading_panics_is_kept() {
    let outcome = read_whatever_happens(|| panic!("a mistake"));
    assert!(matches!(outcome, Outcome::Unread { may_hold: true, .. }));
}
