//! Failures: what they do to doubt, and how long they hold back.

use super::*;
use crate::grant::schedule::{self, Never, Plan, RETRY_CAP, Why};
use crate::grant::state::Status;

pub(super) fn wrong(from: &GrantState, sent: WallTime, ending: Ending) -> Settled {
    let settled = exchange(&rules(), from, sent, ending);
    assert_eq!(settled.settlement.state.generation, from.generation);
    assert!(settled.settlement.tokens.is_none());
    settled
}

pub(super) fn lost() -> Ending {
    let text = "connection reset".to_owned();
    Ending::Lost { text }
}

#[test]
fn nothing_sent_spends_nothing() {
    for from in [state(), doubtful()] {
        let text = "connection refused".to_owned();
        let settled = wrong(&from, AGAIN, Ending::NotSent { text });
        let after = settled.settlement.state;
        assert_eq!(settled.kind, OutcomeKind::NotSent);
        assert_eq!(after.last_send, from.last_send);
        assert_eq!(after.doubt, from.doubt);
        assert_eq!(after.failures, from.failures + 1);
    }
}

#[test]
fn doubt_begins_with_what_may_have_been_carried_out() {
    let cut = Ending::Answered(Answer {
        status: 200,
        headers: Vec::new(),
        body: br#"{"access_token":"at-2","refr"#.to_vec(),
        complete: false,
        received: FIRST,
    });
    for (ending, kind) in [
        (lost(), OutcomeKind::InDoubt),
        // No refresh token can be in these; they are kept all the same.
        (cut, OutcomeKind::Unread),
        (answered(200, &[], "<html>"), OutcomeKind::Unread),
        (answered(502, &[], "<html>"), OutcomeKind::InDoubt),
        (answered(503, &[], "{}"), OutcomeKind::InDoubt),
        (answered(302, &[], ""), OutcomeKind::InDoubt),
        (answered(404, &[], "not found"), OutcomeKind::InDoubt),
    ] {
        let settled = wrong(&state(), FIRST, ending);
        let after = settled.settlement.state;
        assert_eq!(settled.kind, kind, "{}", settled.text);
        let kept = settled.settlement.unread.is_some();
        assert_eq!(kept, kind == OutcomeKind::Unread, "{}", settled.text);
        assert_eq!(after.doubt, doubtful().doubt, "{}", settled.text);
        assert_eq!(after.last_send, Some(FIRST));
        assert!(after.not_before > Some(FIRST));
    }
}

