//! Refusals that may not have been meant.

use super::*;

/// A grant is refused, provisionally; the effect.
fn refuse(world: &mut World, grant: u32, now: WallTime) -> Option<Effect> {
    let flight = world.start(here(), grant, &fresh(3600), now);
    let sign = Sign::Answered { accepted: true };
    world.land(flight, sign, &failed(3600, 1), now);
    world.limits.refused(here(), grant, flight, Some(now), now)
}

/// It was presented again, and is refused once more.
fn refuse_again(world: &mut World, grant: u32, now: WallTime) {
    let flight = world.start(here(), grant, &failed(3600, 1), now);
    let sign = Sign::Answered { accepted: true };
    world.land(flight, sign, &failed(3600, 2), now);
    let _effect = world.limits.refused(here(), grant, flight, None, now);
}

#[test]
fn it_is_presented_once_more_after_another_s_success_that_began_later() {
    let mut world = World::new(&[(here(), 9), (of_client(1), 9)]);
    let early = world.start(here(), 5, &fresh(3600), NOW);
    refuse(&mut world, 1, NOW);
    world.land(early, Sign::Success, &fresh(7200), NOW);
    assert_eq!(world.take(here(), NOW), None, "that began before");
    world.succeed(of_client(1), 20, NOW);
    assert_eq!(world.take(here(), NOW), None, "that is another client's");
    world.succeed(here(), 6, NOW);
    assert_eq!(world.limits.next_at(NOW - secs(1)), Some(NOW));
    assert_eq!(world.take(here(), NOW), Some(1));
    refuse_again(&mut world, 1, NOW);
    for _ in 0..9 {
        world.succeed(here(), 6, NOW);
        assert_eq!(world.take(here(), at(86_400)), None, "the second stands");
    }
    // A person authorized again.
    assert_eq!(world.limits.unrefused(here(), 1), None);
    refuse(&mut world, 1, NOW);
    world.succeed(here(), 6, NOW);
    assert_eq!(world.take(here(), NOW), Some(1));
}

/// Where reuse revokes, what lives is used up first.
#[test]
fn it_is_not_presented_before_its_time() {
    let mut world = World::new(&[(here(), 9)]);
    let flight = world.start(here(), 1, &fresh(3600), NOW);
    let sign = Sign::Answered { accepted: true };
    world.land(flight, sign, &failed(3600, 1), NOW);
    let last = at(3600 - 45);
    world.limits.refused(here(), 1, flight, Some(last), NOW);
    world.succeed(here(), 6, NOW);
    assert_eq!(world.take(here(), last - secs(1)), None);
    assert_eq!(world.take(here(), last), Some(1));
    // It could not be, for reasons of its own.
    world.limits.put_off(here(), 1, at(4000));
    assert_eq!(world.take(here(), at(3999)), None);
    assert_eq!(world.take(here(), at(4000)), Some(1));
}

#[test]
fn they_are_presented_one_at_a_time_doubling() {
    let mut world = World::new(&[(here(), 20)]);
    for grant in 0..8 {
        refuse(&mut world, grant, NOW);
    }
    world.succeed(here(), 19, NOW);
    let mut rounds = Vec::new();
    loop {
        let round: Vec<u32> = std::iter::from_fn(|| world.take(here(), NOW)).collect();
        if round.is_empty() {
            break;
        }
        round
            .iter()
            .for_each(|grant| drop(world.succeed(here(), *grant, NOW)));
        rounds.push(round);
    }
    assert_eq!(rounds, [vec![0], vec![1, 2], vec![3, 4, 5, 6], vec![7]]);
    // One that is refused again makes it one at a time anew.
    for grant in 0..8 {
        refuse(&mut world, grant, NOW);
    }
    world.succeed(here(), 19, NOW);
    let first = world.take(here(), NOW).expect("its turn");
    world.succeed(here(), first, NOW);
    let two = [0, 1].map(|_| world.take(here(), NOW).expect("its turn"));
    two.iter()
        .for_each(|grant| refuse_again(&mut world, *grant, NOW));
    assert!(world.take(here(), NOW).is_some());
    assert_eq!(world.take(here(), NOW), None);
}

