//! Clients that are not accepted.

use super::*;

const CLIENT: Scope = Scope::ClientAt { client: 0, host: 0 };

fn braked(scope: Scope, proven: bool) -> Effect {
    Effect::Braked {
        scope,
        trouble: Trouble::Client,
        proven,
    }
}

#[test]
fn three_grants_that_worked_cast_suspicion_once_each() {
    let mut world = World::new(&[(here(), 9)]);
    // One that never worked is no witness.
    let never = Asking {
        life: Duration::ZERO,
        ends_at: None,
        ..failed(0, 0)
    };
    for grant in 20..24 {
        let flight = world.start(here(), grant, &never, NOW);
        let effects = world.land(flight, trouble(Trouble::Client), &never, NOW);
        assert_eq!(effects, [], "{grant}");
    }
    assert_eq!(world.fail(here(), 1, Trouble::Client, NOW), []);
    assert_eq!(world.fail(here(), 2, Trouble::Client, NOW), []);
    assert_eq!(world.fail(here(), 1, Trouble::Client, NOW), []);
    assert_eq!(
        world.fail(here(), 3, Trouble::Client, NOW),
        [braked(CLIENT, false)]
    );
    assert_eq!(world.known(HOST), None, "the host does what it should");
    assert_eq!(world.may(here(), 9, &fresh(3600), NOW), Ok(()));
    world.fail(here(), 4, Trouble::Client, NOW);
    assert_eq!(
        world.fail(here(), 5, Trouble::Client, NOW),
        [braked(CLIENT, true)]
    );
    let until = at(3600 - 45);
    let held = Err(Blocked::Held { by: CLIENT, until });
    assert_eq!(world.may(here(), 9, &fresh(3600), NOW), held);
    // Other clients of the host, and the client elsewhere, are asked as ever.
    assert_eq!(world.may(of_client(1), 30, &fresh(3600), NOW), Ok(()));
    assert_eq!(world.may(on_host(1), 31, &fresh(3600), NOW), Ok(()));
    assert_eq!(world.limits.rejected_clients().collect::<Vec<_>>(), [0]);
}

/// One 401 for one grant, once, while eleven others went on with the same secret.
#[test]
fn a_refusal_of_the_refresh_token_accepts_the_client_and_another_error_does_not() {
    for (sign, ends) in [
        (Sign::Success, true),
        (Sign::Answered { accepted: true }, true),
        (Sign::Answered { accepted: false }, false),
    ] {
        let mut world = World::new(&[(here(), 9)]);
        (0..3).for_each(|grant| drop(world.fail(here(), grant, Trouble::Client, NOW)));
        let flight = world.start(here(), 8, &fresh(3600), NOW);
        let effects = world.land(flight, sign, &fresh(7200), NOW);
        let freed = vec![Effect::Freed { scope: CLIENT }];
        assert_eq!(effects, if ends { freed } else { vec![] }, "{sign:?}");
        assert_eq!(world.known(CLIENT).is_none(), ends);
    }
}

/// A secret that was wrong from the beginning is looked at again as any other.
#[test]
fn clients_that_are_not_accepted_for_a_grant_are_known() {
    let mut world = World::new(&[(here(), 2), (of_client(1), 2)]);
    let rejected = |world: &World| world.limits.rejected_clients().collect::<Vec<_>>();
    let never = Asking {
        life: Duration::ZERO,
        ends_at: None,
        ..failed(0, 0)
    };
    let flight = world.start(of_client(1), 5, &never, NOW);
    world.land(flight, trouble(Trouble::Client), &never, NOW);
    assert_eq!(rejected(&world), [1]);
    // What says nothing of the client changes nothing.
    let flight = world.start(of_client(1), 5, &never, NOW);
    world.land(flight, trouble(Trouble::Down), &never, NOW);
    assert_eq!(rejected(&world), [1]);
    let flight = world.start(of_client(1), 5, &never, NOW);
    world.land(flight, Sign::Success, &fresh(3600), NOW);
    assert_eq!(rejected(&world), [] as [u32; 0]);
    // Over a restart too, and not once the grant is gone.
    let sign = trouble(Trouble::Client);
    let _effects = world
        .limits
        .recall(here(), 1, sign, &failed(3600, 1), NOW, NOW);
    assert_eq!(rejected(&world), [0]);
    let _effects = world.limits.leave(here(), 1);
    assert_eq!(rejected(&world), [] as [u32; 0]);
}

