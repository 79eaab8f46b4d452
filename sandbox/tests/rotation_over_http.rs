//! The rules of rotation and of the token endpoint, seen from outside.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod support;

use sandbox::rotation::Ended;
use sandbox::{Auth, Expiry, OldValid, Options, Reuse, Rotates, Rotation, Verdict};
use std::time::Duration;
use support::{Scene, read, text};

fn always(old_valid: OldValid, reuse: Reuse) -> Options {
    Options {
        rotation: Rotation {
            rotates: Rotates::Always,
            old_valid,
            reuse,
            ..Rotation::default()
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn reuse_revokes_every_token_of_the_family() {
    let scene = Scene::with(Options::default()).await;
    let first = scene.server.make_grant("a");
    let (status, second) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!((status, &second["expires_in"]), (200, &3600.into()));
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(scene.visit(text(&second, "access_token")).await, 200);
    assert_eq!(scene.visit(text(&first, "access_token")).await, 200);

    let (status, refused) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!((status, text(&refused, "error")), (400, "invalid_grant"));
    assert_eq!(scene.visit(text(&second, "access_token")).await, 401);
    let (status, _) = scene.refresh(text(&second, "refresh_token")).await;
    assert_eq!(status, 400);

    assert_eq!(
        scene.verdicts(),
        [Verdict::Issued, Verdict::Reused, Verdict::Dead]
    );
    let stats = &scene.server.stats().grants["a"];
    assert_eq!(stats.ended, Some(Ended::Reuse));
    assert_eq!((stats.issued, stats.rotations, stats.reuses), (2, 1, 1));
    assert_eq!((stats.presentations, stats.refusals), (3, 2));
    assert_eq!((stats.resource.ok, stats.resource.unauthorized), (2, 1));
}

#[tokio::test]
async fn the_log_tells_what_was_presented_and_what_was_at_stake() {
    let scene = Scene::with(Options::default()).await;
    let first = scene.server.make_grant("a");
    scene.refresh(text(&first, "refresh_token")).await;
    let entry = scene.last();
    assert_eq!(entry.grant.as_deref(), Some("a"));
    assert_eq!((entry.refresh, entry.newest), (Some(0), Some(0)));
    assert_eq!(entry.gap_ms, None);
    assert!((3_500_000..=3_600_000).contains(&entry.access_left_ms.unwrap()));
    scene.refresh(text(&first, "refresh_token")).await;
    let entry = scene.last();
    assert_eq!((entry.refresh, entry.newest), (Some(0), Some(1)));
    assert!(entry.gap_ms.is_some());
    assert!(entry.access_left_ms.unwrap() > 0, "it cost a living token");
    scene.refresh("nobodys").await;
    assert_eq!(scene.last().verdict, Verdict::Unknown);
}

#[tokio::test]
async fn a_void_token_may_be_an_error_only() {
    let scene = Scene::with(always(OldValid::For(Duration::ZERO), Reuse::Error)).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(scene.refresh(text(&first, "refresh_token")).await.0, 400);
    assert_eq!(scene.visit(text(&second, "access_token")).await, 200);
    assert_eq!(scene.refresh(text(&second, "refresh_token")).await.0, 200);
}

#[tokio::test]
async fn a_grace_window_gives_the_same_pair_again() {
    let grace = OldValid::For(Duration::from_secs(3600));
    let scene = Scene::with(always(grace, Reuse::Revokes)).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    let answered_ms = scene.server.stats().now_ms;
    while scene.server.stats().now_ms == answered_ms {
        tokio::task::yield_now().await;
    }
    let (status, again) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(status, 200);
    for member in ["access_token", "refresh_token"] {
        assert_eq!(again[member], second[member]);
    }
    assert!(again["expires_in"].as_i64().unwrap() < 3600, "it has aged");
    assert_eq!(scene.verdicts(), [Verdict::Issued, Verdict::Replayed]);
    assert_eq!(scene.server.stats().grants["a"].replays, 1);
}

#[tokio::test]
async fn a_replay_may_say_the_full_life() {
    let scene = Scene::with(Options {
        replay_says_full: true,
        ..always(OldValid::For(Duration::from_secs(3600)), Reuse::Revokes)
    })
    .await;
    let first = scene.server.make_grant("a");
    scene.refresh(text(&first, "refresh_token")).await;
    let (_, again) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(again["expires_in"], 3600);
}

#[tokio::test]
async fn the_first_use_of_the_new_access_token_voids_the_old_refresh_token() {
    let scene = Scene::with(always(OldValid::UntilUsed, Reuse::Revokes)).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(scene.refresh(text(&first, "refresh_token")).await.0, 200);
    assert_eq!(scene.visit(text(&second, "access_token")).await, 200);
    assert_eq!(scene.refresh(text(&first, "refresh_token")).await.0, 400);
    assert_eq!(scene.last().verdict, Verdict::Reused);
}

#[tokio::test]
async fn forever_and_never() {
    let scene = Scene::with(always(OldValid::Forever, Reuse::Revokes)).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    let (status, third) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(status, 200);
    assert_ne!(second["refresh_token"], third["refresh_token"]);

    let mut never = Options::default();
    never.rotation.rotates = Rotates::Never;
    let scene = Scene::with(never.clone()).await;
    let first = scene.server.make_grant("a");
    for _ in 0..2 {
        let (status, answer) = scene.refresh(text(&first, "refresh_token")).await;
        assert_eq!((status, answer.get("refresh_token")), (200, None));
    }
    never.repeats_refresh_token = true;
    let scene = Scene::with(never).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(first["refresh_token"], second["refresh_token"]);
}

#[tokio::test]
async fn sometimes_and_a_revoked_old_access_token() {
    let mut options = Options::default();
    options.rotation.rotates = Rotates::Sometimes;
    options.rotation.revokes_old_access = true;
    let scene = Scene::with(options).await;
    let first = scene.server.make_grant("a");
    let (_, second) = scene.refresh(text(&first, "refresh_token")).await;
    assert_eq!(second.get("refresh_token"), None);
    assert_eq!(scene.visit(text(&first, "access_token")).await, 401);
    assert_eq!(scene.visit(text(&second, "access_token")).await, 200);
    let (_, third) = scene.refresh(text(&first, "refresh_token")).await;
    assert!(third.get("refresh_token").is_some());
}

#[tokio::test]
async fn lifetimes_end() {
    let scene = Scene::with(Options {
        access_lifetime: Duration::ZERO,
        refresh_lifetime: Some(Duration::ZERO),
        ..Options::default()
    })
    .await;
    let first = scene.server.make_grant("a");
    assert_eq!(scene.visit(text(&first, "access_token")).await, 401);
    assert_eq!(scene.refresh(text(&first, "refresh_token")).await.0, 400);
    assert_eq!(scene.last().verdict, Verdict::Expired);
}

#[tokio::test]
async fn expiry_is_told_as_asked() {
    for (expiry, told) in [(Expiry::Text, Some("3600")), (Expiry::Absent, None)] {
        let scene = Scene::with(Options {
            expiry,
            ..Options::default()
        })
        .await;
        let first = scene.server.make_grant("a");
        assert_eq!(first.get("expires_in").and_then(|e| e.as_str()), told);
    }
}

#[tokio::test]
async fn other_bodies_and_other_clients_are_refused() {
    let scene = Scene::with(Options {
        client_auth: vec![Auth::Body],
        ..Options::default()
    })
    .await;
    let grant = scene.server.make_grant("a");
    let token = text(&grant, "refresh_token");
    let (status, refused) = scene.refresh(token).await;
    assert_eq!((status, text(&refused, "error")), (401, "invalid_client"));
    assert_eq!(scene.last().verdict, Verdict::Unauthorized);

    let post = || scene.http.post(scene.server.token_url());
    let json = r#"{"grant_type":"refresh_token"}"#;
    let json = post().header("content-type", "application/json").body(json);
    let (status, refused) = read(json.send().await.unwrap()).await;
    assert_eq!((status, text(&refused, "error")), (400, "invalid_request"));

    let form = "application/x-www-form-urlencoded";
    let twice = format!("grant_type=refresh_token&refresh_token={token}");
    let twice = format!("{twice}&client_id=pretend&client_secret=pretend-secret");
    let (_, refused) = read(scene.send_body(twice.clone()).await.unwrap()).await;
    assert_eq!(text(&refused, "error"), "invalid_request");
    let once = post().header("content-type", form).body(twice);
    assert_eq!(read(once.send().await.unwrap()).await.0, 200);
}

#[tokio::test]
async fn a_withdrawn_grant_is_dead() {
    let scene = Scene::with(Options::default()).await;
    let grant = scene.server.make_grant("a");
    assert!(scene.server.withdraw_grant("a"));
    assert!(!scene.server.withdraw_grant("b"));
    assert_eq!(scene.visit(text(&grant, "access_token")).await, 401);
    assert_eq!(scene.refresh(text(&grant, "refresh_token")).await.0, 400);
}

#[tokio::test]
async fn a_stopped_server_is_gone() {
    let scene = Scene::with(Options::default()).await;
    let url = scene.server.token_url();
    scene.refresh("warms up the connection").await;
    scene.server.stop().await;
    assert!(scene.http.post(url).send().await.unwrap_err().is_connect());
}
