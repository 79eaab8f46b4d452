use super::*;

const PROBE: u64 = 15 * 60;
const OTHER: u64 = 5 * 60;

/// A client of 20 of whose grants 0 to 4 were just refused.
fn refused() -> Limits {
    let mut limits = limits(8, 20);
    for grant in 0..4 {
        assert_eq!(limits.run(grant, OutcomeKind::InvalidGrant, NOW), []);
    }
    let effects = limits.run(4, OutcomeKind::InvalidGrant, NOW);
    let reason = "5 of its grants were refused within ten minutes".to_owned();
    assert_eq!(
        effects,
        [
            Effect::ClientPaused {
                client: 0,
                mass_refusal: true,
                reason
            },
            probe(0, after(PROBE)),
        ]
    );
    limits
}

fn probe(grant: u32, at: WallTime) -> Effect {
    Effect::Probe {
        client: 0,
        grant,
        at,
    }
}

fn resumed(rearm: &[u32]) -> Effect {
    Effect::ClientResumed {
        client: 0,
        rearm: rearm.to_vec(),
    }
}

#[test]
fn few_refusals_are_the_grants_own() {
    // Fewer than five, fewer than a fifth, or slowly.
    for (grants, refusals, every) in [(20, 4, 0), (30, 5, 0), (20, 10, 151)] {
        let mut limits = limits(8, grants);
        for nth in 0..refusals {
            let at = after(u64::from(nth) * every);
            assert_eq!(limits.run(nth, OutcomeKind::InvalidGrant, at), []);
        }
    }
    let mut limits = limits(8, 20);
    for _ in 0..20 {
        assert_eq!(
            limits.run(0, OutcomeKind::InvalidGrant, NOW),
            [],
            "one grant counts once"
        );
    }
}

#[test]
fn many_refusals_pause_the_client() {
    let limits = refused();
    assert_eq!(
        limits.why(9, NOW),
        Some((Why::ClientPaused, Some(after(OTHER))))
    );
    assert_eq!(limits.why(0, NOW), Some((Why::Refused, Some(after(PROBE)))));
    assert_eq!(limits.why(0, after(PROBE)), None);
    assert_eq!(
        limits.why(1, after(PROBE)).map(|b| b.0),
        Some(Why::Refused),
        "one probes"
    );
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
    let mut limits = refused();
    let by = Duration::from_secs(86_400);
    limits.bring_back(by);
    let now = NOW - by;
    let others = Some((Why::ClientPaused, Some(after(OTHER) - by)));
    assert_eq!(limits.why(9, now), others);
    assert_eq!(
        limits.why(0, now),
        Some((Why::Refused, Some(after(PROBE) - by)))
    );
    assert_eq!(limits.why(0, after(PROBE) - by), None);
}

#[test]
fn a_refused_grant_that_succeeds_rearms_the_others() {
    let mut limits = refused();
    let effects = limits.run(0, OutcomeKind::Success, after(PROBE));
    assert_eq!(effects, [resumed(&[1, 2, 3, 4])]);
    for grant in 0..20 {
        assert_eq!(limits.why(grant, after(PROBE)), None);
    }
}

#[test]
fn the_refused_take_turns() {
    let mut limits = refused();
    for (nth, next) in [1, 2, 3, 4, 0].into_iter().enumerate() {
        let at = after(PROBE * (nth as u64 + 1));
        let grant = u32::try_from(nth).expect("small");
        let effects = limits.run(grant, OutcomeKind::InvalidGrant, at);
        assert_eq!(effects, [probe(next, at + CLIENT_PROBE_EVERY)]);
    }
    // A lost probe says nothing of the grant: the same again.
    let at = after(PROBE * 6);
    assert_eq!(
        limits.run(0, OutcomeKind::Lost, at),
        [probe(0, at + CLIENT_PROBE_EVERY)]
    );
}

#[test]
fn another_grant_that_succeeds_frees_the_others() {
    let mut limits = refused();
    assert_eq!(
        limits.run(9, OutcomeKind::Success, after(OTHER)),
        [resumed(&[])]
    );
    assert_eq!(limits.why(10, after(OTHER)), None);
    // The refused go on probing, and five more refusals pause the others again.
    assert_eq!(limits.why(0, after(OTHER)).map(|b| b.0), Some(Why::Refused));
    for grant in 10..14 {
        assert_eq!(
            limits.run(grant, OutcomeKind::InvalidGrant, after(OTHER)),
            []
        );
    }
    let effects = limits.run(14, OutcomeKind::InvalidGrant, after(OTHER));
    assert!(
        matches!(effects[..], [Effect::ClientPaused { client: 0, .. }]),
        "{effects:?}"
    );
    let effects = limits.run(0, OutcomeKind::Success, after(PROBE));
    assert_eq!(effects, [resumed(&[1, 2, 3, 4, 10, 11, 12, 13, 14])]);
}

