//! The Organization API: client credentials, and a refresh token that works once.

use crate::ask::{Ask, Place, Who};
use crate::scene::{Scene, members};
use sandbox::{Brings, Flow, Kind, Options, Origin, Verdict};
use serde_json::Value;
use std::time::Duration;

fn credentials(scene: &Scene) -> Ask {
    Ask::right(&scene.server, Flow::ClientCredentials, &nothing(), "")
}

fn refresh(scene: &Scene, answer: &Value) -> Ask {
    scene.refresh(&nothing(), answer)
}

/// What such a grant began with.
fn nothing() -> Origin {
    Origin {
        code: String::new(),
        redirect_uri: String::new(),
        business_id: None,
    }
}

#[tokio::test]
async fn every_documented_form_brings_tokens() {
    let scene = Scene::of(Kind::Blynk).await;
    assert!(scene.server.token_url().ends_with("/oauth2/token"));
    let mut living = Vec::new();
    for at in [Place::Form, Place::Query] {
        for who in [Who::Basic, Who::Url] {
            let answer = scene.accepted(&credentials(&scene).at(at).by(who)).await;
            let expected = ["access_token", "expires_in", "refresh_token", "token_type"];
            assert_eq!(members(&answer), expected);
            assert_eq!(
                (&answer["token_type"], &answer["expires_in"]),
                (&"bearer".into(), &86400.into())
            );
            let next = scene
                .accepted(&refresh(&scene, &answer).at(at).by(who))
                .await;
            assert_ne!(answer["refresh_token"], next["refresh_token"]);
            living.push(next);
        }
    }
    for answer in &living {
        assert_eq!(
            scene.verify(answer).await,
            200,
            "many token sets live side by side"
        );
    }
    let stats = scene.stats("pretend");
    assert_eq!((stats.client_credentials, stats.token_sets), (4, 4));
    assert_eq!((stats.issued, stats.rotations), (8, 4));
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let scene = Scene::of(Kind::Blynk).await;
    let answer = scene.accepted(&credentials(&scene)).await;
    for right in [credentials(&scene), refresh(&scene, &answer)] {
        scene.malformed(&right.clone().at(Place::Json)).await;
        scene
            .malformed(&right.clone().at(Place::Form).without("grant_type"))
            .await;
        let bent = [
            right.clone().at(Place::Form).by(Who::Params),
            right.clone().by(Who::Nobody),
            right.clone().wrong_secret(),
        ];
        for ask in bent {
            scene
                .refused(&ask, 400, "invalid_client", Verdict::Unauthorized)
                .await;
        }
        scene
            .not_found(&right.to(scene.server.url("/oauth/token")))
            .await;
    }
    let code = credentials(&scene).with("grant_type", "authorization_code");
    let error = "unsupported_grant_type";
    scene.refused(&code, 400, error, Verdict::Malformed).await;
    scene
        .malformed(&refresh(&scene, &answer).without("refresh_token"))
        .await;
    assert_eq!(scene.stats("pretend").client_credentials, 1);
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    let scene = Scene::of(Kind::Blynk).await;
    let first = scene.accepted(&credentials(&scene)).await;
    let other = scene.accepted(&credentials(&scene)).await;
    let second = scene.accepted(&refresh(&scene, &first)).await;
    scene
        .not_granted(&refresh(&scene, &first), Verdict::Reused)
        .await;
    let last = scene.last();
    assert_eq!(
        (last.token_set, last.refresh, last.newest),
        (Some(0), Some(0), Some(1))
    );
    assert_eq!(scene.verify(&second).await, 401);
    assert_eq!(
        scene.verify(&other).await,
        200,
        "another token set is not touched"
    );
    scene.accepted(&credentials(&scene)).await;
}

#[tokio::test]
async fn the_refresh_token_dies_with_its_access_token() {
    let scene = Scene::with(Options {
        access_lifetime: Duration::from_millis(50),
        ..Options::of(Kind::Blynk)
    })
    .await;
    let answer = scene.send(&credentials(&scene)).await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    while scene.verify(&answer).await == 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene
        .not_granted(&refresh(&scene, &answer), Verdict::Expired)
        .await;
}

#[tokio::test]
async fn the_refresh_token_may_be_null() {
    let scene = Scene::with(Options {
        brings_refresh_token: Brings::Null,
        ..Options::of(Kind::Blynk)
    })
    .await;
    let answer = scene.accepted(&credentials(&scene)).await;
    assert_eq!(answer.get("refresh_token"), Some(&Value::Null));
}
