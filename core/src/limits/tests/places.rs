//! Places: how many exchanges are under way, and whose.

use super::*;

fn full(why: Full) -> Result<(), Blocked> {
    Err(Blocked::Full(why))
}

/// So many start at a host, as far as there is a place; how many do.
fn fill(world: &mut World, host: u32, from: u32, count: u32, others: bool) -> u32 {
    let mut started = 0;
    for grant in from..from + count {
        if world.limits.host_may_start(host, others).is_ok() {
            world.start(on_host(host), grant, &fresh(3600), NOW);
            started += 1;
        }
    }
    started
}

#[test]
fn a_host_has_all_places_but_an_eighth_and_half_while_others_wait() {
    for (all, share, half) in [(1, 1, 1), (2, 1, 1), (4, 3, 2), (16, 14, 8), (100, 88, 50)] {
        let world = || World::with(Caps::new(all, 1000), &[]);
        assert_eq!(fill(&mut world(), 0, 0, 200, false), share, "{all}");
        assert_eq!(fill(&mut world(), 0, 0, 200, true), half, "{all}");
        // All others are left for another host.
        let mut world = world();
        fill(&mut world, 0, 0, 200, false);
        assert_eq!(fill(&mut world, 1, 1000, 200, false), all - share, "{all}");
        assert!(world.limits.is_full());
        assert_eq!(world.may(on_host(2), 1, &fresh(3600), NOW), full(Full::All));
    }
}

/// Thirty hosts that accepted and never answered stopped one that had nothing to do with them.
#[test]
fn a_slow_exchange_gives_its_place_to_other_hosts_and_not_to_its_own() {
    let mut world = World::with(Caps::new(8, 1000), &[]);
    assert_eq!(fill(&mut world, 0, 0, 9, false), 7);
    assert_eq!(fill(&mut world, 1, 20, 9, false), 1);
    let short = Asking {
        life: secs(8),
        ..fresh(8)
    };
    assert_eq!(world.limits.next_at(NOW), Some(at(5)));
    assert_eq!(world.limits.give_places(at(4)), [] as [u32; 0]);
    assert_eq!(world.limits.give_places(at(5)).len(), 8);
    assert_eq!((world.limits.flights(), world.limits.load(0)), (0, 7));
    assert!(world.limits.hangs(0));
    assert_eq!(
        world.may(on_host(0), 50, &fresh(3600), at(5)),
        full(Full::Host)
    );
    assert_eq!(world.may(on_host(2), 51, &fresh(3600), at(5)), Ok(()));
    // Of a short life a quarter is long.
    world.start(on_host(2), 51, &short, at(5));
    assert_eq!(world.limits.next_at(at(5)), Some(at(7)));
}

/// In doubt, it counts towards nobody's share.
#[test]
fn an_overdue_exchange_counts_no_longer() {
    let mut world = World::with(Caps::new(8, 1000), &[]);
    fill(&mut world, 0, 0, 7, false);
    world.limits.give_places(at(5));
    let _effects = world.limits.overdue(RECALLED + 1, &failed(3600, 1), at(30));
    assert_eq!(world.limits.load(0), 6);
    // An answer that comes late shows that the host answers.
    assert!(world.limits.hangs(0));
    let latest = world.flights;
    world.land(latest, Sign::Success, &fresh(7200), at(31));
    assert!(!world.limits.hangs(0));
    // Nothing is left of them.
    for flight in RECALLED + 1..latest {
        let ended = world.limits.ended(flight, None, &fresh(3600), at(40));
        assert_eq!(ended, (vec![], None));
    }
    assert_eq!((world.limits.flights(), world.limits.load(0)), (0, 0));
}

