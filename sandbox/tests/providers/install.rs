//! RETM's install link and the push that it leads to.

use crate::browser::{Client, Manner};
use crate::scene::Scene;
use sandbox::{Auto, Kind, NewPush, Origin, Outcome, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

const LINK: [(&str, &str); 3] = [("client_id", "pretend"), ("state", "s & <t>"), ("x", "1")];

async fn scene(kind: Kind, manner: Manner) -> (Scene, Client) {
    let (scene, client) = (Scene::of(kind).await, Client::listening(manner).await);
    scene.enroll(|e| e.success_url = Some(client.url.clone()));
    (scene, client)
}

/// The exchange of a pushed code, at the business that was pushed.
async fn exchange(scene: &Scene, pushed: &Value) -> Value {
    let text = |name: &str| pushed[name].as_str().unwrap().to_owned();
    let origin = Origin {
        code: text("code"),
        redirect_uri: String::new(),
        business_id: Some(text("business_id")),
    };
    scene.accepted(&scene.exchange(&origin)).await
}

#[tokio::test]
async fn an_installation_pushes_a_code() {
    for kind in [Kind::Retm, Kind::RetmStaging] {
        let (scene, client) = scene(kind, Manner::OK).await;
        let page = scene.follow(&LINK).await;
        assert_eq!(
            (page.status, client.calls(0).await.len()),
            (200, 0),
            "{page:?}"
        );
        let form = page.body.split("action=\"").nth(1).unwrap();
        let action = form.split('"').next().unwrap().replace("&amp;", "&");
        let fields = [("business_id", "shop-18"), ("decision", "allow")];
        let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let installed = scene.post(&scene.server.url(&action), &fields).await;
        assert_eq!(installed.status, 200, "{installed:?}");

        let (method, uri, body) = client.calls(1).await.remove(0);
        assert_eq!((&*method, &*uri), ("POST", "/called"));
        let pushed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(pushed["business_id"], "shop-18");
        assert_eq!(pushed["data"], json!({ "state": "s & <t>", "x": "1" }));
        assert_eq!(pushed.as_object().unwrap().len(), 3);
        exchange(&scene, &pushed).await;
        assert_eq!(scene.last().grant.as_deref(), Some("shop-18"));

        let push = scene.server.pushes().pop().unwrap();
        assert_eq!((push.status, push.accepted), (Some(200), true), "{push:?}");
        assert_eq!(push.body, "{\"url\":\"x\"}");
        let visit = scene.server.visits().pop().unwrap();
        assert_eq!((visit.outcome, visit.has_state), (Outcome::Allowed, true));
    }
}

#[tokio::test]
async fn nobody_need_be_asked_and_no_is_an_answer() {
    let (scene, client) = scene(Kind::Retm, Manner::OK).await;
    assert_eq!(scene.follow(&[("client_id", "other")]).await.status, 400);
    scene.enroll(|e| e.auto = Auto::Deny);
    assert_eq!(scene.follow(&LINK).await.status, 200);
    assert_eq!(client.calls(0).await.len(), 0);
    scene.enroll(|e| (e.auto, e.business_id) = (Auto::Allow, "shop-19".to_owned()));
    assert_eq!(scene.follow(&LINK[..1]).await.status, 200);
    let (_, _, body) = client.calls(1).await.remove(0);
    let pushed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&pushed["business_id"], &pushed["data"]),
        (&json!("shop-19"), &json!({}))
    );
}

#[tokio::test]
async fn a_late_answer_is_measured() {
    let late = Manner {
        after: Duration::from_millis(60),
        ..Manner::OK
    };
    let (scene, _client) = scene(Kind::Retm, late).await;
    scene.enroll(|e| (e.auto, e.push_within_ms) = (Auto::Allow, 20));
    assert_eq!(scene.follow(&LINK).await.status, 502);
    let push = scene.server.pushes().pop().unwrap();
    assert_eq!((push.status, push.accepted), (Some(200), false), "{push:?}");
    assert!((60..5000).contains(&push.took_ms), "{push:?}");
    scene.enroll(|e| e.push_wait_ms = 10);
    assert_eq!(scene.follow(&LINK).await.status, 502);
    let push = scene.server.pushes().pop().unwrap();
    assert_eq!(push.status, None, "{push:?}");
    assert!(push.problem.is_some(), "{push:?}");
}

#[tokio::test]
async fn a_failed_push_is_repeated_with_the_same_body() {
    let twice = Manner {
        fails: 2,
        ..Manner::OK
    };
    let (scene, client) = scene(Kind::Retm, twice).await;
    scene.enroll(|e| (e.auto, e.push_repeats, e.push_repeat_ms) = (Auto::Allow, 5, 1));
    assert_eq!(scene.follow(&LINK).await.status, 502);
    let calls = client.calls(3).await;
    assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
    while scene.server.pushes().len() < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let pushes = scene.server.pushes();
    let came: Vec<_> = pushes.iter().map(|p| (p.repetition, p.status)).collect();
    assert_eq!(came, [(0, Some(500)), (1, Some(500)), (2, Some(200))]);
    let pushed: Value = serde_json::from_str(&calls[0].2).unwrap();
    exchange(&scene, &pushed).await;
}

#[tokio::test]
async fn any_push_can_be_forged_over_http() {
    let (scene, client) = scene(Kind::Retm, Manner::OK).await;
    let url = scene.server.url("/admin/pushes");
    let push = async |body: Value| {
        let post = scene
            .http
            .post(&url)
            .header("content-type", "application/json");
        let response = post.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str::<Vec<sandbox::Push>>(&text).unwrap_or_default(),
        )
    };
    let (status, pushes) = push(json!({ "raw": "{not json", "times": 2 })).await;
    assert_eq!((status, pushes.len()), (200, 2));
    assert_eq!(client.calls(2).await[1].2, "{not json");

    let forged =
        json!({ "business_id": "evil.example/#", "code": "guess", "data": { "state": 7 } });
    assert!(push(forged.clone()).await.1[0].accepted);
    let body = client.calls(3).await.remove(2).2;
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), forged);

    let good = NewPush::default();
    assert_eq!(scene.server.push(&good).await.unwrap().len(), 1);
    let body = client.calls(4).await.remove(3).2;
    exchange(&scene, &serde_json::from_str(&body).unwrap()).await;
    assert_eq!(scene.last().verdict, Verdict::Issued);

    scene.enroll(|e| e.success_url = None);
    assert_eq!(push(json!({})).await.0, 400);
    let listed = scene.http.get(&url).send().await.unwrap();
    let listed: Vec<sandbox::Push> = serde_json::from_str(&listed.text().await.unwrap()).unwrap();
    assert_eq!(listed, scene.server.pushes());
}
