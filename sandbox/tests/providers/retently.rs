//! Retently: forms, the client in the body, `redirect_uri` with every request.

use crate::ask::{Place, Who};
use crate::scene::{Scene, members};
use sandbox::admin::NewGrant;
use sandbox::{Kind, Verdict};

#[tokio::test]
async fn a_code_becomes_tokens_and_they_refresh() {
    let scene = Scene::of(Kind::Retently).await;
    let origin = scene.code();
    let first = scene.accepted(&scene.exchange(&origin)).await;
    assert_eq!(
        members(&first),
        ["access_token", "expires_in", "refresh_token"]
    );
    assert_eq!(first["expires_in"], 21600);
    let refresh = scene.refresh(&origin, &first);
    let second = scene.accepted(&refresh).await;
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let plain = Place::Typed("application/x-www-form-urlencoded");
    let third = scene
        .accepted(&scene.refresh(&origin, &second).at(plain))
        .await;

    scene.not_granted(&refresh, Verdict::Reused).await;
    assert_eq!(scene.verify(&third).await, 401);
    let dead = scene.refresh(&origin, &third);
    scene.not_granted(&dead, Verdict::Dead).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_and_cost_nothing() {
    let scene = Scene::of(Kind::Retently).await;
    let origin = scene.code();
    let exchange = scene.exchange(&origin);
    let begun = scene.server.begin_grant("other", &NewGrant::default());
    let refresh = scene.refresh(&begun.origin, &begun.answer);
    for right in [&exchange, &refresh] {
        scene.malformed(&right.clone().at(Place::Json)).await;
        scene.malformed(&right.clone().at(Place::Query)).await;
        scene
            .malformed(&right.clone().at(Place::Typed("text/plain")))
            .await;
        scene
            .malformed(&right.clone().without("redirect_uri"))
            .await;
        scene.malformed(&right.clone().without("grant_type")).await;
        let other = right.clone().with("redirect_uri", "https://evil.example/");
        scene.not_granted(&other, Verdict::Mismatch).await;
        for who in [Who::Basic, Who::Url, Who::Nobody] {
            let ask = right.clone().by(who);
            scene
                .refused(&ask, 400, "invalid_client", Verdict::Unauthorized)
                .await;
        }
        let ask = right.clone().wrong_secret();
        scene
            .refused(&ask, 400, "invalid_client", Verdict::Unauthorized)
            .await;
        scene
            .not_found(&right.clone().to(scene.server.url("/token")))
            .await;
    }
    scene.malformed(&exchange.clone().without("code")).await;
    scene
        .malformed(&refresh.clone().without("refresh_token"))
        .await;
    let ask = refresh.clone().with("grant_type", "client_credentials");
    let error = "unsupported_grant_type";
    scene.refused(&ask, 400, error, Verdict::Malformed).await;

    scene.accepted(&exchange).await;
    scene.accepted(&refresh).await;
}
