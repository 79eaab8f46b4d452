//! Who gave a grant: id tokens and `/userinfo`.

use crate::browser::RIGHT;
use crate::scene::Scene;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sandbox::admin::NewGrant;
use sandbox::{IdToken, Kind};
use serde_json::{Value, json};
use sha2::Sha256;

/// The parts of a JWT: head, claims, signature.
fn parts(token: &str) -> (Value, Value, String) {
    let parts: Vec<_> = token.split('.').collect();
    let decode = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(parts.len(), 3, "{token}");
    (decode(parts[0]), decode(parts[1]), parts[2].to_owned())
}

/// What the client's secret signs the token's first two parts with.
fn signature_of(answer: &Value) -> String {
    let token = answer["id_token"].as_str().unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"pretend-secret").unwrap();
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

async fn userinfo(scene: &Scene, answer: &Value) -> (u16, Value) {
    let token = answer["access_token"].as_str().unwrap();
    let request = scene.http.get(scene.server.url("/userinfo"));
    let response = request.bearer_auth(token).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn the_id_token_names_the_account() {
    let scene = Scene::of(Kind::Generic).await;
    let params = [&RIGHT[..], &[("nonce", "n-1")]].concat();
    for (kind, alg) in [(IdToken::Unsigned, "none"), (IdToken::Hs256, "HS256")] {
        scene.enroll(|e| e.id_token = kind);
        let origin = scene.consented(&params, "ann").await;
        let answer = scene.accepted(&scene.exchange(&origin)).await;
        let (head, claims, signature) = parts(answer["id_token"].as_str().unwrap());
        assert_eq!(head["alg"], alg);
        let expected = match kind {
            IdToken::Hs256 => signature_of(&answer),
            _ => String::new(),
        };
        assert_eq!(signature, expected);
        assert_eq!(claims["sub"], "ann");
        assert_eq!(claims["iss"], json!(scene.server.issuer()));
        assert_eq!(
            (&claims["aud"], &claims["nonce"]),
            (&json!("pretend"), &json!("n-1"))
        );
        assert!(claims["exp"].as_u64() > claims["iat"].as_u64());
    }
    let changes = json!({ "aud": "other", "nonce": null });
    scene.enroll(|e| e.id_token_changes = changes.as_object().unwrap().clone());
    let origin = scene.consented(&params, "bob").await;
    let answer = scene.accepted(&scene.exchange(&origin)).await;
    let (_, claims, _) = parts(answer["id_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("bob"), &json!("other"))
    );
    assert!(claims.get("nonce").is_none());
}

#[tokio::test]
async fn userinfo_names_the_account() {
    for kind in Kind::ALL {
        let scene = Scene::of(kind).await;
        let begun = scene.server.begin_grant("ann", &NewGrant::default());
        let (status, claims) = userinfo(&scene, &begun.answer).await;
        assert_eq!((status, &claims["sub"]), (200, &json!("ann")), "{kind:?}");
        let changes = json!({ "sub": "bob", "email": "b@shop.example" });
        scene.enroll(|e| e.userinfo_changes = changes.as_object().unwrap().clone());
        let (_, claims) = userinfo(&scene, &begun.answer).await;
        assert_eq!(
            (&claims["sub"], &claims["email"]),
            (&json!("bob"), &json!("b@shop.example"))
        );
        assert!(scene.server.withdraw_grant("ann"));
        assert_eq!(userinfo(&scene, &begun.answer).await.0, 401);
    }
}
