//! The rules, one by one, and what holds for any state.

use super::*;
use crate::grant::state::LastOutcome;
use crate::provider::description::{Lifetime, OldValid, Rotation, Window};
use crate::secret::Fingerprint;
use proptest::prelude::*;

fn policy() -> Policy {
    Policy {
        schedule: Schedule::default(),
        rotation: Rotation::default(),
        lifetime: Lifetime::default(),
        ..Policy::default()
    }
}

fn state(issued: i64, life_secs: u64) -> GrantState {
    GrantState {
        generation: 1,
        issued_at: WallTime(issued),
        expires_at: WallTime(issued) + Duration::from_secs(life_secs),
        presents: Some(Fingerprint([1; 16])),
        ..GrantState::default()
    }
}

fn at(plan: Plan) -> (WallTime, Why) {
    match plan {
        Plan::At { at, why } => (at, why),
        Plan::Never(why) => panic!("never: {why:?}"),
    }
}

#[test]
fn leads_follow_the_rule() {
    let lead = |secs| lead(Duration::from_secs(secs), &Schedule::default(), None);
    assert_eq!(lead(3600), Duration::from_secs(360));
    assert_eq!(lead(600), Duration::from_secs(300), "half of a short life");
    assert_eq!(lead(20), Duration::from_secs(10));
    assert_eq!(lead(172_800), Duration::from_secs(17_280));
}

#[test]
fn an_override_may_not_eat_the_whole_life() {
    let schedule = Schedule {
        lead: Some(Duration::from_secs(7200)),
        ..Schedule::default()
    };
    assert_eq!(
        lead(Duration::from_secs(3600), &schedule, None),
        Duration::from_secs(3240)
    );
}

#[test]
fn twenty_years_are_planned_without_overflow() {
    let state = state(1_700_000_000_000, 631_152_000);
    let mut policy = policy();
    policy.schedule.at_most = Some(CENTURY);
    let (when, why) = at(plan(&state, &policy, state.issued_at));
    assert_eq!(why, Why::Lead);
    assert!(when > state.issued_at + Duration::from_secs(17 * 31_557_600));
}

/// A provider says twenty years, and forgets what it gave after one.
#[test]
fn no_token_set_becomes_older_than_at_most() {
    let day = Duration::from_secs(86_400);
    let years = 631_152_000;
    for (life, at_most, expected) in [
        (years, None, Some(day * 30)),
        (years, Some(day), Some(day)),
        (3600, None, None),
        (years, Some(CENTURY), None),
    ] {
        let mut policy = policy();
        policy.schedule.at_most = at_most;
        let (when, why) = at(plan(&state(0, life), &policy, WallTime(0)));
        let old = (why == Why::AtMost).then(|| when.since(WallTime(0)));
        assert_eq!(old, expected, "{life} s, {at_most:?}");
    }
    // What is known of its end stays: nobody is told that it is over sooner.
    assert_eq!(state(0, years).expires_at, WallTime::from_secs(631_152_000));
    // Many that were issued at one moment are not asked for at one moment.
    let mut one = state(0, years);
    one.roll = u64::MAX;
    let spread = at(plan(&one, &policy(), WallTime(0))).0;
    assert_eq!(spread, WallTime(0) + day * 30 - RETRY_CAP);
    // Nor is one that is to be young asked for before its time.
    let mut brief = policy();
    brief.schedule.at_most = Some(Duration::from_secs(60));
    let soon = at(plan(&one, &brief, WallTime(0))).0;
    assert_eq!(soon, WallTime(54_000));
    // With nothing to present there is nothing to be early for.
    one.presents = None;
    let never = plan(&one, &policy(), WallTime(0));
    assert_eq!(never, Plan::Never(Never::NothingToRefresh));
}

#[test]
fn a_least_age_beats_the_lead() {
    let mut policy = policy();
    policy.schedule.min_age = Some(Duration::from_secs(570));
    let state = state(0, 600);
    assert_eq!(
        at(plan(&state, &policy, WallTime(0))),
        (WallTime(572_000), Why::MinAge)
    );
}

