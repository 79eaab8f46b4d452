//! The authorization page: what it refuses, the form, and what comes back.

use crate::browser::{BACK, RIGHT, WITH_PAGES};
use crate::scene::Scene;
use sandbox::{Auto, Kind, Options, Outcome, Reuse, Verdict};

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    RIGHT.into_iter().filter(|(n, _)| *n != name).collect()
}

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut params = without(name);
    params.push((name, value));
    params
}

#[tokio::test]
async fn consent_brings_a_code_that_becomes_tokens() {
    for kind in WITH_PAGES {
        let scene = Scene::of(kind).await;
        let page = scene.follow(&RIGHT).await;
        assert_eq!(page.status, 200, "{page:?}");
        for there in ["method=\"post\"", "id=\"allow\"", "id=\"deny\"", "account"] {
            assert!(page.body.contains(there), "{there}: {page:?}");
        }
        assert!(!page.body.contains("st <"), "escaped: {page:?}");
        assert_eq!(page.hidden().len(), RIGHT.len());

        let back = scene.submit(&page, "ann", "allow").await;
        let location = back.location.as_ref().unwrap();
        assert!(location.as_str().starts_with(BACK), "{back:?}");
        assert_eq!(back.param("x").as_deref(), Some("1"));
        assert_eq!(back.param("state").as_deref(), Some("st <\"&'> ü"));
        assert_eq!(back.param("iss"), None);

        let origin = crate::browser::origin(back.code());
        let exchange = scene.exchange(&origin);
        let elsewhere = exchange.clone().with("redirect_uri", "http://127.0.0.1/");
        scene.not_granted(&elsewhere, Verdict::Mismatch).await;
        let answer = scene.accepted(&exchange).await;
        assert_eq!(scene.last().grant.as_deref(), Some("ann"), "{kind:?}");
        if kind != Kind::Vcita {
            scene.accepted(&scene.refresh(&origin, &answer)).await;
        }
        let visits = scene.server.visits();
        let came: Vec<_> = visits.iter().map(|v| (&*v.method, v.outcome)).collect();
        assert_eq!(came, [("GET", Outcome::Shown), ("POST", Outcome::Allowed)]);
        assert!(visits[1].has_state && visits[1].account.as_deref() == Some("ann"));
    }
}

#[tokio::test]
async fn a_wrong_client_or_receiver_is_not_redirected() {
    for kind in WITH_PAGES {
        let scene = Scene::of(kind).await;
        let twice = [&RIGHT[..], &[("redirect_uri", "http://evil.example/")]].concat();
        for params in [
            without("client_id"),
            with("client_id", "<script>"),
            without("redirect_uri"),
            with("redirect_uri", "/back"),
            with("redirect_uri", "http://127.0.0.1/#x"),
            with("redirect_uri", "javascript:alert(1)"),
            twice,
        ] {
            // Nor is it when nobody is asked.
            for auto in [Auto::Off, Auto::Allow] {
                scene.enroll(|e| e.auto = auto);
                let seen = scene.follow(&params).await;
                assert_eq!((seen.status, &seen.location), (400, &None), "{params:?}");
                assert!(seen.body.starts_with("<!DOCTYPE html>"), "{seen:?}");
                assert!(!seen.body.contains("<script>"), "{seen:?}");
            }
        }
        let visits = scene.server.visits();
        assert!(visits.iter().all(|v| v.outcome == Outcome::Refused));
    }
}

