//! Whose a push is: it takes over no other grant, no other business, no other client.

use super::{ONE, Place};
use refreshd_core::enroll::Stage;
use serde_json::json;
use std::time::Duration;

/// Another client of the same provider, with a grant.
fn other_client(place: &Place) -> String {
    format!(
        "[clients.d]\nprovider = \"retm\"\nclient_id = \"other\"\nclient_secret = {{ file = \"ROOT/pretend-secret\" }}\n\
         [clients.d.override]\n{}\n[grants.theirs]\nclient = \"d\"\nvars = {{ business_id = \"shop-20\" }}\n",
        place.server.override_toml()
    )
}

async fn with_others() -> Place {
    let place = Place::retm("").await;
    let enroll = format!(
        "listen = \"{0}\"\npublic_url = \"http://{0}\"\n",
        place.address
    );
    let more = format!("{ONE}{}", other_client(&place));
    place.configure(&enroll, "", &more);
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_for_what_its_state_says() {
    let place = with_others().await;
    let _daemon = place.daemon();
    let (one, data) = place.install(Some("one")).await;
    for (business, path, why) in [
        ("shop-18", "c", "another business than the grant's"),
        ("shop-17", "d", "another client's path"),
    ] {
        let body = json!({"code": "planted", "business_id": business, "data": data});
        let path = format!("/push/{path}");
        let (status, said) = place
            .post(&path, "application/json", body.to_string().into())
            .await;
        assert_eq!(status, 403, "{why}: {said}");
    }
    assert_eq!(place.report(&one).await.stage, Stage::Open);
    assert_eq!(place.asked(), 0);
    // Nothing was spent by that.
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
    place.done(&one, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_business_takes_over_no_grant_that_is_there() {
    let place = with_others().await;
    let _daemon = place.daemon();
    let (id, data) = place.install(None).await;
    for (business, why) in [
        ("theirs", "the grant of that name is another client's"),
        ("one", "the grant of that name is another business's"),
        ("shop-17", "the business has a grant of another name"),
    ] {
        let pushed = place.push(business, &data, None).await;
        assert_eq!(pushed.status, Some(403), "{why}: {pushed:?}");
    }
    assert_eq!(
        (place.report(&id).await.stage, place.asked()),
        (Stage::Open, 0)
    );
    assert_eq!(place.push("shop-99", &data, None).await.status, Some(200));
    place.done(&id, "shop-99").await;

    // The same business may come again, by a new link.
    let (id, data) = place.install(None).await;
    assert_eq!(place.push("shop-99", &data, None).await.status, Some(200));
    assert_eq!(place.done(&id, "shop-99").await.generation, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_is_one_label_and_no_host_of_the_provider_s() {
    let place = Place::retm("").await;
    let _daemon = place.daemon();
    let (id, data) = place.install(None).await;
    for business in [
        "",
        "www",
        "api",
        "stg",
        "localhost",
        "auth",
        "xn--80ak6aa92e",
        "evil.example",
        "a/b",
        "a@b",
        "a:80",
        "a#b",
        "a?b",
        "127.0.0.1",
        "[::1]",
        "shop 1",
        "shop\r\nHost: x",
        "Ä",
        "shop-1.",
        "-",
        "169.254.169.254",
        "\u{202e}shop",
    ] {
        let pushed = place.push(business, &data, Some("planted")).await;
        assert_eq!(pushed.status, Some(400), "{business:?}: {pushed:?}");
    }
    let long = "a".repeat(64);
    assert_eq!(place.push(&long, &data, None).await.status, Some(400));
    assert_eq!(
        (place.report(&id).await.stage, place.asked()),
        (Stage::Open, 0)
    );
    assert_eq!(place.push("shop-1", &data, None).await.status, Some(200));
    place.done(&id, "shop-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_too_old_lets_nobody_in() {
    let place = Place::retm("").await;
    let enroll = format!("listen = \"{}\"\nlink_valid = \"1s\"\n", place.address);
    place.configure(&enroll, "", ONE);
    let _daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let late = place.push("shop-17", &data, None).await;
    assert_eq!(late.status, Some(403), "{late:?}");
    assert!(late.body.contains("too old"), "{late:?}");
    assert_eq!(place.asked(), 0);
    assert_ne!(place.report(&id).await.stage, Stage::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_one_environment_is_nothing_in_another() {
    let place = Place::retm(ONE).await;
    let daemon = place.daemon();
    let (_, data) = place.install(Some("one")).await;
    assert_eq!(daemon.stop(), Some(0));
    let production = std::fs::read_to_string(place.house.config()).unwrap();
    let staging = production
        .replace("provider = \"retm\"", "provider = \"retm-staging\"")
        .replace("vars = { business_id = \"shop-17\" }", "")
        .replace("{business_id}.localhost", "shop-17.localhost");
    std::fs::write(place.house.config(), staging).unwrap();
    let daemon = place.daemon();
    let pushed = place.push("shop-17", &data, None).await;
    assert_eq!(pushed.status, Some(403), "{pushed:?}");
    assert_eq!(place.asked(), 0);
    // There, the business is known from the push alone.
    let (id, data) = place.install(Some("one")).await;
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
    place.done(&id, "one").await;
    let (_, data) = place.install(Some("one")).await;
    let other = place.push("shop-18", &data, None).await;
    assert_eq!(other.status, Some(403), "{other:?}");
    assert_eq!(daemon.stop(), Some(0));
}
