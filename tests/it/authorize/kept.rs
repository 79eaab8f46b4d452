//! What an authorization was answered and nobody can read, or refused with a token in it,
//! is kept: it is listed, shown, read again, taken by hand and dropped as what refreshes
//! bring.

use super::Scene;
use crate::support::{text, wait_for};
use crate::tiny::{Tiny, response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::{Auto, Kind};
use serde_json::{Value, json};
use std::io::Write as _;

const JSON: &str = "content-type: application/json";

fn kept(scene: &Scene) -> Vec<Value> {
    let all = scene.house.json(&["answers", "one", "--json"]);
    all["answers"].as_array().unwrap().clone()
}

/// Approves, and brings the code back; how the command ended.
async fn presented(scene: &Scene) -> super::Ended {
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let _page = scene.http.get(back).send().await.unwrap();
    begun.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_answer_to_a_code_is_taken_by_hand() {
    let scene = Scene::generic().await;
    let plain = b"{\"data\":{\"token\":\"at-odd-2\",\"renew\":\"rt-odd-2\",\"who\":\"Zo\xeb\"}}";
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(plain).unwrap();
    let packed = packed.finish().unwrap();
    let headers = format!("{JSON}\r\ncontent-encoding: gzip");
    let tiny = Tiny::saying(vec![response("200 OK", &headers, &packed)]).await;
    scene.token_endpoint(&tiny.url, "");
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    let ended = presented(&scene).await;
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("refreshd answers show"), "{ended:?}");
    assert!(!ended.err.contains("rt-odd-2"), "{ended:?}");
    // Whoever was not there when it came hears of it.
    let waits = |running: bool| {
        let checked = scene.house.run(&["status", "--check"]);
        let code = if running { 77 } else { 69 };
        assert_eq!(checked.status.code(), Some(code), "{checked:?}");
        let report = scene.house.status("one");
        assert_eq!(report["act"], "refreshd answers one", "{report}");
        assert_eq!(report["urgency"], "person", "{report}");
    };
    waits(true);
    daemon.kill();
    waits(false);

    let all = kept(&scene);
    let authorization = all[0]["authorization"].as_str().unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    let id = &all[0]["id"].as_str().unwrap()[..6];
    let shown = scene.house.run(&["answers", "show", id]);
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("renew") && !shown.contains("rt-odd-2"),
        "{shown}"
    );
    let full = scene.house.run(&["answers", "show", id, "--full"]);
    let full = text(&full.stdout);
    assert!(full.contains("\"renew\":\"rt-odd-2\""), "{full}");
    let raw = scene.house.run(&["answers", "show", id, "--raw"]);
    assert_eq!(raw.stdout, packed);
    let read = scene.house.run(&["answers", "read", id]);
    assert_eq!(read.status.code(), Some(65), "{read:?}");

    let _daemon = scene.house.daemon();
    let accepted = scene.house.run(&["authorize", "--accept", authorization]);
    assert_eq!(accepted.status.code(), Some(65), "{accepted:?}");
    let paths = [
        "--access-token-at",
        "data.token",
        "--refresh-token-at",
        "data.renew",
    ];
    let taken = scene
        .house
        .run(&[&["answers", "take", id][..], &paths].concat());
    assert!(taken.status.success(), "{taken:?}");
    wait_for("the token", || scene.token().as_deref() == Some("at-odd-2"));
    assert_eq!(kept(&scene), [] as [Value; 0]);
    assert_eq!(scene.house.status("one")["act"], Value::Null);
    assert_eq!(scene.list()[0]["stage"], "done");
    assert_eq!(tiny.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_beside_a_refusal_of_a_code_is_kept() {
    let scene = Scene::generic().await;
    let refused = br#"{"error":"invalid_grant","refresh_token":"rt-odd-1"}"#;
    let within = br#"{"error":"temporarily_unavailable","data":{"refresh_token":"rt-odd-22"}}"#;
    let elsewhere = format!("{JSON}\r\nlocation: https://a.example/#refresh_token=rt-odd-33");
    let tiny = Tiny::saying(vec![
        response("400 Bad Request", JSON, refused),
        response("503 Service Unavailable", JSON, within),
        response("302 Found", &elsewhere, b""),
        response("400 Bad Request", JSON, br#"{"error":"invalid_grant"}"#),
    ])
    .await;
    scene.token_endpoint(&tiny.url, "");
    scene.approves_as("one");
    let _daemon = scene.house.daemon();
    for count in [1, 2, 3, 3] {
        let ended = presented(&scene).await;
        assert_eq!(ended.code, 77, "{ended:?}");
        assert_eq!(kept(&scene).len(), count, "{:?}", kept(&scene));
    }
    let all = kept(&scene);
    let statuses: Vec<&Value> = all.iter().map(|kept| &kept["status"]).collect();
    assert_eq!(statuses, [302, 503, 400]);
    // Given up, it is there still; dropped, it is not.
    let held = all[0]["authorization"].as_str().unwrap().to_owned();
    let _given_up = scene
        .house
        .json(&["authorize", "--cancel", &held, "--json"]);
    assert_eq!(kept(&scene).len(), 3);
    let id = all[0]["id"].as_str().unwrap();
    let dropped = scene.house.run(&["answers", "drop", id, "--yes"]);
    assert!(dropped.status.success(), "{dropped:?}");
    assert_eq!(kept(&scene).len(), 2);
}

/// A portal's page in between costs no approval; what may hold a token is not asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_polled_on_after_a_page_and_not_after_a_token() {
    let scene = Scene::new(Kind::Generic, "", "").await;
    let device = format!(
        "device.url = \"{}\"",
        scene.server.url("/device_authorization")
    );
    let page = "content-type: text/html";
    let tokens = br#"{"access_token":"at-odd-2","refresh_token":"rt-odd-2","expires_in":3600}"#;
    let tiny = Tiny::saying(vec![
        response("200 OK", page, b"<html>Welcome to the portal</html>"),
        response("200 OK", JSON, tokens),
        response("200 OK", JSON, br#"{"data":{"renew":"rt-odd-3"}}"#),
    ])
    .await;
    scene.token_endpoint(&tiny.url, &device);
    let mut enrollment = scene.server.enrollment();
    (enrollment.device_interval, enrollment.auto) = (1, Auto::Allow);
    scene.server.set_enrollment(enrollment);
    let _daemon = scene.house.daemon();
    let ended = scene.begin(&["--device"]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    wait_for("the token", || scene.token().as_deref() == Some("at-odd-2"));
    let all = kept(&scene);
    assert_eq!((all.len(), &all[0]["bytes"]), (1, &json!(34)), "{all:?}");

    let ended = scene.begin(&["--device"]).end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert_eq!(tiny.requests().len(), 3);
    assert_eq!(scene.list()[0]["stage"], "held");
    assert_eq!(kept(&scene).len(), 2);
}
