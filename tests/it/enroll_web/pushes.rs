//! An installation, from the link to the token.

use super::{ONE, Place};
use refreshd_core::enroll::{Stage, Via};
use sandbox::NewPush;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_install_link_leads_to_a_token() {
    let place = Place::retm(ONE).await;
    let daemon = place.daemon();
    let (id, link) = place.begin(Some("one"), Via::Redirect).await.unwrap();
    let page = place.http.get(link).send().await.unwrap();
    assert_eq!(page.status(), 200, "{:?}", place.server.pushes());
    let report = place.done(&id, "one").await;
    assert_eq!(report.generation, Some(1));
    let pushes = place.server.pushes();
    assert!(pushes[0].accepted, "{pushes:?}");

    // The next one renews the same grant, and its generation rises.
    let (id, link) = place.begin(Some("one"), Via::Redirect).await.unwrap();
    place.http.get(link).send().await.unwrap();
    assert_eq!(place.done(&id, "one").await.generation, Some(2));
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_push_again_is_fine_and_another_code_is_nothing() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    let twice = NewPush {
        business_id: Some("shop-17".to_owned()),
        data: Some(data.clone()),
        times: Some(3),
        ..NewPush::default()
    };
    for push in place.server.push(&twice).await.unwrap() {
        assert_eq!(push.status, Some(200), "{push:?}");
    }
    place.done(&id, "one").await;
    assert_eq!(place.asked(), 1, "{:?}", place.server.presentations());

    let other = place.push("shop-17", &data, None).await;
    assert_eq!(other.status, Some(409), "{other:?}");
    let report = place.report(&id).await;
    assert_eq!((report.stage, report.generation), (Stage::Done, Some(1)));
    assert_eq!(place.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_the_client_makes_a_grant_of_a_new_business() {
    let push = "[clients.c.push]\ngrant = \"retm-{business_id}\"\npath = \"success\"\n";
    let place = Place::retm(push).await;
    let mut enrollment = place.server.enrollment();
    enrollment.success_url = Some(place.url("/push/success"));
    place.server.set_enrollment(enrollment);
    let daemon = place.daemon();
    let (id, data) = place.install(None).await;
    let push = NewPush {
        business_id: Some("shop-9".to_owned()),
        data: Some(data.clone()),
        times: Some(2),
        ..NewPush::default()
    };
    let pushed = place.server.push(&push).await.unwrap();
    assert!(pushed.iter().all(|p| p.status == Some(200)), "{pushed:?}");
    place.done(&id, "retm-shop-9").await;

    // Its state is spent: neither another code nor another business gets in by it.
    assert_eq!(place.push("shop-9", &data, None).await.status, Some(409));
    assert_eq!(place.push("shop-10", &data, None).await.status, Some(403));
    assert_eq!(place.asked(), 1);
    // It lasts, without a line of configuration.
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = place.daemon();
    let status = place.house.status("retm-shop-9");
    assert_eq!(status["generation"], json!(1), "{status}");
    place.works("retm-shop-9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_set_lives_until_the_exchange_has_succeeded() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    place.push("shop-17", &data, None).await;
    place.done(&id, "one").await;
    let before = std::fs::read(place.house.path("tokens/one")).unwrap();

    let (id, data) = place.install(Some("one")).await;
    let pushed = place
        .push("shop-17", &data, Some("no-code-of-theirs"))
        .await;
    assert_eq!(pushed.status, Some(200));
    assert_eq!(place.over(&id).await.stage, Stage::Refused);
    assert_eq!(
        std::fs::read(place.house.path("tokens/one")).unwrap(),
        before
    );
    place.works("one").await;
    assert_eq!(place.house.status("one")["generation"], json!(1));
}