#[test]
fn a_sliding_refresh_life_bounds_due_and_an_absolute_one_does_not() {
    let mut policy = policy();
    let mut state = state(0, 631_152_000);
    state.refresh_expires_at = Some(WallTime::from_secs(30 * 86_400));
    assert_eq!(
        at(plan(&state, &policy, WallTime(0))),
        (WallTime::from_secs(27 * 86_400), Why::RefreshLife)
    );
    policy.lifetime.refresh_from = RefreshFrom::Login;
    assert_eq!(at(plan(&state, &policy, WallTime(0))).1, Why::AtMost);
    policy.schedule.at_most = Some(CENTURY);
    assert_eq!(at(plan(&state, &policy, WallTime(0))).1, Why::Lead);
    assert_eq!(
        reauthorize_before(&state, &policy),
        state.refresh_expires_at
    );
}

#[test]
fn windows_hold_back() {
    let mut policy = policy();
    policy.schedule.max_per_window = Some(Window {
        count: 2,
        per: Duration::from_secs(600),
    });
    let mut state = state(0, 4);
    state.window_from = Some(WallTime(0));
    state.sends_in_window = 2;
    assert_eq!(
        at(plan(&state, &policy, WallTime(4000))),
        (WallTime(600_000), Why::Window)
    );
}

#[test]
fn refused_rotating_never_and_refused_lasting_now_and_then() {
    let mut policy = policy();
    let mut state = state(0, 3600);
    state.last_send = Some(WallTime(1000));
    state.refusal = Some(crate::grant::state::Refusal {
        provisional: false,
        interaction: false,
        at: WallTime(1000),
        times: 1,
        text: String::new(),
    });
    assert_eq!(
        plan(&state, &policy, WallTime(2000)),
        Plan::Never(Never::Refused)
    );
    policy.rotation.rotates = Rotates::Never;
    assert_eq!(
        at(plan(&state, &policy, WallTime(2000))),
        (WallTime(3_601_000), Why::RefusedRetry)
    );
    // What the client's secret was to blame for is no try of the refresh token.
    let mut last = crate::grant::state::LastOutcome {
        status: None,
        at: WallTime(1000),
        kind: OutcomeKind::InvalidGrant.word().to_owned(),
        text: String::new(),
    };
    for (kind, hours) in [
        (OutcomeKind::InvalidGrant, 24),
        (OutcomeKind::InvalidClient, 1),
    ] {
        state.refusal.as_mut().unwrap().times = 3;
        last.kind = kind.word().to_owned();
        state.last_outcome = Some(last.clone());
        let again = WallTime(1000) + Duration::from_secs(hours * 3600);
        assert_eq!(at(plan(&state, &policy, WallTime(2000))).0, again);
    }
}

fn anew() -> Policy {
    Policy {
        fallback: Some(crate::provider::description::Fallback::ClientCredentials),
        ..policy()
    }
}

#[test]
fn a_client_that_can_ask_begins_by_itself() {
    let none = GrantState::default();
    let now = WallTime::from_secs(1_800_000_000);
    assert_eq!(at(plan(&none, &anew(), now)), (WallTime(0), Why::First));
    assert_eq!(
        plan(&none, &policy(), now),
        Plan::Never(Never::Pending),
        "others wait for a person"
    );
}

#[test]
fn a_client_that_can_ask_never_holds() {
    let sent = WallTime::from_secs(3000);
    let mut state = in_doubt(state(0, 3600), sent);
    state.last_send = Some(sent);
    let (held, _) = at(plan(&state, &policy(), sent));
    assert!(held >= WallTime::from_secs(3555), "used up first: {held:?}");
    let gap = sent + Duration::from_secs(30);
    assert_eq!(
        at(plan(&state, &anew(), sent)),
        (WallTime::from_secs(3240), Why::Lead)
    );
    state.last_send = Some(WallTime::from_secs(3300));
    let after = WallTime::from_secs(3330);
    assert_eq!(at(plan(&state, &anew(), gap)), (after, Why::Gap));
    assert_eq!(wish(&state, &anew(), Urgency::Wish, after), Ok(()));
    assert_eq!(reauthorize_before(&state, &anew()), None);
}

