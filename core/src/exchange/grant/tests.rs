//! Regressions; every order of events is in `tests/simulation`.

use super::*;
use crate::exchange::{Action, Event};
use crate::flight::{ExchangeId, Intent, Settlement, Standing};
use crate::grant::Policy;
use crate::grant::state::{Doubt, Refusal};
use crate::grant::{Binding, GrantId, GrantState, Presents};
use crate::provider::Description;
use crate::provider::description::DescriptionHash;
use crate::provider::description::{OldValid, Reuse};
use crate::secret::{Fingerprint, Fingerprinter, Secret};
use crate::time::BootTime;
use std::collections::BTreeMap;

const SENT: WallTime = WallTime(1_800_000_000_000);

fn rules() -> Rules {
    let text = r#"{"name": "test", "token": {"url": "https://as.example/token"}}"#;
    let description: Description = serde_json::from_str(text).unwrap();
    Rules {
        policy: Policy::new(&description, description.schedule.clone()),
        description: description.into(),
        fingerprinter: Fingerprinter::new([3; 32]),
    }
}

fn tokens() -> TokenSet {
    TokenSet {
        access_token: Secret::new("at-1"),
        refresh_token: Some(Secret::new("rt-1")),
        token_type: None,
        scope: None,
        extra: BTreeMap::new(),
        code: None,
    }
}

fn grant(revision: u64, generation: u64) -> Grant {
    Grant {
        id: GrantId("g".to_owned()),
        name: "g".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision,
        state: GrantState {
            generation,
            presents: Some(Fingerprint([1; 16])),
            ..GrantState::default()
        },
    }
}

/// A moment by a clock that nobody has set.
fn at(wall: WallTime) -> Stamp {
    Stamp {
        wall,
        boot: BootTime(wall.0 - SENT.0),
        boot_id: "boot".to_owned(),
    }
}

fn intent(grant: &Grant) -> Intent {
    Intent {
        flight: ExchangeId([9; 16]),
        grant: grant.id.clone(),
        name: grant.name.clone(),
        revision: grant.revision,
        generation: grant.state.generation,
        attempt: 1,
        first_sent: SENT,
        sent: at(SENT),
        presents: Presents::RefreshToken(Fingerprint([1; 16])),
        description: DescriptionHash("hash".to_owned()),
        roll: 0,
        binding: grant.state.binding.clone(),
    }
}

fn answer() -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: br#"{"access_token":"at-2","refresh_token":"rt-2"}"#.to_vec(),
        complete: true,
        received: SENT,
    }
}

fn action(step: Step<OfGrant>) -> Action<OfGrant> {
    match step {
        Step::Do(action) => *action,
        other => panic!("{other:?}"),
    }
}

fn commit(step: Step<OfGrant>) -> Commit {
    match action(step) {
        Action::Commit(commit) => commit,
        other => panic!("{other:?}"),
    }
}

fn reloaded(grant: &Grant) -> Event<OfGrant> {
    Event::Reloaded((Box::new(grant.clone()), Box::new(tokens())))
}

/// A flight in the air.
fn sent(grant: &Grant) -> Exchange<OfGrant> {
    let mut flight = Exchange::<OfGrant>::new(intent(grant), grant.clone(), tokens(), rules());
    let recorded = action(flight.handle(Event::Begin, &at(SENT)));
    assert!(matches!(recorded, Action::RecordIntent(_)));
    let sending = action(flight.handle(Event::IntentRecorded, &at(SENT)));
    assert!(matches!(sending, Action::Send { within: None }));
    flight
}

/// An answer of an older generation used to overwrite the newer token set with
/// the refresh token that this had replaced.
#[test]
fn an_old_answer_that_was_kept_is_a_candidate() {
    let (then, now) = (grant(3, 1), grant(5, 2));
    for answer in [Some(answer()), None] {
        let (mut flight, step) = Exchange::<OfGrant>::recovered(
            intent(&then),
            answer,
            now.clone(),
            tokens(),
            rules(),
            &at(SENT),
        );
        // Revision and generation both say to the store that it is stale.
        let commit = commit(step);
        assert_eq!(commit.base_revision, 3);
        assert_eq!(commit.settled.settlement.base_generation(), 1);
        let over = flight.handle(
            Event::Committed(Committed::Superseded(Box::new(now.clone()))),
            &at(SENT),
        );
        assert!(matches!(over, Step::Done(Verdict::Superseded { .. })));
    }
}

