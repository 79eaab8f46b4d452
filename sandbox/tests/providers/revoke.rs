//! Revocation (RFC 7009).

use crate::ask::{Ask, Place, Who};
use crate::scene::Scene;
use sandbox::admin::NewGrant;
use sandbox::{Begun, Flow, Kind, Verdict};
use serde_json::Value;

fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap().to_owned()
}

fn revocation(scene: &Scene, begun: &Begun, token: &str) -> Ask {
    let ask = Ask::right(&scene.server, Flow::RefreshToken, &begun.origin, "");
    ask.without("grant_type")
        .without("refresh_token")
        .with("token", token)
        .to(scene.server.url("/revoke"))
}

#[tokio::test]
async fn a_refresh_token_goes_with_its_family() {
    let scene = Scene::of(Kind::Generic).await;
    let begun = scene.server.begin_grant("ann", &NewGrant::default());
    let exchange = scene.exchange(&scene.code());
    let other = scene.accepted(&exchange).await;
    let next = scene
        .accepted(&scene.refresh(&begun.origin, &begun.answer))
        .await;
    let revoke = revocation(&scene, &begun, &text(&next, "refresh_token"));
    let hinted = revoke.with("token_type_hint", "access_token");
    // A hint may be wrong, and twice is as good as once.
    for _ in 0..2 {
        assert_eq!(scene.send(&hinted).await.status, 200);
    }
    assert_eq!(scene.verify(&next).await, 401);
    let refresh = scene.refresh(&begun.origin, &next);
    scene.not_granted(&refresh, Verdict::Dead).await;
    assert_eq!(scene.verify(&other).await, 200);
}

#[tokio::test]
async fn an_access_token_goes_alone_where_it_can() {
    let scene = Scene::of(Kind::Generic).await;
    let begun = scene.server.begin_grant("ann", &NewGrant::default());
    let revoke = revocation(&scene, &begun, &text(&begun.answer, "access_token"));
    scene.enroll(|e| e.revokes_access = false);
    let answered = scene.send(&revoke).await;
    assert_eq!(answered.status, 400);
    assert!(
        answered.body.contains("unsupported_token_type"),
        "{answered:?}"
    );
    assert_eq!(scene.verify(&begun.answer).await, 200);
    scene.enroll(|e| e.revokes_access = true);
    assert_eq!(scene.send(&revoke).await.status, 200);
    assert_eq!(scene.verify(&begun.answer).await, 401);
    scene
        .accepted(&scene.refresh(&begun.origin, &begun.answer))
        .await;
}

#[tokio::test]
async fn a_wrong_revocation_revokes_nothing() {
    let scene = Scene::of(Kind::Generic).await;
    let begun = scene.server.begin_grant("ann", &NewGrant::default());
    let right = revocation(&scene, &begun, &text(&begun.answer, "refresh_token"));
    for (ask, status) in [
        (right.clone().by(Who::Nobody), 401),
        (right.clone().wrong_secret(), 401),
        (right.clone().without("token"), 400),
        (right.clone().at(Place::Json), 400),
        // Nobody's token is good no more already.
        (right.clone().with("token", "nobodys"), 200),
    ] {
        assert_eq!(scene.send(&ask).await.status, status, "{ask:?}");
    }
    assert_eq!(scene.verify(&begun.answer).await, 200);
    let documented = Scene::of(Kind::Retently).await;
    let elsewhere = right.to(documented.server.url("/revoke"));
    assert_eq!(documented.send(&elsewhere).await.status, 404);
}
