//! When a brake begins and is proven, and what it holds then.

use super::*;

#[test]
fn three_that_fail_alike_begin_a_brake_and_two_do_not() {
    for kind in [Trouble::Lossy, Trouble::Wait, Trouble::Sick] {
        let mut world = World::new(&[(here(), 9)]);
        assert_eq!(world.fail(here(), 1, kind, NOW), []);
        assert_eq!(world.fail(here(), 2, kind, NOW), []);
        assert_eq!(world.fail(here(), 1, kind, NOW), [], "one grant is one");
        let braked = Effect::Braked {
            scope: HOST,
            trouble: kind,
            proven: false,
        };
        assert_eq!(world.fail(here(), 3, kind, NOW), [braked]);
        assert_eq!(
            world.known(Scope::Host(1)),
            None,
            "another host's is its own"
        );
    }
    let mut world = World::new(&[(here(), 9)]);
    for (grant, kind) in [(1, Trouble::Lossy), (2, Trouble::Wait), (3, Trouble::Sick)] {
        assert_eq!(world.fail(here(), grant, kind, NOW), [], "not alike");
    }
}

/// Answers that are slow do not tell how things are now: what counts is when they were
/// asked for.
#[test]
fn a_success_counts_from_its_beginning() {
    for (began_first, brakes) in [(true, true), (false, false)] {
        let mut world = World::new(&[(here(), 9)]);
        let early = world.start(here(), 7, &fresh(3600), NOW);
        assert_eq!(world.fail(here(), 1, Trouble::Lossy, NOW), []);
        let late = world.start(here(), 8, &fresh(3600), NOW);
        let flight = if began_first { early } else { late };
        world.land(flight, Sign::Success, &fresh(7200), NOW);
        world.fail(here(), 2, Trouble::Lossy, NOW);
        world.fail(here(), 3, Trouble::Lossy, NOW);
        assert_eq!(world.known(HOST).is_some(), brakes, "{began_first}");
    }
    // The same where the failures come in after a success that began later than they.
    let mut world = World::new(&[(here(), 9)]);
    let slow = [1, 2, 3].map(|grant| world.start(here(), grant, &fresh(3600), NOW));
    world.succeed(here(), 8, NOW);
    for flight in slow {
        world.land(flight, trouble(Trouble::Lossy), &failed(3600, 1), NOW);
    }
    assert_eq!(world.known(HOST), None);
}

#[test]
fn two_fresh_ones_more_prove_it_and_down_is_proven_at_once() {
    for kind in [Trouble::Lossy, Trouble::Wait, Trouble::Sick] {
        let mut world = World::new(&[(here(), 9)]);
        world.brake(here(), kind, false);
        assert_eq!(world.fail_again(here(), 1, kind), [], "it is not fresh");
        let mut wished = fresh(3600);
        wished.wished = true;
        let flight = world.start(here(), 2, &wished, NOW);
        world.land(flight, trouble(kind), &failed(3600, 1), NOW);
        world.fail(here(), 3, kind, NOW);
        assert_eq!(world.known(HOST), Some((kind, false)));
        let proven = Effect::Braked {
            scope: HOST,
            trouble: kind,
            proven: true,
        };
        assert_eq!(world.fail(here(), 4, kind, NOW), [proven]);
        assert_eq!(world.fail(here(), 5, kind, NOW), [], "it is told once");
    }
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Down, false);
    assert_eq!(world.known(HOST), Some((Trouble::Down, true)));
}

/// Whoever's answer cannot be lost, or loses nothing by that, is asked when it is due.
#[test]
fn only_a_proven_brake_holds_first_attempts_and_only_where_asking_does_harm() {
    let last = at(3600 - 45);
    let held = Err(Blocked::Held {
        by: HOST,
        until: last,
    });
    let safe = Asking {
        spends: false,
        ..fresh(3600)
    };
    for (kind, proven, asking, expected) in [
        (Trouble::Down, true, fresh(3600), held),
        (Trouble::Down, true, safe, held),
        (Trouble::Wait, true, safe, held),
        (Trouble::Lossy, true, fresh(3600), held),
        (Trouble::Lossy, true, safe, Ok(())),
        (Trouble::Sick, true, fresh(3600), Ok(())),
        (Trouble::Lossy, false, fresh(3600), Ok(())),
        (Trouble::Wait, false, fresh(3600), Ok(())),
    ] {
        let mut world = World::new(&[(here(), 9)]);
        world.brake(here(), kind, proven);
        let may = world.may(here(), 9, &asking, NOW);
        assert_eq!(may, expected, "{kind:?}, {proven}, {asking:?}");
        if expected == held {
            // Then it is asked in its turn, one at a time.
            let may = world.may(here(), 9, &asking, last);
            assert_eq!(may, Err(Blocked::Waits { by: HOST }), "{kind:?}");
        }
    }
}

