use super::*;
use crate::grant::state::{Doubt, LastOutcome, Refusal};
use crate::grant::{GrantState, Policy};
use crate::secret::Fingerprint;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: WallTime = WallTime(1_000_000_000);

fn one() -> Subject {
    Subject::Grant("one".to_owned())
}

fn raise(book: &mut Book, kind: Kind, now: WallTime) -> Option<Notice> {
    let mut notices = book.raise(&one(), kind, None, || "as it is".to_owned(), now);
    assert!(notices.len() < 2);
    notices.pop()
}

fn close(book: &mut Book, kind: Kind, now: WallTime) -> Option<Notice> {
    book.close(&one(), kind, || "mended".to_owned(), now)
}

#[test]
fn words_come_back_and_are_distinct() {
    for (n, kind) in Kind::ALL.iter().copied().enumerate() {
        assert_eq!(kind as usize, n, "{kind}");
        assert_eq!(Kind::from_word(kind.word()), Some(kind));
        assert_eq!(Kinds::NONE.with(kind).iter().collect::<Vec<_>>(), [kind]);
    }
    assert_eq!(Kind::from_word("well"), None);
    let output = Subject::Output {
        place: "/run/one".to_owned(),
        grant: "one".to_owned(),
    };
    for subject in [Subject::Daemon, one(), output] {
        let (word, name, grant) = (subject.word(), subject.name(), subject.grant());
        assert_eq!(Subject::from_parts(word, name, grant), Some(subject));
    }
}

#[test]
fn one_notice_reminders_after_an_hour_six_and_daily_and_one_at_the_end() {
    let mut book = Book::default();
    assert!(matches!(raise(&mut book, Kind::InDoubt, NOW), Some(Notice::Opened(i)) if i.id == 1));
    assert_eq!(raise(&mut book, Kind::InDoubt, NOW + HOUR), None);
    let mut told = Vec::new();
    for hours in 0..80 {
        let now = NOW + HOUR * hours;
        for notice in book.handle_time(now) {
            assert!(matches!(&notice, Notice::Reminded(i) if i.reminded_at == Some(now)));
            told.push(hours);
        }
    }
    assert_eq!(told, [1, 7, 31, 55, 79]);
    let Some(Notice::Closed(incident)) = close(&mut book, Kind::InDoubt, NOW + HOUR * 80) else {
        panic!("it was open")
    };
    let closed = Some((NOW + HOUR * 80, "mended".to_owned()));
    assert_eq!((incident.reminders, incident.closed), (5, closed));
    assert_eq!(close(&mut book, Kind::InDoubt, NOW), None);
    assert!(matches!(raise(&mut book, Kind::InDoubt, NOW), Some(Notice::Opened(i)) if i.id == 2));
}

#[test]
fn a_restart_neither_opens_it_twice_nor_reminds_early() {
    let mut book = Book::default();
    raise(&mut book, Kind::Refused, NOW);
    book.handle_time(NOW + HOUR);
    let mut book = Book::recalled(book.open().cloned().collect(), 1);
    assert_eq!(book.poll_time(), Some(NOW + HOUR * 7));
    assert_eq!(raise(&mut book, Kind::Refused, NOW + HOUR * 2), None);
    assert_eq!(book.handle_time(NOW + HOUR * 6), []);
    assert_eq!(book.handle_time(NOW + HOUR * 7).len(), 1);
    // One that waited while nothing ran is told once.
    let mut book = Book::recalled(book.open().cloned().collect(), 1);
    assert_eq!(book.handle_time(NOW + HOUR * 1000).len(), 1);
    assert_eq!(book.handle_time(NOW + HOUR * 1001), []);
}

