//! `refreshd provider`.

use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn lie(setting: &Setting, changes: Value) {
    let changes = json!({"metadata_changes": changes});
    let enrollment = setting.server.enrollment();
    let changed = enrollment.with(changes.as_object().unwrap().clone());
    setting.server.set_enrollment(changed.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_itself_becomes_a_file_that_works() {
    let setting = Setting::one().await;
    let issuer = setting.server.issuer();
    let before: Vec<_> = std::fs::read_dir(setting.house.path("providers.d"))
        .unwrap()
        .collect();
    let ran = setting
        .run(&["provider", "discover", &issuer, "--name", "found"])
        .succeeds();
    let after: Vec<_> = std::fs::read_dir(setting.house.path("providers.d"))
        .unwrap()
        .collect();
    assert_eq!(before.len(), after.len(), "it writes nothing");
    for expected in [
        "name = \"found\"",
        "pkce = ",
        "[rotation]",
        "[revoke]",
        "[verify]",
    ] {
        assert!(ran.out.contains(expected), "{expected}: {}", ran.out);
    }
    setting.house.write("providers.d/found.toml", &ran.out);
    setting
        .house
        .configure(&ONE.replace("provider = \"pretend\"", "provider = \"found\""));
    assert_eq!(setting.run(&["check"]).succeeds().err, "");
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    setting.run(&["verify", "one"]).succeeds();
    setting.run(&["revoke", "one", "--yes"]).succeeds();
    wait_for("the end", || {
        setting.house.status("one")["state"] == "revoked"
    });
    assert_eq!(daemon.stop(), Some(0));

    let ran = setting
        .run(&["provider", "discover", &issuer, "--json"])
        .succeeds();
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["issuer"], issuer);
    assert_eq!(
        found["members"]["token_endpoint"],
        setting.server.token_url()
    );
    assert_eq!(
        found["members"]["jwks_uri"],
        Value::Null,
        "what is not used is not printed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_lies_is_refused_or_shown_for_what_it_is() {
    let setting = Setting::one().await;
    let issuer = setting.server.issuer();
    let discover =
        |args: &[&str]| setting.run(&[&["provider", "discover", &issuer], args].concat());
    lie(
        &setting,
        json!({"issuer": "https://evil.example/\u{1b}[2J"}),
    );
    let ran = discover(&[]);
    ran.fails(
        65,
        &[
            "is the metadata of https://evil.example/\\u{1b}[2J, not of",
            "RFC 8414",
        ],
    );
    assert_eq!(ran.out, "");
    for token in [
        json!("http://evil.example/token"),
        json!(null),
        json!(7),
        json!("file:///etc/passwd"),
    ] {
        lie(&setting, json!({"token_endpoint": token}));
        discover(&[]).fails(65, &["token_endpoint"]);
    }
    lie(
        &setting,
        json!({
            "authorization_endpoint": "https://evil.example/a\"\n[token]\nurl = \"https://evil.example/t",
            "revocation_endpoint": "http://evil.example/revoke",
            "scopes_supported": ["\u{1b}[31m", "a\nname = \"x\""],
        }),
    );
    let ran = discover(&["--name", "found"]).succeeds();
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    assert!(
        ran.out
            .contains("WARNING: the authorization_endpoint is not at the issuer"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("WARNING: revocation_endpoint cannot be used"),
        "{}",
        ran.out
    );
    setting.house.write("providers.d/found.toml", &ran.out);
    setting.run(&["check"]).succeeds();
    // Not an issuer at all.
    for bad in [
        "http://evil.example",
        "https://a.example/?x",
        "file:///etc/passwd",
        "https://a:b@a.example",
    ] {
        setting
            .run(&["provider", "discover", bad])
            .fails(64, &["cannot be an issuer"]);
    }
    setting
        .run(&["provider", "discover", "https://169.254.169.254"])
        .fails(
            77,
            &[
                "169.254.169.254 is not asked, since 169.254.169.254 is a cloud's metadata service",
                "--allow-network 169.254.169.254",
            ],
        );
}

/// Answers every request with these bytes; how many there were.
async fn answering(head: String, chunk: usize, chunks: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _sent = stream.write_all(head.as_bytes()).await;
            for _ in 0..chunks {
                if stream.write_all(&vec![b' '; chunk]).await.is_err() {
                    break;
                }
            }
            let _closed = stream.shutdown().await;
        }
    });
    (issuer, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_no_flood_swallowed() {
    let setting = Setting::one().await;
    let (goal, visits) = answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        0,
        0,
    )
    .await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: {goal}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (issuer, _) = answering(redirect, 0, 0).await;
    setting.run(&["provider", "discover", &issuer]).fails(
        65,
        &["no metadata was found", "a redirect, which is not followed"],
    );
    assert_eq!(visits.load(Ordering::Relaxed), 0);
    let flood = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
    let (issuer, visits) = answering(flood, 1 << 20, 10).await;
    setting
        .run(&["provider", "discover", &issuer])
        .fails(65, &["larger than 256 KiB"]);
    assert_eq!(visits.load(Ordering::Relaxed), 1);
    let (issuer, _) = answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n\u{fffd}".to_owned(),
        0,
        0,
    )
    .await;
    setting
        .run(&["provider", "discover", &issuer])
        .fails(65, &["is not JSON"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_listed_and_shown() {
    let setting = Setting::one().await;
    let ran = setting.run(&["provider", "list"]).succeeds();
    assert!(
        ran.out.contains("pretend.toml") && ran.out.contains("retently             built in"),
        "{ran:?}"
    );
    let ran = setting.run(&["provider", "show", "reteno"]).succeeds();
    assert!(ran.out.contains("name = \"reteno\""), "{ran:?}");
    let ran = setting.run(&["provider", "show", "pretend"]).succeeds();
    assert!(ran.out.contains(&setting.server.token_url()), "{ran:?}");
    setting
        .run(&["provider", "show", "nobody"])
        .fails(65, &["provider list"]);
}
