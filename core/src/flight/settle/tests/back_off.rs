//! How long a failure holds back that says nothing about the refresh token, and which
//! refusals may not have been meant.

use super::failures::{lost, wrong};
use super::*;
use crate::grant::schedule::{self, Never, Plan};
use crate::grant::state::Status;

/// It waited ten minutes for a provider that said that it would be back in a moment.
#[test]
fn a_provider_that_cannot_for_now_did_nothing_and_is_asked_again_soon() {
    let said = |status, code: &str| answered(status, &[], json!({ "error": code }).to_string());
    let short = FIRST + secs(1) + secs(2);
    for (status, code) in [
        (200, "temporarily_unavailable"),
        (400, "temporarily_unavailable"),
        (400, "slow_down"),
        (400, "server_error"),
    ] {
        let settled = wrong(&state(), FIRST, said(status, code));
        assert_eq!(settled.kind, OutcomeKind::Unavailable, "{code}");
        let after = settled.settlement.state;
        assert_eq!((&after.doubt, &after.refusal), (&None, &None), "{code}");
        assert_eq!(
            (after.failures, after.not_before),
            (1, Some(short)),
            "{code}"
        );
        let status_of = after.last_outcome.and_then(|last| last.status);
        assert_eq!(status_of, Some(status));
    }
    // In a 5xx it is in doubt, unless its description knows better.
    for (description, doubts) in [
        (json!({}), true),
        (
            json!({ "errors": { "transient": ["server_error"] } }),
            false,
        ),
    ] {
        let ending = said(500, "server_error");
        let settled = exchange(&rules_of(description), &state(), FIRST, ending);
        assert_eq!(settled.settlement.state.doubt.is_some(), doubts);
    }
}

#[test]
fn the_status_of_an_answer_is_remembered_and_there_is_none_without_one() {
    let text = String::new();
    for (ending, status) in [
        (answered(429, &[], ""), Some(429)),
        (answered(502, &[], "<html>"), Some(502)),
        (
            answered(400, &[], r#"{"error":"invalid_grant"}"#),
            Some(400),
        ),
        (lost(), None),
        (Ending::NotSent { text }, None),
    ] {
        let last = wrong(&state(), FIRST, ending).settlement.state.last_outcome;
        assert_eq!(last.expect("an outcome").status, status);
    }
}

/// The waits of a row of failures that are all alike; `issued` so long before the first.
fn waits(
    from: &GrantState,
    first: WallTime,
    times: usize,
    ending: impl Fn() -> Ending,
) -> Vec<u64> {
    let (mut state, mut sent) = (from.clone(), first);
    let wait = |_| {
        state = wrong(&state, sent, ending()).settlement.state;
        let until = state.not_before.expect("it waits");
        let wait = until.since(sent + secs(1));
        sent = until;
        wait.as_secs()
    };
    (0..times).map(wait).collect()
}

/// One 401 by mistake stopped all of a client's grants for good.
#[test]
fn a_client_that_is_not_accepted_backs_off_like_any_failure() {
    let ending = || answered(401, &[], r#"{"error":"invalid_client"}"#);
    let mut long = state();
    long.expires_at = ISSUED + secs(86_400);
    let living = waits(&long, FIRST, 6, ending);
    assert_eq!(living, [30, 60, 120, 240, 300, 300]);
    // No more than a quarter of what is left.
    assert_eq!(waits(&state(), ISSUED + secs(3559), 1, ending), [10]);
    // Dead, half as long as it has been so: from half a minute to an hour.
    let dead = ISSUED + secs(3599);
    assert_eq!(
        waits(&state(), dead, 9, ending),
        [30, 30, 31, 47, 71, 107, 161, 242, 363]
    );
}

#[test]
fn an_unstated_wait_doubles_until_something_else_comes() {
    let mut long = state();
    long.expires_at = ISSUED + secs(864_000);
    let asked = || answered(429, &[], "");
    assert_eq!(
        waits(&long, FIRST, 7, asked),
        [30, 60, 120, 240, 480, 900, 900]
    );
    // After other failures it begins at half a minute.
    let mut tired = long.clone();
    tired.failures = 4;
    assert_eq!(
        waits(&tired, FIRST, 1, asked),
        [32],
        "the failures' own back-off"
    );
    // A stated one is kept, exactly.
    let stated = || answered(429, &[("retry-after", "75")], "");
    assert_eq!(waits(&long, FIRST, 3, stated), [75, 75, 75]);
}

/// A broken provider refused what was good, and all of it was given up.
#[test]
fn a_refusal_of_a_token_that_was_sound_is_provisional_once() {
    let refusal = || answered(400, &[], r#"{"error":"invalid_grant"}"#);
    let provisional = |from: &GrantState, sent| {
        let after = wrong(from, sent, refusal()).settlement.state;
        let refusal = after.refusal.clone().expect("it is refused");
        (refusal.provisional, after)
    };
    let (sound, after) = provisional(&state(), FIRST);
    assert!(sound);
    // It is for a person at once, all the same.
    assert_eq!(after.status(FIRST), Status::Refused);
    let plan = schedule::plan(&after, &rules().policy, FIRST + secs(2));
    assert_eq!(plan, Plan::Never(Never::Refused));
    assert!(!provisional(&after, AGAIN).0, "the second stands");
    assert!(!provisional(&doubtful(), AGAIN).0, "it was in doubt");
    let mut over = state();
    over.refresh_expires_at = Some(FIRST);
    assert!(!provisional(&over, AGAIN).0, "its life was over");
    // What waits for a person is not presented to find out.
    let person = answered(400, &[], r#"{"error":"interaction_required"}"#);
    let after = wrong(&state(), FIRST, person).settlement.state;
    assert!(!after.refusal.expect("it is refused").provisional);
    // It is not forgotten over a restart.
    let kept = serde_json::to_string(&provisional(&state(), FIRST).1).expect("JSON");
    let read: GrantState = serde_json::from_str(&kept).expect("a state");
    assert!(read.refusal.expect("it is refused").provisional);
}

/// Some servers do not decode what RFC 6749 §2.3.1 has encoded; an answer that refuses the
/// client has spent nothing.
#[test]
fn credentials_go_unencoded_where_encoded_ones_are_not_accepted() {
    let ending = || answered(401, &[], r#"{"error":"invalid_client"}"#);
    let once = wrong(&state(), FIRST, ending()).settlement.state;
    assert!(once.unencoded);
    let twice = wrong(&once, FIRST, ending());
    assert!(!twice.settlement.state.unencoded, "by turns");
}