/// The first step with an answer that was kept.
fn adopted(then: &Grant, now: Grant) -> Step<OfGrant> {
    let (held, sent) = (Some(answer()), at(SENT));
    Exchange::<OfGrant>::recovered(intent(then), held, now, tokens(), rules(), &sent).1
}

#[test]
fn an_answer_that_was_kept_is_adopted_on_a_newer_state() {
    let (then, now) = (grant(3, 1), grant(5, 1));
    let step = adopted(&then, now);
    let commit = commit(step);
    assert_eq!(commit.base_revision, 5);
    assert_eq!(commit.settled.settlement.state.generation, 2);
}

/// An overdue flight's 504 used to make the next one's success a candidate.
#[test]
fn a_success_lands_though_the_state_has_moved_on() {
    let (then, now) = (grant(3, 1), grant(4, 1));
    let mut flight = sent(&then);
    let first = commit(flight.handle(Event::Ended(Ending::Answered(answer())), &at(SENT)));
    assert_eq!(first.base_revision, 3);
    let again = action(flight.handle(
        Event::Committed(Committed::Superseded(Box::new(now.clone()))),
        &at(SENT),
    ));
    assert!(matches!(again, Action::Reload));
    let second = commit(flight.handle(reloaded(&now), &at(SENT)));
    assert_eq!(
        (second.base_revision, second.settled.kind),
        (4, OutcomeKind::Success)
    );
    let landed = flight.handle(
        Event::Committed(Committed::Applied(Box::new(grant(5, 2)))),
        &at(SENT),
    );
    let Step::Done(Verdict::Landed { kind, grant, .. }) = landed else {
        panic!("{landed:?}");
    };
    assert_eq!((kind, grant.revision), (OutcomeKind::Success, 5));
}

/// The doubt used to be dropped, and the token presented again at once.
#[test]
fn an_overdue_flights_doubt_lands_though_the_state_has_moved_on() {
    let (then, now) = (grant(3, 1), grant(4, 1));
    let mut flight = sent(&then);
    let _ = flight.handle(Event::Overdue, &at(SENT));
    let _ = flight.handle(
        Event::Committed(Committed::Superseded(Box::new(now.clone()))),
        &at(SENT),
    );
    let second = commit(flight.handle(reloaded(&now), &at(SENT)));
    assert_eq!(second.base_revision, 4);
    assert!(second.settled.settlement.state.doubt.is_some());
    let reading = flight.handle(
        Event::Committed(Committed::Applied(Box::new(grant(5, 1)))),
        &at(SENT),
    );
    assert!(matches!(reading, Step::GoOnReading(_)));
}

/// One that came too late for its generation is committed on its old revision,
/// which the store turns down and keeps aside.
#[test]
fn a_late_answer_of_an_older_generation_is_a_candidate() {
    let mut flight = sent(&grant(3, 1));
    let _ = flight.handle(Event::Overdue, &at(SENT));
    let _ = flight.handle(
        Event::Committed(Committed::Applied(Box::new(grant(4, 1)))),
        &at(SENT),
    );
    let _ = flight.handle(Event::Ended(Ending::Answered(answer())), &at(SENT));
    let newer = grant(6, 2);
    assert_eq!(
        commit(flight.handle(reloaded(&newer), &at(SENT))).base_revision,
        4
    );
    let over = flight.handle(
        Event::Committed(Committed::Superseded(Box::new(newer))),
        &at(SENT),
    );
    assert!(matches!(over, Step::Done(Verdict::Superseded { .. })));
}

/// The refresh token of a late answer used to be taken for one of the client
/// that the grant had been moved to meanwhile.
#[test]
fn a_late_answer_is_bound_to_whom_it_was_asked_of() {
    let bound = |revision, client: &str| {
        let mut grant = grant(revision, 1);
        grant.state.binding = Some(Binding {
            client_id: client.to_owned(),
            origin: "https://as.example:443".to_owned(),
        });
        grant
    };
    let (then, now) = (bound(3, "old"), bound(5, "new"));
    let mut flight = sent(&then);
    let _ = commit(flight.handle(Event::Overdue, &at(SENT)));
    let _ = flight.handle(
        Event::Committed(Committed::Applied(Box::new(bound(4, "old")))),
        &at(SENT),
    );
    let _ = flight.handle(Event::Ended(Ending::Answered(answer())), &at(SENT));
    let commit = commit(flight.handle(reloaded(&now), &at(SENT)));
    let state = commit.settled.settlement.state;
    assert_eq!((commit.base_revision, state.generation), (5, 2));
    assert_eq!(state.binding, then.state.binding);
    // So is one that was kept.
    let step = adopted(&then, now);
    let state = super::tests::commit(step).settled.settlement.state;
    assert_eq!((state.generation, state.binding), (2, then.state.binding));
}