#[test]
fn where_no_other_works_one_is_presented_after_an_hour() {
    let mut world = World::new(&[(here(), 2)]);
    refuse(&mut world, 1, NOW);
    refuse(&mut world, 2, NOW);
    assert_eq!(world.limits.next_at(NOW), Some(NOW + ALONE_AFTER));
    assert_eq!(world.take(here(), NOW + ALONE_AFTER - secs(1)), None);
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), Some(1));
    // It works: so may the other.
    let hour = NOW + ALONE_AFTER;
    world.succeed(here(), 1, hour);
    assert_eq!(world.take(here(), hour), Some(2));
    // Where others work, they are to show it.
    let mut world = World::new(&[(here(), 3)]);
    refuse(&mut world, 1, NOW);
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), None);
    world.succeed(here(), 3, NOW + ALONE_AFTER);
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), Some(1));
}

/// The hour of one that was refused long before counted for those that were refused since.
#[test]
fn the_hour_counts_from_the_first_that_waits() {
    let mut world = World::new(&[(here(), 1)]);
    refuse(&mut world, 1, NOW);
    world.succeed(here(), 1, at(60));
    refuse(&mut world, 1, at(3000));
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), None);
    assert_eq!(world.take(here(), at(3000) + ALONE_AFTER), Some(1));
}

/// The only other grant hung for good, and vouched for nobody: it stayed refused for ever.
#[test]
fn where_the_others_fail_one_is_presented_after_an_hour() {
    let mut world = World::new(&[(here(), 2)]);
    refuse(&mut world, 1, NOW);
    world.fail(here(), 2, Trouble::Lossy, NOW);
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), Some(1));
    // One that has not failed may still vouch for it.
    let mut world = World::new(&[(here(), 2)]);
    refuse(&mut world, 1, NOW);
    assert_eq!(world.take(here(), NOW + ALONE_AFTER), None);
}

#[test]
fn five_within_ten_minutes_are_one_notice() {
    let many = |count| Some(Effect::ManyRefused { client: 0, count });
    let mut world = World::new(&[(here(), 20)]);
    for (grant, after) in [(0, 0), (1, 100), (2, 200), (3, 300)] {
        assert_eq!(refuse(&mut world, grant, at(after)), None);
    }
    assert_eq!(refuse(&mut world, 3, at(350)), None, "one grant is one");
    assert_eq!(refuse(&mut world, 4, at(400)), many(MANY));
    assert_eq!(refuse(&mut world, 5, at(500)), None, "it is told once");
    // Refusals pause nobody.
    assert_eq!(world.may(here(), 9, &fresh(3600), at(500)), Ok(()));
    assert_eq!(world.succeed(here(), 0, at(600)), [], "five are left");
    let few = Effect::FewRefused { client: 0 };
    assert_eq!(world.succeed(here(), 1, at(600)), [few]);
    // One every three minutes are not many at once.
    let mut world = World::new(&[(here(), 20)]);
    for grant in 0..12 {
        let effect = refuse(&mut world, grant, at(u64::from(grant) * 180));
        assert_eq!(effect, None, "{grant}");
    }
}

#[test]
fn a_clock_that_was_set_back_makes_none_wait_longer() {
    let mut world = World::new(&[(here(), 1)]);
    refuse(&mut world, 1, NOW);
    let by = secs(1_000_000);
    world.limits.bring_back(by);
    let hour = NOW + ALONE_AFTER - by;
    assert_eq!(world.limits.next_at(NOW - by), Some(hour));
    assert_eq!(world.take(here(), hour - secs(1)), None);
    assert_eq!(world.take(here(), hour), Some(1));
}

#[test]
fn nothing_is_remembered_of_who_is_gone() {
    let mut world = World::new(&[(here(), 9)]);
    for grant in 0..5 {
        refuse(&mut world, grant, NOW);
    }
    let few = Effect::FewRefused { client: 0 };
    assert_eq!(world.limits.leave(here(), 0), [few]);
    for grant in 1..5 {
        assert_eq!(world.limits.leave(here(), grant), []);
    }
    assert!(world.limits.refused.is_empty() && world.limits.many_refused.is_empty());
    world.succeed(here(), 8, NOW);
    assert_eq!(world.take(here(), NOW), None);
}
