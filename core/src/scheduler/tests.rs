//! What takes off, what stays, and what a landing does.

use super::*;
use crate::GrantState;
use crate::grant::outcome::OutcomeKind;
use crate::grant::schedule::{Denied, Never, Why};
use crate::grant::state::{Doubt, LastOutcome, Refusal};
use crate::grant::{Binding, GrantId};
use crate::limits::Effect;
use crate::provider::description::{Reuse, Rotates};
use crate::secret::Fingerprint;
use std::collections::BTreeMap;

const NOW: WallTime = WallTime(10_000_000_000);
const TOKEN: Fingerprint = Fingerprint([1; 16]);

struct Seat(Policy);

impl Post for Seat {
    fn policy(&self) -> &Policy {
        &self.0
    }

    fn route(&self) -> Route {
        Route::default()
    }
}

/// A grant whose access token of an hour ends so many seconds from now.
fn grant(ends_in: i64) -> Grant {
    let expires_at = WallTime(NOW.0 + ends_in * 1000);
    let state = GrantState {
        generation: 3,
        issued_at: expires_at - Duration::from_secs(3600),
        expires_at,
        presents: Some(TOKEN),
        ..GrantState::default()
    };
    Grant {
        id: GrantId("g".to_owned()),
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision: 1,
        state,
    }
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.rotation.rotates = Rotates::Always;
    policy.rotation.reuse = Reuse::Revokes;
    policy
}

fn with(grants: impl IntoIterator<Item = Grant>, policy: &Policy) -> Scheduler<Seat> {
    let mut scheduler = Scheduler::new(Caps::new(8, 64));
    for grant in grants {
        let index = scheduler.add(grant);
        let effects = scheduler.seat(index, Some(Seat(policy.clone())), NOW);
        assert!(effects.is_empty());
        scheduler.schedule(index, NOW);
    }
    scheduler
}

fn doubted(ends_in: i64) -> Grant {
    let mut grant = grant(ends_in);
    let sent = NOW - Duration::from_secs(60);
    grant.state.last_send = Some(sent);
    grant.state.doubt = Some(Doubt {
        first_sent: sent,
        last_sent: sent,
        presents: TOKEN,
        presentations: 1,
        unread: false,
        relic: false,
    });
    grant
}

/// No late answer is in hand.
fn nobody(_: &GrantId) -> bool {
    false
}

fn taken_off(next: Next) -> TakeOff {
    match next {
        Next::TakeOff(flight) => flight,
        other => panic!("nothing takes off: {other:?}"),
    }
}

/// The next to take off, where others have a turn that comes to nothing.
fn next_off(scheduler: &mut Scheduler<Seat>, now: WallTime) -> TakeOff {
    loop {
        match scheduler.poll(now, nobody) {
            Next::Stay { .. } => {}
            other => return taken_off(other),
        }
    }
}

/// Whether nothing takes off now.
fn rests(scheduler: &mut Scheduler<Seat>, now: WallTime) -> bool {
    loop {
        match scheduler.poll(now, nobody) {
            Next::Stay { .. } => {}
            other => return matches!(other, Next::Wait(_)),
        }
    }
}

/// The grant after a flight that came to this.
fn after(grant: &Grant, kind: OutcomeKind) -> Landing {
    let mut grant = grant.clone();
    grant.revision += 1;
    grant.state.last_send = Some(NOW);
    grant.state.last_outcome = Some(LastOutcome {
        status: None,
        at: NOW,
        kind: kind.word().to_owned(),
        text: String::new(),
    });
    if kind == OutcomeKind::InvalidGrant {
        grant.state.refusal = Some(Refusal {
            provisional: false,
            interaction: false,
            at: NOW,
            times: 1,
            text: String::new(),
        });
    }
    let kind = Some(kind);
    Landing::Settled {
        kind,
        grant: Box::new(grant),
    }
}

#[test]
fn what_is_due_takes_off_and_the_rest_is_waited_for() {
    let mut scheduler = with([grant(60), grant(3000)], &policy());
    let flight = taken_off(scheduler.poll(NOW, nobody));
    assert_eq!((flight.index, flight.due, flight.wished), (0, true, None));
    assert_eq!((scheduler.aloft(), scheduler.limits().flights()), (1, 1));
    let slow = Next::Wait(Some(NOW + Duration::from_secs(5)));
    assert_eq!(scheduler.poll(NOW, nobody), slow, "it gives its place then");
    let _landed = scheduler.landed(0, flight.flight, success(0), NOW);
    let Next::Wait(Some(due)) = scheduler.poll(NOW, nobody) else {
        panic!("the other is due some time");
    };
    let until = due.since(NOW).as_secs();
    assert!((2500..=2700).contains(&until), "{until}");
}

