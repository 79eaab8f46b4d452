//! Who is asked while a brake is on, and after its end.

use super::*;

/// So many whose tokens end in this order wait, and none of them has an attempt left.
fn waiting(world: &mut World, ends_in: &[u64]) {
    for (grant, ends_in) in (0..).zip(ends_in) {
        world.wait(here(), grant, &failed(*ends_in, 2), NOW);
    }
}

#[test]
fn the_chain_asks_one_at_a_time_and_its_wait_doubles() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Sick, false);
    waiting(&mut world, &[86_400; 9]);
    assert_eq!(world.take(here(), NOW), None);
    let (mut now, mut waits) = (NOW, Vec::new());
    for _ in 0..63 {
        let next = world.chain(HOST);
        waits.push(next.since(now).as_secs());
        now = next;
        let grant = world.take(here(), now).expect("its turn");
        let asking = failed(86_400, 2);
        let flight = world.start(here(), grant, &asking, now);
        assert_eq!(world.take(here(), at(86_000)), None, "one at a time");
        world.land(flight, trouble(Trouble::Sick), &asking, now);
        world.wait(here(), grant, &asking, now);
    }
    // No wait is longer than an eighth of what the brake has lasted, and none than five minutes.
    assert_eq!(waits[..8], [1; 8]);
    assert_eq!(waits[14..20], [2, 2, 2, 2, 3, 3]);
    assert_eq!(waits[60..], [STEP_CAP.as_secs(); 3]);
}

/// No longer than a quarter of what is left of the soonest living token that waits.
#[test]
fn the_chain_hurries_for_the_soonest_living_token() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Sick, false);
    world.wait(here(), 1, &failed(86_400, 2), NOW);
    let mut now = NOW;
    while world.chain(HOST).since(now) < secs(100) {
        now = world.chain(HOST);
        let grant = world.take(here(), now).expect("its turn");
        let flight = world.start(here(), grant, &failed(86_400, 2), now);
        world.land(flight, trouble(Trouble::Sick), &failed(86_400, 2), now);
        world.wait(here(), grant, &failed(86_400, 2), now);
    }
    let mut soon = failed(0, 2);
    soon.ends_at = Some(now + secs(40));
    world.wait(here(), 2, &soon, now);
    assert_eq!(world.chain(HOST), now + secs(10));
    assert_eq!(world.take(here(), now + secs(10)), Some(2), "it goes first");
    // At least a second.
    let mut sooner = soon;
    sooner.ends_at = Some(now + secs(2));
    world.wait(here(), 3, &sooner, now);
    assert_eq!(world.chain(HOST), now + STEP_BASE);
}

/// Where nothing can be sent, a token that ends soon does not make it ask each second.
#[test]
fn the_chain_of_a_host_that_is_down_asks_every_two_seconds_at_most() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Down, true);
    let mut now = NOW;
    for grant in 0..5 {
        world.wait(here(), grant, &failed(6, 2), NOW);
    }
    for _ in 0..3 {
        let next = world.chain(HOST);
        assert!(next.since(now) >= secs(2), "{:?}", next.since(now));
        now = next;
        let grant = world.take(here(), now).expect("its turn");
        let flight = world.start(here(), grant, &failed(6, 2), now);
        world.land(flight, trouble(Trouble::Down), &failed(6, 2), now);
        world.wait(here(), grant, &failed(6, 2), now);
    }
}

#[test]
fn who_loses_nothing_goes_first_then_the_soonest_and_the_dead_last() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Lossy, true);
    let harmless = Asking {
        harmless: true,
        ..failed(9000, 2)
    };
    let mut asked = dead(3);
    asked.asked_at = at(0);
    for (grant, asking) in [
        (1, asked),
        (2, dead(2)),
        (3, failed(200, 2)),
        (4, failed(100, 2)),
        (5, harmless),
        (6, fresh(20)),
        (7, dead(3)),
    ] {
        world.wait(here(), grant, &asking, NOW);
    }
    let mut order = Vec::new();
    while let Some(grant) = world.take(here(), at(3600)) {
        order.push(grant);
    }
    assert_eq!(order, [5, 6, 4, 3, 2, 7, 1]);
}

/// Asked again before its time, a provider makes it longer.
#[test]
fn where_one_was_asked_to_wait_none_is_asked_before_the_time_last_told() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Wait, true);
    for (grant, until) in [(1, at(400)), (2, at(90))] {
        let flight = world.start(here(), grant, &fresh(3600), NOW);
        world.land(flight, told(until), &failed(3600, 1), NOW);
    }
    // Its token ends sooner than that: it is the provider's word all the same.
    world.wait(here(), 3, &failed(60, 2), NOW);
    assert_eq!(world.chain(HOST), at(90), "the time last told");
    assert_eq!(world.take(here(), at(89)), None);
    assert_eq!(world.take(here(), at(90)), Some(3));
}

