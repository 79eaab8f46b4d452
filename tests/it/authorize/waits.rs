//! A code that was not used is as good as before: it waits for the provider while it
//! lives. One that may have been used is presented once.

use super::at_rest::{at_rest, put_back};
use super::{Scene, free_port, page, wait_for_token};
use crate::support::wait_for;
use sandbox::Kind;
use sandbox::faults::Fault;
use tokio::net::{TcpListener, TcpStream};

/// Passes connections to the provider on, from a port where nobody listened before.
async fn pass_on(port: u16, scene: &Scene) {
    let to: url::Url = scene.server.token_url().parse().unwrap();
    let to = format!("127.0.0.1:{}", to.port().unwrap());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
}

/// A scene whose token endpoint nobody listens at; `more` is laid over the provider.
async fn nobody_there(more: &str) -> (Scene, u16) {
    let scene = Scene::generic().await;
    let port = free_port();
    let url: url::Url = scene.server.token_url().parse().unwrap();
    let elsewhere = format!("http://127.0.0.1:{port}{}", url.path());
    scene.token_endpoint(&elsewhere, more);
    scene.approves_as("one");
    (scene, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_never_left_waits_for_its_provider_over_a_restart() {
    let (scene, port) = nobody_there("").await;
    let daemon = scene.house.daemon();
    let mut begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let shown = page(&scene.http, back.clone()).await;
    assert!(shown.contains("trying again until 2"), "{shown}");
    // Nor is a page that is loaded again kept waiting.
    let shown = page(&scene.http, back).await;
    assert!(shown.contains("trying again until 2"), "{shown}");
    assert!(begun.waits());
    assert_eq!(daemon.stop(), Some(0), "a stop does not wait for it");

    let _daemon = scene.house.daemon();
    assert_eq!(scene.list()[0]["stage"], "received");
    pass_on(port, &scene).await;
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    for said in ["is being exchanged", "trying again until 2"] {
        assert!(ended.err.contains(said), "{said}: {}", ended.err);
    }
    wait_for_token(&scene, None);
    assert_eq!(scene.exchanged(), 1);
}

/// It was presented after the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_waited_in_a_backup_is_not_presented_by_it() {
    let (scene, port) = nobody_there("").await;
    let daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let _shown = page(&scene.http, back).await;
    at_rest(&scene, &["backup", "--force", "copy.db"]);
    pass_on(port, &scene).await;
    assert_eq!(begun.end().code, 0);
    assert_eq!(daemon.stop(), Some(0));
    put_back(&scene);

    let daemon = scene.house.daemon();
    let now = scene.list()[0].clone();
    assert_eq!(now["stage"], "in-doubt", "{now}");
    at_rest(&scene, &["doctor", "--accept-restore"]);
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = scene.house.daemon();
    assert_eq!(scene.list()[0]["stage"], "in-doubt");
    assert_eq!(scene.exchanged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_kept_for_as_long_as_it_lives() {
    let (scene, _) = nobody_there("authorize.code_lifetime = \"3s\"").await;
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let _shown = page(&scene.http, back).await;
    let ended = begun.end();
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("could not be presented in its lifetime")
            && ended.err.contains("authorize again"),
        "{}",
        ended.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_to_wait_gets_the_code_later() {
    let unavailable = Fault::Unavailable {
        retry_after: 1,
        performed: false,
    };
    for fault in [Fault::TooMany { retry_after: 1 }, unavailable] {
        let scene = Scene::generic().await;
        let _daemon = scene.house.daemon();
        scene.approves_as("one");
        scene.server.queue_fault(None, fault.clone());
        let ended = scene.authorize().await;
        assert_eq!(ended.code, 0, "{fault:?}: {ended:?}");
        assert!(ended.err.contains("has not used the code"), "{}", ended.err);
        assert_eq!(scene.house.status("one")["generation"], 1);
        let at: Vec<u64> = (scene.server.presentations().iter())
            .map(|p| p.at_ms)
            .collect();
        assert!(at.len() == 2 && at[1] - at[0] >= 1000, "{fault:?}: {at:?}");
    }
    // Longer than the code lives: the person is told when to begin again.
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    scene
        .server
        .queue_fault(None, Fault::TooMany { retry_after: 3600 });
    let ended = scene.authorize().await;
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("authorize again after that"),
        "{}",
        ended.err
    );
    assert_eq!(scene.exchanged(), 1);
}

/// What the provider asked for holds for the next daemon too.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_provider_asked_for_outlives_a_kill() {
    let scene = Scene::generic().await;
    let daemon = scene.house.daemon();
    scene.approves_as("one");
    scene
        .server
        .queue_fault(None, Fault::TooMany { retry_after: 3 });
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let shown = page(&scene.http, back).await;
    assert!(shown.contains("asks to wait"), "{shown}");
    daemon.kill();
    let _daemon = scene.house.daemon();
    assert_eq!(begun.end().code, 0);
    let at: Vec<u64> = (scene.server.presentations().iter())
        .map(|p| p.at_ms)
        .collect();
    assert!(at.len() == 2 && at[1] - at[0] >= 3000, "{at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_may_have_been_used_is_presented_once() {
    let performed = true;
    for fault in [
        Fault::InternalError { performed },
        Fault::LoginRedirect { performed },
        Fault::ResetAfter,
    ] {
        let scene = Scene::new(Kind::Generic, "", "authorize.code_lifetime = \"2s\"").await;
        let _daemon = scene.house.daemon();
        scene.approves_as("one");
        scene.server.queue_fault(None, fault.clone());
        let ended = scene.authorize().await;
        assert_eq!(ended.code, 77, "{fault:?}: {ended:?}");
        wait_for("the end", || scene.list()[0]["stage"] != "received");
        assert_eq!(scene.exchanged(), 1, "{fault:?}");
    }
}
