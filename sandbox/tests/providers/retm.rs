//! RETM: JSON, a capital A, and a host for each business.

use crate::ask::{Place, Who};
use crate::scene::{REDIRECT_URI, Scene, members};
use sandbox::admin::NewGrant;
use sandbox::{Kind, Verdict};

#[tokio::test]
async fn a_code_becomes_tokens_and_they_refresh() {
    for kind in [Kind::Retm, Kind::RetmStaging] {
        let scene = Scene::of(kind).await;
        let origin = scene.code();
        let first = scene.accepted(&scene.exchange(&origin)).await;
        let expected = ["access_token", "expires_in", "refresh_token", "token_type"];
        assert_eq!(members(&first), expected);
        assert_eq!(
            (&first["expires_in"], &first["token_type"]),
            (&3600.into(), &"Bearer".into())
        );
        let refresh = scene.refresh(&origin, &first);
        let second = scene.accepted(&refresh).await;
        scene.not_granted(&refresh, Verdict::Reused).await;
        assert_eq!(scene.verify(&second).await, 401);
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_and_cost_nothing() {
    for kind in [Kind::Retm, Kind::RetmStaging] {
        let scene = Scene::of(kind).await;
        let origin = scene.code();
        let exchange = scene.exchange(&origin);
        let begun = scene.server.begin_grant("other", &NewGrant::default());
        let refresh = scene.refresh(&begun.origin, &begun.answer);
        for right in [&exchange, &refresh] {
            for place in [Place::Form, Place::Query, Place::Typed("text/json")] {
                scene.malformed(&right.clone().at(place)).await;
            }
            // Not JSON, though it says so.
            scene
                .malformed(&right.clone().at(Place::Typed("application/json")))
                .await;
            for who in [Who::Basic, Who::Url, Who::Nobody] {
                let ask = right.clone().by(who);
                scene
                    .refused(&ask, 401, "invalid_client", Verdict::Unauthorized)
                    .await;
            }
            let small = right.url().replace("oAuth", "oauth");
            scene.not_found(&right.clone().to(small)).await;
        }
        scene.malformed(&exchange.clone().without("code")).await;
        scene
            .malformed(&refresh.clone().without("refresh_token"))
            .await;
        scene.accepted(&exchange).await;
        scene.accepted(&refresh).await;
    }
}

#[tokio::test]
async fn the_host_decides_whose_grants_are_known() {
    let scene = Scene::of(Kind::Retm).await;
    assert!(
        scene
            .server
            .token_url()
            .starts_with("http://{business_id}.localhost:")
    );
    let origin = scene.code();
    let exchange = scene.exchange(&origin);
    assert!(exchange.url().starts_with("http://shop-17.localhost:"));
    let begun = scene.server.begin_grant("shop-18", &NewGrant::default());
    assert_eq!(begun.origin.business_id.as_deref(), Some("shop-18"));
    let refresh = scene.refresh(&begun.origin, &begun.answer);
    for right in [&exchange, &refresh] {
        let other = right.clone().to(scene.server.token_url_of("shop-19"));
        scene.not_granted(&other, Verdict::OtherBusiness).await;
        let path = scene.server.options().kind.token_path();
        scene
            .not_found(&right.clone().to(scene.server.url(path)))
            .await;
        scene
            .not_found(&right.clone().to(scene.server.token_url_of("a.shop-17")))
            .await;
    }
    scene.accepted(&exchange).await;
    scene.accepted(&refresh).await;
}

#[tokio::test]
async fn staging_has_one_host_for_all() {
    let scene = Scene::of(Kind::RetmStaging).await;
    let code = scene.server.make_code("a", REDIRECT_URI, Some("shop-17"));
    let exchange = scene.exchange(&scene.code()).with("code", &code);
    assert!(exchange.url().starts_with("http://127.0.0.1:"));
    scene.accepted(&exchange).await;
}
