//! Discovery goes to no address but those that are allowed, whatever DNS says when.

use super::place::Place;
use super::tls::Authority;
use crate::support::text;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_between_two_requests_is_caught_at_the_second() {
    let authority = Authority::new();
    let place = Arc::new(Place::new("https://localhost:1/token", ""));
    authority.publish(&place.house);
    let allowed = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = allowed.local_addr().unwrap().port();
    let barred = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let acceptor = authority.acceptor(&["auth.corp.test"], |_| {});
    let asked = Arc::new(AtomicUsize::new(0));
    let (moving, counted) = (place.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = allowed.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            counted.fetch_add(1, Ordering::Relaxed);
            // The check has passed; what follows must be checked anew.
            moving.hosts("127.0.0.1 auth.corp.test");
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            let _sent = stream.write_all(answer).await;
        }
    });
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = reached.clone();
    tokio::spawn(async move {
        while barred.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });

    let (issuer, ca) = (
        format!("https://auth.corp.test:{port}"),
        place.house.path("ca.pem"),
    );
    let discover = |allow: &[&str]| {
        let ca = ["--ca-file", ca.to_str().unwrap()];
        let args = [&["provider", "discover", &issuer], &ca[..], allow].concat();
        let output = place
            .with_hosts(place.house.command(&args))
            .output()
            .unwrap();
        (output.status.code(), text(&output.stderr))
    };
    place.hosts("127.0.0.1 auth.corp.test");
    let (code, said) = discover(&[]);
    let told = "auth.corp.test is not asked, since 127.0.0.1 is loopback; if that is meant, pass --allow-network 127.0.0.1";
    assert!(code == Some(77) && said.contains(told), "{code:?} {said}");
    place.hosts("127.0.0.2 auth.corp.test");
    let (code, said) = discover(&["--allow-network", "127.0.0.2/32"]);
    assert!(code == Some(77) && said.contains(told), "{code:?} {said}");
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "the first request was allowed"
    );
    assert_eq!(
        reached.load(Ordering::Relaxed),
        0,
        "nobody connected where it moved to"
    );
}