#[test]
fn what_an_earlier_process_left_may_be_over() {
    let (client, kind) = (Subject::Client("c".to_owned()), Kind::ClientNotAccepted);
    let mut book = Book::default();
    book.raise(&client, kind, None, String::new, NOW);
    assert_eq!(book.disprove(&client, kind, "it works", NOW), None);
    let left: Vec<Incident> = book.open().cloned().collect();
    let mut book = Book::recalled(left.clone(), 1);
    assert_eq!(book.unconfirmed().count(), 1);
    assert!(book.disprove(&client, kind, "it works", NOW).is_some());
    let mut book = Book::recalled(left, 1);
    book.raise(&client, kind, None, String::new, NOW);
    assert_eq!(book.disprove(&client, kind, "it works", NOW), None);
    assert_eq!((book.unconfirmed().count(), book.len()), (0, 1));
}

#[test]
fn an_end_is_told_as_its_days_run_out() {
    let (day, kind) = (HOUR * 24, Kind::NeedsAuthorization);
    let end = NOW + day * 14;
    let mut book = Book::default();
    book.raise(&one(), kind, Some(end), || before(end, NOW), NOW);
    let mut told = Vec::new();
    for hours in 0..17 * 24 {
        // Some answers count down to it, each by its own clock.
        let end = end + Duration::from_secs(u64::from(hours % 2) * 2);
        let now = NOW + HOUR * hours;
        book.raise(&one(), kind, Some(end), String::new, now);
        let notices = book.handle_time(now);
        told.extend(notices.iter().map(|n| (hours, n.incident().text.clone())));
    }
    let hours: Vec<u32> = told.iter().map(|(hours, _)| *hours).collect();
    // Seven, three and one day before, at the end, and daily from then on.
    assert_eq!(hours.len(), 6, "{told:?}");
    for (told, days) in hours.iter().zip([7, 11, 13, 14, 15, 16]) {
        assert!(told.abs_diff(days * 24) <= 2, "{hours:?}");
    }
    assert!(told[1].1.contains("authorize it again before"), "{told:?}");
    assert!(told[5].1.contains("it ended at"), "{told:?}");
    let mut book = Book::default();
    let soon = NOW + Duration::from_secs(4);
    book.raise(&one(), kind, Some(soon), String::new, NOW);
    assert_eq!(book.poll_time(), Some(soon), "not only an hour later");
    assert_eq!(book.handle_time(soon).len(), 1);
    assert_eq!(book.poll_time(), Some(soon + day));
    // Authorized again, and not for long: that is told anew.
    let (now, sooner) = (NOW + day * 17, NOW + day * 19);
    let notices = book.raise(&one(), kind, Some(sooner), || before(sooner, now), now);
    assert!(matches!(&notices[..], [Notice::Closed(a), Notice::Opened(b)] if a.id + 1 == b.id));
}

