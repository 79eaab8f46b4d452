//! Codes come once, and what they bring is taken in whole.

use super::*;
use crate::state::{Received, TakenIn, Wanted};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via};
use refreshd_core::exchange::authorization::TakeIn;
use refreshd_core::kept::KeptAnswer;
use refreshd_core::ledger::authorization::Turn;
use refreshd_core::ledger::import::NotImported;
use refreshd_core::secret::Fingerprint;
use std::sync::Arc;

fn enrollment(number: u8) -> Enrollment {
    Enrollment {
        id: EnrollmentId([number; 16]),
        grant: Some("shop-17".to_owned()),
        client: "retm".to_owned(),
        provider: "retm".to_owned(),
        via: Via::Redirect,
        redirect_uri: None,
        vars: BTreeMap::new(),
        begun_at: WallTime(1_000_000),
        expires_at: WallTime(1_900_000),
        stage: Stage::Open,
        text: String::new(),
        configured: true,
        sent: None,
        account: None,
        generation: None,
        asked: None,
        code: Default::default(),
    }
}

fn secrets() -> Secrets {
    Secrets {
        verifier: Some(Secret::new("verifier")),
        ..Secrets::default()
    }
}

fn kept(flight: u8, body: &str) -> KeptAnswer {
    KeptAnswer {
        flight: ExchangeId([flight; 16]),
        answer: Answer {
            status: 200,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            complete: true,
            received: WallTime(1_500_000),
        },
    }
}

fn authorized(number: u32, account: u8) -> ImportRequest {
    let mut request = request("shop-17", number);
    request.authorized = true;
    request.state.account = Some(Fingerprint([account; 16]));
    request
}

fn it(
    enrollment: Enrollment,
    import: ImportRequest,
    answer: KeptAnswer,
    wanted: Wanted,
    who: Option<String>,
) -> TakeIn {
    TakeIn {
        enrollment,
        import,
        answer,
        wanted,
        who,
    }
}

fn turn(from: &'static [Stage], to: Enrollment, answer: Option<KeptAnswer>) -> Turn {
    Turn { from, to, answer }
}

