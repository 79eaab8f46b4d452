//! Schedule and settling together, over any sequence of outcomes.

use super::*;
use crate::grant::replay;
use crate::grant::schedule::gap;
use crate::grant::schedule::{Plan, plan};
use proptest::prelude::*;

fn any_ending() -> impl Strategy<Value = Ending> {
    let success = (any::<bool>(), proptest::option::of(-10i64..4000)).prop_map(|(same, life)| {
        let access = if same { "at-1" } else { "at-2" };
        let mut body = json!({ "access_token": access, "refresh_token": "rt-1" });
        if let Some(life) = life {
            body["expires_in"] = life.into();
        }
        answered(200, &[], body.to_string())
    });
    let text = || "it broke".to_owned();
    prop_oneof![
        4 => success,
        3 => Just(Ending::Lost { text: text() }),
        1 => (0u32..100).prop_map(|s| answered(429, &[("retry-after", &s.to_string())], "")),
        1 => Just(answered(503, &[("retry-after", "0")], "")),
        1 => Just(answered(401, &[], r#"{"error":"invalid_client"}"#)),
        1 => Just(answered(400, &[], r#"{"error":"invalid_scope"}"#)),
        1 => Just(answered(400, &[], r#"{"error":"too_young"}"#)),
        1 => Just(answered(200, &[], r#"{"token":"at-2"}"#)),
        1 => Just(answered(400, &[], r#"{"error":"invalid_grant"}"#)),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let old_valid = prop_oneof![
        Just("0s"),
        Just("3s"),
        Just("60s"),
        Just("10m"),
        Just("until-used"),
        Just("forever"),
    ];
    let rotates = prop_oneof![Just("always"), Just("sometimes"), Just("never")];
    let reuse = prop_oneof![Just("error"), Just("revokes")];
    (rotates, old_valid, reuse).prop_map(|(rotates, old_valid, reuse)| {
        rules_of(json!({
            "rotation": { "rotates": rotates, "old_valid": old_valid, "reuse": reuse },
            "errors": { "too_early": ["too_young"] },
        }))
    })
}

proptest! {
    /// No order of outcomes makes a hot loop.
    #[test]
    fn no_two_sends_within_the_gap(
        rules in any_rules(), life in 0u64..10_000,
        endings in proptest::collection::vec((any_ending(), any::<u64>(), 0u64..35_000), 1..40),
    ) {
        let mut state = GrantState { expires_at: ISSUED + secs(life), ..state() };
        let mut now = ISSUED;
        let mut last: Option<WallTime> = None;
        for (ending, roll, lasts) in endings {
            // As the engine does: what was due may have changed when its time comes.
            let due = loop {
                match plan(&state, &rules.policy, now) {
                    Plan::At { at, .. } if at > now => now = at,
                    due => break due,
                }
            };
            if matches!(due, Plan::Never(_)) {
                break;
            }
            let least = match &state.doubt {
                Some(_) => replay::spacing(&state, &rules.policy.rotation),
                None => gap(state.lifetime()),
            };
            prop_assert!(least >= secs(1));
            prop_assert!(last.is_none_or(|last| now >= last + least), "{last:?} {now:?} {state:?}");
            last = Some(now);
            let intent = Intent { roll, ..intent(&state, now) };
            now = now + Duration::from_millis(lasts);
            state = settle(&rules, &state, &tokens(), &intent, ending, now).settlement.state;
        }
    }

    /// Twenty seconds are little, and enough.
    #[test]
    fn a_short_token_is_replaced_while_it_lives(
        life in 5u64..60, rolls in proptest::collection::vec((any::<u64>(), 0u64..1000), 50),
    ) {
        let rules = rules();
        let mut state = GrantState { expires_at: ISSUED + secs(life), ..state() };
        for (number, (roll, lasts)) in rolls.into_iter().enumerate() {
            let Plan::At { at, .. } = plan(&state, &rules.policy, state.issued_at) else {
                panic!("it is refreshed by itself");
            };
            let answered_at = at + Duration::from_millis(lasts);
            prop_assert!(answered_at < state.expires_at, "dead at {answered_at:?}: {state:?}");
            let body = json!({ "access_token": format!("at-{number}-x"), "expires_in": life });
            let intent = Intent { roll, ..intent(&state, at) };
            let ending = answered(200, &[], body.to_string());
            state = settle(&rules, &state, &tokens(), &intent, ending, answered_at).settlement.state;
        }
        prop_assert_eq!(state.generation, 54);
    }

    /// What a provider says about lifetimes cannot break the arithmetic.
    #[test]
    fn any_lifetime_is_borne(life: i64, refresh: i64, created: i64, attempt in 1u32..3) {
        let rules = rules_of(json!({ "lifetime": { "from_created_at": true } }));
        let body = json!({
            "access_token": "at-2", "expires_in": life, "refresh_expires_in": refresh, "created_at": created,
        });
        let intent = Intent { attempt, ..intent(&state(), FIRST) };
        let ending = answered(200, &[], body.to_string());
        let after = settle(&rules, &state(), &tokens(), &intent, ending, FIRST).settlement.state;
        prop_assert!(after.expires_at >= after.issued_at);
        prop_assert!(after.lifetime() <= crate::duration::CENTURY);
        let planned = matches!(plan(&after, &rules.policy, FIRST), Plan::At { at, .. } if at > FIRST);
        prop_assert!(planned, "{after:?}");
    }
}