#[test]
fn another_grant_that_is_refused_joins_them() {
    let mut limits = refused();
    assert_eq!(limits.run(9, OutcomeKind::InvalidGrant, after(OTHER)), []);
    assert_eq!(
        limits.why(10, after(OTHER)),
        Some((Why::ClientPaused, Some(after(2 * OTHER))))
    );
    let effects = limits.run(0, OutcomeKind::Success, after(PROBE));
    assert_eq!(effects, [resumed(&[1, 2, 3, 4, 9])]);
}

#[test]
fn a_success_from_before_the_pause_frees_nobody() {
    let mut limits = limits(8, 20);
    limits.started(0, 0, 9);
    for grant in 0..5 {
        let _ = limits.run(grant, OutcomeKind::InvalidGrant, NOW);
    }
    assert_eq!(limits.ended(0, 0, 9, OutcomeKind::Success, NOW, 0), []);
    assert_eq!(limits.why(10, NOW).map(|b| b.0), Some(Why::ClientPaused));
}

#[test]
fn refusals_that_are_meant_stand_after_a_day() {
    let mut limits = refused();
    let _ = limits.run(9, OutcomeKind::Success, after(OTHER));
    for nth in 0..95 {
        let effects = limits.run(
            nth % 5,
            OutcomeKind::InvalidGrant,
            after(PROBE * u64::from(nth + 1)),
        );
        assert_eq!(effects.len(), 1);
    }
    let effects = limits.run(0, OutcomeKind::InvalidGrant, after(PROBE * 96));
    let grants = vec![1, 2, 3, 4, 0];
    assert_eq!(effects, [Effect::RefusalsStand { client: 0, grants }]);
    assert_eq!(limits.why(0, after(PROBE * 96)), None);
}

#[test]
fn grants_that_leave_leave_the_refused() {
    let mut limits = refused();
    assert_eq!(limits.leave(0, 0, 0, NOW), [probe(1, after(PROBE))]);
    assert_eq!(limits.leave(0, 0, 2, NOW), []);
    for grant in [4, 3] {
        assert_eq!(limits.leave(0, 0, grant, NOW), []);
    }
    assert_eq!(limits.leave(0, 0, 1, NOW), [resumed(&[])]);
}

#[test]
fn a_client_that_is_not_accepted_is_paused_and_probes() {
    let mut limits = limits(8, 20);
    let effects = limits.run(3, OutcomeKind::InvalidClient, NOW);
    assert_eq!(effects, [not_accepted()]);
    assert_eq!(
        limits.why(3, NOW),
        Some((Why::ClientPaused, Some(after(PROBE))))
    );
    assert_eq!(
        limits.may_start(0, 1, 4, NOW),
        Ok(()),
        "other clients go on"
    );
    assert_eq!(limits.may_start(0, 0, 4, NOW), Ok(()));
    limits.started(0, 0, 4);
    assert_eq!(
        limits.why(5, NOW),
        Some((Why::ClientPaused, None)),
        "one probe"
    );
    let effects = limits.ended(0, 0, 4, OutcomeKind::InvalidClient, NOW, 0);
    assert_eq!(effects, [], "one incident");
    assert_eq!(
        limits.why(5, NOW),
        Some((Why::ClientPaused, Some(after(30))))
    );
    assert_eq!(
        limits.run(5, OutcomeKind::Success, after(30)),
        [resumed(&[])]
    );
    assert_eq!(limits.why(6, after(30)), None);
}

/// The answer said that the client was accepted, and it stayed paused.
#[test]
fn the_late_answer_to_a_probe_resumes_its_client() {
    let mut limits = limits(8, 20);
    let _ = limits.run(3, OutcomeKind::InvalidClient, NOW);
    assert_eq!(limits.run(4, OutcomeKind::Lost, NOW), []);
    // What others sent before the pause says nothing.
    let late = after(20);
    assert_eq!(limits.observed(0, 0, 5, OutcomeKind::Success, late, 0), []);
    assert_eq!(
        limits.why(5, late),
        Some((Why::ClientPaused, Some(after(30))))
    );
    assert_eq!(
        limits.observed(0, 0, 4, OutcomeKind::Success, late, 0),
        [resumed(&[])]
    );
    assert_eq!(limits.why(5, late), None);
}

#[test]
fn an_operator_pauses_and_resumes() {
    let mut limits = refused();
    assert_eq!(limits.pause(0, "by hand", NOW).len(), 1);
    assert_eq!(limits.pause(0, "by hand", NOW), []);
    assert_eq!(limits.resume(0), [resumed(&[0, 1, 2, 3, 4])]);
    assert_eq!(limits.resume(0), []);
    assert_eq!(limits.why(9, NOW), None);
}

#[test]
fn a_flight_that_never_began_does_not_resume_a_client() {
    let mut limits = limits(8, 3);
    let _paused = limits.pause(0, "the provider does not accept the client", NOW);
    let probe_at = NOW + CLIENT_PROBE_EVERY;
    assert_eq!(limits.may_start(0, 0, 0, probe_at), Ok(()));
    limits.started(0, 0, 0);
    limits.abandoned(0, 0, 0);
    assert!(limits.may_start(0, 0, 0, NOW).is_err(), "still paused");
    assert_eq!(
        limits.may_start(0, 0, 1, probe_at),
        Ok(()),
        "another may probe"
    );
}

