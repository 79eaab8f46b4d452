//! Revocation at django-oauth-toolkit's own endpoint (RFC 7009).

use super::{Asker, DOT, Scene};
use crate::resource::published;
use crate::support::{text, wait_for};

#[test]
fn django_oauth_toolkit_revokes_and_its_tokens_are_dead() {
    let scene = Scene::set(
        "dot_server.py",
        &["--reuse-protection", "--grace", "0"],
        DOT,
    );
    let token_url = scene.server.member("token_url").to_owned();
    let revoke = token_url.replace("/o/token/", "/o/revoke_token/");
    let described = format!(
        "name = \"real\"\n[token]\nurl = \"{token_url}\"\n{DOT}[revoke]\nurl = \"{revoke}\"\n[verify]\nurl = \"{}\"\n",
        scene.resource_url()
    );
    scene.house.write("providers.d/real.toml", &described);
    let run = |args: &[&str], code: i32| {
        let output = scene.house.run(args);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    };
    run(&["reload"], 0);
    run(&["refresh", "g0", "--force"], 0);
    run(&["verify", "g0"], 0);
    let file = scene.file("g0");
    wait_for("the file", || {
        published(&file).is_some_and(|(generation, _)| generation == 2)
    });
    let (_, token) = published(&file).unwrap();
    let asker = Asker::new();
    assert_eq!(asker.status(scene.resource_url(), &token), 200);
    run(&["revoke", "g0", "--yes"], 0);
    assert_ne!(asker.status(scene.resource_url(), &token), 200);
    assert_eq!(scene.house.status("g0")["state"], "revoked");
    // Again: the toolkit does not know it any more, which is what was asked for.
    run(&["revoke", "g0", "--yes"], 0);
    run(&["get", "g0"], 77);
    assert_eq!(scene.daemon.stop(), Some(0));
}
