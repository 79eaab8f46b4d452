//! Redirects as no server should send them, each on request.

use crate::browser::{BACK, Client, Manner, RIGHT, Seen, origin};
use crate::scene::Scene;
use sandbox::{Auto, Iss, Kind, Origin, SecondCode, StateAs, Verdict};

async fn scene() -> Scene {
    let scene = Scene::of(Kind::Generic).await;
    scene.enroll(|e| e.auto = Auto::Allow);
    scene
}

#[tokio::test]
async fn state_may_be_lost_or_changed() {
    let scene = scene().await;
    scene.enroll(|e| e.state = StateAs::Omitted);
    assert_eq!(scene.follow(&RIGHT).await.param("state"), None);
    scene.enroll(|e| e.state = StateAs::Changed);
    let changed = scene.follow(&RIGHT).await.param("state");
    assert_eq!(changed.as_deref(), Some("not-st <\"&'> ü"));
    // Without a state there is none to change.
    assert_eq!(scene.follow(&RIGHT[..3]).await.param("state"), None);
}

#[tokio::test]
async fn the_issuer_may_be_told_or_be_another() {
    let scene = scene().await;
    for auto in [Auto::Allow, Auto::Deny] {
        scene.enroll(|e| (e.auto, e.iss) = (auto, Iss::Right));
        let told = scene.follow(&RIGHT).await.param("iss");
        assert_eq!(told, Some(scene.server.issuer()));
        scene.enroll(|e| e.iss = Iss::Wrong);
        let other = scene.follow(&RIGHT).await.param("iss").unwrap();
        assert_ne!(other, scene.server.issuer());
    }
}

#[tokio::test]
async fn a_description_may_be_hostile() {
    let scene = scene().await;
    scene.enroll(|e| {
        e.auto = Auto::Deny;
        e.hostile_description = true;
        e.deny_error = "server_error".to_owned();
    });
    let seen = scene.follow(&RIGHT).await;
    assert_eq!(seen.param("error").as_deref(), Some("server_error"));
    let said = seen.param("error_description").unwrap();
    for there in [
        "\u{1b}[2J",
        "\r\nSet-Cookie: a=b",
        "\u{fffd}",
        "\u{202e}",
        "\0",
    ] {
        assert!(said.contains(there), "{there:?}: {said:?}");
    }
    let location = seen.location.as_ref().unwrap().as_str();
    assert!(location.contains("%FF%FE"), "{location}");
    assert!(said.len() > 4000);
}

fn codes(seen: &Seen) -> Vec<String> {
    let pairs = seen.location.as_ref().unwrap().query_pairs();
    let codes = pairs.filter(|(name, _)| name == "code");
    codes.map(|(_, code)| code.into_owned()).collect()
}

#[tokio::test]
async fn one_redirect_may_have_two_codes() {
    let scene = scene().await;
    scene.enroll(|e| e.second_code = SecondCode::Beside);
    let codes = codes(&scene.follow(&RIGHT).await);
    assert_eq!(codes.len(), 2);
    for code in codes {
        scene.accepted(&scene.exchange(&origin(code))).await;
    }
}

#[tokio::test]
async fn the_server_itself_may_bring_a_second_code() {
    for second_code in [SecondCode::Before, SecondCode::After] {
        let scene = scene().await;
        scene.enroll(|e| e.second_code = second_code);
        let client = Client::listening(Manner::OK).await;
        let params = [&RIGHT[..2], &[("redirect_uri", &*client.url), RIGHT[3]]].concat();
        let first = scene.follow(&params).await;
        let (method, uri, _) = client.calls(1).await.remove(0);
        assert_eq!((&*method, uri.starts_with("/called?code=")), ("GET", true));
        let second = url::Url::parse(&format!("http://127.0.0.1{uri}")).unwrap();
        let second = second.query_pairs().next().unwrap().1.into_owned();
        assert_ne!(first.code(), second);
        for code in [first.code(), second] {
            let origin = Origin {
                redirect_uri: client.url.clone(),
                ..origin(code)
            };
            scene.accepted(&scene.exchange(&origin)).await;
        }
    }
}

#[tokio::test]
async fn a_code_may_be_late_at_once() {
    let scene = scene().await;
    scene.enroll(|e| e.code_ms = Some(0));
    let late = origin(scene.follow(&RIGHT).await.code());
    assert_eq!(late.redirect_uri, BACK);
    scene
        .not_granted(&scene.exchange(&late), Verdict::Expired)
        .await;
}
