//! What becomes of a code, step by step; every order of events is in the simulation.

use super::*;
use crate::enroll::EnrollmentId;
use crate::exchange::{Action, Event};
use crate::flight::ExchangeId;
use crate::grant::{GrantId, GrantState, Policy, Presents};
use crate::provider::description::DescriptionHash;
use crate::secret::{Fingerprint, Fingerprinter, Secret};
use crate::time::BootTime;

const NOW: WallTime = WallTime(1_800_000_000_000);
const GOOD: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#;

fn at(wall: WallTime) -> Stamp {
    Stamp {
        wall,
        boot: BootTime(wall.0 - NOW.0),
        boot_id: "boot".to_owned(),
    }
}

fn authorization(via: Via, stage: Stage) -> (Enrollment, Secrets) {
    let enrollment = Enrollment {
        id: EnrollmentId([7; 16]),
        grant: Some("shop".to_owned()),
        client: "c".to_owned(),
        provider: "p".to_owned(),
        via,
        redirect_uri: None,
        vars: BTreeMap::new(),
        begun_at: NOW,
        expires_at: NOW + Duration::from_secs(900),
        stage,
        text: String::new(),
        configured: true,
        sent: None,
        account: None,
        generation: None,
        asked: None,
        code: Default::default(),
    };
    let secrets = Secrets {
        code: Some(Secret::new("code-1")),
        ..Secrets::default()
    };
    (enrollment, secrets)
}