#[test]
fn a_client_that_can_ask_is_free_to_at_once_when_a_consumer_s_token_fails() {
    // Asked early in the access token's life, and the answer was lost.
    let sent = WallTime::from_secs(600);
    let mut state = in_doubt(state(0, 3600), sent);
    state.last_send = Some(sent);
    let now = sent + Duration::from_secs(60);
    for urgency in [Urgency::Wish, Urgency::Rejected, Urgency::Force] {
        assert_eq!(wish(&state, &anew(), urgency, now), Ok(()), "{urgency:?}");
        assert!(wish(&state, &policy(), urgency, now).is_err());
    }
}

#[test]
fn a_learned_lead_is_not_undone_by_a_refresh_token_that_ends_with_the_access_token() {
    let mut state = state(0, 86_400);
    state.refresh_expires_at = Some(state.expires_at);
    state.learned_lead = Some(Duration::from_secs(60));
    let late = WallTime::from_secs(86_400 - 72);
    for policy in [policy(), anew()] {
        let (when, why) = at(plan(&state, &policy, WallTime(0)));
        assert!(when >= late, "{when:?} by {why:?}: asked again and again");
    }
    // Nor is a shorter lead that is configured, where nothing is lost by it.
    state.learned_lead = None;
    let mut anew = anew();
    anew.schedule.lead = Some(Duration::from_secs(60));
    assert!(at(plan(&state, &anew, WallTime(0))).0 >= late);
}

#[test]
fn a_refresh_token_that_is_over_is_tried_once_and_then_seldom() {
    let end = WallTime::from_secs(30 * 86_400);
    let mut state = state(0, 172_800);
    state.refresh_expires_at = Some(end);
    let now = end + Duration::from_secs(86_400);
    assert_eq!(refresh_token_over(&state, &policy(), now), Some(end));
    let (first, _) = at(plan(&state, &policy(), now));
    assert!(first <= now, "one try is made, since clocks err");
    state.last_send = Some(now);
    for (failures, hours) in [(1, 1), (2, 6), (3, 24), (9, 24)] {
        state.failures = failures;
        let again = now + Duration::from_secs(hours * 3600);
        assert_eq!(at(plan(&state, &policy(), now)), (again, Why::RefreshOver));
    }
    // Where the client can ask for itself, nobody is bothered.
    assert_eq!(refresh_token_over(&state, &anew(), now), None);
}

fn in_doubt(mut state: GrantState, sent: WallTime) -> GrantState {
    state.doubt = Some(crate::grant::state::Doubt {
        first_sent: sent,
        last_sent: sent,
        presents: Fingerprint([1; 16]),
        presentations: 1,
        unread: false,
        relic: false,
    });
    state
}

#[test]
fn force_does_not_pass_a_hold_that_a_longer_wait_hides() {
    let now = WallTime(10_000);
    let mut state = in_doubt(state(0, 3600), WallTime(9000));
    // The gateway that lost the answer asked to wait until long after expiry.
    let at = WallTime::from_secs(7200);
    state.not_before = Some(at);
    let held = Err(Denied::NotBefore { at, why: Why::Hold });
    assert_eq!(wish(&state, &policy(), Urgency::Force, now), held);
    assert_eq!(wish(&state, &policy(), Urgency::AcceptRisk, now), Ok(()));
}

#[test]
fn force_does_not_overtake_a_presentation_that_may_be_under_way() {
    let mut policy = policy();
    policy.rotation.old_valid = OldValid::UntilUsed;
    let state = in_doubt(state(0, 4), WallTime(1000));
    let at = |millis, urgency| wish(&state, &policy, urgency, WallTime(millis));
    assert!(at(1200, Urgency::Force).is_err());
    assert_eq!(at(1200, Urgency::AcceptRisk), Ok(()));
    assert_eq!(at(2000, Urgency::Force), Ok(()));
}

#[test]
fn only_a_refused_access_token_ends_a_hold_where_the_old_one_dies_at_a_refresh() {
    let mut policy = policy();
    policy.rotation.revokes_old_access = true;
    let state = in_doubt(state(0, 3600), WallTime(1000));
    let now = WallTime::from_secs(600);
    assert!(wish(&state, &policy, Urgency::Wish, now).is_err());
    assert_eq!(wish(&state, &policy, Urgency::Rejected, now), Ok(()));
    policy.rotation.revokes_old_access = false;
    assert!(wish(&state, &policy, Urgency::Rejected, now).is_err());
}