#[test]
fn two_hosts_that_do_not_accept_a_client_hold_it_at_all() {
    let routes: Vec<(Route, u32)> = (0..4).map(|host| (on_host(host), 9)).collect();
    let mut world = World::new(&routes);
    let wide = Scope::Client(0);
    let reject = |world: &mut World, host: u32| {
        let fail = |grant| world.fail(on_host(host), host * 10 + grant, Trouble::Client, NOW);
        (0..5).flat_map(fail).collect::<Vec<_>>()
    };
    assert!(!reject(&mut world, 0).contains(&braked(wide, true)));
    assert_eq!(world.may(on_host(3), 39, &fresh(3600), NOW), Ok(()));
    assert!(reject(&mut world, 1).contains(&braked(wide, true)));
    let until = at(3600 - 45);
    let held = Err(Blocked::Held { by: wide, until });
    assert_eq!(world.may(on_host(3), 39, &fresh(3600), NOW), held);
    // Accepted anywhere, it is the hosts' own affair again.
    let freed = world.succeed(on_host(3), 38, NOW);
    assert!(freed.contains(&Effect::Freed { scope: wide }), "{freed:?}");
    assert_eq!(world.may(on_host(3), 39, &fresh(3600), NOW), Ok(()));
}

/// The chain of each host waited besides that of all hosts, and outlasted it.
#[test]
fn where_no_host_accepts_a_client_there_is_one_chain() {
    let routes: Vec<(Route, u32)> = (0..3).map(|host| (on_host(host), 9)).collect();
    let mut world = World::new(&routes);
    for host in 0..3 {
        for grant in 0..5 {
            world.fail(on_host(host), host * 10 + grant, Trouble::Client, NOW);
        }
    }
    let wide = Scope::Client(0);
    // Its own chain at that host is longer by now.
    let here = Scope::ClientAt { client: 0, host: 2 };
    assert!(world.known(here).is_some());
    for grant in [27, 28] {
        world.wait(on_host(2), grant, &dead(3), NOW);
        let next = world.chain(wide);
        assert_eq!(world.take(on_host(2), next), Some(grant));
        let may = (world.limits).may_start(on_host(2), grant, &dead(3), true, next);
        assert_eq!(may, Ok(()));
        let flight = world.start(on_host(2), grant, &dead(3), next);
        world.land(flight, trouble(Trouble::Client), &dead(4), next);
    }
    // Accepted at one, it is tried at once at the others.
    let later = at(7200);
    world.wait(on_host(2), 26, &dead(3), later);
    world.succeed(on_host(1), 18, later);
    assert_eq!(world.known(wide), None);
    assert_eq!(world.chain(here), later);
}

#[test]
fn a_client_of_one_or_two_grants_has_an_incident_and_its_own_back_off() {
    for count in [1, 2] {
        let mut world = World::new(&[(here(), count)]);
        for grant in 1..count {
            assert_eq!(world.fail(here(), grant, Trouble::Client, NOW), []);
        }
        let effects = world.fail(here(), count, Trouble::Client, NOW);
        assert_eq!(effects, [braked(CLIENT, false)]);
        for asking in [fresh(3600), failed(3600, 2), dead(5)] {
            assert_eq!(world.may(here(), 1, &asking, NOW), Ok(()));
        }
        let freed = world.succeed(here(), 1, NOW);
        assert_eq!(freed, [Effect::Freed { scope: CLIENT }]);
    }
}

/// The first wait is a quarter of the shortest life, at most half a minute.
#[test]
fn the_chain_of_a_client_begins_slowly_and_is_slower_where_no_token_lives() {
    for (life, first) in [(LIFE, 30), (secs(20), 5)] {
        let mut world = World::new(&[(here(), 9)]);
        for grant in 0..3 {
            let asking = Asking {
                life,
                ..fresh(3600)
            };
            let flight = world.start(here(), grant, &asking, NOW);
            world.land(flight, trouble(Trouble::Client), &asking, NOW);
        }
        assert_eq!(world.chain(CLIENT), at(first));
    }
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Client, true);
    let (mut now, mut longest) = (NOW, Duration::ZERO);
    world.wait(here(), 1, &dead(3), NOW);
    for _ in 0..16 {
        let next = world.chain(CLIENT);
        longest = longest.max(next.since(now));
        now = next;
        assert_eq!(world.take(here(), now), Some(1));
        let flight = world.start(here(), 1, &dead(3), now);
        world.land(flight, trouble(Trouble::Client), &dead(4), now);
        world.wait(here(), 1, &dead(4), now);
    }
    assert_eq!(longest, secs(3600));
}

#[test]
fn a_changed_secret_is_tried_at_once() {
    let mut world = World::new(&[(here(), 9), (of_client(1), 9)]);
    world.brake(here(), Trouble::Client, true);
    for grant in 40..45 {
        world.fail(of_client(1), grant, Trouble::Client, NOW);
    }
    world.wait(here(), 1, &failed(3000, 2), NOW);
    assert_eq!(world.take(here(), at(1)), None);
    let _rejected = world.limits.secrets_changed(|client| client == 0, at(1));
    assert_eq!(world.limits.next_at(NOW), Some(at(1)));
    assert_eq!(world.take(here(), at(1)), Some(1));
    let other = Scope::ClientAt { client: 1, host: 0 };
    assert_eq!(world.chain(other), at(30), "another client's is its own");
    // Also where all are in their own back-off.
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Client, false);
    assert_eq!(world.take(here(), at(1)), None);
    let _rejected = world.limits.secrets_changed(|client| client == 0, at(1));
    assert_eq!(world.take(here(), at(1)), Some(100));
}
