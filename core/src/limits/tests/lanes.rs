use super::*;

fn opened(limits: &mut Limits) -> WallTime {
    for grant in 0..2 {
        assert_eq!(limits.run(grant, OutcomeKind::Lost, NOW), []);
    }
    let effects = limits.run(2, OutcomeKind::NotSent, NOW);
    // With the highest roll a wait is as long as it can be.
    let probe_at = NOW + PROBE_BASE;
    assert_eq!(effects, [Effect::LaneOpened { lane: 0, probe_at }]);
    probe_at
}

#[test]
fn caps() {
    let mut limits = limits(3, 10);
    limits.set_caps(Caps {
        flights: 3,
        lane: Some(2),
    });
    for grant in 0..2 {
        assert_eq!(limits.may_start(0, 0, grant, NOW), Ok(()));
        limits.started(0, 0, grant);
    }
    assert_eq!(limits.why(2, NOW), Some((Why::LaneFull, None)));
    assert_eq!(
        limits.may_start(1, 1, 2, NOW),
        Ok(()),
        "another lane has room"
    );
    limits.started(1, 1, 2);
    assert_eq!(
        limits.lane_may_start(2, NOW).map_err(|b| b.why),
        Err(Why::Full)
    );
    let _ = limits.ended(0, 0, 0, OutcomeKind::Success, NOW, 0);
    assert_eq!((limits.why(0, NOW), limits.flights()), (None, 2));
}

#[test]
fn three_different_grants_open_the_breaker() {
    let mut limits = limits(8, 10);
    for _ in 0..9 {
        assert_eq!(
            limits.run(0, OutcomeKind::Lost, NOW),
            [],
            "one grant alone may be at fault"
        );
    }
    assert_eq!(limits.run(1, OutcomeKind::Lost, NOW), []);
    assert_eq!(limits.run(5, OutcomeKind::Success, NOW), []);
    let probe_at = opened(&mut limits);
    assert_eq!(limits.why(5, NOW), Some((Why::LaneOpen, Some(probe_at))));
    assert!(limits.probe_preference(0));
}

#[test]
fn all_grants_are_enough_where_there_are_fewer() {
    let mut limits = limits(8, 2);
    assert_eq!(limits.run(0, OutcomeKind::Unread, NOW), []);
    assert_eq!(limits.run(1, OutcomeKind::Lost, NOW).len(), 1);
    let mut alone = super::limits(8, 1);
    assert_eq!(alone.run(0, OutcomeKind::Lost, NOW).len(), 1);
}

#[test]
fn probes_go_one_at_a_time_and_back_off() {
    let mut limits = limits(8, 10);
    let mut at = opened(&mut limits);
    for wait in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
        assert_eq!(limits.may_start(0, 0, 7, at), Ok(()));
        limits.started(0, 0, 7);
        assert_eq!(limits.why(8, at), Some((Why::LaneOpen, None)));
        assert_eq!(limits.ended(0, 0, 7, OutcomeKind::Lost, at, u64::MAX), []);
        let next = at + Duration::from_secs(wait);
        assert_eq!(limits.why(8, at), Some((Why::LaneOpen, Some(next))));
        at = next;
    }
}

#[test]
fn exchanges_from_before_do_not_prolong_it() {
    let mut limits = limits(8, 10);
    limits.started(0, 0, 9);
    let probe_at = opened(&mut limits);
    assert_eq!(limits.ended(0, 0, 9, OutcomeKind::Lost, NOW, u64::MAX), []);
    assert_eq!(limits.why(5, NOW), Some((Why::LaneOpen, Some(probe_at))));
}

