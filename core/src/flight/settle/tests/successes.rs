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
    let same = |state: &GrantState, left: Duration| {
        let left_secs = left.as_secs();
        let body =
            json!({ "access_token": "at-1", "refresh_token": "rt-1", "expires_in": left_secs });
        let answer = answered(200, &[], body.to_string());
        exchange(&rules(), state, state.expires_at - left, answer)
            .settlement
            .state
    };
    // As soon as it is due.
    let due = |state: &GrantState| same(state, state.learned_lead.unwrap_or(secs(300)));
    let once = due(&state());
    assert_eq!(once.generation, 5);
    assert_eq!(once.issued_at, ISSUED, "it is as old as it was");
    assert_eq!(once.expires_at, FIRST + secs(300));
    assert_eq!(once.learned_lead, Some(secs(180)), "half of 360 s");
    let early = same(&once, secs(300));
    assert_eq!(early.learned_lead, Some(secs(180)), "somebody wished it");
    let twice = due(&once);
    assert_eq!(twice.learned_lead, Some(secs(90)));
    let often = (0..10).fold(twice, |state, _| due(&state));
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
            json!({ "expires_in": 9_999_999_999_i64 }),
            CENTURY,
        ),
        (
            "absurd",
            told.clone(),
            json!({ "expires_in": 1e300 }),
            secs(600),
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
            "JWT before the description",
            json!({ "lifetime": { "access": "20m" } }),
            json!({ "access_token": jwt(exp) }),
            secs(900),
        ),
        (
            "the JWT ends sooner",
            told.clone(),
            json!({ "access_token": jwt(exp), "expires_in": 3600 }),
            secs(900),
        ),
        (
            "the JWT ends later",
            told.clone(),
            json!({ "access_token": jwt(exp), "expires_in": 20 }),
            secs(20),
        ),
        (
            "the moment comes sooner",
            told.clone(),
            json!({ "expires_at": exp.secs(), "expires_in": 3600 }),
            secs(900),
        ),
        (
            "unused",
            json!({ "lifetime": { "access": "10m", "expires_in": "unused" } }),
            json!({ "access_token": jwt(FIRST + secs(60)), "expires_in": 20, "expires_at": exp.secs() }),
            secs(600),
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

/// What an answer with a `Date` says of a token, sent at `FIRST` and received at `AGAIN`.
fn dated(state: &GrantState, date: WallTime, members: Value) -> Settled {
    let mut body = json!({ "access_token": "at-2", "refresh_token": "rt-2" });
    for (name, value) in members.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let date = chrono::DateTime::from_timestamp_millis(date.0).expect("a date");
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let answer = answered(200, &[("date", &date)], body.to_string());
    exchange(&rules(), state, FIRST, answer)
}

fn jwt_of(iat: WallTime, exp: WallTime) -> String {
    let claims = json!({ "iat": iat.secs(), "exp": exp.secs() });
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.c2ln")
}

#[test]
fn the_lifetime_last_stated_goes_on_to_hold() {
    let first = success(&rules(), &state(), FIRST, json!({ "expires_in": 8 }));
    assert_eq!(first.stated_life, Some(secs(8)));
    let sent = FIRST + secs(5);
    for members in [
        json!({}),
        json!({ "expires_in": 0 }),
        json!({ "expires_in": null }),
        json!({ "expires_in": 1e300 }),
    ] {
        let body = json!({ "access_token": "at-3" });
        let mut body = body;
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let settled = exchange(&rules(), &first, sent, answered(200, &[], body.to_string()));
        let state = &settled.settlement.state;
        assert_eq!(state.expires_at, sent + secs(8), "{body}");
        assert_eq!(state.stated_life, Some(secs(8)));
        assert!(
            settled.text.contains("8s is taken, as last stated"),
            "{}",
            settled.text
        );
    }
    let told = rules_of(json!({ "lifetime": { "access": "10m" } }));
    let described = success(&told, &first, sent, json!({}));
    assert_eq!(
        described.expires_at,
        sent + secs(600),
        "the description goes first"
    );
    let by_jwt = success(
        &rules(),
        &first,
        sent,
        json!({ "access_token": jwt(sent + secs(60)) }),
    );
    assert_eq!(by_jwt.expires_at, sent + secs(60), "so does the JWT");
}

#[test]
fn what_is_odd_about_a_success_is_told() {
    let text = |members: Value| {
        let mut body = json!({ "access_token": "at-2", "refresh_token": "rt-2" });
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let settled = exchange(
            &rules(),
            &state(),
            FIRST,
            answered(200, &[], body.to_string()),
        );
        let last = settled.settlement.state.last_outcome.expect("an outcome");
        assert_eq!(last.text, settled.text);
        settled.text
    };
    assert_eq!(text(json!({ "expires_in": 3600 })), "");
    let guessed = text(json!({ "expires_at": "6/1/2017 2:24:46 PM" }));
    assert!(
        guessed.starts_with("expires_at cannot be read; it counts as absent; nobody says"),
        "{guessed}"
    );
    assert!(guessed.contains("1h is assumed"), "{guessed}");
    let sooner = text(json!({ "expires_in": 20, "access_token": jwt(FIRST + secs(8)) }));
    assert!(sooner.contains("own exp comes 12s before"), "{sooner}");
}

#[test]
fn another_refresh_token_where_none_was_to_come_is_told() {
    let never = rules_of(json!({ "rotation": { "rotates": "never" } }));
    let body = json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 60 });
    let settled = exchange(
        &never,
        &state(),
        FIRST,
        answered(200, &[], body.to_string()),
    );
    assert!(
        settled.text.contains("rotates = \"never\""),
        "{}",
        settled.text
    );
    let same = json!({ "access_token": "at-2", "refresh_token": "rt-1", "expires_in": 60 });
    let settled = exchange(
        &never,
        &state(),
        FIRST,
        answered(200, &[], same.to_string()),
    );
    assert_eq!(settled.text, "");
}

