//! Client credentials: nothing is at stake, so nothing is in doubt.

use super::*;
use crate::grant::presentation;
use crate::grant::schedule::{Plan, plan};
use crate::grant::state::Status;
use crate::provider::description::With;

fn lost() -> Ending {
    Ending::Lost {
        text: "connection reset".to_owned(),
    }
}

#[test]
fn a_lost_answer_leaves_no_doubt_and_waits_like_any_failure() {
    let settled = asked_anew(&anew_rules(), &state(), lost());
    assert_eq!(settled.kind, OutcomeKind::Unanswered);
    let after = &settled.settlement.state;
    assert!(after.doubt.is_none() && after.refusal.is_none());
    assert_eq!((after.failures, after.generation), (1, 4));
    assert!(after.not_before.is_some_and(|at| at > AGAIN));
    assert_eq!(after.presents, Some(print_of("rt-1")), "it is still good");
}

#[test]
fn what_cannot_be_read_is_asked_for_again() {
    let page = answered(200, &[("content-type", "text/html")], "<html>");
    let unread = answered(200, &[], json!({ "token": "x" }).to_string());
    for ending in [page, unread] {
        let settled = asked_anew(&anew_rules(), &state(), ending);
        assert_eq!(settled.kind, OutcomeKind::Unanswered);
        assert!(settled.settlement.unread.is_none());
        assert!(settled.settlement.state.doubt.is_none());
    }
}

#[test]
fn invalid_grant_without_a_grant_is_a_plain_refusal() {
    let body = json!({ "error": "invalid_grant" }).to_string();
    let settled = asked_anew(&anew_rules(), &state(), answered(400, &[], body));
    assert_eq!(settled.kind, OutcomeKind::Refused);
    assert!(settled.settlement.state.refusal.is_none());
}

#[test]
fn a_new_token_set_ends_doubt_and_the_old_refresh_token() {
    let body = json!({ "access_token": "at-2", "expires_in": 300 }).to_string();
    let settled = asked_anew(&anew_rules(), &doubtful(), answered(200, &[], body));
    let after = &settled.settlement.state;
    assert_eq!((after.generation, &after.doubt), (5, &None));
    assert_eq!(
        after.presents, None,
        "the one in doubt is not presented again"
    );
    assert_eq!(after.login_at, AGAIN);
    assert_eq!(after.expires_at, AGAIN + secs(300));
    let tokens = settled.settlement.tokens.expect("a token set");
    assert_eq!(tokens.refresh_token, None);
}

#[test]
fn a_refresh_token_may_end_with_its_access_token() {
    let mut rules = anew_rules();
    rules.policy.lifetime.refresh_with_access = true;
    let body = json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 300 });
    let settled = asked_anew(&rules, &state(), answered(200, &[], body.to_string()));
    let after = &settled.settlement.state;
    assert_eq!(after.refresh_expires_at, Some(AGAIN + secs(300)));
}

#[test]
fn a_refused_or_doubtful_refresh_token_is_no_person_s_matter() {
    let refused = answered(400, &[], json!({ "error": "invalid_grant" }).to_string());
    for ending in [refused, lost()] {
        let before = GrantState {
            asks_anew: true,
            ..state()
        };
        let after = exchange(&anew_rules(), &before, AGAIN, ending)
            .settlement
            .state;
        assert!(after.refusal.is_some() || after.doubt.is_some());
        assert_eq!(after.status(AGAIN), Status::Retrying);
        assert_eq!(after.status(after.expires_at), Status::Expired);
    }
}

#[test]
fn where_no_refresh_token_came_none_ends() {
    let mut rules = anew_rules();
    rules.policy.lifetime.refresh_with_access = true;
    let body = json!({ "access_token": "at-2", "refresh_token": null, "expires_in": 300 });
    let settled = asked_anew(&rules, &state(), answered(200, &[], body.to_string()));
    let after = &settled.settlement.state;
    assert_eq!((after.presents, after.refresh_expires_at), (None, None));
}

#[test]
fn too_early_for_a_token_that_there_is_not_is_no_loop() {
    let mut rules = anew_rules();
    Arc::make_mut(&mut rules.description).errors.too_early = vec!["slow_down".to_owned()];
    let body = json!({ "error": "slow_down" }).to_string();
    let mut state = GrantState::default();
    for _ in 0..12 {
        let ending = answered(400, &[], body.clone());
        let settled = asked_anew(&rules, &state, ending);
        assert_eq!(settled.kind, OutcomeKind::TooEarly);
        state = settled.settlement.state;
    }
    let wait = state.not_before.expect("it backs off").since(AGAIN);
    assert!(wait > secs(60), "{wait:?}");
}

