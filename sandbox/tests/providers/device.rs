//! Devices (RFC 8628).

use crate::ask::{Ask, Who};
use crate::browser::Seen;
use crate::scene::Scene;
use sandbox::{Auto, Flow, Kind, Origin, Outcome, Verdict};
use serde_json::Value;

fn nothing() -> Origin {
    Origin {
        code: String::new(),
        redirect_uri: String::new(),
        business_id: None,
    }
}

fn beginning(scene: &Scene) -> Ask {
    let ask = Ask::right(&scene.server, Flow::ClientCredentials, &nothing(), "");
    ask.without("grant_type")
        .with("scope", "read")
        .to(scene.server.url("/device_authorization"))
}

/// A device that began, and how it asks for its token.
async fn device(scene: &Scene) -> (Value, Ask) {
    let answered = scene.send(&beginning(scene)).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let begun: Value = serde_json::from_str(&answered.body).unwrap();
    let ask = Ask::right(&scene.server, Flow::DeviceCode, &nothing(), "");
    let ask = ask.with("device_code", begun["device_code"].as_str().unwrap());
    (begun, ask)
}

async fn enter(scene: &Scene, begun: &Value, decision: &str) -> Seen {
    let user_code = begun["user_code"].as_str().unwrap();
    let fields = [
        ("user_code", user_code),
        ("account", "ann"),
        ("decision", decision),
    ];
    let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned()));
    scene
        .post(begun["verification_uri"].as_str().unwrap(), &fields)
        .await
}

#[tokio::test]
async fn a_person_lets_a_device_in() {
    let scene = Scene::of(Kind::Generic).await;
    scene.enroll(|e| e.device_interval = 0);
    let (begun, poll) = device(&scene).await;
    assert_eq!(
        (&begun["interval"], &begun["expires_in"]),
        (&0.into(), &600.into())
    );
    scene
        .refused(&poll, 400, "authorization_pending", Verdict::Pending)
        .await;
    let page = scene
        .http
        .get(begun["verification_uri_complete"].as_str().unwrap());
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains(begun["user_code"].as_str().unwrap()),
        "{page}"
    );
    assert_eq!(enter(&scene, &begun, "allow").await.status, 200);
    assert_eq!(
        enter(&scene, &begun, "deny").await.status,
        400,
        "it was decided"
    );
    let answer = scene.accepted(&poll).await;
    assert_eq!(answer["scope"], "read");
    assert_eq!(scene.last().grant.as_deref(), Some("ann"));
    assert_eq!(scene.stats("ann").device_exchanges, 1);
    scene.not_granted(&poll, Verdict::CodeUsed).await;
    scene.accepted(&scene.refresh(&nothing(), &answer)).await;
    let outcomes: Vec<_> = scene.server.visits().iter().map(|v| v.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Shown, Outcome::Allowed, Outcome::Refused]
    );
}

#[tokio::test]
async fn a_device_is_told_why_it_gets_nothing() {
    let scene = Scene::of(Kind::Generic).await;
    let (begun, poll) = device(&scene).await;
    assert_eq!(begun["interval"], 5);
    scene
        .refused(&poll, 400, "authorization_pending", Verdict::Pending)
        .await;
    scene
        .refused(&poll, 400, "slow_down", Verdict::TooSoon)
        .await;

    scene.enroll(|e| e.device_interval_unsaid = true);
    let (begun, poll) = device(&scene).await;
    assert!(begun.get("interval").is_none());
    assert_eq!(enter(&scene, &begun, "deny").await.status, 200);
    scene
        .refused(&poll, 400, "access_denied", Verdict::Denied)
        .await;

    scene.enroll(|e| (e.auto, e.device_ms) = (Auto::Allow, 0));
    let (_, poll) = device(&scene).await;
    scene
        .refused(&poll, 400, "expired_token", Verdict::Expired)
        .await;
    scene.enroll(|e| e.device_ms = 60_000);
    let (_, poll) = device(&scene).await;
    scene.accepted(&poll).await;
    scene
        .not_granted(&poll.with("device_code", "nobodys"), Verdict::Unknown)
        .await;
}

#[tokio::test]
async fn only_the_client_may_begin_one() {
    let scene = Scene::of(Kind::Generic).await;
    for ask in [
        beginning(&scene).by(Who::Nobody),
        beginning(&scene).wrong_secret(),
    ] {
        assert_eq!(scene.send(&ask).await.status, 401, "{ask:?}");
    }
    let documented = Scene::of(Kind::Reteno).await;
    let elsewhere = beginning(&scene).to(documented.server.url("/device_authorization"));
    assert_eq!(documented.send(&elsewhere).await.status, 404);
}