fn terms(more: &str) -> Terms {
    let text = format!(r#"{{"name": "p", "token": {{"url": "https://as.example/token"}}{more}}}"#);
    let description: Description = serde_json::from_str(&text).unwrap();
    Terms {
        name: "shop".to_owned(),
        client: "c".to_owned(),
        client_id: "id".to_owned(),
        scopes: Vec::new(),
        vars: BTreeMap::new(),
        binding: binding(),
        rules: Rules {
            policy: Policy::new(&description, description.schedule.clone()),
            description: description.into(),
            fingerprinter: Fingerprinter::new([3; 32]),
        },
        configured: true,
    }
}

fn binding() -> Binding {
    Binding {
        client_id: "id".to_owned(),
        origin: "https://as.example:443".to_owned(),
    }
}

fn intent() -> Intent {
    Intent {
        flight: ExchangeId([9; 16]),
        grant: GrantId(String::new()),
        name: "shop".to_owned(),
        revision: 0,
        generation: 0,
        attempt: 1,
        first_sent: NOW,
        sent: at(NOW),
        presents: Presents::Code(Fingerprint([1; 16])),
        description: DescriptionHash("hash".to_owned()),
        roll: 0,
        binding: Some(binding()),
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Answer {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.as_bytes().to_vec(),
        complete: true,
        received: NOW,
    }
}

fn sent(via: Via, more: &str) -> Exchange<OfAuthorization> {
    let mut exchange = Exchange::<OfAuthorization>::new(
        intent(),
        authorization(via, Stage::Received),
        terms(more),
        0,
    );
    let _recorded = exchange.handle(Event::Begin, &at(NOW));
    let sending = exchange.handle(Event::IntentRecorded, &at(NOW));
    let within_none = |action: &Action<_>| matches!(action, Action::Send { within: None });
    assert!(matches!(sending, Step::Do(action) if within_none(&action)));
    exchange
}

fn ended(exchange: &mut Exchange<OfAuthorization>, ending: Ending) -> Step<OfAuthorization> {
    exchange.handle(Event::Ended(ending), &at(NOW))
}

fn turn(step: Step<OfAuthorization>) -> Turn {
    match step {
        Step::Do(action) => match *action {
            Action::Commit(Commit::Turn(turn)) => *turn,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn take_in(step: Step<OfAuthorization>) -> TakeIn {
    match step {
        Step::Do(action) => match *action {
            Action::Commit(Commit::TakeIn(it)) => *it,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn verdict(step: Step<OfAuthorization>) -> Verdict {
    match step {
        Step::Done(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

fn grant() -> Box<Grant> {
    Box::new(Grant {
        id: GrantId("g".to_owned()),
        name: "shop".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision: 1,
        state: GrantState::default(),
    })
}

#[test]
fn a_token_set_is_taken_in() {
    let mut exchange = sent(Via::Redirect, "");
    let it = take_in(ended(
        &mut exchange,
        Ending::Answered(answer(200, &[], GOOD)),
    ));
    assert_eq!(
        (it.import.name.as_str(), it.wanted),
        ("shop", Wanted::ByExchange)
    );
    assert_eq!(it.import.obtained_at, Some(NOW));
    assert_eq!(it.import.state.binding, Some(binding()));
    let taken = exchange.handle(Event::Committed(Committed::Current(grant())), &at(NOW));
    assert!(matches!(
        verdict(taken),
        Verdict::TakenIn {
            unlearned: false,
            ..
        }
    ));
}

#[test]
fn what_its_grant_does_not_take_is_held_with_its_answer() {
    let mut exchange = sent(Via::Redirect, "");
    let _commit = ended(&mut exchange, Ending::Answered(answer(200, &[], GOOD)));
    let refused = Committed::Refused("another grant's".to_owned());
    let held = turn(exchange.handle(Event::Committed(refused), &at(NOW)));
    assert_eq!(held.to.stage, Stage::Held);
    assert_eq!(held.answer.unwrap().flight, intent().flight);
}

#[test]
fn a_code_that_was_not_used_waits_and_one_that_may_have_been_does_not() {
    let cases = [
        (
            Ending::NotSent {
                text: "no route".to_owned(),
            },
            Stage::Received,
        ),
        (
            Ending::Answered(answer(429, &[("retry-after", "5")], "")),
            Stage::Received,
        ),
        (
            Ending::Lost {
                text: "reset".to_owned(),
            },
            Stage::InDoubt,
        ),
        (Ending::Answered(answer(502, &[], "<html>")), Stage::InDoubt),
        (
            Ending::Answered(answer(400, &[], r#"{"error":"invalid_grant"}"#)),
            Stage::Refused,
        ),
        (Ending::Answered(answer(200, &[], "<html>")), Stage::InDoubt),
        (
            Ending::Answered(answer(200, &[], r#"{"token":{"refresh":"rt"}}"#)),
            Stage::Held,
        ),
    ];
    for (ending, stage) in cases {
        let mut exchange = sent(Via::Redirect, "");
        let turned = turn(ended(&mut exchange, ending.clone()));
        assert_eq!(turned.to.stage, stage, "{ending:?}: {}", turned.to.text);
        let done = verdict(exchange.handle(Event::Committed(Committed::Turned), &at(NOW)));
        let waits = matches!(done, Verdict::Waits { .. });
        assert_eq!(waits, stage == Stage::Received, "{ending:?}");
    }
}

/// A link is tried again by its person, with another code.
#[test]
fn a_link_is_open_again() {
    let mut exchange = sent(Via::Link, "");
    let lost = Ending::Lost {
        text: "reset".to_owned(),
    };
    assert_eq!(turn(ended(&mut exchange, lost)).to.stage, Stage::Open);
}

#[test]
fn a_late_answer_is_taken_in_after_the_doubt() {
    let mut exchange = sent(Via::Redirect, "");
    let doubt = turn(exchange.handle(Event::Overdue, &at(NOW)));
    assert_eq!(doubt.to.stage, Stage::InDoubt);
    let reading = exchange.handle(Event::Committed(Committed::Turned), &at(NOW));
    assert!(matches!(reading, Step::GoOnReading(())));
    let late = ended(&mut exchange, Ending::Answered(answer(200, &[], GOOD)));
    assert_eq!(take_in(late).import.name, "shop");
    // None comes: what was committed stands.
    let mut exchange = sent(Via::Redirect, "");
    let _doubt = exchange.handle(Event::Overdue, &at(NOW));
    let _reading = exchange.handle(Event::Committed(Committed::Turned), &at(NOW));
    let lost = Ending::Lost {
        text: "closed".to_owned(),
    };
    assert!(matches!(
        verdict(ended(&mut exchange, lost)),
        Verdict::Ended { .. }
    ));
}

#[test]
fn a_device_code_is_asked_about_again() {
    let pending =
        |error: &str| Ending::Answered(answer(400, &[], &format!(r#"{{"error":"{error}"}}"#)));
    let cases = [
        (pending("authorization_pending"), Met::Pending),
        (pending("slow_down"), Met::SlowDown),
        (
            Ending::Lost {
                text: "reset".to_owned(),
            },
            Met::Nothing(None),
        ),
        (
            Ending::NotSent {
                text: "no route".to_owned(),
            },
            Met::Nothing(None),
        ),
    ];
    for (ending, expected) in cases {
        let mut exchange = sent(Via::Device, "");
        let done = verdict(ended(&mut exchange, ending));
        assert!(
            matches!(done, Verdict::Pending { met, .. } if met == expected),
            "{done:?}"
        );
    }
    // One that is overdue is waited for, and nothing is written.
    let mut exchange = sent(Via::Device, "");
    let reading = exchange.handle(Event::Overdue, &at(NOW));
    assert!(matches!(reading, Step::GoOnReading(())));
}

#[test]
fn what_a_crash_left_is_adopted_or_in_doubt() {
    let found = |via, stage, answer, terms| {
        let authorization = authorization(via, stage);
        Exchange::<OfAuthorization>::recovered(intent(), answer, authorization, terms, &at(NOW)).1
    };
    let good = || Some(answer(200, &[], GOOD));
    let known = || Ok(terms(""));
    let adopted = found(Via::Redirect, Stage::Received, good(), known());
    assert_eq!(take_in(adopted).import.name, "shop");
    let doubt = turn(found(Via::Redirect, Stage::Received, None, known()));
    assert_eq!(doubt.to.stage, Stage::InDoubt);
    // A device code may be presented again.
    let polled = verdict(found(Via::Device, Stage::Open, None, known()));
    assert!(matches!(polled, Verdict::Pending { .. }));
    // It has been decided since.
    for (stage, brings) in [(Stage::Done, good()), (Stage::Held, good())] {
        let kept = turn(found(Via::Redirect, stage, brings, known()));
        assert!(kept.answer.is_some() && kept.from == [Stage::Open]);
    }
    for stage in [Stage::Done, Stage::Refused, Stage::Expired] {
        let left = verdict(found(Via::Redirect, stage, None, known()));
        assert!(matches!(left, Verdict::Unchanged), "{stage:?}");
    }
    // Its client is not configured any more.
    let gone = || Err("no client".to_owned());
    let held = turn(found(Via::Redirect, Stage::Received, good(), gone()));
    assert_eq!((held.to.stage, held.answer.is_some()), (Stage::Held, true));
    let page = Some(answer(400, &[], r#"{"error":"invalid_grant"}"#));
    let over = turn(found(Via::Redirect, Stage::Received, page, gone()));
    assert_eq!((over.to.stage, over.answer), (Stage::Refused, None));
}

#[test]
fn whose_it_is_may_be_asked_before_it_is_taken_in() {
    let account = r#", "account": {"url": "https://as.example/me", "member": "id"}"#;
    for (told, unlearned) in [
        (Some(answer(200, &[], r#"{"id": "u-1"}"#)), false),
        (Some(answer(500, &[], "")), true),
        (None, true),
    ] {
        let mut exchange = sent(Via::Redirect, account);
        let asks = ended(&mut exchange, Ending::Answered(answer(200, &[], GOOD)));
        let asks_account = |action: &Action<_>| matches!(action, Action::Ask(_));
        assert!(matches!(&asks, Step::Do(action) if asks_account(action)));
        let it = take_in(exchange.handle(Event::Told(told), &at(NOW)));
        assert_eq!(it.import.state.account.is_none(), unlearned);
        assert_eq!(it.who.is_none(), unlearned);
    }
}