fn policy(name: &str) -> Policy {
    let text = format!(r#"{{"name":"{name}","token":{{"url":"https://a.example/token"}}}}"#);
    let description: crate::provider::Description = serde_json::from_str(&text).unwrap();
    Policy::new(&description, description.schedule.clone())
}

fn state() -> GrantState {
    GrantState {
        generation: 3,
        issued_at: NOW - HOUR,
        expires_at: NOW + HOUR,
        presents: Some(Fingerprint([1; 16])),
        ..GrantState::default()
    }
}

fn doubt(unread: bool) -> Option<Doubt> {
    Some(Doubt {
        first_sent: NOW,
        last_sent: NOW,
        presents: Fingerprint([1; 16]),
        presentations: 1,
        unread,
        relic: false,
    })
}

#[test]
fn a_grant_says_what_is_wrong_with_it() {
    let of = |state: GrantState| -> Vec<&str> {
        let kinds = Kinds::of_grant(&state, &policy("p"), NOW);
        kinds.iter().map(Kind::word).collect()
    };
    let refusal = Some(Refusal {
        provisional: false,
        interaction: false,
        at: NOW,
        times: 1,
        text: String::new(),
    });
    let nothing: [&str; 0] = [];
    assert_eq!(of(state()), nothing);
    assert_eq!(of(GrantState::default()), nothing);
    let failing = GrantState {
        failures: 2,
        ..state()
    };
    assert_eq!(of(failing.clone()), nothing, "its access token lives");
    let expired = GrantState {
        expires_at: NOW,
        ..failing
    };
    assert_eq!(of(expired.clone()), ["expired"]);
    let in_doubt = GrantState {
        doubt: doubt(false),
        ..expired.clone()
    };
    assert_eq!(of(in_doubt), ["in-doubt", "expired"]);
    let unread = GrantState {
        doubt: doubt(true),
        ..state()
    };
    assert_eq!(of(unread), ["unread"]);
    let refused = GrantState { refusal, ..expired };
    assert_eq!(of(refused), ["refused"]);
    let suspect = GrantState {
        access_dead: true,
        ..state()
    };
    assert_eq!(of(suspect), ["suspect"]);
    let over = GrantState {
        refresh_expires_at: Some(NOW),
        ..state()
    };
    assert_eq!(of(over), ["refresh-token-over"]);
    let shared = GrantState {
        shared_with: Some("two".to_owned()),
        ..state()
    };
    assert_eq!(of(shared), ["duplicate-refresh-token"]);
    let watched = GrantState {
        presents: None,
        ..state()
    };
    assert_eq!(of(watched), ["needs-authorization"]);
}

#[test]
fn why_it_is_over_follows_from_the_state() {
    let ended = |kind: &str| GrantState {
        last_outcome: Some(LastOutcome {
            status: None,
            at: NOW,
            kind: kind.to_owned(),
            text: String::new(),
        }),
        ..state()
    };
    assert_eq!(over(Kind::InDoubt, &ended("success")), "generation 3 came");
    let refused = GrantState {
        refusal: Some(Refusal {
            provisional: false,
            interaction: false,
            at: NOW,
            times: 1,
            text: String::new(),
        }),
        ..ended("invalid-grant")
    };
    let why = over(Kind::InDoubt, &refused);
    assert!(why.contains("refused the refresh token"), "{why}");
    let why = over(Kind::Refused, &state());
    assert!(why.contains("another authorization"), "{why}");
}

proptest! {
    /// Whatever happens, and however often it is restarted: openings and closings
    /// of a kind take turns, ids rise, and reminders come in between, never denser
    /// than an hour.
    #[test]
    fn notices_take_turns(steps in prop::collection::vec((0u8..5, 0usize..3, 0u64..100_000), 1..200)) {
        let mut book = Book::default();
        let (mut now, mut last_id) = (NOW, 0);
        let mut open: BTreeMap<Kind, (u64, WallTime)> = BTreeMap::new();
        for (step, kind, wait) in steps {
            now = now + Duration::from_secs(wait);
            let kind = [Kind::InDoubt, Kind::Refused, Kind::Fenced][kind];
            let notices = match step {
                0 | 1 => raise(&mut book, kind, now).into_iter().collect(),
                2 => close(&mut book, kind, now).into_iter().collect(),
                3 => book.handle_time(now),
                _ => {
                    book = Book::recalled(book.open().cloned().collect(), last_id);
                    Vec::new()
                }
            };
            for notice in notices {
                let incident = notice.incident().clone();
                match notice {
                    Notice::Opened(_) => {
                        prop_assert!(incident.id > last_id);
                        last_id = incident.id;
                        prop_assert_eq!(open.insert(incident.kind, (incident.id, now)), None);
                    }
                    Notice::Reminded(_) => {
                        let (id, told) = open.insert(incident.kind, (incident.id, now)).unwrap();
                        prop_assert_eq!(id, incident.id);
                        prop_assert!(now.since(told) >= HOUR);
                    }
                    Notice::Closed(_) => {
                        prop_assert_eq!(open.remove(&incident.kind).map(|o| o.0), Some(incident.id));
                    }
                }
            }
            prop_assert_eq!(book.kinds(&one()), open.keys().copied().collect::<Kinds>());
        }
    }
}
