//! Successes: which tokens, and when they end.

use super::*;
use crate::duration::CENTURY;

#[test]
fn a_rotation_brings_the_next_generation() {
    let body = json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 7200, "tenant": "eu2" });
    let wrong = GrantState {
        failures: 3,
        not_before: Some(FIRST),
        access_dead: true,
        ..doubtful()
    };
    let settled = exchange(
        &rules(),
        &wrong,
        AGAIN,
        answered(200, &[], body.to_string()),
    );
    let state = &settled.settlement.state;
    assert_eq!(state.generation, 5);
    assert_eq!(state.presents, Some(print_of("rt-2")));
    assert_eq!(state.access, Some(print_of("at-2")));
    assert_eq!(state.last_send, Some(AGAIN));
    assert_eq!((state.failures, state.not_before), (0, None));
    assert!(state.doubt.is_none() && !state.access_dead);
    let tokens = settled.settlement.tokens.expect("a new token set");
    assert_eq!(tokens.refresh_token, Some(Secret::new("rt-2")));
    assert_eq!(
        tokens.scope.as_deref(),
        Some("read"),
        "what is omitted stays"
    );
    assert_eq!(tokens.code, Some(Secret::new("code")));
    let extra: Vec<&String> = tokens.extra.keys().collect();
    assert_eq!(extra, ["instance", "tenant"]);
}

#[test]
fn an_omitted_refresh_token_keeps_the_old() {
    for body in [
        json!({ "access_token": "at-2" }),
        json!({ "access_token": "at-2", "refresh_token": null }),
        json!({ "access_token": "at-2", "refresh_token": "" }),
    ] {
        let settled = exchange(
            &rules(),
            &state(),
            FIRST,
            answered(200, &[], body.to_string()),
        );
        let tokens = settled.settlement.tokens.expect("a new token set");
        assert_eq!(tokens.refresh_token, Some(Secret::new("rt-1")), "{body}");
        assert_eq!(settled.settlement.state.presents, Some(print_of("rt-1")));
    }
}

#[test]
fn the_same_access_token_again_teaches_a_shorter_lead() {
    let same = |state: &GrantState, left: u64| {
        let body = json!({ "access_token": "at-1", "refresh_token": "rt-1", "expires_in": left });
        exchange(&rules(), state, FIRST, answered(200, &[], body.to_string()))
            .settlement
            .state
    };
    let once = same(&state(), 300);
    assert_eq!(once.generation, 5);
    assert_eq!(once.issued_at, ISSUED, "it is as old as it was");
    assert_eq!(once.expires_at, FIRST + secs(300));
    assert_eq!(once.learned_lead, Some(secs(180)), "half of 360 s");
    let twice = same(&once, 300);
    assert_eq!(twice.learned_lead, Some(secs(90)));
    let often = (0..10).fold(twice, |state, _| same(&state, 300));
    assert_eq!(often.learned_lead, Some(secs(30)), "but not under 30 s");
    let other = success(&rules(), &often, FIRST, json!({}));
    assert_eq!(other.learned_lead, Some(secs(30)), "and it is kept");
}

#[test]
fn lifetimes_as_they_come() {
    let told = json!({ "lifetime": { "access": "10m" } });
    let exp = FIRST + secs(900);
    for (why, description, members, life) in [
        (
            "stated",
            told.clone(),
            json!({ "expires_in": 20 }),
            secs(20),
        ),
        ("absent", told.clone(), json!({}), secs(600)),
        ("zero", told.clone(), json!({ "expires_in": 0 }), secs(600)),
        (
            "negative",
            told.clone(),
            json!({ "expires_in": -5 }),
            secs(0),
        ),
        ("nobody tells", json!({}), json!({}), secs(3600)),
        (
            "nobody tells",
            json!({}),
            json!({ "expires_in": 0 }),
            secs(3600),
        ),
        (
            "twenty years",
            told.clone(),
            json!({ "expires_in": 631_152_000 }),
            secs(631_152_000),
        ),
        (
            "too long",
            told.clone(),
            json!({ "expires_in": 99_999_999_999_999_i64 }),
            CENTURY,
        ),
        (
            "absurd",
            told.clone(),
            json!({ "expires_in": 1e300 }),
            CENTURY,
        ),
        (
            "absolute",
            told.clone(),
            json!({ "expires_at": exp.secs() }),
            secs(900),
        ),
        (
            "JWT",
            json!({}),
            json!({ "access_token": jwt(exp) }),
            secs(900),
        ),
        (
            "description before JWT",
            told,
            json!({ "access_token": jwt(exp) }),
            secs(600),
        ),
    ] {
        let state = success(&rules_of(description), &state(), FIRST, members.clone());
        assert_eq!(state.issued_at, FIRST, "from the moment of sending");
        assert_eq!(state.expires_at, FIRST + life, "{why}: {members}");
        assert!(!state.expiry_unknown);
    }
}

