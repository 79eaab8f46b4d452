//! Where the callback is, and what is shown and kept of what comes to it.

use super::{Scene, wait_for_token};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// RFC 8252 §7.3, §8.3: the loopback interface alone, both families, and only while
/// somebody is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_callback_is_on_the_loopback_alone() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    let callback = begun.callback(&[]);
    let port = callback.port().unwrap();
    assert_eq!(callback.host_str(), Some("127.0.0.1"));
    let reached = |host: &str| TcpStream::connect((host, port)).is_ok();
    assert!(reached("127.0.0.1"));
    assert!(!reached("127.0.0.2"), "not at every address");
    let mut back = scene.visit(&begun.url).await;
    // Containers without IPv6 exist.
    if TcpListener::bind("[::1]:0").is_ok() {
        assert!(reached("::1"));
        back.set_host(Some("[::1]")).unwrap();
    }
    let page = scene.http.get(back).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = &page.headers()["content-security-policy"];
    assert_eq!(
        policy,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    assert!(
        !page.headers().contains_key("location"),
        "it redirects nobody"
    );
    assert_eq!(begun.end().code, 0);
    assert!(!reached("127.0.0.1") && !reached("::1"), "it is gone");
}

/// A port that was free once is not asked for again, where the command chose it.
#[tokio::test(flavor = "multi_thread")]
async fn each_authorization_has_a_port_of_its_own() {
    let scene = Scene::generic().await;
    let _daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    let port = begun.callback(&[]).port().unwrap();
    let back = scene.visit(&begun.url).await;
    scene.http.get(back).send().await.unwrap();
    assert_eq!(begun.end().code, 0);
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let ended = scene.authorize().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.house.status("one")["generation"], 2);
}

/// Neither the code nor the tokens are in any log, in what the command says, or
/// unsealed on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_of_it_is_shown_or_kept_unsealed() {
    let scene = Scene::generic().await;
    let daemon = scene.house.daemon();
    scene.approves_as("one");
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    let pairs: Vec<_> = back.query_pairs().into_owned().collect();
    let code = &pairs.iter().find(|(name, _)| name == "code").unwrap().1;
    let page = scene.http.get(back.clone()).send().await.unwrap();
    let page = page.text().await.unwrap();
    let ended = begun.end();
    let token = wait_for_token(&scene, None);
    let token = token.trim_end();
    let list = scene.house.run(&["authorize", "--list", "--json"]);
    let said = [
        page,
        ended.out,
        ended.err,
        daemon.log(),
        String::from_utf8(list.stdout).unwrap(),
    ];
    for secret in [code, token] {
        assert!(secret.len() > 10);
        for said in &said {
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
        for file in files(&scene.house.path("state")) {
            let bytes = fs::read(&file).unwrap();
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{secret} is in {}", file.display());
        }
    }
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    assert!(!all.is_empty(), "{}", directory.display());
    all
}