/// An intent must fit into a page: whoever it is bound to.
#[test]
fn an_intent_carries_its_binding_unless_that_is_very_long() {
    let of = |client_id: String| {
        let mut grant = grant(3, 1);
        let origin = "https://as.example:443".to_owned();
        grant.state.binding = Some(Binding { client_id, origin });
        let presents = Presents::ClientCredentials;
        let (sent, hash) = (intent(&grant).sent, DescriptionHash("hash".to_owned()));
        let intent = Intent::new(ExchangeId([9; 16]), &grant, presents, sent, hash, 0);
        (intent.binding, grant.state.binding)
    };
    let (carried, bound) = of("client".to_owned());
    assert_eq!(carried, bound);
    assert_eq!(of("c".repeat(2000)).0, None);
}

/// Whatever was recorded: nothing is sent once a late answer has come, and nothing
/// of the grant is changed.
#[test]
fn a_flight_that_is_forestalled_sends_and_commits_nothing() {
    let mut flight = sent(&grant(4, 2));
    match flight.handle(Event::Forestalled, &at(SENT)) {
        Step::Done(Verdict::Withheld) => {}
        other => panic!("{other:?}"),
    }
}

/// The machine slept, or the disk hung, between the decision to present a refresh token
/// once more and the first byte: its window was over, and the provider revoked the grant.
#[test]
fn a_window_that_ends_before_the_first_byte_ends_the_flight() {
    let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
    let window = |mut rules: Rules| {
        rules.policy.rotation.old_valid = OldValid::For(minute);
        rules.policy.rotation.reuse = Reuse::Revokes;
        rules
    };
    let recorded = |attempt, rules: Rules, after: Duration| {
        let grant = grant(4, 2);
        let mut intent = intent(&grant);
        intent.attempt = attempt;
        intent.sent = at(SENT + 10 * second);
        let mut flight = Exchange::<OfGrant>::new(intent, grant, tokens(), rules);
        let _ = flight.handle(Event::Begin, &at(SENT + 10 * second));
        flight.handle(Event::IntentRecorded, &at(SENT + after))
    };
    let within = |step| match action(step) {
        Action::Send { within } => within,
        other => panic!("{other:?}"),
    };
    // Half of the window is used, and connecting may take what is left of that.
    let left = recorded(2, window(rules()), 12 * second);
    assert_eq!(within(left), Some(18 * second));
    for late in [30 * second, 72 * second] {
        let step = recorded(2, window(rules()), late);
        assert!(matches!(step, Step::Done(Verdict::Withheld)), "{step:?}");
    }
    // Presented for the first time, or once nothing is left to lose: whenever that is.
    assert_eq!(within(recorded(1, window(rules()), 72 * second)), None);
    assert_eq!(within(recorded(2, rules(), 72 * second)), None);
}

#[test]
fn in_a_store_that_was_put_back_the_same_revision_says_nothing() {
    let grant = |generation, revision| Grant {
        id: GrantId("g".to_owned()),
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: Default::default(),
        redirect_uri: None,
        revision,
        state: GrantState {
            generation,
            ..GrantState::default()
        },
    };
    let settlement = Settlement {
        state: GrantState {
            generation: 48,
            ..GrantState::default()
        },
        tokens: Some(TokenSet::none()),
        unread: None,
        sent: None,
    };
    // Its flight began at generation 47, which the store of now has not come to.
    let standing = |generation, revision| settlement.standing(&grant(generation, revision), 90);
    assert_eq!(standing(46, 90), Standing::Superseded);
    assert_eq!(standing(47, 90), Standing::Current);
    assert_eq!(standing(47, 91), Standing::Outdated);
    assert_eq!(standing(48, 91), Standing::Superseded);
}

