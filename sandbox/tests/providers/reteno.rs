//! Reteno: both readings of its document, and the original code with every refresh.

use crate::ask::{Place, Who};
use crate::scene::{Scene, members};
use sandbox::admin::NewGrant;
use sandbox::{Kind, Options, Reading, Verdict};
use std::time::Duration;

#[tokio::test]
async fn a_code_becomes_tokens_and_they_refresh() {
    let scene = Scene::of(Kind::Reteno).await;
    assert!(scene.server.token_url().ends_with("/uaa/oauth/token"));
    assert!(scene.server.verify_url().ends_with("/api/v2/version"));
    let origin = scene.code();
    let first = scene.accepted(&scene.exchange(&origin)).await;
    let expected = [
        "access_token",
        "expires_in",
        "refresh_token",
        "scope",
        "token_type",
    ];
    assert_eq!(members(&first), expected);
    assert_eq!(first["expires_in"], 172_541);
    assert_eq!(
        (&first["token_type"], &first["scope"]),
        (&"bearer".into(), &"UseRestApi".into())
    );
    let refresh = scene.refresh(&origin, &first);
    let second = scene.accepted(&refresh).await;
    scene.not_granted(&refresh, Verdict::Reused).await;
    assert_eq!(scene.verify(&second).await, 401);
}

#[tokio::test]
async fn refreshes_repeat_what_the_grant_began_with() {
    let scene = Scene::of(Kind::Reteno).await;
    let begun = scene.server.begin_grant("a", &NewGrant::default());
    let refresh = scene.refresh(&begun.origin, &begun.answer);
    for name in ["code", "redirect_uri"] {
        scene.malformed(&refresh.clone().without(name)).await;
        let other = refresh.clone().with(name, "https://evil.example/");
        scene.not_granted(&other, Verdict::Mismatch).await;
    }
    assert_eq!(scene.stats("a").refusals, 2);
    scene.accepted(&refresh).await;
}

#[tokio::test]
async fn each_reading_takes_its_own_form_only() {
    let readings = [
        (Reading::FormBasic, &[true, false][..]),
        (Reading::Query, &[false, true]),
        (Reading::Both, &[true, true]),
    ];
    for (reading, takes) in readings {
        let scene = Scene::with(Options {
            reading,
            ..Options::of(Kind::Reteno)
        })
        .await;
        let begun = scene.server.begin_grant("a", &NewGrant::default());
        let (origin, mut answer) = (begun.origin, begun.answer);
        let mixtures = [
            (Place::Form, Who::Params),
            (Place::Form, Who::Url),
            (Place::Query, Who::Basic),
            (Place::Query, Who::Nobody),
        ];
        let right = [(Place::Form, Who::Basic), (Place::Query, Who::Params)];
        for (at, who) in mixtures {
            let ask = scene.refresh(&origin, &answer).at(at).by(who);
            scene
                .refused(&ask, 401, "invalid_client", Verdict::Unauthorized)
                .await;
        }
        for ((at, who), taken) in right.into_iter().zip(takes) {
            let ask = scene.refresh(&origin, &answer).at(at).by(who);
            if *taken {
                answer = scene.accepted(&ask).await;
            } else {
                scene
                    .refused(&ask, 401, "invalid_client", Verdict::Unauthorized)
                    .await;
            }
        }
        scene
            .malformed(&scene.refresh(&origin, &answer).at(Place::Json))
            .await;
        let twice = scene.refresh(&origin, &answer).by(Who::Basic);
        let twice = twice.with("client_secret", "pretend-secret");
        scene.malformed(&twice).await;
    }
}

#[tokio::test]
async fn a_refresh_token_dies_silently() {
    let scene = Scene::with(Options {
        refresh_lifetime: Some(Duration::from_millis(50)),
        ..Options::of(Kind::Reteno)
    })
    .await;
    let begun = scene.server.begin_grant("a", &NewGrant::default());
    let began_ms = scene.server.stats().now_ms;
    assert!(begun.answer.get("refresh_expires_in").is_none());
    while scene.server.stats().now_ms < began_ms + 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(scene.verify(&begun.answer).await, 200);
    let late = scene.refresh(&begun.origin, &begun.answer);
    scene.not_granted(&late, Verdict::Expired).await;
}
