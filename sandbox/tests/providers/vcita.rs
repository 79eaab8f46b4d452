//! inTandem: twenty years, and nothing to refresh.

use crate::ask::{Place, Who};
use crate::scene::{Scene, members};
use sandbox::{Kind, Options, Verdict};
use serde_json::json;
use std::time::SystemTime;

#[tokio::test]
async fn a_code_becomes_a_token_for_twenty_years() {
    let scene = Scene::of(Kind::Vcita).await;
    assert!(scene.server.verify_url().ends_with("/oauth/userinfo"));
    let answer = scene.accepted(&scene.exchange(&scene.code())).await;
    let expected = ["access_token", "created_at", "expires_in", "token_type"];
    assert_eq!(members(&answer), expected);
    assert_eq!(
        (&answer["expires_in"], &answer["token_type"]),
        (&json!(631_152_000), &json!("bearer"))
    );
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let created_at = answer["created_at"].as_u64().unwrap();
    assert!(now - created_at <= 5, "{created_at} and now {now}");

    assert!(scene.server.withdraw_grant("shop-17"));
    assert_eq!(scene.verify(&answer).await, 401);
}

#[tokio::test]
async fn wrong_requests_are_refused_and_cost_nothing() {
    let scene = Scene::of(Kind::Vcita).await;
    let origin = scene.code();
    let exchange = scene.exchange(&origin);
    scene.malformed(&exchange.clone().at(Place::Form)).await;
    scene.malformed(&exchange.clone().at(Place::Query)).await;
    scene.malformed(&exchange.clone().without("code")).await;
    scene
        .malformed(&exchange.clone().without("redirect_uri"))
        .await;
    let other = exchange
        .clone()
        .with("redirect_uri", "https://evil.example/");
    scene.not_granted(&other, Verdict::Mismatch).await;
    for who in [Who::Basic, Who::Url, Who::Nobody] {
        let ask = exchange.clone().by(who);
        scene
            .refused(&ask, 401, "invalid_client", Verdict::Unauthorized)
            .await;
    }
    let refresh = exchange.clone().with("grant_type", "refresh_token");
    let error = "unsupported_grant_type";
    scene
        .refused(&refresh, 400, error, Verdict::Malformed)
        .await;
    scene
        .not_found(&exchange.clone().to(scene.server.url("/api/oauth/token")))
        .await;
    scene.accepted(&exchange).await;
}

#[tokio::test]
async fn a_new_code_leaves_the_old_token_alive() {
    let scene = Scene::with(Options::of(Kind::Vcita).scaled(5_000_000.0)).await;
    let first = scene.accepted(&scene.exchange(&scene.code())).await;
    assert_eq!(first["expires_in"], 126);
    let second = scene.accepted(&scene.exchange(&scene.code())).await;
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(scene.verify(&first).await, 200);
    assert_eq!(scene.stats("shop-17").code_exchanges, 2);
}
