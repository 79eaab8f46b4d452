//! Each fault at each provider: nothing is lost, and the message says what to do.

use super::Place;
use crate::support::text;
use sandbox::faults::Fault;
use sandbox::{Kind, OldValid, Options, Rotation};
use std::time::Duration;

/// What a fault does to `refreshd refresh`: exit code, and words of the message.
fn table() -> Vec<(Fault, i32, &'static str)> {
    let unavailable = |performed| Fault::Unavailable {
        retry_after: 1,
        performed,
    };
    vec![
        (Fault::Slow { ms: 300 }, 0, ""),
        (Fault::InternalError { performed: false }, 69, "500"),
        (Fault::InternalError { performed: true }, 69, "500"),
        (unavailable(false), 69, "503"),
        (unavailable(true), 69, "503"),
        (Fault::TooMany { retry_after: 1 }, 75, "429"),
        (Fault::ResetBefore, 69, ""),
        (Fault::ResetAfter, 69, ""),
        (Fault::HtmlPage { performed: false }, 69, "html"),
        (Fault::HtmlPage { performed: true }, 69, "html"),
        (Fault::LoginRedirect { performed: false }, 69, "302"),
        (Fault::LoginRedirect { performed: true }, 69, "302"),
        (Fault::Truncated, 69, ""),
        (Fault::InvalidClient, 77, "invalid_client"),
        (Fault::InvalidGrant, 77, "invalid_grant"),
    ]
}

/// A class of rotation in which a lost answer can be had again.
fn forgiving(kind: Kind) -> Options {
    let options = Options::of(kind);
    let rotation = Rotation {
        old_valid: OldValid::UntilUsed,
        old_valid_max: Some(Duration::from_secs(3600)),
        ..options.rotation
    };
    Options {
        rotation,
        ..options
    }
}

async fn survives_all(options: Options) {
    let kind = options.kind;
    let place = Place::new(options, "").await;
    let _daemon = place.house.daemon();
    if kind != Kind::Blynk {
        place.authorize();
    }
    place.works_at(1);
    for (fault, code, words) in table() {
        let before = place.status()["generation"].as_u64().unwrap();
        place.server.queue_fault(None, fault.clone());
        let ran = place.force();
        let said = text(&ran.stderr);
        let at = format!("{kind:?}, {fault:?}: {said}");
        assert_eq!(ran.status.code(), Some(code), "{at}");
        assert!(said.to_lowercase().contains(words), "{at}");
        // What serves meanwhile, and what happens next or is to be done.
        let serves = said.contains("the access token it has serves until");
        let next = said.contains("next try at") || said.contains("authorize again");
        let next = next || said.contains("then run `refreshd reload`");
        assert!(code == 0 || (serves && next), "{at}");
        assert_eq!(
            place.resource(),
            200,
            "the living token is still served: {at}"
        );
        if code != 0 {
            let again = place.force();
            assert!(again.status.success(), "{at}, then {}", text(&again.stderr));
        }
        place.works_at(before + 1);
        assert_eq!(place.status()["state"], "fresh", "{at}");
    }
    let seen = place.server.stats();
    assert_eq!(seen.grants.values().map(|g| g.reuses).sum::<u64>(), 0);
    for (fault, ..) in table() {
        assert!(
            seen.faults.contains_key(fault.kind()),
            "{fault:?} did not fire"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retently() {
    survives_all(forgiving(Kind::Retently)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reteno() {
    survives_all(forgiving(Kind::Reteno)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retm() {
    survives_all(forgiving(Kind::Retm)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retm_staging() {
    survives_all(forgiving(Kind::RetmStaging)).await;
}

/// As documented: its refresh token works once, and it survives all the same.
#[tokio::test(flavor = "multi_thread")]
async fn blynk() {
    survives_all(Options::of(Kind::Blynk)).await;
}

/// What no daemon survives is told, with what to do.
async fn tells_the_end(kind: Kind, fault: Fault) {
    let place = Place::new(Options::of(kind), "").await;
    let _daemon = place.house.daemon();
    place.authorize();
    place.works_at(1);
    place.server.queue_fault(None, fault.clone());
    let ran = place.force();
    assert_eq!(
        ran.status.code(),
        Some(77),
        "{kind:?}: {}",
        text(&ran.stderr)
    );
    let said = text(&ran.stderr);
    assert!(said.contains("authorize"), "{kind:?}, {fault:?}: {said}");
    let status = place.status();
    assert_eq!(status["state"], "refused");
    let needs = status["needs"].as_str().unwrap();
    assert!(needs.contains("refused its refresh token"), "{needs}");
    assert!(
        status["why"].as_str().unwrap().contains("authorize again"),
        "{status}"
    );
    place.authorize();
    place.works_at(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_refresh_token_and_a_revoked_family_are_told() {
    for kind in [Kind::Retently, Kind::Reteno, Kind::Retm, Kind::RetmStaging] {
        for fault in [Fault::DeadRefreshToken, Fault::FamilyRevoked] {
            tells_the_end(kind, fault).await;
        }
    }
}

/// The daemon gives up waiting after 30 s and goes on listening.
#[test]
fn an_answer_after_45_seconds_is_adopted_everywhere() {
    let kinds = [
        Kind::Retently,
        Kind::Reteno,
        Kind::Retm,
        Kind::RetmStaging,
        Kind::Blynk,
    ];
    // A runtime for each: a test that waits for a command blocks its own.
    let late = kinds.map(|kind| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            let runtime = runtime.unwrap();
            runtime.block_on(late(kind));
        })
    });
    for late in late {
        late.join().unwrap();
    }
}

async fn late(kind: Kind) {
    let place = Place::new(Options::of(kind), "").await;
    let daemon = place.house.daemon();
    if kind != Kind::Blynk {
        place.authorize();
    }
    place.works_at(1);
    let late = Fault::Late { ms: 45_000 };
    place.server.queue_fault(None, late);
    let ran = place.force();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(69), "{kind:?}: {said}");
    assert!(said.contains("still listening"), "{kind:?}: {said}");
    place.works_at(2);
    let reuses = place
        .server
        .stats()
        .grants
        .values()
        .map(|g| g.reuses)
        .sum::<u64>();
    assert_eq!(reuses, 0);
    assert_eq!(daemon.stop(), Some(0));
}
