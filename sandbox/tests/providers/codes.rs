//! Authorization codes: good once, for a while.

use crate::scene::{REDIRECT_URI, Scene};
use sandbox::admin::NewGrant;
use sandbox::{Flow, Kind, Options, Reuse, Verdict};
use serde_json::Value;
use std::time::Duration;

fn kinds_with_codes() -> impl Iterator<Item = Kind> {
    let has = |kind: &Kind| kind.flows().contains(&Flow::AuthorizationCode);
    Kind::ALL.into_iter().filter(has)
}

#[tokio::test]
async fn a_code_is_good_once() {
    for kind in kinds_with_codes() {
        let scene = Scene::of(kind).await;
        let exchange = scene.exchange(&scene.code());
        scene
            .not_granted(&exchange.clone().with("code", "nobodys"), Verdict::Unknown)
            .await;
        let answer = scene.accepted(&exchange).await;
        let granted = scene.last();
        assert_eq!(granted.flow, Some(Flow::AuthorizationCode));
        assert_eq!(granted.grant.as_deref(), Some("shop-17"));
        scene.not_granted(&exchange, Verdict::CodeUsed).await;
        assert_eq!(scene.verify(&answer).await, 200, "{kind:?}");
        assert_eq!(scene.stats("shop-17").code_exchanges, 1);
    }
}

#[tokio::test]
async fn a_late_code_is_void() {
    for kind in kinds_with_codes() {
        let scene = Scene::with(Options {
            code_lifetime: Duration::ZERO,
            ..Options::of(kind)
        })
        .await;
        let exchange = scene.exchange(&scene.code());
        scene.not_granted(&exchange, Verdict::Expired).await;
    }
}

#[tokio::test]
async fn a_second_exchange_may_revoke_the_first() {
    let scene = Scene::with(Options {
        code_reuse: Reuse::Revokes,
        ..Options::of(Kind::Retently)
    })
    .await;
    let exchange = scene.exchange(&scene.code());
    let answer = scene.accepted(&exchange).await;
    scene.not_granted(&exchange, Verdict::CodeUsed).await;
    assert_eq!(scene.verify(&answer).await, 401);
}

#[tokio::test]
async fn the_code_of_a_made_grant_is_known_and_used() {
    let scene = Scene::of(Kind::Reteno).await;
    let begun = scene.server.begin_grant("a", &NewGrant::default());
    assert_eq!(scene.server.origin("a"), Some(begun.origin.clone()));
    let exchange = scene.exchange(&begun.origin);
    scene.not_granted(&exchange, Verdict::CodeUsed).await;
}

#[tokio::test]
async fn codes_can_be_had_over_http() {
    let scene = Scene::of(Kind::Retm).await;
    let body =
        format!(r#"{{"grant":"a","redirect_uri":"{REDIRECT_URI}","business_id":"shop-17"}}"#);
    let request = scene.http.post(scene.server.url("/admin/codes"));
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    let made = response.text().await.unwrap();
    let origin = serde_json::from_str(&made).unwrap();
    scene.accepted(&scene.exchange(&origin)).await;

    let request = scene.http.get(scene.server.url("/admin/grants/a"));
    let known = request.send().await.unwrap().text().await.unwrap();
    let [made, known]: [Value; 2] = [made, known].map(|text| serde_json::from_str(&text).unwrap());
    assert_eq!(made, known);
    let request = scene.http.get(scene.server.url("/admin/grants/b"));
    assert_eq!(request.send().await.unwrap().status(), 404);
}