/// Only success or another authorization ends doubt.
#[test]
fn doubt_lasts_and_keeps_its_first_send() {
    let early = json!({ "errors": { "too_early": ["token_too_young"] } });
    let again = Some(Doubt {
        last_sent: AGAIN,
        presentations: 2,
        ..doubtful().doubt.expect("it is in doubt")
    });
    for (kind, ending) in [
        (OutcomeKind::InDoubt, lost()),
        (OutcomeKind::InDoubt, answered(502, &[], "<html>")),
        (OutcomeKind::AskedToWait, answered(429, &[], "")),
        (
            OutcomeKind::InvalidClient,
            answered(401, &[], r#"{"error":"invalid_client"}"#),
        ),
        (
            OutcomeKind::InvalidClient,
            answered(400, &[], r#"{"error":"unauthorized_client"}"#),
        ),
        (
            OutcomeKind::Refused,
            answered(400, &[], r#"{"error":"invalid_scope"}"#),
        ),
        (
            OutcomeKind::TooEarly,
            answered(400, &[], r#"{"error":"token_too_young"}"#),
        ),
    ] {
        let settled = exchange(&rules_of(early.clone()), &doubtful(), AGAIN, ending);
        assert_eq!(settled.kind, kind);
        assert_eq!(settled.settlement.state.doubt, again, "{kind:?}");
        assert!(settled.settlement.state.refusal.is_none(), "{kind:?}");
    }
}

#[test]
fn a_definite_refusal_puts_doubt_to_rest_and_keeps_the_token() {
    let refusal = || answered(400, &[], r#"{"error":"invalid_grant"}"#);
    let settled = wrong(&doubtful(), AGAIN, refusal());
    let after = settled.settlement.state;
    assert_eq!(settled.kind, OutcomeKind::InvalidGrant);
    let plan = schedule::plan(&after, &rules().policy, AGAIN + secs(2));
    assert_eq!(plan, Plan::Never(Never::Refused));
    assert_eq!(after.status(AGAIN), Status::Refused);
    assert_eq!(after.presents, Some(print_of("rt-1")));
    let first = after.refusal.clone().expect("it is refused");
    assert_eq!((first.at, first.times), (AGAIN + secs(1), 1));
    assert!(first.text.contains("invalid_grant"));

    // The provider was broken, and the refusal is taken back: the token may be void
    // all the same, by the exchange whose answer was lost.
    let (taken_back, first_sent) = (
        GrantState {
            refusal: None,
            ..after.clone()
        },
        FIRST,
    );
    assert_eq!(
        taken_back.doubt.as_ref().map(|d| d.first_sent),
        Some(first_sent)
    );
    let plan = schedule::plan(&taken_back, &rules().policy, AGAIN + secs(2));
    assert!(matches!(plan, Plan::At { why: Why::Hold, .. }), "{plan:?}");

    let later = AGAIN + secs(3600);
    let again = wrong(&after, later, refusal()).settlement.state.refusal;
    let again = again.expect("it is refused");
    assert_eq!((again.at, again.times), (first.at, 2));
}

#[test]
fn an_unread_answer_is_kept_and_marks_the_doubt() {
    let body = r#"{"token":"at-2","refresh":"rt-2"}"#;
    let settled = wrong(&state(), FIRST, answered(200, &[], body));
    assert_eq!(settled.kind, OutcomeKind::Unread);
    let kept = settled.settlement.unread.expect("the bytes are kept");
    assert_eq!(kept.body, body.as_bytes());
    let doubt = settled.settlement.state.doubt.clone();
    assert!(doubt.expect("it is in doubt").unread);
    // And stays marked when the next answer is merely lost.
    let next = wrong(&settled.settlement.state, AGAIN, lost());
    assert!(next.settlement.state.doubt.expect("in doubt").unread);
}

/// Whatever else an answer says: a token in it may be the only copy. One that it repeats
/// is none.
#[test]
fn an_error_that_holds_a_token_is_kept() {
    let kept = |status, body: &str| {
        let settled = wrong(&state(), FIRST, answered(status, &[], body));
        let doubt = settled.settlement.state.doubt.clone();
        let may_hold = doubt.is_some_and(|doubt| doubt.unread);
        assert_eq!(settled.settlement.unread.is_some(), may_hold, "{body}");
        may_hold
    };
    let error = |token: &str| format!(r#"{{"error":"invalid_grant","refresh_token":"{token}"}}"#);
    for status in [302, 400, 401, 429, 500, 503] {
        assert!(kept(status, &error("rt-new")), "{status}");
        assert!(
            kept(status, "Fatal error {} refresh_token=rt-new-1234&x=1"),
            "{status}"
        );
        let within = |name: &str, value: &str| {
            format!(r#"{{"error":{{"code":"invalid_grant","{name}":"{value}"}}}}"#)
        };
        for name in ["refresh_token", "refreshToken", "access_token"] {
            assert!(kept(status, &within(name, "rt-new-1234")), "{status}");
            assert!(!kept(status, &within(name, "is_invalid")), "{status}");
        }
        assert!(!kept(status, &error("rt-1")), "{status}");
        assert!(
            !kept(status, "your refresh_token: invalid or expired"),
            "{status}"
        );
    }
}

#[test]
fn a_redirect_that_holds_a_token_is_kept() {
    let kept = |location: &str| {
        let headers = &[("location", location)];
        let settled = wrong(&state(), FIRST, answered(302, headers, ""));
        settled.settlement.unread.is_some()
    };
    assert!(kept("https://a.example/#refresh_token=rt-new-1234&x=1"));
    assert!(!kept("https://a.example/login?next=refresh_token"));
}

#[test]
fn an_older_tokens_doubt_is_not_this_ones() {
    let mut other = doubtful();
    other.doubt.as_mut().expect("it is in doubt").presents = print_of("rt-0");
    let mut intent = intent(&other, AGAIN);
    (intent.attempt, intent.first_sent) = (1, AGAIN);
    let settled = settle(&rules(), &other, &tokens(), &intent, lost(), AGAIN);
    let doubt = settled.settlement.state.doubt.expect("it is in doubt");
    assert_eq!((doubt.first_sent, doubt.presentations), (AGAIN, 1));
    assert_eq!(doubt.presents, print_of("rt-1"));
}

#[test]
fn retry_after_is_a_least_wait_beside_back_off() {
    let asked = |value| answered(429, &[("retry-after", value)], "");
    let until = |from: &GrantState, ending| wrong(from, FIRST, ending).settlement.state.not_before;
    let settled_at = FIRST + secs(1);
    assert_eq!(until(&state(), asked("600")), Some(settled_at + secs(600)));
    let unavailable = answered(503, &[("retry-after", "600")], "");
    assert_eq!(until(&state(), unavailable), Some(settled_at + secs(600)));
    // A provider that is down and says "at once" is not asked at once for ever.
    let mut tired = state();
    tired.failures = 4;
    assert_eq!(until(&tired, asked("0")), Some(settled_at + secs(32)));
    // A failure that comes after does not cut an earlier wish short.
    tired.not_before = Some(FIRST + secs(900));
    for ending in [lost(), answered(400, &[], r#"{"error":"invalid_scope"}"#)] {
        assert_eq!(until(&tired, ending), Some(FIRST + secs(900)));
    }
}

/// What a brake's end may excuse is our own back-off; a chain that asks nobody before the
/// time a host told took that for the host's word.
#[test]
fn what_was_asked_for_is_kept_apart_from_back_off() {
    let asked = |from: &GrantState, ending| {
        let state = wrong(from, FIRST, ending).settlement.state;
        (state.asked_until, state.not_before)
    };
    let settled_at = FIRST + secs(1);
    let until = settled_at + secs(10);
    let mut tired = state();
    tired.failures = 4;
    for status in [429, 503] {
        let ending = answered(status, &[("retry-after", "10")], "");
        let backed_off = Some(settled_at + secs(32));
        assert_eq!(asked(&tired, ending), (Some(until), backed_off), "{status}");
    }
    // What is in doubt waits as it was asked to as well.
    let ending = answered(502, &[("retry-after", "600")], "");
    let until = Some(settled_at + secs(600));
    assert_eq!(asked(&tired, ending), (until, until));
    assert_eq!(asked(&state(), lost()).0, None);
    // A failure that comes after does not cut it short, and a success ends it.
    tired.asked_until = Some(FIRST + secs(900));
    assert_eq!(asked(&tired, lost()).0, Some(FIRST + secs(900)));
    let state = success(&rules(), &tired, FIRST, json!({}));
    assert_eq!(state.asked_until, None);
}

/// The exchange of a refresh token that a second chance has taken the place of.
#[test]
fn whoever_asks_to_wait_is_heeded_whatever_was_presented() {
    let mut other = state();
    other.presents = Some(print_of("rt-2"));
    let intent = intent(&state(), FIRST);
    for status in [429, 503] {
        let asked = answered(status, &[("retry-after", "600")], "");
        let settled = settle(&rules(), &other, &tokens(), &intent, asked, FIRST);
        let state = settled.settlement.state;
        assert_eq!(state.not_before, Some(FIRST + secs(600)));
        assert_eq!((state.doubt, state.failures), (None, 0));
    }
}

/// It used to be held to the spacing, whatever the provider.
#[test]
fn back_off_is_bounded_by_a_window_that_runs_out_and_by_nothing_else() {
    let window = json!({ "rotation": { "old_valid": "10m" } });
    let forever = json!({ "rotation": { "old_valid": "forever" } });
    let sent = FIRST + secs(200);
    for (why, description, sent, wait) in [
        ("within the window", window.clone(), sent, secs(75)),
        ("after it", window, FIRST + secs(500), RETRY_CAP),
        ("without end", forever, FIRST + secs(500), RETRY_CAP),
        ("none", json!({}), FIRST + secs(500), RETRY_CAP),
    ] {
        let mut tired = doubtful();
        // Dead for so long that nobody is in a hurry any more.
        (tired.failures, tired.expires_at) = (12, ISSUED);
        let after = exchange(&rules_of(description), &tired, sent, lost());
        let until = after.settlement.state.not_before;
        assert_eq!(until, Some(sent + secs(1) + wait), "{why}");
    }
}

#[test]
fn too_early_teaches_a_shorter_lead() {
    let early = json!({ "errors": { "too_early": ["token_too_young"] } });
    let ending = answered(400, &[], r#"{"error":"token_too_young"}"#);
    let asked = |sent| {
        let settled = exchange(&rules_of(early.clone()), &state(), sent, ending.clone());
        settled.settlement.state
    };
    // Nobody asked for it so soon but who wished it.
    assert_eq!(asked(FIRST - secs(600)).learned_lead, None);
    let after = asked(FIRST);
    assert_eq!(after.learned_lead, Some(secs(180)));
    assert!(after.doubt.is_none() && after.refusal.is_none());
    assert_eq!(after.failures, 0, "nothing is wrong");
}

#[test]
fn another_error_is_tried_slowly() {
    let ending = || answered(400, &[], r#"{"error":"invalid_scope"}"#);
    let after = wrong(&state(), FIRST, ending()).settlement.state;
    // A quarter of what is left: 299 s.
    let left = after.expires_at.since(FIRST + secs(1));
    assert_eq!(after.not_before, Some(FIRST + secs(1) + left / 4));
    let dead = ISSUED + secs(4000);
    let after = wrong(&state(), dead, ending()).settlement.state;
    assert_eq!(after.not_before, Some(dead + secs(1) + SLOW_RETRY));
}

#[test]
fn windows_count_sends() {
    let rules = rules_of(json!({ "schedule": { "max_per_window": "3/10m" } }));
    let sent = |state: &GrantState, at| exchange(&rules, state, at, lost()).settlement.state;
    let counted = |state: &GrantState| (state.window_from, state.sends_in_window);
    let one = sent(&state(), FIRST);
    assert_eq!(counted(&one), (Some(FIRST), 1));
    let two = sent(&one, FIRST + secs(100));
    assert_eq!(counted(&two), (Some(FIRST), 2));
    let text = String::new();
    let unsent = exchange(&rules, &two, FIRST + secs(200), Ending::NotSent { text });
    assert_eq!(counted(&unsent.settlement.state), (Some(FIRST), 2));
    let next = sent(&two, FIRST + secs(600));
    assert_eq!(counted(&next), (Some(FIRST + secs(600)), 1), "a new window");
}

/// It is settled when it is overdue and again when its answer comes.
#[test]
fn an_overdue_flight_counts_once() {
    let rules = rules_of(json!({ "schedule": { "max_per_window": "3/10m" } }));
    let intent = intent(&state(), FIRST);
    let after = |state: &GrantState, ending| {
        let now = FIRST + secs(40);
        let settled = settle(&rules, state, &tokens(), &intent, ending, now);
        settled.settlement.state
    };
    let overdue = after(&state(), lost());
    let answered = after(&overdue, answered(502, &[], "<html>"));
    assert_eq!(answered.sends_in_window, 1);
    assert_eq!(answered.doubt, overdue.doubt);
}

#[test]
fn a_person_is_asked_and_the_token_is_tried_now_and_then() {
    use crate::grant::schedule::{Plan, Why, plan};
    use crate::grant::state::Status;
    use crate::incident::{Kind, Kinds};
    let never = rules_of(json!({ "rotation": { "rotates": "never" } }));
    for (rules, code) in [
        (rules(), "interaction_required"),
        (rules(), "login_required"),
        (never, "invalid_grant"),
    ] {
        let mut state = state();
        let mut sent = FIRST;
        for (times, wait) in [(1, 3600), (2, 6 * 3600), (3, 86_400), (4, 86_400)] {
            let body = json!({ "error": code, "error_description": "do it" });
            let settled = exchange(&rules, &state, sent, answered(400, &[], body.to_string()));
            state = settled.settlement.state;
            let refusal = state.refusal.as_ref().expect("a refusal");
            assert_eq!(refusal.times, times);
            assert!(refusal.text.contains("do it"));
            assert_eq!(state.presents, Some(print_of("rt-1")), "it is kept");
            let now = sent + secs(1);
            assert_eq!(state.status(now), Status::Refused);
            assert!(Kinds::of_grant(&state, &rules.policy, now).contains(Kind::Refused));
            let next = sent + secs(wait);
            let expected = Plan::At {
                at: next,
                why: Why::RefusedRetry,
            };
            assert_eq!(
                plan(&state, &rules.policy, now),
                expected,
                "{code}, {times}"
            );
            sent = next;
        }
        assert!(
            state.is_alive(FIRST + secs(2)),
            "the living token is served"
        );
        let again = success(&rules, &state, sent, json!({ "expires_in": 60 }));
        assert_eq!((again.refusal, again.failures), (None, 0));
    }
}