#[test]
fn nothing_takes_off_while_it_must_not() {
    let mut scheduler = with([grant(60)], &policy());
    scheduler.set_unwritable(true);
    assert_eq!(scheduler.poll(NOW, nobody), Next::Wait(None));
    let declined = scheduler.wish(0, Urgency::Wish, None, NOW);
    assert_eq!(declined, Err(Declined::Unwritable));
    scheduler.set_unwritable(false);
    scheduler.set_fenced(Some("put back".to_owned()));
    assert_eq!(scheduler.poll(NOW, nobody), Next::Wait(None));
    for urgency in [Urgency::Wish, Urgency::Force, Urgency::AcceptRisk] {
        let declined = scheduler.wish(0, urgency, None, NOW);
        assert_eq!(declined, Err(Declined::Fenced), "{urgency:?}");
    }
    scheduler.set_fenced(None);
    scheduler.drain();
    assert_eq!(scheduler.poll(NOW, nobody), Next::Wait(None));
}

#[test]
fn who_waits_for_a_flight_that_cannot_begin_is_told() {
    let mut scheduler = with([grant(3000), grant(3000), grant(3000)], &policy());
    for index in [0, 1] {
        let wished = scheduler.wish(index, Urgency::Force, None, NOW);
        assert_eq!(wished, Ok(Granted::Starts));
    }
    let aloft = taken_off(scheduler.start(0, NOW, nobody));
    scheduler.set_unwritable(true);
    assert_eq!(scheduler.withdraw_wishes(), [1], "the other is under way");
    scheduler.answered(1);
    scheduler.set_unwritable(false);
    assert_eq!(scheduler.entry(1).wished, None);
    assert_eq!(scheduler.entry(0).in_flight, Some(aloft.flight));
}

#[test]
fn a_wish_for_what_has_been_replaced_does_nothing() {
    let mut scheduler = with([grant(3000)], &policy());
    let stale = scheduler.wish(0, Urgency::Rejected, Some(2), NOW);
    assert_eq!(stale, Err(Declined::Fulfilled));
    assert_eq!(scheduler.aloft(), 0);
    let wished = scheduler.wish(0, Urgency::Rejected, Some(3), NOW);
    assert_eq!(wished, Ok(Granted::Starts));
    assert_eq!(
        scheduler.start(0, NOW, nobody),
        Next::Wait(None),
        "in its turn"
    );
    let flight = taken_off(scheduler.poll(NOW, nobody));
    assert_eq!((flight.due, flight.is_forced()), (false, false));
    assert_eq!(
        scheduler.wish(0, Urgency::Wish, Some(3), NOW),
        Ok(Granted::Joins)
    );
}

#[test]
fn a_wish_that_is_granted_no_more_is_turned_down_at_take_off() {
    let mut scheduler = with([grant(3000)], &policy());
    scheduler.wish(0, Urgency::Wish, None, NOW).unwrap();
    scheduler.start(0, NOW, nobody);
    let mut held = doubted(3000);
    held.revision = 2;
    let _effect = scheduler.put(0, held);
    let Next::Stay { index: 0, declined } = scheduler.poll(NOW, nobody) else {
        panic!("a hold in doubt still holds");
    };
    assert!(matches!(
        declined,
        Some(Declined::Denied(Denied::NotBefore { why: Why::Hold, .. }))
    ));
    assert!(scheduler.waits_in_vain(0));
}

#[test]
fn a_wish_that_waited_is_fulfilled_by_whatever_replaced_its_generation() {
    let mut scheduler = with([grant(3000)], &policy());
    scheduler.wish(0, Urgency::Wish, Some(3), NOW).unwrap();
    scheduler.start(0, NOW, nobody);
    let mut replaced = grant(3600);
    replaced.revision = 2;
    replaced.state.generation = 4;
    let _effect = scheduler.put(0, replaced);
    let declined = Some(Declined::Fulfilled);
    assert_eq!(
        scheduler.poll(NOW, nobody),
        Next::Stay { index: 0, declined }
    );
}