#[test]
fn grants_whose_last_exchange_hung_share_a_quarter_of_their_host_s_places() {
    let mut world = World::with(Caps::new(18, 1000), &[]);
    let flights: Vec<u64> = (0..8)
        .map(|grant| world.start(on_host(0), grant, &fresh(3600), NOW))
        .collect();
    world.limits.give_places(at(5));
    for flight in flights {
        let _ended = world.limits.ended(flight, None, &fresh(3600), at(60));
    }
    // Sixteen are the host's.
    let tried = |world: &mut World, grant| {
        let may = world.may(on_host(0), grant, &fresh(3600), at(60));
        if may.is_ok() {
            world.start(on_host(0), grant, &fresh(3600), at(60));
        }
        may
    };
    for grant in 0..4 {
        assert_eq!(tried(&mut world, grant), Ok(()), "{grant}");
    }
    assert_eq!(tried(&mut world, 4), full(Full::Hung));
    assert_eq!(tried(&mut world, 20), Ok(()), "it has not hung");
    // Nor has one whose answer took long, and came.
    let slow = world.start(on_host(0), 21, &fresh(3600), at(60));
    world.limits.give_places(at(65));
    let _ended = (world.limits).ended(slow, Some(Sign::Success), &fresh(7200), at(70));
    assert_eq!(world.may(on_host(0), 21, &fresh(3600), at(70)), Ok(()));
    // It waits in line, and goes when one of the four has ended.
    let blocked = Blocked::Full(Full::Hung);
    world
        .limits
        .wait(on_host(0), 4, blocked, &fresh(3600), at(60));
    let latest = world.flights - 2;
    let (_, freed) = world
        .limits
        .ended(latest, Some(Sign::Success), &fresh(7200), at(60));
    assert_eq!(freed, Some(4));
    // One that was answered in time does not count among them any more.
    assert_eq!(tried(&mut world, 4), Ok(()));
    assert_eq!(tried(&mut world, 3), Ok(()));
}

#[test]
fn hosts_that_hang_have_half_of_all_places_together() {
    let mut world = World::with(Caps::new(8, 1000), &[]);
    for host in 0..6 {
        world.start(on_host(host), host, &fresh(3600), NOW);
    }
    world.limits.give_places(at(5));
    for host in 0..4 {
        let other = 10 + host;
        assert_eq!(world.may(on_host(host), other, &fresh(3600), at(5)), Ok(()));
        world.start(on_host(host), other, &fresh(3600), at(5));
    }
    for host in 4..6 {
        let may = world.may(on_host(host), 10 + host, &fresh(3600), at(5));
        assert_eq!(may, full(Full::Hanging));
    }
    assert_eq!(world.may(on_host(9), 9, &fresh(3600), at(5)), Ok(()));
}

/// Descriptors are not without end.
#[test]
fn above_what_may_be_read_on_a_host_that_hangs_gets_no_new_exchange() {
    assert_eq!(Caps::new(8, 1000).read_on, 32);
    assert_eq!(Caps::new(8, 20).read_on, 20);
    assert_eq!(
        Caps::new(8, 3).read_on,
        8,
        "all that may be under way are read"
    );
    let mut world = World::with(Caps::new(4, 8), &[]);
    for host in 0..8 {
        world.start(on_host(host), host, &fresh(3600), NOW);
        world.limits.give_places(at(5));
    }
    let may = |world: &World, host| world.may(on_host(host), 20, &fresh(3600), at(5));
    assert_eq!(may(&world, 0), full(Full::Hanging));
    assert_eq!(may(&world, 20), Ok(()));
    let _ended = world.limits.ended(world.flights, None, &fresh(3600), at(6));
    assert_eq!(may(&world, 0), Ok(()));
}

#[test]
fn a_429_or_503_halves_what_a_host_bears_and_a_success_adds_one() {
    let mut world = World::with(Caps::new(16, 1000), &[]);
    let busy = Sign::Failed {
        trouble: Trouble::Sick,
        overloaded: true,
        told: None,
    };
    fill(&mut world, 0, 0, 14, false);
    let first = RECALLED + 1;
    world.land(first, busy, &failed(3600, 1), NOW);
    // Seven it bears; thirteen are under way.
    assert_eq!(world.limits.host_may_start(0, false), Err(Full::Host));
    for flight in first + 1..first + 7 {
        let _ended = world.limits.ended(flight, None, &fresh(3600), NOW);
    }
    assert_eq!(world.limits.load(0), 7);
    assert_eq!(world.limits.host_may_start(0, false), Err(Full::Host));
    world.land(first + 7, Sign::Success, &fresh(7200), NOW);
    assert_eq!(
        fill(&mut world, 0, 20, 9, false),
        2,
        "the one that ended, and one more"
    );
    assert_eq!(
        world.limits.host_may_start(1, false),
        Ok(()),
        "another's is its own"
    );
    // It bears one at the least.
    for flight in first + 8..=world.flights {
        world.land(flight, busy, &failed(3600, 1), NOW);
    }
    assert_eq!(fill(&mut world, 0, 40, 9, false), 1);
}

