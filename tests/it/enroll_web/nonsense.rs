//! What is no push of ours: refused, and nothing of it stored.

use super::{ONE, Place};
use refreshd_core::enroll::Stage;
use serde_json::{Value, json};

async fn nothing_was_done(place: &Place, open: usize) {
    let all = place.control().enrollments().await.unwrap();
    assert_eq!(all.len(), open, "{all:?}");
    assert!(
        all.iter().all(|report| report.stage == Stage::Open),
        "{all:?}"
    );
    assert_eq!(place.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_refused() {
    let place = Place::retm(ONE).await;
    let daemon = place.daemon();
    let (_, data) = place.install(Some("one")).await;
    let json = "application/json";
    let good = json!({"code": "planted-code", "business_id": "shop-17", "data": data}).to_string();
    let deep = good.replace(
        "{\"state\"",
        &format!("{{\"x\":{}{},\"state\"", "[".repeat(9000), "]".repeat(9000)),
    );
    let twice = good.replacen('{', "{\"code\":\"other\",", 1);
    let two_states = good.replace("{\"state\"", "{\"state\":\"x\",\"state\"");
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8[10] = 0xff;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (json, Vec::new()),
        (json, b"code=planted-code&business_id=shop-17".to_vec()),
        (json, not_utf8),
        (json, deep.into()),
        (json, twice.into()),
        (json, two_states.into()),
        (
            json,
            good.replace("planted-code", "planted\\u0000code").into(),
        ),
        (json, good.replace("planted-code", &"c".repeat(5000)).into()),
        (json, good[..good.len() - 1].into()),
        ("text/plain", good.clone().into()),
        ("application/x-www-form-urlencoded", good.clone().into()),
        ("application/json; charset=utf-16", good.clone().into()),
    ];
    for (kind, body) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let (status, said) = place.post("/push/c", kind, body).await;
        assert_eq!(status, 400, "{kind} {shown}: {said}");
        assert!(!said.contains("planted"), "{said}");
    }
    for (path, status) in [
        ("/push/other", 404),
        ("/push", 404),
        ("/push/c/", 404),
        ("/callback", 415),
    ] {
        let (got, _) = place.post(path, json, good.clone().into()).await;
        assert_eq!(got, status, "{path}");
    }
    let got = place.http.get(place.url("/push/c")).send().await.unwrap();
    assert_eq!(
        (got.status().as_u16(), &got.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    nothing_was_done(&place, 1).await;
    assert!(!daemon.log().contains("planted"), "no code is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_pushes_are_dropped_and_bounded_while_signed_ones_pass() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    let state = data["state"].as_str().unwrap();
    let mut forged = state.to_owned();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    let wrong: [Value; 6] = [
        json!({}),
        json!(null),
        json!({ "state": "" }),
        json!({ "state": forged }),
        json!({ "state": "A".repeat(54) }),
        json!({ "state": [state] }),
    ];
    for data in &wrong {
        let pushed = place.push("shop-17", data, None).await;
        assert_eq!(pushed.status, Some(403), "{data}: {pushed:?}");
    }
    let mut limited = 0;
    for _ in 0..60 {
        let pushed = place.push("shop-17", &json!({}), None).await;
        assert!(matches!(pushed.status, Some(403 | 429)), "{pushed:?}");
        limited += usize::from(pushed.status == Some(429));
    }
    assert!(limited >= 30, "only {limited} of 60");
    nothing_was_done(&place, 1).await;
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
    place.done(&id, "one").await;
}