#[tokio::test]
async fn what_else_is_wrong_goes_back_to_the_client() {
    for kind in WITH_PAGES {
        let scene = Scene::of(kind).await;
        scene.enroll(|e| e.auto = Auto::Allow);
        let unsupported = "unsupported_response_type";
        for (params, error) in [
            (without("response_type"), "invalid_request"),
            (with("response_type", "token"), unsupported),
            (
                [&RIGHT[..], &[("scope", "a"), ("scope", "b")]].concat(),
                "invalid_request",
            ),
        ] {
            let seen = scene.follow(&params).await;
            assert_eq!(seen.param("error").as_deref(), Some(error), "{seen:?}");
            assert_eq!(seen.param("state").as_deref(), Some("st <\"&'> ü"));
            assert!(seen.param("error_description").is_some(), "{seen:?}");
            assert_eq!(seen.param("code"), None, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn the_organization_api_has_no_page() {
    let scene = Scene::of(Kind::Blynk).await;
    assert_eq!(scene.server.authorize_url(), None);
    let request = scene.http.get(scene.server.url("/authorize"));
    assert_eq!(request.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn no_is_an_answer() {
    let scene = Scene::of(Kind::Retently).await;
    let page = scene.follow(&RIGHT).await;
    let denied = scene.submit(&page, "ann", "deny").await;
    scene.enroll(|e| e.auto = Auto::Deny);
    let at_once = scene.follow(&RIGHT).await;
    for seen in [denied, at_once] {
        assert_eq!(seen.status, 302);
        assert_eq!(seen.param("error").as_deref(), Some("access_denied"));
        assert_eq!(seen.param("state").as_deref(), Some("st <\"&'> ü"));
        assert_eq!(seen.param("code"), None);
    }
    let undecided = scene.submit(&page, "ann", "perhaps").await;
    assert_eq!(undecided.status, 400);
}

#[tokio::test]
async fn registered_receivers_are_the_only_ones() {
    let scene = Scene::with(Options {
        redirect_uris: vec![
            "http://127.0.0.1/back".to_owned(),
            "https://a.example/b".to_owned(),
        ],
        ..Options::default()
    })
    .await;
    for (uri, status) in [
        ("http://127.0.0.1:50001/back", 200),
        ("https://a.example/b", 200),
        ("https://a.example/b/", 400),
        ("http://localhost:50001/back", 400),
    ] {
        assert_eq!(
            scene.follow(&with("redirect_uri", uri)).await.status,
            status,
            "{uri}"
        );
    }
}

#[tokio::test]
async fn the_same_account_begins_the_same_grant_again() {
    let scene = Scene::of(Kind::Generic).await;
    let mut answers = Vec::new();
    for account in ["ann", "ann", "bob"] {
        let origin = scene.consented(&RIGHT, account).await;
        answers.push(scene.accepted(&scene.exchange(&origin)).await);
    }
    assert_eq!(scene.stats("ann").token_sets, 2);
    assert_eq!(scene.stats("bob").token_sets, 1);
    for answer in &answers {
        assert_eq!(scene.verify(answer).await, 200, "all live side by side");
    }
}

#[tokio::test]
async fn a_second_exchange_revokes_only_what_the_first_gave() {
    let scene = Scene::with(Options {
        code_reuse: Reuse::Revokes,
        ..Options::of(Kind::Reteno)
    })
    .await;
    let [first, second] = [
        scene.consented(&RIGHT, "ann").await,
        scene.consented(&RIGHT, "ann").await,
    ];
    let kept = scene.accepted(&scene.exchange(&first)).await;
    let lost = scene.accepted(&scene.exchange(&second)).await;
    let again = scene.exchange(&second);
    scene.not_granted(&again, Verdict::CodeUsed).await;
    assert_eq!(
        (scene.verify(&kept).await, scene.verify(&lost).await),
        (200, 401)
    );
}

#[tokio::test]
async fn the_scope_comes_back_or_less_of_it() {
    let scene = Scene::of(Kind::Generic).await;
    let params = [&RIGHT[..], &[("scope", "read write")]].concat();
    for granted in [None, Some("read")] {
        scene.enroll(|e| e.grants_scope = granted.map(str::to_owned));
        let origin = scene.consented(&params, "ann").await;
        let answer = scene.accepted(&scene.exchange(&origin)).await;
        assert_eq!(answer["scope"], granted.unwrap_or("read write"));
    }
}

#[tokio::test]
async fn enrollment_can_be_changed_over_http() {
    let scene = Scene::of(Kind::Vcita).await;
    let url = scene.server.url("/admin/enrollment");
    let patch = |body: &'static str| {
        let patch = scene
            .http
            .patch(&url)
            .header("content-type", "application/json");
        patch.body(body).send()
    };
    let patched = patch(r#"{"auto":"allow","account":"bob"}"#).await.unwrap();
    assert_eq!(patched.status(), 200);
    assert_eq!(patch(r#"{"aut":"allow"}"#).await.unwrap().status(), 400);
    assert_eq!(patch(r#"{"code_ms":0}"#).await.unwrap().status(), 200);
    let late = crate::browser::origin(scene.follow(&RIGHT).await.code());
    scene
        .not_granted(&scene.exchange(&late), Verdict::Expired)
        .await;
    assert_eq!(patch(r#"{"code_ms":null}"#).await.unwrap().status(), 200);
    let by_hint = [&RIGHT[..], &[("login_hint", "eve")]].concat();
    for (params, account) in [(&RIGHT[..], "bob"), (&by_hint[..], "eve")] {
        let good = crate::browser::origin(scene.follow(params).await.code());
        scene.accepted(&scene.exchange(&good)).await;
        assert_eq!(scene.last().grant.as_deref(), Some(account));
    }
    assert_eq!(scene.http.delete(&url).send().await.unwrap().status(), 204);
    assert_eq!(scene.follow(&RIGHT).await.status, 200, "the form again");
    let visits = scene.http.get(scene.server.url("/admin/visits"));
    let visits = visits.send().await.unwrap().text().await.unwrap();
    let visits: Vec<sandbox::Visit> = serde_json::from_str(&visits).unwrap();
    assert_eq!(visits, scene.server.visits());
}