#[test]
fn a_success_frees_all_in_order_one_at_a_time_doubling() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Sick, false);
    waiting(&mut world, &[900, 100, 800, 200, 700, 300, 600, 400, 500]);
    assert_eq!(
        world.succeed(here(), 50, NOW),
        [Effect::Freed { scope: HOST }]
    );
    assert_eq!(world.known(HOST), None);
    let mut rounds = Vec::new();
    loop {
        let mut round = Vec::new();
        while let Some(grant) = world.take(here(), NOW) {
            let flight = world.start(here(), grant, &failed(3600, 2), NOW);
            round.push((grant, flight));
        }
        if round.is_empty() {
            break;
        }
        for (_, flight) in &round {
            world.land(*flight, Sign::Success, &fresh(7200), NOW);
        }
        rounds.push(round.iter().map(|(grant, _)| *grant).collect::<Vec<_>>());
    }
    // Those who failed for the brake to begin are freed out of their own back-off.
    let all = [
        vec![1],
        vec![3, 5],
        vec![7, 8, 6, 4],
        vec![2, 0, 100, 101, 102],
    ];
    assert_eq!(rounds, all, "each round doubles what may be under way");
}

/// It may be that grant's own trouble: the others have their turns all the same.
#[test]
fn a_failure_among_those_who_are_freed_does_not_halt_them() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Sick, false);
    waiting(&mut world, &[100, 200, 300, 400]);
    world.succeed(here(), 50, NOW);
    let first = world.take(here(), NOW).expect("its turn");
    let flight = world.start(here(), first, &failed(100, 2), NOW);
    assert_eq!(world.take(here(), NOW), None, "one at a time");
    let failure = world.land(flight, trouble(Trouble::Sick), &failed(100, 3), NOW);
    assert_eq!(failure, [], "it is no news that one failed");
    world.wait(here(), first, &failed(100, 3), NOW);
    let second = world.take(here(), NOW).expect("its turn");
    assert_ne!(
        second, first,
        "who had a turn goes after those who had none"
    );
}

/// A success frees each once. Where the trouble is back, those go first that had no turn.
#[test]
fn a_round_outlasts_the_next_brake() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Sick, false);
    waiting(&mut world, &[100, 200, 300, 400, 500]);
    world.succeed(here(), 50, NOW);
    let mut now = NOW;
    let mut asked = Vec::new();
    while asked.len() < 8 {
        now = match world.limits.brake(HOST) {
            Some(_) => world.chain(HOST),
            None => now,
        };
        let grant = world.take(here(), now).expect("its turn");
        asked.push(grant);
        let flight = world.start(here(), grant, &failed(9000, 3), now);
        world.land(flight, trouble(Trouble::Sick), &failed(9000, 4), now);
        world.wait(here(), grant, &failed(9000, 4), now);
    }
    assert_eq!(
        now,
        at(5),
        "three failed, and five more have their turns a second apart"
    );
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 8, "nobody has two");
}

/// Where a lost answer costs a refresh token, one that is lost halts the round.
#[test]
fn a_lost_answer_halts_those_who_are_freed_where_it_spends_a_token() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Lossy, false);
    waiting(&mut world, &[100, 200, 300, 400]);
    world.succeed(here(), 50, NOW);
    let spends = |sends| Asking {
        spends: true,
        ..failed(100, sends)
    };
    let first = world.take(here(), NOW).expect("its turn");
    let flight = world.start(here(), first, &spends(2), NOW);
    let halted = world.land(flight, trouble(Trouble::Lossy), &spends(3), NOW);
    assert_eq!(halted, [], "it is no news that one failed");
    assert_eq!(world.take(here(), NOW), None);
    assert_eq!(world.known(HOST), Some((Trouble::Lossy, false)));
    assert!(world.take(here(), world.chain(HOST)).is_some());
}

/// Held until its last moment, it would have lost a quarter of its life for nothing.
#[test]
fn who_was_held_is_freed_too() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Lossy, true);
    world.wait(here(), 1, &fresh(3600), NOW);
    assert_eq!(
        world.take(here(), at(3000)),
        None,
        "it is not its last moment"
    );
    world.succeed(here(), 50, NOW);
    assert_eq!(world.may(here(), 1, &fresh(3600), NOW), Ok(()));
    let first = world.limits.take(NOW, |_| Some(0));
    let freed = Taken::Waited {
        grant: 1,
        by: HOST,
        freed: true,
    };
    assert_eq!(first, Some(freed));
}