#[test]
fn a_dead_token_that_a_consumer_tells_of_ends_the_hold_even_if_later() {
    let mut policy = policy();
    let (index, urgency) = (0, Urgency::Rejected);
    let mut scheduler = with([doubted(3000)], &policy);
    let declined = scheduler.wish(index, urgency, Some(3), NOW).unwrap_err();
    let heeded = scheduler.suspected(index, urgency, Some(declined));
    assert_eq!(heeded, None, "a refresh does not end the old one there");
    policy.rotation.revokes_old_access = true;
    let mut early = doubted(3000);
    early.state.last_send = Some(NOW);
    early.state.doubt.as_mut().unwrap().last_sent = NOW;
    let mut scheduler = with([early], &policy);
    let declined = scheduler.wish(index, urgency, Some(3), NOW).unwrap_err();
    assert!(matches!(
        declined,
        Declined::Denied(Denied::NotBefore { .. })
    ));
    let state = scheduler.suspected(index, urgency, Some(declined)).unwrap();
    assert!(state.access_dead);
    let mut scheduler = with([doubted(3000)], &policy);
    assert_eq!(
        scheduler.wish(index, urgency, Some(3), NOW),
        Ok(Granted::Starts)
    );
    assert!(
        scheduler
            .suspected(index, urgency, None)
            .unwrap()
            .access_dead
    );
    assert_eq!(scheduler.suspected(index, Urgency::Wish, None), None);
}

#[test]
fn a_landing_gives_back_the_place_and_an_overdue_one_has_done_so() {
    let mut scheduler = with([grant(60)], &policy());
    let flight = taken_off(scheduler.poll(NOW, nobody)).flight;
    let mut in_doubt = doubted(60);
    in_doubt.revision = 2;
    let landed = scheduler.overdue(0, flight, in_doubt.clone(), NOW);
    assert_eq!(landed.kind, Some(OutcomeKind::InDoubt));
    assert!(landed.counted && scheduler.entry(0).in_flight.is_none());
    assert!(scheduler.is_aloft(0), "its answer may still come");
    assert_eq!((scheduler.aloft(), scheduler.limits().flights()), (1, 0));
    let landing = after(&in_doubt, OutcomeKind::Success);
    let landed = scheduler.landed(0, flight, landing, NOW);
    assert!(
        !landed.counted && landed.align,
        "it is bound to where it was"
    );
    assert_eq!((scheduler.aloft(), scheduler.limits().flights()), (0, 0));
    assert_eq!(scheduler.entry(0).grant.revision, 3);
    assert!(!scheduler.is_aloft(0));
}