/// So many exchanges of a client hang that grants of others at the same host found no place
/// until these were in doubt.
#[test]
fn a_client_whose_exchanges_hang_has_a_quarter_beside_others() {
    let (hanging, other) = (of_client(1), of_client(2));
    let mut world = World::with(Caps::new(16, 1000), &[(hanging, 40), (other, 40)]);
    for grant in 0..3 {
        world.start(hanging, grant, &fresh(3600), NOW);
    }
    assert_eq!(world.may(hanging, 10, &fresh(3600), NOW), Ok(()));
    world.limits.give_places(at(5));
    // A quarter of fourteen.
    for grant in 10..13 {
        assert_eq!(world.may(hanging, grant, &fresh(3600), at(5)), Ok(()));
        world.start(hanging, grant, &fresh(3600), at(5));
    }
    let more = world.may(hanging, 13, &fresh(3600), at(5));
    assert_eq!(more, full(Full::Hung));
    assert_eq!(world.may(other, 20, &fresh(3600), at(5)), Ok(()));
    // Those that hung themselves take none of these places; who waits goes in turn.
    assert_eq!(world.may(hanging, 0, &fresh(3600), at(5)), Ok(()));
    for grant in [14, 13] {
        let blocked = Blocked::Full(Full::Hung);
        (world.limits).wait(hanging, grant, blocked, &fresh(3600), at(5));
    }
    let mut freed = |flight| {
        let (_, freed) = world.limits.ended(flight, None, &fresh(3600), at(5));
        freed
    };
    assert_eq!(
        [1, 2].map(|flight| freed(RECALLED + flight)),
        [Some(14), Some(13)]
    );
    // One that is answered shows that it was not the client.
    world.land(world.flights, Sign::Success, &fresh(7200), at(6));
    assert_eq!(world.may(hanging, 13, &fresh(3600), at(6)), Ok(()));
    // Alone at its host, it is the host that hangs.
    let mut world = World::with(Caps::new(16, 1000), &[(hanging, 40)]);
    for grant in 0..6 {
        world.start(hanging, grant, &fresh(3600), NOW);
    }
    world.limits.give_places(at(5));
    assert_eq!(world.may(hanging, 10, &fresh(3600), at(5)), Ok(()));
}

/// What hangs at its own host keeps no place from other hosts, so it is none of the half that
/// a host has while these wait.
#[test]
fn what_hangs_is_no_part_of_the_half_that_others_leave() {
    let mut world = World::with(Caps::new(16, 1000), &[]);
    assert_eq!(fill(&mut world, 0, 0, 20, true), 8);
    assert_eq!(world.limits.host_may_start(0, true), Err(Full::Host));
    world.limits.give_places(at(5));
    // It has answered since.
    let flight = world.start(on_host(0), 30, &fresh(3600), at(5));
    world.land(flight, Sign::Success, &fresh(7200), at(5));
    assert_eq!(fill(&mut world, 0, 40, 20, true), 6, "all but an eighth");
}

/// Where four times the places were read on, a host that hung got no new exchange for ten
/// minutes, and its healthy grants died.
#[test]
fn where_too_many_are_read_on_the_oldest_is_given_up() {
    let mut world = World::with(Caps::new(1, 4), &[]);
    let harmless = Asking {
        outlasts_loss: true,
        spends: false,
        ..fresh(3600)
    };
    let mut begin = |host, asking: &Asking, after| {
        let flight = world.start(on_host(host), host, asking, at(after));
        world.limits.give_places(at(after + 5));
        let _effects = world
            .limits
            .overdue(flight, &failed(3600, 1), at(after + 30));
        flight
    };
    let first = begin(0, &fresh(3600), 0);
    let second = begin(1, &harmless, 30);
    let third = begin(2, &fresh(3600), 60);
    assert_eq!(world.limits.give_up(at(90)), None, "there is room");
    let fourth = world.start(on_host(3), 3, &harmless, at(90));
    // The one that may lose nothing goes first, and it is gone although it has not ended.
    assert_eq!(world.limits.give_up(at(90)), Some((second, 1)));
    assert_eq!(world.limits.give_up(at(90)), None);
    let fifth = world.start(on_host(4), 4, &fresh(3600), at(90));
    // What may still bring the only good refresh token is waited for.
    assert_eq!(world.limits.give_up(at(149)), None);
    world.limits.give_places(at(149));
    assert_eq!(world.limits.next_at(at(149)), Some(at(150)));
    assert_eq!(world.limits.give_up(at(150)), Some((first, 0)));
    for flight in [first, second, third, fourth, fifth] {
        let ended = world.limits.ended(flight, None, &fresh(3600), at(160));
        assert_eq!(ended, (vec![], None));
    }
    assert_eq!(world.limits.give_up(at(7200)), None);
}
