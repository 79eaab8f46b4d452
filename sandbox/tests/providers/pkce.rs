//! Proof keys (RFC 7636): the example of its appendix B.

use crate::browser::{RIGHT, origin};
use crate::scene::Scene;
use sandbox::{Auto, Kind, Options, Pkce, Verdict};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn with(params: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&RIGHT[..], params].concat()
}

fn challenged() -> Vec<(&'static str, &'static str)> {
    with(&[
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ])
}

#[tokio::test]
async fn a_code_wants_the_verifier_of_its_challenge() {
    let scene = Scene::of(Kind::Generic).await;
    let code = scene.consented(&challenged(), "ann").await;
    let exchange = scene.exchange(&code);
    scene.not_granted(&exchange, Verdict::Mismatch).await;
    for wrong in [CHALLENGE, "short", &VERIFIER.to_lowercase()] {
        let ask = exchange.clone().with("code_verifier", wrong);
        scene.not_granted(&ask, Verdict::Mismatch).await;
    }
    scene
        .accepted(&exchange.with("code_verifier", VERIFIER))
        .await;
    let visit = scene.server.visits().pop().unwrap();
    assert_eq!(visit.challenge_method.as_deref(), Some("S256"));
}

#[tokio::test]
async fn a_verifier_without_a_challenge_is_refused() {
    let scene = Scene::of(Kind::Generic).await;
    let code = scene.consented(&RIGHT, "ann").await;
    let exchange = scene.exchange(&code);
    let ask = exchange.clone().with("code_verifier", VERIFIER);
    scene.not_granted(&ask, Verdict::Mismatch).await;
    scene.accepted(&exchange).await;
}

#[tokio::test]
async fn only_s256_is_taken() {
    let scene = Scene::of(Kind::Generic).await;
    for params in [
        with(&[("code_challenge", CHALLENGE)]),
        with(&[
            ("code_challenge", VERIFIER),
            ("code_challenge_method", "plain"),
        ]),
        with(&[
            ("code_challenge", "short"),
            ("code_challenge_method", "S256"),
        ]),
        with(&[("code_challenge_method", "S256")]),
    ] {
        let seen = scene.follow(&params).await;
        assert_eq!(
            seen.param("error").as_deref(),
            Some("invalid_request"),
            "{params:?}"
        );
    }
}

#[tokio::test]
async fn it_may_be_required_or_not_be_known() {
    let required = Scene::with(Options {
        pkce: Pkce::Required,
        ..Options::default()
    })
    .await;
    let seen = required.follow(&RIGHT).await;
    assert_eq!(seen.param("error").as_deref(), Some("invalid_request"));
    assert_eq!(required.follow(&challenged()).await.status, 200);

    let unknown = Scene::of(Kind::Retently).await;
    unknown.enroll(|e| e.auto = Auto::Allow);
    for verifier in ["", "whatever"] {
        let code = origin(unknown.follow(&challenged()).await.code());
        let ask = unknown.exchange(&code).with("code_verifier", verifier);
        unknown.accepted(&ask).await;
    }
}
