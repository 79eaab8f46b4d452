//! What the generic server says of itself (RFC 8414).

use crate::scene::Scene;
use sandbox::{Iss, Kind};
use serde_json::{Value, json};

const PLACES: [&str; 2] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

async fn metadata(scene: &Scene, path: &str) -> Value {
    let response = scene.http.get(scene.server.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn it_names_the_endpoints_that_there_are() {
    let scene = Scene::of(Kind::Generic).await;
    for path in PLACES {
        let said = metadata(&scene, path).await;
        assert_eq!(said["issuer"], json!(scene.server.issuer()));
        assert_eq!(said["token_endpoint"], json!(scene.server.token_url()));
        assert_eq!(
            said["authorization_endpoint"],
            json!(scene.server.authorize_url())
        );
        assert_eq!(said["code_challenge_methods_supported"], json!(["S256"]));
        let iss = "authorization_response_iss_parameter_supported";
        assert_eq!(said[iss], false);
        let endpoints = said.as_object().unwrap().iter();
        let endpoints =
            endpoints.filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
        let mut count = 0;
        for (name, url) in endpoints {
            let response = scene.http.get(url.as_str().unwrap()).send().await.unwrap();
            assert_ne!(response.status(), 404, "{name}");
            count += 1;
        }
        assert_eq!(count, 6);
    }
}

#[tokio::test]
async fn it_may_lie() {
    let scene = Scene::of(Kind::Generic).await;
    let lies = json!({ "issuer": "https://other.example", "jwks_uri": null });
    scene.enroll(|e| {
        e.iss = Iss::Right;
        e.metadata_changes = lies.as_object().unwrap().clone();
    });
    let said = metadata(&scene, PLACES[0]).await;
    assert_eq!(said["issuer"], "https://other.example");
    assert!(said.get("jwks_uri").is_none());
    assert_eq!(said["authorization_response_iss_parameter_supported"], true);
}

#[tokio::test]
async fn the_documented_five_have_none() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Generic) {
        let scene = Scene::of(kind).await;
        for path in PLACES {
            let response = scene.http.get(scene.server.url(path)).send().await.unwrap();
            assert_eq!(response.status(), 404);
        }
    }
}