proptest! {
    #[test]
    fn nothing_is_due_before_its_bounds(
        life in 1u64..700_000_000, roll: u64, last in proptest::option::of(0i64..10_000_000),
        not_before in proptest::option::of(0i64..10_000_000), min_age in proptest::option::of(0u64..10_000),
        doubtful: bool, forever: bool, now in 0i64..20_000_000,
    ) {
        let mut policy = policy();
        policy.schedule.min_age = min_age.map(Duration::from_secs);
        policy.rotation.old_valid = if forever { OldValid::Forever } else { OldValid::default() };
        let mut state = state(0, life);
        state.roll = roll;
        state.last_send = last.map(WallTime);
        state.not_before = not_before.map(WallTime);
        state.doubt = doubtful.then(|| crate::grant::state::Doubt {
            first_sent: WallTime(last.unwrap_or(0)), last_sent: WallTime(last.unwrap_or(0)),
            presents: Fingerprint([1; 16]), presentations: 1, unread: false, relic: false,
        });
        let (when, _) = at(plan(&state, &policy, WallTime(now)));
        prop_assert!(state.last_send.is_none_or(|l| when >= l + gap(state.lifetime())));
        prop_assert!(state.not_before.is_none_or(|n| when >= n));
        prop_assert!(when >= state.issued_at + policy.schedule.min_age.unwrap_or_default() + SETTLE);
    }

    #[test]
    fn a_fresh_token_is_replaced_while_it_lives(life in 5u64..700_000_000, roll: u64) {
        let mut state = state(0, life);
        state.roll = roll;
        let (when, _) = at(plan(&state, &policy(), WallTime(0)));
        prop_assert!(when < state.expires_at, "{when:?} for a life of {life} s");
        prop_assert!(when >= WallTime(0) + SETTLE);
    }

    #[test]
    fn retries_are_jittered_capped_and_fit(failures in 0u32..100, remaining in 0u64..100_000, roll: u64) {
        let wait = retry_after(failures, Duration::from_secs(remaining), JUST_DEAD, roll);
        prop_assert!(wait >= RETRY_BASE && wait <= RETRY_CAP);
        if remaining >= 4 {
            prop_assert!(wait <= Duration::from_secs(remaining) / 4 || wait == RETRY_BASE);
        }
    }
}

/// Somebody waits for a token that has just died.
#[test]
fn a_token_that_has_just_died_is_asked_for_each_minute_at_least() {
    let wait = |remaining, dead_for| {
        let [remaining, dead_for] = [remaining, dead_for].map(Duration::from_secs);
        retry_after(20, remaining, dead_for, u64::MAX).as_secs()
    };
    for (remaining, dead_for, expected) in [
        (0, 0, 60),
        (0, 599, 60),
        (0, 600, 300),
        (4000, 0, 300),
        (100, 0, 25),
    ] {
        assert_eq!(
            wait(remaining, dead_for),
            expected,
            "{remaining}, {dead_for}"
        );
    }
}

#[test]
fn whether_the_provider_or_a_failure_wants_the_wait_is_told_apart() {
    let at = WallTime(2_000_000_000);
    let last = |kind: OutcomeKind| {
        Some(LastOutcome {
            status: None,
            at: WallTime(0),
            kind: kind.word().to_owned(),
            text: String::new(),
        })
    };
    let why = |kind, asked: bool| {
        let state = GrantState {
            not_before: Some(at),
            last_outcome: last(kind),
            asked_until: asked.then_some(at),
            ..GrantState::default()
        };
        held_back(&state)
    };
    assert_eq!(why(OutcomeKind::AskedToWait, false), Why::AskedToWait);
    // A 503 with Retry-After.
    assert_eq!(why(OutcomeKind::InDoubt, true), Why::AskedToWait);
    assert_eq!(why(OutcomeKind::InDoubt, false), Why::NotBefore);
    assert_eq!(why(OutcomeKind::NotSent, false), Why::NotBefore);
}