/// A link is good until it is spent; a code that was presented for it in vain is not
/// presented again by a page that is loaded again.
#[tokio::test]
async fn a_link_takes_another_code_and_none_twice() {
    let house = House::new();
    let store = house.open().store.clone();
    let link = Enrollment {
        via: Via::Link,
        ..enrollment(1)
    };
    let begun = store.begin_enrollment(link, secrets());
    begun.await.unwrap();
    for (code, is_new) in [
        ("a", true),
        ("b", true),
        ("a", false),
        ("c", true),
        ("b", false),
    ] {
        let (open, _) = store
            .enrollment(EnrollmentId([1; 16]))
            .await
            .unwrap()
            .unwrap();
        let received = store.receive_code(
            open.clone(),
            Secret::new(code),
            Secrets::default(),
            WallTime(1),
        );
        match received.await.unwrap() {
            Received::New(received) => {
                assert!(is_new, "{code}");
                let open = Enrollment {
                    stage: Stage::Open,
                    ..*received
                };
                let from = &[Stage::Received];
                let turned = store.turn_enrollment(turn(from, open, None), None);
                assert!(turned.await.unwrap());
            }
            other => assert!(!is_new, "{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_code_is_received_once() {
    let house = House::new();
    let store = house.open().store.clone();
    for number in [1, 2] {
        let begun = store.begin_enrollment(enrollment(number), secrets());
        begun.await.unwrap();
    }
    let code = || Secret::new("code-1");
    let first = store
        .receive_code(enrollment(1), code(), Secrets::default(), WallTime(1))
        .await
        .unwrap();
    assert!(
        matches!(&first, Received::New(e) if e.stage == Stage::Received),
        "{first:?}"
    );
    let again = store
        .receive_code(enrollment(1), code(), Secrets::default(), WallTime(1))
        .await
        .unwrap();
    assert!(matches!(again, Received::Again(_)), "{again:?}");
    for (number, code) in [(1, "code-2"), (2, "code-1")] {
        let spent = store.receive_code(
            enrollment(number),
            Secret::new(code),
            Secrets::default(),
            WallTime(1),
        );
        let spent = spent.await.unwrap();
        assert!(matches!(spent, Received::Spent(_)), "{number} {spent:?}");
    }
    let found = store.enrollment_of_code(store.fingerprinter().of(&code()));
    let (found, kept) = found.await.unwrap().expect("it is remembered");
    assert_eq!(found.id, enrollment(1).id);
    assert_eq!(kept.code, Some(code()));
    assert_eq!(kept.verifier, secrets().verifier);
    assert!(
        store
            .receive_code(
                enrollment(3),
                Secret::new("x"),
                Secrets::default(),
                WallTime(1)
            )
            .await
            .is_err()
    );
}

#[tokio::test]
async fn another_accounts_token_set_waits_for_an_operator() {
    let house = House::new();
    let store = house.open().store.clone();
    let answer = || kept(1, "{}");
    for number in [1, 2] {
        store
            .begin_enrollment(enrollment(number), secrets())
            .await
            .unwrap();
    }
    let first = store.take_in(
        it(
            enrollment(1),
            authorized(1, 1),
            answer(),
            Wanted::ByExchange,
            None,
        ),
        None,
    );
    assert!(matches!(first.await.unwrap(), TakenIn::Current(_)));
    let (done, kept) = store.enrollment(enrollment(1).id).await.unwrap().unwrap();
    assert_eq!((done.stage, done.generation), (Stage::Done, Some(1)));
    assert_eq!(kept, Secrets::default(), "nothing secret outlives it");

    let other = store.take_in(
        it(
            enrollment(2),
            authorized(2, 2),
            answer(),
            Wanted::ByExchange,
            None,
        ),
        None,
    );
    assert!(matches!(other.await.unwrap(), TakenIn::Held(_)));
    let (grant, tokens) = store.load_named("shop-17").await.unwrap().unwrap();
    assert_eq!(grant.state.generation, 1);
    assert_eq!(tokens, Some(super::tokens(1)));
    let (held, kept) = store.enrollment(enrollment(2).id).await.unwrap().unwrap();
    assert_eq!((held.stage, kept.answers), (Stage::Held, vec![answer()]));

    let accepted = store.take_in(
        it(held, authorized(2, 2), answer(), Wanted::ByOperator, None),
        None,
    );
    assert!(matches!(accepted.await.unwrap(), TakenIn::Current(_)));
    let (grant, _) = store.load_named("shop-17").await.unwrap().unwrap();
    assert_eq!(grant.state.generation, 2);
    assert_eq!(grant.state.account, Some(Fingerprint([2; 16])));
}

#[tokio::test]
async fn what_nobody_answers_ends_and_is_forgotten() {
    let house = House::new();
    let store = house.open().store.clone();
    store
        .begin_enrollment(enrollment(1), secrets())
        .await
        .unwrap();
    store.tidy_enrollments(WallTime(1_899_999)).await.unwrap();
    assert_eq!(store.enrollments().await.unwrap()[0].stage, Stage::Open);
    store.tidy_enrollments(WallTime(1_900_000)).await.unwrap();
    assert_eq!(store.enrollments().await.unwrap()[0].stage, Stage::Expired);
    let late = store.receive_code(
        enrollment(1),
        Secret::new("late"),
        Secrets::default(),
        WallTime(1),
    );
    assert!(matches!(late.await.unwrap(), Received::Spent(_)));
    let next_month = WallTime(1_900_001 + 30 * 86_400_000);
    store.tidy_enrollments(next_month).await.unwrap();
    assert_eq!(store.enrollments().await.unwrap(), []);
}

#[tokio::test]
async fn quarantine_is_bounded_and_let_out_once() {
    let house = House::new();
    let store = house.open().store.clone();
    let waiting = |number: u8| Enrollment {
        stage: Stage::Quarantined,
        ..enrollment(number)
    };
    let code = |number: u8| Secret::new(format!("code-{number}"));
    let most = u8::try_from(crate::state::MOST_QUARANTINED).unwrap();
    for number in 0..most {
        assert!(
            store
                .quarantine(waiting(number), code(number))
                .await
                .unwrap()
        );
    }
    // A burst thins itself out; what comes later has a place, and is what stays.
    let later = Enrollment {
        begun_at: waiting(most).begun_at + std::time::Duration::from_secs(60),
        ..waiting(most)
    };
    let real = later.id;
    assert!(store.quarantine(later, code(most)).await.unwrap());
    let waits = store.enrollments().await.unwrap();
    assert_eq!(waits.len(), crate::state::MOST_QUARANTINED);
    assert!(waits.iter().any(|waits| waits.id == real));
    // The same code again is nothing new, and takes no place.
    assert!(!store.quarantine(waiting(200), code(1)).await.unwrap());
    // What is begun by ourselves has a place all the same.
    let begun = store.begin_enrollment(enrollment(201), secrets());
    begun.await.unwrap();
    assert!(store.approve_enrollment(waiting(1)).await.unwrap());
    assert!(!store.approve_enrollment(waiting(1)).await.unwrap());
    let (approved, kept) = store.enrollment(waiting(1).id).await.unwrap().unwrap();
    assert_eq!(
        (approved.stage, kept.code),
        (Stage::Received, Some(code(1)))
    );
    assert!(store.quarantine(waiting(202), code(202)).await.unwrap());
}

#[tokio::test]
async fn a_grant_that_nobody_configured_stays_its_business_s() {
    let house = House::new();
    let store = house.open().store.clone();
    let of = |number, client: &str, business: &str| {
        let mut request = authorized(number, 1);
        request.client = client.to_owned();
        request.vars = BTreeMap::from([("business_id".to_owned(), business.to_owned())]);
        request
    };
    let take_in = async |number: u8, request| {
        let begun = store.begin_enrollment(enrollment(number), secrets());
        begun.await.unwrap();
        let answer = kept(number, "answer");
        store
            .take_in(
                it(
                    enrollment(number),
                    request,
                    answer,
                    Wanted::ByExchange,
                    None,
                ),
                None,
            )
            .await
    };
    let client = authorized(1, 1).client;
    take_in(1, of(1, &client, "shop-17")).await.unwrap();
    let other = take_in(2, of(2, &client, "shop-18")).await.unwrap_err();
    assert!(
        other.to_string().contains("shop-17, not shop-18"),
        "{other}"
    );
    let other = take_in(3, of(3, "another", "shop-17")).await.unwrap_err();
    assert!(
        matches!(
            other,
            ImportRefusal::Refused(NotImported::OtherClient { .. })
        ),
        "{other}"
    );
    let (grant, _) = store.load_named("shop-17").await.unwrap().unwrap();
    assert_eq!(grant.state.generation, 1);
    take_in(4, of(4, &client, "shop-17")).await.unwrap();
}

/// An authorization without a refresh token, while a refresh was on its way: the refresh
/// token goes on, and with it what that exchange did to it.
#[tokio::test]
async fn an_authorization_without_a_refresh_token_keeps_the_one_there_is() {
    let house = House::new();
    let store = house.open().store.clone();
    let fingerprint = |number| {
        let token = tokens(number).refresh_token.unwrap();
        Some(store.fingerprinter().of(&token))
    };
    let mut first = request("shop-17", 1);
    first.state.presents = fingerprint(1);
    let before = store.import(first).await.unwrap().grant().clone();
    let begun = store.begin_enrollment(enrollment(1), secrets());
    begun.await.unwrap();
    let mut again = authorized(2, 1);
    again.tokens.refresh_token = None;
    let taken = store
        .take_in(
            it(
                enrollment(1),
                again,
                kept(1, "{}"),
                Wanted::ByExchange,
                None,
            ),
            None,
        )
        .await
        .unwrap();
    let TakenIn::Current(taken) = taken else {
        panic!("{taken:?}");
    };
    let grant = taken.grant().clone();
    assert_eq!(grant.state.presents, fingerprint(1));
    assert_eq!(grant.state.chances_from, before.state.chances_from);
    let (done, _) = store.enrollment(enrollment(1).id).await.unwrap().unwrap();
    assert!(done.text.contains("no refresh token"), "{}", done.text);
    let (_, set) = store.load(&grant.id).await.unwrap().unwrap();
    let expected = TokenSet {
        refresh_token: tokens(1).refresh_token,
        ..tokens(2)
    };
    assert_eq!(set, Some(expected));

    // The answer to the refresh that began before comes now.
    let mut late = success(&before, 3);
    late.settlement.state.presents = fingerprint(3);
    late.intent = Some(intent(&store, &before, 7));
    let committed = store.commit(Arc::new(late)).await.unwrap();
    assert!(matches!(committed, Committed::Stale(_)), "{committed:?}");
    let (now, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!(now.state.presents, fingerprint(3));
    let expected = TokenSet {
        refresh_token: tokens(3).refresh_token,
        ..tokens(2)
    };
    assert_eq!(set, Some(expected), "the access token stays the person's");
}

/// What an authorization was answered stays, however it ends and however long ago, until it
/// has been read or is dropped.
#[tokio::test]
async fn an_answer_outlives_its_authorization_until_it_is_dropped() {
    let house = House::new();
    let store = house.open().store.clone();
    let (id, flights) = (enrollment(1).id, [ExchangeId([1; 16]), ExchangeId([2; 16])]);
    let begun = store.begin_enrollment(enrollment(1), secrets());
    begun.await.unwrap();
    let mut odd = kept(1, "");
    odd.answer.body = vec![0xff, 0xfe, 0, 0x80];
    let at = |stage, text: &str| Enrollment {
        stage,
        text: text.to_owned(),
        ..enrollment(1)
    };
    let keep = |from, stage, answer| store.turn_enrollment(turn(from, at(stage, ""), answer), None);
    assert!(
        keep(&[Stage::Open], Stage::Held, Some(odd.clone()))
            .await
            .unwrap()
    );
    // Given up: what is kept is not.
    assert!(keep(&[Stage::Held], Stage::Refused, None).await.unwrap());
    // Another comes, for what is over: nothing turns, and it is kept.
    let page = kept(2, "<html>");
    assert!(
        !keep(&[Stage::Open], Stage::Held, Some(page.clone()))
            .await
            .unwrap()
    );
    let years = WallTime(1_900_001 + 1000 * 86_400_000);
    store.tidy_enrollments(years).await.unwrap();
    let all = store.answers_of_enrollments().await.unwrap();
    let answers: Vec<_> = all.iter().map(|of| of.kept.clone()).collect();
    assert_eq!(answers, [odd, page]);
    assert_eq!(all[0].enrollment.stage, Stage::Refused);

    for flight in flights {
        let dropped = store.forget_answer_of_enrollment(flight, None);
        dropped.await.unwrap();
    }
    let (_, left) = store.enrollment(id).await.unwrap().unwrap();
    assert_eq!(left, Secrets::default());
    store.tidy_enrollments(years).await.unwrap();
    assert_eq!(store.enrollments().await.unwrap(), []);
}

/// A device's polls go on beside an answer that is kept.
#[tokio::test]
async fn a_device_code_stays_beside_what_is_kept() {
    let house = House::new();
    let store = house.open().store.clone();
    let device = Enrollment {
        via: Via::Device,
        ..enrollment(1)
    };
    let polls = Secrets {
        code: Some(Secret::new("device-code")),
        interval_ms: Some(5000),
        ..Secrets::default()
    };
    let begun = store.begin_enrollment(device.clone(), polls.clone());
    begun.await.unwrap();
    for flight in [1, 2] {
        let answer = Some(kept(flight, "<html>the same page</html>"));
        let kept = store.turn_enrollment(turn(&[Stage::Open], device.clone(), answer), None);
        assert!(kept.await.unwrap());
    }
    let (_, found) = store.enrollment(device.id).await.unwrap().unwrap();
    let expected = Secrets {
        answers: vec![kept(2, "<html>the same page</html>")],
        ..polls
    };
    assert_eq!(found, expected, "it is there once");
}

#[tokio::test]
async fn what_an_authorization_keeps_goes_with_its_grant() {
    let house = House::new();
    let store = house.open().store.clone();
    let grant = created(&store, "shop-17", 1).await;
    for (number, of) in [(1, "shop-17"), (2, "shop-18")] {
        let held = Enrollment {
            grant: Some(of.to_owned()),
            ..enrollment(number)
        };
        let begun = store.begin_enrollment(held.clone(), secrets());
        begun.await.unwrap();
        let held = Enrollment {
            stage: Stage::Held,
            ..held
        };
        let answer = Some(kept(number, "{}"));
        let turned = store.turn_enrollment(turn(&[Stage::Open], held, answer), None);
        assert!(turned.await.unwrap());
    }
    assert!(store.remove(&grant).await.unwrap());
    let left = store.answers_of_enrollments().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].enrollment.grant.as_deref(), Some("shop-18"));
}