#[test]
fn a_clock_that_was_set_back_leaves_waits_as_long_as_they_were() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Wait, true);
    let flight = world.start(here(), 1, &fresh(3600), NOW);
    world.land(flight, told(at(90)), &failed(3600, 1), NOW);
    world.wait(here(), 2, &failed(3600, 2), NOW);
    let by = secs(1_000_000);
    world.limits.bring_back(by);
    assert_eq!(world.chain(HOST), at(90) - by);
    assert_eq!(world.limits.next_at(NOW - by), Some(at(90) - by));
    assert_eq!(world.take(here(), at(89) - by), None);
    assert_eq!(world.take(here(), at(90) - by), Some(2));
}

/// Where one of those who were freed fails, nobody is told; three alike are news again.
#[test]
fn after_an_end_three_that_fail_alike_are_told_of_again() {
    for (kind, proven) in [(Trouble::Down, true), (Trouble::Sick, false)] {
        let mut world = World::new(&[(here(), 9)]);
        world.brake(here(), kind, false);
        world.wait(here(), 1, &failed(3000, 2), NOW);
        let freed = world.succeed(here(), 50, NOW);
        assert_eq!(freed, [Effect::Freed { scope: HOST }]);
        let first = world.take(here(), NOW).expect("its turn");
        let flight = world.start(here(), first, &failed(3000, 2), NOW);
        let failure = world.land(flight, trouble(kind), &failed(3000, 3), NOW);
        assert_eq!((failure, world.known(HOST)), (vec![], None));
        assert_eq!(world.fail_again(here(), 60, kind), []);
        let told = [Effect::Braked {
            scope: HOST,
            trouble: kind,
            proven,
        }];
        assert_eq!(world.fail_again(here(), 61, kind), told);
        assert_eq!(world.fail_again(here(), 62, kind), [], "once");
    }
}

/// A grant that works again is nobody whom the end of a brake has to free.
#[test]
fn one_that_works_again_is_forgotten() {
    let mut world = World::new(&[(here(), 9)]);
    world.fail(here(), 1, Trouble::Lossy, NOW);
    world.succeed(here(), 1, NOW);
    assert!(world.limits.brakes.is_empty(), "{:?}", world.limits.brakes);
    world.fail(here(), 1, Trouble::Lossy, NOW);
    world.brake(here(), Trouble::Lossy, false);
    world.succeed(here(), 1, NOW);
    let freed: Vec<u32> = std::iter::from_fn(|| {
        let grant = world.take(here(), NOW)?;
        world.succeed(here(), grant, NOW);
        Some(grant)
    })
    .collect();
    assert_eq!(freed, [100, 101, 102]);
}

/// A host of a template that has no place left does not hold up the others' retries.
#[test]
fn a_host_without_a_place_does_not_hold_up_its_templates_chain() {
    let shop = |host| Route {
        host,
        template: Some(7),
        ..Route::default()
    };
    let routes: Vec<(Route, u32)> = (0..9).map(|host| (shop(host), 1)).collect();
    let mut world = World::with(Caps::new(2, 512), &routes);
    for host in [5, 6, 7] {
        world.fail_again(shop(host), host, Trouble::Lossy);
    }
    world.wait(shop(1), 1, &failed(2000, 2), NOW);
    world.wait(shop(2), 2, &failed(3000, 2), NOW);
    // A host has one of two places, and this one's is taken.
    world.start(shop(1), 99, &fresh(3600), NOW);
    let chain = world.chain(Scope::Template(7));
    let taken = world.limits.take(chain, Some);
    assert!(
        matches!(taken, Some(Taken::Waited { grant: 2, .. })),
        "{taken:?}"
    );
}

/// Each try of those that are told to wait puts the next one off: a healthy grant that waited
/// for its last moment came too late.
#[test]
fn where_all_are_asked_to_wait_who_worked_last_goes_first_and_soon() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Wait, true);
    let flight = world.start(here(), 1, &failed(3600, 1), NOW);
    world.land(flight, told(at(60)), &failed(3600, 2), NOW);
    world.wait(here(), 2, &failed(300, 1), NOW);
    world.wait(here(), 3, &fresh(900), NOW);
    assert_eq!(world.take(here(), at(59)), None);
    assert_eq!(world.take(here(), at(60)), Some(3), "long before its end");
}

/// Held until its last moment, a healthy grant could not show that some others alone could not
/// be reached.
#[test]
fn where_a_try_spends_nothing_who_is_held_stands_in_the_chain() {
    for kind in [Trouble::Down, Trouble::Client] {
        let mut world = World::new(&[(here(), 20)]);
        world.brake(here(), kind, true);
        world.wait(here(), 1, &dead(3), NOW);
        world.wait(here(), 2, &fresh(3600), NOW);
        assert_eq!(world.take(here(), at(60)), Some(2), "{kind:?}");
    }
}