/// Its first try was followed by a wait of an hour.
#[test]
fn a_client_that_is_not_accepted_from_the_start_is_asked_again_soon() {
    let body = json!({ "error": "invalid_client" }).to_string();
    let (mut state, mut waits) = (GrantState::default(), Vec::new());
    for _ in 0..9 {
        let ending = answered(401, &[], body.clone());
        let settled = asked_anew(&anew_rules(), &state, ending);
        assert_eq!(settled.kind, OutcomeKind::InvalidClient);
        state = GrantState {
            not_before: None,
            ..settled.settlement.state.clone()
        };
        let until = settled.settlement.state.not_before.expect("it backs off");
        waits.push(until.since(AGAIN + secs(1)).as_secs());
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
}

#[test]
fn the_token_set_is_the_client_s_own_until_a_person_brings_another() {
    let body = json!({ "access_token": "at-2", "refresh_token": "rt-1" }).to_string();
    let asked = asked_anew(&anew_rules(), &state(), answered(200, &[], body.clone()));
    let own = asked.settlement.state;
    assert!(own.own && !state().own);
    let renewed = exchange(&anew_rules(), &own, AGAIN, answered(200, &[], body));
    assert!(renewed.settlement.state.own);
}

/// How often a provider that answers so is asked in a day, from the start on.
fn asked_in_a_day(rules: &Rules, answer: Answers) -> u32 {
    let end = AGAIN + secs(86_400);
    let (mut state, mut tokens) = (GrantState::default(), TokenSet::none());
    let (mut now, mut asked) = (AGAIN, 0);
    while let Plan::At { at, .. } = plan(&state, &rules.policy, now) {
        now = now.max(at);
        if now >= end {
            break;
        }
        let presents = presentation::next(&state, &rules.policy, now).expect("something");
        asked += 1;
        let intent = Intent {
            presents,
            attempt: 1,
            first_sent: now,
            ..intent(&state, now)
        };
        now = now + Duration::from_millis(100);
        let settled = settle(rules, &state, &tokens, &intent, answer(now, asked), now);
        state = settled.settlement.state;
        tokens = settled.settlement.tokens.unwrap_or(tokens);
    }
    asked
}

/// What a provider answers at a moment to the so-many-eth request.
type Answers = fn(WallTime, u32) -> Ending;

fn token_for(access: u32, refresh: &Value, life: &Value) -> Ending {
    let body = json!({ "access_token": format!("at-{access}"), "refresh_token": refresh, "expires_in": life });
    answered(200, &[], body.to_string())
}

#[test]
fn odd_answers_are_no_loop() {
    let mut with_access = anew_rules();
    with_access.policy.lifetime.refresh_with_access = true;
    let mut client = anew_rules();
    client.policy.with = With::ClientCredentials;
    let odd: [(&str, u32, Answers); 9] = [
        ("an hour", 30, |_, n| {
            token_for(n, &json!("rt"), &json!(3600))
        }),
        ("without a refresh token", 30, |_, n| {
            token_for(n, &Value::Null, &json!(3600))
        }),
        ("zero", 30, |_, n| token_for(n, &Value::Null, &json!(0))),
        ("negative", 300, |_, n| {
            token_for(n, &json!("rt"), &json!(-5))
        }),
        ("the same until its end", 30, |now, _| {
            let end = AGAIN + secs(86_000);
            token_for(0, &Value::Null, &json!(end.since(now).as_secs().max(1)))
        }),
        ("the same with its full life", 30, |_, _| {
            token_for(0, &Value::Null, &json!(3600))
        }),
        ("every other refused", 60, |_, n| match n % 2 {
            0 => answered(400, &[], json!({ "error": "invalid_grant" }).to_string()),
            _ => token_for(n, &json!(format!("rt-{n}")), &json!(3600)),
        }),
        ("refused", 100, |_, _| {
            answered(400, &[], json!({ "error": "invalid_scope" }).to_string())
        }),
        ("lost", 300, |_, _| lost()),
    ];
    for rules in [anew_rules(), with_access, client] {
        for (what, most, answer) in odd {
            let asked = asked_in_a_day(&rules, answer);
            assert!((1..=most).contains(&asked), "{what}: {asked} times a day");
        }
    }
}