#[test]
fn a_success_closes_it_and_it_ramps_up() {
    let mut limits = limits(8, 20);
    let at = opened(&mut limits);
    assert_eq!(
        limits.run(3, OutcomeKind::Success, at),
        [Effect::LaneClosed { lane: 0 }]
    );
    assert!(!limits.probe_preference(0));
    for allowed in [1, 2, 4, 8] {
        let mut started = Vec::new();
        for grant in 0..20 {
            if limits.may_start(0, 0, grant, at).is_ok() {
                limits.started(0, 0, grant);
                started.push(grant);
            }
        }
        assert_eq!(started.len(), allowed);
        // All of them end, but one success alone counts.
        for _ in 1..started.len() {
            limits.lanes[0].give_back();
            limits.flights -= 1;
        }
        let effects = limits.ended(0, 0, started[0], OutcomeKind::Success, at, 0);
        assert_eq!(effects, []);
    }
}

#[test]
fn a_failure_on_the_way_up_begins_again() {
    let mut limits = limits(8, 20);
    let at = opened(&mut limits);
    for grant in 0..3 {
        let _ = limits.run(grant, OutcomeKind::Success, at);
    }
    assert_eq!(limits.run(4, OutcomeKind::Lost, at), []);
    limits.started(0, 0, 5);
    assert_eq!(limits.why(6, at), Some((Why::LaneFull, None)));
}

#[test]
fn any_answer_in_its_own_words_closes_it() {
    for kind in [
        OutcomeKind::InvalidGrant,
        OutcomeKind::TooEarly,
        OutcomeKind::Refused,
    ] {
        let mut limits = limits(8, 20);
        let at = opened(&mut limits);
        assert_eq!(
            limits.run(3, kind, at),
            [Effect::LaneClosed { lane: 0 }],
            "{kind:?}"
        );
    }
}

#[test]
fn a_probe_that_is_asked_to_wait_waits() {
    let mut limits = limits(8, 20);
    let at = opened(&mut limits);
    let wait = Duration::from_secs(77);
    let kind = OutcomeKind::AskedToWait {
        retry_after: Some(wait),
    };
    assert_eq!(limits.run(3, kind, at), []);
    assert_eq!(limits.why(4, at), Some((Why::LaneOpen, Some(at + wait))));
}

#[test]
fn three_throttled_grants_pause_the_lane() {
    let asked = |secs: u64| OutcomeKind::AskedToWait {
        retry_after: Some(Duration::from_secs(secs)),
    };
    let mut limits = limits(8, 20);
    for _ in 0..5 {
        assert_eq!(
            limits.run(0, asked(100), NOW),
            [],
            "one grant's wait is its own"
        );
    }
    assert_eq!(limits.run(1, asked(500), after(30)), []);
    assert_eq!(
        limits.run(2, asked(10), after(61)),
        [],
        "the first has fallen out of the window"
    );
    let until = after(530);
    assert_eq!(
        limits.run(3, asked(10), after(62)),
        [Effect::LanePaused { lane: 0, until }]
    );
    assert_eq!(
        limits.why(4, after(529)),
        Some((Why::LanePaused, Some(until)))
    );
    assert_eq!(limits.may_start(0, 0, 4, until), Ok(()));
    limits.started(0, 0, 4);
    assert_eq!(
        limits.why(5, until),
        Some((Why::LaneFull, None)),
        "not all at once"
    );
}

#[test]
fn a_late_answer_counts_but_frees_no_place() {
    let mut limits = limits(8, 20);
    limits.started(0, 0, 9);
    let at = opened(&mut limits);
    let effects = limits.observed(0, 0, 3, OutcomeKind::Success, at, 0);
    assert_eq!(
        (effects, limits.flights()),
        (vec![Effect::LaneClosed { lane: 0 }], 1)
    );
}

#[test]
fn a_flight_that_never_began_neither_closes_a_breaker_nor_keeps_its_probe() {
    let mut limits = limits(8, 3);
    for grant in 0..3 {
        let _opened = limits.run(grant, OutcomeKind::Lost, NOW);
    }
    let probe_at = after(600);
    limits.started(0, 0, 1);
    limits.abandoned(0, 0, 1);
    assert!(limits.probe_preference(0), "still open");
    assert_eq!(
        limits.may_start(0, 0, 2, probe_at),
        Ok(()),
        "another may probe"
    );
    assert_eq!(limits.flights(), 0);
}