/// Whatever a host says, it could be reached; told that the client is not accepted, grants went
/// on waiting for connections.
#[test]
fn any_answer_shows_that_exchanges_can_be_sent() {
    let own = Scope::ClientAt { client: 1, host: 0 };
    for kind in [Trouble::Wait, Trouble::Sick, Trouble::Client] {
        let mut world = World::new(&[(here(), 20), (of_client(1), 20)]);
        (0..3).for_each(|grant| drop(world.fail(of_client(1), grant, Trouble::Down, NOW)));
        assert_eq!(world.known(own), Some((Trouble::Down, true)));
        let effects = world.fail(of_client(1), 5, kind, NOW);
        assert!(effects.contains(&Effect::Freed { scope: own }), "{kind:?}");
        let lost = world.fail(of_client(1), 6, Trouble::Lossy, NOW);
        assert_eq!(lost, [], "{kind:?}");
    }
}

/// Several that were under way at once met the same moment: two that are asked after it are to
/// show that all are told to wait, since their first attempts are held then.
#[test]
fn what_was_under_way_when_a_wait_began_does_not_prove_it() {
    let mut world = World::new(&[(here(), 20)]);
    let start = |world: &mut World, grant| world.start(here(), grant, &fresh(3600), NOW);
    let flights: Vec<u64> = (0..5).map(|grant| start(&mut world, grant)).collect();
    for flight in flights {
        world.land(flight, told(at(60)), &failed(3600, 1), NOW);
    }
    assert_eq!(world.known(HOST), Some((Trouble::Wait, false)));
    world.fail(here(), 10, Trouble::Wait, NOW);
    assert_eq!(world.known(HOST), Some((Trouble::Wait, false)));
    world.fail(here(), 11, Trouble::Wait, NOW);
    assert_eq!(world.known(HOST), Some((Trouble::Wait, true)));
}

/// Some could not be reached for good, the others had been told to wait; the others were asked
/// after them, though any answer shows that the host can be reached.
#[test]
fn where_nothing_can_be_sent_who_was_answered_goes_first() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Down, true);
    let last = |kind, sends| Asking {
        trouble: Some(kind),
        ..dead(sends)
    };
    world.wait(here(), 1, &last(Trouble::Down, 1), NOW);
    world.wait(here(), 2, &last(Trouble::Wait, 5), NOW);
    assert_eq!(world.take(here(), at(3600)), Some(2));
}

/// A dead grant that worked last was asked after all that failed, which is never.
#[test]
fn of_the_dead_who_worked_last_goes_before_those_that_failed() {
    let mut world = World::new(&[(here(), 9)]);
    world.brake(here(), Trouble::Wait, true);
    let waits = Asking {
        trouble: Some(Trouble::Wait),
        ..dead(1)
    };
    let worked = Asking {
        fresh: true,
        ..dead(0)
    };
    world.wait(here(), 1, &waits, NOW);
    world.wait(here(), 2, &worked, NOW);
    assert_eq!(world.take(here(), at(3600)), Some(2));
}

/// What fails otherwise says nothing of the brake; another is asked soon, once.
#[test]
fn a_turn_that_fails_otherwise_does_not_lengthen_the_chain() {
    let mut world = World::new(&[(here(), 20)]);
    world.brake(here(), Trouble::Sick, false);
    let mut turn = |kind, after| {
        world.wait(here(), 1, &dead(2), at(after));
        let at_last = world.chain(HOST).max(at(after));
        assert_eq!(world.take(here(), at_last), Some(1));
        let flight = world.start(here(), 1, &dead(2), at_last);
        world.land(flight, trouble(kind), &dead(3), at_last);
        world.chain(HOST).since(at_last)
    };
    let long = turn(Trouble::Sick, 1000);
    assert!(long > secs(1), "{long:?}");
    assert_eq!(turn(Trouble::Lossy, 1000), secs(1));
    assert!(turn(Trouble::Lossy, 1000) > secs(1));
}

/// 429 at some hosts stopped all hosts of a template for half a minute a try.
#[test]
fn hosts_that_ask_to_wait_do_not_fail_together() {
    let host = |host| Route {
        template: Some(0),
        ..on_host(host)
    };
    let mut world = World::new(&[(host(1), 1), (host(2), 1), (host(3), 1), (host(4), 1)]);
    for number in 1..4 {
        world.fail(host(number), number, Trouble::Wait, NOW);
    }
    assert_eq!(world.known(Scope::Template(0)), None);
    // They answer, so what had failed before is over.
    for number in 1..4 {
        world.fail(host(number), number, Trouble::Down, NOW);
    }
    assert!(world.known(Scope::Template(0)).is_some());
    world.fail(host(4), 4, Trouble::Wait, NOW);
    assert_eq!(world.known(Scope::Template(0)), None);
}