#[test]
fn an_answer_that_is_read_again_is_dated_by_the_clock_of_now() {
    let at = WallTime::from_secs;
    let doubt = |first_sent, last_sent| GrantState {
        doubt: Some(Doubt {
            first_sent,
            last_sent,
            presents: Fingerprint([1; 16]),
            presentations: 1,
            unread: true,
            relic: false,
        }),
        ..GrantState::default()
    };
    let again = |attempt, state: &GrantState| {
        let mut intent = intent(&grant(4, 2));
        (intent.attempt, intent.first_sent) = (attempt, at(9_000));
        intent.sent.wall = at(9_500);
        let again = intent.again(state, DescriptionHash("new".to_owned()));
        (again.first_sent, again.sent.wall)
    };
    assert_eq!(
        again(2, &doubt(at(9_000), at(9_500))),
        (at(9_000), at(9_500))
    );
    // The clock was set back by an hour since, and that was accepted.
    let back = doubt(at(5_400), at(5_900));
    assert_eq!(again(1, &back), (at(5_400), at(5_400)));
    assert_eq!(again(2, &back), (at(5_400), at(5_900)));
    // Nobody knows how much time was lost since.
    let lost = doubt(WallTime(0), at(9_500));
    assert_eq!(again(1, &lost), (WallTime(0), at(9_500)));
    assert!(lost.doubt.is_some_and(|doubt| doubt.is_undated(at(9_500))));
}

/// A late answer's token was refused, and then an earlier exchange brought its own,
/// which took its place for good.
#[test]
fn what_a_second_chance_brought_is_kept_where_another_takes_its_place() {
    let of = |print| Presents::RefreshToken(Fingerprint([print; 16]));
    let mut before = grant(4, 7).state;
    let settlement = Settlement {
        state: GrantState {
            generation: 8,
            presents: Some(Fingerprint([3; 16])),
            ..before.clone()
        },
        tokens: Some(tokens()),
        unread: None,
        sent: None,
    };
    let displaced = |state: &GrantState, presented| settlement.displaces(state, presented, SENT);
    assert_eq!(displaced(&before, of(1)), None, "it was exchanged");
    assert_eq!(displaced(&before, Presents::ClientCredentials), None);
    assert_eq!(displaced(&settlement.state, of(2)), None, "it stays");
    let kept = displaced(&before, of(2)).expect("nobody has tried it");
    assert_eq!((kept.base_generation, kept.refused), (6, false));
    before.refusal = Some(Refusal {
        provisional: false,
        interaction: false,
        at: SENT,
        times: 1,
        text: String::new(),
    });
    let kept = displaced(&before, of(2)).expect("it stays, marked");
    assert!(kept.refused && kept.by_flight);
}

