//! What takes off, what stays, and what a landing does.

use super::*;
use crate::GrantState;
use crate::grant::GrantId;
use crate::grant::schedule::{Denied, Never, Why};
use crate::grant::settle::OutcomeKind;
use crate::grant::state::{Binding, Doubt, LastOutcome, Refusal};
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

    fn lane(&self) -> u32 {
        0
    }

    fn client(&self) -> u32 {
        0
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

fn with(grants: impl IntoIterator<Item = Grant>, policy: &Policy) -> Dispatch<Seat> {
    let caps = Caps {
        flights: 8,
        lane: None,
    };
    let mut dispatch = Dispatch::new(caps);
    for grant in grants {
        let index = dispatch.add(grant);
        let effects = dispatch.seat(index, Some(Seat(policy.clone())), NOW);
        assert!(effects.is_empty());
        dispatch.schedule(index, NOW);
    }
    dispatch
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

/// The grant after a flight that came to this.
fn after(grant: &Grant, kind: OutcomeKind) -> Landing {
    let mut grant = grant.clone();
    grant.revision += 1;
    grant.state.last_send = Some(NOW);
    grant.state.last_outcome = Some(LastOutcome {
        at: NOW,
        kind: kind.word().to_owned(),
        text: String::new(),
    });
    if kind == OutcomeKind::InvalidGrant {
        grant.state.refusal = Some(Refusal {
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
    let mut dispatch = with([grant(60), grant(3000)], &policy());
    let flight = taken_off(dispatch.poll(NOW, true, nobody));
    assert_eq!((flight.index, flight.due, flight.wished), (0, true, None));
    assert_eq!((dispatch.aloft(), dispatch.limits().flights()), (1, 1));
    let Next::Wait(Some(due)) = dispatch.poll(NOW, true, nobody) else {
        panic!("the other is due some time");
    };
    let until = due.since(NOW).as_secs();
    assert!((2500..=2700).contains(&until), "{until}");
}

#[test]
fn nothing_takes_off_without_a_slot_nor_while_it_must_not() {
    let mut dispatch = with([grant(60)], &policy());
    assert_eq!(dispatch.poll(NOW, false, nobody), Next::Wait(None));
    dispatch.set_unwritable(true);
    assert_eq!(dispatch.poll(NOW, true, nobody), Next::Wait(None));
    let declined = dispatch.wish(0, Urgency::Wish, None, NOW);
    assert_eq!(declined, Err(Declined::Unwritable));
    dispatch.set_unwritable(false);
    dispatch.set_fenced(Some("put back".to_owned()));
    assert_eq!(dispatch.poll(NOW, true, nobody), Next::Wait(None));
    for urgency in [Urgency::Wish, Urgency::Force, Urgency::AcceptRisk] {
        let declined = dispatch.wish(0, urgency, None, NOW);
        assert_eq!(declined, Err(Declined::Fenced), "{urgency:?}");
    }
    dispatch.set_fenced(None);
    dispatch.drain();
    assert_eq!(dispatch.poll(NOW, true, nobody), Next::Wait(None));
}

#[test]
fn who_waits_for_a_flight_that_cannot_begin_is_told() {
    let mut dispatch = with([grant(3000), grant(3000), grant(3000)], &policy());
    for index in [0, 1] {
        let wished = dispatch.wish(index, Urgency::Force, None, NOW);
        assert_eq!(wished, Ok(Granted::Starts));
    }
    let aloft = taken_off(dispatch.start(0, NOW, true, nobody));
    dispatch.set_unwritable(true);
    assert_eq!(dispatch.withdraw_wishes(), [1], "the other is under way");
    dispatch.answered(1);
    dispatch.set_unwritable(false);
    assert_eq!(dispatch.entry(1).wished, None);
    assert_eq!(dispatch.entry(0).in_flight, Some(aloft.flight));
}

#[test]
fn a_wish_for_what_has_been_replaced_does_nothing() {
    let mut dispatch = with([grant(3000)], &policy());
    let stale = dispatch.wish(0, Urgency::Rejected, Some(2), NOW);
    assert_eq!(stale, Err(Declined::Fulfilled));
    assert_eq!(dispatch.aloft(), 0);
    let wished = dispatch.wish(0, Urgency::Rejected, Some(3), NOW);
    assert_eq!(wished, Ok(Granted::Starts));
    assert_eq!(
        dispatch.start(0, NOW, true, nobody),
        Next::Wait(None),
        "in its turn"
    );
    let flight = taken_off(dispatch.poll(NOW, true, nobody));
    assert_eq!((flight.due, flight.is_forced()), (false, false));
    assert_eq!(
        dispatch.wish(0, Urgency::Wish, Some(3), NOW),
        Ok(Granted::Joins)
    );
}

#[test]
fn a_wish_that_is_granted_no_more_is_turned_down_at_take_off() {
    let mut dispatch = with([grant(3000)], &policy());
    dispatch.wish(0, Urgency::Wish, None, NOW).unwrap();
    dispatch.start(0, NOW, true, nobody);
    let mut held = doubted(3000);
    held.revision = 2;
    dispatch.put(0, held);
    let Next::Stay { index: 0, declined } = dispatch.poll(NOW, true, nobody) else {
        panic!("a hold in doubt still holds");
    };
    assert!(matches!(
        declined,
        Some(Declined::Denied(Denied::NotBefore { why: Why::Hold, .. }))
    ));
    assert!(dispatch.waits_in_vain(0));
}

#[test]
fn a_wish_that_waited_is_fulfilled_by_whatever_replaced_its_generation() {
    let mut dispatch = with([grant(3000)], &policy());
    dispatch.wish(0, Urgency::Wish, Some(3), NOW).unwrap();
    dispatch.start(0, NOW, true, nobody);
    let mut replaced = grant(3600);
    replaced.revision = 2;
    replaced.state.generation = 4;
    dispatch.put(0, replaced);
    let declined = Some(Declined::Fulfilled);
    assert_eq!(
        dispatch.poll(NOW, true, nobody),
        Next::Stay { index: 0, declined }
    );
}

#[test]
fn a_dead_token_that_a_consumer_tells_of_ends_the_hold_even_if_later() {
    let mut policy = policy();
    let (index, urgency) = (0, Urgency::Rejected);
    let mut dispatch = with([doubted(3000)], &policy);
    let declined = dispatch.wish(index, urgency, Some(3), NOW).unwrap_err();
    let heeded = dispatch.suspected(index, urgency, Some(declined));
    assert_eq!(heeded, None, "a refresh does not end the old one there");
    policy.rotation.revokes_old_access = true;
    let mut early = doubted(3000);
    early.state.last_send = Some(NOW);
    early.state.doubt.as_mut().unwrap().last_sent = NOW;
    let mut dispatch = with([early], &policy);
    let declined = dispatch.wish(index, urgency, Some(3), NOW).unwrap_err();
    assert!(matches!(
        declined,
        Declined::Denied(Denied::NotBefore { .. })
    ));
    let state = dispatch.suspected(index, urgency, Some(declined)).unwrap();
    assert!(state.access_dead);
    let mut dispatch = with([doubted(3000)], &policy);
    assert_eq!(
        dispatch.wish(index, urgency, Some(3), NOW),
        Ok(Granted::Starts)
    );
    assert!(
        dispatch
            .suspected(index, urgency, None)
            .unwrap()
            .access_dead
    );
    assert_eq!(dispatch.suspected(index, Urgency::Wish, None), None);
}

#[test]
fn a_landing_gives_back_the_place_and_an_overdue_one_has_done_so() {
    let mut dispatch = with([grant(60)], &policy());
    let flight = taken_off(dispatch.poll(NOW, true, nobody)).flight;
    let mut in_doubt = doubted(60);
    in_doubt.revision = 2;
    let landed = dispatch.overdue(0, flight, in_doubt.clone(), NOW, 0);
    assert_eq!(landed.kind, Some(OutcomeKind::InDoubt));
    assert!(landed.counted && dispatch.entry(0).in_flight.is_none());
    assert!(dispatch.is_aloft(0), "its answer may still come");
    assert_eq!((dispatch.aloft(), dispatch.limits().flights()), (1, 0));
    let landing = after(&in_doubt, OutcomeKind::Success);
    let landed = dispatch.landed(0, flight, landing, NOW, 0);
    assert!(
        !landed.counted && landed.align,
        "it is bound to where it was"
    );
    assert_eq!((dispatch.aloft(), dispatch.limits().flights()), (0, 0));
    assert_eq!(dispatch.entry(0).grant.revision, 3);
    assert!(!dispatch.is_aloft(0));
}

#[test]
fn nothing_takes_off_for_what_was_removed_or_revoked() {
    let mut revoked = grant(60);
    revoked.state = crate::grant::revocation::asked(&revoked.state, NOW);
    let mut dispatch = with([grant(60), revoked], &policy());
    let effects = dispatch.remove(0, NOW);
    assert!(effects.is_empty());
    assert_eq!(dispatch.indices().collect::<Vec<_>>(), [1]);
    assert_eq!(dispatch.poll(NOW, true, nobody), Next::Wait(None));
    for urgency in [Urgency::Rejected, Urgency::AcceptRisk] {
        let declined = dispatch.wish(0, urgency, None, NOW);
        assert_eq!(declined, Err(Declined::Retired));
        let declined = dispatch.wish(1, urgency, None, NOW);
        let never = Declined::Denied(Denied::Never(Never::Revoked));
        assert_eq!(declined, Err(never));
    }
    // Its times are nobody's: there is no state to commit.
    let moved = dispatch.bring_back(Duration::from_secs(60));
    assert_eq!(moved.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_could_not_begin_is_tried_again_ever_later() {
    let mut dispatch = with([grant(60)], &policy());
    let mut now = NOW;
    for (before, wait) in [(0, 10), (1, 20), (2, 40)] {
        let flight = taken_off(dispatch.poll(now, true, nobody)).flight;
        let landed = dispatch.landed(0, flight, Landing::Grounded, now, 0);
        assert_eq!(landed.grounded, Some(before));
        let until = now + Duration::from_secs(wait);
        assert_eq!(dispatch.poll(now, true, nobody), Next::Wait(Some(until)));
        now = until;
    }
}

#[test]
fn many_refusals_pause_the_client_and_a_success_forgets_them() {
    let mut dispatch = with((0..6).map(|_| grant(60)), &policy());
    let flights: Vec<TakeOff> = (0..6)
        .map(|_| taken_off(dispatch.poll(NOW, true, nobody)))
        .collect();
    let mut effects = Vec::new();
    for flight in &flights[..5] {
        let landing = after(&grant(60), OutcomeKind::InvalidGrant);
        let landed = dispatch.landed(flight.index, flight.flight, landing, NOW, 0);
        assert!(landed.second_chance);
        effects.extend(landed.effects);
    }
    assert!(matches!(
        effects[..],
        [Effect::ClientPaused { client: 0, .. }]
    ));
    assert_eq!(dispatch.paused_clients().collect::<Vec<_>>(), [0]);
    let probing = dispatch.entries().filter(|entry| entry.wished.is_some());
    assert_eq!(probing.count(), 1, "one refused grant probes");
    let effects = dispatch.resume(0);
    let [Effect::ClientResumed { rearm, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(dispatch.paused_clients().count(), 0);
    assert!(dispatch.entries().all(|entry| entry.wished.is_none()));
    assert_eq!(rearm.len(), 5);
    let rearmed = dispatch.rearmed();
    assert_eq!(rearmed.len(), 5);
    assert!(rearmed.iter().all(|(_, state)| state.refusal.is_none()));
    // Two are committed; the store does not take the others, and one is refused anew.
    for (index, state) in rearmed.into_iter().take(2) {
        let mut grant = dispatch.entry(index).grant.clone();
        (grant.revision, grant.state) = (grant.revision + 1, state);
        dispatch.put(index, grant);
    }
    let (index, flight) = (flights[4].index, flights[5].flight);
    let anew = after(&dispatch.entry(index).grant, OutcomeKind::InvalidGrant);
    let _landed = dispatch.landed(index, flight, anew, NOW, 0);
    let indices = |rearmed: Vec<(u32, GrantState)>| rearmed.into_iter().map(|(index, _)| index);
    let again: Vec<u32> = indices(dispatch.rearmed()).collect();
    assert_eq!(again, [flights[2].index, flights[3].index]);
}

#[test]
fn refusals_of_the_last_day_are_recalled_at_a_start() {
    let refused = |hours: u64| {
        let mut grant = grant(60);
        let at = NOW - Duration::from_secs(hours * 3600);
        let text = String::new();
        grant.state.refusal = Some(Refusal {
            interaction: false,
            at,
            times: 1,
            text,
        });
        grant
    };
    let mut recent = with((0..5).map(|_| refused(1)), &policy());
    let effects = recent.recall_refusals(NOW);
    assert!(matches!(effects[..], [Effect::ClientPaused { .. }]));
    let mut old = with((0..5).map(|_| refused(25)), &policy());
    assert!(old.recall_refusals(NOW).is_empty());
}

#[test]
fn a_grant_in_flight_is_aligned_when_it_lands() {
    let mut dispatch = with([grant(60)], &policy());
    assert!(dispatch.may_align(0));
    let flight = taken_off(dispatch.poll(NOW, true, nobody)).flight;
    assert!(!dispatch.may_align(0));
    let landed = dispatch.landed(0, flight, Landing::Idle, NOW, 0);
    assert!(landed.align);
    let effects = dispatch.seat(0, None, NOW);
    assert!(effects.is_empty());
    dispatch.schedule(0, NOW);
    assert_eq!(
        dispatch.poll(NOW, true, nobody),
        Next::Wait(None),
        "it is retired"
    );
    let retired = dispatch.wish(0, Urgency::Force, None, NOW);
    assert_eq!(retired, Err(Declined::Retired));
}

#[test]
fn an_unread_answer_is_read_again_by_a_flight_of_its_own() {
    let mut unread = doubted(3000);
    unread.state.doubt.as_mut().unwrap().unread = true;
    let mut dispatch = with([unread, doubted(3000)], &policy());
    assert!(dispatch.read_again(0).is_some());
    assert!(dispatch.read_again(0).is_none(), "it is under way");
    assert!(dispatch.read_again(1).is_none(), "nothing is unread");
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
        let mut dispatch = with([before.clone()], &policy());
        let flight = dispatch.read_again(0).expect("it is unread").flight;
        let mut read = before.clone();
        read.revision += 1;
        read.state.binding = bound(client);
        let landed = dispatch.landed(0, flight, after(&read, OutcomeKind::Success), NOW, 0);
        assert_eq!(landed.align, aligns);
    }
}

#[test]
fn paused_and_refused_grants_wait_for_a_person() {
    let mut refused = grant(60);
    refused.state.refusal = Some(Refusal {
        interaction: false,
        at: NOW,
        times: 1,
        text: String::new(),
    });
    let mut dispatch = with([refused], &policy());
    assert_eq!(dispatch.poll(NOW, true, nobody), Next::Wait(None));
    let declined = dispatch.wish(0, Urgency::Wish, None, NOW);
    let refused = Declined::Denied(Denied::Never(Never::Refused));
    assert_eq!(declined, Err(refused));
    assert_eq!(
        dispatch.wish(0, Urgency::Force, None, NOW),
        Ok(Granted::Starts)
    );
    assert!(taken_off(dispatch.start(0, NOW, true, nobody)).is_forced());
}

#[test]
fn nothing_takes_off_while_a_late_answer_is_in_hand() {
    let mut dispatch = with([grant(-10)], &policy());
    let in_hand = |grant: &GrantId| grant.0 == "g";
    let Next::Wait(Some(due)) = dispatch.poll(NOW, true, in_hand) else {
        panic!("it waits for the answer's landing");
    };
    assert_eq!(due, NOW + RETRY_BASE);
    dispatch
        .wish(0, Urgency::Force, None, NOW)
        .expect("it is granted");
    assert_eq!(dispatch.start(0, NOW, true, in_hand), Next::Wait(None));
    // The wish is not forgotten over it.
    let flight = taken_off(dispatch.poll(due, true, nobody));
    assert!(flight.is_forced());
}

#[test]
fn what_holds_a_grant_beyond_its_schedule_is_told() {
    let policy = policy();
    let mut dispatch = with((0..6).map(|_| grant(60)), &policy);
    assert_eq!(dispatch.hold(0, NOW), None);
    // Its client is not accepted: it waits for the next probe, and others find out.
    let flight = taken_off(dispatch.poll(NOW, true, nobody));
    let entry = dispatch.entry(flight.index).grant.clone();
    let landing = after(&entry, OutcomeKind::InvalidClient);
    let _landed = dispatch.landed(flight.index, flight.flight, landing, NOW, 0);
    let index = flight.index;
    let Some(Hold::Client(Some(until))) = dispatch.hold(index, NOW) else {
        panic!("{:?}", dispatch.hold(index, NOW));
    };
    assert!(until > NOW);
    let another = taken_off(dispatch.poll(NOW, true, nobody));
    assert_ne!(another.index, index);
    assert_eq!(
        dispatch.hold(index, NOW),
        Some(Hold::Client(None)),
        "one probe at a time"
    );
    // What concerns all comes before.
    dispatch.set_unwritable(true);
    assert_eq!(dispatch.hold(3, NOW), Some(Hold::Unwritable));
    dispatch.set_fenced(Some("it was restored".to_owned()));
    assert_eq!(dispatch.hold(3, NOW), Some(Hold::Fenced));
}