#[test]
fn created_at_counts_where_the_description_says_so() {
    let members = json!({ "expires_in": 7200, "created_at": (FIRST - secs(3000)).secs() });
    let plain = success(&rules(), &state(), FIRST, members.clone());
    assert_eq!(plain.expires_at, FIRST + secs(7200));
    let total = rules_of(json!({ "lifetime": { "from_created_at": true } }));
    let state_ = success(&total, &state(), FIRST, members);
    assert_eq!(state_.expires_at, FIRST + secs(4200));
    let later = json!({ "expires_in": 7200, "created_at": (FIRST + secs(60)).secs() });
    let state_ = success(&total, &state(), FIRST, later);
    assert_eq!(
        state_.expires_at,
        FIRST + secs(7200),
        "the earlier of the two"
    );
}

/// A replay may return an older token with its full lifetime.
#[test]
fn after_doubt_expiry_counts_from_the_first_send() {
    let exp = AGAIN + secs(900);
    for (why, members, end) in [
        (
            "relative",
            json!({ "expires_in": 3600 }),
            FIRST + secs(3600),
        ),
        ("nobody tells", json!({}), FIRST + secs(3600)),
        (
            "absolute",
            json!({ "expires_in": 3600, "expires_at": exp.secs() }),
            exp,
        ),
        (
            "JWT",
            json!({ "expires_in": 3600, "access_token": jwt(exp) }),
            exp,
        ),
    ] {
        let state = success(&rules(), &doubtful(), AGAIN, members);
        assert_eq!((state.issued_at, state.expires_at), (FIRST, end), "{why}");
    }
}

#[test]
fn refresh_tokens_end_too() {
    let sliding = json!({ "lifetime": { "refresh": "30d" } });
    let absolute = json!({ "lifetime": { "refresh": "30d", "refresh_from": "login" } });
    let month = secs(30 * 86_400);
    let moment = FIRST + secs(5000);
    for (why, description, from, members, end) in [
        ("unknown", json!({}), state(), json!({}), None),
        (
            "sliding",
            sliding.clone(),
            state(),
            json!({}),
            Some(FIRST + month),
        ),
        (
            "after doubt",
            sliding.clone(),
            doubtful(),
            json!({}),
            Some(FIRST + month),
        ),
        (
            "absolute",
            absolute.clone(),
            state(),
            json!({}),
            Some(state().login_at + month),
        ),
        (
            "stated",
            sliding.clone(),
            state(),
            json!({ "refresh_expires_in": 60 }),
            Some(FIRST + secs(60)),
        ),
        (
            "stated",
            absolute,
            state(),
            json!({ "refresh_token_expires_in": 60 }),
            Some(FIRST + secs(60)),
        ),
        (
            "without end",
            sliding.clone(),
            state(),
            json!({ "refresh_expires_in": 0 }),
            Some(FIRST + month),
        ),
        (
            "a moment",
            sliding,
            state(),
            json!({ "refresh_token_expires_at": moment.secs() }),
            Some(moment),
        ),
    ] {
        let sent = if from.doubt.is_some() { AGAIN } else { FIRST };
        let state = success(&rules_of(description), &from, sent, members);
        assert_eq!(state.refresh_expires_at, end, "{why}");
    }
}

/// It used to be asked for again every second or two.
#[test]
fn tokens_that_arrive_dead_slow_down() {
    let dead = json!({ "expires_in": -1 });
    let mut state = state();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let sent = state.not_before.unwrap_or(FIRST);
        state = success(&rules(), &state, sent, dead.clone());
        waits.push(
            state
                .not_before
                .expect("it waits")
                .since(sent + secs(1))
                .as_secs(),
        );
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
    let sent = state.not_before.expect("it waits");
    let living = success(&rules(), &state, sent, json!({ "expires_in": 60 }));
    assert_eq!((living.failures, living.not_before), (0, None));
}

/// By the first send it would be over; but after a long outage it is most likely
/// new. It is delivered, and replaced as soon as may be.
#[test]
fn a_replay_that_would_be_dead_is_delivered_and_followed_up() {
    let long_down = GrantState {
        failures: 12,
        ..doubtful()
    };
    let sent = FIRST + secs(7200);
    let state = success(&rules(), &long_down, sent, json!({ "expires_in": 3600 }));
    assert_eq!(state.expires_at, sent + secs(3600));
    assert!(state.expiry_unknown && state.is_alive(sent + secs(1)));
    assert_eq!((state.failures, state.not_before), (0, None));
}

/// A replayed token with nothing left of it must not be taken for one of unknown life.
#[test]
fn a_replay_with_nothing_left_is_followed_up() {
    let sent = FIRST + secs(5);
    let state = success(&rules(), &doubtful(), sent, json!({ "expires_in": 0 }));
    assert!(!state.is_alive(sent + secs(1)));
    assert_eq!(state.not_before, Some(sent + secs(1) + secs(2)));
}