#[test]
fn the_providers_moments_are_read_by_its_own_clock() {
    let (hour, off) = (secs(3600), secs(1800));
    let end = |settled: &Settled| settled.settlement.state.expires_at;
    // Its clock is behind ours, and it says so.
    let behind = dated(
        &state(),
        FIRST - off,
        json!({ "expires_at": (FIRST - off + hour).secs() }),
    );
    assert_eq!(end(&behind), FIRST + hour);
    assert!(
        behind
            .text
            .contains("the provider's clock is 30m behind this machine's"),
        "{}",
        behind.text
    );
    let exp = jwt(FIRST - off + secs(600));
    let behind = dated(
        &state(),
        FIRST - off,
        json!({ "expires_in": 3600, "access_token": exp }),
    );
    assert_eq!(
        end(&behind),
        FIRST + secs(600),
        "the JWT ends sooner all the same"
    );
    // Ahead: its exp would let a dead token live on.
    let exp = jwt(AGAIN + off + secs(60));
    let ahead = dated(&state(), AGAIN + off, json!({ "access_token": exp }));
    assert_eq!(end(&ahead), AGAIN + secs(60));
    // No difference beyond the time that the answer took.
    let within = dated(
        &state(),
        FIRST + secs(100),
        json!({ "expires_at": (FIRST + hour).secs() }),
    );
    assert_eq!((end(&within), within.text.as_str()), (FIRST + hour, ""));
}

#[test]
fn a_clock_that_is_wrong_kills_no_token() {
    let (hour, off) = (secs(3600), secs(7200));
    let of = |members: Value| {
        let mut body = json!({ "access_token": "at-2", "refresh_token": "rt-2" });
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let settled = exchange(
            &rules(),
            &state(),
            FIRST,
            answered(200, &[], body.to_string()),
        );
        (settled.settlement.state.expires_at, settled.text)
    };
    // Signed by a clock that is two hours behind: iat tells, since the life agrees.
    let token = jwt_of(FIRST - off, FIRST - off + hour);
    let (end, text) = of(json!({ "expires_in": 3600, "access_token": token }));
    assert_eq!(end, FIRST + hour);
    assert!(text.contains("2h behind"), "{text}");
    // Half an hour behind, so that a part of its life seems to be left.
    let token = jwt_of(FIRST - secs(1800), FIRST + secs(1800));
    assert_eq!(
        of(json!({ "expires_in": 3600, "access_token": token })).0,
        FIRST + hour
    );
    // Nothing tells the clocks apart, but a new token is not over.
    let token = jwt(FIRST - off);
    let (end, text) = of(json!({ "expires_in": 3600, "access_token": token }));
    assert_eq!(end, FIRST + hour);
    assert!(text.contains("is a clock wrong?"), "{text}");
    let (end, text) = of(json!({ "expires_in": 3600, "expires_at": (FIRST - off).secs() }));
    assert_eq!(end, FIRST + hour);
    assert!(text.contains("is a clock wrong?"), "{text}");
    let (end, text) = of(json!({ "access_token": jwt(FIRST - off) }));
    assert_eq!(end, FIRST + hour);
    assert!(text.contains("1h is assumed"), "{text}");
    // An older token, handed out once more: its own end counts.
    let token = jwt_of(FIRST - secs(3000), FIRST + secs(600));
    let (end, _) = of(json!({ "expires_in": 600, "access_token": token }));
    assert_eq!(end, FIRST + secs(600));
    // Signed ahead of time.
    let token = jwt_of(AGAIN + secs(100), AGAIN + secs(700));
    let (end, text) = of(json!({ "access_token": token }));
    assert_eq!(end, AGAIN + secs(600));
    assert!(text.contains("1m 40s ahead"), "{text}");
}

#[test]
fn a_kept_refresh_token_ends_when_it_was_to_end() {
    let first = success(
        &rules(),
        &state(),
        FIRST,
        json!({ "refresh_expires_in": 5000 }),
    );
    let end = Some(FIRST + secs(5000));
    assert_eq!(first.refresh_expires_at, end);
    let again = |members: Value| {
        let first = GrantState {
            presents: Some(print_of("rt-1")),
            ..first.clone()
        };
        let settled = exchange(
            &rules(),
            &first,
            AGAIN,
            answered(200, &[], members.to_string()),
        );
        settled.settlement.state.refresh_expires_at
    };
    assert_eq!(again(json!({ "access_token": "at-3" })), end);
    assert_eq!(
        again(json!({ "access_token": "at-3", "refresh_token": "rt-1" })),
        end
    );
    let another = json!({ "access_token": "at-3", "refresh_token": "rt-9" });
    assert_eq!(again(another), None, "nothing is known of another");
}