#[test]
fn a_second_attempt_comes_at_the_last_moment_and_no_third_but_the_chain_s() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Sick, true);
    let waits = Err(Blocked::Waits { by: HOST });
    let last = at(3600 - 45);
    assert_eq!(
        world.may(here(), 9, &failed(3600, 1), last - secs(1)),
        waits
    );
    assert_eq!(world.may(here(), 9, &failed(3600, 1), last), Ok(()));
    assert_eq!(world.may(here(), 9, &failed(3600, 2), last), waits);
    // Of a short life the last quarter is the last moment.
    let short = Asking {
        life: secs(20),
        ..failed(20, 1)
    };
    assert_eq!(world.may(here(), 9, &short, at(14)), waits);
    assert_eq!(world.may(here(), 9, &short, at(15)), Ok(()));
    // Somebody who wishes it uses the second attempt up sooner.
    let wished = |sends| Asking {
        wished: true,
        ..failed(3600, sends)
    };
    assert_eq!(world.may(here(), 9, &wished(1), NOW), Ok(()));
    assert_eq!(world.may(here(), 9, &wished(2), NOW), waits);
}

#[test]
fn a_dead_token_has_nothing_to_save_in_time() {
    for (kind, proven) in [(Trouble::Sick, false), (Trouble::Lossy, true)] {
        let mut world = World::new(&[(here(), 9)]);
        world.brake(here(), kind, proven);
        for sends in [0, 1, 2] {
            let may = world.may(here(), 9, &dead(sends), NOW);
            assert_eq!(may, Err(Blocked::Waits { by: HOST }));
        }
    }
}

/// One tenant's mistake made the others of the same server wait.
#[test]
fn one_client_s_trouble_does_not_brake_a_host_of_several() {
    let other = of_client(1);
    let mut world = World::new(&[(here(), 9), (other, 9)]);
    for grant in 0..6 {
        world.fail(here(), grant, Trouble::Lossy, NOW);
    }
    assert_eq!(world.known(HOST), None);
    let of_client = Scope::ClientAt { client: 0, host: 0 };
    assert_eq!(world.known(of_client), Some((Trouble::Lossy, true)));
    assert_eq!(world.may(other, 20, &fresh(3600), NOW), Ok(()));
    // Two of another fail alike, too: it is the host.
    world.fail(other, 20, Trouble::Lossy, NOW);
    assert_eq!(world.known(HOST), None);
    world.fail(other, 21, Trouble::Lossy, NOW);
    assert!(world.known(HOST).is_some());
}

/// One host a tenant: where the last three hosts asked failed, retries are thinned
/// everywhere, and no first attempt is held.
#[test]
fn three_hosts_of_a_template_brake_it_and_never_prove_it() {
    let tenant = |host| Route {
        template: Some(0),
        ..on_host(host)
    };
    let routes: Vec<(Route, u32)> = (0..9).map(|host| (tenant(host), 2)).collect();
    let template = Scope::Template(0);
    let mut world = World::new(&routes);
    for host in 0..6 {
        world.fail(tenant(host), host, Trouble::Down, NOW);
        let known = (host >= 2).then_some((Trouble::Down, false));
        assert_eq!(world.known(template), known, "{host}");
    }
    assert_eq!(world.may(tenant(7), 7, &fresh(3600), NOW), Ok(()));
    let waits = Err(Blocked::Waits { by: template });
    assert_eq!(world.may(tenant(7), 7, &failed(3600, 1), NOW), waits);
    // Another host answers.
    let freed = world.succeed(tenant(8), 8, NOW);
    assert_eq!(freed, [Effect::Freed { scope: template }]);
    // Several grants of one host are one host.
    let mut world = World::new(&routes);
    for grant in 0..6 {
        world.fail(tenant(0), grant, Trouble::Down, NOW);
    }
    assert_eq!(world.known(template), None);
}

#[test]
fn what_had_failed_before_a_restart_is_recalled() {
    let mut world = World::new(&[(here(), 9)]);
    let recall = |world: &mut World, grant| {
        let sign = trouble(Trouble::Lossy);
        world
            .limits
            .recall(here(), grant, sign, &failed(3600, 1), NOW, NOW)
    };
    assert_eq!(
        (recall(&mut world, 1), recall(&mut world, 2)),
        (vec![], vec![])
    );
    let effects = recall(&mut world, 3);
    assert!(matches!(
        effects[..],
        [Effect::Braked { proven: false, .. }]
    ));
    assert_eq!(recall(&mut world, 4), []);
    assert_eq!(world.may(here(), 9, &fresh(3600), NOW), Ok(()));
    // Each was fresh when it failed first: a restart is no reason to spend five more.
    assert!(matches!(
        recall(&mut world, 5)[..],
        [Effect::Braked { proven: true, .. }]
    ));
    let held = world.may(here(), 9, &fresh(3600), NOW);
    assert!(
        matches!(held, Err(Blocked::Held { by: HOST, .. })),
        "{held:?}"
    );
    let waits = Err(Blocked::Waits { by: HOST });
    assert_eq!(world.may(here(), 9, &failed(3600, 1), NOW), waits);
    // Any success of this process is later.
    let freed = world.succeed(here(), 9, NOW);
    assert_eq!(freed, [Effect::Freed { scope: HOST }]);
}

#[test]
fn nothing_is_remembered_of_who_is_gone() {
    let mut world = World::new(&[(here(), 3)]);
    world.fail(here(), 1, Trouble::Lossy, NOW);
    world.fail(here(), 2, Trouble::Lossy, NOW);
    assert_eq!(world.limits.leave(here(), 2), []);
    assert_eq!(
        world.fail(here(), 3, Trouble::Lossy, NOW),
        [],
        "two are left"
    );
    for grant in [1, 3] {
        let _effects = world.limits.leave(here(), grant);
    }
    assert!(world.limits.brakes.is_empty(), "{:?}", world.limits.brakes);
}
