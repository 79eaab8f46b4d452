//! What comes back to the loopback callback, and what is made of it.

use super::{Scene, config, page, wait_for_token};
use crate::support::text;
use sandbox::{Iss, SecondCode, StateAs};
use std::net::TcpListener;
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_authorized_in_a_browser() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    assert_eq!(
        begun.param("code_challenge_method").as_deref(),
        Some("S256")
    );
    let redirect_uri = begun.param("redirect_uri").unwrap();
    assert!(
        redirect_uri.starts_with("http://127.0.0.1:"),
        "{redirect_uri}"
    );
    let back = scene.visit(&begun.url).await;
    let page = scene.http.get(back.clone()).send().await.unwrap();
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let page = page.text().await.unwrap();
    assert!(page.contains("You can close this window"), "{page}");
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let place = scene.house.path("tokens/one");
    for said in [
        "one is authorized: generation 1",
        "expires 20",
        place.to_str().unwrap(),
    ] {
        assert!(ended.out.contains(said), "{said:?} is not in {}", ended.out);
    }
    let token = wait_for_token(&scene, None);
    assert_eq!(
        text(&scene.house.run(&["get", "one"]).stdout).trim_end(),
        token
    );
    // It is refreshed like any other, and its code is spent.
    let refreshed = scene.house.json(&["refresh", "one", "--force", "--json"]);
    assert_eq!(refreshed["generation"], 2);
    assert_eq!(scene.exchanged(), 1);
    assert_eq!(scene.list()[0]["stage"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_does_not_end_the_wait() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut begun = scene.begin(&[]);
    let state = begun.param("state").unwrap();
    let other = scene.begin(&[]).param("state").unwrap();
    let foreign: [&[(&str, &str)]; 9] = [
        &[("error", "access_denied")],
        &[("error", "access_denied"), ("state", "x")],
        &[("code", "stolen")],
        &[("code", "stolen"), ("state", "x")],
        &[("code", "stolen"), ("state", &other)],
        &[("code", "a"), ("code", "b"), ("state", &state)],
        &[("state", &state)],
        &[("access_token", "stolen"), ("state", &state)],
        &[("code", "a\u{0}b"), ("state", &state)],
    ];
    for params in foreign {
        let answer = scene.http.get(begun.callback(params)).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{params:?}");
        assert!(begun.waits(), "{params:?} ended it");
    }
    let root = begun.callback(&[]);
    for path in ["/favicon.ico", "/callback/x"] {
        let answer = scene
            .http
            .get(root.join(path).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let post = scene
        .http
        .post(begun.callback(&[("code", "x"), ("state", &state)]));
    assert_eq!(post.send().await.unwrap().status(), 415);
    assert_eq!(scene.exchanged(), 0, "nothing of it went to the provider");

    let back = scene.visit(&begun.url).await;
    assert_eq!(scene.http.get(back).send().await.unwrap().status(), 200);
    assert_eq!(begun.end().code, 0);
}

/// OAuth 2.0 Form Post Response Mode; nothing else that is posted is taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_may_be_posted_as_a_form() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let form = back.query().unwrap().to_owned();
    let at = begun.callback(&[]);
    let post = |kind: &'static str, body: String| {
        let post = scene.http.post(at.clone()).header("content-type", kind);
        post.header("origin", "https://as.example")
            .body(body)
            .send()
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    for (kind, body, status) in [
        ("text/plain", form.clone(), 415),
        ("multipart/form-data; boundary=x", form.clone(), 415),
        (FORM, "x".repeat(70_000), 413),
        (FORM, String::new(), 400),
        (FORM, form.replace("state=", "state=x"), 400),
    ] {
        assert_eq!(post(kind, body).await.unwrap().status(), status, "{kind}");
        assert!(begun.waits());
    }
    assert_eq!(scene.exchanged(), 0);
    let page = post(FORM, form).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("Authorized"));
    assert_eq!((begun.end().code, scene.exchanged()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_looks_ahead_spends_nothing() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    for (name, value) in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
    ] {
        let ahead = scene.http.get(back.clone()).header(name, value);
        assert_eq!(ahead.send().await.unwrap().status(), 503, "{name}");
    }
    let head = scene.http.head(back.clone()).send().await.unwrap();
    assert_eq!((head.status().as_u16(), scene.exchanged()), (405, 0));
    assert_eq!(scene.http.get(back).send().await.unwrap().status(), 200);
    assert_eq!((begun.end().code, scene.exchanged()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_escaped_and_ends_it() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut enrollment = scene.server.enrollment();
    enrollment.auto = sandbox::Auto::Deny;
    enrollment.hostile_description = true;
    scene.server.set_enrollment(enrollment);
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let page = page(&scene.http, back).await;
    assert!(page.contains("Not authorized"), "{page}");
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("access_denied"), "{}", ended.err);
    for shown in [&ended.err, &page] {
        assert!(
            !shown.chars().any(|c| c.is_control() && c != '\n'),
            "{shown:?}"
        );
        assert!(shown.len() < 2000, "{shown}");
    }
    assert_eq!(scene.token(), None);
    assert_eq!(scene.exchanged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_once() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let second = begun.callback(&[
        ("code", "another"),
        ("state", &begun.param("state").unwrap()),
    ]);
    let (first, again) = tokio::join!(
        scene.http.get(back.clone()).send(),
        scene.http.get(back).send()
    );
    assert_eq!(first.unwrap().status(), 200);
    // It came while the first was under way, or afterwards: it is not exchanged again.
    drop(again);
    assert_eq!(begun.end().code, 0);
    // Its listener is gone with the command; told to the daemon it is refused too.
    assert!(scene.http.get(second.clone()).send().await.is_err());
    let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
    let query = second.query().unwrap();
    let told = scene.tell(
        &format!("enroll/{id}/redirect"),
        &serde_json::json!({"query": query}),
    );
    assert!(told.contains("has had its code already"), "{told}");
    assert_eq!(scene.exchanged(), 1);
    assert_eq!(scene.house.status("one")["generation"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_are_lost_or_changed_on_the_way_are_refused() {
    for state in [StateAs::Omitted, StateAs::Changed] {
        let scene = Scene::generic().await;
        let _daemon = scene.house.daemon();
        scene.approves_as("one");
        let mut enrollment = scene.server.enrollment();
        enrollment.state = state;
        scene.server.set_enrollment(enrollment);
        let mut begun = scene.begin(&[]);
        let back = scene.visit(&begun.url).await;
        assert_eq!(scene.http.get(back).send().await.unwrap().status(), 400);
        assert!(begun.waits());
        assert_eq!(scene.exchanged(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_codes_for_one_consent_bring_one_token_set() {
    for second in [SecondCode::Before, SecondCode::After, SecondCode::Beside] {
        let scene = Scene::generic().await;
        let _daemon = scene.house.daemon();
        scene.approves_as("one");
        let mut enrollment = scene.server.enrollment();
        enrollment.second_code = second;
        scene.server.set_enrollment(enrollment);
        let mut begun = scene.begin(&[]);
        let back = scene.visit(&begun.url).await;
        // The command may be gone already.
        let _gone = scene.http.get(back).send().await;
        if second == SecondCode::Beside {
            assert!(begun.waits());
            assert_eq!(scene.exchanged(), 0);
        } else {
            assert_eq!(begun.end().code, 0, "{second:?}");
            assert_eq!(scene.exchanged(), 1, "{second:?}");
            assert_eq!(scene.house.status("one")["generation"], 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_from_another_issuer_is_refused() {
    let scene = Scene::generic().await;
    let issuer = format!("authorize.issuer = \"{}\"", scene.server.issuer());
    scene.house.configure(&config(&scene.server, "", &issuer));
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    for (iss, status) in [(Iss::Omitted, 400), (Iss::Wrong, 400), (Iss::Right, 200)] {
        let mut enrollment = scene.server.enrollment();
        enrollment.iss = iss;
        scene.server.set_enrollment(enrollment);
        let begun = scene.begin(&[]);
        let back = scene.visit(&begun.url).await;
        let page = scene.http.get(back).send().await.unwrap();
        assert_eq!(page.status(), status, "{iss:?}");
        let text = page.text().await.unwrap();
        assert!(status == 200 || text.contains("RFC 9207"), "{text}");
    }
    assert_eq!(scene.exchanged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_too_old_is_refused_with_a_remedy() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let mut enrollment = scene.server.enrollment();
    enrollment.code_ms = Some(0);
    scene.server.set_enrollment(enrollment);
    let ended = scene.authorize().await;
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(ended.err.contains("authorize again"), "{}", ended.err);
    assert_eq!(scene.token(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_port_that_is_taken_is_named() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let ended = scene.house.run(&["authorize", "one", "--port", &port]);
    assert_eq!(ended.status.code(), Some(69));
    let said = text(&ended.stderr);
    assert!(said.contains(&port) && said.contains("--paste"), "{said}");
    assert_eq!(
        scene.list(),
        Vec::<serde_json::Value>::new(),
        "nothing was begun"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_it_says_how_to_start_one() {
    let scene = Scene::generic().await;
    let ended = scene.house.run(&["authorize", "one"]);
    assert_eq!(ended.status.code(), Some(69));
    assert!(
        text(&ended.stderr).contains("refreshd run"),
        "{}",
        text(&ended.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_just_added_is_reloaded() {
    let scene = Scene::generic().await;
    let full = config(&scene.server, "", "");
    let (without, _) = full.split_once("[grants.one]").unwrap();
    scene.house.configure(without);
    let _daemon = scene.house.daemon();
    scene.house.configure(&full);
    scene.approves_as("one");
    let told = scene.house.run(&["authorize", "one", "--no-browser"]);
    assert_eq!(told.status.code(), Some(66));
    assert!(
        text(&told.stderr).contains("refreshd reload"),
        "{}",
        text(&told.stderr)
    );
    let begun = scene.begin(&["--yes"]);
    let back = scene.visit(&begun.url).await;
    scene.http.get(back).send().await.unwrap();
    assert_eq!(begun.end().code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_address_or_code_does_as_well() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    for whole in [true, false] {
        scene.approves_as("one");
        let mut begun = scene.begin(&["--paste"]);
        let back = scene.visit(&begun.url).await;
        let code = back
            .query_pairs()
            .find(|(name, _)| name == "code")
            .unwrap()
            .1;
        begun.paste(if whole { back.as_str() } else { &code });
        let ended = begun.end();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(scene.house.status("one")["generation"], 2);
    for (input, needle) in [
        (&b"no code at all\n"[..], "neither"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"", "nothing was pasted"),
    ] {
        let mut command = scene.house.command(&["authorize", "one", "--paste"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_ne!(ended.status.code(), Some(0));
        assert!(
            text(&ended.stderr).contains(needle),
            "{needle}: {}",
            text(&ended.stderr)
        );
    }
}