/// Each presentation within the window brought another refresh token, and the answer
/// to the first of them came last: its token was read, and was void.
#[test]
fn of_answers_that_could_not_be_read_the_last_presentations_is_read() {
    let mut state = grant(4, 2).state;
    let doubt = |presents| Doubt {
        first_sent: SENT,
        last_sent: SENT,
        presents,
        presentations: 3,
        unread: true,
        relic: false,
    };
    state.doubt = Some(doubt(Fingerprint([1; 16])));
    let of = |attempt| Intent {
        attempt,
        ..intent(&grant(4, 2))
    };
    let answer = |body: &str| Answer {
        status: 200,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        complete: true,
        received: SENT,
    };
    let (readable, page) = (answer(r#"{"access_token":"at"}"#), answer("<html>"));
    let newest_of = |kept: &[(&Intent, &Answer)], state: &GrantState| {
        let hash = DescriptionHash("new".to_owned());
        Intent::newest_unread(kept.iter().copied(), state, &rules().description, &hash)
    };
    let newest = |kept: &[Intent], state: &GrantState| {
        let kept: Vec<_> = kept.iter().map(|intent| (intent, &readable)).collect();
        newest_of(&kept, state)
    };
    // What a gateway said to the last one is not what the others are held up by.
    let mixed = [(&of(1), &page), (&of(2), &readable), (&of(3), &page)];
    assert_eq!(newest_of(&mixed, &state), Some(1));
    assert_eq!(newest(&[of(2), of(3), of(1)], &state), Some(1));
    // A second chance took the place of what was presented then.
    let chance = Intent {
        presents: Presents::RefreshToken(Fingerprint([2; 16])),
        ..of(1)
    };
    state.doubt = Some(doubt(Fingerprint([2; 16])));
    assert_eq!(newest(&[of(2), chance], &state), Some(1));
    assert_eq!(newest(&[], &state), None);
    let read = Intent {
        flight: ExchangeId([1; 16]),
        description: DescriptionHash("new".to_owned()),
        ..of(3)
    };
    state.generation = 2;
    assert!(of(2).is_beside(&read, &state) && !read.is_beside(&read, &state));
    let later = Intent {
        generation: 3,
        ..of(1)
    };
    assert!(!later.is_beside(&read, &state));
}

/// A restore gave the grant another generation, and the answer to what it still presents
/// was never read again, nor taken for its next token set.
#[test]
fn an_answer_from_before_a_restore_is_still_the_next_one() {
    let then = grant(4, 2);
    let mut before = then.state.clone();
    before.doubt = Some(Doubt {
        first_sent: SENT,
        last_sent: SENT,
        presents: Fingerprint([1; 16]),
        presentations: 1,
        unread: true,
        relic: false,
    });
    let mut now = Grant {
        revision: 5,
        state: crate::fence::accepted(&before, 7, &[], true),
        ..then.clone()
    };
    assert_eq!(now.state.generation, 8);
    let (kept, hash) = (answer(), DescriptionHash("new".to_owned()));
    let newest = |state: &GrantState, intent: &Intent| {
        let kept = [(intent, &kept)].into_iter();
        Intent::newest_unread(kept, state, &rules().description, &hash)
    };
    let intent = intent(&then);
    assert_eq!(newest(&now.state, &intent), Some(0));
    let again = intent.clone().again(&now.state, hash.clone());
    let read = |grant: &Grant, intent: &Intent| {
        let (grant, kept) = (grant.clone(), Some(answer()));
        commit(
            Exchange::<OfGrant>::recovered(
                intent.clone(),
                kept,
                grant,
                tokens(),
                rules(),
                &at(SENT),
            )
            .1,
        )
    };
    let landed = read(&now, &again);
    let settlement = &landed.settled.settlement;
    assert_eq!(
        settlement.standing(&now, landed.base_revision),
        Standing::Current
    );
    let state = &settlement.state;
    assert_eq!((state.generation, state.renamed_from), (9, None));
    // In the time that is lost it may have been read, and its refresh token been used.
    let doubt = state.doubt.as_ref().expect("nobody knows");
    assert_eq!((Some(doubt.presents), doubt.relic), (state.presents, true));
    // What was kept is adopted in the same way.
    assert_eq!(read(&now, &intent).settled.settlement.state.generation, 9);
    // Not what came before that token set, nor once another has taken its place.
    let older = Intent {
        generation: 1,
        ..intent.clone()
    };
    assert_eq!(newest(&now.state, &older), None);
    let other = Fingerprint([2; 16]);
    now.state.presents = Some(other);
    now.state.doubt.as_mut().expect("it is in doubt").presents = other;
    assert_eq!(newest(&now.state, &intent), None);
    let late = read(&now, &intent);
    let standing = late.settled.settlement.standing(&now, late.base_revision);
    assert_eq!(standing, Standing::Superseded);
}

/// A new release reads what an older one could not, by the same description.
#[test]
fn what_can_be_read_is_read_whoever_has_looked_before() {
    let mut state = grant(4, 2).state;
    state.doubt = Some(Doubt::of_lost_time(Fingerprint([1; 16]), None));
    let (intent, mut page) = (intent(&grant(4, 2)), answer());
    page.body = b"<html>".to_vec();
    let newest = |kept: &Answer| {
        let (rules, kept) = (rules(), [(&intent, kept)].into_iter());
        Intent::newest_unread(kept, &state, &rules.description, &intent.description)
    };
    assert_eq!(newest(&answer()), Some(0));
    assert_eq!(newest(&page), None, "it would be looked at again and again");
}

/// A clock that was ahead is set right while an exchange is under way: its token
/// would seem to live longer by that.
#[test]
fn an_exchange_is_dated_by_the_clock_that_was_accepted_meanwhile() {
    let hour = std::time::Duration::from_secs(3600);
    let then = grant(3, 1);
    let mut flight = sent(&then);
    let mut now = at(SENT + std::time::Duration::from_secs(20));
    now.wall = now.wall - hour;
    let settled = commit(flight.handle(Event::Ended(Ending::Answered(answer())), &now)).settled;
    let state = settled.settlement.state;
    assert_eq!(state.issued_at, SENT - hour);
    assert!(!state.expiry_unknown);
}

/// The power went after that: it was recorded by the clock that was ahead, and its
/// token was taken to be younger than it was.
#[test]
fn an_exchange_is_dated_by_the_clock_that_was_accepted_in_its_boot() {
    let minutes = |count: u64| std::time::Duration::from_secs(60 * count);
    let back = |at: &Stamp| Stamp {
        wall: at.wall - minutes(60),
        ..at.clone()
    };
    let then = grant(3, 1);
    let dated = |accepted: &Stamp| {
        let found = intent(&then).by_accepted_clock(Some(accepted));
        (found.first_sent, found.sent.wall)
    };
    let accepted = back(&at(SENT + minutes(5)));
    let early = SENT - minutes(60);
    assert_eq!(dated(&accepted), (early, early));
    // Sent after it, or in another boot: by that clock, or nobody knows.
    let before = back(&at(SENT - minutes(5)));
    assert_eq!(dated(&before), (SENT, SENT));
    let elsewhere = Stamp {
        boot_id: "another".to_owned(),
        ..accepted
    };
    assert_eq!(dated(&elsewhere), (SENT, SENT));
    assert_eq!(intent(&then).by_accepted_clock(None), intent(&then));
}

/// Adopted in another boot, which by its clock began before the exchange: nobody
/// knows how long ago that was.
#[test]
fn an_exchange_of_which_nobody_knows_how_old_it_is_counts_as_over() {
    let then = grant(3, 1);
    let mut now = at(SENT + std::time::Duration::from_secs(20));
    now.boot_id = "another".to_owned();
    now.boot = BootTime(60_000);
    let recovered = |answer, now: &Stamp| {
        let flight = Exchange::<OfGrant>::recovered(
            intent(&then),
            answer,
            then.clone(),
            tokens(),
            rules(),
            now,
        );
        commit(flight.1).settled.settlement.state
    };
    assert!(recovered(Some(answer()), &now).expiry_unknown);
    let doubt = recovered(None, &now).doubt.expect("nobody answered");
    assert_eq!((doubt.first_sent, doubt.last_sent), (WallTime(0), SENT));
    // That boot began after it.
    now.boot = BootTime(10_000);
    assert!(!recovered(Some(answer()), &now).expiry_unknown);
    let doubt = recovered(None, &now).doubt.expect("nobody answered");
    assert_eq!(doubt.first_sent, SENT);
}

/// A store that was put back does not remember that time was lost since.
#[test]
fn beside_a_restored_store_an_exchange_of_another_boot_is_undated() {
    let then = grant(3, 1);
    let mut now = at(SENT + std::time::Duration::from_secs(20));
    let found = |now: &Stamp| intent(&then).in_restored_store(now);
    assert_eq!(found(&now), intent(&then));
    now.boot_id = "another".to_owned();
    now.boot = BootTime(10_000);
    let intent = found(&now);
    assert!(intent.is_undated());
    let (answer, tokens) = (Some(answer()), tokens());
    let flight =
        Exchange::<OfGrant>::recovered(intent, answer, then.clone(), tokens, rules(), &now);
    let state = commit(flight.1).settled.settlement.state;
    assert!(state.expiry_unknown && state.generation == 2);
}

/// Where refreshes end the old access token, the one that an overdue exchange
/// brought was taken for a living one.
#[test]
fn a_request_that_came_too_late_may_have_ended_the_access_token() {
    let mut rules = rules();
    rules.policy.rotation.revokes_old_access = true;
    let second = std::time::Duration::from_secs(1);
    let of = |ending: Ending, attempt| {
        let mut intent = intent(&grant(3, 1));
        intent.attempt = attempt;
        intent.sent = at(SENT + second * attempt);
        settle(
            &rules,
            &grant(3, 1).state,
            &tokens(),
            &intent,
            ending,
            at(SENT).wall,
        )
        .settlement
    };
    let lost = || Ending::Lost {
        text: String::new(),
    };
    let first = of(Ending::Answered(answer()), 1).state;
    let second = of(lost(), 2).overtakes(&first).expect("it was sent later");
    assert!(second.access_dead);
    assert_eq!(
        second.last_send,
        Some(at(SENT + std::time::Duration::from_secs(2)).wall)
    );
    assert_eq!(of(lost(), 2).overtakes(&second), None, "known already");
    assert_eq!(
        of(lost(), 1).overtakes(&first),
        None,
        "it was sent no later"
    );
    // The same token set again, or nothing that was sent.
    let replay = of(Ending::Answered(answer()), 2).overtakes(&first);
    assert!(replay.is_some_and(|state| !state.access_dead));
    let text = String::new();
    assert_eq!(of(Ending::NotSent { text }, 2).overtakes(&first), None);
    // Another authorization has been brought since, or the store was put back.
    let another = GrantState {
        chances_from: 2,
        ..first.clone()
    };
    assert_eq!(of(lost(), 2).overtakes(&another), None);
    assert_eq!(of(lost(), 2).overtakes(&grant(3, 1).state), None);
}