#[test]
fn nothing_takes_off_for_what_was_removed_or_revoked() {
    let mut revoked = grant(60);
    revoked.state = crate::grant::revocation::asked(&revoked.state, NOW);
    let mut scheduler = with([grant(60), revoked], &policy());
    let effects = scheduler.remove(0, NOW);
    assert!(effects.is_empty());
    assert_eq!(scheduler.indices().collect::<Vec<_>>(), [1]);
    // Nothing but the other's end, of which its owner is told.
    let end = Next::Wait(Some(NOW + Duration::from_secs(60)));
    assert_eq!(scheduler.poll(NOW, nobody), end);
    for urgency in [Urgency::Rejected, Urgency::AcceptRisk] {
        let declined = scheduler.wish(0, urgency, None, NOW);
        assert_eq!(declined, Err(Declined::Retired));
        let declined = scheduler.wish(1, urgency, None, NOW);
        let never = Declined::Denied(Denied::Never(Never::Revoked));
        assert_eq!(declined, Err(never));
    }
    // Its times are nobody's: there is no state to commit.
    let moved = scheduler.bring_back(Duration::from_secs(60));
    assert_eq!(moved.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_could_not_begin_is_tried_again_ever_later() {
    let mut scheduler = with([grant(60)], &policy());
    let mut now = NOW;
    for (before, wait) in [(0, 10), (1, 20), (2, 40)] {
        let flight = taken_off(scheduler.poll(now, nobody)).flight;
        let landed = scheduler.landed(0, flight, Landing::Grounded, now);
        assert_eq!(landed.grounded, Some(before));
        let until = now + Duration::from_secs(wait);
        assert_eq!(scheduler.poll(now, nobody), Next::Wait(Some(until)));
        now = until;
    }
}

/// The grant as it is after a refusal that may not have been meant.
fn refused(index: u32, at: WallTime) -> Grant {
    let mut grant = grant(60);
    grant.id = GrantId(format!("g{index}"));
    grant.revision = 2;
    grant.state.failures = 1;
    grant.state.last_send = Some(at);
    grant.state.refusal = Some(Refusal {
        provisional: true,
        interaction: false,
        at,
        times: 1,
        text: String::new(),
    });
    grant
}

/// A provider that was broken for a moment: what it refused is presented once more after
/// it has shown that it works, and many of them are one notice.
#[test]
fn what_was_refused_is_presented_once_more_after_another_success() {
    let mut policy = policy();
    policy.rotation.reuse = Reuse::Error;
    let mut scheduler = with((0..7).map(|_| grant(60)), &policy);
    let flights: Vec<TakeOff> = (0..6)
        .map(|_| taken_off(scheduler.poll(NOW, nobody)))
        .collect();
    let mut effects = Vec::new();
    for flight in &flights[1..] {
        let grant = Box::new(refused(flight.index, NOW));
        let kind = Some(OutcomeKind::InvalidGrant);
        let landing = Landing::Settled { kind, grant };
        let landed = scheduler.landed(flight.index, flight.flight, landing, NOW);
        assert!(landed.second_chance);
        effects.extend(landed.effects);
    }
    let many = Effect::ManyRefused {
        client: 0,
        count: 5,
    };
    assert_eq!(effects, [many]);
    // One that began before the refusals tells nothing.
    let first = flights[0];
    let landing = success(first.index);
    let _landed = scheduler.landed(first.index, first.flight, landing, NOW);
    let later = NOW + Duration::from_secs(60);
    let flight = next_off(&mut scheduler, later);
    assert!(!flight.is_forced(), "the seventh is due");
    let landing = success(flight.index);
    let _landed = scheduler.landed(flight.index, flight.flight, landing, later);
    let again = next_off(&mut scheduler, later);
    assert!(again.wished.is_some_and(|wished| wished.probe));
    assert!(rests(&mut scheduler, later), "one at a time");
    let _landed = scheduler.landed(again.index, again.flight, success(again.index), later);
    let two = [0, 1].map(|_| next_off(&mut scheduler, later));
    assert!(two.iter().all(|flight| flight.index != again.index));
}

/// The landing of a success.
fn success(index: u32) -> Landing {
    let mut grant = grant(3600);
    grant.id = GrantId(format!("g{index}"));
    grant.revision = 9;
    grant.state.generation = 4;
    after(&grant, OutcomeKind::Success)
}

#[test]
fn refusals_and_failures_are_recalled_at_a_start() {
    let with = |grants: Vec<Grant>| {
        let mut scheduler = Scheduler::new(Caps::new(8, 64));
        let mut effects = Vec::new();
        for grant in grants {
            let index = scheduler.add(grant);
            effects.extend(scheduler.seat(index, Some(Seat(policy())), NOW));
        }
        (scheduler, effects)
    };
    let hour = NOW - Duration::from_secs(3600);
    let (_, effects) = with((0..5).map(|index| refused(index, hour)).collect());
    assert!(matches!(
        effects[..],
        [Effect::ManyRefused { count: 5, .. }]
    ));
    let apart = |index: u32| hour + Duration::from_secs(200 * u64::from(index));
    let (_, effects) = with((0..5).map(|index| refused(index, apart(index))).collect());
    assert_eq!(effects, [], "one every three minutes are not many at once");
    let minute = NOW - Duration::from_secs(60);
    let failed = |index: u32| {
        let mut grant = grant(60);
        grant.id = GrantId(format!("g{index}"));
        grant.state.failures = 1;
        grant.state.last_outcome = Some(LastOutcome {
            status: None,
            at: minute,
            kind: OutcomeKind::NotSent.word().to_owned(),
            text: String::new(),
        });
        grant
    };
    let (scheduler, effects) = with((0..3).map(failed).collect());
    let host = Scope::Host(0);
    assert!(matches!(effects[..], [Effect::Braked { scope, .. }] if scope == host));
    assert!(scheduler.limits().brake(host).is_some());
    // What was issued there after they had failed refutes them, in whatever order they come.
    let mut worked = grant(3600);
    worked.id = GrantId("w".to_owned());
    for at in 0..4 {
        let mut grants: Vec<Grant> = (0..3).map(failed).collect();
        grants.insert(at, worked.clone());
        let (scheduler, _) = with(grants);
        assert!(scheduler.limits().brake(host).is_none(), "{at}");
    }
    // Those whose answers were lost, and that were refused for it, tell of their host as well.
    let lost = |index: u32| {
        let mut grant = refused(index, minute);
        grant.state.doubt = Some(Doubt::of_lost_time(TOKEN, Some(minute)));
        grant.state.failures = 2;
        grant
    };
    let (scheduler, _) = with((0..5).map(lost).collect());
    let known = scheduler
        .limits()
        .brake(host)
        .map(|(kind, proven, _)| (kind, proven));
    assert_eq!(known, Some((Trouble::Lossy, true)));
    let (scheduler, _) = with((0..5).map(lost).chain([worked]).collect());
    assert!(scheduler.limits().brake(host).is_none());
}

#[test]
fn a_grant_in_flight_is_aligned_when_it_lands() {
    let mut scheduler = with([grant(60)], &policy());
    assert!(scheduler.may_align(0));
    let flight = taken_off(scheduler.poll(NOW, nobody)).flight;
    assert!(!scheduler.may_align(0));
    let landed = scheduler.landed(0, flight, Landing::Idle, NOW);
    assert!(landed.align);
    let effects = scheduler.seat(0, None, NOW);
    assert!(effects.is_empty());
    scheduler.schedule(0, NOW);
    assert_eq!(
        scheduler.poll(NOW, nobody),
        Next::Wait(None),
        "it is retired"
    );
    let retired = scheduler.wish(0, Urgency::Force, None, NOW);
    assert_eq!(retired, Err(Declined::Retired));
}

#[test]
fn an_unread_answer_is_read_again_by_a_flight_of_its_own() {
    let mut unread = doubted(3000);
    unread.state.doubt.as_mut().unwrap().unread = true;
    let mut scheduler = with([unread, doubted(3000)], &policy());
    assert!(scheduler.read_again(0, NOW).is_some());
    assert!(scheduler.read_again(0, NOW).is_none(), "it is under way");
    assert!(scheduler.read_again(1, NOW).is_none(), "nothing is unread");
}

/// Its operator had moved the grant while the answer was kept: bound to where it was
/// asked of, it never took off again, and nobody was told.
#[test]
fn what_is_bound_elsewhere_than_its_grant_was_is_aligned() {
    let mut before = doubted(3000);
    before.state.doubt.as_mut().unwrap().unread = true;
    let bound = |client: &str| {
        Some(Binding {
            client_id: client.to_owned(),
            origin: "https://as.example:443".to_owned(),
        })
    };
    before.state.binding = bound("new");
    for (client, aligns) in [("old", true), ("new", false)] {
        let mut scheduler = with([before.clone()], &policy());
        let flight = scheduler.read_again(0, NOW).expect("it is unread").flight;
        let mut read = before.clone();
        read.revision += 1;
        read.state.binding = bound(client);
        let landed = scheduler.landed(0, flight, after(&read, OutcomeKind::Success), NOW);
        assert_eq!(landed.align, aligns);
    }
}

#[test]
fn paused_and_refused_grants_wait_for_a_person() {
    let mut refused = grant(60);
    refused.state.refusal = Some(Refusal {
        provisional: false,
        interaction: false,
        at: NOW,
        times: 1,
        text: String::new(),
    });
    let mut scheduler = with([refused], &policy());
    // Nothing but its access token's end, of which its owner is told.
    let end = Next::Wait(Some(NOW + Duration::from_secs(60)));
    assert_eq!(scheduler.poll(NOW, nobody), end);
    let declined = scheduler.wish(0, Urgency::Wish, None, NOW);
    let refused = Declined::Denied(Denied::Never(Never::Refused));
    assert_eq!(declined, Err(refused));
    assert_eq!(
        scheduler.wish(0, Urgency::Force, None, NOW),
        Ok(Granted::Starts)
    );
    assert!(taken_off(scheduler.start(0, NOW, nobody)).is_forced());
}

#[test]
fn nothing_takes_off_while_a_late_answer_is_in_hand() {
    let mut scheduler = with([grant(-10)], &policy());
    let in_hand = |grant: &GrantId| grant.0 == "g";
    let Next::Wait(Some(due)) = scheduler.poll(NOW, in_hand) else {
        panic!("it waits for the answer's landing");
    };
    assert_eq!(due, NOW + RETRY_BASE);
    scheduler
        .wish(0, Urgency::Force, None, NOW)
        .expect("it is granted");
    assert_eq!(scheduler.start(0, NOW, in_hand), Next::Wait(None));
    // The wish is not forgotten over it.
    let flight = taken_off(scheduler.poll(due, nobody));
    assert!(flight.is_forced());
}

#[test]
fn what_holds_a_grant_beyond_its_schedule_is_told() {
    let mut scheduler = with((0..6).map(|_| grant(60)), &policy());
    assert_eq!(scheduler.hold(0, NOW), None);
    fail(&mut scheduler, 3, OutcomeKind::NotSent, NOW);
    // Nothing can be sent to its host: a first attempt waits for the last moment.
    let hold = |trouble, until| Hold::Braked {
        by: Scope::Host(0),
        trouble,
        until: Some(until),
    };
    let last = NOW + Duration::from_secs(60 - 45);
    assert_eq!(scheduler.hold(5, NOW), Some(hold(Trouble::Down, last)));
    let declined = scheduler.wish(5, Urgency::Wish, None, NOW);
    let told = Declined::Braked {
        by: Scope::Host(0),
        trouble: Trouble::Down,
        until: Some(last),
    };
    assert_eq!(declined, Err(told));
    assert_eq!(
        scheduler.wish(5, Urgency::Force, None, NOW),
        Ok(Granted::Starts),
        "an operator's passes"
    );
    // What concerns all comes before.
    scheduler.set_unwritable(true);
    assert_eq!(scheduler.hold(3, NOW), Some(Hold::Unwritable));
    scheduler.set_fenced(Some("it was restored".to_owned()));
    assert_eq!(scheduler.hold(3, NOW), Some(Hold::Fenced));
}

/// So many take off and fail alike; who they are.
fn fail(
    scheduler: &mut Scheduler<Seat>,
    count: usize,
    kind: OutcomeKind,
    now: WallTime,
) -> Vec<u32> {
    let flights: Vec<TakeOff> = (0..count)
        .map(|_| taken_off(scheduler.poll(now, nobody)))
        .collect();
    for flight in &flights {
        let mut entry = scheduler.entry(flight.index).grant.clone();
        entry.state.failures += 1;
        // Its own back-off is longer than its brake lasts.
        entry.state.not_before = Some(now + Duration::from_secs(300));
        let landing = after(&entry, kind);
        let _landed = scheduler.landed(flight.index, flight.flight, landing, now);
    }
    flights.iter().map(|flight| flight.index).collect()
}

/// A grant whose first attempt failed is asked again at its last moment, and not before;
/// a consumer's wish may use that attempt sooner.
#[test]
fn a_wish_uses_the_second_attempt_under_a_brake() {
    let mut scheduler = with((0..4).map(|_| grant(300)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::InDoubt, NOW);
    let (trouble, proven, _) = scheduler.limits().brake(Scope::Host(0)).expect("a brake");
    assert_eq!((trouble, proven), (Trouble::Lossy, false));
    let mut rested = scheduler.entry(failed[0]).grant.clone();
    rested.revision += 1;
    rested.state.not_before = None;
    let later = NOW + Duration::from_secs(60);
    let _effect = scheduler.put(failed[0], rested.clone());
    let last = NOW + Duration::from_secs(300 - 45);
    let held = scheduler.hold(failed[0], later);
    assert!(matches!(held, Some(Hold::Braked { until, .. }) if until == Some(last)));
    assert_eq!(
        scheduler.wish(failed[0], Urgency::Wish, None, later),
        Ok(Granted::Starts)
    );
    rested.revision += 1;
    rested.state.failures = 2;
    let _effect = scheduler.put(failed[0], rested);
    let third = scheduler.wish(failed[0], Urgency::Wish, None, later);
    assert!(matches!(third, Err(Declined::Braked { .. })), "{third:?}");
}

/// Its own back-off had reached minutes by the time that its provider was back.
#[test]
fn who_failed_under_a_brake_that_is_over_waits_for_no_back_off() {
    let mut scheduler = with((0..4).map(|_| grant(120)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::NotSent, NOW);
    for index in &failed {
        let mut tired = scheduler.entry(*index).grant.clone();
        (tired.revision, tired.state.failures) = (tired.revision + 1, 2);
        let _effect = scheduler.put(*index, tired);
    }
    // The fourth one's last moment.
    let last = NOW + Duration::from_secs(120 - 30);
    let flight = next_off(&mut scheduler, last);
    assert!(!failed.contains(&flight.index));
    let landed = scheduler.landed(flight.index, flight.flight, success(flight.index), last);
    assert!(matches!(landed.effects[..], [Effect::Freed { .. }]));
    let first = next_off(&mut scheduler, last);
    assert!(first.taken && failed.contains(&first.index));
    assert!(rests(&mut scheduler, last), "one at a time");
    let _landed = scheduler.landed(first.index, first.flight, success(first.index), last);
    let two = [0, 1].map(|_| next_off(&mut scheduler, last).index);
    assert!(two.iter().all(|index| failed.contains(index)));
}

/// It passes the brake, and took a place that there was not.
#[test]
fn what_is_forced_waits_for_a_place_under_a_brake_too() {
    let mut scheduler = with((0..5).map(|_| grant(300)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::InDoubt, NOW);
    scheduler.set_caps(Caps::new(1, 8));
    assert!(scheduler.limits().brake(Scope::Host(0)).is_some());
    let other = next_off(&mut scheduler, NOW + Duration::from_secs(300 - 45));
    let now = NOW + Duration::from_secs(300 - 44);
    assert_eq!(
        scheduler.wish(failed[0], Urgency::Force, None, now),
        Ok(Granted::Starts)
    );
    assert!(rests(&mut scheduler, now));
    let _landed = scheduler.landed(other.index, other.flight, success(other.index), now);
    assert_eq!(next_off(&mut scheduler, now).index, failed[0]);
}

/// That a brake is over excuses nobody from what its provider asked for.
#[test]
fn who_was_asked_to_wait_is_not_freed_from_that() {
    let mut scheduler = with((0..4).map(|_| grant(120)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::InDoubt, NOW);
    let last = NOW + Duration::from_secs(120 - 30);
    let until = last + Duration::from_secs(10);
    for index in &failed {
        let mut told = scheduler.entry(*index).grant.clone();
        (told.revision, told.state.failures) = (told.revision + 1, 2);
        (told.state.not_before, told.state.asked_until) = (Some(WallTime::NEVER), Some(until));
        let _effect = scheduler.put(*index, told);
    }
    let flight = next_off(&mut scheduler, last);
    let _landed = scheduler.landed(flight.index, flight.flight, success(flight.index), last);
    assert!(rests(&mut scheduler, until - Duration::from_millis(1)));
    assert!(failed.contains(&next_off(&mut scheduler, until).index));
}

#[test]
fn a_changed_secret_is_tried_at_once() {
    let mut scheduler = with((0..3).map(|_| grant(300)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::InvalidClient, NOW);
    assert_eq!(failed.len(), 3);
    let soon = NOW + Duration::from_secs(31);
    let before = NOW + Duration::from_secs(29);
    assert!(matches!(scheduler.poll(before, nobody), Next::Wait(_)));
    scheduler.secrets_changed(|_| true, soon);
    let flight = taken_off(scheduler.poll(soon, nobody));
    assert!(flight.taken);
}

/// A brake holds exchanges up, and not what a grant's owner is told: that its token ended.
#[test]
fn who_waits_under_a_brake_is_looked_at_when_its_token_ends() {
    let mut scheduler = with((0..5).map(|_| grant(300)), &policy());
    let failed = fail(&mut scheduler, 3, OutcomeKind::NotSent, NOW);
    let waits = (0..5).find(|index| !failed.contains(index)).expect("one");
    assert!(scheduler.hold(waits, NOW).is_some());
    let looked_at = |scheduler: &mut Scheduler<Seat>, now| {
        let mut seen = Vec::new();
        while let Next::Stay { index, .. } | Next::TakeOff(TakeOff { index, .. }) =
            scheduler.poll(now, nobody)
        {
            seen.push(index);
        }
        seen
    };
    looked_at(&mut scheduler, NOW);
    for after in [300, 310] {
        let now = NOW + Duration::from_secs(after);
        assert!(looked_at(&mut scheduler, now).contains(&waits), "{after}");
    }
}

/// Nor does a host that has all the places.
#[test]
fn who_waits_for_a_place_is_looked_at_once_when_its_token_ends() {
    let mut scheduler = with((0..3).map(|_| grant(300)), &policy());
    scheduler.set_caps(Caps::new(1, 4));
    let looked_at = |scheduler: &mut Scheduler<Seat>, after| {
        let now = NOW + Duration::from_secs(after);
        let mut seen: Vec<u32> = Vec::new();
        loop {
            match scheduler.poll(now, nobody) {
                Next::Stay { index, .. } => seen.push(index),
                Next::TakeOff(_) | Next::GiveUp { .. } => {}
                Next::Wait(due) => return (seen, due.unwrap_or(WallTime::NEVER)),
            }
        }
    };
    let (seen, due) = looked_at(&mut scheduler, 290);
    assert!(seen.is_empty(), "{seen:?}");
    assert!(due <= NOW + Duration::from_secs(300), "the tokens' end");
    let (seen, due) = looked_at(&mut scheduler, 300);
    assert!(
        seen.is_empty(),
        "nothing has failed: it may be a moment late"
    );
    assert!(due <= NOW + Duration::from_secs(310));
    let (seen, _) = looked_at(&mut scheduler, 310);
    assert_eq!(seen.len(), 2, "all but the one that has the place");
    assert!(looked_at(&mut scheduler, 311).0.is_empty());
    assert!(looked_at(&mut scheduler, 400).0.is_empty());
}

/// A client whose tokens live for years would be found out years later.
#[test]
fn where_a_client_is_suspected_one_that_loses_nothing_is_asked_early_once_an_hour() {
    let mut harmless = policy();
    harmless.rotation.rotates = Rotates::Never;
    let early = |policy: &Policy, kind| {
        let grants = [60, 3000, 3200, 2000, 3100].map(grant);
        let mut scheduler = with(grants, policy);
        fail(&mut scheduler, 1, kind, NOW);
        scheduler
    };
    let mut scheduler = early(&harmless, OutcomeKind::InvalidClient);
    let asked = next_off(&mut scheduler, NOW);
    assert_eq!(asked.index, 2, "the one that worked last");
    assert!(!asked.due && asked.wished.is_some_and(|wished| wished.probe));
    // It told nothing; the next one is asked an hour later.
    let landed = after(&scheduler.entry(2).grant.clone(), OutcomeKind::TooEarly);
    let _landed = scheduler.landed(2, asked.flight, landed, NOW);
    assert!(rests(&mut scheduler, NOW + Duration::from_secs(290)));
    // One that is accepted clears the client.
    let mut scheduler = early(&harmless, OutcomeKind::InvalidClient);
    let asked = next_off(&mut scheduler, NOW);
    let _landed = scheduler.landed(asked.index, asked.flight, success(asked.index), NOW);
    assert!(rests(&mut scheduler, NOW));
    // Who may lose something is not asked, and where the client is not suspected nobody is.
    assert!(rests(
        &mut early(&policy(), OutcomeKind::InvalidClient),
        NOW
    ));
    assert!(rests(&mut early(&harmless, OutcomeKind::NotSent), NOW));
    // Presented again it does no harm, but where the answer is lost its refresh token is.
    let mut rotates = policy();
    rotates.rotation.reuse = Reuse::Error;
    assert!(rests(&mut early(&rotates, OutcomeKind::InvalidClient), NOW));
    // Where there is no place it waits for one, and nobody looks again before that.
    let mut scheduler = early(&harmless, OutcomeKind::InvalidClient);
    scheduler.set_caps(Caps::new(1, 8));
    let wish = scheduler.wish(3, Urgency::Force, None, NOW);
    assert!(wish.is_ok(), "{wish:?}");
    let first = taken_off(scheduler.start(3, NOW, nobody));
    let Next::Wait(Some(due)) = scheduler.poll(NOW, nobody) else {
        panic!("there is no place");
    };
    assert!(due > NOW);
    let _landed = scheduler.landed(first.index, first.flight, Landing::Idle, NOW);
    assert_ne!(next_off(&mut scheduler, NOW).index, first.index);
    harmless.schedule.min_age = Some(Duration::from_secs(60));
    assert!(rests(
        &mut early(&harmless, OutcomeKind::InvalidClient),
        NOW
    ));
}
