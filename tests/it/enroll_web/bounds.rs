//! Whoever is slow, loud or many: refused, and neither a push nor a refresh waits for it.

use super::{ONE, Place};
use crate::support::text;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What came back for these bytes, until the connection ended.
fn said(place: &Place, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(place.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    for part in parts {
        // It may have been cut off already.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _cut = stream.read_to_end(&mut answer);
    text(&answer)
}

fn head(more: &str) -> String {
    format!("POST /push/c HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused_without_being_read() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let begun = Instant::now();
    // Ten megabytes are promised, and none is sent.
    let big = head("Content-Length: 10485760");
    let answer = said(&place, &[big.as_bytes()]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    // Without a length it is cut off at the limit.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let chunked = head("Transfer-Encoding: chunked");
    let parts: Vec<&[u8]> = [chunked.as_bytes()]
        .into_iter()
        .chain([chunk.as_bytes(); 5])
        .collect();
    let answer = said(&place, &parts);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let long = head(&format!("X: {}", "y".repeat(64 * 1024)));
    let answer = said(&place, &[long.as_bytes()]);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    // A head of two requests in one, as smugglers send it.
    let both = head("Content-Length: 4\r\nTransfer-Encoding: chunked");
    let answer = said(&place, &[both.as_bytes(), b"0\r\n\r\n"]);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(!said(&place, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]).contains("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_are_cut_off_and_hold_up_no_refresh() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    place.push("shop-17", &data, None).await;
    place.done(&id, "one").await;

    // More than there are places, each with half a head.
    let mut slow: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut stream = TcpStream::connect(place.address).unwrap();
            stream
                .write_all(b"POST /push/c HTTP/1.1\r\nHost: ")
                .unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let refreshed = place
        .house
        .run(&["refresh", "one", "--force", "--accept-risk"]);
    assert!(refreshed.status.success(), "{}", text(&refreshed.stderr));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );

    let (id, data) = place.install(Some("one")).await;
    let pushed = place.push("shop-17", &data, None).await;
    assert_eq!(pushed.status, Some(200), "{pushed:?}");
    assert!(pushed.took_ms < 20_000, "{pushed:?}");
    place.done(&id, "one").await;
    // The first of them are gone.
    slow[0]
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut answer = Vec::new();
    let _cut = slow[0].read_to_end(&mut answer);
    assert!(!text(&answer).contains("200"), "{}", text(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let place = Place::retm(ONE).await;
    let _daemon = place.daemon();
    let begun = Instant::now();
    let promised = head("Content-Length: 100");
    let answer = said(&place, &[promised.as_bytes(), b"{\"code\":"]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(place.asked(), 0);
}