#[test]
fn a_grant_whose_refusal_was_to_be_expected_lets_the_next_probe() {
    let mut limits = refused();
    // The first one's refresh token has outlived its life by now.
    let effects = limits.run(0, OutcomeKind::ExpectedRefusal, after(PROBE));
    assert_eq!(effects, [probe(1, after(PROBE * 2))]);
    // A refresh token that is refused all the same shows that the client is accepted.
    let mut limits = super::limits(8, 20);
    let _ = limits.run(0, OutcomeKind::InvalidClient, NOW);
    let effects = limits.run(1, OutcomeKind::ExpectedRefusal, after(PROBE));
    assert_eq!(effects, [resumed(&[])]);
    for grant in 0..20 {
        let at = after(2 * PROBE);
        assert_eq!(limits.run(grant, OutcomeKind::ExpectedRefusal, at), []);
    }
}

#[test]
fn a_probe_that_is_held_gives_its_turn_to_the_next() {
    let mut limits = refused();
    let at = after(PROBE);
    assert_eq!(limits.held(0, 3, at), None, "it is not its turn");
    assert_eq!(limits.held(0, 0, at), Some(probe(1, after(PROBE + 60))));
    let next = after(PROBE + 60);
    assert_eq!(limits.why(0, next).map(|b| b.0), Some(Why::Refused));
    let effects = limits.run(1, OutcomeKind::Success, next);
    assert_eq!(effects, [resumed(&[2, 3, 4, 0])]);
}

#[test]
fn a_forced_exchange_does_not_make_the_probe_forgotten() {
    let mut limits = limits(8, 20);
    limits.run(0, OutcomeKind::InvalidClient, NOW);
    let at = after(PROBE);
    limits.started(0, 0, 1); // the probe
    limits.started(0, 0, 2); // by force
    limits.abandoned(0, 0, 2);
    assert_eq!(limits.why(3, at), Some((Why::ClientPaused, None)));
    assert_eq!(limits.ended(0, 0, 1, OutcomeKind::Lost, at, u64::MAX), []);
    let next = after(PROBE + 30);
    assert_eq!(limits.why(3, at), Some((Why::ClientPaused, Some(next))));
}

fn not_accepted() -> Effect {
    Effect::ClientPaused {
        client: 0,
        mass_refusal: false,
        reason: "the provider does not accept the client".to_owned(),
    }
}

#[test]
fn one_grants_end_is_not_the_clients() {
    let mut limits = limits(8, 20);
    assert_eq!(
        limits.run(0, OutcomeKind::InvalidClient, NOW),
        [not_accepted()]
    );
    assert!(
        limits.why(0, NOW).is_some(),
        "it does not try again by itself"
    );
    assert_eq!(limits.why(7, NOW), None, "another finds out at once");
    assert_eq!(limits.run(7, OutcomeKind::Success, NOW), [resumed(&[])]);
    assert!(limits.is_own_trouble(0, 0) && !limits.is_own_trouble(0, 7));
    // It backs off by itself, and casts no suspicion any more.
    let mut at = NOW;
    for wait in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        let until = at + Duration::from_secs(wait);
        assert_eq!(limits.why(0, at), Some((Why::NotAccepted, Some(until))));
        assert_eq!(limits.why(7, at), None);
        assert_eq!(limits.run(0, OutcomeKind::InvalidClient, until), []);
        at = until;
    }
    // Until it works again.
    let _ = limits.run(0, OutcomeKind::Success, at + Duration::from_secs(3600));
    assert!(!limits.is_own_trouble(0, 0));
    assert_eq!(
        limits.run(0, OutcomeKind::InvalidClient, at),
        [not_accepted()]
    );
}

#[test]
fn a_client_that_is_not_accepted_is_asked_less_and_less() {
    let mut limits = limits(8, 20);
    let mut at = NOW;
    for (grant, wait) in [
        (0, 0),
        (1, 30),
        (2, 60),
        (3, 120),
        (4, 240),
        (5, 480),
        (6, 900),
        (7, 900),
    ] {
        let _ = limits.run(grant, OutcomeKind::InvalidClient, at);
        let next = at + Duration::from_secs(wait);
        let held = limits.why(19, at).map(|(_, until)| until);
        assert_eq!(held, (wait > 0).then_some(Some(next)), "after {grant}");
        at = next;
    }
    // Three of them were dead: the others go on, and these back off by themselves.
    assert_eq!(limits.run(19, OutcomeKind::Success, at), [resumed(&[])]);
    assert!((0..8).all(|grant| limits.is_own_trouble(0, grant)));
    assert_eq!(limits.why(9, at), None);
    assert_eq!(limits.resume(0), []);
    assert!(
        !limits.is_own_trouble(0, 0),
        "a changed configuration begins anew"
    );
}
